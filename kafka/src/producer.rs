//! Writing records in order, with acknowledgements.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _};

use crate::{Error, Properties, client};

/// The longest wait before retrying a full queue. librdkafka frees the space a moment after it reports the delivery.
const QUEUE_FULL_RETRY: Duration = Duration::from_millis(10);

/// A record to be produced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition. `None` chooses it by the key, or at random without a key.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// Header names and values, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Produces records: each once, in order per partition, acknowledged by all in-sync replicas.
///
/// A record waits while its broker is unreachable. The queue is bounded (`queue.buffering.max.kbytes`); when it is
/// full, [`send`](Self::send) waits too. After the first undeliverable record nothing more is delivered, so a later
/// record never takes the place of an earlier one. Make a new producer then, and send again from that record on.
pub struct Producer {
    producer: ThreadedProducer<Deliveries>,
}

/// Delivery reports. They arrive on the producer's own thread.
#[derive(Debug, Default)]
struct Deliveries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    undelivered: usize,
    delivered: u64,
    /// The first error.
    error: Option<String>,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is valid by itself, whichever thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` or `timeout`.
    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.state(), timeout, |state| !done(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        client::log_statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.state();
        state.undelivered -= 1;
        match result {
            Ok(_) => state.delivered += 1,
            Err((error, message)) => {
                state.error.get_or_insert_with(|| undelivered(message.topic(), error));
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// The error message for an undeliverable record.
fn undelivered(topic: &str, error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    let is_missing = matches!(code, Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition));
    let remedy =
        if is_missing { "; create the topic, or let the brokers create it (auto.create.topics.enable)" } else { "" };
    format!("a record for {topic}: {error}{remedy}")
}

impl Producer {
    /// Makes a producer. The first record connects to the brokers.
    ///
    /// # Errors
    /// [`Error::Property`] if librdkafka refuses a property.
    pub fn new(properties: &Properties) -> Result<Self, Error> {
        let producer = properties
            .producer()
            .create_with_context(Deliveries::default())
            .map_err(|error| Error::creation("making a producer", error))?;
        Ok(Self { producer })
    }

    /// Queues a record. Waits for room until `timeout`; `false` if there was none, and the record was not queued.
    ///
    /// # Errors
    /// [`Error::Fatal`] if some record could not be delivered. [`Error::Client`] if this record is refused at once,
    /// such as for its size; other records are not affected.
    pub fn send(&self, record: &Record<'_>, timeout: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        let mut message = message(record)?;
        loop {
            // Counted first, as librdkafka may deliver the record before `send` returns.
            let delivered = self.expect_one_more()?;
            let Err((error, refused)) = self.producer.send(message) else {
                return Ok(true);
            };
            self.deliveries().state().undelivered -= 1;
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => message = refused,
                KafkaError::MessageProduction(RDKafkaErrorCode::Fatal) => return Err(self.fatal_error()),
                error => {
                    let doing = format!("producing to {}", record.topic);
                    return Err(Error::client(doing, error));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let room = |state: &State| state.delivered != delivered || state.error.is_some();
            drop(self.deliveries().wait(left.min(QUEUE_FULL_RETRY), room));
        }
    }

    /// Waits until all records sent so far are acknowledged, or until `timeout`. `false` if some are not: they are
    /// still in flight, and whether they arrived is unknown.
    ///
    /// # Errors
    /// [`Error::Fatal`] if some record could not be delivered.
    pub fn flush(&self, timeout: Duration) -> Result<bool, Error> {
        let done = |state: &State| state.undelivered == 0 || state.error.is_some();
        let state = self.deliveries().wait(timeout, done);
        match &state.error {
            Some(error) => Err(fatal(error)),
            None => Ok(state.undelivered == 0),
        }
    }

    /// The number of acknowledged records.
    pub fn delivered(&self) -> u64 {
        self.deliveries().state().delivered
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.client().context()
    }

    /// Counts one more undelivered record. Returns the number delivered so far.
    fn expect_one_more(&self) -> Result<u64, Error> {
        let mut state = self.deliveries().state();
        if let Some(error) = &state.error {
            return Err(fatal(error));
        }
        state.undelivered += 1;
        Ok(state.delivered)
    }

    fn fatal_error(&self) -> Error {
        let error = self.producer.client().fatal_error();
        fatal(&error.map_or_else(String::new, |(_, reason)| reason))
    }
}

fn fatal(reason: &str) -> Error {
    Error::Fatal { reason: reason.to_owned() }
}

/// The record in rust-rdkafka's type.
fn message<'a>(record: &Record<'a>) -> Result<BaseRecord<'a, [u8], [u8]>, Error> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for &(key, value) in record.headers {
        if key.contains('\0') {
            let doing = format!("producing to {}", record.topic);
            return Err(Error::client(doing, "a header name contains a NUL"));
        }
        headers = headers.insert(Header { key, value });
    }
    let mut message = BaseRecord::to(record.topic).headers(headers);
    message.partition = record.partition.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    message.key = record.key;
    message.payload = record.value;
    Ok(message)
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.deliveries().state();
        f.debug_struct("Producer").field("state", &*state).finish_non_exhaustive()
    }
}
