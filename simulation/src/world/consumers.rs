//! The ingest-consumers: what surrounds the pure step of each stream.

use ingest_consumer::Halt;
use ingest_consumer::stream::{Action, Input, InspectError, Inspection, Log, SubmitOutcome};

use super::{NODES, World};
use crate::committers::Question;
use crate::ledger::partition;
use crate::model::Check;
use crate::seats::{Inspecting, Request, Seat};

impl World<'_> {
    /// The client of a seat gives up waiting: the committer may get the request all the same.
    pub(crate) fn give_up(&mut self, which: usize) -> Check {
        let seat = &mut self.seats[which];
        if let Some(Inspecting::Sent(_)) = seat.inspecting {
            seat.inspecting = None;
            self.count("requests given up");
            return self.step(which, Input::Inspected(Err(InspectError::Unavailable("no answer in time".into()))));
        }
        if let Some(Request::Sent(..)) = seat.request {
            seat.request = None;
            self.count("requests given up");
            let answer = SubmitOutcome::Unknown { problem: "no answer in time".into(), retry_after_ms: None };
            return self.step(which, Input::Submitted(answer));
        }
        Ok(())
    }

    /// What a Kafka client does: it reads the topic of the name, whichever that is.
    pub(crate) fn read(&mut self, which: usize, count: u64) -> Check {
        let seat = &mut self.seats[which];
        let log = self.cluster.log_mut(seat.partition);
        let Some(next) = seat.reader.filter(|_| seat.stream.wants_events()) else { return Ok(()) };
        if !(log.low..=log.stable).contains(&next) {
            seat.reader = None;
            return self.step(which, Input::ReadError("out of range".into()));
        }
        let (events, next) = log.read(next, count);
        let stable = log.stable;
        seat.reader = Some(next);
        self.step(which, Input::Events(&events))?;
        // Unless the events led to another place.
        match self.seats.get(which) {
            Some(seat) if seat.reader == Some(next) && next == stable => self.step(which, Input::End(next)),
            _ => Ok(()),
        }
    }

    /// One stage of an inspection: the committer first, then Kafka.
    pub(crate) fn inspect(&mut self, which: usize, kafka_answers: bool) -> Check {
        let seat = &mut self.seats[which];
        let result = match seat.inspecting.take() {
            None => return Ok(()),
            Some(sent @ Inspecting::Sent(_)) => {
                seat.inspecting = Some(sent);
                return Ok(());
            }
            Some(Inspecting::Asked) => {
                let question = Question::Cursor(partition(seat.partition));
                let node = self.random.index(NODES);
                self.seats[which].inspecting = Some(Inspecting::Sent(self.network.send(node, question)));
                return Ok(());
            }
            Some(Inspecting::Answered(_)) if !kafka_answers => Err(InspectError::Unavailable("no broker".into())),
            Some(Inspecting::Answered(answer)) => {
                let (cursor, permission) = *answer;
                let (log, id) = (self.cluster.log(seat.partition), self.cluster.topic().id.clone());
                let cluster = partition(seat.partition).cluster;
                let log = Log { cluster, topic_id: Some(id), low: log.low, high: log.high() };
                Ok(Inspection { cursor, log, permission })
            }
        };
        self.step(which, Input::Inspected(result))
    }

    /// The first stage of a request: whether the topic is still the same, signing, and off.
    pub(crate) fn submit(&mut self, which: usize, kafka_answers: bool) -> Check {
        let seat = &mut self.seats[which];
        let (id, statements) = match seat.request.take() {
            Some(Request::Unchecked(id, statements)) => (id, statements),
            other => {
                seat.request = other;
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
        let (signed, body) = Seat::sign(statements, &self.keys.ingest[seat.key]);
        let node = self.random.index(NODES);
        let call = self.network.send(node, Question::Submit(body));
        self.seats[which].request = Some(Request::Sent(call, signed));
        Ok(())
    }

    pub(crate) fn tick(&mut self, which: usize) -> Check {
        self.step(which, Input::Tick)
    }

    pub(super) fn step(&mut self, which: usize, input: Input<'_>) -> Check {
        let mut actions = Vec::new();
        let (now_ms, seat) = (self.now_ms, &mut self.seats[which]);
        let is_news = !matches!(input, Input::Tick | Input::Events([]) | Input::End(_));
        if let Some(trace) = self.trace.as_mut().filter(|_| is_news) {
            let mut text = format!("{input:?}");
            text.truncate(240);
            trace.push(format!("{now_ms:>7} ms  seat {} of partition {}: {text}", seat.number, seat.partition));
        }
        seat.stream.step(now_ms, input, &mut actions);
        for action in actions {
            if self.trace.is_some() && !matches!(action, Action::Submit { .. }) {
                let number = self.seats[which].number;
                self.note(|| format!("seat {number} -> {action:?}"));
            }
            let seat = &mut self.seats[which];
            match action {
                Action::Inspect => seat.inspecting = Some(Inspecting::Asked),
                Action::Read(offset) => seat.reader = Some(offset),
                Action::Submit { topic_id, statements } => {
                    if seat.request.is_some() {
                        return Err("two requests of one stream at a time".to_owned());
                    }
                    seat.request = Some(Request::Unchecked(topic_id, statements));
                }
                Action::NewClient => {
                    let (of, zombie) = (seat.partition, seat.is_zombie);
                    self.seats.remove(which);
                    self.seat(of);
                    let new = self.seats.len() - 1;
                    self.seats[new].is_zombie = zombie;
                    self.counts.add("new clients for a recreated topic", 1);
                    return Ok(());
                }
                Action::Halted(halt) => {
                    self.counts.add(halt_name(&halt), 1);
                    self.check_halt(which, &halt)?;
                }
                Action::Gap(_) => self.counts.add("gaps found", 1),
                Action::LastEventCompacted(_) => self.counts.add("last sealed events found compacted away", 1),
                Action::Sealed(_) | Action::Resumed | Action::Blocked(_) => {}
            }
        }
        Ok(())
    }

    /// Nothing halts without a reason.
    fn check_halt(&self, which: usize, halt: &Halt) -> Check {
        let plan = &self.plan;
        let deserved = match halt {
            Halt::Recreated { .. } => plan.recreated,
            // The events of another topic may be met before its id is.
            Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. } => plan.recreated || plan.truncated,
            Halt::CursorWentBack { .. } | Halt::BadCursor { .. } => plan.old_copy,
            Halt::KeyNotGranted { .. } => plan.new_key || plan.old_copy,
            Halt::Unreadable { .. } | Halt::Refused { .. } => plan.old_copy,
            // There is one cluster, and its records are all of one format.
            Halt::Misread { .. } | Halt::OtherCluster { .. } => false,
        };
        let number = self.seats[which].partition;
        if deserved { Ok(()) } else { Err(format!("partition {number} halted without a reason: {halt}")) }
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
