use evidence::statement::{Reason, Summary};
use evidence::{SignedStatement, batch};

use super::*;
use crate::cursor;
use crate::ledger::{Ledger, ingest_key, key};

const LIMITS: Limits =
    Limits { batch_events: 4, batch_bytes: 1000, batch_age_ms: 1000, request_statements: 3, unacknowledged: 5 };

/// A stream with a ledger and a log beside it, each asked and answered by hand.
struct Bench {
    ledger: Ledger,
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

impl Bench {
    fn new() -> Self {
        Self::with(Ledger::new())
    }

    fn with(ledger: Ledger) -> Self {
        let stream = Stream::new(ledger.id(), partition(), LIMITS);
        let log = Log { topic_id: Some("T1".into()), low: 0, high: 100 };
        Self { ledger, stream, log, now_ms: 0, actions: Vec::new() }
    }

    /// The same ledger and log after a restart.
    fn restart(self) -> Self {
        let stream = Stream::new(self.ledger.id(), partition(), LIMITS);
        Self { stream, ..self }
    }

    /// A stream that reads from offset 0.
    fn reading() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.inspect(), [Action::Read(0)]);
        bench
    }

    /// A stream whose offsets before `next` are sealed, restarted.
    fn sealed_to(next: u64) -> Self {
        let mut bench = Self::reading();
        bench.events(0..next);
        bench.wait(LIMITS.batch_age_ms);
        bench.submit_all();
        assert_eq!(bench.ledger.cursor(&partition()).next, next);
        bench.restart()
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Action> {
        self.stream.step(self.now_ms, input, &mut self.actions);
        std::mem::take(&mut self.actions)
    }

    fn wait(&mut self, ms: u64) -> Vec<Action> {
        self.now_ms += ms;
        self.step_keeping(Input::Tick)
    }

    /// Keeps submissions for `submit_all`.
    fn step_keeping(&mut self, input: Input<'_>) -> Vec<Action> {
        self.stream.step(self.now_ms, input, &mut self.actions);
        self.actions.clone()
    }

    fn events(&mut self, offsets: impl IntoIterator<Item = u64>) -> Vec<Action> {
        let events = events(offsets);
        self.step_keeping(Input::Events(&events))
    }

    /// Waits until the stream asks, and answers.
    fn inspect(&mut self) -> Vec<Action> {
        self.actions.clear();
        for _ in 0..3 {
            if self.step(Input::Tick).contains(&Action::Inspect) {
                let inspection = self.inspection();
                return self.step(Input::Inspected(inspection));
            }
            self.now_ms = self.stream.deadline_ms().expect("due at some time");
        }
        panic!("does not inspect: {:?}", self.stream);
    }

    fn inspection(&self) -> Result<Inspection, InspectError> {
        let keys = cursor::keys(&self.ledger.id(), &self.ledger.keys().entries).expect("good keys");
        let standing = cursor::standing(&self.ledger.id(), &keys, ingest_key().verifier_key(), "orders");
        let answer = self.ledger.cursor(&partition());
        let cursor = cursor::verify(&self.ledger.id(), &keys, &partition(), &answer).expect("a good cursor");
        Ok(Inspection { cursor, log: self.log.clone(), standing })
    }

    /// What is to be submitted now, if anything.
    fn submission(&mut self) -> Option<Vec<Statement>> {
        let actions = std::mem::take(&mut self.actions);
        actions.into_iter().find_map(|action| match action {
            Action::Submit { statements, .. } => Some(statements),
            _ => None,
        })
    }

    /// Lets the ledger decide about a submission and returns its answer.
    fn decide(&mut self, statements: &[Statement]) -> Answer {
        let texts: Vec<String> = statements
            .iter()
            .map(|statement| SignedStatement::sign(statement.clone(), &[&ingest_key()]).to_bytes())
            .map(|note| String::from_utf8(note).expect("text"))
            .collect();
        let answer = self.ledger.submit(&texts);
        let refused = answer.stopped.map(|stopped| Refused { code: stopped.code, message: stopped.message });
        Answer::Decided { accepted: answer.accepted.len(), refused }
    }

    fn submit(&mut self) -> Vec<Statement> {
        let statements = self.submission().expect("a submission");
        let answer = self.decide(&statements);
        self.step_keeping(Input::Answered(answer));
        statements
    }

    fn submit_all(&mut self) -> Vec<Statement> {
        let mut all = Vec::new();
        while let Some(statements) = self.submission() {
            let answer = self.decide(&statements);
            self.step_keeping(Input::Answered(answer));
            all.extend(statements);
        }
        all
    }
}

fn summaries(statements: &[Statement]) -> Vec<&Summary> {
    statements
        .iter()
        .map(|statement| match statement {
            Statement::Summary(summary) => summary,
            other => panic!("{other:?} is no summary"),
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

#[test]
fn a_full_batch_is_summarized_and_submitted() {
    let mut bench = Bench::reading();
    assert_eq!(bench.events(0..3), []);
    bench.events([3, 4]);
    let statements = bench.submission().expect("a full batch");
    let [summary] = summaries(&statements)[..] else { panic!("{statements:?}") };
    let leaves: Vec<Hash> = (0..4).map(leaf).collect();
    assert_eq!((summary.first, summary.next, summary.events, summary.bytes), (0, 4, 4, 40));
    assert_eq!(summary.root, batch::root(&leaves));
    assert_eq!(summary.time, Some((997, 1000)));
    assert_eq!(summary.last.map(|last| (last.offset, last.leaf)), Some((3, leaf(3))));
    assert_eq!((summary.prev, summary.topic_id.as_deref()), (None, Some("T1")));
    let answer = bench.decide(&statements);
    let sealed = Sealed { next: 4, batches: 1, events: 4, bytes: 40 };
    assert_eq!(bench.step(Input::Answered(answer)), [Action::Sealed(sealed)]);
}

#[test]
fn what_was_read_before_is_not_taken_twice() {
    let mut bench = Bench::reading();
    bench.events(0..3);
    bench.events(1..4);
    let statements = bench.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].events), (vec![(0, 4)], 4));
    bench.events(2..4);
    assert_eq!(bench.wait(1000), []);
}

#[test]
fn batches_close_by_bytes_and_by_age() {
    let mut bench = Bench::reading();
    bench.step_keeping(Input::Events(&[HashedEvent { content_bytes: 1000, ..event(0) }]));
    assert_eq!(ranges(&bench.submit()), [(0, 1)]);
    bench.now_ms = 5000;
    bench.events([1]);
    assert_eq!(bench.stream.deadline_ms(), Some(6000));
    bench.now_ms = 5999;
    bench.events([2]);
    assert_eq!(bench.submission(), None);
    bench.wait(1);
    assert_eq!(ranges(&bench.submit()), [(1, 3)]);
}

#[test]
fn offsets_without_events_are_covered() {
    let mut bench = Bench::reading();
    // Inside, and after the last event of a batch that closes by age.
    bench.events([2, 5]);
    bench.step(Input::End(8));
    bench.wait(1000);
    let statements = bench.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].events), (vec![(0, 8)], 2));
    // At the end of the log, later and alone.
    bench.step(Input::End(9));
    bench.wait(1000);
    let statements = bench.submit();
    let [summary] = summaries(&statements)[..] else { panic!("{statements:?}") };
    assert_eq!((summary.first, summary.next, summary.events), (8, 9, 0));
    assert_eq!((summary.root, summary.last, summary.time), (batch::empty_root(), None, None));
    // Nothing new is nothing to seal.
    bench.step(Input::End(9));
    assert_eq!(bench.wait(10_000), []);
    assert_eq!(bench.stream.deadline_ms(), None);
}

#[test]
fn one_request_is_outstanding_with_a_bounded_number_of_statements() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    let first = bench.submission().expect("the first batch goes at once");
    for batch in 1..5 {
        assert!(bench.stream.wants_events());
        assert_eq!(bench.events(batch * 4..batch * 4 + 4), []);
    }
    assert!(!bench.stream.wants_events(), "five batches wait");
    let answer = bench.decide(&first);
    bench.step_keeping(Input::Answered(answer));
    assert!(bench.stream.wants_events());
    let second = bench.submission().expect("the rest");
    assert_eq!(ranges(&second), [(4, 8), (8, 12), (12, 16)]);
    let answer = bench.decide(&second);
    bench.step_keeping(Input::Answered(answer));
    assert_eq!(ranges(&bench.submit()), [(16, 20)]);
    assert_eq!(bench.ledger.cursor(&partition()).next, 20);
}

#[test]
fn an_unknown_outcome_is_asked_again_with_the_same_statements() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    let first = bench.submission().expect("a batch");
    let unknown = |retry_after_ms| Answer::Unknown { problem: "away".into(), retry_after_ms };
    assert_eq!(bench.step(Input::Answered(unknown(None))), [Action::Trouble("away".into())]);
    assert_eq!((bench.stream.deadline_ms(), bench.stream.obstacle().as_deref()), (Some(100), Some("away")));
    // It is in the chain all the same.
    bench.decide(&first);
    bench.events(4..8);
    bench.wait(100);
    let second = bench.submission().expect("tried again");
    assert_eq!(second[0], first[0]);
    assert_eq!(ranges(&second), [(0, 4), (4, 8)]);
    assert_eq!(bench.step(Input::Answered(unknown(Some(7000)))), []);
    assert_eq!(bench.stream.deadline_ms(), Some(7100), "the committer's own wish counts");
    bench.wait(7000);
    let third = bench.submission().expect("tried again");
    let answer = bench.decide(&third);
    let actions = bench.step(Input::Answered(answer));
    assert_eq!(actions[0], Action::Cleared);
    assert_eq!((bench.ledger.cursor(&partition()).next, bench.stream.obstacle()), (8, None));
}

#[test]
fn a_stream_that_begins_late_begins_with_a_gap() {
    let mut bench = Bench::new();
    bench.log.low = 7;
    let actions = bench.inspect();
    let [Action::Gap(gap), Action::Read(7), Action::Submit { statements, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(statements[..], [Statement::Gap(*gap.clone())]);
    assert_eq!((gap.first, gap.next, gap.reason, gap.low, gap.high), (0, 7, Reason::Start, 7, 100));
    let answer = bench.decide(statements);
    bench.events(7..11);
    bench.step_keeping(Input::Answered(answer));
    assert_eq!(ranges(&bench.submit()), [(7, 11)]);
}

#[test]
fn retention_past_the_cursor_is_a_gap() {
    let mut bench = Bench::sealed_to(4);
    bench.log.low = 9;
    let actions = bench.inspect();
    let [Action::Gap(gap), Action::Read(9), Action::Submit { .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((gap.first, gap.next, gap.reason), (4, 9, Reason::Retention));
    assert!(bench.stream.wants_events());
}

#[test]
fn the_last_sealed_event_is_compared_before_sealing_goes_on() {
    let mut bench = Bench::sealed_to(4);
    assert_eq!(bench.inspect(), [Action::Read(3)]);
    assert_eq!(bench.events(3..8), bench.actions);
    assert_eq!(ranges(&bench.submit()), [(4, 8)], "and not sealed again");

    let mut bench = Bench::sealed_to(4);
    bench.inspect();
    let other = HashedEvent { leaf: leaf(99), ..event(3) };
    let actions = bench.step(Input::Events(&[other, event(4)]));
    let expected = Halt::Altered { offset: 3, signed: leaf(3), found: leaf(99), low: 0 };
    assert_eq!(actions, [Action::Halted(expected)]);
    assert!(!bench.stream.wants_events());
}

#[test]
fn a_last_event_that_was_compacted_away_is_reported_only() {
    for input in [Input::End(4), Input::Events(&events(4..5))] {
        let mut bench = Bench::sealed_to(4);
        bench.inspect();
        assert_eq!(bench.step(input), [Action::LastGone(3)]);
        bench.events(5..8);
        bench.wait(1000);
        assert_eq!(bench.submit_all()[0].advance().map(|a| a.first), Some(4));
    }
}

#[test]
fn an_event_where_none_was_sealed_halts() {
    let mut bench = Bench::reading();
    bench.events(0..2);
    bench.step(Input::End(4));
    bench.wait(1000);
    assert_eq!(ranges(&bench.submit_all()), [(0, 4)]);
    bench.step(Input::End(6));
    bench.wait(1000);
    assert_eq!(ranges(&bench.submit_all()), [(4, 6)]);
    for offset in [2, 3, 4, 5] {
        let mut bench = bench.clone_by_restart();
        assert_eq!(bench.inspect(), [Action::Read(1)]);
        let appeared = events([1, offset]);
        let actions = bench.step(Input::Events(&appeared));
        assert_eq!(halted(&actions), &Halt::Appeared { offset, found: leaf(offset), low: 0 });
    }
}

impl Bench {
    /// A process of its own beside the same ledger and log; nothing is sealed by it.
    fn clone_by_restart(&self) -> Self {
        let mut ledger = Ledger::new();
        for entry in self.ledger.entries() {
            if entry.statement.statement().advance().is_some() {
                let text = String::from_utf8(entry.statement.to_bytes()).expect("text");
                assert_eq!(ledger.submit(&[text]).stopped, None);
            }
        }
        let mut bench = Self::with(ledger);
        bench.log = self.log.clone();
        bench
    }
}

#[test]
fn a_shorter_log_halts_until_the_operator_begins_an_epoch() {
    let mut bench = Bench::sealed_to(4);
    bench.log.high = 3;
    let actions = bench.inspect();
    assert_eq!(halted(&actions), &Halt::Truncated { next: 4, low: 0, high: 3 });
    // It grows again and could be taken for the old one.
    bench.log.high = 50;
    assert_eq!(bench.inspect(), []);
    assert_eq!(bench.inspect(), []);
    assert!(bench.stream.obstacle().expect("halted").contains("streamseal epoch --config FILE --topic orders"));
    bench.ledger.begin_epoch(&partition(), Some("T1".into()), 2);
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(2)]);
    bench.events(2..6);
    let statements = bench.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].stream.epoch), (vec![(2, 6)], 1));
}

#[test]
fn another_topic_of_the_same_name_halts() {
    for found in [Some("T2".to_owned()), None] {
        let mut bench = Bench::sealed_to(4);
        bench.log.topic_id = found.clone();
        let actions = bench.inspect();
        assert_eq!(halted(&actions), &Halt::Recreated { signed: Some("T1".into()), found, low: 0 });
    }
}

#[test]
fn a_stream_that_began_without_a_topic_id_stays_without() {
    let mut bench = Bench::new();
    bench.log.topic_id = None;
    bench.inspect();
    bench.events(0..4);
    assert_eq!(summaries(&bench.submit())[0].topic_id, None);
    let mut bench = bench.restart();
    bench.log.topic_id = Some("T1".into());
    assert_eq!(bench.inspect(), [Action::Read(3)]);
    bench.events(3..8);
    assert_eq!(summaries(&bench.submit())[0].topic_id, None);
}

#[test]
fn a_topic_recreated_while_its_events_wait_is_never_sealed() {
    let mut bench = Bench::sealed_to(4);
    bench.inspect();
    bench.events(3..12);
    let Some(Action::Submit { topic_id, statements }) = bench.actions.pop() else { panic!("no submission") };
    assert_eq!((topic_id.as_deref(), ranges(&statements)), (Some("T1"), vec![(4, 8), (8, 12)]));
    bench.log.topic_id = Some("T2".into());
    bench.step(Input::Answered(Answer::OtherTopic));
    assert!(!bench.stream.wants_events());
    let actions = bench.inspect();
    assert!(matches!(halted(&actions), Halt::Recreated { .. }));
    bench.ledger.begin_epoch(&partition(), Some("T2".into()), 0);
    assert_eq!(bench.inspect(), [Action::Cleared, Action::NewClient]);
    let mut bench = bench.restart();
    assert_eq!(bench.inspect(), [Action::Read(0)]);
    bench.events(0..4);
    assert_eq!(bench.submit()[0].stream().map(|stream| stream.epoch), Some(1));
}

#[test]
fn a_new_leader_is_compared_before_anything_of_it_is_sealed() {
    let mut bench = Bench::reading();
    bench.events(0..6);
    let first = bench.submission().expect("a full batch");
    let risen = HashedEvent { leader_epoch: Some(6), ..event(6) };
    assert_eq!(bench.step(Input::Events(&[risen, event(7)])), []);
    assert!(!bench.stream.wants_events());
    // What was read before is acknowledged first.
    let answer = bench.decide(&first);
    bench.step_keeping(Input::Answered(answer));
    let second = bench.submission().expect("what was open");
    assert_eq!(ranges(&second), [(4, 6)]);
    let answer = bench.decide(&second);
    let actions = bench.step(Input::Answered(answer));
    assert_eq!(actions.last(), Some(&Action::Inspect));
    let inspection = bench.inspection();
    assert_eq!(bench.step(Input::Inspected(inspection)), [Action::Read(5)]);
    bench.step_keeping(Input::Events(&[event(5), risen]));
    bench.wait(1000);
    assert_eq!(ranges(&bench.submit()), [(6, 7)], "without asking a second time");
}

#[test]
fn older_leaders_and_unknown_ones_are_no_news() {
    let mut bench = Bench::reading();
    let mut old = events(0..4);
    for (event, epoch) in old.iter_mut().zip([None, Some(5), None, Some(4)]) {
        event.leader_epoch = epoch;
    }
    bench.step_keeping(Input::Events(&old));
    assert_eq!(ranges(&bench.submit()), [(0, 4)]);
}

#[test]
fn a_lost_position_and_a_log_that_ends_early_are_looked_into() {
    for (input, trouble) in [(Input::Stopped("gone".into()), true), (Input::End(1), false)] {
        let mut bench = Bench::reading();
        bench.events(0..3);
        let actions = bench.step_keeping(input);
        assert_eq!(actions.first() == Some(&Action::Trouble("gone".into())), trouble);
        assert!(!bench.stream.wants_events());
        assert_eq!(ranges(&bench.submit()), [(0, 3)], "what was read is sealed");
        assert_eq!(bench.inspect(), [Action::Read(2)]);
    }
}

#[test]
fn after_a_refusal_everything_is_read_again() {
    let mut bench = Bench::sealed_to(4);
    bench.inspect();
    bench.events(3..16);
    let ours = bench.submission().expect("batches");
    // Another process was faster, with another range.
    let mut other = bench.clone_by_restart();
    other.inspect();
    other.events(3..6);
    other.wait(1000);
    other.submit();
    bench.ledger = other.ledger;
    let answer = bench.decide(&ours);
    assert!(
        matches!(&answer, Answer::Decided { accepted: 0, refused: Some(refused) } if refused.code == "wrong-cursor")
    );
    assert_eq!(bench.step(Input::Answered(answer)), []);
    assert_eq!(bench.inspect(), [Action::Read(5)]);
    bench.events(5..10);
    let statements = bench.submit();
    let newest = bench.ledger.entries().iter().rev().nth(1).expect("theirs").statement.hash();
    assert_eq!((ranges(&statements), summaries(&statements)[0].prev), (vec![(6, 10)], Some(newest)));
}

#[test]
fn a_refusal_that_nothing_explains_halts_and_is_tried_again() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    bench.submission();
    let refused = Refused { code: "wrong-prev".into(), message: "no".into() };
    bench.step(Input::Answered(Answer::Decided { accepted: 0, refused: Some(refused) }));
    let actions = bench.inspect();
    assert_eq!(halted(&actions), &Halt::Refused { code: "wrong-prev".into(), message: "no".into() });
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(0)]);
    bench.events(0..4);
    assert_eq!(ranges(&bench.submit()), [(0, 4)]);
}

#[test]
fn the_accepted_part_of_a_refused_request_counts() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    let first = bench.submission().expect("a batch");
    bench.events(4..12);
    let answer = bench.decide(&first);
    bench.step_keeping(Input::Answered(answer));
    let rest = bench.submission().expect("two batches");
    bench.decide(&rest[..1]);
    let refused = Refused { code: "malformed".into(), message: "no".into() };
    let actions = bench.step(Input::Answered(Answer::Decided { accepted: 1, refused: Some(refused) }));
    assert_eq!(actions[0], Action::Sealed(Sealed { next: 8, batches: 1, events: 4, bytes: 40 }));
    assert!(matches!(halted(&actions), Halt::Refused { .. }));
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(7)]);
}

#[test]
fn a_key_that_does_not_count_halts_until_it_does() {
    let mut bench = Bench::with(Ledger::without_grants());
    let actions = bench.inspect();
    assert!(halted(&actions).to_string().contains("is not granted"), "{actions:?}");
    assert_eq!(bench.inspect(), [], "told once");
    bench.ledger.grant(&ingest_key(), &["orders"]);
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(0)]);
    bench.events(0..4);
    bench.ledger.revoke(&ingest_key(), &["orders"]);
    let statements = bench.submission().expect("a batch");
    let answer = bench.decide(&statements);
    let actions = bench.step(Input::Answered(answer));
    assert!(matches!(halted(&actions), Halt::KeyNotGranted { .. }));
    let actions = bench.inspect();
    assert!(halted(&actions).to_string().contains("was revoked in entry 2"), "{actions:?}");
}

#[test]
fn a_record_that_cannot_be_read_halts_where_the_operator_can_skip_it() {
    let mut bench = Bench::reading();
    bench.events(0..2);
    bench.step_keeping(Input::Unreadable(2, "headers".into()));
    assert_eq!(ranges(&bench.submit()), [(0, 2)], "what comes before is sealed first");
    let mut actions = Vec::new();
    for _ in 0..2 {
        assert_eq!((bench.inspect(), bench.stream.halt()), (vec![Action::Read(1)], None), "it is tried three times");
        bench.events([1]);
        actions = bench.step(Input::Unreadable(2, "headers".into()));
        assert!(!bench.stream.wants_events());
    }
    let halt = halted(&actions);
    assert!(halt.remedy(&partition()).contains("--partition 3 --next 3 "), "{halt}");
    assert_eq!(bench.inspect(), []);
    bench.ledger.skip_to(&partition(), None, 3);
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(1)]);
    bench.events([1]);
    assert_eq!(bench.step(Input::Unreadable(2, "headers".into())), [Action::Read(3)], "in the gap");
    bench.events(3..7);
    assert_eq!(ranges(&bench.submit()), [(3, 7)]);
}

#[test]
fn what_was_sealed_must_stay_readable() {
    let mut bench = Bench::sealed_to(4);
    let mut actions = Vec::new();
    for _ in 0..3 {
        assert_eq!(bench.inspect(), [Action::Read(3)]);
        actions = bench.step(Input::Unreadable(3, "headers".into()));
    }
    assert!(matches!(halted(&actions), Halt::Unreadable { offset: 3, .. }));
}

#[test]
fn a_cursor_that_goes_back_halts_until_it_is_back() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    bench.submit();
    let old = bench.inspection();
    bench.events(4..8);
    bench.submit();
    bench.step(Input::Stopped("gone".into()));
    bench.now_ms += 100;
    assert_eq!(bench.step(Input::Tick), [Action::Inspect]);
    let actions = bench.step(Input::Inspected(old));
    let halt = halted(&actions).to_string();
    assert!(halt.contains("before epoch 0 offset 8 ") && halt.contains("now epoch 0 offset 4 "), "{halt}");
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(7)]);
    // The same cursor under another statement is a fork.
    bench.step(Input::Stopped("gone".into()));
    bench.now_ms += 1000;
    bench.step(Input::Tick);
    let mut forked = bench.inspection().expect("a good one");
    forked.cursor.statement = Some(leaf(0));
    let actions = bench.step(Input::Inspected(Ok(forked)));
    assert!(matches!(halted(&actions), Halt::CursorWentBack { .. }));
}

#[test]
fn who_cannot_be_asked_is_asked_again_later_and_later() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    let away = || Input::Inspected(Err(InspectError::Unavailable("no committer".into())));
    assert_eq!(bench.step(away()), [Action::Trouble("no committer".into())]);
    for delay in [100, 200, 400] {
        assert_eq!(bench.stream.deadline_ms(), Some(bench.now_ms + delay));
        assert_eq!(bench.stream.obstacle().as_deref(), Some("no committer"));
        bench.now_ms += delay;
        assert_eq!(bench.step(Input::Tick), [Action::Inspect]);
        assert_eq!(bench.step(away()), [], "told once");
    }
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(0)]);
}

#[test]
fn an_answer_that_does_not_verify_halts() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    let actions = bench.step(Input::Inspected(Err(InspectError::Invalid("forged".into()))));
    assert_eq!(halted(&actions), &Halt::BadCursor { problem: "forged".into() });
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(0)]);
}

#[test]
fn a_halt_for_the_operator_survives_other_trouble() {
    let mut bench = Bench::sealed_to(4);
    bench.log.high = 3;
    bench.inspect();
    let halt = bench.stream.halt().cloned();
    for result in [Err(InspectError::Unavailable("away".into())), Err(InspectError::Invalid("forged".into()))] {
        bench.now_ms = bench.stream.deadline_ms().expect("asks again");
        assert_eq!(bench.step(Input::Tick), [Action::Inspect]);
        assert_eq!(bench.step(Input::Inspected(result)), []);
        assert_eq!(bench.stream.halt().cloned(), halt);
    }
    bench.ledger.grant(&key("other", 9), &["*"]);
    assert_eq!(bench.inspect(), []);
    assert_eq!(bench.stream.halt().cloned(), halt);
}
