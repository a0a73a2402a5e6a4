//! The ingest-consumer: batches, hashes, signs and submits the events of each partition.
//!
//! - [`stream`] decides: the sealing of one stream as a pure step, without Kafka, HTTP, clock or async. [`cursor`] and
//!   [`acknowledgement`] say what of the committer's answers is believed. The simulation drives these three.
//! - `consume` is the one thread that reads from Kafka and lets the streams take their steps; a `seat` is an assigned
//!   partition with its stream, metrics and health. `hashing` takes place between the two, on a thread of its own where
//!   there is much to hash.
//! - `outside` asks the committer and the cluster, signs and submits; it runs in tasks, and a stream has one request
//!   under way at most.
//! - [`run`] puts these together.
//!
//! Bounded are the events that the Kafka client fetches ahead, per partition; the events that are being hashed; the
//! statements of a stream that are not acknowledged, after which it is not read; and the requests under way, one per stream.

pub mod acknowledgement;
mod config;
mod consume;
pub mod cursor;
mod delay;
mod halt;
mod hashing;
mod lag;
mod metrics;
mod outside;
mod place;
mod rounds;
mod run;
mod seat;
mod stall;
mod status;
pub mod stream;

pub use config::{BATCH_BYTES, BATCH_EVENTS, Config};
pub use halt::Halt;
pub use run::run;

#[cfg(test)]
#[path = "../tests/service/ledger.rs"]
mod ledger;
