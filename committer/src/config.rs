use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context;
use committer_client::{COMMITMENTS_TOPIC, COMMITMENTS_TOPIC_PREFIX, is_commitments_topic};
use evidence::chain::State;
use evidence::statement::LedgerId;
use evidence::{SignedStatement, Statement, VerifierKey};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sqlx::postgres::PgConnectOptions;

/// The committer: keeps the chain, signs its heads, serves it and publishes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database: `sqlite:FILE` for one committer, `postgres://user:password@host:port/name` for one or several.
    /// The committer refuses PostgreSQL with `synchronous_commit` or `fsync` off. It also refuses a connection pooler that
    /// shares connections (transaction pooling): use session pooling or the server's own port. A failover to an
    /// asynchronous standby can lose acknowledged entries; the signer then refuses the database.
    pub database: DatabaseUrl,
    /// File of the log key, mode 0600. The key signs checkpoints and heads. It is the genesis's log key or one granted
    /// since. The file with the suffix `.high-water` beside it remembers the last signed head. Keep the two together. When
    /// another log key takes over, move the `.high-water` file beside that one. Never restore it from a backup. Only one
    /// committer of a ledger signs. Without a log key a committer only appends and serves, and cannot tell an old copy of
    /// the database.
    pub log_key: Option<PathBuf>,
    /// Minimum time between two checkpoints, in milliseconds.
    #[serde(default = "default_checkpoint_ms")]
    pub checkpoint_ms: NonZeroU32,
    /// Seconds between two heads statements, while any stream moves.
    #[serde(default = "default_heads_s")]
    pub heads_s: NonZeroU32,
    /// The Kafka topic that every entry is published to: `commitments`, or a name that begins with
    /// `streamseal.commitments.`. No ingest-consumer of any ledger seals topics with these names. Each ledger needs a topic
    /// of its own: the committer publishes nothing to a topic that holds anything else. It needs the right to describe,
    /// read and write the topic.
    #[serde(default = "default_commitments_topic", deserialize_with = "commitments_topic")]
    pub commitments_topic: String,
    /// Address to serve on: the HTTP interface, health and metrics.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// URL of a database. It may hold a password, so `Debug` hides it.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split_once(':').map_or("...", |(scheme, _)| scheme))?;
        f.write_str(":...")
    }
}

impl Config {
    /// Makes relative paths relative to `folder`, that of the configuration file.
    pub fn resolve(&mut self, folder: &Path) {
        if let Some(path) = &mut self.log_key {
            *path = folder.join(&*path);
        }
        self.database.resolve(folder);
    }
}

impl DatabaseUrl {
    /// Kind and place of the database, without user and password.
    pub(crate) fn place(&self) -> String {
        if let Some(rest) = self.0.strip_prefix("sqlite:") {
            let file = rest.strip_prefix("//").unwrap_or(rest);
            return format!("SQLite {}", file.split('?').next().unwrap_or_default());
        }
        let Ok(options) = self.0.parse::<PgConnectOptions>() else { return "unknown".to_owned() };
        let host =
            options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
        let name = options.get_database().unwrap_or_else(|| options.get_username());
        format!("PostgreSQL {host}:{}/{name}", options.get_port())
    }

    /// The file of an SQLite URL (`sqlite:chain.db`, `sqlite://chain.db`), seen from `folder`.
    fn resolve(&mut self, folder: &Path) {
        let Some(rest) = self.0.strip_prefix("sqlite:") else { return };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (file, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        if Path::new(file).is_absolute() || file.starts_with(':') {
            return;
        }
        // The URL's file is percent-encoded; the folder is not.
        let folder = folder.join("").to_string_lossy().replace('%', "%25").replace('?', "%3F");
        self.0 = format!("sqlite:{folder}{file}{query}");
    }
}

fn default_checkpoint_ms() -> NonZeroU32 {
    NonZeroU32::new(1_000).expect("not zero")
}

fn default_heads_s() -> NonZeroU32 {
    NonZeroU32::new(60).expect("not zero")
}

fn default_commitments_topic() -> String {
    COMMITMENTS_TOPIC.to_owned()
}

fn commitments_topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_commitments_topic(&name) {
        return Ok(name);
    }
    Err(D::Error::custom(format!(
        "must be {COMMITMENTS_TOPIC} or begin with {COMMITMENTS_TOPIC_PREFIX}, not {name:?}: ingest-consumers recognize \
         by these names what not to seal"
    )))
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7380).into()
}

/// The ledger to keep, and how it begins.
#[derive(Debug, Clone)]
pub struct Ledger {
    id: LedgerId,
    log_key: VerifierKey,
    beginning: Vec<SignedStatement>,
}

impl Ledger {
    /// Takes the genesis and the key statements that follow it when the chain is empty.
    ///
    /// # Errors
    /// If they do not begin a valid chain.
    pub fn new(genesis: SignedStatement, grants: Vec<SignedStatement>) -> anyhow::Result<Self> {
        let Statement::Genesis(statement) = genesis.statement() else {
            anyhow::bail!("the genesis file holds a {} statement", genesis.statement().kind());
        };
        let id = LedgerId { origin: statement.origin.clone(), genesis: genesis.hash() };
        let log_key = statement.log.clone();
        let beginning: Vec<_> = std::iter::once(genesis).chain(grants).collect();
        let mut state = State::new(&id.origin, id.genesis);
        for (i, statement) in beginning.iter().enumerate() {
            let which = || if i == 0 { "the genesis".to_owned() } else { format!("grant {i} of the configuration") };
            state.apply(&state.draft(statement.clone(), 0)).with_context(which)?;
        }
        Ok(Self { id, log_key, beginning })
    }

    /// Origin and genesis hash.
    pub fn id(&self) -> &LedgerId {
        &self.id
    }

    /// The log key that the genesis names.
    pub(crate) fn log_key(&self) -> &VerifierKey {
        &self.log_key
    }

    /// The genesis and the first key statements, in order.
    pub(crate) fn beginning(&self) -> &[SignedStatement] {
        &self.beginning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_file_is_relative_to_the_configuration() {
        for (url, resolved) in [
            ("sqlite:chain.db", "sqlite:/etc/seal 100%25/chain.db"),
            ("sqlite://data/chain.db?cache=private", "sqlite:/etc/seal 100%25/data/chain.db?cache=private"),
            ("sqlite:/var/chain.db", "sqlite:/var/chain.db"),
            ("sqlite:///var/chain.db", "sqlite:///var/chain.db"),
            ("postgres://seal:secret@db/seal", "postgres://seal:secret@db/seal"),
        ] {
            let mut database = DatabaseUrl(url.to_owned());
            database.resolve(Path::new("/etc/seal 100%"));
            assert_eq!(database.0, resolved);
        }
    }

    #[test]
    fn place_of_database_holds_no_password() {
        for (url, place) in [
            ("sqlite:/var/chain.db", "SQLite /var/chain.db"),
            ("sqlite:///var/chain.db?cache=private", "SQLite /var/chain.db"),
            ("postgres://seal:secret@db/seal", "PostgreSQL db:5432/seal"),
            ("postgresql://seal:s%2Fecret@[::1]:5433/chains?sslmode=require", "PostgreSQL [::1]:5433/chains"),
            ("postgres:///seal?host=/run/postgresql&user=seal&password=secret", "PostgreSQL /run/postgresql:5432/seal"),
            ("postgres://seal:sec/ret@db/seal", "unknown"),
        ] {
            assert_eq!(DatabaseUrl(url.to_owned()).place(), place, "{url}");
        }
    }

    #[test]
    fn commitments_topic_needs_a_reserved_name() {
        let parse = |topic: &str| {
            let fields = format!("database = 'sqlite:chain.db'\ncommitments_topic = '{topic}'");
            service::config::parse::<Config>(&fields, Path::new("x.toml")).map_err(|error| format!("{error:#}"))
        };
        for topic in ["commitments", "streamseal.commitments.audit"] {
            assert_eq!(parse(topic).expect("good").commitments_topic, topic);
        }
        for topic in ["audit-commitments", "orders", ""] {
            let problem = parse(topic).expect_err("ingest-consumers of other ledgers would seal it");
            assert!(problem.contains("commitments_topic") && problem.contains("streamseal.commitments."), "{problem}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let shown = format!("{:?}", DatabaseUrl("postgres://seal:secret@db/seal".to_owned()));
        assert_eq!(shown, "postgres:...");
    }
}
