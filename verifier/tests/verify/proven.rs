//! Honest evidence is proven, and only as far as it reaches.

use evidence::statement::Reason;
use evidence::{Algorithm, SigningKey};
use verifier::Verdict;

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Ledger, T0, key, stream};

/// The example ledger, its whole bundle, and a clone with anchors at sizes 4, 8, 8 (a heartbeat) and 12.
pub(crate) fn desk() -> (Ledger, Desk) {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[4, 8, 8, 12]);
    desk.inputs.clones.push(clone);
    (ledger, desk)
}

#[test]
fn whole_bundle_with_clone_is_proven() {
    let (ledger, desk) = desk();
    let report = desk.proven();
    assert!(report.findings.is_empty());
    assert!(report.streams.iter().all(|stream| stream.verdict == Verdict::Proven), "{report}");
    let streams: Vec<_> =
        report.streams.iter().map(|s| (s.stream.to_string(), s.proven().to_vec(), s.events)).collect();
    assert_eq!(
        streams,
        [
            ("orders/0".to_owned(), vec![0..30], 26),
            ("orders/1".to_owned(), vec![0..5], 5),
            ("orders/1 epoch 1".to_owned(), vec![0..3], 3),
            ("payments/0".to_owned(), vec![0..8], 8),
        ]
    );
    for (stream, batches) in report.streams.iter().zip([3, 1, 1, 1]) {
        let events = ledger.batches[&stream.stream].iter().flat_map(|batch| &batch.events);
        let bytes: usize = events.map(|event| event.content.len()).sum();
        assert_eq!((stream.batches, stream.event_bytes), (batches, bytes as u64), "{}", stream.stream);
    }
    assert_eq!(report.clones[0].agrees_at, Some(12));
    assert_eq!((report.clones[0].anchors, report.clones[0].complete), (4, true));
    let text = report.to_string();
    assert!(text.starts_with("PROVEN  ledger example.com/audit"), "{text}");
    assert!(text.contains("only keys of the ledger itself say when"), "{text}");
    assert!(text.contains("rollback: no --pin"), "{text}");
    let clone = desk.inputs.clones[0].display();
    assert!(
        text.contains(&format!("\nClones:\n  {clone} refs/heads/anchors: 4 anchors\n    newest: size 12, ")),
        "{text}"
    );
    assert!(text.contains("\n    agrees with the bundle up to size 12\n"), "{text}");
    assert!(!text.contains("the bundle does not hold them"), "{text}");
}

#[test]
fn streams_exist_since_their_earliest_anchor() {
    let (_, desk) = desk();
    let report = desk.proven();
    let existed_by = |i: usize| {
        let anchored = report.streams[i].anchored.as_ref().expect("anchored");
        (anchored.size, anchored.words.existed_by_s)
    };
    // orders/1 epoch 0 ends in entry 4, payments/0 in entry 6: covered by size 8, first cosigned after a minute.
    assert_eq!(existed_by(1), (8, Some(T0 + 60)));
    assert_eq!(existed_by(3), (8, Some(T0 + 60)));
    assert_eq!(existed_by(0), (12, Some(T0 + 180)));
    assert_eq!(report.newest_at_s, Some(T0 + 180));
}

#[test]
fn small_bundle_proves_its_part() {
    let (ledger, mut desk) = desk();
    desk.put(&ledger.sparse(&stream("orders", 0, 0), 5..15));
    let problem = desk.refused(3, "uncovered");
    assert!(problem.starts_with("orders/0, offsets 0 to 4, entry 3:") || problem.contains("orders/1"), "{problem}");
    let report = desk.expect(&["orders/0@5..15"]).proven();
    assert_eq!(report.streams[0].proven(), [5..15]);
    assert_eq!(report.entries, 3 + 2 + 1);
    assert!(report.not_checked.iter().any(|what| what.contains("6 of the 12 entries")), "{report}");
    desk.expect(&["orders/0@5..16"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offset 15, entry 5:"));
    desk.expect(&["orders/0@4..15"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offset 4, entry 3:"));
}

#[test]
fn bundle_must_reach_the_heads_lines() {
    let (ledger, mut desk) = desk();
    desk.put(&ledger.sparse(&stream("orders", 0, 0), 0..20));
    desk.expect(&["orders/0@..20"]).proven();
    desk.expect(&["orders/0"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offsets 20 to 29:"));
    desk.expect(&["orders/0@..40"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offsets 20 to 39:"));
}

#[test]
fn epoch_begins_at_its_statement() {
    let mut ledger = Ledger::new();
    ledger.seal(&stream("orders", 0, 0), 10);
    let second = ledger.epoch(&stream("orders", 0, 0), 7);
    ledger.seal(&second, 5);
    ledger.heads();
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[ledger.size()]);
    desk.inputs.clones.push(clone);
    let report = desk.put(&ledger.bundle()).proven();
    assert_eq!(report.streams[1].proven(), [7..12]);
    // Offsets of the closed epoch count up to its end, those of the open one in full.
    desk.expect(&["orders/0@8..12"]).proven();
    desk.expect(&["orders/0@8..13"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0 epoch 1, offset 12:"));
    desk.expect(&["orders/0#0@8..12"]);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offsets 10 to 11:"));

    let mut bundle = ledger.sparse(&second, 0..20);
    desk.expect(&["orders/0#1"]).put(&bundle).proven();
    // Without the epoch statement, it is unknown that the stream begins at 7.
    let seqs = (0..ledger.size()).filter(|seq| *seq != 3 && *seq != 4).collect();
    bundle.runs = ledger.runs(&seqs, ledger.size());
    desk.put(&bundle);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0 epoch 1, offsets 0 to 6:"));
}

#[test]
fn accepted_gaps_are_covered() {
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    ledger.gap(&orders, 100, Reason::Start);
    ledger.seal(&orders, 5);
    ledger.gap(&orders, 2, Reason::Operator);
    ledger.seal(&orders, 5);
    ledger.heads();
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[ledger.size()]);
    desk.inputs.clones.push(clone);
    desk.put(&ledger.bundle());
    let problem = desk.refused(3, "gap");
    assert!(problem.starts_with("orders/0, offsets 0 to 99, entry 3: a signed gap, reason start"), "{problem}");
    desk.inputs.accepted_gaps.insert(Reason::Start);
    let problem = desk.refused(3, "gap");
    assert!(problem.starts_with("orders/0, offsets 105 to 106, entry 5:"), "{problem}");
    desk.inputs.accepted_gaps.extend(Reason::ALL);
    let report = desk.proven();
    assert_eq!(report.streams[0].proven(), [100..105, 107..112]);
    assert_eq!(report.streams[0].gaps.len(), 2);
    desk.inputs.accepted_gaps.clear();
    desk.expect(&["orders/0@100..105"]).proven();
}

#[test]
fn unsealed_stream_is_not_proven() {
    let (_, mut desk) = desk();
    desk.expect(&["refunds/*"]);
    assert!(desk.refused(3, "no-such-stream").contains("refunds/*"));
    desk.expect(&["orders/*", "payments/0@0..8"]).proven();
    desk.expect(&["payments/0", "payments/1@0..1"]);
    assert!(desk.refused(3, "no-such-stream").contains("payments/1@0..1"));
}

#[test]
fn without_expected_offsets_nothing_is_proven() {
    let (_, mut desk) = desk();
    desk.expect(&["orders/1#1@90.."]);
    desk.refused(3, "nothing-expected");
}

#[test]
fn independent_witness_replaces_a_clone() {
    let ledger = Ledger::example();
    let witness = key("witness.example/w", Algorithm::Cosignature, 50);
    let cosigned = |by: &SigningKey| {
        let mut bundle = ledger.bundle();
        let mut checkpoint = ledger.checkpoint(ledger.size());
        checkpoint.cosign(by, T0);
        bundle.checkpoint = checkpoint.to_bytes();
        bundle
    };
    let mut desk = Desk::new(&ledger.trust_with(&witness, "86400"));
    let report = desk.put(&cosigned(&witness)).proven();
    assert!(report.to_string().contains("says witness.example/w (size 12, the bundle's checkpoint)"), "{report}");
    assert!(report.not_checked.iter().any(|what| what.starts_with("Git:")), "{report}");
    // The ledger's own anchor key alone is not enough.
    desk.put(&cosigned(&ledger.anchor));
    assert!(desk.refused(4, "not-anchored").contains("did not cosign"));
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&cosigned(&ledger.anchor));
    assert!(desk.refused(4, "not-anchored").contains("no clone was given"));
}

#[test]
fn uncounted_witness_does_not_replace_a_clone() {
    let ledger = Ledger::example();
    let outside = key("witness.example/w", Algorithm::Cosignature, 50);
    let mut bundle = ledger.bundle();
    let mut checkpoint = ledger.cosigned(ledger.size(), T0);
    checkpoint.cosign(&outside, T0);
    bundle.checkpoint = checkpoint.to_bytes();
    let witness = format!("witness outside {}\n", outside.verifier_key());
    let trust = ledger.trust();
    let with = |quorum: &str| trust.replace("quorum anchor-a\n", &format!("{witness}{quorum}\n"));
    let mut desk = Desk::new(&with("quorum anchor-a"));
    desk.put(&bundle);
    assert!(desk.refused(4, "not-anchored").contains("no independent witness vouches"));
    for (quorum, exit_code) in [
        ("quorum none", 4),
        ("group none-of-them 1 anchor-a\ngroup unused any outside\nquorum none-of-them", 4),
        ("group both all anchor-a outside\nquorum both", 0),
        ("group either any anchor-a outside\nquorum either", 0),
        ("group inner any outside\ngroup outer any anchor-a inner\nquorum outer", 0),
    ] {
        let text = with(quorum).replace("max-anchor-age 86400", "max-anchor-age -");
        std::fs::write(&desk.inputs.trust, text).expect("written");
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{quorum}: {report}");
        // Only witnesses that the quorum counts are named.
        let named = report.to_string().contains("witness.example/w (size");
        assert_eq!(named, exit_code == 0, "{quorum}: {report}");
    }
    // With a clone it is proven, by the witnesses that the quorum counts.
    std::fs::write(&desk.inputs.trust, with("quorum anchor-a")).expect("written");
    let clone = desk.path("anchors.git");
    Anchors::new(&clone).commit(0, Vec::new(), &checkpoint);
    desk.inputs.clones.push(clone);
    let text = desk.proven().to_string();
    assert!(text.contains("says anchor-a (the ledger's own key) (size 12"), "{text}");
}

#[test]
fn json_keeps_large_numbers() {
    let (_, desk) = desk();
    let json = desk.proven().to_json();
    assert_eq!(json["verdict"], "proven");
    assert_eq!(json["exit_code"], 0);
    assert_eq!(json["streams"][0]["proven"][0]["to"], "30");
    assert_eq!(json["streams"][0]["anchored"]["existed_by_s"], (T0 + 180).to_string());
    assert_eq!(json["checkpoint"]["size"], "12");
    assert_eq!(json["clones"][0]["newest"]["witnesses"][0]["independent"], false);
}

#[test]
fn json_has_code_and_place() {
    let (ledger, mut desk) = desk();
    let mut bundle = ledger.bundle();
    bundle.batch(9).events[1].timestamp += 1;
    let report = desk.put(&bundle).verify();
    let json = report.to_json();
    let finding = serde_json::json!({
        "verdict": "tampered",
        "code": "altered-event",
        "problem": "the event is not what was sealed",
        "count": "1",
        "file": null,
        "commit": null,
        "entry": "9",
        "stream": {"cluster": "-", "topic": "orders", "partition": 1, "epoch": "1"},
        "offsets": {"from": "1", "to": "2"},
    });
    assert_eq!((&json["findings"], &json["findings_more"]), (&serde_json::json!([finding]), &"0".into()));
    // In a clone, and in a file.
    desk.put(&ledger.bundle());
    desk.inputs.clones.push(desk.path("nowhere"));
    let finding = &desk.verify().to_json()["findings"][0];
    assert!(finding["file"].as_str().is_some_and(|file| file.ends_with("nowhere")), "{finding}");
    assert!(finding["stream"].is_null() && finding["offsets"].is_null() && finding["entry"].is_null(), "{finding}");
}
