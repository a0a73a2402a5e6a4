use evidence::SignedStatement;

use super::*;
use crate::cursor;
use crate::ledger::{Ledger, ingest_key};
use crate::stream::simulation::topic::Topic;

/// What happens once in a run, besides what happens in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfortune {
    None,
    Recreated,
    Truncated,
}

const STEPS: u64 = 500;

pub(super) struct World {
    random: Random,
    pub(super) misfortune: Misfortune,
    now_ms: u64,
    pub(super) ledger: Ledger,
    /// The last one is the one that is there.
    topics: Vec<Topic>,
    /// Usually one; sometimes another that does not know yet that the partition was taken from it.
    processes: Vec<Process>,
    /// Requests whose sender does not wait for them any more; the committer may get them late.
    ghosts: Vec<Vec<String>>,
}

/// One process with the partition.
struct Process {
    stream: Stream,
    /// Where its Kafka client reads.
    reader: Option<u64>,
    inspecting: Option<Inspecting>,
    request: Option<Request>,
}

enum Inspecting {
    Asked,
    /// The committer answered, Kafka was not asked yet.
    Answered(Box<(Cursor, Standing)>),
}

enum Request {
    /// Kafka was not asked yet whether the topic is still the same.
    Unchecked(Option<String>, Vec<String>),
    Sent(Vec<String>),
    Decided(Answer),
}

fn partition() -> Partition {
    Partition { cluster: "c1".into(), topic: "orders".into(), number: 0 }
}

impl Process {
    fn new(ledger: &Ledger) -> Self {
        let limits =
            Limits { batch_events: 7, batch_bytes: 200, batch_age_ms: 500, request_statements: 3, unacknowledged: 6 };
        let stream = Stream::new(ledger.id(), partition(), limits);
        Self { stream, reader: None, inspecting: None, request: None }
    }
}

impl World {
    pub(super) fn new(seed: u64, misfortune: Misfortune) -> Self {
        let ledger = Ledger::new();
        let processes = vec![Process::new(&ledger)];
        let topics = vec![Topic::new(1)];
        Self { random: Random(seed), misfortune, now_ms: 0, ledger, topics, processes, ghosts: Vec::new() }
    }

    pub(super) fn topic(&self) -> &Topic {
        self.topics.last().expect("one at least")
    }

    pub(super) fn topic_of(&self, id: &Option<String>) -> &Topic {
        self.topics.iter().find(|topic| id.as_ref() == Some(&topic.id)).expect("an id that was shown")
    }

    pub(super) fn cursor(&self) -> committer_client::Cursor {
        self.ledger.cursor(&partition())
    }

    fn topic_mut(&mut self) -> &mut Topic {
        self.topics.last_mut().expect("one at least")
    }

    pub(super) fn run(&mut self) {
        let struck_at = self.random.below(STEPS);
        for step in 0..STEPS {
            if step == struck_at {
                self.strike();
            }
            let which = self.random.below(self.processes.len() as u64) as usize;
            match self.random.below(100) {
                0..16 => self.produce(),
                16..40 => self.read(which),
                40..58 => self.inspect(which, true),
                58..80 => self.request(which, true),
                80..90 => self.tick(which),
                90..92 => self.crash(which),
                92..93 => self.processes.push(Process::new(&self.ledger)),
                93..95 => self.deliver_ghost(),
                95..97 => self.topic_mut().leader_epoch += 1,
                97..98 => self.delete_old(),
                _ => self.compact(),
            }
        }
    }

    /// No more trouble: one process is left, and an operator who resolves halts. Ends when all is sealed.
    pub(super) fn settle(&mut self) {
        while !self.ghosts.is_empty() {
            self.deliver_ghost();
        }
        // A log that was cut off and grew again shows it by its next event.
        self.topic_mut().append_event();
        self.topic_mut().stable = self.topic().high();
        self.processes.truncate(1);
        for _ in 0..2_000 {
            self.read(0);
            self.inspect(0, false);
            self.request(0, false);
            self.tick(0);
            self.operate();
            if self.cursor().next == self.topic().stable && self.processes[0].stream.halt().is_none() {
                return;
            }
        }
        panic!("not settled: {:?}", self.processes[0].stream);
    }

    fn strike(&mut self) {
        match self.misfortune {
            Misfortune::None => {}
            Misfortune::Recreated => {
                let id = self.topics.len() as u32 + 1;
                self.topics.push(Topic::new(id));
                for _ in 0..self.random.below(30) {
                    self.produce();
                }
            }
            Misfortune::Truncated => {
                let lost = self.random.below(20).min(self.topic().high() - self.topic().low);
                let high = self.topic().high() - lost;
                self.topic_mut().truncate(high);
                for _ in 0..self.random.below(30) {
                    self.topic_mut().append_event();
                }
            }
        }
    }

    fn produce(&mut self) {
        for _ in 0..self.random.below(6) {
            // Where a marker could take the place of a lost event, the loss could not be told from compaction.
            let marker = self.random.below(4) == 0 && self.misfortune != Misfortune::Truncated;
            let topic = self.topic_mut();
            if marker { topic.append_marker() } else { topic.append_event() }
        }
        // Otherwise a transaction stays open.
        if self.random.below(3) > 0 {
            self.topic_mut().stable = self.topic().high();
        }
    }

    /// Retention, also past the cursor.
    fn delete_old(&mut self) {
        // What was lost and is deleted as well cannot be compared.
        if self.misfortune == Misfortune::Truncated {
            return;
        }
        let span = self.topic().stable - self.topic().low;
        let deleted = self.random.below(span / 2 + 1);
        self.topic_mut().low += deleted;
    }

    /// Of what is sealed, so that it stays known what was sealed.
    fn compact(&mut self) {
        let sealed = self.cursor().next.min(self.topic().stable);
        if self.misfortune == Misfortune::None && sealed > 0 {
            let offset = self.random.below(sealed);
            self.topic_mut().compact(offset);
        }
    }

    fn crash(&mut self, which: usize) {
        let crashed = std::mem::replace(&mut self.processes[which], Process::new(&self.ledger));
        if let Some(Request::Sent(texts)) = crashed.request {
            self.ghosts.push(texts);
        }
    }

    fn deliver_ghost(&mut self) {
        if let Some(texts) = self.ghosts.pop() {
            self.ledger.submit(&texts);
        }
    }

    fn tick(&mut self, which: usize) {
        self.now_ms += self.random.below(300);
        self.step(which, Input::Tick);
    }

    /// What a Kafka client does: it reads the topic of the name, whichever that is.
    fn read(&mut self, which: usize) {
        let count = self.random.below(12);
        let process = &self.processes[which];
        let Some(next) = process.reader.filter(|_| process.stream.wants_events()) else { return };
        if !(self.topic().low..=self.topic().stable).contains(&next) {
            self.processes[which].reader = None;
            return self.step(which, Input::Stopped("out of range".into()));
        }
        let (events, next) = self.topic().read(next, count);
        self.processes[which].reader = Some(next);
        self.step(which, Input::Events(&events));
        // Unless the events led to another place.
        if self.processes[which].reader == Some(next) && next == self.topic().stable {
            self.step(which, Input::End(next));
        }
    }

    fn inspect(&mut self, which: usize, trouble: bool) {
        let answer = match self.processes[which].inspecting.take() {
            None => return,
            Some(_) if trouble && self.random.below(10) == 0 => Err(InspectError::Unavailable("away".into())),
            Some(Inspecting::Asked) => {
                let keys = cursor::keys(&self.ledger.id(), &self.ledger.keys().entries).expect("good keys");
                let answer = self.ledger.cursor(&partition());
                let cursor = cursor::verify(&self.ledger.id(), &keys, &partition(), &answer).expect("a good cursor");
                let standing = cursor::standing(&self.ledger.id(), &keys, ingest_key().verifier_key(), "orders");
                self.processes[which].inspecting = Some(Inspecting::Answered(Box::new((cursor, standing))));
                return;
            }
            Some(Inspecting::Answered(answer)) => {
                let (cursor, standing) = *answer;
                let topic = self.topic();
                let log = Log { topic_id: Some(topic.id.clone()), low: topic.low, high: topic.high() };
                Ok(Inspection { cursor, log, standing })
            }
        };
        self.step(which, Input::Inspected(answer));
    }

    /// One stage of a request. With trouble its outcome may get lost, before or after the committer decided.
    fn request(&mut self, which: usize, trouble: bool) {
        let lost = trouble && self.random.below(6) == 0;
        let unknown = Answer::Unknown { problem: "no answer".into(), retry_after_ms: None };
        let answer = match self.processes[which].request.take() {
            None => return,
            Some(Request::Unchecked(id, _)) if id.as_ref() != Some(&self.topic().id) => Answer::OtherTopic,
            Some(Request::Unchecked(_, texts)) => {
                self.processes[which].request = Some(Request::Sent(texts));
                return;
            }
            Some(Request::Sent(texts)) if lost => {
                self.ghosts.push(texts);
                unknown
            }
            Some(Request::Sent(texts)) => {
                let answer = self.ledger.submit(&texts);
                let refused = answer.stopped.map(|stopped| Refused { code: stopped.code, message: stopped.message });
                let decided = Answer::Decided { accepted: answer.accepted.len(), refused };
                self.processes[which].request = Some(Request::Decided(decided));
                return;
            }
            Some(Request::Decided(_)) if lost => unknown,
            Some(Request::Decided(answer)) => answer,
        };
        self.step(which, Input::Answered(answer));
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        let mut actions = Vec::new();
        self.processes[which].stream.step(self.now_ms, input, &mut actions);
        for action in actions {
            let process = &mut self.processes[which];
            match action {
                Action::Inspect => process.inspecting = Some(Inspecting::Asked),
                Action::Read(offset) => process.reader = Some(offset),
                Action::Submit { topic_id, statements } => {
                    assert!(process.request.is_none(), "one request at a time");
                    let texts = statements.into_iter().map(sign).collect();
                    process.request = Some(Request::Unchecked(topic_id, texts));
                }
                Action::NewClient => *process = Process::new(&self.ledger),
                Action::Halted(halt) => self.assert_deserved(&halt),
                Action::Sealed(_) | Action::Gap(_) | Action::LastGone(_) | Action::Cleared | Action::Trouble(_) => {}
            }
        }
    }

    /// Nothing halts without a reason.
    fn assert_deserved(&self, halt: &Halt) {
        let of_the_log = matches!(
            halt,
            Halt::Recreated { .. } | Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. }
        );
        let deserved = match self.misfortune {
            Misfortune::None => false,
            // Its events may be met before its id is.
            Misfortune::Recreated => of_the_log,
            Misfortune::Truncated => of_the_log && !matches!(halt, Halt::Recreated { .. }),
        };
        assert!(deserved, "{halt}");
    }

    /// The operator begins a new epoch where a stream halted.
    fn operate(&mut self) {
        if self.processes[0].stream.halt().is_some() && self.cursor().epoch == 0 {
            let (id, low) = (self.topic().id.clone(), self.topic().low);
            let same = self.cursor().topic_id.as_ref() == Some(&id);
            self.ledger.begin_epoch(&partition(), Some(id), if same { low } else { 0 });
        }
    }
}

fn sign(statement: Statement) -> String {
    String::from_utf8(SignedStatement::sign(statement, &[&ingest_key()]).to_bytes()).expect("notes are text")
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}
