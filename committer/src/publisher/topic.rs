//! The topic of commitments. It is a trait, so that a simulation can replace the broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka::{Cluster, Producer, Properties, Reader, Record, TopicPartition};
use service::{Component, Shutdown};

/// How often a broker that does not answer is reported, and `stop` checked meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// A record to publish. Its value is the same bytes each time it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `topic/partition`, or the kind where there is no stream.
    pub key: String,
    /// A [`Commitment`](committer_client::Commitment) as JSON.
    pub value: Vec<u8>,
}

/// Maximum time for a broker to answer a question about the topic.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How many offsets before a partition's end are searched first for its newest record. Markers, such as the end of a
/// transaction, take offsets too.
const LOOK_FIRST: i64 = 16;

/// The newest record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The partition's number.
    pub partition: u32,
    /// The record's value; empty when it has none.
    pub value: Vec<u8>,
}

/// The topic of commitments.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// The newest record of each partition that has any; `None` when there is no such topic.
    ///
    /// # Errors
    /// When the cluster does not answer, or does not allow it.
    async fn newest(&self) -> Result<Option<Vec<Newest>>, kafka::Error>;

    /// A new producer, for a publisher that begins.
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

#[async_trait]
impl Topic for KafkaTopic {
    fn name(&self) -> &str {
        &self.name
    }

    async fn newest(&self) -> Result<Option<Vec<Newest>>, kafka::Error> {
        let (properties, name) = (self.properties.clone(), Arc::clone(&self.name));
        let look = move || newest(&properties, &name);
        tokio::task::spawn_blocking(look).await.expect("looking does not panic")
    }

    fn producer(&self) -> Result<Box<dyn Deliver>, kafka::Error> {
        let producer = Arc::new(Producer::new(&self.properties)?);
        let (topic, properties) = (Arc::clone(&self.name), self.properties.clone());
        Ok(Box::new(KafkaProducer { producer, topic, properties }))
    }
}

/// See [`Topic::newest`].
fn newest(properties: &Properties, topic: &str) -> Result<Option<Vec<Newest>>, kafka::Error> {
    let cluster = Cluster::new(properties, ANSWER_MAX)?;
    let Some(found) = cluster.topic(topic)? else { return Ok(None) };
    let partitions: Vec<_> = (0..found.partitions).map(|number| TopicPartition::new(topic, number)).collect();
    let marks = cluster.watermarks(&partitions)?;
    let mut reader = Reader::new(properties, ANSWER_MAX)?;
    let mut records = Vec::new();
    for (number, partition) in (0..).zip(&partitions) {
        let marks = marks[partition];
        let (mut from, mut width, mut last) = (marks.stable, LOOK_FIRST, None);
        while last.is_none() && from > marks.low {
            from = marks.stable.saturating_sub(width).max(marks.low);
            width = width.saturating_mul(LOOK_FIRST);
            reader.read(partition, from..marks.stable, |event| {
                last = Some(event.value.map(<[u8]>::to_vec).unwrap_or_default());
                Ok::<_, kafka::Error>(())
            })?;
        }
        records.extend(last.map(|value| Newest { partition: number, value }));
    }
    Ok(Some(records))
}

/// The message about a missing topic.
pub(super) fn absent(topic: &str) -> String {
    format!("the topic {topic} does not exist, and the brokers do not create it: create it")
}

/// Finds out why no broker acknowledges records for a topic.
fn unacknowledged(properties: &Properties, topic: &str) -> String {
    let message = format!("Kafka does not acknowledge the records for the topic {topic}");
    match Cluster::new(properties, PATIENCE).and_then(|cluster| cluster.topic(topic)) {
        Ok(None) => absent(topic),
        Ok(Some(_)) => message,
        Err(error) => format!("{message}: {error}"),
    }
}

struct KafkaProducer {
    producer: Arc<Producer>,
    topic: Arc<str>,
    /// For asking why nothing is acknowledged.
    properties: Properties,
}

#[async_trait]
impl Deliver for KafkaProducer {
    async fn deliver(&self, messages: Vec<Message>, health: &Component, stop: &Shutdown) -> Result<bool, kafka::Error> {
        let (producer, topic, stop) = (Arc::clone(&self.producer), Arc::clone(&self.topic), stop.clone());
        let (health, properties) = (health.clone(), self.properties.clone());
        let send = move || {
            let keep_on = || {
                health.not_ready(unacknowledged(&properties, &topic));
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
