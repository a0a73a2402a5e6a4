//! Sends records at a fixed rate, independent of sealing.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::fill::{text, value};

/// Time until the broker acknowledges the last record.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Interval between sends.
const TICK: Duration = Duration::from_micros(500);

/// A load on all partitions in turn.
#[derive(Debug, Clone, Copy)]
pub struct Paced<'a> {
    /// A topic without other producers.
    pub topic: &'a str,
    /// Records that each partition already holds.
    pub first: u64,
    /// All of its partitions.
    pub partitions: u32,
    /// Records per second.
    pub events_s: u64,
    /// Bytes of each value.
    pub size: usize,
}

/// The sent records. Record n is due n / rate seconds after the first.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When the first was due.
    pub begun: SystemTime,
    /// How many records.
    pub events: u64,
    /// The offset of the first of each partition.
    pub first: u64,
    partitions: u32,
    events_s: u64,
}

/// For each partition, the times at which all offsets below a cursor were known to be sealed.
pub type Sealings = BTreeMap<u32, Vec<(SystemTime, u64)>>;

/// Recorded percentiles.
pub const PERCENTILES: [f64; 9] = [0.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// The value at a percentile, in milliseconds.
pub fn milliseconds(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_percentile(percentile) as f64 / 1000.0
}

/// A histogram of microseconds, up to a minute.
///
/// # Errors
/// None, with bounds that are constant.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("bounds of a histogram")
}

impl Paced<'_> {
    /// Sends `records` records. Returns when the broker has acknowledged all.
    ///
    /// # Errors
    /// When the broker is too slow for the rate, because the result would mean nothing.
    pub fn send(&self, bootstrap: &str, events: u64) -> anyhow::Result<Sent> {
        // No retry changes the order, so the offset of a record gives its number.
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
            // A rate, not a wait.
            thread::sleep(TICK);
        }
        producer.flush(ACKNOWLEDGED_WITHIN).context("the broker does not acknowledge")?;
        Ok(Sent { begun, events, first: self.first, partitions: self.partitions, events_s: self.events_s })
    }
}

impl Sent {
    /// The number of records in a partition.
    pub fn count(&self, partition: u32) -> u64 {
        (self.events + u64::from(self.partitions - 1 - partition)) / u64::from(self.partitions)
    }

    /// Latencies in microseconds, from due to sealed, of all records due at `from` or later. `sealed` has the sealing
    /// times of each partition.
    ///
    /// # Errors
    /// When a record is not sealed, or was sealed before it was sent.
    pub fn latencies(&self, sealed: &Sealings, from: SystemTime) -> anyhow::Result<Histogram<u64>> {
        let mut histogram = histogram()?;
        for partition in 0..self.partitions {
            let mut sealed = sealed.get(&partition).map(Vec::as_slice).unwrap_or_default().iter().peekable();
            for offset in 0..self.count(partition) {
                while sealed.next_if(|(_, next)| *next <= self.first + offset).is_some() {}
                let (at, _) = sealed.peek().with_context(|| format!("{partition}: {offset} is not sealed"))?;
                let due = self.due(partition, offset);
                if due >= from {
                    let took = at.duration_since(due).context("sealed before it was sent")?;
                    histogram.record(took.as_micros() as u64).context("more than a minute")?;
                }
            }
        }
        Ok(histogram)
    }

    /// Whether all of it is sealed.
    pub fn is_sealed(&self, sealed: &Sealings) -> bool {
        (0..self.partitions).all(|partition| {
            let last = sealed.get(&partition).and_then(|sealed| sealed.last());
            last.is_some_and(|(_, next)| *next >= self.first + self.count(partition))
        })
    }

    /// When the record at an offset, counted from the first one sent, was due.
    pub fn due(&self, partition: u32, offset: u64) -> SystemTime {
        let number = offset * u64::from(self.partitions) + u64::from(partition);
        self.begun + Duration::from_secs_f64(number as f64 / self.events_s as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_in_turn_over_partitions() {
        let sent = Sent { begun: SystemTime::UNIX_EPOCH, events: 11, first: 0, partitions: 4, events_s: 1000 };
        assert_eq!([0, 1, 2, 3].map(|partition| sent.count(partition)), [3, 3, 3, 2]);
        let due = |partition, offset| sent.due(partition, offset).duration_since(sent.begun).unwrap().as_millis();
        assert_eq!([due(0, 0), due(1, 0), due(3, 0), due(0, 1), due(2, 2)], [0, 1, 3, 4, 10]);
    }

    #[test]
    fn latency_runs_from_due_time_to_sealing() {
        let begun = SystemTime::UNIX_EPOCH;
        let sent = Sent { begun, events: 6, first: 10, partitions: 2, events_s: 1000 };
        let at = |ms| begun + Duration::from_millis(ms);
        let mut sealed = Sealings::from([(0, vec![(at(1), 10), (at(20), 12), (at(30), 13)]), (1, vec![(at(5), 13)])]);
        let histogram = sent.latencies(&sealed, begun).unwrap();
        // Due at 0, 2 and 4 ms, sealed at 20, 20 and 30; due at 1, 3 and 5 ms, sealed at 5.
        let mut waited: Vec<u64> = histogram.iter_recorded().map(|value| value.value_iterated_to() / 1000).collect();
        waited.dedup();
        assert_eq!((histogram.len(), waited), (6, vec![0, 2, 4, 18, 20, 26]));
        assert_eq!(sent.latencies(&sealed, at(4)).unwrap().len(), 2);
        assert!(sent.is_sealed(&sealed));
        sealed.get_mut(&1).unwrap().clear();
        assert!(!sent.is_sealed(&sealed) && sent.latencies(&sealed, begun).is_err());
    }
}
