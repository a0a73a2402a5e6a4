//! The configuration file: a section for each service, and those that they share.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use evidence::statement::Genesis;
use evidence::{SignedStatement, Statement};
use schemars::JsonSchema;
use serde::Deserialize;

/// The option that names the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file (docs/configuration.md)
    #[arg(long = "config", value_name = "FILE", default_value = "streamseal.toml", global = true)]
    pub path: PathBuf,
}

/// A configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The ledger that everything here belongs to.
    pub ledger: Ledger,
    /// Properties of librdkafka, by their own names, in quotes: `"ssl.ca.location" = "/etc/ssl/ca.pem"`;
    /// `"bootstrap.servers"` is required. Without this section `streamseal up` starts the in-process broker, and
    /// `streamseal committer` publishes nothing to Kafka. Properties that the guarantees depend on, such as
    /// `isolation.level`, cannot be changed.
    pub kafka: Option<kafka::Properties>,
    /// Which topics are sealed, and how. For `streamseal ingest` and `streamseal up`.
    pub ingest: Option<ingest_consumer::Config>,
    /// Where the chain lives. For `streamseal committer` and `streamseal up`.
    pub committer: Option<committer::Config>,
    /// Where checkpoints are published. For `streamseal anchor` and `streamseal up`.
    pub anchor: Option<anchor::Config>,
}

/// The ledger and its first statements.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    /// The log's origin, the same as in the genesis.
    pub origin: String,
    /// File with the signed genesis statement.
    pub genesis: PathBuf,
    /// Files with the first key statements, in order. The committer appends genesis and grants to an empty ledger. Later
    /// keys are granted with `streamseal key grant`.
    #[serde(default)]
    pub grants: Vec<PathBuf>,
}

impl ConfigFile {
    /// Reads the file; paths in it become relative to its folder.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let mut config: Config = service::config::load(&self.path)?;
        config.resolve(self.path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }
}

impl Config {
    fn resolve(&mut self, folder: &Path) {
        for path in std::iter::once(&mut self.ledger.genesis).chain(&mut self.ledger.grants) {
            *path = folder.join(&*path);
        }
        if let Some(ingest) = &mut self.ingest {
            ingest.resolve(folder);
        }
        if let Some(committer) = &mut self.committer {
            committer.resolve(folder);
        }
        if let Some(anchor) = &mut self.anchor {
            anchor.resolve(folder);
        }
    }

    /// The properties of librdkafka.
    pub(crate) fn kafka(&self) -> anyhow::Result<&kafka::Properties> {
        self.kafka.as_ref().context("the configuration has no section [kafka] with \"bootstrap.servers\"")
    }

    /// The address of the committer, from the section of ingest or anchor.
    pub(crate) fn committer_url(&self) -> anyhow::Result<String> {
        let ingest = self.ingest.as_ref().map(|ingest| &ingest.committer);
        let anchor = self.anchor.as_ref().map(|anchor| &anchor.committer);
        ingest.or(anchor).cloned().context("ingest.committer or anchor.committer must name the committer's address")
    }

    /// The repository and branch to read anchors from: the given clone, or the anchor's own repository.
    pub(crate) fn anchors(&self, given: Option<&Path>) -> anyhow::Result<(PathBuf, String)> {
        let anchor = self.anchor.as_ref();
        let branch = anchor.map_or_else(|| "anchors".to_owned(), |anchor| anchor.branch.clone());
        let repository = given.or(anchor.map(|anchor| anchor.repository.as_path()));
        let repository =
            repository.context("--clone DIR is needed, because the configuration has no section [anchor]")?;
        Ok((repository.to_owned(), branch))
    }
}

impl Ledger {
    /// The genesis statement.
    pub(crate) fn read_genesis(&self) -> anyhow::Result<SignedStatement> {
        let statement = read_statement(&self.genesis).context("ledger.genesis")?;
        let Statement::Genesis(Genesis { origin, .. }) = statement.statement() else {
            anyhow::bail!("ledger.genesis: {} holds another statement", self.genesis.display());
        };
        ensure!(*origin == self.origin, "ledger.origin must be {origin:?}, the origin in {}", self.genesis.display());
        Ok(statement)
    }

    /// The key statements that follow the genesis, in order.
    pub(crate) fn read_grants(&self) -> anyhow::Result<Vec<SignedStatement>> {
        self.grants.iter().map(|path| read_statement(path).context("ledger.grants")).collect()
    }
}

fn read_statement(path: &Path) -> anyhow::Result<SignedStatement> {
    let bytes = keystore::read_capped(path, evidence::statement::STATEMENT_BYTES_MAX)?;
    SignedStatement::parse(&bytes).with_context(|| path.display().to_string())
}
