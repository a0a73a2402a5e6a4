//! Halts, and problems that only delay.

use super::*;

#[test]
fn ungranted_key_halts_until_it_is_granted() {
    let mut harness = Harness::with(MemoryLedger::without_grants());
    let actions = harness.inspect();
    assert!(halted(&actions).to_string().contains("is not granted"), "{actions:?}");
    assert_eq!(harness.inspect(), [], "reported once");
    harness.ledger.grant(&ingest_key(), &["orders"]);
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(0)]);
    harness.events(0..4);
    harness.ledger.revoke(&ingest_key(), &["orders"]);
    let statements = harness.submission().expect("a batch");
    let answer = harness.decide(&statements);
    let actions = harness.step(Input::Submitted(answer));
    assert!(matches!(halted(&actions), Halt::KeyNotGranted { .. }));
    let actions = harness.inspect();
    assert!(halted(&actions).to_string().contains("was revoked in entry 2"), "{actions:?}");
}

#[test]
fn unreadable_record_halts_until_a_signed_gap() {
    let mut harness = Harness::reading();
    harness.events(0..2);
    harness.step_keeping(Input::Unreadable(2, "headers".into()));
    assert_eq!(ranges(&harness.submit()), [(0, 2)], "everything below it is sealed first");
    let mut actions = Vec::new();
    for _ in 0..2 {
        assert_eq!(
            (harness.inspect(), harness.stream.halt()),
            (vec![Action::Read(1)], None),
            "there are three attempts"
        );
        harness.events([1]);
        actions = harness.step(Input::Unreadable(2, "headers".into()));
        assert!(!harness.stream.wants_events());
    }
    let halt = halted(&actions);
    assert!(halt.remedy(&partition()).contains("--partition 3 --next 3 "), "{halt}");
    assert_eq!(harness.inspect(), []);
    harness.ledger.skip_to(&partition(), None, 3);
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(1)]);
    harness.events([1]);
    assert_eq!(harness.step(Input::Unreadable(2, "headers".into())), [Action::Read(3)], "the record is in the gap");
    harness.events(3..7);
    assert_eq!(ranges(&harness.submit()), [(3, 7)]);
}

#[test]
fn damaged_batch_halts_at_the_cursor() {
    let mut harness = Harness::sealed_to(4);
    let mut actions = Vec::new();
    for _ in 0..3 {
        assert_eq!(harness.inspect(), [Action::Read(3)]);
        harness.events([3]);
        actions = harness.step(Input::Unreadable(2, "checksum".into()));
    }
    assert_eq!(halted(&actions), &Halt::Unreadable { offset: 4, problem: "checksum".into() });
}

#[test]
fn unreadable_sealed_event_halts() {
    let mut harness = Harness::sealed_to(4);
    let mut actions = Vec::new();
    for _ in 0..3 {
        assert_eq!(harness.inspect(), [Action::Read(3)]);
        actions = harness.step(Input::Unreadable(3, "headers".into()));
    }
    assert!(matches!(halted(&actions), Halt::Unreadable { offset: 3, .. }));
}

#[test]
fn old_format_halts_at_once() {
    let mut harness = Harness::reading();
    harness.events(0..2);
    harness.step_keeping(Input::OldFormat(2, "before v2".into()));
    assert_eq!(ranges(&harness.submit()), [(0, 2)], "everything below it is sealed first");
    assert_eq!(harness.stream.halt(), Some(&Halt::Misread { offset: 2, problem: "before v2".into() }));
    let remedy = harness.stream.halt().expect("halted").remedy(&partition());
    assert!(remedy.contains("copy the topic") && remedy.contains("magic: 2"), "{remedy}");
    assert_eq!(harness.inspect(), []);
    // The operator signs a gap up to the first batch of format v2.
    harness.ledger.skip_to(&partition(), None, 50);
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(1)]);
    harness.events([1]);
    assert_eq!(harness.step(Input::OldFormat(2, "before v2".into())), [Action::Read(50)], "the record is in the gap");
    harness.events(50..54);
    assert_eq!(ranges(&harness.submit()), [(50, 54)]);
}

/// A stream that is halted at offset 2, with everything below sealed.
fn halted_at_2(input: impl Fn() -> Input<'static>) -> Harness {
    let mut harness = Harness::reading();
    harness.events(0..2);
    harness.step_keeping(input());
    harness.submit_all();
    while harness.stream.halt().is_none() {
        harness.inspect();
        harness.events([1]);
        harness.step_keeping(input());
    }
    harness
}

#[test]
fn halt_ends_when_kafka_deletes_its_record() {
    let old_format = || Input::OldFormat(2, "before v2".into());
    let unreadable = || Input::Unreadable(2, "headers".into());
    for mut harness in [halted_at_2(old_format), halted_at_2(unreadable)] {
        harness.log.low = 2;
        assert_eq!(harness.inspect(), [], "the record still exists");
        harness.log.low = 40;
        let actions = harness.inspect();
        let [Action::Resumed, Action::Gap(gap), Action::Read(40), Action::Submit { .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!((gap.first, gap.next, gap.reason), (2, 40, Reason::Retention));
    }
}

#[test]
fn remedy_names_no_offset_beyond_the_high_watermark() {
    let mut harness = Harness::reading();
    harness.events(0..2);
    let beyond = 10_186_314_752_614_756;
    harness.step_keeping(Input::Unreadable(beyond, "checksum".into()));
    harness.submit_all();
    let mut actions = Vec::new();
    for _ in 1..3 {
        harness.inspect();
        harness.events([1]);
        actions = harness.step(Input::Unreadable(beyond, "checksum".into()));
    }
    let halt = halted(&actions);
    assert!(matches!(halt, Halt::Misread { offset: 2, .. }), "{halt}");
    assert!(!halt.remedy(&partition()).contains(&(beyond + 1).to_string()), "{}", halt.remedy(&partition()));
}

#[test]
fn misread_record_below_the_cursor_is_not_compacted() {
    let mut harness = Harness::sealed_to(4);
    let beyond = 10_186_314_752_614_756;
    let mut actions = Vec::new();
    for _ in 0..3 {
        harness.inspect();
        actions = harness.step(Input::Unreadable(beyond, "checksum".into()));
    }
    assert!(matches!(halted(&actions), Halt::Misread { offset: 3, .. }), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::LastEventCompacted(_))), "{actions:?}");
}

#[test]
fn other_cluster_halts_until_the_old_returns() {
    let mut harness = Harness::sealed_to(4);
    harness.log.cluster = "c2".into();
    harness.log.topic_id = Some("T2".into());
    let actions = harness.inspect();
    assert_eq!(halted(&actions), &Halt::OtherCluster { signed: vec!["c1".into()], found: "c2".into() });
    let remedy = halted(&actions).remedy(&partition());
    assert!(remedy.contains("cluster = \"c2\"") && !remedy.contains("epoch"), "{remedy}");
    assert_eq!(harness.inspect(), [], "reported once");
    harness.log.cluster = "c1".into();
    harness.log.topic_id = Some("T1".into());
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(3)]);
}

#[test]
fn halted_stream_reports_another_cluster() {
    let mut harness = Harness::sealed_to(4);
    harness.log.topic_id = Some("T2".into());
    let actions = harness.inspect();
    assert!(matches!(halted(&actions), Halt::Recreated { .. }), "{actions:?}");
    harness.log.cluster = "c2".into();
    let actions = harness.inspect();
    assert!(matches!(halted(&actions), Halt::OtherCluster { .. }), "{actions:?}");
}

#[test]
fn unknown_cluster_is_not_sealed() {
    let mut harness = Harness::new();
    let mut inspection = harness.inspection().expect("a good one");
    inspection.permission = Permission::UnknownCluster(vec!["c0".into()]);
    harness.step(Input::Tick);
    let actions = harness.step(Input::Inspected(Ok(inspection)));
    assert_eq!(halted(&actions), &Halt::OtherCluster { signed: vec!["c0".into()], found: "c1".into() });
}

#[test]
fn cursor_that_went_back_halts_until_it_returns() {
    let mut harness = Harness::reading();
    harness.events(0..4);
    harness.submit();
    let old = harness.inspection();
    harness.events(4..8);
    harness.submit();
    harness.step(Input::ReadError("gone".into()));
    harness.now_ms += 100;
    assert_eq!(harness.step(Input::Tick), [Action::Inspect]);
    let actions = harness.step(Input::Inspected(old));
    let halt = halted(&actions).to_string();
    assert!(halt.contains("before epoch 0 offset 8 ") && halt.contains("now epoch 0 offset 4 "), "{halt}");
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(7)]);
    // The same cursor with another statement is a fork.
    harness.step(Input::ReadError("gone".into()));
    harness.now_ms += 1000;
    harness.step(Input::Tick);
    let mut forked = harness.inspection().expect("a good one");
    forked.cursor.statement = Some(leaf(0));
    let actions = harness.step(Input::Inspected(Ok(forked)));
    assert!(matches!(halted(&actions), Halt::CursorWentBack { .. }));
}

#[test]
fn unavailable_committer_is_retried_with_backoff() {
    let mut harness = Harness::new();
    harness.step(Input::Tick);
    let away = || Input::Inspected(Err(InspectError::Unavailable("no committer".into())));
    assert_eq!(harness.step(away()), [Action::Blocked("no committer".into())]);
    for delay in [100, 200, 400] {
        assert_eq!(harness.stream.deadline_ms(), Some(harness.now_ms + delay));
        assert_eq!(harness.stream.obstacle().as_deref(), Some("no committer"));
        harness.now_ms += delay;
        assert_eq!(harness.step(Input::Tick), [Action::Inspect]);
        assert_eq!(harness.step(away()), [], "reported once");
    }
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(0)]);
    // A success resets the backoff.
    harness.step(Input::ReadError("gone".into()));
    harness.now_ms = harness.stream.deadline_ms().expect("asks again");
    harness.step(Input::Tick);
    harness.step(away());
    assert_eq!(harness.stream.deadline_ms(), Some(harness.now_ms + 100));
}

#[test]
fn unverified_answer_halts() {
    let mut harness = Harness::new();
    harness.step(Input::Tick);
    let actions = harness.step(Input::Inspected(Err(InspectError::Invalid("forged".into()))));
    assert_eq!(halted(&actions), &Halt::BadCursor { problem: "forged".into() });
    assert_eq!(harness.inspect(), [Action::Resumed, Action::Read(0)]);
}

#[test]
fn other_problems_do_not_end_an_operator_halt() {
    let mut harness = Harness::sealed_to(4);
    harness.log.high = 3;
    harness.inspect();
    let halt = harness.stream.halt().cloned();
    for result in [Err(InspectError::Unavailable("away".into())), Err(InspectError::Invalid("forged".into()))] {
        harness.now_ms = harness.stream.deadline_ms().expect("asks again");
        assert_eq!(harness.step(Input::Tick), [Action::Inspect]);
        assert_eq!(harness.step(Input::Inspected(result)), []);
        assert_eq!(harness.stream.halt().cloned(), halt);
    }
    harness.ledger.grant(&key("other", 9), &["*"]);
    assert_eq!(harness.inspect(), []);
    assert_eq!(harness.stream.halt().cloned(), halt);
}

#[test]
fn new_epoch_still_needs_a_granted_key() {
    let mut harness = Harness::sealed_to(4);
    harness.log.high = 3;
    harness.inspect();
    harness.ledger.begin_epoch(&partition(), Some("T1".into()), 0);
    harness.ledger.revoke(&ingest_key(), &["*"]);
    let actions = harness.inspect();
    assert!(matches!(halted(&actions), Halt::KeyNotGranted { .. }));
}

#[test]
fn returned_cursor_does_not_end_a_truncation() {
    let mut harness = Harness::sealed_to(4);
    let old = Harness::new().inspection();
    harness.log.high = 3;
    harness.inspect();
    harness.log.high = 50;
    let truncated = harness.stream.halt().cloned();
    assert!(matches!(truncated, Some(Halt::Truncated { .. })));
    harness.now_ms = harness.stream.deadline_ms().expect("asks again");
    harness.step(Input::Tick);
    let actions = harness.step(Input::Inspected(old));
    assert!(matches!(halted(&actions), Halt::CursorWentBack { .. }));
    assert_eq!(harness.inspect(), []);
    assert!(harness.stream.halt().is_some());
}
