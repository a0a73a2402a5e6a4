//! Producers that send at a fixed rate, independent of sealing, and count the broker's answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

/// Interval between sends.
const TICK: Duration = Duration::from_millis(10);

/// Time until the last events are acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Topic and partition.
pub(crate) type Place = (String, u32);

/// The load and its counts.
#[derive(Debug)]
pub(crate) struct Load {
    places: Vec<Place>,
    /// Events per second.
    events_s: AtomicU64,
    /// Acknowledged events, by place.
    acknowledged: Vec<AtomicU64>,
    /// Refused events.
    refused: AtomicU64,
    /// The slowest acknowledgement, in milliseconds.
    slowest_ms: AtomicU64,
    begun: Instant,
    next: AtomicU64,
}

impl Load {
    /// A load that has not begun.
    pub(crate) fn new(places: Vec<Place>) -> Self {
        Self {
            acknowledged: places.iter().map(|_| AtomicU64::new(0)).collect(),
            places,
            events_s: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            slowest_ms: AtomicU64::new(0),
            begun: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Sets the rate, in events per second.
    pub(crate) fn set_pace(&self, events_s: u64) {
        self.events_s.store(events_s, Ordering::SeqCst);
    }

    /// The number of acknowledged events.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|events| events.load(Ordering::SeqCst)).sum()
    }

    /// The numbers of acknowledged events, by place.
    pub(crate) fn acknowledged_by_place(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.places.iter().zip(self.acknowledged.iter().map(|events| events.load(Ordering::SeqCst)))
    }

    /// The number of refused events.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// The slowest acknowledgement.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest_ms.load(Ordering::SeqCst))
    }

    /// Sends to all places in turn until `ended`. Returns when the broker has answered all requests.
    pub(crate) fn produce(&self, bootstrap: &str, ended: &AtomicBool) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "100");
        let producer: BaseProducer<Answers<'_>> =
            config.create_with_context(Answers(self)).expect("the properties are valid");
        let answered = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !answered.load(Ordering::SeqCst) {
                    producer.poll(TICK);
                }
            });
            self.send_all(&producer, ended);
            let flushed = producer.flush(ACKNOWLEDGED_WITHIN);
            answered.store(true, Ordering::SeqCst);
            flushed.expect("the broker answers");
        });
    }

    fn send_all(&self, producer: &BaseProducer<Answers<'_>>, ended: &AtomicBool) {
        let (mut before, mut due) = (Instant::now(), 0.0);
        while !ended.load(Ordering::SeqCst) {
            let now = Instant::now();
            let events_s = self.events_s.load(Ordering::SeqCst) as f64;
            // It does not catch up on sends that a slow broker delayed.
            due = ((now - before).as_secs_f64() * events_s + due).min(events_s);
            before = now;
            while due >= 1.0 {
                self.send(producer);
                due -= 1.0;
            }
            // A pace, not a wait.
            thread::sleep(TICK);
        }
    }

    fn send(&self, producer: &BaseProducer<Answers<'_>>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = number as usize % self.places.len();
        let (topic, partition) = &self.places[place];
        let value = format!("event {number}, {}", "~".repeat(60 + number as usize % 97));
        let sent = Sent { place, at_ms: self.now_ms() };
        let key = number.to_string();
        let record = BaseRecord::with_opaque_to(topic, Box::new(sent)).partition(partition.cast_signed());
        let mut record = record.key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            // The broker is slower than the rate, which then drops.
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "cannot produce to {topic}");
            thread::sleep(TICK);
            record = back;
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

/// Where and when an event was sent.
struct Sent {
    place: usize,
    at_ms: u64,
}

struct Answers<'a>(&'a Load);

impl ClientContext for Answers<'_> {}

impl ProducerContext for Answers<'_> {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let load = self.0;
        let counted = if result.is_ok() { &load.acknowledged[sent.place] } else { &load.refused };
        counted.fetch_add(1, Ordering::SeqCst);
        load.slowest_ms.fetch_max(load.now_ms().saturating_sub(sent.at_ms), Ordering::SeqCst);
    }
}
