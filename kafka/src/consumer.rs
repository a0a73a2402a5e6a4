//! Reading partitions, as a member of a group or standalone.

mod assign;
mod batch;
mod group;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

use crate::event::Headers;
use crate::partition::positions;
use crate::queue::ClientQueue;
use crate::signal::{Raised, Signal};
use crate::{Error, Properties, TopicPartition, Waker};
use batch::StartedPartition;
pub use batch::{Batch, Item, ReadError, ReadErrorKind};
use group::{Group, State};

/// The longest sleep. librdkafka must be polled regularly even without events, or it considers the owner dead. It also
/// bounds the harm of a missed wake-up.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Which topics a member of a group reads.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The consumer group's id.
    pub group: String,
    /// Topic names, and patterns that begin with `^`. Patterns are regular expressions of librdkafka, or of the broker
    /// in the newer group protocol.
    pub topics: Vec<String>,
    /// Topics that are never read, even if a pattern matches: names, and prefixes followed by `*`. Kafka's internal
    /// topics, which begin with `__`, are always excluded.
    pub exclude: Vec<String>,
}

/// What [`Consumer::poll`] found.
#[derive(Debug)]
pub enum Polled<'a> {
    /// Events of one partition, and possibly its end or an error.
    Batch(Batch<'a>),
    /// Partitions were assigned or revoked.
    Rebalance(Rebalance),
    /// Something to log: an unreachable broker, a missing topic, a failed commit. librdkafka keeps trying.
    Warning(String),
    /// Nothing before the timeout, or before a [`Waker`] woke.
    Idle,
}

/// A change of the partitions that the group assigns to this member. It was already answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These are ours now. [`Consumer::start`] begins to read them.
    Assigned(Vec<TopicPartition>),
    /// These are no longer ours, and give nothing more.
    Revoked(Vec<TopicPartition>),
    /// As `Revoked`, but the group assigned them to others before we knew. Others may read them already.
    Lost(Vec<TopicPartition>),
}

/// An event of the whole client that waits for a poll.
#[derive(Debug)]
enum ClientEvent {
    Rebalance(Rebalance),
    Warning(String),
}

/// Reads events for one owner thread, each partition from an offset that the owner chooses.
///
/// librdkafka fetches a bounded amount ahead, into one queue per started partition. [`poll`](Self::poll) takes batches
/// from the queues in turn. [`hold`](Self::hold) stops reading a partition. Once its queue is full it is no longer
/// fetched either: this is how back pressure reaches the broker.
///
/// The consumer tracks positions itself, event by event. librdkafka's positions are off by one at the end of a
/// partition and at errors (librdkafka #4844).
///
/// Dropping a consumer leaves the group, which may take seconds.
pub struct Consumer {
    /// Declared before `base`: messages and queues must be freed before their client.
    started: Vec<StartedPartition>,
    client_queue: ClientQueue,
    base: Arc<BaseConsumer<Group>>,
    signal: Arc<Signal>,
    headers: Headers,
    /// The index in `started` whose turn is next.
    turn: usize,
    /// When all queues were last checked, whether they signalled or not.
    checked: Instant,
    /// Whether a group assigns the partitions.
    subscribed: bool,
}

impl Consumer {
    /// Joins a group. [`Polled::Rebalance`] tells which partitions it assigns, now and later.
    ///
    /// Supports classic groups, eager or cooperative, and the newer `group.protocol=consumer` (KIP-848).
    ///
    /// # Errors
    /// [`Error::Property`] if librdkafka refuses a property, [`Error::Client`] if it refuses a topic or pattern.
    pub fn subscribe(properties: &Properties, subscription: &Subscription) -> Result<Self, Error> {
        let exclude = subscription.exclude.clone();
        let consumer = Self::new(properties, &subscription.group, exclude, true)?;
        let topics: Vec<&str> = subscription.topics.iter().map(String::as_str).collect();
        let client_error = |reason: String| Error::client(format!("subscribing to {}", topics.join(", ")), reason);
        if topics.iter().any(|topic| topic.contains('\0')) {
            // rust-rdkafka panics at a NUL.
            return Err(client_error("a topic name contains a NUL".to_owned()));
        }
        consumer.base.subscribe(&topics).map_err(|error| client_error(error.to_string()))?;
        Ok(consumer)
    }

    /// Reads partitions that its owner chooses, without joining a group: just [`start`](Self::start) them. Only
    /// [`commit`](Self::commit) uses the group id.
    ///
    /// # Errors
    /// [`Error::Property`] if librdkafka refuses a property.
    pub fn standalone(properties: &Properties, group: &str) -> Result<Self, Error> {
        Self::new(properties, group, Vec::new(), false)
    }

    fn new(properties: &Properties, group: &str, exclude: Vec<String>, subscribed: bool) -> Result<Self, Error> {
        let mut base: BaseConsumer<Group> = properties
            .consumer(Some(group))
            .create_with_context(Group::new(exclude))
            .map_err(|error| Error::creation("making a consumer", error))?;
        let signal = Arc::new(Signal::default());
        let client_queue = ClientQueue::of(&base, Arc::clone(&signal))
            .ok_or_else(|| Error::client("making a consumer", "it has no queue"))?;
        let readiness = client_queue.readiness();
        base.set_nonempty_callback(move || readiness.raise());
        Ok(Self {
            started: Vec::new(),
            client_queue,
            base: Arc::new(base),
            signal,
            headers: Headers::default(),
            turn: 0,
            checked: Instant::now(),
            subscribed,
        })
    }

    /// Wakes [`poll`](Self::poll) from other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.signal))
    }

    /// The next batch of some partition, rebalance or warning. Sleeps until there is one, or until `timeout`.
    ///
    /// Call it at least every few minutes (`max.poll.interval.ms`), or the group considers this member dead.
    ///
    /// # Errors
    /// [`Error::Fatal`] if this consumer can never read again.
    pub fn poll(&mut self, timeout: Duration) -> Result<Polled<'_>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            if now.duration_since(self.checked) >= SLEEP_MAX {
                self.checked = now;
                self.client_queue.set_ready();
                self.started.iter().for_each(StartedPartition::set_ready);
            }
            self.serve_client()?;
            let event = self.state().events.pop_front();
            match event {
                Some(ClientEvent::Rebalance(rebalance)) => return Ok(Polled::Rebalance(rebalance)),
                Some(ClientEvent::Warning(warning)) => return Ok(Polled::Warning(warning)),
                None => {}
            }
            if let Some(index) = self.next_filled() {
                let batch = Batch::new(&mut self.started[index], &mut self.headers);
                return Ok(Polled::Batch(batch));
            }
            let left = deadline.saturating_duration_since(now);
            match self.signal.wait(left.min(SLEEP_MAX)) {
                Some(Raised::ByWaker) => return Ok(Polled::Idle),
                Some(Raised::ByQueue) => {}
                None if left <= SLEEP_MAX => return Ok(Polled::Idle),
                None => {}
            }
        }
    }

    /// The next partition in turn that has messages.
    fn next_filled(&mut self) -> Option<usize> {
        let count = self.started.len();
        let found =
            (self.turn..self.turn + count).map(|turn| turn % count).find(|&index| self.started[index].fill())?;
        self.turn = found + 1;
        Some(found)
    }

    /// Lets rust-rdkafka handle the events of the whole client, above all rebalances.
    fn serve_client(&mut self) -> Result<(), Error> {
        if !self.client_queue.take_ready() {
            return Ok(());
        }
        loop {
            match self.base.poll(Duration::ZERO) {
                Some(Ok(message)) => return Err(stray(&message)),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let fatal = self.base.client().fatal_error();
                    let reason = fatal.map_or_else(|| code.to_string(), |(_, reason)| reason);
                    return Err(Error::Fatal { reason });
                }
                // The context already got this error, with its reason.
                Some(Err(_)) => {}
                None if self.client_queue.is_empty() => return self.after_rebalance(),
                None => {}
            }
        }
    }

    /// Starts partitions that stay ours again from their real positions.
    ///
    /// The rebalance paused them, and librdkafka resumes from its own positions: one too far after an end or an error
    /// (librdkafka #4844).
    fn after_rebalance(&mut self) -> Result<(), Error> {
        if !mem::take(&mut self.state().interrupted) {
            return Ok(());
        }
        let base = Arc::clone(&self.base);
        let state = base.context().state();
        self.started.retain(|started| state.partitions.get(&started.partition) == Some(&true));
        drop(state);
        let readable = self.started.iter().filter(|started| !started.position.failed);
        let starts: BTreeMap<_, _> =
            readable.map(|started| (started.partition.clone(), started.position.next)).collect();
        if starts.is_empty() {
            return Ok(());
        }
        self.fetch_from(starts)
    }

    /// Stops reading a partition until [`release`](Self::release). What librdkafka fetched ahead stays in memory.
    ///
    /// Does nothing if the partition is not started.
    pub fn hold(&mut self, partition: &TopicPartition) {
        self.set_held(partition, true);
    }

    /// Ends a [`hold`](Self::hold).
    pub fn release(&mut self, partition: &TopicPartition) {
        self.set_held(partition, false);
    }

    fn set_held(&mut self, partition: &TopicPartition, held: bool) {
        let started = self.started.iter_mut().find(|started| started.partition == *partition);
        if let Some(started) = started {
            started.position.held = held;
        }
    }

    /// The position of a started partition: the offset after the last event or end that it returned.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let started = self.started.iter().find(|started| started.partition == *partition);
        started.map(|started| started.position.next)
    }

    /// Commits offsets to the group, for lag tools: the next offset to read of each partition.
    ///
    /// Does not wait; [`Polled::Warning`] reports a later failure. These offsets are only a display, and this crate
    /// never reads them.
    ///
    /// # Errors
    /// [`Error::Client`] if librdkafka refuses it.
    pub fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let list = positions(offsets.iter().map(|(partition, offset)| (partition, *offset)));
        let committed = list.and_then(|list| self.base.commit(&list, CommitMode::Async));
        committed.map_err(|error| Error::client("committing group offsets", error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.base.context().state()
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("group", &*self.state()).finish_non_exhaustive()
    }
}

/// Positions are right only if every event comes through its partition's queue. One that comes elsewhere would be lost.
fn stray(message: &BorrowedMessage<'_>) -> Error {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    Error::Fatal { reason: format!("{topic}/{partition}: offset {offset} came outside its partition's queue") }
}
