//! Kafka records as events, byte for byte, and what a sealer must know of a cluster.
//!
//! - [`Consumer`] reads partitions, given by a group or chosen, each from the offset its owner says. Rebalances, ends and
//!   failures are values. Nothing is skipped: not at an error, not in a rebalance, not when an offset is gone.
//! - [`Cluster`] answers questions: cluster and topic ids, watermarks, offsets by time.
//! - [`Reader`] reads a range again.
//! - [`Producer`] writes records in order, each once.
//! - [`EmbeddedBroker`] is a Kafka for a demo.
//!
//! All of it blocks its caller and belongs on threads of its own; nothing here is async. It stands on librdkafka, of which
//! one thing must be known: it goes on reading in a topic that was deleted and created again, at the same offset, and says
//! nothing. Only the topic's id differs, so whoever relies on what was read asks for the id after reading.

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
pub use consumer::{Batch, Consumer, Failure, FailureKind, Item, Polled, Rebalance, Subscription};
pub use embedded::EmbeddedBroker;
pub use error::Error;
pub use partition::TopicPartition;
pub use producer::{Producer, Record};
pub use properties::Properties;
pub use reader::{Read, Reader};
pub use signal::Waker;
