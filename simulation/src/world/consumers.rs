//! The ingest-consumers: reading, requests and actions around the pure step of each stream.

use ingest_consumer::Halt;
use ingest_consumer::stream::{Action, Input, InspectError, Inspection, Log, SubmitOutcome};

use super::{NODES, World};
use crate::assignments::{Assignment, Inspecting, Request};
use crate::committers::Question;
use crate::ledger::partition;
use crate::model::Check;

impl World<'_> {
    /// A consumer stops waiting for an answer. The committer may still get the request.
    pub(crate) fn give_up(&mut self, which: usize) -> Check {
        let assignment = &mut self.assignments[which];
        if let Some(Inspecting::Sent(_)) = assignment.inspecting {
            assignment.inspecting = None;
            self.count("requests timed out");
            return self.step(which, Input::Inspected(Err(InspectError::Unavailable("no answer in time".into()))));
        }
        if let Some(Request::Sent(..)) = assignment.request {
            assignment.request = None;
            self.count("requests timed out");
            let answer = SubmitOutcome::Unknown { problem: "no answer in time".into(), retry_after_ms: None };
            return self.step(which, Input::Submitted(answer));
        }
        Ok(())
    }

    /// Reads events as a Kafka client does: from whichever topic has the name.
    pub(crate) fn read(&mut self, which: usize, count: u64) -> Check {
        let assignment = &mut self.assignments[which];
        let log = self.cluster.log_mut(assignment.partition);
        let Some(next) = assignment.reader.filter(|_| assignment.stream.wants_events()) else { return Ok(()) };
        if !(log.low..=log.stable).contains(&next) {
            assignment.reader = None;
            return self.step(which, Input::ReadError("out of range".into()));
        }
        let (events, next) = log.read(next, count);
        let stable = log.stable;
        assignment.reader = Some(next);
        self.step(which, Input::Events(&events))?;
        // The events may have begun another read.
        match self.assignments.get(which) {
            Some(assignment) if assignment.reader == Some(next) && next == stable => self.step(which, Input::End(next)),
            _ => Ok(()),
        }
    }

    /// One stage of an inspection: first the committer, then Kafka.
    pub(crate) fn inspect(&mut self, which: usize, kafka_answers: bool) -> Check {
        let assignment = &mut self.assignments[which];
        let result = match assignment.inspecting.take() {
            None => return Ok(()),
            Some(sent @ Inspecting::Sent(_)) => {
                assignment.inspecting = Some(sent);
                return Ok(());
            }
            Some(Inspecting::Asked) => {
                let question = Question::Cursor(partition(assignment.partition));
                let node = self.random.index(NODES);
                self.assignments[which].inspecting = Some(Inspecting::Sent(self.network.send(node, question)));
                return Ok(());
            }
            Some(Inspecting::Answered(_)) if !kafka_answers => Err(InspectError::Unavailable("no broker".into())),
            Some(Inspecting::Answered(answer)) => {
                let (cursor, permission) = *answer;
                let (log, id) = (self.cluster.log(assignment.partition), self.cluster.topic().id.clone());
                let cluster = partition(assignment.partition).cluster;
                let log = Log { cluster, topic_id: Some(id), low: log.low, high: log.high() };
                Ok(Inspection { cursor, log, permission })
            }
        };
        self.step(which, Input::Inspected(result))
    }

    /// The first stage of a request: checks the topic id, signs and sends.
    pub(crate) fn submit(&mut self, which: usize, kafka_answers: bool) -> Check {
        let assignment = &mut self.assignments[which];
        let (id, statements) = match assignment.request.take() {
            Some(Request::Unchecked(id, statements)) => (id, statements),
            other => {
                assignment.request = other;
                return Ok(());
            }
        };
        if !kafka_answers {
            let answer = SubmitOutcome::Unknown { problem: "no broker".into(), retry_after_ms: None };
            return self.step(which, Input::Submitted(answer));
        }
        if id.as_deref() != Some(&self.cluster.topic().id) {
            return self.step(which, Input::Submitted(SubmitOutcome::OtherTopic));
        }
        let (signed, body) = Assignment::sign(statements, &self.keys.ingest[assignment.key]);
        let node = self.random.index(NODES);
        let call = self.network.send(node, Question::Submit(body));
        self.assignments[which].request = Some(Request::Sent(call, signed));
        Ok(())
    }

    pub(crate) fn tick(&mut self, which: usize) -> Check {
        self.step(which, Input::Tick)
    }

    pub(super) fn step(&mut self, which: usize, input: Input<'_>) -> Check {
        let mut actions = Vec::new();
        let (now_ms, assignment) = (self.now_ms, &mut self.assignments[which]);
        let is_news = !matches!(input, Input::Tick | Input::Events([]) | Input::End(_));
        if let Some(trace) = self.trace.as_mut().filter(|_| is_news) {
            let mut text = format!("{input:?}");
            text.truncate(240);
            trace.push(format!(
                "{now_ms:>7} ms  assignment {} of partition {}: {text}",
                assignment.number, assignment.partition
            ));
        }
        assignment.stream.step(now_ms, input, &mut actions);
        for action in actions {
            if self.trace.is_some() && !matches!(action, Action::Submit { .. }) {
                let number = self.assignments[which].number;
                self.note(|| format!("assignment {number} -> {action:?}"));
            }
            let assignment = &mut self.assignments[which];
            match action {
                Action::Inspect => assignment.inspecting = Some(Inspecting::Asked),
                Action::Read(offset) => assignment.reader = Some(offset),
                Action::Submit { topic_id, statements } => {
                    if assignment.request.is_some() {
                        return Err("a stream has two requests in flight".to_owned());
                    }
                    assignment.request = Some(Request::Unchecked(topic_id, statements));
                }
                Action::NewClient => {
                    let (of, zombie) = (assignment.partition, assignment.is_zombie);
                    self.assignments.remove(which);
                    self.assign(of);
                    let new = self.assignments.len() - 1;
                    self.assignments[new].is_zombie = zombie;
                    self.counts.add("new clients for a recreated topic", 1);
                    return Ok(());
                }
                Action::Halted(halt) => {
                    self.counts.add(halt_name(&halt), 1);
                    self.check_halt(which, &halt)?;
                }
                Action::Gap(_) => self.counts.add("gaps signed", 1),
                Action::LastEventCompacted(_) => self.counts.add("last sealed events found compacted", 1),
                Action::Sealed(_) | Action::Resumed | Action::Blocked(_) => {}
            }
        }
        Ok(())
    }

    /// A stream halts only for a planned reason.
    fn check_halt(&self, which: usize, halt: &Halt) -> Check {
        let plan = &self.plan;
        let is_expected = match halt {
            Halt::Recreated { .. } => plan.recreated,
            // A consumer may read events of the new topic before it sees the new id.
            Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. } => plan.recreated || plan.truncated,
            Halt::CursorWentBack { .. } | Halt::BadCursor { .. } => plan.old_copy,
            Halt::KeyNotGranted { .. } => plan.new_key || plan.old_copy,
            Halt::Unreadable { .. } | Halt::Refused { .. } => plan.old_copy,
            // There is one cluster, and all its records have one format.
            Halt::Misread { .. } | Halt::OtherCluster { .. } => false,
        };
        let number = self.assignments[which].partition;
        if is_expected { Ok(()) } else { Err(format!("partition {number} halted without a reason: {halt}")) }
    }
}

fn halt_name(halt: &Halt) -> &'static str {
    match halt {
        Halt::Recreated { .. } => "halts: recreated",
        Halt::Truncated { .. } => "halts: truncated",
        Halt::Altered { .. } => "halts: altered",
        Halt::Appeared { .. } => "halts: appeared",
        Halt::Unreadable { .. } => "halts: unreadable",
        Halt::Misread { .. } => "halts: misread",
        Halt::OtherCluster { .. } => "halts: other cluster",
        Halt::CursorWentBack { .. } => "halts: cursor went back",
        Halt::BadCursor { .. } => "halts: bad cursor",
        Halt::KeyNotGranted { .. } => "halts: key not granted",
        Halt::Refused { .. } => "halts: refused",
    }
}
