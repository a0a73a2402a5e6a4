//! The reading thread: one Kafka client, and the steps of all streams. It never waits for the committer.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kafka::{Consumer, Polled, Rebalance, TopicPartition, Waker};
use service::{Component, Health, Shutdown};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::assignment::{Assignment, span};
use crate::clients::Clients;
use crate::config::Source;
use crate::hashing::{HashJob, Hashing};
use crate::status::StreamStatuses;
use crate::stream::{Action, Input, Limits, Stream};

/// How often the group's offsets are committed. They are only a display.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// A member without partitions for this long is a spare one, and ready.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// The shortest time between two warnings about Kafka.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The longest wait for events while nothing else is due.
const POLL_MAX: Duration = Duration::from_secs(10);

/// What a [`ConsumeLoop`] is made from.
#[derive(Clone)]
pub(crate) struct ConsumeLoopParts {
    pub(crate) properties: kafka::Properties,
    /// The most partitions that the Kafka client can have. They share its memory.
    pub(crate) partitions_max: usize,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) clients: Arc<Clients>,
    pub(crate) health: Health,
    pub(crate) statuses: StreamStatuses,
    pub(crate) runtime: Handle,
    pub(crate) shutdown: Shutdown,
}

/// Why the loop ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Shutdown,
    /// This Kafka client cannot read a recreated topic: a new one is needed.
    NewClient,
    /// The group assigned this many partitions, more than the Kafka client was made for.
    TooManyPartitions(usize),
}

/// An answer from a task to the thread.
struct Reply {
    partition: TopicPartition,
    /// The assignment that asked. The partition may have been revoked and assigned again since.
    assignment: u64,
    input: Input<'static>,
}

/// Reads until shutdown, then passes the result to `on_exit`: an error if the Kafka client cannot be made or fails.
/// Leaves the group afterwards, which may take long.
///
/// The next loop reads again what was read but not sealed.
pub(crate) fn consume(parts: ConsumeLoopParts, hashing: Hashing, on_exit: impl FnOnce(Result<Exit, kafka::Error>)) {
    match ConsumeLoop::new(parts, hashing) {
        Ok(mut consume_loop) => {
            let result = consume_loop.run();
            consume_loop.leave();
            on_exit(result);
        }
        Err(error) => on_exit(Err(error)),
    }
}

struct ConsumeLoop {
    parts: ConsumeLoopParts,
    consumer: Consumer,
    assignments: HashMap<TopicPartition, Assignment>,
    /// Partitions to start, with their offsets. Collected, because starting one may interrupt others.
    starts: HashMap<TopicPartition, i64>,
    /// Halted partitions to stop.
    stops: Vec<TopicPartition>,
    commits: HashMap<TopicPartition, i64>,
    committed: Instant,
    /// When a problem with Kafka was last logged as a warning.
    warned: Option<Instant>,
    replies: mpsc::Receiver<Reply>,
    replier: mpsc::Sender<Reply>,
    waker: Waker,
    wake_at_shutdown: AbortHandle,
    hashing: Hashing,
    actions: Vec<Action>,
    begun: Instant,
    /// No stream's tick is due before this time.
    due_ms: u64,
    assignments_made: u64,
    /// Not ready, until the group assigns the first partitions.
    joining: Option<Component>,
    /// Whether a stream needs a new Kafka client.
    needs_new_client: bool,
}

impl ConsumeLoop {
    fn new(parts: ConsumeLoopParts, hashing: Hashing) -> Result<Self, kafka::Error> {
        let properties = parts.properties.shared_by(parts.partitions_max);
        let (consumer, assigned) = match &parts.source {
            Source::Group(subscription) => (Consumer::subscribe(&properties, subscription)?, Vec::new()),
            Source::Partitions(group, assigned) => (Consumer::standalone(&properties, group)?, assigned.clone()),
        };
        let waker = consumer.waker();
        let wake_at_shutdown = parts.runtime.spawn({
            let (shutdown, waker) = (parts.shutdown.clone(), waker.clone());
            async move {
                shutdown.cancelled().await;
                waker.wake();
            }
        });
        let joining = not_joined(&parts.health, "joining the group");
        let (replier, replies) = mpsc::channel();
        let mut consume_loop = Self {
            parts,
            consumer,
            assignments: HashMap::new(),
            starts: HashMap::new(),
            stops: Vec::new(),
            commits: HashMap::new(),
            committed: Instant::now(),
            warned: None,
            replies,
            replier,
            waker,
            wake_at_shutdown: wake_at_shutdown.abort_handle(),
            hashing,
            actions: Vec::new(),
            begun: Instant::now(),
            due_ms: 0,
            assignments_made: 0,
            joining: Some(joining),
            needs_new_client: false,
        };
        if !assigned.is_empty() {
            consume_loop.assign(assigned);
        }
        Ok(consume_loop)
    }

    fn run(&mut self) -> Result<Exit, kafka::Error> {
        while !self.parts.shutdown.is_cancelled() {
            self.take_replies();
            while let Some(job) = self.hashing.hashed(false) {
                self.take_events(job);
            }
            self.reinspect_stalled();
            self.tick();
            if self.needs_new_client {
                return Ok(Exit::NewClient);
            }
            // Before the client fetches the new partitions.
            if self.assignments.len() > self.parts.partitions_max {
                return Ok(Exit::TooManyPartitions(self.assignments.len()));
            }
            self.stop()?;
            self.start()?;
            self.commit();
            if self.joining.is_some() && self.begun.elapsed() >= JOIN_MAX {
                tracing::info!("no partitions assigned: other members hold them all (spare)");
                self.joined();
            }
            let wait = if self.hashing.is_busy() {
                Duration::ZERO
            } else {
                Duration::from_millis(self.due_ms.saturating_sub(self.now_ms())).min(POLL_MAX)
            };
            let rebalance = match self.consumer.poll(wait)? {
                Polled::Batch(batch) => {
                    let Some(assignment) = self.assignments.get(batch.partition()) else {
                        // Revoked; the rebalance event follows.
                        let partition = batch.partition().clone();
                        self.consumer.hold(&partition);
                        continue;
                    };
                    let (events, bytes) = self.hashing.in_flight(assignment.read_id());
                    let hashed = if events > 0 && !assignment.stream.wants_events_after(events, bytes) {
                        // The next poll returns the batch again.
                        self.hashing.hashed(true)
                    } else {
                        let mut job = self.hashing.job(batch.partition().clone(), assignment.read_id());
                        job.fill(batch);
                        self.hashing.hash(job)
                    };
                    if let Some(job) = hashed {
                        self.take_events(job);
                    }
                    continue;
                }
                Polled::Rebalance(rebalance) => rebalance,
                Polled::Warning(warning) => {
                    self.warn(&warning);
                    continue;
                }
                Polled::Idle => {
                    // Nothing else is due until then.
                    if let Some(job) = self.hashing.hashed(true) {
                        self.take_events(job);
                    }
                    continue;
                }
            };
            match rebalance {
                Rebalance::Assigned(partitions) => self.assign(partitions),
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => self.revoke(&partitions),
            }
        }
        Ok(Exit::Shutdown)
    }

    fn now_ms(&self) -> u64 {
        millis(self.begun)
    }

    fn assign(&mut self, partitions: Vec<TopicPartition>) {
        self.joined();
        for partition in partitions {
            span(&partition).in_scope(|| tracing::info!("assigned"));
            let clients = &self.parts.clients;
            let stream = Stream::new(clients.ledger().clone(), clients.partition(&partition), self.parts.limits);
            self.assignments_made += 1;
            let assignment = Assignment::new(self.assignments_made, &partition, stream, &self.parts.health);
            self.assignments.insert(partition, assignment);
            self.due_ms = 0;
        }
    }

    fn joined(&mut self) {
        if let Some(component) = self.joining.take() {
            component.remove();
        }
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            span(partition).in_scope(|| tracing::info!("no longer assigned"));
            self.starts.remove(partition);
            self.commits.remove(partition);
            self.parts.statuses.remove(partition);
            if let Some(assignment) = self.assignments.remove(partition) {
                assignment.revoke();
            }
        }
    }

    /// Releases everything but the Kafka client.
    fn leave(&mut self) {
        self.wake_at_shutdown.abort();
        not_joined(&self.parts.health, "making a new Kafka client");
        self.commit_now();
        for (partition, assignment) in self.assignments.drain() {
            self.parts.statuses.remove(&partition);
            assignment.revoke();
        }
    }

    fn take_replies(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            let assignment = self.assignments.get_mut(&reply.partition);
            let Some(assignment) = assignment.filter(|assignment| assignment.id == reply.assignment) else { continue };
            assignment.stream.step(millis(self.begun), reply.input, &mut self.actions);
            self.act(&reply.partition);
        }
    }

    /// Passes hashed events to their stream, unless it has begun another read since.
    fn take_events(&mut self, mut job: HashJob) {
        let partition = job.partition.clone();
        let assignment = self.assignments.get_mut(&partition);
        if let Some(assignment) = assignment.filter(|assignment| assignment.read_id() == job.read) {
            let now_ms = millis(self.begun);
            if !job.events.is_empty() {
                assignment.stream.step(now_ms, Input::Events(&job.events), &mut self.actions);
            }
            if let Some(input) = job.rest.take() {
                assignment.stream.step(now_ms, input, &mut self.actions);
            }
            self.act(&partition);
        }
        self.hashing.recycle(job);
    }

    /// Lets stalled streams inspect again.
    fn reinspect_stalled(&mut self) {
        for partition in self.parts.statuses.take_stalled() {
            if let Some(assignment) = self.assignments.get_mut(&partition) {
                assignment.stream.step(millis(self.begun), Input::Reinspect, &mut self.actions);
                self.act(&partition);
            }
        }
    }

    /// Ticks the streams whose deadline has passed.
    fn tick(&mut self) {
        let now_ms = self.now_ms();
        if now_ms < self.due_ms {
            return;
        }
        self.due_ms = u64::MAX;
        let is_due = |assignment: &Assignment| assignment.stream.deadline_ms().is_some_and(|at| now_ms >= at);
        let due = self.assignments.iter().filter(|(_, assignment)| is_due(assignment));
        let due = due.map(|(partition, _)| partition.clone());
        for partition in due.collect::<Vec<_>>() {
            if let Some(assignment) = self.assignments.get_mut(&partition) {
                assignment.stream.step(now_ms, Input::Tick, &mut self.actions);
                self.act(&partition);
            }
        }
        let deadlines = self.assignments.values().filter_map(|assignment| assignment.stream.deadline_ms());
        self.due_ms = deadlines.min().unwrap_or(u64::MAX);
    }

    /// Carries out the actions of a stream's step.
    fn act(&mut self, partition: &TopicPartition) {
        let Some(assignment) = self.assignments.get_mut(partition) else { return };
        for action in self.actions.drain(..) {
            assignment.note(&action);
            match action {
                Action::Inspect => {
                    let clients = Arc::clone(&self.parts.clients);
                    let inspected = partition.clone();
                    let input = async move { Input::Inspected(clients.inspect(&inspected).await) };
                    spawn(&self.parts, &self.replier, &self.waker, partition, assignment.id, input);
                }
                Action::Submit { topic_id, statements } => {
                    let clients = Arc::clone(&self.parts.clients);
                    let topic = Arc::clone(&partition.topic);
                    let seconds = assignment.metrics.submit_seconds.clone();
                    let input = async move {
                        let begun = Instant::now();
                        let outcome = clients.submit(&topic, topic_id, statements).await;
                        seconds.record(begun.elapsed());
                        Input::Submitted(outcome)
                    };
                    spawn(&self.parts, &self.replier, &self.waker, partition, assignment.id, input);
                }
                Action::Read(offset) => {
                    let offset = i64::try_from(offset).expect("offsets of Kafka and of the chain are at most 2^63 - 1");
                    assignment.begin_read();
                    self.starts.insert(partition.clone(), offset);
                }
                Action::Sealed(sealed) => {
                    self.commits.insert(partition.clone(), i64::try_from(sealed.next).unwrap_or(i64::MAX));
                }
                Action::NewClient => self.needs_new_client = true,
                Action::Halted(_) => self.stops.push(partition.clone()),
                Action::Gap(_) | Action::LastEventCompacted(_) | Action::Resumed | Action::Blocked(_) => {}
            }
        }
        if let Some(status) = assignment.show() {
            self.parts.statuses.set(partition, status);
        }
        if assignment.hold_changed() {
            if assignment.held { self.consumer.hold(partition) } else { self.consumer.release(partition) }
        }
        self.due_ms = self.due_ms.min(assignment.stream.deadline_ms().unwrap_or(u64::MAX));
    }

    /// Logs a problem of the Kafka client. An unreachable broker is reported at every attempt, so most reports are
    /// debug lines.
    fn warn(&mut self, warning: &str) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!("Kafka: {warning}");
        } else {
            tracing::debug!("Kafka: {warning}");
        }
    }

    /// Stops fetching halted partitions, and frees what was fetched.
    fn stop(&mut self) -> Result<(), kafka::Error> {
        let consumer = &self.consumer;
        self.stops.retain(|partition| consumer.position(partition).is_some());
        if self.stops.is_empty() {
            return Ok(());
        }
        self.consumer.stop(&std::mem::take(&mut self.stops))
    }

    /// Starts the collected partitions. Skips one that was revoked meanwhile; its rebalance event follows.
    fn start(&mut self) -> Result<(), kafka::Error> {
        while !self.starts.is_empty() {
            match self.consumer.start(self.starts.clone()) {
                Ok(()) => {
                    for partition in self.starts.drain().map(|(partition, _)| partition) {
                        // Only a started partition can be held.
                        if self.assignments.get(&partition).is_some_and(|assignment| assignment.held) {
                            self.consumer.hold(&partition);
                        }
                    }
                }
                Err(kafka::Error::Partition { partition, reason }) => {
                    span(&partition).in_scope(|| tracing::debug!("not started: {reason}"));
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
            tracing::debug!("the group's offsets, which are only a display, were not committed: {error}");
        }
    }
}

/// Reports that no partitions are assigned yet, and why.
pub(crate) fn not_joined(health: &Health, reason: &str) -> Component {
    let component = health.component("group");
    component.not_ready(reason);
    component
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Runs a task that sends its input back to the thread.
fn spawn(
    parts: &ConsumeLoopParts,
    replier: &mpsc::Sender<Reply>,
    waker: &Waker,
    partition: &TopicPartition,
    assignment: u64,
    task: impl Future<Output = Input<'static>> + Send + 'static,
) {
    let (replier, waker, partition) = (replier.clone(), waker.clone(), partition.clone());
    let shutdown = parts.shutdown.clone();
    parts.runtime.spawn(async move {
        if let Some(input) = shutdown.run_until_cancelled_owned(task).await {
            // The thread may have ended; then nobody needs the answer.
            let _ = replier.send(Reply { partition, assignment, input });
            waker.wake();
        }
    });
}
