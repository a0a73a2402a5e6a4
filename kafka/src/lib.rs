//! Kafka records as events, byte for byte, and queries to a cluster.
//!
//! - [`Consumer`] reads partitions, each from an offset that its owner chooses. Rebalances, ends and errors are values.
//!   It never skips an event: not at an error, not in a rebalance, not when an offset was deleted.
//! - [`Cluster`] queries cluster and topic ids, watermarks, and offsets by time.
//! - [`Reader`] reads a range of offsets again.
//! - [`Producer`] writes records in order, each once.
//! - [`EmbeddedBroker`] is an in-process Kafka for demos and tests.
//!
//! All calls block; nothing here is async. This crate builds on librdkafka, which has one trap: when a topic is deleted
//! and recreated, it continues at the same offset of the new topic without an error. Only the topic id differs. To be
//! sure where events came from, query the topic id after reading them.

mod client;
mod cluster;
mod consumer;
mod embedded;
mod error;
mod event;
mod headers;
mod native;
mod partition;
mod producer;
mod properties;
mod queue;
mod reader;
mod signal;

pub use cluster::{Cluster, Topic, Watermarks};
pub use consumer::{Batch, Consumer, Item, Polled, ReadError, ReadErrorKind, Rebalance, Subscription};
pub use embedded::EmbeddedBroker;
pub use error::Error;
pub use partition::TopicPartition;
pub use producer::{Producer, Record};
pub use properties::Properties;
pub use reader::{Read, Reader};
pub use signal::Waker;
