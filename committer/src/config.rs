use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Context;
use evidence::chain::State;
use evidence::statement::LedgerId;
use evidence::{SignedStatement, Statement};
use schemars::JsonSchema;
use serde::Deserialize;

/// The committer: keeps the chain, signs its heads, serves it and publishes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database: `sqlite:FILE` for one committer, `postgres://user:password@host:port/name` for one or several.
    pub database: DatabaseUrl,
    /// The log key, a file of mode 0600, which signs checkpoints and heads. What was signed last stands beside it, in a
    /// file whose name ends in `.high-water`: keep the two together, and never restore that file from a backup. A
    /// committer without a log key appends and serves only.
    pub log_key: Option<PathBuf>,
    /// The shortest time between two checkpoints in milliseconds.
    #[serde(default = "default_checkpoint_ms")]
    pub checkpoint_ms: NonZeroU32,
    /// Seconds between two entries that state where all streams stand, while any of them moves.
    #[serde(default = "default_heads_s")]
    pub heads_s: NonZeroU32,
    /// The Kafka topic that every entry is published to.
    #[serde(default = "default_commitments_topic")]
    pub commitments_topic: String,
    /// Address to serve on: the HTTP interface, health and metrics.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// Address of a database. It may hold a password, so it is never shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split_once(':').map_or("...", |(scheme, _)| scheme))?;
        f.write_str(":...")
    }
}

fn default_checkpoint_ms() -> NonZeroU32 {
    NonZeroU32::new(1_000).expect("not zero")
}

fn default_heads_s() -> NonZeroU32 {
    NonZeroU32::new(60).expect("not zero")
}

fn default_commitments_topic() -> String {
    "commitments".to_owned()
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7380).into()
}

/// The ledger to keep, and how it begins.
#[derive(Debug, Clone)]
pub struct Ledger {
    id: LedgerId,
    beginning: Vec<SignedStatement>,
}

impl Ledger {
    /// Takes the genesis and the key statements that follow it when the chain is empty.
    ///
    /// # Errors
    /// When they are not the valid beginning of a chain.
    pub fn new(genesis: SignedStatement, grants: Vec<SignedStatement>) -> anyhow::Result<Self> {
        let Statement::Genesis(statement) = genesis.statement() else {
            anyhow::bail!("the genesis file holds a {} statement", genesis.statement().kind());
        };
        let id = LedgerId { origin: statement.origin.clone(), genesis: genesis.hash() };
        let beginning: Vec<_> = std::iter::once(genesis).chain(grants).collect();
        let mut state = State::new(&id.origin, id.genesis);
        for (i, statement) in beginning.iter().enumerate() {
            let which = || if i == 0 { "the genesis".to_owned() } else { format!("grant {i} of the configuration") };
            state.apply(&state.draft(statement.clone(), 0)).with_context(which)?;
        }
        Ok(Self { id, beginning })
    }

    /// Origin and genesis hash.
    pub fn id(&self) -> &LedgerId {
        &self.id
    }

    /// The genesis and the first key statements, in order.
    pub(crate) fn beginning(&self) -> &[SignedStatement] {
        &self.beginning
    }
}
