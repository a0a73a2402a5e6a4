mod halting;
mod resuming;
mod sealing;

use evidence::statement::{Reason, Statement, Summary};
use evidence::{Hash, SignedStatement, batch};

use super::*;
use crate::cursor;
use testbed::memory_ledger::{MemoryLedger, ingest_key, key};

const LIMITS: Limits =
    Limits { batch_events: 4, batch_bytes: 1000, batch_age_ms: 1000, request_statements: 3, unacknowledged: 5 };

/// A stream with a ledger and a log. Each test answers the stream itself.
struct Harness {
    ledger: MemoryLedger,
    stream: Stream,
    log: Log,
    now_ms: u64,
    actions: Vec<Action>,
}

fn partition() -> Partition {
    Partition { cluster: "c1".into(), topic: "orders".into(), number: 3 }
}

fn leaf(offset: u64) -> Hash {
    evidence::sha256(&offset.to_be_bytes())
}

fn event(offset: u64) -> HashedEvent {
    HashedEvent {
        offset,
        timestamp: 1000 - offset as i64,
        content_bytes: 10,
        leader_epoch: Some(5),
        leaf: leaf(offset),
    }
}

fn events(offsets: impl IntoIterator<Item = u64>) -> Vec<HashedEvent> {
    offsets.into_iter().map(event).collect()
}

impl Harness {
    fn new() -> Self {
        Self::with(MemoryLedger::new())
    }

    fn with(ledger: MemoryLedger) -> Self {
        let stream = Stream::new(ledger.id(), partition(), LIMITS);
        let log = Log { cluster: "c1".into(), topic_id: Some("T1".into()), low: 0, high: 100 };
        Self { ledger, stream, log, now_ms: 0, actions: Vec::new() }
    }

    /// A restarted stream on the same ledger and log.
    fn restart(self) -> Self {
        let stream = Stream::new(self.ledger.id(), partition(), LIMITS);
        Self { stream, ..self }
    }

    /// A stream that reads from offset 0.
    fn reading() -> Self {
        let mut harness = Self::new();
        assert_eq!(harness.inspect(), [Action::Read(0)]);
        harness
    }

    /// A restarted stream whose offsets below `next` are sealed.
    fn sealed_to(next: u64) -> Self {
        let mut harness = Self::reading();
        harness.events(0..next);
        harness.wait(LIMITS.batch_age_ms);
        harness.submit_all();
        assert_eq!(harness.ledger.cursor(&partition()).next, next);
        harness.restart()
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Action> {
        self.stream.step(self.now_ms, input, &mut self.actions);
        std::mem::take(&mut self.actions)
    }

    fn wait(&mut self, ms: u64) -> Vec<Action> {
        self.now_ms += ms;
        self.step_keeping(Input::Tick)
    }

    /// Steps, and keeps the actions for `submission`.
    fn step_keeping(&mut self, input: Input<'_>) -> Vec<Action> {
        self.stream.step(self.now_ms, input, &mut self.actions);
        self.actions.clone()
    }

    fn events(&mut self, offsets: impl IntoIterator<Item = u64>) -> Vec<Action> {
        let events = events(offsets);
        self.step_keeping(Input::Events(&events))
    }

    /// Waits until the stream inspects, and answers.
    fn inspect(&mut self) -> Vec<Action> {
        self.actions.clear();
        for _ in 0..3 {
            if self.step(Input::Tick).contains(&Action::Inspect) {
                let inspection = self.inspection();
                return self.step(Input::Inspected(inspection));
            }
            self.now_ms = self.stream.deadline_ms().expect("a deadline");
        }
        panic!("the stream does not inspect: {:?}", self.stream);
    }

    fn inspection(&self) -> Result<Inspection, InspectError> {
        let keys = cursor::keys(&self.ledger.id(), &self.ledger.keys().entries).expect("good keys");
        let permission = cursor::permission(&self.ledger.id(), &keys, ingest_key().verifier_key(), "orders");
        let answer = self.ledger.cursor(&partition());
        let cursor = cursor::verify(&self.ledger.id(), &keys, &partition(), &answer).expect("a good cursor");
        Ok(Inspection { cursor, log: self.log.clone(), permission })
    }

    /// Takes the submission among the kept actions.
    fn submission(&mut self) -> Option<Vec<Statement>> {
        let actions = std::mem::take(&mut self.actions);
        actions.into_iter().find_map(|action| match action {
            Action::Submit { statements, .. } => Some(statements),
            _ => None,
        })
    }

    /// Submits statements to the ledger.
    fn decide(&mut self, statements: &[Statement]) -> SubmitOutcome {
        let texts: Vec<String> = statements
            .iter()
            .map(|statement| SignedStatement::sign(statement.clone(), &[&ingest_key()]).to_bytes())
            .map(|note| String::from_utf8(note).expect("text"))
            .collect();
        let answer = self.ledger.submit(&texts);
        let refused = answer.refused.map(|refused| Refusal { code: refused.code, message: refused.message });
        SubmitOutcome::Decided { accepted: answer.accepted.len(), refused }
    }

    /// Waits for the flush that sends pending statements.
    fn flush(&mut self) {
        if let Some(due_ms) = self.stream.submit_due_ms() {
            self.now_ms = self.now_ms.max(due_ms);
            self.step_keeping(Input::Tick);
        }
    }

    fn submit(&mut self) -> Vec<Statement> {
        self.flush();
        let statements = self.submission().expect("a submission");
        let answer = self.decide(&statements);
        self.step_keeping(Input::Submitted(answer));
        statements
    }

    fn submit_all(&mut self) -> Vec<Statement> {
        let mut all = Vec::new();
        self.flush();
        while let Some(statements) = self.submission() {
            let answer = self.decide(&statements);
            self.step_keeping(Input::Submitted(answer));
            all.extend(statements);
            self.flush();
        }
        all
    }
}

fn summaries(statements: &[Statement]) -> Vec<&Summary> {
    statements
        .iter()
        .map(|statement| match statement {
            Statement::Summary(summary) => summary,
            other => panic!("{other:?} is not a summary"),
        })
        .collect()
}

fn ranges(statements: &[Statement]) -> Vec<(u64, u64)> {
    statements
        .iter()
        .map(|statement| statement.advance().map(|advance| (advance.first, advance.next)).expect("advances"))
        .collect()
}

fn halted(actions: &[Action]) -> &Halt {
    actions
        .iter()
        .find_map(|action| match action {
            Action::Halted(halt) => Some(halt),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no halt in {actions:?}"))
}

impl Harness {
    /// Another process with a copy of the ledger and the log.
    fn other_process(&self) -> Self {
        let mut ledger = MemoryLedger::new();
        for entry in self.ledger.entries() {
            if entry.statement.statement().advance().is_some() {
                let text = String::from_utf8(entry.statement.to_bytes()).expect("text");
                assert_eq!(ledger.submit(&[text]).refused, None);
            }
        }
        let mut harness = Self::with(ledger);
        harness.log = self.log.clone();
        harness
    }
}
