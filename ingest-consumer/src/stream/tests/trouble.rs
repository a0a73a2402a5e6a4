//! What cannot be read, asked, believed or signed.

use super::*;

#[test]
fn a_key_that_does_not_count_halts_until_it_does() {
    let mut bench = Bench::with(MemoryLedger::without_grants());
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
fn a_damaged_batch_is_told_of_by_its_beginning_which_may_be_sealed() {
    let mut bench = Bench::sealed_to(4);
    let mut actions = Vec::new();
    for _ in 0..3 {
        assert_eq!(bench.inspect(), [Action::Read(3)]);
        bench.events([3]);
        actions = bench.step(Input::Unreadable(2, "checksum".into()));
    }
    assert_eq!(halted(&actions), &Halt::Unreadable { offset: 4, problem: "checksum".into() });
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
fn a_record_in_an_old_format_halts_at_once() {
    let mut bench = Bench::reading();
    bench.events(0..2);
    bench.step_keeping(Input::OldFormat(2, "before v2".into()));
    assert_eq!(ranges(&bench.submit()), [(0, 2)], "what comes before is sealed first");
    assert_eq!(bench.stream.halt(), Some(&Halt::Misread { offset: 2, problem: "before v2".into() }));
    let remedy = bench.stream.halt().expect("halted").remedy(&partition());
    assert!(remedy.contains("copy the topic") && remedy.contains("magic: 2"), "{remedy}");
    assert_eq!(bench.inspect(), []);
    // The operator leaves out what is before the first batch of format v2.
    bench.ledger.skip_to(&partition(), None, 50);
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(1)]);
    bench.events([1]);
    assert_eq!(bench.step(Input::OldFormat(2, "before v2".into())), [Action::Read(50)], "in the gap");
    bench.events(50..54);
    assert_eq!(ranges(&bench.submit()), [(50, 54)]);
}

/// A stream that is sealed up to offset 2 and halted there.
fn halted_at_2(input: impl Fn() -> Input<'static>) -> Bench {
    let mut bench = Bench::reading();
    bench.events(0..2);
    bench.step_keeping(input());
    bench.submit_all();
    while bench.stream.halt().is_none() {
        bench.inspect();
        bench.events([1]);
        bench.step_keeping(input());
    }
    bench
}

#[test]
fn a_halt_ends_when_its_record_is_deleted() {
    let old_format = || Input::OldFormat(2, "before v2".into());
    let unreadable = || Input::Unreadable(2, "headers".into());
    for mut bench in [halted_at_2(old_format), halted_at_2(unreadable)] {
        bench.log.low = 2;
        assert_eq!(bench.inspect(), [], "the record is still there");
        bench.log.low = 40;
        let actions = bench.inspect();
        let [Action::Cleared, Action::Gap(gap), Action::Read(40), Action::Submit { .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!((gap.first, gap.next, gap.reason), (2, 40, Reason::Retention));
    }
}

#[test]
fn a_remedy_names_no_offset_beyond_the_high_watermark() {
    let mut bench = Bench::reading();
    bench.events(0..2);
    let beyond = 10_186_314_752_614_756;
    bench.step_keeping(Input::Unreadable(beyond, "checksum".into()));
    bench.submit_all();
    let mut actions = Vec::new();
    for _ in 1..3 {
        bench.inspect();
        bench.events([1]);
        actions = bench.step(Input::Unreadable(beyond, "checksum".into()));
    }
    let halt = halted(&actions);
    assert!(matches!(halt, Halt::Misread { offset: 2, .. }), "{halt}");
    assert!(!halt.remedy(&partition()).contains(&(beyond + 1).to_string()), "{}", halt.remedy(&partition()));
}

#[test]
fn a_misread_record_below_the_cursor_is_not_taken_for_gone() {
    let mut bench = Bench::sealed_to(4);
    let beyond = 10_186_314_752_614_756;
    let mut actions = Vec::new();
    for _ in 0..3 {
        bench.inspect();
        actions = bench.step(Input::Unreadable(beyond, "checksum".into()));
    }
    assert!(matches!(halted(&actions), Halt::Misread { offset: 3, .. }), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::LastGone(_))), "{actions:?}");
}

#[test]
fn another_cluster_halts_until_the_old_one_is_back() {
    let mut bench = Bench::sealed_to(4);
    bench.log.cluster = "c2".into();
    bench.log.topic_id = Some("T2".into());
    let actions = bench.inspect();
    assert_eq!(halted(&actions), &Halt::OtherCluster { signed: vec!["c1".into()], found: "c2".into() });
    let remedy = halted(&actions).remedy(&partition());
    assert!(remedy.contains("cluster = \"c2\"") && !remedy.contains("epoch"), "{remedy}");
    assert_eq!(bench.inspect(), [], "told once");
    bench.log.cluster = "c1".into();
    bench.log.topic_id = Some("T1".into());
    assert_eq!(bench.inspect(), [Action::Cleared, Action::Read(3)]);
}

#[test]
fn another_cluster_is_told_also_by_a_halted_stream() {
    let mut bench = Bench::sealed_to(4);
    bench.log.topic_id = Some("T2".into());
    let actions = bench.inspect();
    assert!(matches!(halted(&actions), Halt::Recreated { .. }), "{actions:?}");
    bench.log.cluster = "c2".into();
    let actions = bench.inspect();
    assert!(matches!(halted(&actions), Halt::OtherCluster { .. }), "{actions:?}");
}

#[test]
fn a_cluster_that_the_ledger_does_not_know_is_not_sealed() {
    let mut bench = Bench::new();
    let mut inspection = bench.inspection().expect("a good one");
    inspection.standing = Standing::UnknownCluster(vec!["c0".into()]);
    bench.step(Input::Tick);
    let actions = bench.step(Input::Inspected(Ok(inspection)));
    assert_eq!(halted(&actions), &Halt::OtherCluster { signed: vec!["c0".into()], found: "c1".into() });
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
    // The next time it begins anew.
    bench.step(Input::Stopped("gone".into()));
    bench.now_ms = bench.stream.deadline_ms().expect("asks again");
    bench.step(Input::Tick);
    bench.step(away());
    assert_eq!(bench.stream.deadline_ms(), Some(bench.now_ms + 100));
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

#[test]
fn after_the_operator_spoke_the_key_still_has_to_count() {
    let mut bench = Bench::sealed_to(4);
    bench.log.high = 3;
    bench.inspect();
    bench.ledger.begin_epoch(&partition(), Some("T1".into()), 0);
    bench.ledger.revoke(&ingest_key(), &["*"]);
    let actions = bench.inspect();
    assert!(matches!(halted(&actions), Halt::KeyNotGranted { .. }));
}

#[test]
fn a_cursor_that_went_back_and_came_again_says_nothing_about_the_log() {
    let mut bench = Bench::sealed_to(4);
    let old = Bench::new().inspection();
    bench.log.high = 3;
    bench.inspect();
    bench.log.high = 50;
    let truncated = bench.stream.halt().cloned();
    assert!(matches!(truncated, Some(Halt::Truncated { .. })));
    bench.now_ms = bench.stream.deadline_ms().expect("asks again");
    bench.step(Input::Tick);
    let actions = bench.step(Input::Inspected(old));
    assert!(matches!(halted(&actions), Halt::CursorWentBack { .. }));
    assert_eq!(bench.inspect(), []);
    assert!(bench.stream.halt().is_some());
}
