use rdkafka::error::KafkaError;

use crate::TopicPartition;

/// Why a client could not be made, or a call failed.
///
/// An error in reading one partition is a [`ReadError`](crate::ReadError) instead, in its place among the events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A property of `[kafka]` is missing, unknown or would break a guarantee. Only a change of the configuration
    /// helps.
    #[error("kafka property \"{name}\": {reason}")]
    Property {
        /// The property's name.
        name: String,
        /// What is wrong with it and what to do.
        reason: String,
    },

    /// This consumer cannot start or read the partition.
    #[error("{partition}: {reason}")]
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        reason: String,
    },

    /// The cluster or the client library refused or did not answer. A retry may help.
    #[error("kafka: {doing}: {reason}")]
    Client {
        /// What the client was doing, with topic and partition if there is one.
        doing: String,
        /// What librdkafka said.
        reason: String,
    },

    /// The client can never work again: it was fenced, or it cannot keep a guarantee. Make a new one.
    #[error("kafka: the client stopped for good: {reason}")]
    Fatal {
        /// What librdkafka said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn property(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Property { name: name.into(), reason: reason.into() }
    }

    pub(crate) fn client(doing: impl Into<String>, reason: impl ToString) -> Self {
        Self::Client { doing: doing.into(), reason: reason.to_string() }
    }

    /// An error in making a client. It names a bad property, but never its value, which may be a password.
    pub(crate) fn creation(doing: &str, error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, reason, name, _) => Self::property(name, reason),
            other => Self::client(doing, other),
        }
    }
}
