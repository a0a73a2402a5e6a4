//! Records sent at a rate, whatever becomes of them.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::fill::{text, value};

/// For the broker to acknowledge the last.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// What is due is sent so often.
const TICK: Duration = Duration::from_micros(500);

/// A load on all partitions in turn.
#[derive(Debug, Clone, Copy)]
pub struct Paced<'a> {
    /// An empty topic, that nobody else writes to.
    pub topic: &'a str,
    /// All of its partitions.
    pub partitions: u32,
    /// Records each second.
    pub events_s: u64,
    /// Bytes of each value.
    pub size: usize,
}

/// What was sent, and when each record was due: the n-th one n / rate seconds after the first.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When the first was due.
    pub begun: SystemTime,
    /// How many records.
    pub events: u64,
    partitions: u32,
    events_s: u64,
}

impl Paced<'_> {
    /// Sends so many records, and returns when the broker has them all.
    ///
    /// # Errors
    /// When the broker does not take them: a load that is not what it is said to be measures nothing.
    pub fn send(&self, bootstrap: &str, events: u64) -> anyhow::Result<Sent> {
        // Without retries that change the order, a record's offset tells its number.
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("linger.ms", "0")
            .set("queue.buffering.max.messages", "1000000")
            .create()?;
        producer.client().fetch_metadata(Some(self.topic), ACKNOWLEDGED_WITHIN)?;
        let text = text();
        let (clock, mut number) = (Instant::now(), 0);
        let begun = SystemTime::now();
        while number < events {
            let due = (clock.elapsed().as_secs_f64() * self.events_s as f64) as u64 + 1;
            while number < due.min(events) {
                let partition = (number % u64::from(self.partitions)) as i32;
                let value = value(&text, number as usize, self.size);
                let record = BaseRecord::<(), [u8]>::to(self.topic).partition(partition).payload(value);
                producer.send(record).map_err(|(error, _)| error).context("the broker is slower than the rate")?;
                number += 1;
            }
            // A pace, not a wait.
            thread::sleep(TICK);
        }
        producer.flush(ACKNOWLEDGED_WITHIN).context("the broker does not acknowledge")?;
        Ok(Sent { begun, events, partitions: self.partitions, events_s: self.events_s })
    }
}

impl Sent {
    /// How many records are in a partition.
    pub fn count(&self, partition: u32) -> u64 {
        (self.events + u64::from(self.partitions - 1 - partition)) / u64::from(self.partitions)
    }

    /// When the record at an offset was due.
    pub fn due(&self, partition: u32, offset: u64) -> SystemTime {
        let number = offset * u64::from(self.partitions) + u64::from(partition);
        self.begun + Duration::from_secs_f64(number as f64 / self.events_s as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_one_after_the_other_over_all_partitions() {
        let sent = Sent { begun: SystemTime::UNIX_EPOCH, events: 11, partitions: 4, events_s: 1000 };
        assert_eq!([0, 1, 2, 3].map(|partition| sent.count(partition)), [3, 3, 3, 2]);
        let due = |partition, offset| sent.due(partition, offset).duration_since(sent.begun).unwrap().as_millis();
        assert_eq!([due(0, 0), due(1, 0), due(3, 0), due(0, 1), due(2, 2)], [0, 1, 3, 4, 10]);
    }
}
