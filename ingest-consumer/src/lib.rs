//! The ingest-consumer: batches, hashes, signs and submits the events of each partition.
//!
//! - [`stream`] decides: the sealing of one stream as a pure step, without Kafka, HTTP, clock or async.
//! - `consume` is the one thread that reads from Kafka, hashes, and lets the streams take their steps; a `seat` is an
//!   assigned partition with its stream, metrics and health.
//! - `outside` asks the committer and the cluster, verifies what the committer says (`cursor`), signs and submits; it
//!   runs in tasks, and a stream has one request under way at most.
//! - [`run`] puts these together.
//!
//! Bounded are the events that the Kafka client fetches ahead, per partition; the statements of a stream that are not
//! acknowledged, after which it is not read; and the requests under way, one per stream.

mod config;
mod consume;
mod cursor;
mod delay;
mod halt;
mod lag;
mod metrics;
mod outside;
mod place;
mod run;
mod seat;
pub mod stream;

pub use config::Config;
pub use halt::Halt;
pub use run::run;

#[cfg(test)]
#[path = "../tests/service/ledger.rs"]
mod ledger;
