//! Where reading resumes, and what is compared first.

use super::*;

#[test]
fn trimmed_log_begins_with_a_gap() {
    let mut harness = Harness::new();
    harness.log.low = 7;
    let actions = harness.inspect();
    let [Action::Gap(gap), Action::Read(7), Action::Submit { statements, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(statements[..], [Statement::Gap(*gap.clone())]);
    assert_eq!((gap.first, gap.next, gap.reason, gap.low, gap.high), (0, 7, Reason::Start, 7, 100));
    let answer = harness.decide(statements);
    harness.events(7..11);
    harness.step_keeping(Input::Submitted(answer));
    assert_eq!(ranges(&harness.submit()), [(7, 11)]);
}

#[test]
fn retention_past_the_cursor_is_a_gap() {
    let mut harness = Harness::sealed_to(4);
    harness.log.low = 9;
    let actions = harness.inspect();
    let [Action::Gap(gap), Action::Read(9), Action::Submit { .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((gap.first, gap.next, gap.reason), (4, 9, Reason::Retention));
    assert!(harness.stream.wants_events());
}

#[test]
fn last_sealed_event_is_compared_before_sealing() {
    let mut harness = Harness::sealed_to(4);
    assert_eq!(harness.inspect(), [Action::Read(3)]);
    assert_eq!(harness.events(3..8), harness.actions);
    assert_eq!(ranges(&harness.submit()), [(4, 8)], "the compared event is not sealed again");

    let mut harness = Harness::sealed_to(4);
    harness.inspect();
    let other = HashedEvent { leaf: leaf(99), ..event(3) };
    let actions = harness.step(Input::Events(&[other, event(4)]));
    let expected = Halt::Altered { offset: 3, signed: leaf(3), found: leaf(99), low: 0 };
    assert_eq!(actions, [Action::Halted(expected)]);
    assert!(!harness.stream.wants_events());
}

#[test]
fn compacted_last_event_is_only_reported() {
    for input in [Input::End(4), Input::Events(&events(4..5))] {
        let mut harness = Harness::sealed_to(4);
        harness.inspect();
        assert_eq!(harness.step(input), [Action::LastEventCompacted(3)]);
        harness.events(5..8);
        harness.wait(1000);
        assert_eq!(harness.submit_all()[0].advance().map(|a| a.first), Some(4));
    }
}

#[test]
fn event_at_an_empty_offset_halts() {
    let mut harness = Harness::reading();
    harness.events(0..2);
    harness.step(Input::End(4));
    harness.wait(1000);
    assert_eq!(ranges(&harness.submit_all()), [(0, 4)]);
    harness.step(Input::End(6));
    harness.wait(1000);
    assert_eq!(ranges(&harness.submit_all()), [(4, 6)]);
    for offset in [2, 3, 4, 5] {
        let mut harness = harness.other_process();
        assert_eq!(harness.inspect(), [Action::Read(1)]);
        let appeared = events([1, offset]);
        let actions = harness.step(Input::Events(&appeared));
        assert_eq!(halted(&actions), &Halt::Appeared { offset, found: leaf(offset), low: 0 });
    }
}

#[test]
fn truncated_log_halts_until_a_new_epoch() {
    let mut harness = Harness::sealed_to(4);
    harness.log.high = 3;
    let actions = harness.inspect();
    assert_eq!(halted(&actions), &Halt::Truncated { next: 4, low: 0, high: 3 });
    // The log grows again and looks like the old one.
    harness.log.high = 50;
    assert_eq!(harness.inspect(), []);
    assert_eq!(harness.inspect(), []);
    assert!(harness.stream.obstacle().expect("halted").contains("streamseal epoch --config FILE --topic orders"));
    harness.ledger.begin_epoch(&partition(), Some("T1".into()), 2);
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(2)]);
    harness.events(2..6);
    let statements = harness.submit();
    assert_eq!((ranges(&statements), summaries(&statements)[0].stream.epoch), (vec![(2, 6)], 1));
}

#[test]
fn recreated_topic_halts() {
    for found in [Some("T2".to_owned()), None] {
        let mut harness = Harness::sealed_to(4);
        harness.log.topic_id = found.clone();
        let actions = harness.inspect();
        assert_eq!(halted(&actions), &Halt::Recreated { signed: Some("T1".into()), found });
    }
}

#[test]
fn stream_without_topic_id_never_names_one() {
    let mut harness = Harness::new();
    harness.log.topic_id = None;
    harness.inspect();
    harness.events(0..4);
    assert_eq!(summaries(&harness.submit())[0].topic_id, None);
    let mut harness = harness.restart();
    harness.log.topic_id = Some("T1".into());
    assert_eq!(harness.inspect(), [Action::Read(3)]);
    harness.events(3..8);
    assert_eq!(summaries(&harness.submit())[0].topic_id, None);
}

#[test]
fn pending_events_of_a_recreated_topic_are_dropped() {
    let mut harness = Harness::sealed_to(4);
    harness.inspect();
    harness.events(3..12);
    let Some(Action::Submit { topic_id, statements }) = harness.actions.pop() else { panic!("no submission") };
    assert_eq!((topic_id.as_deref(), ranges(&statements)), (Some("T1"), vec![(4, 8), (8, 12)]));
    harness.log.topic_id = Some("T2".into());
    harness.step(Input::Submitted(SubmitOutcome::OtherTopic));
    assert!(!harness.stream.wants_events());
    let actions = harness.inspect();
    assert!(matches!(halted(&actions), Halt::Recreated { .. }));
    harness.ledger.begin_epoch(&partition(), Some("T2".into()), 0);
    assert_eq!(harness.inspect(), [Action::Resumed, Action::NewClient]);
    let mut harness = harness.restart();
    assert_eq!(harness.inspect(), [Action::Read(0)]);
    harness.events(0..4);
    assert_eq!(harness.submit()[0].stream().map(|stream| stream.epoch), Some(1));
}

#[test]
fn new_leader_is_compared_before_sealing() {
    let mut harness = Harness::reading();
    harness.events(0..6);
    let first = harness.submission().expect("a full batch");
    let risen = HashedEvent { leader_epoch: Some(6), ..event(6) };
    assert_eq!(harness.step(Input::Events(&[risen, event(7)])), []);
    assert!(!harness.stream.wants_events());
    // Events of the old leader are acknowledged first.
    let answer = harness.decide(&first);
    harness.step_keeping(Input::Submitted(answer));
    let second = harness.submission().expect("the open batch");
    assert_eq!(ranges(&second), [(4, 6)]);
    let answer = harness.decide(&second);
    let actions = harness.step(Input::Submitted(answer));
    assert_eq!(actions.last(), Some(&Action::Inspect));
    let inspection = harness.inspection();
    assert_eq!(harness.step(Input::Inspected(inspection)), [Action::Read(5)]);
    harness.step_keeping(Input::Events(&[event(5), risen]));
    harness.wait(1000);
    assert_eq!(ranges(&harness.submit()), [(6, 7)], "without a second inspection");
}

#[test]
fn new_leader_right_after_a_comparison_is_compared() {
    let mut harness = Harness::sealed_to(4);
    harness.inspect();
    harness.events([3]);
    let risen = HashedEvent { leader_epoch: Some(6), ..event(4) };
    assert_eq!(harness.step(Input::Events(&[risen])), [Action::Inspect]);
    let inspection = harness.inspection();
    assert_eq!(harness.step(Input::Inspected(inspection)), [Action::Read(3)]);
}

#[test]
fn older_or_unknown_leader_changes_nothing() {
    let mut harness = Harness::reading();
    let mut old = events(0..4);
    for (event, epoch) in old.iter_mut().zip([None, Some(5), None, Some(4)]) {
        event.leader_epoch = epoch;
    }
    harness.step_keeping(Input::Events(&old));
    assert_eq!(ranges(&harness.submit()), [(0, 4)]);
}

#[test]
fn read_error_or_early_end_drains_and_inspects() {
    for (input, blocks) in [(Input::ReadError("gone".into()), true), (Input::End(1), false)] {
        let mut harness = Harness::reading();
        harness.events(0..3);
        let actions = harness.step_keeping(input);
        assert_eq!(actions.first() == Some(&Action::Blocked("gone".into())), blocks);
        assert!(!harness.stream.wants_events());
        assert_eq!(ranges(&harness.submit()), [(0, 3)], "the read events are sealed");
        assert_eq!(harness.inspect(), [Action::Read(2)]);
    }
}
