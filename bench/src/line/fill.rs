//! Fills topics with records before a measurement.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::Servers;

/// Time for an answer of the broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Time until the producer's queue has room.
const FULL: Duration = Duration::from_millis(2);

/// Size of the text from which values are cut.
const TEXT_BYTES: usize = 1 << 20;

/// A topic full of records of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled<'a> {
    /// Size of each record's value, in bytes. Records have no key and no headers.
    pub size: usize,
    /// Partitions, all equally full.
    pub partitions: u32,
    /// Records in each partition.
    pub per_partition: u64,
    /// librdkafka's `compression.type`.
    pub codec: &'a str,
}

impl Filled<'_> {
    /// Makes the topic, unless an earlier run made it, and returns its name.
    ///
    /// # Errors
    /// When the broker refuses, or a topic of this name is not full.
    pub fn fill(&self, servers: &Servers) -> anyhow::Result<String> {
        let Self { size, partitions, per_partition, codec } = *self;
        let name = format!("bench-{size}-{partitions}-{per_partition}-{codec}");
        servers.topic(&name, partitions)?;
        let reader: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers.bootstrap()).create()?;
        let held = |partition: u32| {
            let (_, high) = reader.fetch_watermarks(&name, partition.cast_signed(), ANSWER_WITHIN)?;
            u64::try_from(high).context("an offset")
        };
        if held(partitions - 1)? == 0 {
            Flood { topic: &name, partitions, size, codec }.send(servers.bootstrap(), Until::Each(per_partition))?;
        }
        for partition in 0..partitions {
            let held = held(partition)?;
            ensure!(held == per_partition, "{name}/{partition} holds {held} records, not {per_partition}: delete it");
        }
        Ok(name)
    }
}

/// Records sent as fast as the broker takes them, to all partitions in turn.
#[derive(Debug, Clone, Copy)]
pub struct Flood<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: u32,
    /// Size of each record's value, in bytes.
    pub size: usize,
    /// librdkafka's `compression.type`.
    pub codec: &'a str,
}

/// The end of the load.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// When each partition has this number of records.
    Each(u64),
    /// After this time.
    Passed(Duration),
}

impl Flood<'_> {
    /// Sends records. Returns the number per partition when the broker has acknowledged all.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn send(&self, bootstrap: &str, until: Until) -> anyhow::Result<u64> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.type", self.codec)
            .set("linger.ms", "50")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "262144")
            .create()?;
        let text = text();
        // Each partition gets a run of records at a time, so that its batches fill up.
        let run = (16_384 / self.size.max(16)).max(1) as u64;
        let (begun, mut number, mut each) = (Instant::now(), 0, 0);
        loop {
            let more = match until {
                Until::Each(all) => run.min(all - each),
                Until::Passed(time) if begun.elapsed() < time => run,
                Until::Passed(_) => 0,
            };
            if more == 0 {
                break;
            }
            for partition in 0..self.partitions {
                for _ in 0..more {
                    number += 1;
                    self.send_one(&producer, partition, value(&text, number, self.size))?;
                }
            }
            each += more;
        }
        producer.flush(ANSWER_WITHIN).context("the broker does not acknowledge")?;
        Ok(each)
    }

    fn send_one(
        &self,
        producer: &ThreadedProducer<DefaultProducerContext>,
        partition: u32,
        value: &[u8],
    ) -> anyhow::Result<()> {
        let mut record = BaseRecord::<(), [u8]>::to(self.topic).partition(partition.cast_signed()).payload(value);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    thread::sleep(FULL);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

/// Random-looking hexadecimal text, which compresses to about half, as JSON records do.
pub(crate) fn text() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let digits = std::iter::repeat_with(|| {
        // Multiplier and increment of Knuth's MMIX. Only the upper bits are random enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(state >> 60) as usize]
    });
    digits.take(TEXT_BYTES).collect()
}

/// The value of a record, which differs from the previous one.
pub(crate) fn value(text: &[u8], number: usize, size: usize) -> &[u8] {
    let from = number * 7919 % (text.len() - size);
    &text[from..from + size]
}
