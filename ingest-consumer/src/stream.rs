//! The sealing of one stream as a pure step: what happened goes in, what to do comes out.
//!
//! Kafka, the committer, the signing key and the clock are outside. So every interleaving of crashes, delays, repeats
//! and refusals can be tried in a simulation.

mod action;
mod input;
mod open_batch;
mod reading;
mod resume;
mod submission;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use evidence::statement::{LedgerId, Statement};
use evidence::{Hash, Partition};

use crate::delay::Delay;
use crate::halt::Halt;
use crate::place::Made;
pub use action::{Action, Sealed};
pub use input::{Answer, Cursor, HashedEvent, Input, InspectError, Inspection, Log, Refused, Standing};
use open_batch::OpenBatch;
use reading::Reading;
pub use resume::Below;
use resume::{Furthest, Resume};

/// When a batch is closed, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A batch of so many events is closed.
    pub batch_events: u64,
    /// A batch whose events' contents have so many bytes is closed.
    pub batch_bytes: u64,
    /// A batch whose first event was read so long ago is closed, or up to a beat earlier.
    pub batch_age_ms: u64,
    /// The most statements in one request.
    pub request_statements: usize,
    /// The stream is not read while so many statements are not acknowledged.
    pub unacknowledged: usize,
}

/// So many beats while a batch may age.
const BEATS_PER_BATCH_AGE: u64 = 20;

/// A beat is not shorter than this, unless a batch may not age so long.
const BEAT_MIN_MS: u64 = 5;

impl Limits {
    /// Between two times at which streams close batches by their age and make requests, unless these are full.
    ///
    /// All streams of an ingest-consumer do so at the same times, so that one transaction of the committer takes them
    /// all. Each costs an fsync, a checkpoint and a publication: with requests whenever there is something for one, they
    /// took more processor time than the hashing of the events.
    fn beat_ms(&self) -> u64 {
        (self.batch_age_ms / BEATS_PER_BATCH_AGE).max(self.batch_age_ms.min(BEAT_MIN_MS))
    }
}

/// So often a record is tried before it counts as one that cannot be read.
const UNREADABLE_TIMES: u32 = 3;

/// The sealing of one stream.
#[derive(Debug)]
pub struct Stream {
    ledger: LedgerId,
    partition: Partition,
    limits: Limits,
    phase: Phase,
    /// Set while the committer or Kafka cannot be asked: what happened.
    trouble: Option<String>,
    /// Grows while they cannot be asked.
    outage: Delay,
    /// Grows with every turn that began anew and sealed nothing.
    again: Delay,
    furthest: Option<Furthest>,
    doubt: Option<Doubt>,
    /// The topic id that Kafka showed before anything was read.
    topic_id: Option<String>,
    /// The largest epoch of a leader whose log was compared with what was signed.
    leader_epoch: Option<u32>,
    /// Made and not acknowledged, in order; the first `in_flight` of them are on their way.
    made: VecDeque<Made>,
    in_flight: usize,
    submit_at_ms: u64,
    /// Until then statements are gathered for the next request, unless there are enough for a full one.
    gather_until_ms: u64,
    /// The record that could not be read, and how often.
    unreadable: Option<(u64, u32)>,
}

#[derive(Debug)]
enum Phase {
    /// To inspect at this time.
    Waiting(u64),
    Inspecting,
    /// Reading what was signed already, to compare it.
    Comparing(Box<Reading>, Below),
    Sealing(Box<Reading>),
    /// Nothing more is read; what was made is still submitted.
    Draining(AfterDrain),
    Halted(Halted),
    /// Of no more use: a stream of a new client takes its place.
    Renewing,
}

#[derive(Debug)]
enum AfterDrain {
    /// To inspect, at this time at the earliest.
    Inspect(u64),
    Halt(Halt),
}

#[derive(Debug)]
struct Halted {
    halt: Halt,
    until: Until,
    /// When to inspect again; `None` while that is under way.
    inspect_at_ms: Option<u64>,
}

/// What resolves a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Another newest statement than this one, that is, the operator's.
    NewStatement(Option<Hash>),
    /// An inspection that finds nothing wrong.
    GoodInspection,
}

/// A refusal that another statement of the stream would explain.
#[derive(Debug)]
struct Doubt {
    refused: Refused,
    /// The newest statement, as we thought when we made the refused one.
    prev: Option<Hash>,
}

impl Stream {
    /// A partition that was just assigned. The first step inspects it.
    pub fn new(ledger: LedgerId, partition: Partition, limits: Limits) -> Self {
        Self {
            ledger,
            partition,
            limits,
            phase: Phase::Waiting(0),
            trouble: None,
            outage: Delay::default(),
            again: Delay::default(),
            furthest: None,
            doubt: None,
            topic_id: None,
            leader_epoch: None,
            made: VecDeque::new(),
            in_flight: 0,
            submit_at_ms: 0,
            gather_until_ms: 0,
            unreadable: None,
        }
    }

    /// The partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The stream's cursor as the committer told it last, `None` before it did.
    pub fn sealed_next(&self) -> Option<u64> {
        self.furthest.map(|furthest| furthest.next)
    }

    /// Everything before this offset was read, or need not be; `None` while nothing is read.
    pub fn position(&self) -> Option<u64> {
        match &self.phase {
            Phase::Comparing(reading, _) | Phase::Sealing(reading) => Some(reading.position),
            _ => None,
        }
    }

    /// How many statements are made and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.made.len()
    }

    /// Whether events are of use now. Otherwise the partition is not to be read: this bounds the memory.
    pub fn wants_events(&self) -> bool {
        self.wants_events_after(0, 0)
    }

    /// The same for when it has taken so many events more, with contents of so many bytes.
    pub fn wants_events_after(&self, events: u64, bytes: u64) -> bool {
        let (Phase::Comparing(reading, _) | Phase::Sealing(reading)) = &self.phase else { return false };
        let Limits { batch_events, batch_bytes, .. } = self.limits;
        // Each batch that they close has as many events or bytes.
        let closed = (reading.batch.events() + events) / batch_events + (reading.batch.bytes() + bytes) / batch_bytes;
        self.made.len() as u64 + closed < self.limits.unacknowledged as u64
    }

    /// Why the stream is halted, if it is.
    pub fn halt(&self) -> Option<&Halt> {
        match &self.phase {
            Phase::Halted(halted) => Some(&halted.halt),
            _ => None,
        }
    }

    /// What stands in the way of sealing, for people; `None` when the stream is running.
    pub fn obstacle(&self) -> Option<String> {
        match &self.phase {
            Phase::Halted(halted) => Some(format!("halted: {}; {}", halted.halt, halted.halt.remedy(&self.partition))),
            _ if self.trouble.is_some() => self.trouble.clone(),
            Phase::Waiting(_) | Phase::Inspecting | Phase::Renewing => {
                Some("asking the committer where to begin".to_owned())
            }
            Phase::Comparing(..) | Phase::Sealing(_) | Phase::Draining(_) => None,
        }
    }

    /// When [`Input::Tick`] is due, on the clock of [`Stream::step`]; `None` when only other input moves it.
    pub fn deadline_ms(&self) -> Option<u64> {
        let submit = self.submit_due_ms();
        let phase = match &self.phase {
            Phase::Waiting(at) => Some(*at),
            Phase::Halted(halted) => halted.inspect_at_ms,
            Phase::Sealing(reading) => self.age_deadline_ms(reading),
            Phase::Inspecting | Phase::Comparing(..) | Phase::Draining(_) | Phase::Renewing => None,
        };
        submit.into_iter().chain(phase).min()
    }

    /// Takes in what happened at `now_ms`, on a clock that never goes back, and appends what to do.
    pub fn step(&mut self, now_ms: u64, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Inspected(result) => self.inspected(now_ms, result, actions),
            Input::Events(events) => self.events(now_ms, events, actions),
            Input::End(offset) => self.end(now_ms, offset, actions),
            Input::Unreadable(offset, problem) => self.unreadable(now_ms, offset, problem, actions),
            Input::OldFormat(offset, problem) => self.misread(now_ms, offset, problem, actions),
            Input::Stopped(problem) => self.stopped(now_ms, problem, actions),
            Input::LookAgain => self.look_again(now_ms),
            Input::Answered(answer) => self.answered(now_ms, answer, actions),
        }
        self.go_on(now_ms, actions);
    }

    /// Does what is due.
    fn go_on(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if let Phase::Sealing(reading) = &self.phase
            && self.age_deadline_ms(reading).is_some_and(|at| now_ms >= at)
        {
            self.close_batch();
        }
        if self.submit_due_ms().is_some_and(|at| now_ms >= at) {
            self.submit(now_ms, actions);
        }
        if self.made.is_empty() && matches!(self.phase, Phase::Draining(_)) {
            match std::mem::replace(&mut self.phase, Phase::Waiting(now_ms)) {
                Phase::Draining(AfterDrain::Inspect(at)) => self.phase = Phase::Waiting(at),
                Phase::Draining(AfterDrain::Halt(halt)) => self.stop_for_good(now_ms, halt, actions),
                other => self.phase = other,
            }
        }
        let due = match &mut self.phase {
            Phase::Waiting(at) if now_ms >= *at => {
                self.phase = Phase::Inspecting;
                true
            }
            Phase::Halted(halted) => halted.inspect_at_ms.take_if(|at| now_ms >= *at).is_some(),
            _ => false,
        };
        if due {
            actions.push(Action::Inspect);
        }
    }

    fn age_deadline_ms(&self, reading: &Reading) -> Option<u64> {
        let beat_ms = self.limits.beat_ms();
        reading.batch.opened_ms().map(|opened| (opened + self.limits.batch_age_ms) / beat_ms * beat_ms)
    }

    fn inspected(&mut self, now_ms: u64, result: Result<Inspection, InspectError>, actions: &mut Vec<Action>) {
        let awaiting_operator = match &mut self.phase {
            Phase::Inspecting => None,
            Phase::Halted(halted) => {
                halted.inspect_at_ms = Some(now_ms + self.again.next_ms());
                match halted.until {
                    Until::NewStatement(statement) => Some(statement),
                    Until::GoodInspection => None,
                }
            }
            _ => return,
        };
        let inspection = match result {
            Ok(inspection) => inspection,
            Err(InspectError::Unavailable(problem)) => return self.not_now(now_ms, problem, actions),
            Err(InspectError::Invalid(_)) if awaiting_operator.is_some() => return,
            Err(InspectError::Invalid(problem)) => {
                return self.stop(now_ms, Halt::BadCursor { problem }, Until::GoodInspection, actions);
            }
        };
        self.outage.reset();
        let statement = inspection.cursor.statement;
        let is_other_cluster = inspection.log.cluster != self.partition.cluster;
        let is_gone = self.halt().and_then(Halt::record).is_some_and(|offset| offset < inspection.log.low);
        if awaiting_operator == Some(statement) && !is_other_cluster && !is_gone {
            return;
        }
        if let Some(Doubt { refused: Refused { code, message }, .. }) =
            self.doubt.take_if(|doubt| doubt.prev == statement)
        {
            return self.stop(now_ms, Halt::Refused { code, message }, Until::GoodInspection, actions);
        }
        self.doubt = None;
        let decided = Furthest::advance(&mut self.furthest, &inspection.cursor)
            .and_then(|()| resume::decide(&self.ledger, &self.partition, inspection));
        match decided {
            Ok(resume) => self.resume(resume, actions),
            // Whatever else is wrong is found again when the old cluster is back.
            Err(halt @ Halt::OtherCluster { .. }) => self.stop(now_ms, halt, Until::GoodInspection, actions),
            Err(halt @ (Halt::KeyNotGranted { .. } | Halt::CursorWentBack { .. })) => {
                let until = awaiting_operator.map_or(Until::GoodInspection, Until::NewStatement);
                self.stop(now_ms, halt, until, actions);
            }
            Err(halt) => self.stop(now_ms, halt, Until::NewStatement(statement), actions),
        }
    }

    /// The committer or Kafka cannot be asked: later.
    fn not_now(&mut self, now_ms: u64, problem: String, actions: &mut Vec<Action>) {
        let at = now_ms + self.outage.next_ms();
        match &mut self.phase {
            Phase::Halted(halted) => halted.inspect_at_ms = Some(at),
            phase => {
                *phase = Phase::Waiting(at);
                self.be_troubled(problem, actions);
            }
        }
    }

    fn be_troubled(&mut self, problem: String, actions: &mut Vec<Action>) {
        if self.trouble.is_none() {
            actions.push(Action::Trouble(problem.clone()));
        }
        self.trouble = Some(problem);
    }

    fn resume(&mut self, resume: Resume, actions: &mut Vec<Action>) {
        let Resume { place, topic_id, low, high, gap, from, below } = resume;
        let was_troubled = self.trouble.take().is_some();
        if was_troubled || matches!(self.phase, Phase::Halted(_)) {
            actions.push(Action::Cleared);
        }
        if self.topic_id.is_some() && self.topic_id != topic_id {
            self.phase = Phase::Renewing;
            return actions.push(Action::NewClient);
        }
        self.topic_id = topic_id;
        self.submit_at_ms = 0;
        let is_below = from < place.next;
        let reading = Box::new(Reading { place, position: from, batch: OpenBatch::default(), low, high });
        if let Some(made) = gap {
            if let Statement::Gap(gap) = &made.statement {
                actions.push(Action::Gap(Box::new(gap.clone())));
            }
            self.made.push_back(made);
        }
        actions.push(Action::Read(from));
        self.phase = if is_below { Phase::Comparing(reading, below) } else { Phase::Sealing(reading) };
    }

    fn events(&mut self, now_ms: u64, events: &[HashedEvent], actions: &mut Vec<Action>) {
        for event in events {
            if matches!(&self.phase, Phase::Comparing(reading, _) if event.offset >= reading.place.next) {
                self.end_comparison(actions);
            }
            match &mut self.phase {
                Phase::Comparing(reading, below) => {
                    if let Err(halt) = reading.compare(below, event, actions) {
                        return self.stop_for_good(now_ms, halt, actions);
                    }
                    self.leader_epoch = self.leader_epoch.max(event.leader_epoch);
                }
                Phase::Sealing(reading) if event.offset >= reading.position => {
                    let known = self.leader_epoch.or(event.leader_epoch);
                    self.leader_epoch = known.max(event.leader_epoch);
                    if self.leader_epoch > known {
                        return self.look_again(now_ms);
                    }
                    reading.take(event, now_ms);
                    let Limits { batch_events, batch_bytes, .. } = self.limits;
                    if reading.batch.events() >= batch_events || reading.batch.bytes() >= batch_bytes {
                        self.close_batch();
                    }
                }
                Phase::Sealing(_) => {}
                _ => return,
            }
        }
    }

    fn close_batch(&mut self) {
        if let Phase::Sealing(reading) = &mut self.phase {
            let made = reading.close(reading.position);
            self.made.push_back(made);
        }
    }

    fn end(&mut self, now_ms: u64, offset: u64, actions: &mut Vec<Action>) {
        let (Phase::Comparing(reading, _) | Phase::Sealing(reading)) = &self.phase else { return };
        // A log that ends before what was read from it, or before what was sealed, lost something.
        if offset < reading.position.max(reading.place.next) {
            let at = now_ms + self.again.next_ms();
            return self.look_again(at);
        }
        self.end_comparison(actions);
        if let Phase::Sealing(reading) = &mut self.phase {
            reading.advance(offset, now_ms);
        }
    }

    /// All that was signed below the cursor was compared; from here on events are sealed.
    fn end_comparison(&mut self, actions: &mut Vec<Action>) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Inspecting) {
            Phase::Comparing(mut reading, below) => {
                if let Some(last) = below.last {
                    actions.push(Action::LastGone(last.offset));
                }
                reading.position = reading.place.next;
                Phase::Sealing(reading)
            }
            other => other,
        };
    }

    fn unreadable(&mut self, now_ms: u64, offset: u64, problem: String, actions: &mut Vec<Action>) {
        let (Phase::Comparing(reading, _) | Phase::Sealing(reading)) = &self.phase else { return };
        let (position, high) = (reading.position, reading.high);
        // A batch of the producer that is damaged is told of by its first offset, which may lie behind us.
        let offset = offset.max(position);
        if self.passes_gap(offset, actions) {
            return;
        }
        let times = self.unreadable.filter(|(before, _)| *before == offset).map_or(1, |(_, times)| times + 1);
        self.unreadable = Some((offset, times));
        if times < UNREADABLE_TIMES {
            // The damage may have been done on the way.
            let at = now_ms + self.again.next_ms();
            return self.look_again(at);
        }
        self.unreadable = None;
        // The watermark was asked for since the offset was named first, so no record has that offset.
        let halt = if offset >= high {
            let problem =
                format!("the client library names offset {offset}, beyond the high watermark {high}: {problem}");
            Halt::Misread { offset: position, problem }
        } else {
            Halt::Unreadable { offset, problem }
        };
        self.stop_at(now_ms, halt, actions);
    }

    fn misread(&mut self, now_ms: u64, offset: u64, problem: String, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Comparing(..) | Phase::Sealing(_)) && !self.passes_gap(offset, actions) {
            self.stop_at(now_ms, Halt::Misread { offset, problem }, actions);
        }
    }

    /// Whether a record that cannot be read lies in what the operator left out. It need not be read then.
    fn passes_gap(&mut self, offset: u64, actions: &mut Vec<Action>) -> bool {
        let is_in_gap = match &self.phase {
            Phase::Comparing(reading, below) => offset < reading.place.next && !below.concerns(offset),
            _ => false,
        };
        if is_in_gap {
            self.end_comparison(actions);
            if let Phase::Sealing(reading) = &self.phase {
                actions.push(Action::Read(reading.position));
            }
        }
        is_in_gap
    }

    /// Halts at the record that the halt names, once all before it is sealed.
    fn stop_at(&mut self, now_ms: u64, halt: Halt, actions: &mut Vec<Action>) {
        let is_before = |next| halt.record().is_some_and(|offset| offset < next);
        if matches!(&self.phase, Phase::Comparing(reading, _) if is_before(reading.place.next)) {
            return self.stop_for_good(now_ms, halt, actions);
        }
        // The operator's gap begins at the cursor, so nothing else may be left before the record.
        self.end_comparison(actions);
        if let Phase::Sealing(reading) = &self.phase
            && reading.batch.events() > 0
        {
            self.close_batch();
        }
        self.phase = Phase::Draining(AfterDrain::Halt(halt));
    }

    /// Kafka gives nothing more until it is asked anew.
    fn stopped(&mut self, now_ms: u64, problem: String, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Comparing(..) | Phase::Sealing(_)) {
            let at = now_ms + self.again.next_ms();
            self.look_again(at);
            self.be_troubled(problem, actions);
        }
    }

    /// Reads no further, and inspects at `at_ms` when all that was read is acknowledged. It is sealed although Kafka may
    /// have lost it by now: that is when the evidence is needed.
    fn look_again(&mut self, at_ms: u64) {
        match &self.phase {
            Phase::Sealing(reading) if reading.batch.events() > 0 => self.close_batch(),
            Phase::Sealing(_) | Phase::Comparing(..) => {}
            _ => return,
        }
        self.phase = Phase::Draining(AfterDrain::Inspect(at_ms));
    }

    /// Halts until the operator states something about the stream.
    fn stop_for_good(&mut self, now_ms: u64, halt: Halt, actions: &mut Vec<Action>) {
        let newest = self.furthest.and_then(|furthest| furthest.statement);
        self.stop(now_ms, halt, Until::NewStatement(newest), actions);
    }

    fn stop(&mut self, now_ms: u64, halt: Halt, until: Until, actions: &mut Vec<Action>) {
        debug_assert!(self.made.is_empty(), "whoever stops has drained or dropped what was made");
        let is_news = self.halt() != Some(&halt);
        let inspect_at_ms = Some(now_ms + self.again.next_ms());
        self.phase = Phase::Halted(Halted { halt: halt.clone(), until, inspect_at_ms });
        if is_news {
            actions.push(Action::Halted(halt));
        }
    }
}
