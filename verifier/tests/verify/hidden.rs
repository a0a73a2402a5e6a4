//! Absent, unreadable or misplaced parts of a clone hide no contradiction, and make none.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::{Algorithm, SignedCheckpoint};
use git2::Oid;
use verifier::Report;

use crate::anchors::desk_with;
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder, git};
use crate::common::{Ledger, ORIGIN, T0, key, stream};
use crate::proven;

/// A ledger of the example's size with another history.
fn fork() -> Ledger {
    let mut fork = Ledger::new();
    for _ in 3..11 {
        fork.seal(&stream("orders", 0, 0), 1);
    }
    fork.heads();
    assert_eq!(fork.size(), Ledger::example().size());
    fork
}

/// The example with one more batch of `events` events.
fn longer(events: u64) -> Ledger {
    let mut ledger = Ledger::example();
    ledger.seal(&stream("orders", 0, 0), events);
    ledger
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// Replaces the desk's clone by a shallow clone of it. Returns its path.
fn shallow(desk: &mut Desk, depth: u32) -> PathBuf {
    let source = format!("file://{}", desk.inputs.clones[0].display());
    let name = format!("shallow-{depth}");
    let depth = format!("--depth={depth}");
    git(desk.dir.path(), &["clone", "-q", "--bare", "--branch=anchors", &depth, &source, &name]);
    let path = desk.path(&name);
    desk.inputs.clones = vec![path.clone()];
    path
}

/// The objects of one commit: itself, its tree, and the two files of its anchor.
struct Objects {
    commit: Oid,
    tree: Oid,
    checkpoint: Oid,
    consistency: Oid,
}

fn objects(clone: &Path, before_newest: usize) -> Objects {
    let git = git2::Repository::open_bare(clone).expect("opened");
    let mut commit = git.refname_to_id(BRANCH).and_then(|id| git.find_commit(id)).expect("a branch");
    for _ in 0..before_newest {
        commit = commit.parent(0).expect("a parent");
    }
    let tree = commit.tree().expect("a tree");
    let file = |name| tree.get_path(Path::new(&format!("logs/{}/{name}", folder(ORIGIN)))).expect("there").id();
    let [checkpoint, consistency] = ["checkpoint", "consistency"].map(file);
    Objects { commit: commit.id(), tree: tree.id(), checkpoint, consistency }
}

fn remove(clone: &Path, id: Oid) {
    fs::remove_file(crate::forgery::objects::loose(clone, id)).expect("removed");
}

#[test]
fn fork_is_found_in_shallow_clone() {
    let mut desk = desk_with(|_, path| drop(Anchors::of(&fork(), path, &[4, 8, 12])));
    let forked = shallow(&mut desk, 1);
    let problem = desk.refused(1, "fork");
    assert!(problem.contains("shallow-1, commit") && problem.contains("the bundle's checkpoint"), "{problem}");
    assert_eq!(codes(&desk.verify()), ["fork", "stale", "not-anchored"]);
    // Beside an honest clone.
    let honest = desk.path("honest.git");
    Anchors::of(&Ledger::example(), &honest, &[4, 12]);
    for clones in [[&forked, &honest], [&honest, &forked]] {
        desk.inputs.clones = clones.map(Clone::clone).to_vec();
        let report = desk.verify();
        assert_eq!((report.verdict.exit_code(), report.clones.len()), (1, 2), "{report}");
        assert!(codes(&report).contains(&"fork"), "{report}");
        assert!(report.streams.iter().all(|stream| stream.proven().is_empty()), "{report}");
    }
    // The fork has a size inside the bundle.
    let mut desk = desk_with(|_, path| drop(Anchors::of(&fork(), path, &[4, 8])));
    shallow(&mut desk, 1);
    assert!(desk.refused(1, "fork").contains("the bundle's entries"));
}

#[test]
fn contradicting_shallow_clones_are_fork() {
    let mut desk = desk_with(|_, path| drop(Anchors::of(&longer(1), path, &[12, 13])));
    let first = shallow(&mut desk, 1);
    let other = desk_with(|_, path| drop(Anchors::of(&longer(2), path, &[12, 13])));
    desk.inputs.clones = other.inputs.clones.clone();
    let source = format!("file://{}", desk.inputs.clones[0].display());
    git(desk.dir.path(), &["clone", "-q", "--bare", "--branch=anchors", "--depth=1", &source, "second"]);
    desk.inputs.clones = vec![first, desk.path("second")];
    let problem = desk.refused(1, "fork");
    assert!(problem.contains("the newest anchor of refs/heads/anchors in"), "{problem}");
}

#[test]
fn unreadable_copy_hides_no_fork_beside_it() {
    type Damage = dyn Fn(&Path);
    let extra: &Damage = &|clone| {
        let anchors = Anchors { git: git2::Repository::open_bare(clone).expect("opened"), size: 12 };
        let Objects { checkpoint, consistency, .. } = objects(clone, 0);
        let read = |id| anchors.git.find_blob(id).expect("there").content().to_vec();
        let [checkpoint, consistency] = [checkpoint, consistency].map(read);
        let files: [(&str, &[u8]); 3] =
            [("checkpoint", &checkpoint), ("consistency", &consistency), ("notes", b"a stranger")];
        anchors.commit_files(&folder(ORIGIN), &files);
    };
    let damages: [(&str, &str, &Damage); 8] = [
        ("an older commit is absent", "incomplete-clone", &|clone| remove(clone, objects(clone, 1).commit)),
        ("an older tree is absent", "incomplete-clone", &|clone| remove(clone, objects(clone, 1).tree)),
        ("an older checkpoint is absent", "incomplete-clone", &|clone| remove(clone, objects(clone, 1).checkpoint)),
        ("its own proof is absent", "incomplete-clone", &|clone| remove(clone, objects(clone, 0).consistency)),
        ("its own checkpoint is absent", "incomplete-clone", &|clone| remove(clone, objects(clone, 0).checkpoint)),
        ("its own proof cannot be read", "unreadable-clone", &|clone| {
            crate::forgery::objects::put_loose(clone, objects(clone, 0).consistency, b"x");
        }),
        ("a third file beside the anchor", "unreadable-clone", extra),
        ("a copy that cannot be read", "unreadable-clone", &|clone| {
            fs::create_dir_all(clone.join("refs/remotes/origin")).expect("made");
            fs::write(clone.join("refs/remotes/origin/anchors"), "x").expect("written");
        }),
    ];
    for (what, code, damage) in damages {
        let desk = desk_with(|_, path| drop(Anchors::of(&fork(), path, &[4, 8, 12])));
        damage(&desk.inputs.clones[0]);
        desk.refused(1, "fork");
        // Without the fork, this is the only finding.
        let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8, 12])));
        damage(&desk.inputs.clones[0]);
        let report = desk.verify();
        assert!(codes(&report).contains(&code), "{what}: {report}");
        assert!([3, 5].contains(&report.verdict.exit_code()), "{what}: {report}");
    }
}

#[test]
fn unreadable_part_hides_no_fork_in_rest() {
    let damages: [(&str, &str); 4] = [
        ("objects/pack/pack-x.idx", "no pack beside it"),
        ("objects/pack", "objects/pack: "),
        ("refs/remotes", "refs/remotes: "),
        ("packed-refs", "packed-refs: longer than"),
    ];
    for (file, problem) in damages {
        let desk = desk_with(|_, path| drop(Anchors::of(&fork(), path, &[4, 12])));
        let path = desk.inputs.clones[0].join(file);
        if path.is_dir() {
            fs::remove_dir(&path).expect("removed");
        }
        fs::write(&path, "x".repeat(5000)).expect("written");
        desk.refused(1, "fork");
        let found = desk.refused(1, "unreadable-clone");
        assert!(found.contains(problem), "{file}: {found}");
    }
    // More copies than the verifier reads.
    let desk = desk_with(|_, path| {
        let anchors = Anchors::of(&fork(), path, &[4, 12]);
        for i in 0..64 {
            let name = format!("refs/remotes/r{i}/anchors");
            anchors.git.reference(&name, anchors.tip(), true, "copy").expect("made");
        }
    });
    desk.refused(1, "fork");
    desk.refused(1, "unreadable-clone");
}

#[test]
fn fork_under_unreadable_commit_is_found() {
    // The forked anchor of size 8 comes first. The honest ones on top cannot follow it.
    let honest = Ledger::example();
    for inside in [true, false] {
        let desk = desk_with(|_, path| {
            let mut anchors = Anchors::of(&fork(), path, &[8]);
            anchors.anchor(&honest, 10, T0 + 60);
            anchors.anchor(&honest, 12, T0 + 120);
        });
        let clone = &desk.inputs.clones[0];
        let Objects { tree, checkpoint, consistency, .. } = objects(clone, 1);
        if inside {
            remove(clone, tree);
        } else {
            remove(clone, checkpoint);
            remove(clone, consistency);
        }
        let problem = desk.refused(1, "fork");
        assert!(problem.contains(&objects(clone, 0).commit.to_string()) || problem.contains("entries"), "{problem}");
        assert!(codes(&desk.verify()).contains(&"incomplete-clone"));
    }
}

/// Across a gap no proof connects two anchors, but sizes and times must still not decrease.
#[test]
fn sizes_and_times_never_decrease_across_gap() {
    for (sizes, times, code) in [
        ([8, 10, 4], [0, 60, 120], "inconsistent-anchors"),
        ([4, 8, 12], [120, 60, 60], "time-backwards"),
        ([4, 8, 12], [0, 0, 0], "incomplete-clone"),
    ] {
        let desk = desk_with(|ledger, path| {
            let mut anchors = Anchors::new(path);
            for (size, after_s) in sizes.into_iter().zip(times) {
                let old = anchors.size.min(size);
                anchors.size = size;
                anchors.commit(old, ledger.consistency(old, size), &ledger.cosigned(size, T0 + after_s));
            }
        });
        let clone = &desk.inputs.clones[0];
        remove(clone, objects(clone, 1).tree);
        let exit_code = if code == "incomplete-clone" { 3 } else { 1 };
        let problem = desk.refused(exit_code, code);
        assert!(exit_code == 3 || problem.contains(&objects(clone, 0).commit.to_string()), "{problem}");
    }
}

#[test]
fn unsigned_head_is_no_fork() {
    let forked = fork();
    let mut desk = desk_with(|_, path| {
        let thief = key(ORIGIN, Algorithm::Ed25519, 61);
        let mut signed = SignedCheckpoint::sign(forked.checkpoint(12).checkpoint().clone(), &thief);
        signed.cosign(&forked.anchor, T0);
        Anchors::new(path).commit(0, Vec::new(), &signed);
    });
    let honest = desk.path("honest.git");
    Anchors::of(&Ledger::example(), &honest, &[4, 12]);
    desk.inputs.clones.push(honest);
    let report = desk.verify();
    assert_eq!(codes(&report), ["not-by-log"], "{report}");
}

#[test]
fn nothing_vouches_after_a_finding() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8, 10, 12])));
    let clone = &desk.inputs.clones[0];
    remove(clone, objects(clone, 2).consistency);
    let report = desk.verify();
    assert_eq!(codes(&report), ["incomplete-clone"], "{report}");
    // Sizes 12 and 10 were compared with the anchors before them. The first finding is at size 8.
    assert!(report.streams.iter().all(|stream| stream.anchored.as_ref().is_some_and(|by| by.size == 12)), "{report}");
    assert_eq!((report.clones[0].anchors, report.clones[0].complete), (4, true));
}

/// Damage with one code all over a copy is one finding.
#[test]
fn copy_has_one_finding_per_code() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8, 10, 12])));
    let clone = &desk.inputs.clones[0];
    (0..4).for_each(|i| remove(clone, objects(clone, i).consistency));
    let report = desk.verify();
    assert_eq!(codes(&report), ["incomplete-clone", "stale", "not-anchored"], "{report}");
    assert_eq!(report.findings[0].place.commit, Some(objects(clone, 0).commit.to_string()));
}

#[test]
fn shallow_clone_is_no_rollback() {
    let (_, mut desk) = proven::desk();
    let grown = desk.path("grown.git");
    Anchors::of(&longer(1), &grown, &[4, 12, 13]);
    desk.inputs.clones = vec![grown];
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    shallow(&mut desk, 1);
    let report = desk.verify();
    assert_eq!(codes(&report), ["incomplete-clone", "stale", "not-anchored"], "{report}");
    let newest = report.clones[0].newest.as_ref().map(|newest| newest.size);
    assert_eq!((newest, report.clones[0].agrees_at), (Some(13), None));
}

#[test]
fn pinned_head_missing_in_read_part_is_found() {
    let (_, mut desk) = proven::desk();
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    let rewritten = desk.path("rewritten.git");
    Anchors::of(&longer(1), &rewritten, &[4, 8, 13]);
    desk.inputs.clones = vec![rewritten.clone()];
    // The first commit is absent, but the anchor before the pinned one is there.
    shallow(&mut desk, 2);
    assert!(desk.refused(1, "rewritten-history").contains("does not contain the pinned anchor (size 12)"));
    // Anchors older than the only one are unknown.
    desk.inputs.clones = vec![rewritten];
    shallow(&mut desk, 1);
    desk.refused(3, "incomplete-clone");
    // A pinned head of the size of that anchor, with another root.
    let pin = fs::read_to_string(desk.path("pin")).expect("read");
    fs::write(desk.path("pin"), pin.replace("size 12", "size 13")).expect("written");
    assert!(desk.refused(1, "fork").contains("the pinned head"));
}

#[test]
fn older_copy_missing_in_read_part_is_found() {
    let ledger = Ledger::example();
    let mut tip = None;
    let desk = desk_with(|_, path| tip = Some(Anchors::with_older_remote(&ledger, path, 6)));
    let clone = &desk.inputs.clones[0];
    remove(clone, tip.expect("made"));
    let problem = desk.refused(1, "rewritten-history");
    assert!(problem.contains("refs/heads/anchors does not contain the newest anchor of refs/remotes/origin/anchors"));
    // With a gap in between, the anchor may be in the gap.
    remove(clone, objects(clone, 1).tree);
    desk.refused(3, "incomplete-clone");
}

/// The runs of a bundle show roots, even if their entries cannot be applied.
#[test]
fn hole_in_bundle_hides_no_fork() {
    let ledger = Ledger::example();
    let mut desk = desk_with(|_, path| drop(Anchors::of(&fork(), path, &[8])));
    // Without the newest key entry, no entry of later runs is applied. Size 8 lies in such a run.
    let seqs = (0..12).filter(|seq| ![2, 5].contains(seq)).collect();
    let mut bundle = ledger.bundle_of(&seqs, 12);
    bundle.streams = vec![ledger.stream(&stream("payments", 0, 0), 0..8)];
    desk.put(&bundle).expect(&["payments/0#0@0..8"]);
    desk.refused(1, "absent-entry");
    assert!(desk.refused(1, "fork").contains("the bundle's entries"));
    // The pinned head too.
    desk.inputs.clones.clear();
    let pin = |root| {
        let genesis = ledger.genesis();
        format!("streamseal/pin@v1\norigin {ORIGIN}\ngenesis {genesis}\nsize 8\nroot {root}\nfrom bundle\n")
    };
    desk.inputs.pin = Some(desk.path("pin"));
    fs::write(desk.path("pin"), pin(fork().root(8))).expect("written");
    assert!(desk.refused(1, "fork").contains("at the pinned size 8 the bundle has root"));
    fs::write(desk.path("pin"), pin(ledger.root(8))).expect("written");
    desk.refused(3, "absent-entry");
}

/// Without proofs between anchors, each is looked up in the bundle, up to a limit.
#[test]
fn searches_in_bundle_are_limited() {
    for (honest, exit_code) in [(15, 1), (16, 3)] {
        let desk = desk_with(|ledger, path| {
            let mut anchors = Anchors::of(&fork(), path, &[4]);
            for i in 0..honest {
                anchors.size = 8;
                anchors.anchor(ledger, 8, T0 + 60 + i);
            }
            anchors.anchor(ledger, 12, T0 + 120);
        });
        let clone = &desk.inputs.clones[0];
        (0..=honest as usize).for_each(|i| remove(clone, objects(clone, i).consistency));
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{report}");
        assert_eq!(codes(&report).contains(&"fork"), exit_code == 1, "{report}");
    }
}
