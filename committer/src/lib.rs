//! Appends signed statements to the chain, signs checkpoints, serves and publishes the log.
//!
//! The HTTP interface parses a statement and verifies its signatures, and the appender queues it. The appender's worker
//! locks the ledger, lets `evidence::chain::State` decide, and commits all queued statements in one transaction of the
//! [`store`]. The signer reads the chain back and signs its head. The publisher sends every entry to Kafka. Committers
//! that share a PostgreSQL know nothing of each other.

mod adopt;
mod appender;
mod chain;
mod changes;
mod checkpoints;
mod committer;
mod compute;
mod config;
#[cfg(test)]
mod failing_link;
mod fsck;
mod handoff;
mod http;
mod log_key;
mod metrics;
mod parse;
mod publisher;
mod replay;
mod resume;
mod run;
mod signer;
mod soundness;
pub mod store;
mod watcher;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use adopt::adopt;
pub use committer::{Committer, CommitterParts, Task, Tasks};
pub use compute::Compute;
pub use config::{Config, DatabaseUrl, Ledger};
pub use fsck::{Report, fsck};
pub use http::{ApiError, Opened};
pub use log_key::LogKey;
pub use metrics::METRICS;
pub use publisher::{Deliver, Message, Newest, Topic};
pub use run::{ServiceParts, run};

/// Milliseconds since 1970 by the clock of this machine.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of the operating system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
