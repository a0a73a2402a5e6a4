//! The sealing of one stream as a pure step: inputs go in, actions come out.
//!
//! Kafka, the committer, the signing key and the clock are outside. So a simulation can try any interleaving of
//! crashes, delays, repeats and refusals.

mod action;
mod input;
mod inspection;
mod limits;
mod open_batch;
mod phase;
mod read_state;
mod records;
mod resume;
mod submission;
#[cfg(test)]
mod tests;
mod tip;

use std::collections::VecDeque;
use std::time::Duration;

use evidence::Partition;
use evidence::statement::LedgerId;
use service::Backoff;

use crate::halt::Halt;
pub use action::{Action, Sealed};
pub use input::{Cursor, HashedEvent, Input, InspectError, Inspection, Log, Permission, Refusal, SubmitOutcome};
pub use limits::Limits;
use phase::{AfterDrain, HaltUntil, Halted, Phase, UnexplainedRefusal};
use read_state::ReadState;
use resume::FurthestCursor;
pub use resume::SealedTail;
use tip::PendingStatement;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The sealing of one stream.
#[derive(Debug)]
pub struct Stream {
    ledger: LedgerId,
    partition: Partition,
    limits: Limits,
    phase: Phase,
    /// What blocks sealing while the committer or Kafka is unreachable.
    problem: Option<String>,
    /// Backoff while the committer or Kafka is unreachable.
    unavailable_backoff: Backoff,
    /// Backoff between attempts that seal nothing.
    retry_backoff: Backoff,
    furthest: Option<FurthestCursor>,
    unexplained: Option<UnexplainedRefusal>,
    /// The topic id that Kafka showed before anything was read.
    topic_id: Option<String>,
    /// The highest leader epoch whose log was compared with what was signed.
    leader_epoch: Option<u32>,
    /// Statements that are not acknowledged, in order. The first `in_flight` are with the committer.
    pending: VecDeque<PendingStatement>,
    in_flight: usize,
    /// No request is sent before this time.
    submit_at_ms: u64,
    /// A request that is not full waits for this time.
    next_flush_ms: u64,
    /// The offset of the record that could not be read, and the attempts so far.
    unreadable: Option<(u64, u32)>,
}

impl Stream {
    /// A partition that was just assigned. The first step inspects it.
    pub fn new(ledger: LedgerId, partition: Partition, limits: Limits) -> Self {
        // Without jitter: the same inputs always give the same actions.
        let backoff = Backoff::without_jitter(RETRY_FIRST, RETRY_MAX);
        Self {
            ledger,
            partition,
            limits,
            phase: Phase::InspectAt(0),
            problem: None,
            unavailable_backoff: backoff.clone(),
            retry_backoff: backoff,
            furthest: None,
            unexplained: None,
            topic_id: None,
            leader_epoch: None,
            pending: VecDeque::new(),
            in_flight: 0,
            submit_at_ms: 0,
            next_flush_ms: 0,
            unreadable: None,
        }
    }

    /// The partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The stream's cursor as the committer last told it; `None` before it did.
    pub fn sealed_next(&self) -> Option<u64> {
        self.furthest.map(|furthest| furthest.next)
    }

    /// Every offset below this one was read or needs no reading; `None` while nothing is read.
    pub fn position(&self) -> Option<u64> {
        match &self.phase {
            Phase::Comparing(read, _) | Phase::Sealing(read) => Some(read.position),
            _ => None,
        }
    }

    /// The number of statements that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.pending.len()
    }

    /// Whether the stream takes events now. Do not read the partition while it does not: this bounds memory.
    pub fn wants_events(&self) -> bool {
        self.wants_events_after(0, 0)
    }

    /// Whether it still takes events after this many more, with this many bytes of content.
    pub fn wants_events_after(&self, events: u64, bytes: u64) -> bool {
        let (Phase::Comparing(read, _) | Phase::Sealing(read)) = &self.phase else { return false };
        let Limits { batch_events, batch_bytes, .. } = self.limits;
        // Each batch closes by its events or by its bytes.
        let closed = (read.batch.events() + events) / batch_events + (read.batch.bytes() + bytes) / batch_bytes;
        self.pending.len() as u64 + closed < self.limits.unacknowledged as u64
    }

    /// Why the stream is halted, if it is.
    pub fn halt(&self) -> Option<&Halt> {
        match &self.phase {
            Phase::Halted(halted) => Some(&halted.halt),
            _ => None,
        }
    }

    /// What blocks sealing, for people; `None` while the stream runs.
    pub fn obstacle(&self) -> Option<String> {
        match &self.phase {
            Phase::Halted(halted) => Some(format!("halted: {}; {}", halted.halt, halted.halt.remedy(&self.partition))),
            _ if self.problem.is_some() => self.problem.clone(),
            Phase::InspectAt(_) | Phase::Inspecting | Phase::Retired => {
                Some("asking the committer where to begin".to_owned())
            }
            Phase::Comparing(..) | Phase::Sealing(_) | Phase::Draining(_) => None,
        }
    }

    /// When [`Input::Tick`] is due, on the clock of [`Stream::step`]; `None` if only other inputs move the stream.
    pub fn deadline_ms(&self) -> Option<u64> {
        let phase = match &self.phase {
            Phase::InspectAt(at) => Some(*at),
            Phase::Halted(halted) => halted.inspect_at_ms,
            Phase::Sealing(read) => self.age_deadline_ms(read),
            Phase::Inspecting | Phase::Comparing(..) | Phase::Draining(_) | Phase::Retired => None,
        };
        self.submit_due_ms().into_iter().chain(phase).min()
    }

    /// Takes an input at `now_ms`, on a clock that never goes back, and appends actions.
    pub fn step(&mut self, now_ms: u64, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Inspected(result) => self.inspected(now_ms, result, actions),
            Input::Events(events) => self.events(now_ms, events, actions),
            Input::End(offset) => self.end(now_ms, offset, actions),
            Input::Unreadable(offset, problem) => self.unreadable(now_ms, offset, problem, actions),
            Input::OldFormat(offset, problem) => self.old_format(now_ms, offset, problem, actions),
            Input::ReadError(problem) => self.read_error(now_ms, problem, actions),
            Input::Reinspect => self.drain_and_inspect(now_ms),
            Input::Submitted(outcome) => self.submitted(now_ms, outcome, actions),
        }
        self.do_what_is_due(now_ms, actions);
    }

    fn do_what_is_due(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if let Phase::Sealing(read) = &self.phase
            && self.age_deadline_ms(read).is_some_and(|at| now_ms >= at)
        {
            self.close_batch();
        }
        if self.submit_due_ms().is_some_and(|at| now_ms >= at) {
            self.submit(now_ms, actions);
        }
        if self.pending.is_empty() && matches!(self.phase, Phase::Draining(_)) {
            match std::mem::replace(&mut self.phase, Phase::InspectAt(now_ms)) {
                Phase::Draining(AfterDrain::Inspect(at)) => self.phase = Phase::InspectAt(at),
                Phase::Draining(AfterDrain::Halt(halt)) => self.halt_until_statement(now_ms, halt, actions),
                other => self.phase = other,
            }
        }
        let is_inspection_due = match &mut self.phase {
            Phase::InspectAt(at) if now_ms >= *at => {
                self.phase = Phase::Inspecting;
                true
            }
            Phase::Halted(halted) => halted.inspect_at_ms.take_if(|at| now_ms >= *at).is_some(),
            _ => false,
        };
        if is_inspection_due {
            actions.push(Action::Inspect);
        }
    }

    /// When the open batch closes by its age.
    fn age_deadline_ms(&self, read: &ReadState) -> Option<u64> {
        let interval_ms = self.limits.flush_interval_ms();
        read.batch.opened_ms().map(|opened| (opened + self.limits.batch_age_ms) / interval_ms * interval_ms)
    }

    fn close_batch(&mut self) {
        if let Phase::Sealing(read) = &mut self.phase {
            let pending = read.close_batch(read.position);
            self.pending.push_back(pending);
        }
    }

    /// Reads no further, and inspects at `at_ms` or later, once all pending statements are acknowledged.
    ///
    /// Kafka may have lost the events that were read. They are sealed all the same: then the evidence matters most.
    fn drain_and_inspect(&mut self, at_ms: u64) {
        match &self.phase {
            Phase::Sealing(read) if read.batch.events() > 0 => self.close_batch(),
            Phase::Sealing(_) | Phase::Comparing(..) => {}
            _ => return,
        }
        self.phase = Phase::Draining(AfterDrain::Inspect(at_ms));
    }

    /// Notes what blocks sealing; reports it once.
    fn block(&mut self, problem: String, actions: &mut Vec<Action>) {
        if self.problem.is_none() {
            actions.push(Action::Blocked(problem.clone()));
        }
        self.problem = Some(problem);
    }

    /// Halts until the operator signs a statement about the stream.
    fn halt_until_statement(&mut self, now_ms: u64, halt: Halt, actions: &mut Vec<Action>) {
        let newest = self.furthest.and_then(|furthest| furthest.statement);
        self.halt_until(now_ms, halt, HaltUntil::NewStatement(newest), actions);
    }

    fn halt_until(&mut self, now_ms: u64, halt: Halt, until: HaltUntil, actions: &mut Vec<Action>) {
        debug_assert!(
            self.pending.is_empty(),
            "a halt follows when all pending statements are acknowledged or dropped"
        );
        let is_news = self.halt() != Some(&halt);
        let inspect_at_ms = Some(self.retry_at_ms(now_ms));
        self.phase = Phase::Halted(Halted { halt: halt.clone(), until, inspect_at_ms });
        if is_news {
            actions.push(Action::Halted(halt));
        }
    }

    fn retry_at_ms(&mut self, now_ms: u64) -> u64 {
        now_ms + next_delay_ms(&mut self.retry_backoff)
    }
}

fn next_delay_ms(backoff: &mut Backoff) -> u64 {
    u64::try_from(backoff.next_delay().as_millis()).unwrap_or(u64::MAX)
}
