//! Where commitments go: a topic of Kafka, as a trait, so that a simulation can stand in for the broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka::{Producer, Properties, Record};
use service::{Component, Shutdown};

/// How often a broker that does not answer is reported, and `stop` looked at while it does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// A record to be: its key, and the value that is the same bytes however often it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `topic/partition`, or the kind where there is no stream.
    pub key: String,
    /// A [`Commitment`](committer_client::Commitment) as JSON.
    pub value: Vec<u8>,
}

/// The topic of commitments.
pub trait Topic: Send + Sync {
    /// A producer of its own for whoever begins to publish.
    ///
    /// # Errors
    /// When the client library does not accept the configuration.
    fn producer(&self) -> Result<Box<dyn Deliver>, kafka::Error>;
}

/// A producer that keeps what the crate `kafka` promises: after the first record that cannot be delivered none is.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Sends records and waits until all are acknowledged, however long that takes; `false` at `stop`.
    ///
    /// # Errors
    /// When one cannot be delivered; those before it may have been.
    async fn deliver(&self, messages: Vec<Message>, health: &Component, stop: &Shutdown) -> Result<bool, kafka::Error>;
}

/// A topic in a Kafka cluster.
pub(crate) struct KafkaTopic {
    pub(crate) properties: Properties,
    pub(crate) name: Arc<str>,
}

impl Topic for KafkaTopic {
    fn producer(&self) -> Result<Box<dyn Deliver>, kafka::Error> {
        let producer = Arc::new(Producer::new(&self.properties)?);
        Ok(Box::new(KafkaProducer { producer, topic: Arc::clone(&self.name) }))
    }
}

struct KafkaProducer {
    producer: Arc<Producer>,
    topic: Arc<str>,
}

#[async_trait]
impl Deliver for KafkaProducer {
    async fn deliver(&self, messages: Vec<Message>, health: &Component, stop: &Shutdown) -> Result<bool, kafka::Error> {
        let (producer, topic, stop) = (Arc::clone(&self.producer), Arc::clone(&self.topic), stop.clone());
        let health = health.clone();
        let send = move || {
            let keep_on = || {
                health.not_ready("Kafka does not acknowledge the records for the topic of commitments");
                !stop.is_cancelled()
            };
            for Message { key, value } in &messages {
                let (key, value) = (Some(key.as_bytes()), Some(value.as_slice()));
                let record = Record { topic: &topic, key, value, ..Record::default() };
                while !producer.send(&record, PATIENCE)? {
                    if !keep_on() {
                        return Ok(false);
                    }
                }
            }
            while !producer.flush(PATIENCE)? {
                if !keep_on() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        tokio::task::spawn_blocking(send).await.expect("sending does not panic")
    }
}
