//! The configuration file: one section for each service, and what they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;

/// A configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ledger that everything here belongs to.
    pub ledger: Ledger,
    /// Properties of librdkafka, by their own names, in quotes: `"ssl.ca.location" = "/etc/ssl/ca.pem"`. Without
    /// `"bootstrap.servers"`, `streamseal up` starts the in-process broker. Properties that the guarantees rest on
    /// (such as `isolation.level`) cannot be changed.
    #[serde(default)]
    pub kafka: kafka::Properties,
    /// The ingest-consumer: what is sealed, and how.
    pub ingest: Option<ingest_consumer::Config>,
    /// The committer: where the chain lives.
    pub committer: Option<committer::Config>,
    /// The anchor: where checkpoints are published.
    pub anchor: Option<anchor::Config>,
}
