//! Writing records, in order and acknowledged.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _};

use crate::{Error, Properties, client};

/// How long a full queue is left alone when no delivery says that there is room: librdkafka makes it a moment after the
/// delivery is told.
const ROOM_AGAIN: Duration = Duration::from_millis(10);

/// A record to be produced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` lets the key decide, or chance if there is none.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// Header names and values, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Produces records: each once, in the order they were sent in (per partition), acknowledged by all replicas in sync.
///
/// A record waits as long as its broker is away. What waits is bounded (`queue.buffering.max.kbytes`): then
/// [`send`](Self::send) waits too. After the first record that cannot be delivered nothing more is, so that a later
/// record never arrives in the place of an earlier one: make a new producer and send again from that record on.
pub struct Producer {
    producer: ThreadedProducer<Deliveries>,
}

/// Delivery reports, counted as they arrive on the producer's own thread.
#[derive(Debug, Default)]
struct Deliveries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    undelivered: usize,
    delivered: u64,
    failure: Option<String>,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters and an option: whole whatever thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done`, at most for `timeout`.
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
        client::log_trouble(&error, reason);
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
                state.failure.get_or_insert_with(|| undelivered(message.topic(), error));
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// What is told of a record that could not be delivered.
fn undelivered(topic: &str, error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    let is_missing = matches!(code, Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition));
    let remedy = if is_missing { "; create the topic, or let the brokers (auto.create.topics.enable)" } else { "" };
    format!("a record for {topic}: {error}{remedy}")
}

impl Producer {
    /// Makes a producer; brokers are only contacted when something is sent.
    ///
    /// # Errors
    /// [`Error::Property`] when librdkafka refuses a property.
    pub fn new(properties: &Properties) -> Result<Self, Error> {
        let producer = properties
            .producer()
            .create_with_context(Deliveries::default())
            .map_err(|error| Error::creation("making a producer", error))?;
        Ok(Self { producer })
    }

    /// Takes a record to be sent. Waits for room, at most for `timeout`; `false` when there was none: then the record
    /// was not taken.
    ///
    /// # Errors
    /// [`Error::Fatal`] when some record could not be delivered. [`Error::Client`] when this record is refused at once,
    /// say for its size; others are not touched by that.
    pub fn send(&self, record: &Record<'_>, timeout: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        let mut message = message(record)?;
        loop {
            // Counted before librdkafka has it, as it may be delivered before `send` returns.
            let delivered = self.expect_one_more()?;
            let Err((error, refused)) = self.producer.send(message) else {
                return Ok(true);
            };
            self.deliveries().state().undelivered -= 1;
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => message = refused,
                KafkaError::MessageProduction(RDKafkaErrorCode::Fatal) => return Err(self.fatal()),
                error => {
                    let doing = format!("producing to {}", record.topic);
                    return Err(Error::client(doing, error));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let room = |state: &State| state.delivered != delivered || state.failure.is_some();
            drop(self.deliveries().wait(left.min(ROOM_AGAIN), room));
        }
    }

    /// Waits until all records sent so far are acknowledged, at most for `timeout`; `false` when some are not: they are
    /// still on their way, and whether they arrived is not known.
    ///
    /// # Errors
    /// [`Error::Fatal`] when some record could not be delivered.
    pub fn flush(&self, timeout: Duration) -> Result<bool, Error> {
        let done = |state: &State| state.undelivered == 0 || state.failure.is_some();
        let state = self.deliveries().wait(timeout, done);
        match &state.failure {
            Some(failure) => Err(failed(failure)),
            None => Ok(state.undelivered == 0),
        }
    }

    /// How many records have been acknowledged.
    pub fn delivered(&self) -> u64 {
        self.deliveries().state().delivered
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.client().context()
    }

    /// Returns how many were delivered until now.
    fn expect_one_more(&self) -> Result<u64, Error> {
        let mut state = self.deliveries().state();
        if let Some(failure) = &state.failure {
            return Err(failed(failure));
        }
        state.undelivered += 1;
        Ok(state.delivered)
    }

    fn fatal(&self) -> Error {
        let fatal = self.producer.client().fatal_error();
        failed(&fatal.map_or_else(String::new, |(_, reason)| reason))
    }
}

fn failed(reason: &str) -> Error {
    Error::Fatal { reason: reason.to_owned() }
}

/// As rust-rdkafka takes a record.
fn message<'a>(record: &Record<'a>) -> Result<BaseRecord<'a, [u8], [u8]>, Error> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for &(key, value) in record.headers {
        if key.contains('\0') {
            let doing = format!("producing to {}", record.topic);
            return Err(Error::client(doing, "a header's name holds a NUL"));
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
