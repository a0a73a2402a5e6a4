//! `streamseal init`: a new ledger with its keys, genesis, grants, trust file and configuration.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use evidence::statement::{Action, Genesis, KeyStatement, LedgerId, Role, TopicPattern};
use evidence::{Algorithm, Hash, SignedStatement, SigningKey, Statement, VerifierKey, text};

/// Makes a new ledger: keys, genesis, first grants, trust file and a configuration to start from
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write; it must not exist or be empty
    pub dir: PathBuf,
    /// The log's origin, a URL without scheme under your control
    #[arg(long, value_name = "NAME", default_value = "example.com/streamseal")]
    pub origin: String,
    /// Topics to seal: a name, or ^ and a regular expression; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", default_value = "^.*")]
    pub topics: Vec<String>,
    /// Topics that the ingest key may seal: a name, or a prefix and *; may be repeated
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub scope: Vec<String>,
    /// Kafka's bootstrap.servers; without it, the in-process broker
    #[arg(long, value_name = "HOST:PORT,...")]
    pub bootstrap_servers: Option<String>,
    /// The committer's database, as sqlite: or postgres: URL; without it, a SQLite file in the folder
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Git remotes that the anchor pushes to; without one, a bare repository in the folder; may be repeated
    #[arg(long = "remote", value_name = "URL")]
    pub remotes: Vec<String>,
    /// Port of the committer on 127.0.0.1; ingest-consumer and anchor take the next two for health and metrics
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

/// Writes the folder; nothing in an existing one is touched.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(text::is_name(&args.origin), "--origin {:?}: printable ASCII without space and +", args.origin);
    ensure!(args.port <= u16::MAX - 2, "--port {}: two ports above it are needed too", args.port);
    let scope: Vec<TopicPattern> =
        args.scope.iter().map(|s| s.parse()).collect::<Result<_, _>>().context("--scope")?;
    let dir = &args.dir;
    if dir.exists() && dir.read_dir().with_context(|| dir.display().to_string())?.next().is_some() {
        bail!("{} is not empty: a ledger is never written over another", dir.display());
    }
    for folder in [dir.clone(), dir.join("keys"), dir.join("grants")] {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let keys = Keys::generate(&args.origin)?;
    keys.write(&dir.join("keys"))?;

    let genesis = keys.genesis(&args.origin)?;
    let ledger = LedgerId { origin: args.origin.clone(), genesis: genesis.hash() };
    write(&dir.join("genesis.note"), &genesis.to_bytes())?;
    let mut prev = genesis.hash();
    for (file, role, key, topics) in [
        ("0001-ingest.note", Role::Ingest, keys.ingest.verifier_key(), scope),
        ("0002-anchor.note", Role::Anchor, keys.anchor.verifier_key(), Vec::new()),
    ] {
        let grant = keys.grant(&ledger, role, key.clone(), topics, prev);
        prev = grant.hash();
        write(&dir.join("grants").join(file), &grant.to_bytes())?;
    }
    write(&dir.join("trust"), trust_file(&ledger, &keys).as_bytes())?;
    write(&dir.join("streamseal.toml"), configuration(args).as_bytes())?;
    Ok(())
}

impl Keys {
    fn generate(origin: &str) -> anyhow::Result<Self> {
        Ok(Self {
            operator: keystore::generate("operator", Algorithm::Ed25519)?,
            log: keystore::generate(origin, Algorithm::Ed25519)?,
            ingest: keystore::generate("ingest-a", Algorithm::Ed25519)?,
            anchor: keystore::generate("anchor-a", Algorithm::Cosignature)?,
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

    fn genesis(&self, origin: &str) -> anyhow::Result<SignedStatement> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("the system's random source: {e}"))?;
        let genesis = Genesis {
            origin: origin.to_owned(),
            nonce: Hash(nonce),
            operator: self.operator.verifier_key().clone(),
            log: self.log.verifier_key().clone(),
            continues: None,
        };
        Ok(SignedStatement::sign(Statement::Genesis(genesis), &[&self.operator, &self.log]))
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

/// What the auditor is given, by a way that the ledger's keeper does not control: the anchor is its one witness.
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

/// A configuration with what must be set; everything else has a default (docs/configuration.md).
fn configuration(args: &Args) -> String {
    let quoted = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let list = |items: &[String]| format!("[{}]", items.iter().map(|s| quoted(s)).collect::<Vec<_>>().join(", "));
    let mut out = String::from("# Every field is described in docs/configuration.md. Paths are relative to this file.\n\n");
    let database = args.database.clone().unwrap_or_else(|| "sqlite:chain.db".to_owned());
    let remotes = if args.remotes.is_empty() { vec!["anchors.git".to_owned()] } else { args.remotes.clone() };
    let _ = write!(
        out,
        "[ledger]\norigin = {}\ngenesis = \"genesis.note\"\ngrants = [\"grants/0001-ingest.note\", \"grants/0002-anchor.note\"]\n\n",
        quoted(&args.origin)
    );
    match &args.bootstrap_servers {
        Some(servers) => {
            let _ = write!(out, "[kafka]\n\"bootstrap.servers\" = {}\n\n", quoted(servers));
        }
        None => out.push_str("# Without \"bootstrap.servers\", `streamseal up` starts the in-process broker.\n[kafka]\n\n"),
    }
    let _ = write!(
        out,
        "[ingest]\ntopics = {}\nkey = \"keys/ingest.key\"\ncommitter = \"http://127.0.0.1:{port}\"\nlisten = \"127.0.0.1:{}\"\n\n\
         [committer]\ndatabase = {}\nlog_key = \"keys/log.key\"\nlisten = \"127.0.0.1:{port}\"\n\n\
         [anchor]\nkey = \"keys/anchor.key\"\ncommitter = \"http://127.0.0.1:{port}\"\nrepository = \"anchor.git\"\nlisten = \"127.0.0.1:{}\"\n",
        list(&args.topics),
        args.port + 1,
        quoted(&database),
        args.port + 2,
        port = args.port,
    );
    for remote in &remotes {
        let _ = write!(out, "\n[[anchor.remotes]]\nurl = {}\n", quoted(remote));
    }
    out
}
