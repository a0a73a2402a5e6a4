//! Batches, and what becomes of their summaries.

use super::*;

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
    bench.wait(1000);
    assert_eq!(bench.submission(), None);
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
fn what_is_on_its_way_counts_as_what_waits() {
    let mut bench = Bench::reading();
    assert!(bench.stream.wants_events_after(19, 190));
    assert!(!bench.stream.wants_events_after(20, 200), "they make five batches");
    bench.events(0..14);
    // Three batches and half of one.
    assert!(bench.stream.wants_events_after(5, 50));
    assert!(!bench.stream.wants_events_after(6, 60));
    assert!(bench.stream.wants_events_after(2, 970));
    assert!(!bench.stream.wants_events_after(2, 980), "they make two batches, by events and by bytes");
}

#[test]
fn statements_are_gathered_for_a_request_unless_it_is_full() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    let first = bench.submission().expect("nothing was submitted before");
    bench.events(4..8);
    let answer = bench.decide(&first);
    bench.step_keeping(Input::Answered(answer));
    assert_eq!(bench.submission(), None);
    assert_eq!(bench.stream.deadline_ms(), Some(50), "a twentieth of the age of a batch after the first");
    bench.wait(49);
    assert_eq!(bench.submission(), None);
    bench.wait(1);
    assert_eq!(ranges(&bench.submit()), [(4, 8)]);
    bench.events(8..16);
    assert_eq!(bench.submission(), None);
    bench.events(16..20);
    let full = bench.submission().expect("three statements are a full request");
    assert_eq!(ranges(&full), [(8, 12), (12, 16), (16, 20)]);
}

#[test]
fn streams_that_began_apart_submit_at_the_same_times() {
    let submitted_at = |begun_ms| {
        let mut bench = Bench::reading();
        bench.now_ms = begun_ms;
        bench.events(0..4);
        let first = bench.submission().expect("nothing was submitted before");
        let answer = bench.decide(&first);
        bench.step_keeping(Input::Answered(answer));
        bench.events(4..9);
        assert_eq!(ranges(&bench.submit()), [(4, 8)]);
        let full_ms = bench.now_ms;
        assert_eq!(bench.stream.deadline_ms(), Some(1000), "by its age, on the last beat before it is too old");
        bench.wait(1000 - bench.now_ms);
        assert_eq!(ranges(&bench.submit()), [(8, 9)]);
        (full_ms, bench.now_ms)
    };
    assert_eq!([1, 30, 49].map(submitted_at), [(50, 1000); 3]);
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
fn refusals_in_a_row_are_answered_later_and_later() {
    let mut bench = Bench::reading();
    let refuse = |bench: &mut Bench| {
        let refused = Refused { code: "wrong-cursor".into(), message: "no".into() };
        bench.step(Input::Answered(Answer::Decided { accepted: 0, refused: Some(refused) }));
        bench.stream.deadline_ms().expect("inspects again") - bench.now_ms
    };
    for delay in [100, 200, 400] {
        let next = bench.ledger.cursor(&partition()).next;
        bench.events(next..next + 4);
        bench.submission().expect("a batch");
        assert_eq!(refuse(&mut bench), delay);
        // Another one sealed something, so the refusal is explained.
        bench.ledger.skip_to(&partition(), Some("T1".into()), next + 1);
        bench.inspect();
    }
    let next = bench.ledger.cursor(&partition()).next;
    bench.events(next..next + 8);
    let first = bench.submission().expect("a batch");
    let answer = bench.decide(&first[..1]);
    bench.step(Input::Answered(answer));
    bench.events(next + 8..next + 12);
    bench.submission();
    assert_eq!(refuse(&mut bench), 100, "after a success it begins anew");
}

#[test]
fn the_accepted_part_of_a_refused_request_counts() {
    let mut bench = Bench::reading();
    bench.events(0..4);
    let first = bench.submission().expect("a batch");
    bench.events(4..12);
    let answer = bench.decide(&first);
    bench.step_keeping(Input::Answered(answer));
    bench.gather();
    let rest = bench.submission().expect("two batches");
    bench.decide(&rest[..1]);
    let refused = Refused { code: "malformed".into(), message: "no".into() };
    let actions = bench.step(Input::Answered(Answer::Decided { accepted: 1, refused: Some(refused) }));
    assert_eq!(actions[0], Action::Sealed(Sealed { next: 8, batches: 1, events: 4, bytes: 40 }));
    assert!(matches!(halted(&actions), Halt::Refused { .. }));
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(7)]);
}
