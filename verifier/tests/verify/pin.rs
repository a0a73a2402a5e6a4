//! The pin file, which remembers the largest head that an auditor saw.

use std::fs;

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Ledger, T0, stream};
use crate::proven;

fn pinned() -> (Ledger, Desk) {
    let (ledger, mut desk) = proven::desk();
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    (ledger, desk)
}

fn pin(desk: &Desk) -> String {
    fs::read_to_string(desk.path("pin")).expect("a pin file")
}

/// The example ledger with two more entries.
fn longer() -> Ledger {
    let mut ledger = Ledger::example();
    ledger.seal(&stream("orders", 0, 0), 1);
    ledger.heads();
    ledger
}

#[test]
fn pin_is_created_and_grows() {
    let (ledger, mut desk) = pinned();
    let first = pin(&desk);
    assert_eq!(
        first,
        format!(
            "streamseal/pin@v1\norigin example.com/audit\ngenesis {}\nsize 12\nroot {}\nfrom git\n",
            ledger.genesis(),
            ledger.root(12)
        )
    );
    let report = desk.proven();
    let said = |what: &String| what.starts_with("rollback") || what.contains("was seen before");
    assert!(!report.not_checked.iter().any(said), "{report}");
    assert_eq!(pin(&desk), first);
    // The old bundle with a larger clone: the clone's head is pinned.
    let clone = desk.path("longer.git");
    Anchors::of(&longer(), &clone, &[4, 12, 14]);
    desk.inputs.clones = vec![clone];
    desk.proven();
    assert!(pin(&desk).contains("size 14\n"));
}

#[test]
fn largest_head_of_all_clones_is_pinned() {
    let (_, mut desk) = proven::desk();
    let grown = desk.path("longer.git");
    Anchors::of(&longer(), &grown, &[4, 12, 14]);
    let clones = [desk.inputs.clones[0].clone(), grown];
    desk.inputs.pin = Some(desk.path("pin"));
    for order in [[0, 1], [1, 0]] {
        desk.inputs.clones = order.map(|i| clones[i].clone()).to_vec();
        desk.proven();
        assert!(pin(&desk).contains("size 14\n"));
        fs::remove_file(desk.path("pin")).expect("removed");
    }
}

#[test]
fn pin_from_git_stays_from_git() {
    let ledger = longer();
    let witness = crate::common::key("witness.example/w", evidence::Algorithm::Cosignature, 50);
    let mut signed = ledger.checkpoint(14);
    signed.cosign(&witness, T0);
    let mut bundle = ledger.bundle();
    bundle.checkpoint = signed.to_bytes();
    let mut desk = Desk::new(&ledger.trust_with(&witness, "-"));
    desk.put(&bundle);
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    let from_bundle = pin(&desk);
    assert!(from_bundle.ends_with("from bundle\n"), "{from_bundle}");
    let clone = desk.path("anchors.git");
    Anchors::new(&clone).commit(0, Vec::new(), &signed);
    desk.inputs.clones = vec![clone];
    desk.proven();
    let from_git = pin(&desk);
    assert_eq!(from_git, from_bundle.replace("from bundle", "from git"), "the better source replaces the other");
    // The same head without a clone: it must still be found in Git the next time.
    desk.inputs.clones.clear();
    desk.proven();
    assert_eq!(pin(&desk), from_git);
}

#[test]
fn older_evidence_is_rollback() {
    let (ledger, mut desk) = proven::desk();
    let grown = desk.path("longer.git");
    Anchors::of(&longer(), &grown, &[12, 14]);
    let stale = std::mem::replace(&mut desk.inputs.clones, vec![grown.clone()]);
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    desk.inputs.clones = stale;
    let problem = desk.refused(1, "rollback");
    assert!(problem.contains("a head of size 14 was seen before, but bundle and clones end at 12"), "{problem}");
    assert!(pin(&desk).contains("size 14\n"), "nothing is forgotten");
    // An older bundle is fine beside a clone that still has the pinned head.
    desk.inputs.clones = vec![grown.clone()];
    let report = desk.proven();
    let after = "what was sealed after the bundle, which ends at size 12: a head of size 14 was seen before";
    assert!(report.not_checked.iter().any(|what| what == after), "{report}");
    assert!(!report.not_checked.iter().any(|what| what.starts_with("rollback")), "{report}");
    // After it grows again, it vouches for more.
    let mut longest = longer();
    longest.seal(&stream("orders", 0, 0), 1);
    let mut anchors = Anchors { git: git2::Repository::open_bare(grown).expect("opened"), size: 14 };
    anchors.anchor(&longest, 15, T0 + 120);
    desk.proven();
    assert!(pin(&desk).contains("size 15\n"));
    drop(ledger);
}

#[test]
fn another_history_contradicts_pin() {
    let (_, mut desk) = pinned();
    // A new history with all keys, longer than the pinned one and consistent in itself.
    let mut forged = Ledger::new();
    for _ in 0..12 {
        forged.seal(&stream("orders", 0, 0), 1);
    }
    forged.heads();
    desk.put(&forged.bundle());
    let clone = desk.path("forged.git");
    Anchors::of(&forged, &clone, &[12, forged.size()]);
    desk.inputs.clones = vec![clone];
    let problem = desk.refused(1, "fork");
    assert!(problem.contains("size 12"), "{problem}");
}

#[test]
fn rewritten_history_lacks_pinned_anchor() {
    let (_, mut desk) = pinned();
    let longer = longer();
    let clone = desk.path("rewritten.git");
    Anchors::of(&longer, &clone, &[4, 8, 14]);
    desk.inputs.clones = vec![clone];
    desk.put(&longer.bundle());
    let problem = desk.refused(1, "rewritten-history");
    assert!(problem.contains("does not contain the pinned anchor (size 12)"), "{problem}");
}

#[test]
fn incomparable_pin_is_noted_and_kept() {
    let mut ledger = longer();
    let witness = crate::common::key("witness.example/w", evidence::Algorithm::Cosignature, 50);
    let mut desk = Desk::new(&ledger.trust_with(&witness, "-"));
    desk.inputs.pin = Some(desk.path("pin"));
    let bundle = |ledger: &Ledger| {
        let mut bundle = ledger.sparse(&stream("payments", 0, 0), 0..8);
        let mut signed = ledger.checkpoint(ledger.size());
        signed.cosign(&witness, T0);
        bundle.checkpoint = signed.to_bytes();
        bundle
    };
    desk.put(&bundle(&ledger)).expect(&["payments/0"]).proven();
    let before = pin(&desk);
    assert!(before.contains("size 14\n") && before.contains("from bundle\n"), "{before}");
    for _ in 0..3 {
        ledger.seal(&stream("orders", 0, 0), 1);
    }
    ledger.heads();
    let report = desk.put(&bundle(&ledger)).proven();
    let said = report.not_checked.iter().any(|what| what.contains("the pinned head of size 14 could not be compared"));
    assert!(said, "{report}");
    assert_eq!(pin(&desk), before);
    // The whole bundle shows the root of size 14: another root contradicts, the same one is extended.
    let mut whole = ledger.bundle();
    whole.checkpoint = bundle(&ledger).checkpoint;
    desk.put(&whole);
    let other = before.replace(&ledger.root(14).to_string(), &ledger.root(13).to_string());
    fs::write(desk.path("pin"), other).expect("written");
    assert!(desk.refused(1, "fork").contains("at the pinned size 14 the bundle has root"));
    fs::write(desk.path("pin"), &before).expect("written");
    desk.proven();
    assert!(pin(&desk).contains(&format!("size {}\n", ledger.size())));
}

#[test]
fn foreign_or_damaged_pin_is_unusable() {
    let (_, desk) = pinned();
    let good = pin(&desk);
    for bad in [good.replace("example.com/audit", "example.com/other"), good.replace("genesis Q", "genesis R")] {
        fs::write(desk.path("pin"), bad).expect("written");
        desk.refused(5, "other-ledger");
    }
    fs::write(desk.path("pin"), &good[..40]).expect("written");
    desk.refused(5, "unreadable-pin");
    fs::write(desk.path("pin"), good).expect("written");
    desk.proven();
}

#[test]
fn contradictions_are_never_pinned() {
    let (ledger, mut desk) = proven::desk();
    desk.inputs.pin = Some(desk.path("pin"));
    let mut bundle = ledger.bundle();
    bundle.batch(5).events[0].timestamp += 1;
    desk.put(&bundle);
    desk.refused(1, "altered-event");
    assert!(!desk.path("pin").exists());
    desk.inputs.pin = Some(desk.path("no-folder/pin"));
    desk.put(&ledger.bundle());
    desk.refused(5, "unwritable-pin");
}
