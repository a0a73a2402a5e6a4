//! Events as a test keeps them, produced and read by the crate `kafka`.

use std::time::{Duration, Instant};

use evidence::{EventRef, TimestampType};
use kafka::{Consumer, EmbeddedBroker, Item, Polled, Producer, Properties, ReadError, Record, TopicPartition};

/// Longer than any step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An owned event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<&EventRef<'_>> for Kept {
    fn from(event: &EventRef<'_>) -> Self {
        let headers = event.headers.iter();
        Self {
            offset: event.offset,
            timestamp: event.timestamp,
            timestamp_type: event.timestamp_type,
            key: event.key.map(<[u8]>::to_vec),
            value: event.value.map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// An in-process broker with these topics and their numbers of partitions.
pub fn broker(topics: &[(&str, u32)]) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().expect("a loopback port is free");
    for (name, partitions) in topics {
        let created = broker.create_topic(name, *partitions);
        created.expect("the topic is new");
    }
    broker
}

/// Properties of a client of the broker at `bootstrap`.
pub fn properties(bootstrap: &str, more: &[(&str, &str)]) -> Properties {
    let bootstrap = [("bootstrap.servers", bootstrap)];
    let properties = bootstrap.iter().chain(more).copied();
    Properties::new(properties).expect("no fixed property is overridden")
}

/// A consumer in no group.
pub fn alone(bootstrap: &str) -> Consumer {
    Consumer::standalone(&properties(bootstrap, &[]), "alone").expect("the properties are valid")
}

/// Produces events with these values to one partition.
pub fn produce<V: AsRef<[u8]>>(bootstrap: &str, topic: &str, partition: u32, values: impl IntoIterator<Item = V>) {
    let producer = Producer::new(&properties(bootstrap, &[])).expect("the properties are valid");
    for value in values {
        let record = Record { topic, partition: Some(partition), value: Some(value.as_ref()), ..Record::default() };
        assert!(producer.send(&record, PATIENCE).expect("it is accepted"));
    }
    assert!(producer.flush(PATIENCE).expect("it is delivered"));
}

/// Reads the one started partition up to `end`.
///
/// # Errors
/// When the consumer reports that the partition cannot be read.
pub fn read_to(consumer: &mut Consumer, end: i64) -> Result<Vec<Kept>, ReadError> {
    let deadline = Instant::now() + PATIENCE;
    let mut kept = Vec::new();
    while Instant::now() < deadline {
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            while let Some(item) = batch.next_item() {
                match item {
                    Item::Event { event, .. } => kept.push(Kept::from(&event)),
                    Item::End { next } if next == end => return Ok(kept),
                    Item::End { .. } => {}
                    Item::Error(error) => return Err(error),
                }
            }
        }
    }
    let count = kept.len();
    panic!("no end at {end} within {PATIENCE:?}; read {count} events");
}

/// All events of a partition up to `end`.
pub fn read_all(bootstrap: &str, topic: &str, partition: u32, end: i64) -> Vec<Kept> {
    let mut consumer = alone(bootstrap);
    let partition = TopicPartition::new(topic, partition);
    let started = consumer.start([(partition, 0)]);
    started.expect("it is in no group");
    read_to(&mut consumer, end).expect("the partition is readable")
}
