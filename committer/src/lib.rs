//! Appends signed statements to the chain, signs checkpoints, serves and publishes the log.
//!
//! A statement's way: the HTTP interface reads it and verifies its signatures; the appender's queue takes it; the worker
//! locks the ledger, lets `evidence::chain::State` decide, and commits what waits as one transaction of the [`store`].
//! The signer reads the chain back and signs its head; the publisher sends every entry to Kafka. Committers that share
//! a PostgreSQL know nothing of each other.

mod adopt;
mod appender;
mod chain;
mod changes;
mod checkpoints;
mod compute;
mod config;
#[cfg(test)]
mod failing;
mod fsck;
mod http;
mod metrics;
mod parse;
mod parts;
mod publisher;
mod recent;
mod replay;
mod resume;
mod run;
mod signer;
pub mod store;
#[cfg(test)]
#[path = "../tests/suite/ledger.rs"]
#[allow(dead_code, reason = "the suites use more of it")]
mod test_ledger;
mod watcher;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use adopt::adopt;
pub use compute::Compute;
pub use config::{Config, DatabaseUrl, Ledger};
pub use fsck::{Report, fsck};
pub use http::{Failure, Opened};
pub use metrics::METRICS;
pub use parts::{LogKey, Materials, Parts, Task, Tasks};
pub use publisher::{Deliver, Message, Newest, Topic};
pub use run::{Surroundings, run};

/// Milliseconds since 1970 by the clock of this machine.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of the operating system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
