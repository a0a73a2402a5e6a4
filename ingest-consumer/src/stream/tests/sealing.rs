//! Batches, and the submission of their summaries.

use super::*;

#[test]
fn full_batch_is_submitted() {
    let mut harness = Harness::reading();
    assert_eq!(harness.events(0..3), []);
    harness.events([3, 4]);
    let statements = harness.submission().expect("a full batch");
    let [summary] = summaries(&statements)[..] else { panic!("{statements:?}") };
    let leaves: Vec<Hash> = (0..4).map(leaf).collect();
    assert_eq!((summary.first, summary.next, summary.events, summary.bytes), (0, 4, 4, 40));
    assert_eq!(summary.root, batch::root(&leaves));
    assert_eq!(summary.time, Some((997, 1000)));
    assert_eq!(summary.last.map(|last| (last.offset, last.leaf)), Some((3, leaf(3))));
    assert_eq!((summary.prev, summary.topic_id.as_deref()), (None, Some("T1")));
    let answer = harness.decide(&statements);
    let sealed = Sealed { next: 4, batches: 1, events: 4, bytes: 40 };
    assert_eq!(harness.step(Input::Submitted(answer)), [Action::Sealed(sealed)]);
}

#[test]
fn repeated_events_are_ignored() {
    let mut harness = Harness::reading();
    harness.events(0..3);
    harness.events(1..4);
    let statements = harness.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].events), (vec![(0, 4)], 4));
    harness.events(2..4);
    harness.wait(1000);
    assert_eq!(harness.submission(), None);
}

#[test]
fn batches_close_by_bytes_and_age() {
    let mut harness = Harness::reading();
    harness.step_keeping(Input::Events(&[HashedEvent { content_bytes: 1000, ..event(0) }]));
    assert_eq!(ranges(&harness.submit()), [(0, 1)]);
    harness.now_ms = 5000;
    harness.events([1]);
    assert_eq!(harness.stream.deadline_ms(), Some(6000));
    harness.now_ms = 5999;
    harness.events([2]);
    assert_eq!(harness.submission(), None);
    harness.wait(1);
    assert_eq!(ranges(&harness.submit()), [(1, 3)]);
}

#[test]
fn offsets_without_events_are_covered() {
    let mut harness = Harness::reading();
    // Between events, and after the last event of a batch.
    harness.events([2, 5]);
    harness.step(Input::End(8));
    harness.wait(1000);
    let statements = harness.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].events), (vec![(0, 8)], 2));
    // At the end of the log, without events.
    harness.step(Input::End(9));
    harness.wait(1000);
    let statements = harness.submit();
    let [summary] = summaries(&statements)[..] else { panic!("{statements:?}") };
    assert_eq!((summary.first, summary.next, summary.events), (8, 9, 0));
    assert_eq!((summary.root, summary.last, summary.time), (batch::empty_root(), None, None));
    // Without new offsets there is nothing to seal.
    harness.step(Input::End(9));
    assert_eq!(harness.wait(10_000), []);
    assert_eq!(harness.stream.deadline_ms(), None);
}

#[test]
fn one_bounded_request_is_in_flight() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    let first = harness.submission().expect("the first batch is sent at once");
    for batch in 1..5 {
        assert!(harness.stream.wants_events());
        assert_eq!(harness.events(batch * 4..batch * 4 + 4), []);
    }
    assert!(!harness.stream.wants_events(), "five batches are unacknowledged");
    let answer = harness.decide(&first);
    harness.step_keeping(Input::Submitted(answer));
    assert!(harness.stream.wants_events());
    let second = harness.submission().expect("the pending batches");
    assert_eq!(ranges(&second), [(4, 8), (8, 12), (12, 16)]);
    let answer = harness.decide(&second);
    harness.step_keeping(Input::Submitted(answer));
    assert_eq!(ranges(&harness.submit()), [(16, 20)]);
    assert_eq!(harness.ledger.cursor(&partition()).next, 20);
}

#[test]
fn events_in_flight_count_against_the_limit() {
    let mut harness = Harness::reading();
    assert!(harness.stream.wants_events_after(19, 190));
    assert!(!harness.stream.wants_events_after(20, 200), "they fill five batches");
    harness.events(0..14);
    // Three batches and a half.
    assert!(harness.stream.wants_events_after(5, 50));
    assert!(!harness.stream.wants_events_after(6, 60));
    assert!(harness.stream.wants_events_after(2, 970));
    assert!(!harness.stream.wants_events_after(2, 980), "they fill two batches, by events and by bytes");
}

#[test]
fn statements_wait_for_flush_or_full_request() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    let first = harness.submission().expect("the first batch is sent at once");
    harness.events(4..8);
    let answer = harness.decide(&first);
    harness.step_keeping(Input::Submitted(answer));
    assert_eq!(harness.submission(), None);
    assert_eq!(harness.stream.deadline_ms(), Some(50), "the next flush, a twentieth of the batch age");
    harness.wait(49);
    assert_eq!(harness.submission(), None);
    harness.wait(1);
    assert_eq!(ranges(&harness.submit()), [(4, 8)]);
    harness.events(8..16);
    assert_eq!(harness.submission(), None);
    harness.events(16..20);
    let full = harness.submission().expect("three statements are a full request");
    assert_eq!(ranges(&full), [(8, 12), (12, 16), (16, 20)]);
}

#[test]
fn streams_flush_at_the_same_times() {
    let submitted_at = |begun_ms| {
        let mut harness = Harness::reading();
        harness.now_ms = begun_ms;
        harness.events(0..4);
        let first = harness.submission().expect("the first batch is sent at once");
        let answer = harness.decide(&first);
        harness.step_keeping(Input::Submitted(answer));
        harness.events(4..9);
        assert_eq!(ranges(&harness.submit()), [(4, 8)]);
        let full_ms = harness.now_ms;
        assert_eq!(harness.stream.deadline_ms(), Some(1000), "the last flush before its maximum age");
        harness.wait(1000 - harness.now_ms);
        assert_eq!(ranges(&harness.submit()), [(8, 9)]);
        (full_ms, harness.now_ms)
    };
    assert_eq!([1, 30, 49].map(submitted_at), [(50, 1000); 3]);
}

#[test]
fn unknown_outcome_is_retried_with_the_same_statements() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    let first = harness.submission().expect("a batch");
    let unknown = |retry_after_ms| SubmitOutcome::Unknown { problem: "away".into(), retry_after_ms };
    assert_eq!(harness.step(Input::Submitted(unknown(None))), [Action::Blocked("away".into())]);
    assert_eq!((harness.stream.deadline_ms(), harness.stream.obstacle().as_deref()), (Some(100), Some("away")));
    // The statement is in the chain nevertheless.
    harness.decide(&first);
    harness.events(4..8);
    harness.wait(100);
    let second = harness.submission().expect("a retry");
    assert_eq!(second[0], first[0]);
    assert_eq!(ranges(&second), [(0, 4), (4, 8)]);
    assert_eq!(harness.step(Input::Submitted(unknown(Some(7000)))), []);
    assert_eq!(harness.stream.deadline_ms(), Some(7100), "the committer's delay counts");
    harness.wait(7000);
    let third = harness.submission().expect("a retry");
    let answer = harness.decide(&third);
    let actions = harness.step(Input::Submitted(answer));
    assert_eq!(actions[0], Action::Resumed);
    assert_eq!((harness.ledger.cursor(&partition()).next, harness.stream.obstacle()), (8, None));
}

#[test]
fn refusal_discards_and_reads_again() {
    let mut harness = Harness::sealed_to(4);
    harness.inspect();
    harness.events(3..16);
    let ours = harness.submission().expect("batches");
    // Another process sealed another range first.
    let mut other = harness.other_process();
    other.inspect();
    other.events(3..6);
    other.wait(1000);
    other.submit();
    harness.ledger = other.ledger;
    let answer = harness.decide(&ours);
    assert!(
        matches!(&answer, SubmitOutcome::Decided { accepted: 0, refused: Some(refused) } if refused.code == "wrong-cursor")
    );
    assert_eq!(harness.step(Input::Submitted(answer)), []);
    assert_eq!(harness.inspect(), [Action::Read(5)]);
    harness.events(5..10);
    let statements = harness.submit();
    let newest =
        harness.ledger.entries().iter().rev().nth(1).expect("the statement of the other process").statement.hash();
    assert_eq!((ranges(&statements), summaries(&statements)[0].prev), (vec![(6, 10)], Some(newest)));
}

#[test]
fn unexplained_refusal_halts_and_is_retried() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    harness.submission();
    let refused = Refusal { code: "wrong-prev".into(), message: "no".into() };
    harness.step(Input::Submitted(SubmitOutcome::Decided { accepted: 0, refused: Some(refused) }));
    let actions = harness.inspect();
    assert_eq!(halted(&actions), &Halt::Refused { code: "wrong-prev".into(), message: "no".into() });
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(0)]);
    harness.events(0..4);
    assert_eq!(ranges(&harness.submit()), [(0, 4)]);
}

#[test]
fn repeated_refusals_back_off() {
    let mut harness = Harness::reading();
    let refuse = |harness: &mut Harness| {
        let refused = Refusal { code: "wrong-cursor".into(), message: "no".into() };
        harness.step(Input::Submitted(SubmitOutcome::Decided { accepted: 0, refused: Some(refused) }));
        harness.stream.deadline_ms().expect("inspects again") - harness.now_ms
    };
    for delay in [100, 200, 400] {
        let next = harness.ledger.cursor(&partition()).next;
        harness.events(next..next + 4);
        harness.submission().expect("a batch");
        assert_eq!(refuse(&mut harness), delay);
        // Another process sealed something, which explains the refusal.
        harness.ledger.skip_to(&partition(), Some("T1".into()), next + 1);
        harness.inspect();
    }
    let next = harness.ledger.cursor(&partition()).next;
    harness.events(next..next + 8);
    let first = harness.submission().expect("a batch");
    let answer = harness.decide(&first[..1]);
    harness.step(Input::Submitted(answer));
    harness.events(next + 8..next + 12);
    harness.submission();
    assert_eq!(refuse(&mut harness), 100, "a success resets the backoff");
}

#[test]
fn accepted_part_of_a_refused_request_counts() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    let first = harness.submission().expect("a batch");
    harness.events(4..12);
    let answer = harness.decide(&first);
    harness.step_keeping(Input::Submitted(answer));
    harness.flush();
    let rest = harness.submission().expect("two batches");
    harness.decide(&rest[..1]);
    let refused = Refusal { code: "malformed".into(), message: "no".into() };
    let actions = harness.step(Input::Submitted(SubmitOutcome::Decided { accepted: 1, refused: Some(refused) }));
    assert_eq!(actions[0], Action::Sealed(Sealed { next: 8, batches: 1, events: 4, bytes: 40 }));
    assert!(matches!(halted(&actions), Halt::Refused { .. }));
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(7)]);
}
