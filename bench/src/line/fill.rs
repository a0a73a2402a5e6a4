//! Topics filled with records before anything is measured.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::Servers;

/// For the broker to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// For the producer's queue to have room again.
const FULL: Duration = Duration::from_millis(2);

/// What values are cut out of.
const TEXT_BYTES: usize = 1 << 20;

/// A topic full of records of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled<'a> {
    /// Of each record's value, in bytes; it has no key and no headers.
    pub size: usize,
    /// Partitions, all equally full.
    pub partitions: u32,
    /// Records in each partition.
    pub per_partition: u64,
    /// librdkafka's `compression.type`.
    pub codec: &'a str,
}

impl Filled<'_> {
    /// Makes the topic, unless it is there from an earlier run; returns its name.
    ///
    /// # Errors
    /// When the broker refuses, or a topic of this name is not full.
    pub fn fill(&self, servers: &Servers) -> anyhow::Result<String> {
        let Self { size, partitions, per_partition, codec } = *self;
        let name = format!("bench-{size}-{partitions}-{per_partition}-{codec}");
        servers.topic(&name, partitions)?;
        let held = |partition| self.held(servers, &name, partition);
        if held(partitions - 1)? == 0 {
            self.produce(servers, &name)?;
        }
        for partition in 0..partitions {
            let held = held(partition)?;
            ensure!(held == per_partition, "{name}/{partition} holds {held} records, not {per_partition}: delete it");
        }
        Ok(name)
    }

    fn held(&self, servers: &Servers, name: &str, partition: u32) -> anyhow::Result<u64> {
        let reader: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers.bootstrap()).create()?;
        let (_, high) = reader.fetch_watermarks(name, partition.cast_signed(), ANSWER_WITHIN)?;
        u64::try_from(high).context("an offset")
    }

    fn produce(&self, servers: &Servers, name: &str) -> anyhow::Result<()> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", servers.bootstrap())
            .set("enable.idempotence", "true")
            .set("compression.type", self.codec)
            .set("linger.ms", "50")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "10000000")
            .set("queue.buffering.max.messages", "200000")
            .create()?;
        let text = text();
        // A partition gets a run of records at a time, so that its message sets fill up.
        let run = (16_384 / self.size.max(16)).max(1) as u64;
        let mut number = 0usize;
        for from in (0..self.per_partition).step_by(run as usize) {
            for partition in 0..self.partitions {
                for _ in from..(from + run).min(self.per_partition) {
                    number += 1;
                    send(&producer, name, partition, value(&text, number, self.size))?;
                }
            }
        }
        producer.flush(ANSWER_WITHIN).context("the broker does not acknowledge")
    }
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partition: u32,
    value: &[u8],
) -> anyhow::Result<()> {
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition.cast_signed()).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(FULL);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Text that compresses to about half, as records of JSON do: hexadecimal digits that look random.
pub(crate) fn text() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let digits = std::iter::repeat_with(|| {
        // The multiplier and the increment of Knuth's MMIX; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(state >> 60) as usize]
    });
    digits.take(TEXT_BYTES).collect()
}

/// The value of a record, not the same as that of the one before.
pub(crate) fn value(text: &[u8], number: usize, size: usize) -> &[u8] {
    let from = number * 7919 % (text.len() - size);
    &text[from..from + size]
}
