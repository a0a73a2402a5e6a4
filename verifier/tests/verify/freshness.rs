//! The age of evidence, and the clocks that it is measured by.

use evidence::Algorithm;
use evidence::chain::Role;
use verifier::Verdict;

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Ledger, T0, key, stream};

const DAY_S: u64 = 86_400;

/// A ledger that grew after its first bundle, and a clone whose newest anchor is of today.
fn old_bundle_and_new_clone(desk: &mut Desk, now: u64) {
    let mut ledger = Ledger::example();
    desk.put(&ledger.bundle());
    let size = ledger.size();
    ledger.seal(&stream("orders", 0, 0), 1000);
    ledger.heads();
    let clone = desk.path("anchors.git");
    let mut anchors = Anchors::new(&clone);
    anchors.anchor(&ledger, size, T0);
    anchors.anchor(&ledger, ledger.size(), now - 60);
    desk.inputs.clones.push(clone);
    desk.inputs.now_s = now;
}

#[test]
fn bundle_with_old_heads_is_stale() {
    let mut desk = Desk::new(&Ledger::new().trust());
    old_bundle_and_new_clone(&mut desk, T0 + 2 * DAY_S);
    let problem = desk.refused(4, "stale");
    assert!(
        problem.starts_with("entry 11: the newest heads statement, ") && problem.contains("2 entries"),
        "{problem}"
    );
    // Offsets that the auditor names do not depend on the heads statement.
    desk.expect(&["orders/0#0@0..10"]).proven();
}

#[test]
fn heads_may_be_as_old_as_anchors() {
    let mut desk = Desk::new(&Ledger::new().trust());
    // It was made 1000 s before the first anchor, and the trust file allows a day.
    old_bundle_and_new_clone(&mut desk, T0 - 1000 + DAY_S);
    desk.proven();
    desk.inputs.now_s += 1;
    assert!(desk.refused(4, "stale").starts_with("entry 11: the newest heads statement, "));
}

#[test]
fn entries_after_heads_do_not_freshen() {
    let mut ledger = Ledger::example();
    ledger.seal(&stream("orders", 0, 0), 1);
    ledger.grant(Role::Ingest, key("ingest-b", Algorithm::Ed25519, 40).verifier_key().clone());
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    let now = T0 + 2 * DAY_S;
    Anchors::new(&clone).anchor(&ledger, ledger.size(), now - 60);
    desk.inputs.clones.push(clone);
    desk.inputs.now_s = now;
    let problem = desk.refused(4, "stale");
    assert!(problem.starts_with("entry 11: ") && problem.contains("2 entries were anchored since"), "{problem}");
}

#[test]
fn newer_anchor_is_noted() {
    let mut desk = Desk::new(&Ledger::new().trust());
    old_bundle_and_new_clone(&mut desk, T0 + 120);
    let text = desk.proven().to_string();
    assert!(text.contains("the newest heads statement (entry 11): 2 entries were anchored"), "{text}");
}

#[test]
fn newest_heads_statement_cannot_be_left_out() {
    let mut ledger = Ledger::example();
    let old = ledger.bundle();
    let first = ledger.size();
    ledger.seal(&stream("orders", 0, 0), 1000);
    ledger.heads();
    let size = ledger.size() + 1;
    ledger.seal(&stream("secret", 0, 0), 5);
    let seqs = (0..first).chain(std::iter::once(size - 1)).collect();
    let mut bundle = ledger.bundle_of(&seqs, size);
    bundle.streams.clone_from(&old.streams);
    bundle.heads.clone_from(&old.heads);
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&bundle);
    let clone = desk.path("anchors.git");
    let mut anchors = Anchors::new(&clone);
    anchors.anchor(&ledger, first, T0);
    anchors.anchor(&ledger, size, T0 + 2 * DAY_S);
    desk.inputs.clones.push(clone);
    desk.inputs.now_s = T0 + 2 * DAY_S + 60;
    assert!(desk.refused(4, "stale").starts_with("entry 11: the newest heads statement, "));
}

#[test]
fn idle_ledger_stays_fresh_by_anchors() {
    let mut ledger = Ledger::example();
    // Keys may change while no stream moves.
    ledger.grant(Role::Ingest, key("ingest-b", Algorithm::Ed25519, 40).verifier_key().clone());
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    let mut anchors = Anchors::new(&clone);
    anchors.anchor(&ledger, ledger.size(), T0);
    let now = T0 + 5 * DAY_S;
    anchors.anchor(&ledger, ledger.size(), now - 60);
    desk.inputs.clones.push(clone);
    desk.inputs.now_s = now;
    let text = desk.proven().to_string();
    assert!(!text.contains("what was sealed after"), "{text}");
}

/// The ledger's own key satisfies the quorum, and may state any time.
#[test]
fn without_clone_an_independent_witness_is_needed() {
    let ledger = Ledger::example();
    let witness = key("ext", Algorithm::Cosignature, 77);
    let group = format!("witness ext {}\ngroup g any anchor-a ext\nquorum g", witness.verifier_key());
    let mut desk = Desk::new(&ledger.trust().replace("quorum anchor-a", &group));
    let mut bundle = ledger.bundle();
    let mut put = |own_s: u64| {
        let mut signed = ledger.checkpoint(12);
        signed.cosign(&ledger.anchor, own_s);
        signed.cosign(&witness, T0);
        bundle.checkpoint = signed.to_bytes();
        desk.put(&bundle);
        desk.verify()
    };
    assert_eq!(put(T0 + 1).verdict, Verdict::Proven);
    let report = put(T0 - 3650 * DAY_S);
    assert!(report.findings.iter().any(|finding| finding.code.as_str() == "not-anchored"), "{report}");
    assert!(report.streams.iter().all(|stream| stream.verdict == Verdict::NotAnchored), "{report}");
}
