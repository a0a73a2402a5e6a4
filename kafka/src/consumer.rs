//! Reading partitions, as a member of a group or by oneself.

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
use batch::Slot;
pub use batch::{Batch, Failure, FailureKind, Item};
use group::{Group, State};

/// The longest sleep: librdkafka must be served now and then even if it does not ring (it takes an owner who never
/// polls for dead), and a bell that was missed must not matter for long.
const NAP_MAX: Duration = Duration::from_secs(1);

/// Which topics a member of a group reads.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The consumer group's id.
    pub group: String,
    /// Topic names, and patterns that begin with `^` (regular expressions, as librdkafka and, in the newer group
    /// protocol, the broker understand them).
    pub topics: Vec<String>,
    /// Topics that are never read, although a pattern may match them: names, and beginnings of names followed by `*`. Names
    /// that begin with `__`, Kafka's own, are excluded anyway.
    pub exclude: Vec<String>,
}

/// What [`Consumer::poll`] found.
#[derive(Debug)]
pub enum Polled<'a> {
    /// Events of one partition, and possibly its end or a failure.
    Batch(Batch<'a>),
    /// Partitions came or went.
    Rebalance(Rebalance),
    /// Something to log: a broker that cannot be reached, a topic that does not exist, a commit that failed. librdkafka
    /// goes on trying.
    Trouble(String),
    /// Nothing within the time given, or a [`Waker`] woke.
    Idle,
}

/// A change of what the group gives to this member. It has been answered when it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These are ours now. Nothing is read before [`Consumer::start`] says from where.
    Assigned(Vec<TopicPartition>),
    /// These are no longer ours and give nothing more.
    Revoked(Vec<TopicPartition>),
    /// As `Revoked`, but the group gave them to others before we knew: they may be read elsewhere already.
    Lost(Vec<TopicPartition>),
}

/// What the client as a whole has to tell, until it is polled for.
#[derive(Debug)]
enum News {
    Rebalance(Rebalance),
    Trouble(String),
}

/// Reads events, each partition from the offset its owner says, for one owner thread.
///
/// librdkafka fetches ahead for every started partition, a bounded amount, into a queue of its own.
/// [`poll`](Self::poll) takes batches from the queues in turn. A partition on [`hold`](Self::hold) is not read, and
/// once its queue is full no longer fetched: this is how back pressure reaches the broker.
///
/// What was read is tracked here, event by event, and not taken from librdkafka, which loses count by one at a
/// partition's end and at errors (librdkafka #4844).
///
/// Dropping a consumer leaves the group, which may take seconds.
pub struct Consumer {
    /// Before `base`: messages and queues are given back before the client goes.
    slots: Vec<Slot>,
    client_queue: ClientQueue,
    base: Arc<BaseConsumer<Group>>,
    signal: Arc<Signal>,
    headers: Headers,
    /// The slot whose turn is next.
    turn: usize,
    /// When all queues were last looked at, bell or not.
    looked: Instant,
    /// Whether a group gives the partitions.
    subscribed: bool,
}

impl Consumer {
    /// Joins a group. Which partitions it gives is told by [`Polled::Rebalance`], also while running.
    ///
    /// Classic groups, eager or cooperative, and the newer `group.protocol=consumer` (KIP-848) are possible.
    ///
    /// # Errors
    /// [`Error::Property`] when librdkafka refuses a property, [`Error::Client`] when it refuses a topic or pattern.
    pub fn subscribe(properties: &Properties, subscription: &Subscription) -> Result<Self, Error> {
        let exclude = subscription.exclude.clone();
        let consumer = Self::new(properties, &subscription.group, exclude, true)?;
        let topics: Vec<&str> = subscription.topics.iter().map(String::as_str).collect();
        let failed = |reason: String| Error::client(format!("subscribing to {}", topics.join(", ")), reason);
        if topics.iter().any(|topic| topic.contains('\0')) {
            // rust-rdkafka would panic.
            return Err(failed("a topic's name holds a NUL".to_owned()));
        }
        consumer.base.subscribe(&topics).map_err(|error| failed(error.to_string()))?;
        Ok(consumer)
    }

    /// Reads partitions that its owner chooses, without taking part in a group: just [`start`](Self::start) them. The
    /// group id serves [`commit`](Self::commit) only.
    ///
    /// # Errors
    /// [`Error::Property`] when librdkafka refuses a property.
    pub fn alone(properties: &Properties, group: &str) -> Result<Self, Error> {
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
        let bell = client_queue.bell();
        base.set_nonempty_callback(move || bell.ring());
        Ok(Self {
            slots: Vec::new(),
            client_queue,
            base: Arc::new(base),
            signal,
            headers: Headers::default(),
            turn: 0,
            looked: Instant::now(),
            subscribed,
        })
    }

    /// Ends waits of [`poll`](Self::poll) from other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.signal))
    }

    /// The next batch of some partition, a rebalance, or trouble; waits for it, asleep, at most for `timeout`.
    ///
    /// To be called at least every few minutes (`max.poll.interval.ms`), or the group takes this member for dead.
    ///
    /// # Errors
    /// [`Error::Fatal`] when this consumer can never read again.
    pub fn poll(&mut self, timeout: Duration) -> Result<Polled<'_>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            if now.duration_since(self.looked) >= NAP_MAX {
                self.looked = now;
                self.client_queue.look_again();
                self.slots.iter().for_each(Slot::look_again);
            }
            self.serve_client()?;
            let news = self.state().news.pop_front();
            match news {
                Some(News::Rebalance(rebalance)) => return Ok(Polled::Rebalance(rebalance)),
                Some(News::Trouble(trouble)) => return Ok(Polled::Trouble(trouble)),
                None => {}
            }
            if let Some(index) = self.next_slot() {
                let batch = Batch::new(&mut self.slots[index], &mut self.headers);
                return Ok(Polled::Batch(batch));
            }
            let left = deadline.saturating_duration_since(now);
            match self.signal.wait(left.min(NAP_MAX)) {
                Some(Raised::ByWaker) => return Ok(Polled::Idle),
                Some(Raised::ByQueue) => {}
                None if left <= NAP_MAX => return Ok(Polled::Idle),
                None => {}
            }
        }
    }

    /// The next slot in turn with something to hand out.
    fn next_slot(&mut self) -> Option<usize> {
        let count = self.slots.len();
        let found = (self.turn..self.turn + count).map(|turn| turn % count).find(|&index| self.slots[index].fill())?;
        self.turn = found + 1;
        Some(found)
    }

    /// Lets rust-rdkafka handle what librdkafka has for the client as a whole, rebalances above all.
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
                // The context was told already, with the reason.
                Some(Err(_)) => {}
                None if self.client_queue.is_empty() => return self.after_rebalance(),
                None => {}
            }
        }
    }

    /// Partitions that stay with us were paused for the rebalance, and go on from where librdkafka thinks they were
    /// read to: one too far after an end or an error (librdkafka #4844). So they start again from where they really
    /// were read to.
    fn after_rebalance(&mut self) -> Result<(), Error> {
        if !mem::take(&mut self.state().interrupted) {
            return Ok(());
        }
        let base = Arc::clone(&self.base);
        let state = base.context().state();
        self.slots.retain(|slot| state.partitions.get(&slot.partition) == Some(&true));
        drop(state);
        let stay = self.slots.iter().filter(|slot| !slot.place.failed);
        let starts: BTreeMap<_, _> = stay.map(|slot| (slot.partition.clone(), slot.place.next)).collect();
        if starts.is_empty() {
            return Ok(());
        }
        self.place(starts)
    }

    /// Leaves a partition unread until [`release`](Self::release), at the cost of what librdkafka has fetched ahead.
    /// A partition that is not started is ignored.
    pub fn hold(&mut self, partition: &TopicPartition) {
        self.set_held(partition, true);
    }

    /// Ends a [`hold`](Self::hold).
    pub fn release(&mut self, partition: &TopicPartition) {
        self.set_held(partition, false);
    }

    fn set_held(&mut self, partition: &TopicPartition, held: bool) {
        let slot = self.slots.iter_mut().find(|s| s.partition == *partition);
        if let Some(slot) = slot {
            slot.place.held = held;
        }
    }

    /// The offset that a started partition goes on from: after the last event or end handed out.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let slot = self.slots.iter().find(|slot| slot.partition == *partition);
        slot.map(|slot| slot.place.next)
    }

    /// Tells the group how far partitions are read (the offsets to go on from), for the lag tools of Kafka's users.
    /// Does not wait; if it fails later, [`Polled::Trouble`] says so. Not to be relied on, and never read here.
    ///
    /// # Errors
    /// [`Error::Client`] when librdkafka does not take it.
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

/// The whole position bookkeeping rests on each partition's queue giving all of its events; one elsewhere is lost.
fn stray(message: &BorrowedMessage<'_>) -> Error {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    Error::Fatal { reason: format!("{topic}/{partition}: offset {offset} came outside its partition's queue") }
}
