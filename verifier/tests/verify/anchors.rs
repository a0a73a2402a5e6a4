//! Anchors: as new as the bundle, older, forked, rewritten, forged, stale.

use std::fs;
use std::path::Path;

use evidence::chain::Role;
use evidence::witness::AddCheckpoint;
use evidence::{Algorithm, Checkpoint, SignedCheckpoint};
use git2::{Oid, Signature, Time};
use verifier::Verdict;

use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder};
use crate::common::{Event, Ledger, ORIGIN, T0, key, stream};
use crate::proven;

/// The example's whole bundle, and a clone that `make` makes.
pub(crate) fn desk_with(make: impl FnOnce(&Ledger, &Path)) -> Desk {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    make(&ledger, &clone);
    desk.inputs.clones.push(clone);
    desk
}

#[test]
fn older_clone_vouches_for_what_it_covers() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8])));
    let report = desk.verify();
    assert_eq!(report.verdict.exit_code(), 4, "{report}");
    // No anchor covers the heads statement, which could leave out sealed events.
    let places: Vec<String> = report.findings.iter().map(|finding| finding.place.to_string()).collect();
    assert_eq!(places, ["checkpoint"]);
    let advice = "at size 12; fetch, or export up to an anchored checkpoint";
    assert!(report.findings[0].problem.ends_with(advice), "{report}");
    assert!(report.streams.iter().all(|stream| stream.proven().is_empty()), "{report}");
    assert_eq!(report.clones[0].agrees_at, Some(8));
    desk.expect(&["payments/0"]).refused(4, "not-anchored");

    // An expectation that names its end needs no heads statement.
    let ended = ["orders/0#0@0..30", "orders/1#0@0..5", "orders/1#1@0..3", "payments/0#0@0..8"];
    let report = desk.expect(&ended).verify();
    assert_eq!(report.verdict.exit_code(), 4, "{report}");
    let places: Vec<String> = report.findings.iter().map(|finding| finding.place.to_string()).collect();
    assert_eq!(places, ["orders/0", "orders/1 epoch 1"]);
    let proven: Vec<bool> = report.streams.iter().map(|stream| !stream.proven().is_empty()).collect();
    assert_eq!(proven, [false, true, false, true]);
    let [not, yes] = [Verdict::NotAnchored, Verdict::Proven];
    assert_eq!(report.streams.iter().map(|stream| stream.verdict).collect::<Vec<_>>(), [not, yes, not, yes]);
    desk.expect(&["orders/1#0@0..5", "payments/0#0@0..8"]).proven();
}

#[test]
fn clone_without_comparable_anchor_vouches_for_nothing() {
    // The bundle shows the roots of sizes 0 to 3, 5 and 6, 8 and 12 only.
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.sparse(&stream("payments", 0, 0), 0..8)).expect(&["payments/0#0@0..8"]);
    for (sizes, code) in [(&[4, 10][..], 4), (&[4, 12], 0), (&[4, 7, 10], 0)] {
        let clone = desk.path(&format!("{sizes:?}.git"));
        Anchors::of(&ledger, &clone, sizes);
        desk.inputs.clones = vec![clone];
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), code, "{report}");
    }
    // An anchor that is larger than the bundle.
    let mut longer = Ledger::example();
    longer.seal(&stream("orders", 0, 0), 1);
    longer.heads();
    let clone = desk.path("longer.git");
    Anchors::of(&longer, &clone, &[4, 14]);
    desk.inputs.clones = vec![clone];
    assert!(
        desk.refused(4, "not-anchored").ends_with("no clone has a verified anchor with the bundle's root at size 12")
    );
}

#[test]
fn clone_may_be_newer_than_bundle() {
    let mut longer = Ledger::example();
    longer.seal(&stream("orders", 0, 0), 1);
    longer.heads();
    let desk = desk_with(|_, path| drop(Anchors::of(&longer, path, &[4, 12, 14])));
    let report = desk.proven();
    assert_eq!(report.clones[0].newest.as_ref().map(|newest| newest.size), Some(14));
    assert_eq!(report.clones[0].agrees_at, Some(12));
}

#[test]
fn two_histories_of_one_size_are_fork() {
    let mut fork = Ledger::new();
    for _ in 3..11 {
        fork.seal(&stream("orders", 0, 0), 1);
    }
    fork.heads();
    assert_eq!(fork.size(), 12);
    let desk = desk_with(|_, path| drop(Anchors::of(&fork, path, &[4, 12])));
    let problem = desk.refused(1, "fork");
    let report = desk.verify();
    assert!(report.streams.iter().all(|stream| stream.proven().is_empty() && !stream.intact.is_empty()), "{report}");
    assert!(report.to_string().contains("unchanged, but not proven: offsets 0 to 29"), "{report}");
    assert!(problem.contains("anchors.git, commit ") && problem.contains("the bundle's checkpoint"), "{problem}");
    // No newer clone would help.
    let problem = desk.refused(1, "not-anchored");
    assert!(problem.contains("no clone has a verified anchor with the bundle's root at size 12"), "{problem}");
    // A smaller size, inside the bundle's entries.
    let desk = desk_with(|_, path| drop(Anchors::of(&fork, path, &[4, 7])));
    assert!(desk.refused(1, "fork").contains("the bundle's entries"));
    // Two clones contradict each other beyond the bundle.
    let ledger = Ledger::example();
    let mut a = Ledger::example();
    a.seal(&stream("orders", 0, 0), 1);
    let mut b = Ledger::example();
    b.seal(&stream("orders", 0, 0), 2);
    let mut desk = desk_with(|_, path| drop(Anchors::of(&a, path, &[12, 13])));
    let second = desk.path("second.git");
    Anchors::of(&b, &second, &[12, 13]);
    desk.inputs.clones.push(second);
    assert!(desk.refused(1, "fork").contains("the newest anchor of"));
    drop(ledger);
}

#[test]
fn skipped_anchor_is_inconsistent() {
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        let first = anchors.tip();
        anchors.anchor(ledger, 8, T0 + 60);
        anchors.anchor(ledger, 12, T0 + 120);
        // The last commit again, on top of the first.
        let commit = anchors.git.find_commit(anchors.tip()).expect("there");
        let tree = commit.tree().expect("a tree");
        let parent = anchors.git.find_commit(first).expect("there");
        let who = Signature::new("anchor", "anchor@example.com", &Time::new(0, 0)).expect("a signature");
        let id = anchors.git.commit(None, &who, &who, "anchor", &tree, &[&parent]).expect("committed");
        anchors.git.reference(BRANCH, id, true, "rewritten").expect("moved");
    });
    let problem = desk.refused(1, "inconsistent-anchors");
    assert!(problem.contains("commit ") && problem.contains("begins at size 8"), "{problem}");
}

#[test]
fn newer_copy_must_contain_older_copy() {
    let ledger = Ledger::example();
    let desk = desk_with(|_, path| {
        Anchors::with_older_remote(&ledger, path, 8);
    });
    let problem = desk.refused(1, "rewritten-history");
    assert!(problem.contains("refs/heads/anchors does not contain the newest anchor of refs/remotes/origin/anchors"));
    // A copy that was not updated is fine.
    let desk = desk_with(|_, path| {
        let mut anchors = Anchors::of(&ledger, path, &[4, 8]);
        let old = anchors.tip();
        anchors.anchor(&ledger, 12, T0 + 120);
        anchors.git.reference("refs/remotes/origin/anchors", old, true, "fetched").expect("made");
    });
    assert_eq!(desk.proven().clones.len(), 2);
}

#[test]
fn replaced_objects_are_ignored() {
    let mut tampered = None;
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        let honest = anchors.anchor(ledger, 12, T0 + 60);
        // Another object under the same name, which `git log` and `git cat-file` show.
        let mut other = Ledger::new();
        for _ in 0..9 {
            other.seal(&stream("orders", 0, 0), 1);
        }
        let first = anchors.git.find_commit(honest).expect("there").parent_id(0).expect("a parent");
        anchors.reset(first, 4);
        let forged = anchors.anchor(&other, 12, T0 + 60);
        anchors.reset(honest, 12);
        anchors.git.reference(&format!("refs/replace/{honest}"), forged, true, "replace").expect("made");
        tampered = Some(forged);
    });
    desk.proven();
    // The other way round: the branch has the forged commit, and the replacement shows the honest one.
    let git = git2::Repository::open_bare(&desk.inputs.clones[0]).expect("opened");
    let forged = tampered.expect("made");
    let honest = git.refname_to_id(BRANCH).expect("there");
    git.find_reference(&format!("refs/replace/{honest}")).expect("there").delete().expect("deleted");
    git.reference(&format!("refs/replace/{forged}"), honest, true, "replace").expect("made");
    git.reference(BRANCH, forged, true, "forged").expect("moved");
    assert_eq!(desk.verify().verdict.exit_code(), 1);
}

#[test]
fn branch_may_hold_other_logs() {
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::new(path);
        let other = folder("example.com/other");
        anchors.commit_files(&other, &[("checkpoint", b"before"), ("consistency", b"y")]);
        anchors.anchor(ledger, 4, T0);
        anchors.commit_files(&other, &[("checkpoint", b"between"), ("consistency", b"y")]);
        anchors.anchor(ledger, 12, T0 + 60);
        anchors.commit_files(&other, &[("checkpoint", b"after"), ("consistency", b"y")]);
    });
    let report = desk.proven();
    assert_eq!((report.clones[0].anchors, report.clones[0].commits), (2, 5));
}

fn at_12(ledger: &Ledger, checkpoint: SignedCheckpoint) -> AddCheckpoint {
    AddCheckpoint { old_size: 8, proof: ledger.consistency(8, 12), checkpoint }
}

fn commit(anchors: &Anchors, request: &AddCheckpoint) {
    anchors.commit(request.old_size, request.proof.clone(), &request.checkpoint);
}

/// Forged and damaged anchors on top of honest ones of sizes 4 and 8.
#[test]
fn forged_anchors_are_refused() {
    type Forge = dyn Fn(&Ledger, &Anchors);
    let cases: [(&str, u8, &Forge); 9] = [
        ("inconsistent-anchors", 1, &|ledger, anchors| {
            let mut request = at_12(ledger, ledger.cosigned(12, T0 + 120));
            request.proof[0] = evidence::sha256(b"another");
            commit(anchors, &request);
        }),
        ("inconsistent-anchors", 1, &|ledger, anchors| {
            let proof = ledger.consistency(4, 12);
            commit(anchors, &AddCheckpoint { old_size: 4, proof, checkpoint: ledger.cosigned(12, T0 + 120) });
        }),
        ("not-by-log", 1, &|ledger, anchors| {
            let thief = key(ORIGIN, Algorithm::Ed25519, 61);
            let signed = SignedCheckpoint::sign(ledger.checkpoint(12).checkpoint().clone(), &thief);
            commit(anchors, &at_12(ledger, signed));
        }),
        ("other-log", 1, &|ledger, anchors| {
            let other = key("example.com/other", Algorithm::Ed25519, 62);
            let head = Checkpoint { origin: "example.com/other".into(), ..ledger.checkpoint(12).checkpoint().clone() };
            commit(anchors, &at_12(ledger, SignedCheckpoint::sign(head, &other)));
        }),
        ("bad-signature", 1, &|ledger, anchors| {
            // The anchor's line of another checkpoint.
            let other = ledger.cosigned(8, T0 + 60);
            let mut note = ledger.checkpoint(12).note().clone();
            note.add_signature(other.note().signatures().last().expect("a cosignature").clone());
            let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("well-formed");
            commit(anchors, &at_12(ledger, signed));
        }),
        ("altered-anchor", 1, &|ledger, anchors| {
            let request = at_12(ledger, ledger.cosigned(12, T0 + 120)).to_bytes();
            let checkpoint = ledger.cosigned(12, T0 + 121).to_bytes();
            anchors.commit_files(&folder(ORIGIN), &[("checkpoint", &checkpoint), ("consistency", &request)]);
        }),
        ("time-backwards", 1, &|ledger, anchors| {
            commit(anchors, &at_12(ledger, ledger.cosigned(12, T0 + 59)));
        }),
        ("malformed", 5, &|ledger, anchors| {
            let request = at_12(ledger, ledger.cosigned(12, T0 + 120)).to_bytes();
            let checkpoint = ledger.cosigned(12, T0 + 120).to_bytes();
            let log = folder(ORIGIN);
            anchors.commit_files(&log, &[("checkpoint", &checkpoint[..30]), ("consistency", &request)]);
        }),
        ("unreadable-clone", 5, &|ledger, anchors| {
            let request = at_12(ledger, ledger.cosigned(12, T0 + 120)).to_bytes();
            let checkpoint = ledger.cosigned(12, T0 + 120).to_bytes();
            let files: [(&str, &[u8]); 3] =
                [("checkpoint", &checkpoint), ("consistency", &request), ("notes", b"a stranger")];
            anchors.commit_files(&folder(ORIGIN), &files);
        }),
    ];
    for (code, exit_code, forge) in cases {
        let desk = desk_with(|ledger, path| forge(ledger, &Anchors::of(ledger, path, &[4, 8])));
        let tip = git2::Repository::open_bare(&desk.inputs.clones[0]).and_then(|git| git.refname_to_id(BRANCH));
        let problem = desk.refused(exit_code, code);
        assert!(problem.contains(&format!("commit {}", tip.expect("a branch"))), "{problem}");
    }
}

#[test]
fn forged_anchor_under_honest_ones_is_found() {
    let desk = desk_with(|ledger, path| {
        let thief = key(ORIGIN, Algorithm::Ed25519, 61);
        let forged = SignedCheckpoint::sign(ledger.checkpoint(4).checkpoint().clone(), &thief);
        let mut anchors = Anchors::new(path);
        anchors.commit(0, Vec::new(), &forged);
        anchors.size = 4;
        anchors.anchor(ledger, 8, T0);
        anchors.anchor(ledger, 12, T0 + 60);
    });
    desk.refused(1, "not-by-log");
    // The first anchor must claim to be the first.
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::new(path);
        anchors.size = 4;
        anchors.anchor(ledger, 8, T0);
        anchors.anchor(ledger, 12, T0 + 60);
    });
    assert!(desk.refused(1, "inconsistent-anchors").contains("begins at size 4"));
}

#[test]
fn merges_and_holes_are_rewritten_history() {
    let commit = |anchors: &Anchors, like: Oid, parents: &[Oid]| {
        let tree = anchors.git.find_commit(like).and_then(|commit| commit.tree()).expect("a tree");
        let parents: Vec<_> = parents.iter().map(|id| anchors.git.find_commit(*id).expect("there")).collect();
        let who = Signature::new("anchor", "anchor@example.com", &Time::new(0, 0)).expect("a signature");
        let id = anchors.git.commit(None, &who, &who, "x", &tree, &parents.iter().collect::<Vec<_>>());
        anchors.git.reference(BRANCH, id.expect("committed"), true, "moved").expect("moved");
    };
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        let first = anchors.tip();
        let second = anchors.anchor(ledger, 12, T0 + 60);
        commit(&anchors, second, &[second, first]);
    });
    assert!(desk.refused(1, "rewritten-history").contains("is a merge"));
    let desk = desk_with(|ledger, path| {
        let anchors = Anchors::new(path);
        let other = folder("example.com/other");
        let without = anchors.commit_files(&other, &[("checkpoint", b"x"), ("consistency", b"y")]);
        let mut anchors = Anchors::of(ledger, &path.with_extension("2.git"), &[]);
        anchors.git = git2::Repository::open_bare(path).expect("opened");
        let first = anchors.anchor(ledger, 12, T0);
        commit(&anchors, without, &[first]);
        let parent = anchors.tip();
        commit(&anchors, first, &[parent]);
    });
    assert!(desk.refused(1, "rewritten-history").contains("but a newer one has none"));
}

#[test]
fn anchors_may_have_equal_times() {
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        anchors.anchor(ledger, 12, T0);
        anchors.anchor(ledger, 12, T0 + 1);
    });
    let report = desk.proven();
    assert_eq!((report.clones[0].anchors, report.clones[0].commits), (3, 3));
}

#[test]
fn independent_witness_may_correct_its_clock() {
    let ledger = Ledger::example();
    let witness = key("witness.example/w", Algorithm::Cosignature, 50);
    let mut desk = Desk::new(&ledger.trust_with(&witness, "86400"));
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    let anchors = Anchors::new(&clone);
    let mut old = 0;
    for (size, time_s) in [(4, T0 + 5), (12, T0)] {
        let mut signed = ledger.checkpoint(size);
        signed.cosign(&witness, time_s);
        anchors.commit(old, ledger.consistency(old, size), &signed);
        old = size;
    }
    desk.inputs.clones.push(clone);
    let report = desk.proven();
    assert!(report.not_checked.iter().any(|what| what.contains("witness.example/w cosigned this at")), "{report}");
}

#[test]
fn old_anchor_is_stale() {
    let (ledger, mut desk) = proven::desk();
    let newest = T0 + 180;
    desk.inputs.now_s = newest + 86_400;
    desk.proven();
    desk.inputs.now_s += 1;
    assert!(desk.refused(4, "stale").contains("86401 s ago; the trust file allows 86400 s"));
    desk.inputs.now_s = newest - 300;
    desk.proven();
    desk.inputs.now_s -= 1;
    assert!(desk.refused(4, "stale").contains("in the future"));
    fs::write(&desk.inputs.trust, ledger.trust_with(&ledger.anchor, "-")).expect("written");
    desk.inputs.now_s = u64::MAX;
    assert!(desk.proven().not_checked.iter().any(|what| what.starts_with("freshness:")));
}

#[test]
fn checkpoint_without_voucher_is_stale() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8])));
    let ledger = Ledger::example();
    // The clone is two days old. Fresh cosignatures on an unpublished head change nothing.
    let now_s = T0 + 2 * 86_400;
    let mut bundle = ledger.bundle();
    bundle.checkpoint = ledger.cosigned(12, now_s).to_bytes();
    desk.inputs.now_s = now_s;
    desk.put(&bundle).expect(&["payments/0#0@0..8"]);
    assert!(desk.refused(4, "stale").contains("made at 2027-01-15T08:01:00Z"));
    assert_eq!(desk.verify().newest_at_s, Some(T0 + 60));
    desk.inputs.clones.clear();
    assert!(desk.refused(4, "stale").contains("no quorum of witnesses says"));
}

#[test]
fn times_come_from_anchors_that_count() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[12])));
    let ledger = Ledger::example();
    let mut bundle = ledger.bundle();
    bundle.checkpoint = ledger.checkpoint(12).to_bytes();
    desk.put(&bundle);
    let says = |desk: &Desk, exit_code, what: &str| {
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{report}");
        assert!(report.not_checked.iter().any(|note| note.starts_with(what)), "{report}");
    };
    says(&desk, 0, "time: only keys of the ledger itself say when some or all");
    // The bundle's own checkpoint, if nothing else counts.
    desk.inputs.clones.clear();
    says(&desk, 4, "time: no witness says when");
}

#[test]
fn smaller_size_wins_among_equal_times() {
    let mut desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::new(path);
        anchors.anchor(ledger, 12, T0);
    });
    let ledger = Ledger::example();
    let second = desk.path("second.git");
    Anchors::of(&ledger, &second, &[8, 12]);
    let clones = [desk.inputs.clones[0].clone(), second];
    desk.expect(&["payments/0#0@0..8"]);
    for order in [[0, 1], [1, 0]] {
        desk.inputs.clones = order.map(|i| clones[i].clone()).to_vec();
        let report = desk.proven();
        let anchored = report.streams[3].anchored.as_ref().expect("anchored");
        assert_eq!((anchored.size, anchored.words.existed_by_s), (8, Some(T0)));
    }
}

#[test]
fn revoked_anchor_key_does_not_count() {
    let mut ledger = Ledger::example();
    ledger.revoke(Role::Anchor, ledger.anchor.verifier_key().clone(), None);
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[12, 13]);
    desk.inputs.clones.push(clone);
    // Size 12 does not hold the revocation in entry 12; size 13 does.
    desk.proven();
    let only_13 = desk.path("13.git");
    Anchors::of(&ledger, &only_13, &[13]);
    desk.inputs.clones = vec![only_13];
    desk.refused(4, "not-anchored");
}

#[test]
fn trust_file_may_name_old_log_keys() {
    let ledger = Ledger::example();
    let new_log = key(ORIGIN, Algorithm::Ed25519, 63);
    let line = format!("log {}\n", ledger.log.verifier_key());
    let both = ledger.trust().replace(&line, &format!("{line}log {}\n", new_log.verifier_key()));
    let mut signed = SignedCheckpoint::sign(ledger.checkpoint(12).checkpoint().clone(), &new_log);
    signed.cosign(&ledger.anchor, T0 + 120);
    let mut bundle = ledger.bundle();
    bundle.checkpoint = signed.to_bytes();
    let mut desk = Desk::new(&both);
    desk.put(&bundle);
    let path = desk.path("anchors.git");
    Anchors::of(&ledger, &path, &[4, 8]).commit(8, ledger.consistency(8, 12), &signed);
    desk.inputs.clones.push(path);
    assert_eq!(desk.proven().clones[0].anchors, 3);
    fs::write(&desk.inputs.trust, both.replace(&line, "")).expect("written");
    assert!(desk.refused(1, "not-by-log").contains("anchors.git, commit"));
}

#[test]
fn invalid_line_by_ledger_key_is_refused() {
    let ledger = Ledger::example();
    let witness = key("witness.example/w", Algorithm::Cosignature, 50);
    // The policy does not name the anchor's key, but the ledger does.
    let mut desk = Desk::new(&ledger.trust_with(&witness, "86400"));
    let mut signed = ledger.checkpoint(12);
    signed.cosign(&witness, T0);
    let mut bundle = ledger.bundle();
    bundle.checkpoint = signed.to_bytes();
    desk.put(&bundle).proven();
    let mut note = signed.note().clone();
    note.add_signature(ledger.cosigned(8, T0).note().signatures().last().expect("a cosignature").clone());
    bundle.checkpoint = note.to_bytes();
    desk.put(&bundle);
    assert!(desk.refused(1, "bad-signature").contains("anchor-a"));
}

#[test]
fn bundle_forged_with_all_keys_contradicts_anchor() {
    // The whole bundle is forged with the ingest and log keys; only the clone is honest.
    let mut forged = Ledger::new();
    let orders = stream("orders", 0, 0);
    let events = (0..10).map(|offset| Event::new(offset, b"another history")).collect();
    forged.seal_events(&orders, 0..10, events);
    forged.heads();
    let mut honest = Ledger::new();
    honest.seal(&orders, 10);
    honest.heads();
    let mut desk = Desk::new(&honest.trust());
    desk.put(&forged.bundle());
    let clone = desk.path("anchors.git");
    Anchors::of(&honest, &clone, &[5]);
    desk.inputs.clones.push(clone);
    desk.refused(1, "fork");
}
