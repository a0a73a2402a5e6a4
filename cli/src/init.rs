//! `streamseal init`: a new ledger with its keys, genesis, grants, trust file and configuration.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use evidence::statement::{Action, Genesis, KeyStatement, LedgerId, Role, TopicPattern};
use evidence::{Algorithm, Hash, SignedStatement, SigningKey, Statement, VerifierKey, text};

use crate::output;

/// Makes a new ledger: keys, genesis, first grants, trust file and a starting configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write, new or empty
    pub dir: PathBuf,
    /// The ledger's name, which never changes: a URL without scheme that you control, such as example.com/audit. The
    /// default is unique: the host's name, the folder's name and eight random characters
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
    /// Topics to seal: a name, or ^ and a regular expression; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", default_value = "^.*")]
    pub topics: Vec<String>,
    /// Topics that the ingest key may seal: a name, or a prefix and *; may be repeated
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub scope: Vec<String>,
    /// Kafka's bootstrap.servers; by default the in-process broker
    #[arg(long, value_name = "HOST:PORT,...")]
    pub bootstrap_servers: Option<String>,
    /// The committer's database, a sqlite: or postgres: URL; by default a SQLite file in the folder
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// A Git remote that the anchor pushes to; may be repeated; by default a bare repository in the folder
    #[arg(long = "remote", value_name = "URL")]
    pub remotes: Vec<String>,
    /// Port of the committer on 127.0.0.1; ingest and anchor use the next two for health and metrics
    #[arg(long, default_value_t = 7380)]
    pub port: u16,
}

/// The keys of a new ledger, one for each role.
struct Keys {
    operator: SigningKey,
    log: SigningKey,
    ingest: SigningKey,
    anchor: SigningKey,
}

/// What `init` writes into a new ledger.
pub(crate) struct Settings<'a> {
    /// Derived when `None`.
    pub origin: Option<&'a str>,
    pub topics: &'a [String],
    pub scope: &'a [TopicPattern],
    pub bootstrap_servers: Option<&'a str>,
    pub database: &'a str,
    pub remotes: &'a [String],
    pub addresses: Addresses,
}

/// The addresses that the services listen on.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub committer: SocketAddr,
    pub ingest: SocketAddr,
    pub anchor: SocketAddr,
}

/// Writes the folder. It is never written over another.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.port <= u16::MAX - 2, "--port {}: two ports above it are needed too", args.port);
    let scope: Vec<TopicPattern> = args.scope.iter().map(|s| s.parse()).collect::<Result<_, _>>().context("--scope")?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let settings = Settings {
        origin: args.origin.as_deref(),
        topics: &args.topics,
        scope: &scope,
        bootstrap_servers: args.bootstrap_servers.as_deref(),
        database: args.database.as_deref().unwrap_or("sqlite:chain.db"),
        remotes: if args.remotes.is_empty() { &["anchors.git".to_owned()] } else { &args.remotes },
        addresses: Addresses {
            committer: local(args.port),
            ingest: local(args.port + 1),
            anchor: local(args.port + 2),
        },
    };
    let origin = write_ledger(&args.dir, &settings)?;
    output::line(format_args!("origin {origin}: the ledger's name, which never changes"));
    if args.origin.is_none() {
        output::line(
            "It was derived. To choose another, start over with --origin NAME, a URL without scheme that you control.",
        );
    }
    output::line("");
    let dir = args.dir.display();
    for (path, what) in [
        ("streamseal.toml", "the configuration: look through it"),
        ("genesis.note", "the ledger's first statement; public"),
        ("grants/", "the grants of the ingest and the anchor key; public"),
        ("trust", "the trust file: give it to your auditors over a channel that they trust"),
        ("keys/", "each service has its own key; keep operator.key offline"),
    ] {
        output::line(format_args!("{dir}/{path}: {what}"));
    }
    output::line(format_args!("\nNext: streamseal up --config {dir}/streamseal.toml"));
    Ok(())
}

/// Makes keys, genesis and grants, and writes them with trust file and configuration. Returns the origin.
pub(crate) fn write_ledger(dir: &Path, settings: &Settings<'_>) -> anyhow::Result<String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("the system's random source: {e}"))?;
    let origin = match settings.origin {
        Some(origin) => origin.to_owned(),
        None => derived_origin(dir, &nonce)?,
    };
    check_origin(&origin)?;
    if dir.exists() && dir.read_dir().with_context(|| dir.display().to_string())?.next().is_some() {
        bail!("{} is not empty: a ledger is never written over another", dir.display());
    }
    for folder in [dir.to_owned(), dir.join("keys"), dir.join("grants")] {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let keys = Keys::generate(&origin)?;
    keys.write(&dir.join("keys"))?;

    let genesis = keys.genesis(&origin, nonce);
    let ledger = LedgerId { origin: origin.clone(), genesis: genesis.hash() };
    write(&dir.join("genesis.note"), &genesis.to_bytes())?;
    let mut prev = genesis.hash();
    for (file, role, key, topics) in [
        ("0001-ingest.note", Role::Ingest, keys.ingest.verifier_key(), settings.scope.to_vec()),
        ("0002-anchor.note", Role::Anchor, keys.anchor.verifier_key(), Vec::new()),
    ] {
        let grant = keys.grant(&ledger, role, key.clone(), topics, prev);
        prev = grant.hash();
        write(&dir.join("grants").join(file), &grant.to_bytes())?;
    }
    write(&dir.join("trust"), trust_file(&ledger, &keys).as_bytes())?;
    write(&dir.join("streamseal.toml"), configuration(&origin, settings).as_bytes())?;
    Ok(origin)
}

/// The name of the anchor's key: a URL without scheme, as tlog-cosignature (C2SP) recommends.
fn anchor_name(origin: &str) -> String {
    format!("{origin}/anchor")
}

fn check_origin(origin: &str) -> anyhow::Result<()> {
    ensure!(
        text::is_name(origin),
        "the origin {origin:?} must have 1 to 255 printable ASCII characters, no space and no +"
    );
    ensure!(!origin.contains("://"), "the origin {origin:?} must be a URL without its scheme");
    ensure!(
        text::is_name(&anchor_name(origin)),
        "the origin has {} characters; with /anchor after it, 255 are allowed",
        origin.len()
    );
    Ok(())
}

/// `<host>/<folder>-<8 digits of the nonce>`: two ledgers never get one name.
fn derived_origin(dir: &Path, nonce: &[u8; 32]) -> anyhow::Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let dir = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
    let folder = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let random: String = nonce[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}/{}-{random}", plain(&host, "localhost"), plain(&folder, "ledger")))
}

/// The name with only the characters that need no escape in a URL; `instead` if that leaves nothing.
fn plain(name: &str, instead: &str) -> String {
    const LENGTH_MAX: usize = 100;
    let keep = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.trim().chars().map(keep).take(LENGTH_MAX).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { instead.to_owned() } else { name.to_owned() }
}

impl Keys {
    fn generate(origin: &str) -> anyhow::Result<Self> {
        Ok(Self {
            operator: keystore::generate("operator", Algorithm::Ed25519)?,
            log: keystore::generate(origin, Algorithm::Ed25519)?,
            ingest: keystore::generate("ingest-a", Algorithm::Ed25519)?,
            anchor: keystore::generate(&anchor_name(origin), Algorithm::Cosignature)?,
        })
    }

    fn write(&self, dir: &Path) -> anyhow::Result<()> {
        for (file, key) in [
            ("operator.key", &self.operator),
            ("log.key", &self.log),
            ("ingest.key", &self.ingest),
            ("anchor.key", &self.anchor),
        ] {
            keystore::write_signing_key(&dir.join(file), key)?;
        }
        Ok(())
    }

    fn genesis(&self, origin: &str, nonce: [u8; 32]) -> SignedStatement {
        let genesis = Genesis {
            origin: origin.to_owned(),
            nonce: Hash(nonce),
            operator: self.operator.verifier_key().clone(),
            log: self.log.verifier_key().clone(),
            continues: None,
        };
        SignedStatement::sign(Statement::Genesis(genesis), &[&self.operator, &self.log])
    }

    fn grant(
        &self,
        ledger: &LedgerId,
        role: Role,
        key: VerifierKey,
        topics: Vec<TopicPattern>,
        prev: Hash,
    ) -> SignedStatement {
        let grant = KeyStatement {
            ledger: ledger.clone(),
            action: Action::Grant,
            role,
            key,
            topics,
            distrust_from: None,
            prev,
        };
        SignedStatement::sign(Statement::Key(grant), &[&self.operator])
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Ok(keystore::write_synced(path, bytes, 0o644)?)
}

/// The trust file for auditors. The anchor is its only witness.
fn trust_file(ledger: &LedgerId, keys: &Keys) -> String {
    let LedgerId { origin, genesis } = ledger;
    let anchor = keys.anchor.verifier_key();
    format!(
        "streamseal/trust@v1\norigin {origin}\ngenesis {genesis}\nmax-anchor-age 86400\n\n\
         log {}\nwitness {} {anchor}\nquorum {}\n",
        keys.log.verifier_key(),
        anchor.name(),
        anchor.name(),
    )
}

/// A configuration with the required fields; all others have defaults (docs/configuration.md).
fn configuration(origin: &str, settings: &Settings<'_>) -> String {
    let Settings { topics, bootstrap_servers, database, remotes, addresses, .. } = settings;
    let Addresses { committer, ingest, anchor } = addresses;
    let quoted = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let topics = topics.iter().map(|topic| quoted(topic)).collect::<Vec<_>>().join(", ");
    let bootstrap_servers = match bootstrap_servers {
        Some(servers) => format!("[kafka]\n\"bootstrap.servers\" = {}", quoted(servers)),
        None => "# Without a section [kafka], `streamseal up` starts the in-process broker.".to_owned(),
    };
    let mut out = format!(
        r#"# docs/configuration.md describes every field. Relative paths are relative to this file.

[ledger]
origin = {}
genesis = "genesis.note"
grants = ["grants/0001-ingest.note", "grants/0002-anchor.note"]

{bootstrap_servers}

[ingest]
topics = [{topics}]
key = "keys/ingest.key"
committer = "http://{committer}"
listen = "{ingest}"

[committer]
database = {}
log_key = "keys/log.key"
listen = "{committer}"

[anchor]
key = "keys/anchor.key"
committer = "http://{committer}"
repository = "anchor.git"
listen = "{anchor}"
"#,
        quoted(origin),
        quoted(database),
    );
    for remote in *remotes {
        let _ = write!(out, "\n[[anchor.remotes]]\nurl = {}\n", quoted(remote));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_origin_is_valid_for_any_folder() {
        for (dir, wanted) in [
            ("/srv/ledger", "/ledger-01020304"),
            ("/srv/Audit 2026+", "/audit-2026-01020304"),
            ("/srv/..hidden", "/hidden-01020304"),
            ("/", "/ledger-01020304"),
            ("/srv/\u{e9}\u{e9}", "/ledger-01020304"),
            ("/srv/ledger/.", "/ledger-01020304"),
        ] {
            let mut nonce = [9; 32];
            nonce[..4].copy_from_slice(&[1, 2, 3, 4]);
            let origin = derived_origin(Path::new(dir), &nonce).expect("an origin");
            assert!(origin.ends_with(wanted), "{origin}");
            check_origin(&origin).expect("good");
        }
        let long = derived_origin(Path::new(&"x".repeat(255)), &[0; 32]).expect("an origin");
        check_origin(&long).expect("good");
    }

    #[test]
    fn invalid_origin_is_refused() {
        for (origin, wanted) in
            [("https://example.com/a", "scheme"), ("a b", "no space"), ("", "1 to 255"), (&"x".repeat(249), "/anchor")]
        {
            let problem = check_origin(origin).expect_err("refused").to_string();
            assert!(problem.contains(wanted), "{problem}");
        }
        check_origin(&"x".repeat(248)).expect("good");
    }
}
