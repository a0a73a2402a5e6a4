//! The copies of the branch: remotes, packed references, symbolic ones, tags.

use std::fs;

use git2::{Oid, Signature, Time};

use crate::anchors::desk_with;
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder, git};
use crate::common::{Ledger, ORIGIN, T0, stream};

#[test]
fn unlistable_remotes_are_unreadable() {
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

/// A branch `other/anchors` is no copy of `anchors`, loose or packed.
#[test]
fn only_the_exact_branch_is_a_copy() {
    let desk = desk_with_fork(&["refs/heads/other/anchors", "refs/tags/anchors", "refs/remotes/anchors"]);
    assert_eq!(desk.proven().clones.len(), 2);
    git(&desk.inputs.clones[0], &["pack-refs", "--all"]);
    assert!(!desk.inputs.clones[0].join(BRANCH).exists());
    assert_eq!(desk.proven().clones.len(), 2);
}

/// The name of a remote may have slashes. Its reference looks like that of a branch `stream/anchors`.
#[test]
fn remotes_with_slashes_are_read() {
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
fn doubtful_branch_need_not_hold_the_log() {
    let desk = desk_with(|ledger, path| {
        let anchors = Anchors::of(ledger, path, &[4, 12]);
        let honest = anchors.tip();
        anchors.git.find_reference(BRANCH).expect("there").delete().expect("deleted");
        let other = anchors.commit_files(&folder("example.com/other"), &[("checkpoint", b"x")]);
        anchors.git.reference("refs/remotes/origin/team/anchors", other, true, "other").expect("made");
        anchors.git.reference(BRANCH, honest, true, "honest").expect("moved");
    });
    assert_eq!(desk.proven().clones.len(), 1);
    git(&desk.inputs.clones[0], &["update-ref", "-d", BRANCH]);
    assert!(desk.refused(4, "no-branch").contains("no branch anchors"));
}

/// Everyone who may push branches can make any history under `fix/anchors`. Without `[remote "origin/fix"]` in `config`
/// it is no copy of `anchors`, and contradicts nothing.
#[test]
fn doubtful_branch_accuses_nobody() {
    let time = Signature::new("a", "a@example.com", &Time::new(T0 as i64, 0)).expect("a signature");
    let empty = |git: &git2::Repository| git.treebuilder(None).expect("a builder").write().expect("a tree");
    let commit = |git: &git2::Repository, tree: Oid, parents: &[Oid]| {
        let parents: Vec<_> = parents.iter().map(|id| git.find_commit(*id).expect("there")).collect();
        let tree = git.find_tree(tree).expect("there");
        git.commit(None, &time, &time, "x", &tree, &parents.iter().collect::<Vec<_>>()).expect("committed")
    };
    type Make<'a> = &'a dyn Fn(&Ledger, &mut Anchors) -> Oid;
    let histories: [(&str, Make<'_>); 9] = [
        ("a merge", &|_, anchors| {
            let (git, tip) = (&anchors.git, anchors.tip());
            let side = commit(git, empty(git), &[]);
            commit(git, git.find_commit(tip).expect("there").tree_id(), &[tip, side])
        }),
        ("a merge below other commits", &|_, anchors| {
            let git = &anchors.git;
            let [a, b] = [1, 2].map(|_| commit(git, empty(git), &[]));
            let merge = commit(git, empty(git), &[a, commit(git, empty(git), &[b])]);
            commit(git, empty(git), &[merge])
        }),
        ("anchors that were taken away", &|_, anchors| commit(&anchors.git, empty(&anchors.git), &[anchors.tip()])),
        ("a merge under anchors", &|ledger, anchors| {
            let git = &anchors.git;
            let [a, b] = [[].as_slice(), &[anchors.tip()]].map(|parents| commit(git, empty(git), parents));
            let merge = commit(git, empty(git), &[a, b]);
            anchors.reset(merge, 0);
            anchors.anchor(ledger, 12, T0)
        }),
        ("an anchor of a size that the branch does not have", &|ledger, anchors| {
            let first = commit(&anchors.git, empty(&anchors.git), &[]);
            anchors.reset(first, 0);
            anchors.anchor(ledger, 8, T0)
        }),
        ("anchors in another order", &|ledger, anchors| {
            anchors.anchor(ledger, 12, T0 + 60);
            anchors.size = 2;
            anchors.anchor(ledger, 4, T0)
        }),
        ("a file in the place of `logs`", &|_, anchors| {
            let mut tree = anchors.git.treebuilder(None).expect("a builder");
            tree.insert("logs", anchors.git.blob(b"x").expect("a blob"), 0o100_644).expect("inserted");
            let tree = tree.write().expect("a tree");
            commit(&anchors.git, tree, &[])
        }),
        ("files that are no anchor", &|_, anchors| {
            anchors.commit_files(&folder(ORIGIN), &[("checkpoint", b"x"), ("notes", b"x")])
        }),
        ("a commit that is absent", &|_, anchors| {
            let tip = commit(&anchors.git, empty(&anchors.git), &[]);
            let name = tip.to_string();
            let file = anchors.git.path().join("objects").join(&name[..2]).join(&name[2..]);
            fs::remove_file(file).expect("removed");
            tip
        }),
    ];
    for (what, make) in histories {
        let mut desk = desk_with(|ledger, path| {
            let mut anchors = Anchors::of(ledger, path, &[4, 12]);
            let honest = anchors.tip();
            let tip = make(ledger, &mut anchors);
            anchors.reset(honest, 12);
            let reference = path.join("refs/remotes/origin/fix/anchors");
            fs::create_dir_all(reference.parent().expect("a folder")).expect("made");
            fs::write(reference, format!("{tip}\n")).expect("written");
        });
        desk.inputs.pin = Some(desk.path("pin"));
        for config in ["", "[core]\n\tbare = true\n[remote \"origin\"]\n\turl = x\n"] {
            fs::write(desk.inputs.clones[0].join("config"), config).expect("written");
            let report = desk.verify();
            assert_eq!(report.verdict.exit_code(), 0, "{what}: {report}");
        }
        // With a remote of this name in `config`, it is a copy.
        fs::write(desk.inputs.clones[0].join("config"), "\t[Remote \"origin/\\fix\"] # x\n").expect("written");
        let report = desk.verify();
        assert_ne!(report.verdict.exit_code(), 0, "{what}: {report}");
        fs::remove_dir_all(desk.inputs.clones[0].join("refs/remotes")).expect("removed");
        desk.proven();
    }
}

/// A head seen only in another branch is not pinned: nobody need keep that branch.
#[test]
fn doubtful_branch_is_not_pinned() {
    let mut longer = Ledger::example();
    longer.seal(&stream("orders", 0, 0), 1);
    longer.heads();
    let mut desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4, 12]);
        let honest = anchors.tip();
        let tip = anchors.anchor(&longer, 14, T0 + 60);
        anchors.reset(honest, 12);
        anchors.git.reference("refs/remotes/origin/fix/anchors", tip, true, "other").expect("made");
    });
    desk.inputs.pin = Some(desk.path("pin"));
    assert_eq!(desk.proven().clones.len(), 2);
    assert!(fs::read_to_string(desk.path("pin")).expect("read").contains("\nsize 12\n"));
}

/// Any number of other branches, with names of any length, are no copies.
#[test]
fn doubtful_branches_do_not_crowd_out_copies() {
    for packed in [false, true] {
        let desk = desk_with(|ledger, path| {
            let anchors = Anchors::of(ledger, path, &[4, 12]);
            let honest = anchors.tip();
            let tree = anchors.git.treebuilder(None).expect("a builder").write().expect("a tree");
            let tree = anchors.git.find_tree(tree).expect("there");
            let who = Signature::new("a", "a@example.com", &Time::new(0, 0)).expect("a signature");
            let other = anchors.git.commit(None, &who, &who, "x", &tree, &[]).expect("committed");
            let deep = "x/".repeat(70);
            for i in 0..70 {
                let name = format!("refs/remotes/origin/a{i}/anchors");
                anchors.git.reference(&name, if i < 35 { other } else { honest }, true, "x").expect("made");
            }
            let name = format!("refs/remotes/origin/{deep}anchors");
            anchors.git.reference(&name, other, true, "x").expect("made");
            anchors.git.reference("refs/remotes/origin/anchors", honest, true, "x").expect("made");
        });
        if packed {
            git(&desk.inputs.clones[0], &["pack-refs", "--all"]);
        }
        assert_eq!(desk.proven().clones.len(), 37);
    }
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
        ("HEAD", "leads to something that is not a reference"),
        ("/etc/passwd", "leads to something that is not a reference"),
        ("refs/heads/../../HEAD", "leads to something that is not a reference"),
        ("refs/heads//main", "leads to something that is not a reference"),
        ("", "leads to something that is not a reference"),
    ] {
        fs::write(clone.join(BRANCH), format!("ref: {target}\n")).expect("written");
        let found = desk.refused(5, "unreadable-clone");
        assert!(found.contains(problem), "{target}: {found}");
    }
}

/// A tag is not followed to its commit. Git never makes a branch that points to a tag.
#[test]
fn branch_must_not_point_to_tag() {
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
fn copies_of_the_branch_are_limited() {
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
