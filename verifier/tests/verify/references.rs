//! How the copies of the branch are found: remotes, packed references, symbolic ones, tags.

use std::fs;

use crate::anchors::desk_with;
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder, git};
use crate::common::{Ledger, T0, stream};

#[test]
fn remotes_that_cannot_be_listed_are_not_taken_for_none() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    desk.proven();
    fs::write(desk.inputs.clones[0].join("refs/remotes"), "x").expect("written");
    assert!(desk.refused(5, "unreadable-clone").contains("refs/remotes: "));
}

/// A second branch with a forked anchor in a clone that has an honest one.
fn desk_with_fork(references: &[&str]) -> Desk {
    desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4, 12]);
        let honest = anchors.tip();
        let mut fork = Ledger::new();
        fork.seal(&stream("orders", 0, 0), 1);
        let first = anchors.git.find_commit(honest).expect("there").parent_id(0).expect("a parent");
        anchors.reset(first, 4);
        let other = anchors.anchor(&fork, 4, T0 + 60);
        anchors.reset(honest, 12);
        for name in references {
            anchors.git.reference(name, other, true, "other").expect("made");
        }
        anchors.git.reference("refs/remotes/origin/anchors", honest, true, "copy").expect("made");
    })
}

/// A branch `other/anchors` is no copy of `anchors`, however its reference is kept.
#[test]
fn only_a_branch_of_this_very_name_is_a_copy() {
    let desk = desk_with_fork(&["refs/heads/other/anchors", "refs/tags/anchors", "refs/remotes/anchors"]);
    assert_eq!(desk.proven().clones.len(), 2);
    git(&desk.inputs.clones[0], &["pack-refs", "--all"]);
    assert!(!desk.inputs.clones[0].join(BRANCH).exists());
    assert_eq!(desk.proven().clones.len(), 2);
}

/// The name of a remote may have slashes. A reference does not tell it from a remote's branch `stream/anchors`.
#[test]
fn remotes_with_slashes_in_their_names_are_read() {
    let desk = desk_with_fork(&["refs/remotes/up/stream/of/anchors"]);
    for packed in [false, true] {
        if packed {
            git(&desk.inputs.clones[0], &["pack-refs", "--all"]);
        }
        assert!(desk.refused(1, "fork").contains("anchors.git, commit"));
        assert_eq!(desk.verify().clones.len(), 3);
    }
    // As `git remote add` and `git fetch` make it.
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let source = desk.inputs.clones[0].display().to_string();
    git(desk.dir.path(), &["init", "-q", "c"]);
    git(&desk.path("c"), &["remote", "add", "up/stream", &source]);
    git(&desk.path("c"), &["fetch", "-q", "up/stream"]);
    desk.inputs.clones = vec![desk.path("c")];
    assert_eq!(desk.proven().clones[0].reference, "refs/remotes/up/stream/anchors");
}

/// A remote may have a branch `team/anchors` that is about something else.
#[test]
fn a_branch_that_may_be_another_one_need_not_hold_the_log() {
    let desk = desk_with(|ledger, path| {
        let anchors = Anchors::of(ledger, path, &[4, 12]);
        let honest = anchors.tip();
        anchors.git.find_reference(BRANCH).expect("there").delete().expect("deleted");
        let other = anchors.commit_files(&folder("example.com/other"), &[("checkpoint", b"x")]);
        anchors.git.reference("refs/remotes/origin/team/anchors", other, true, "other").expect("made");
        anchors.git.reference(BRANCH, honest, true, "honest").expect("moved");
    });
    assert_eq!(desk.proven().clones.len(), 1);
    // Alone in its clone, it is the copy that is asked for.
    git(&desk.inputs.clones[0], &["update-ref", "-d", BRANCH]);
    assert!(desk.refused(4, "no-anchor").contains("refs/remotes/origin/team/anchors holds no anchor"));
}

#[test]
fn symbolic_references_are_followed() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let clone = &desk.inputs.clones[0];
    git(clone, &["branch", "-q", "-m", "anchors", "main"]);
    for i in 1..=6 {
        let target = if i == 1 { "refs/heads/main".to_owned() } else { format!("refs/heads/link-{}", i - 1) };
        git(clone, &["symbolic-ref", &format!("refs/heads/link-{i}"), &target]);
    }
    for packed in [false, true] {
        if packed {
            git(clone, &["pack-refs", "--all"]);
            assert!(!clone.join("refs/heads/main").exists());
        }
        git(clone, &["symbolic-ref", BRANCH, "refs/heads/main"]);
        assert_eq!(desk.proven().clones[0].reference, BRANCH);
        // Through five references, as in Git, and no more.
        git(clone, &["symbolic-ref", BRANCH, "refs/heads/link-4"]);
        desk.proven();
        git(clone, &["symbolic-ref", BRANCH, "refs/heads/link-5"]);
        assert!(desk.refused(5, "unreadable-clone").contains("leads through more than 5 references"));
    }
    for (target, problem) in [
        ("refs/heads/anchors", "leads through more than 5 references"),
        ("refs/heads/absent", "refs/heads/anchors leads to refs/heads/absent, which is absent"),
        ("HEAD", "leads to what is no reference"),
        ("/etc/passwd", "leads to what is no reference"),
        ("refs/heads/../../HEAD", "leads to what is no reference"),
        ("refs/heads//main", "leads to what is no reference"),
        ("", "leads to what is no reference"),
    ] {
        fs::write(clone.join(BRANCH), format!("ref: {target}\n")).expect("written");
        let found = desk.refused(5, "unreadable-clone");
        assert!(found.contains(problem), "{target}: {found}");
    }
}

/// A tag is not followed to its commit: nobody but a person makes a branch of one.
#[test]
fn a_branch_does_not_end_in_a_tag() {
    let desk = desk_with(|ledger, path| {
        let anchors = Anchors::of(ledger, path, &[4, 12]);
        let tip = anchors.git.find_object(anchors.tip(), None).expect("there");
        let who = git2::Signature::now("a", "a@example.com").expect("a signature");
        let tag = anchors.git.tag("v1", &tip, &who, "a tag", false).expect("made");
        fs::write(path.join(BRANCH), format!("{tag}\n")).expect("written");
    });
    assert!(desk.refused(5, "unreadable-clone").contains("a tag where a commit belongs"));
}

#[test]
fn copies_of_the_branch_are_read_up_to_a_limit() {
    for packed in [false, true] {
        let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[12])));
        let clone = git2::Repository::open_bare(&desk.inputs.clones[0]).expect("opened");
        let tip = clone.refname_to_id(BRANCH).expect("a branch");
        let copy =
            |i: u64| drop(clone.reference(&format!("refs/remotes/r{i}/anchors"), tip, true, "copy").expect("made"));
        let pack = || {
            if packed {
                git(&desk.inputs.clones[0], &["pack-refs", "--all"]);
            }
        };
        (1..64).for_each(copy);
        pack();
        assert_eq!(desk.proven().clones.len(), 64);
        copy(64);
        pack();
        assert!(desk.refused(5, "unreadable-clone").contains("more than 64 copies of the branch anchors"));
    }
}
