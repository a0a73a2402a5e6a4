//! The thread that reads: one Kafka client, and the streams' steps. It never waits for the committer.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use evidence::statement::Statement;
use kafka::{Consumer, Polled, Rebalance, TopicPartition, Waker};
use service::{Component, Health, Shutdown};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::Source;
use crate::hashing::{Hashing, Load};
use crate::outside::Outside;
use crate::seat::Seat;
use crate::status::StreamStatuses;
use crate::stream::{Action, Answer, Input, InspectError, Inspection, Limits, Stream};

/// How often the group's offsets are committed, which are a display only.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// A member that the group gave nothing for so long is a spare one, and ready as such.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// Trouble with Kafka is logged as a warning so often at most.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(10);

/// The longest wait for events, when nothing else is due.
const POLL_MAX: Duration = Duration::from_secs(10);

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) properties: kafka::Properties,
    /// The Kafka client's memory is shared out among so many partitions, the most that it can have.
    pub(crate) partitions_max: usize,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) outside: Arc<Outside>,
    pub(crate) health: Health,
    pub(crate) statuses: StreamStatuses,
    pub(crate) runtime: Handle,
    pub(crate) shutdown: Shutdown,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to.
    Shutdown,
    /// This Kafka client cannot read a topic that was created again: another one has to be made.
    NewClient,
    /// The group gave so many partitions, more than this Kafka client was made for.
    Crowded(usize),
}

/// An answer on its way from a task to the thread.
struct Reply {
    partition: TopicPartition,
    /// The seat that asked; the partition may have been taken away and given back since.
    seat: u64,
    content: Content,
}

enum Content {
    Inspected(Result<Inspection, InspectError>),
    Answered(Answer),
}

/// Reads until shutdown, and tells `ended` why reading ended: an error when the Kafka client cannot be made or cannot go
/// on. What was read and not sealed is read again by the next one. Then leaves the group, which may take long.
pub(crate) fn consume(setup: Setup, hashing: Hashing, ended: impl FnOnce(Result<Ended, kafka::Error>)) {
    match Consumption::new(setup, hashing) {
        Ok(mut consumption) => {
            let result = consumption.run();
            consumption.leave();
            ended(result);
        }
        Err(error) => ended(Err(error)),
    }
}

struct Consumption {
    setup: Setup,
    consumer: Consumer,
    seats: HashMap<TopicPartition, Seat>,
    /// Partitions to read from these offsets, collected because starting one may interrupt others.
    starts: HashMap<TopicPartition, i64>,
    /// Halted partitions, not to be fetched any more.
    stops: Vec<TopicPartition>,
    commits: HashMap<TopicPartition, i64>,
    committed: Instant,
    /// When trouble with Kafka was logged as a warning last.
    told: Option<Instant>,
    replies: mpsc::Receiver<Reply>,
    replier: mpsc::Sender<Reply>,
    waker: Waker,
    wake_at_shutdown: AbortHandle,
    hashing: Hashing,
    actions: Vec<Action>,
    begun: Instant,
    /// No stream's tick is due before this time.
    due_ms: u64,
    seats_made: u64,
    /// Until the group gives the first partitions: not ready.
    joining: Option<Component>,
    renew: bool,
}

impl Consumption {
    fn new(setup: Setup, hashing: Hashing) -> Result<Self, kafka::Error> {
        let properties = setup.properties.shared_by(setup.partitions_max);
        let (consumer, assigned) = match &setup.source {
            Source::Group(subscription) => (Consumer::subscribe(&properties, subscription)?, Vec::new()),
            Source::Partitions(group, assigned) => (Consumer::alone(&properties, group)?, assigned.clone()),
        };
        let waker = consumer.waker();
        let wake_at_shutdown = setup.runtime.spawn({
            let (shutdown, waker) = (setup.shutdown.clone(), waker.clone());
            async move {
                shutdown.cancelled().await;
                waker.wake();
            }
        });
        let joining = not_joined(&setup.health, "joining the group");
        let (replier, replies) = mpsc::channel();
        let mut consumption = Self {
            setup,
            consumer,
            seats: HashMap::new(),
            starts: HashMap::new(),
            stops: Vec::new(),
            commits: HashMap::new(),
            committed: Instant::now(),
            told: None,
            replies,
            replier,
            waker,
            wake_at_shutdown: wake_at_shutdown.abort_handle(),
            hashing,
            actions: Vec::new(),
            begun: Instant::now(),
            due_ms: 0,
            seats_made: 0,
            joining: Some(joining),
            renew: false,
        };
        if !assigned.is_empty() {
            consumption.take_seats(assigned);
        }
        Ok(consumption)
    }

    fn run(&mut self) -> Result<Ended, kafka::Error> {
        while !self.setup.shutdown.is_cancelled() {
            self.take_replies();
            while let Some(load) = self.hashing.hashed(false) {
                self.take_events(load);
            }
            self.look_again();
            self.tick();
            if self.renew {
                return Ok(Ended::NewClient);
            }
            // Before anything of the new ones is fetched.
            if self.seats.len() > self.setup.partitions_max {
                return Ok(Ended::Crowded(self.seats.len()));
            }
            self.stop()?;
            self.start()?;
            self.commit();
            if self.joining.is_some() && self.begun.elapsed() >= JOIN_MAX {
                tracing::info!("the group gave no partitions to this member; it waits as a spare one");
                self.joined();
            }
            let wait = if self.hashing.is_busy() {
                Duration::ZERO
            } else {
                Duration::from_millis(self.due_ms.saturating_sub(self.now_ms())).min(POLL_MAX)
            };
            let rebalance = match self.consumer.poll(wait)? {
                Polled::Batch(batch) => {
                    let Some(seat) = self.seats.get(batch.partition()) else {
                        // Taken away, and the news of it follow.
                        let partition = batch.partition().clone();
                        self.consumer.hold(&partition);
                        continue;
                    };
                    let (events, bytes) = self.hashing.away(seat.reading());
                    let load = if events > 0 && !seat.stream.wants_events_after(events, bytes) {
                        // The batch is given again.
                        self.hashing.hashed(true)
                    } else {
                        let mut load = self.hashing.load(batch.partition().clone(), seat.reading());
                        load.fill(batch);
                        self.hashing.hash(load)
                    };
                    if let Some(load) = load {
                        self.take_events(load);
                    }
                    continue;
                }
                Polled::Rebalance(rebalance) => rebalance,
                Polled::Trouble(trouble) => {
                    self.tell(&trouble);
                    continue;
                }
                Polled::Idle => {
                    // There is nothing better to do until then.
                    if let Some(load) = self.hashing.hashed(true) {
                        self.take_events(load);
                    }
                    continue;
                }
            };
            match rebalance {
                Rebalance::Assigned(partitions) => self.take_seats(partitions),
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => self.leave_seats(&partitions),
            }
        }
        Ok(Ended::Shutdown)
    }

    fn now_ms(&self) -> u64 {
        millis(self.begun)
    }

    fn take_seats(&mut self, partitions: Vec<TopicPartition>) {
        self.joined();
        for partition in partitions {
            tracing::info!("{partition}: assigned");
            let outside = &self.setup.outside;
            let stream = Stream::new(outside.ledger().clone(), outside.partition(&partition), self.setup.limits);
            self.seats_made += 1;
            let seat = Seat::new(self.seats_made, &partition, stream, &self.setup.health);
            self.seats.insert(partition, seat);
            self.due_ms = 0;
        }
    }

    fn joined(&mut self) {
        if let Some(component) = self.joining.take() {
            component.remove();
        }
    }

    fn leave_seats(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            tracing::info!("{partition}: no longer assigned");
            self.starts.remove(partition);
            self.commits.remove(partition);
            self.setup.statuses.remove(partition);
            if let Some(seat) = self.seats.remove(partition) {
                seat.leave();
            }
        }
    }

    /// Gives everything back but the Kafka client.
    fn leave(&mut self) {
        self.wake_at_shutdown.abort();
        not_joined(&self.setup.health, "making a new Kafka client");
        self.commit_now();
        for (partition, seat) in self.seats.drain() {
            self.setup.statuses.remove(&partition);
            seat.leave();
        }
    }

    fn take_replies(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            let Some(seat) = self.seats.get_mut(&reply.partition).filter(|seat| seat.id == reply.seat) else {
                continue;
            };
            let input = match reply.content {
                Content::Inspected(result) => Input::Inspected(result),
                Content::Answered(answer) => Input::Answered(answer),
            };
            seat.stream.step(millis(self.begun), input, &mut self.actions);
            self.act(&reply.partition);
        }
    }

    /// Hands hashed events to their stream, unless it has begun to read elsewhere since.
    fn take_events(&mut self, mut load: Load) {
        let partition = load.partition.clone();
        if let Some(seat) = self.seats.get_mut(&partition).filter(|seat| seat.reading() == load.reading) {
            let now_ms = millis(self.begun);
            if !load.events.is_empty() {
                seat.stream.step(now_ms, Input::Events(&load.events), &mut self.actions);
            }
            if let Some(input) = load.rest.take() {
                seat.stream.step(now_ms, input, &mut self.actions);
            }
            self.act(&partition);
        }
        self.hashing.give_back(load);
    }

    /// Has streams that do not move look again.
    fn look_again(&mut self) {
        for partition in self.setup.statuses.take_stalled() {
            if let Some(seat) = self.seats.get_mut(&partition) {
                seat.stream.step(millis(self.begun), Input::LookAgain, &mut self.actions);
                self.act(&partition);
            }
        }
    }

    /// Lets time pass for the streams that wait for it.
    fn tick(&mut self) {
        let now_ms = self.now_ms();
        if now_ms < self.due_ms {
            return;
        }
        self.due_ms = u64::MAX;
        let is_due = |seat: &Seat| seat.stream.deadline_ms().is_some_and(|deadline| now_ms >= deadline);
        let due = self.seats.iter().filter(|(_, seat)| is_due(seat)).map(|(partition, _)| partition.clone());
        for partition in due.collect::<Vec<_>>() {
            if let Some(seat) = self.seats.get_mut(&partition) {
                seat.stream.step(now_ms, Input::Tick, &mut self.actions);
                self.act(&partition);
            }
        }
        let deadlines = self.seats.values().filter_map(|seat| seat.stream.deadline_ms());
        self.due_ms = deadlines.min().unwrap_or(u64::MAX);
    }

    /// Does what a stream wants done after a step.
    fn act(&mut self, partition: &TopicPartition) {
        let Some(seat) = self.seats.get_mut(partition) else { return };
        for action in self.actions.drain(..) {
            seat.note(partition, &action);
            match action {
                Action::Inspect => {
                    let outside = Arc::clone(&self.setup.outside);
                    let asked = partition.clone();
                    let reply = async move { Content::Inspected(outside.inspect(&asked).await) };
                    spawn(&self.setup, &self.replier, &self.waker, partition, seat.id, reply);
                }
                Action::Submit { topic_id, statements } => {
                    let submission = submit(Arc::clone(&self.setup.outside), partition, seat, topic_id, statements);
                    spawn(&self.setup, &self.replier, &self.waker, partition, seat.id, submission);
                }
                Action::Read(offset) => {
                    let offset = i64::try_from(offset).expect("Kafka's offsets and the chain's end at 2^63 - 1");
                    seat.read_anew();
                    self.starts.insert(partition.clone(), offset);
                }
                Action::Sealed(sealed) => {
                    self.commits.insert(partition.clone(), i64::try_from(sealed.next).unwrap_or(i64::MAX));
                }
                Action::NewClient => self.renew = true,
                Action::Halted(_) => self.stops.push(partition.clone()),
                Action::Gap(_) | Action::LastGone(_) | Action::Cleared | Action::Trouble(_) => {}
            }
        }
        if let Some(status) = seat.show() {
            self.setup.statuses.set(partition, status);
        }
        if seat.hold_changed() {
            if seat.held { self.consumer.hold(partition) } else { self.consumer.release(partition) }
        }
        self.due_ms = self.due_ms.min(seat.stream.deadline_ms().unwrap_or(u64::MAX));
    }

    /// A broker that is away is heard of at every attempt to reach it; that is not worth a warning each.
    fn tell(&mut self, trouble: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TROUBLE_INTERVAL) {
            self.told = Some(Instant::now());
            tracing::warn!("Kafka: {trouble}");
        } else {
            tracing::debug!("Kafka: {trouble}");
        }
    }

    /// Stops fetching what halted, and frees what was fetched of it.
    fn stop(&mut self) -> Result<(), kafka::Error> {
        let consumer = &self.consumer;
        self.stops.retain(|partition| consumer.position(partition).is_some());
        if self.stops.is_empty() {
            return Ok(());
        }
        self.consumer.stop(&std::mem::take(&mut self.stops))
    }

    /// Starts what is to be read. A partition that was taken away meanwhile is left out; the news of it follow.
    fn start(&mut self) -> Result<(), kafka::Error> {
        while !self.starts.is_empty() {
            match self.consumer.start(self.starts.clone()) {
                Ok(()) => {
                    for partition in self.starts.drain().map(|(partition, _)| partition) {
                        // Only what is started can be held.
                        if self.seats.get(&partition).is_some_and(|seat| seat.held) {
                            self.consumer.hold(&partition);
                        }
                    }
                }
                Err(kafka::Error::Partition { partition, reason }) => {
                    tracing::debug!("{partition}: {reason}");
                    self.starts.remove(&partition);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn commit(&mut self) {
        if self.committed.elapsed() >= COMMIT_INTERVAL {
            self.commit_now();
        }
    }

    fn commit_now(&mut self) {
        self.committed = Instant::now();
        if self.commits.is_empty() {
            return;
        }
        let offsets: Vec<_> = self.commits.drain().collect();
        if let Err(error) = self.consumer.commit(&offsets) {
            tracing::debug!("the group's offsets, a display only, were not committed: {error}");
        }
    }
}

/// Reports that there are no partitions yet, and why.
pub(crate) fn not_joined(health: &Health, reason: &str) -> Component {
    let component = health.component("group");
    component.not_ready(reason);
    component
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Has something asked, and the answer brought back to the thread.
fn spawn(
    setup: &Setup,
    replier: &mpsc::Sender<Reply>,
    waker: &Waker,
    partition: &TopicPartition,
    seat: u64,
    asked: impl Future<Output = Content> + Send + 'static,
) {
    let (replier, waker, partition) = (replier.clone(), waker.clone(), partition.clone());
    let shutdown = setup.shutdown.clone();
    setup.runtime.spawn(async move {
        if let Some(content) = shutdown.run_until_cancelled_owned(asked).await {
            // The thread may have ended; then nobody waits for the answer.
            let _ = replier.send(Reply { partition, seat, content });
            waker.wake();
        }
    });
}

fn submit(
    outside: Arc<Outside>,
    partition: &TopicPartition,
    seat: &Seat,
    topic_id: Option<String>,
    statements: Vec<Statement>,
) -> impl Future<Output = Content> + Send + 'static {
    let topic = Arc::clone(&partition.topic);
    let seconds = seat.metrics.submit_seconds.clone();
    async move {
        let begun = Instant::now();
        let answer = outside.submit(&topic, topic_id, statements).await;
        seconds.record(begun.elapsed());
        Content::Answered(answer)
    }
}
