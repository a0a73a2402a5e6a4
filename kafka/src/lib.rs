//! Kafka records as events, byte for byte, and what a sealer must know of a cluster.

mod client;
mod cluster;
mod consumer;
mod embedded;
mod error;
mod event;
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
