//! The ingest-consumer: batches, hashes, signs and submits the events of each partition.
//!
//! - [`stream`] decides: one pure step per stream, without Kafka, HTTP, clock or async. [`cursor`] and
//!   [`acknowledgement`] verify the committer's answers. The simulation drives these three.
//! - `consume` is the one thread that reads from Kafka and steps the streams. An `assignment` is an assigned partition
//!   with its stream, metrics and health. `hashing` hashes in between; under load, on a second thread.
//! - `clients` asks the committer and the cluster, signs and submits. It runs in async tasks; each stream has at most
//!   one request in flight.
//! - `lag` compares the cursors with Kafka's watermarks, and `stall` finds the streams that do not move.
//! - [`run`] connects these.
//!
//! Memory is bounded. These have limits: the events that the Kafka client fetches ahead, the events being hashed, and
//! the unacknowledged statements of each stream. A stream that reaches its limit is not read.

pub mod acknowledgement;
mod assignment;
mod clients;
mod config;
mod consume;
pub mod cursor;
mod halt;
mod hashing;
mod lag;
mod metrics;
mod run;
mod single_flight;
mod stall;
mod status;
pub mod stream;

pub use config::{BATCH_BYTES, BATCH_EVENTS, Config};
pub use halt::Halt;
pub use metrics::METRICS;
pub use run::run;
