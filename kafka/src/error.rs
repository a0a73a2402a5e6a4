use rdkafka::error::KafkaError;

use crate::TopicPartition;

/// Why a client could not be made or could not do what it was asked.
///
/// What happens to one partition while it is read is no error here but a [`Failure`](crate::Failure) in its place
/// among the partition's events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A property of `[kafka]` is missing, unknown, or would void what a reader of evidence promises. Nothing but a
    /// change of the configuration helps.
    #[error("kafka property \"{name}\": {reason}")]
    Property {
        /// The property's name.
        name: String,
        /// What is wrong with it and what to do.
        reason: String,
    },

    /// The partition cannot be started, sought or committed by this consumer, as it does not have it.
    #[error("{partition}: {reason}")]
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// Why not.
        reason: String,
    },

    /// The cluster or the client library refused or did not answer. Asking again may help.
    #[error("kafka: {doing}: {reason}")]
    Client {
        /// What was being done, with the topic and partition where there is one.
        doing: String,
        /// What librdkafka said.
        reason: String,
    },

    /// The client can never work again (fenced, or a guarantee it was asked for cannot be kept): make a new one.
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

    /// For errors of making a client: a bad property is told by its name, and never with its value, which may be a
    /// password.
    pub(crate) fn creation(doing: &str, error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, reason, name, _) => Self::property(name, reason),
            other => Self::client(doing, other),
        }
    }
}
