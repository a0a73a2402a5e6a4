//! How old the evidence may be, and by whose clock.

use evidence::Algorithm;
use evidence::chain::Role;
use verifier::Verdict;

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Ledger, T0, key, stream};

const DAY_S: u64 = 86_400;

/// A ledger that went on after its first bundle, and a clone whose newest anchor is of today.
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
fn a_bundle_is_no_fresher_than_its_heads_statement() {
    let mut desk = Desk::new(&Ledger::new().trust());
    old_bundle_and_new_clone(&mut desk, T0 + 2 * DAY_S);
    let problem = desk.refused(4, "stale");
    assert!(
        problem.starts_with("entry 11: the newest heads statement, ") && problem.contains("2 entries"),
        "{problem}"
    );
    // What is named by offsets does not depend on what the heads statement leaves out.
    desk.expect(&["orders/0#0@0..10"]).proven();
}

#[test]
fn a_heads_statement_may_be_as_old_as_an_anchor() {
    let mut desk = Desk::new(&Ledger::new().trust());
    // It was made 1000 s before the first anchor, and the trust file allows a day.
    old_bundle_and_new_clone(&mut desk, T0 - 1000 + DAY_S);
    desk.proven();
    desk.inputs.now_s += 1;
    assert!(desk.refused(4, "stale").starts_with("entry 11: the newest heads statement, "));
}

#[test]
fn what_the_bundle_holds_beyond_its_heads_statement_makes_it_no_fresher() {
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
fn a_newer_anchor_beside_a_bundle_is_told_of() {
    let mut desk = Desk::new(&Ledger::new().trust());
    old_bundle_and_new_clone(&mut desk, T0 + 120);
    let text = desk.proven().to_string();
    assert!(text.contains("the newest heads statement (entry 11): 2 entries were anchored"), "{text}");
}

#[test]
fn the_newest_heads_statement_cannot_be_left_out() {
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
fn an_idle_ledger_stays_fresh_by_its_anchors() {
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

/// The quorum is met by the ledger's own key, which says any time it likes.
#[test]
fn without_a_clone_somebody_else_must_say_since_when() {
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
