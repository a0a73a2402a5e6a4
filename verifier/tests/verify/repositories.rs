//! Repositories: whole, shallow, packed, borrowed, damaged, and what is none.

use std::fs;
use std::path::Path;

use crate::anchors::desk_with;
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder, git};
use crate::common::{Ledger, ORIGIN, T0, stream};
use crate::forgery::objects::{loose, put_loose, zlib};
use crate::hostile::files;

#[test]
fn shallow_and_partial_clones_are_incomplete() {
    let ledger = Ledger::example();
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8, 12])));
    let source = format!("file://{}", desk.inputs.clones[0].display());
    for (name, more) in [("shallow", &["--depth=1"][..]), ("depth2", &["--depth=2"])] {
        let args = [&["clone", "-q", "--branch=anchors"], more, &[&source, name]].concat();
        git(desk.dir.path(), &args);
        desk.inputs.clones = vec![desk.path(name)];
        let problem = desk.refused(3, "incomplete-clone");
        assert!(problem.contains("commit ") && problem.contains("is absent"), "{problem}");
        // A clone that hides that it is shallow.
        fs::remove_file(desk.path(name).join(".git/shallow")).expect("removed");
        desk.refused(3, "incomplete-clone");
    }
    drop(ledger);
}

#[test]
fn clones_of_every_make_are_read() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 8, 12])));
    let source = desk.inputs.clones[0].clone();
    let name = source.display().to_string();
    git(desk.dir.path(), &["clone", "-q", "--branch=anchors", &name, "working"]);
    git(desk.dir.path(), &["clone", "-q", "--bare", &name, "bare"]);
    git(desk.dir.path(), &["clone", "-q", "--mirror", &name, "mirror"]);
    git(&desk.path("mirror"), &["gc", "-q"]);
    git(desk.dir.path(), &["clone", "-q", "--no-checkout", "--no-local", &name, "fetched"]);
    git(desk.dir.path(), &["clone", "-q", "--shared", &name, "shared"]);
    for name in ["working", "working/.git", "bare", "mirror", "fetched", "shared"] {
        desk.inputs.clones = vec![desk.path(name)];
        let report = desk.proven();
        assert_eq!(report.clones[0].anchors, 3, "{name}");
    }
    // Linked working trees, and those whose repository lies elsewhere.
    git(&desk.path("working"), &["worktree", "add", "-q", "--detach", "../linked"]);
    git(desk.dir.path(), &["clone", "-q", "--separate-git-dir=elsewhere", &name, "separate"]);
    for name in ["linked", "working/.git/worktrees/linked", "separate", "elsewhere"] {
        desk.inputs.clones = vec![desk.path(name)];
        assert_eq!(desk.proven().clones[0].anchors, 3, "{name}");
    }
    let dot_git = desk.path("linked/.git");
    desk.inputs.clones = vec![desk.path("linked")];
    for (text, problem) in [
        ("gitdir: ../nowhere\n", "not a Git repository"),
        ("gitdir: ../linked\n", "not a Git repository"),
        ("gitdir: \n", "does not name a folder"),
        ("something else\n", "does not name a folder"),
        (&format!("gitdir: {}\n", "x".repeat(5000)), "does not name a folder"),
    ] {
        fs::write(&dot_git, text).expect("written");
        assert!(desk.refused(5, "unreadable-clone").contains(problem), "{text:.20}");
    }
}

#[test]
fn what_is_no_clone_is_unusable_and_what_has_no_anchor_does_not_anchor() {
    let mut desk = desk_with(|_, path| fs::create_dir(path).expect("made"));
    assert!(desk.refused(5, "unreadable-clone").contains("not a Git repository"));
    desk.inputs.clones = vec![desk.path("nowhere")];
    assert!(desk.refused(5, "unreadable-clone").contains("nowhere: does not exist"));
    desk.inputs.clones = vec![desk.path("trust")];
    desk.refused(5, "unreadable-clone");
    let empty = desk.path("empty.git");
    Anchors::new(&empty);
    desk.inputs.clones = vec![empty];
    assert!(desk.refused(4, "no-branch").contains("anchors"));
    let other = desk.path("other.git");
    Anchors::new(&other).commit_files(&folder("example.com/other"), &[("checkpoint", b"x"), ("consistency", b"y")]);
    desk.inputs.clones = vec![other];
    assert!(desk.refused(4, "no-anchor").contains("holds no anchor of example.com/audit"));
    // One good clone beside them suffices for the anchor, not for the verdict.
    let good = desk.path("good.git");
    Anchors::of(&Ledger::example(), &good, &[12]);
    desk.inputs.clones.push(good);
    desk.refused(4, "no-anchor");
}

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
fn an_object_must_be_what_it_is_named() {
    let ledger = Ledger::example();
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let git = git2::Repository::open_bare(&desk.inputs.clones[0]).expect("opened");
    let [old, new] = [ledger.cosigned(4, T0), ledger.cosigned(12, T0 + 60)].map(|signed| {
        let id = git.blob(&signed.to_bytes()).expect("there already").to_string();
        desk.inputs.clones[0].join("objects").join(&id[..2]).join(&id[2..])
    });
    writable(&new);
    fs::copy(old, new).expect("copied");
    assert!(desk.refused(5, "unreadable-clone").contains("has not the hash that it is named by"));
}

/// Git makes its objects read-only.
fn writable(path: &Path) {
    let mut permissions = fs::metadata(path).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of the test's own")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("set");
}

#[test]
fn damaged_objects_are_unusable_and_no_panic() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let objects = desk.inputs.clones[0].join("objects");
    let mut damaged = 0;
    for folder in fs::read_dir(&objects).expect("listed") {
        let folder = folder.expect("an entry").path();
        for file in fs::read_dir(&folder).expect("listed").flatten().filter(|f| f.path().is_file()) {
            let bytes = fs::read(file.path()).expect("read");
            writable(&file.path());
            let middle = bytes.len() / 2;
            let flipped: Vec<u8> =
                bytes.iter().enumerate().map(|(i, b)| if i == middle { b ^ 0x55 } else { *b }).collect();
            for changed in [&bytes[..middle], &[], &flipped] {
                fs::write(file.path(), changed).expect("written");
                let report = desk.verify();
                assert!([3, 5].contains(&report.verdict.exit_code()), "{report}");
            }
            fs::write(file.path(), &bytes).expect("written");
            damaged += 1;
        }
    }
    assert!(damaged >= 10, "two anchors have ten objects");
    desk.proven();
    fs::write(desk.inputs.clones[0].join(BRANCH), "ref: refs/heads/other\n").expect("written");
    desk.refused(5, "unreadable-clone");
    fs::write(desk.inputs.clones[0].join(BRANCH), format!("{}\n", "1".repeat(40))).expect("written");
    desk.refused(3, "incomplete-clone");
}

#[test]
fn damaged_packs_are_unusable_and_no_panic() {
    let desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        for i in 0..20 {
            anchors.anchor(ledger, 12, T0 + 60 + i);
        }
    });
    git(&desk.inputs.clones[0], &["gc", "-q"]);
    let honest = desk.proven().to_string();
    let packs = desk.inputs.clones[0].join("objects/pack");
    let mut damaged = 0;
    for file in fs::read_dir(packs).expect("listed").flatten().map(|file| file.path()) {
        let name = file.display().to_string();
        if !name.ends_with(".pack") && !name.ends_with(".idx") {
            continue;
        }
        damaged += 1;
        writable(&file);
        let bytes = fs::read(&file).expect("read");
        let step = bytes.len() / 200 + 1;
        for at in (0..bytes.len()).step_by(step) {
            let flipped: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| if i == at { b ^ 0x55 } else { *b }).collect();
            for changed in [&flipped[..], &bytes[..at]] {
                fs::write(&file, changed).expect("written");
                let report = desk.verify();
                // Checksums over whole files are not read: each object is checked by its own.
                let fine = [3, 5].contains(&report.verdict.exit_code()) || report.to_string() == honest;
                assert!(fine, "{name} at {at}: {report}");
            }
        }
        fs::write(&file, &bytes).expect("written");
    }
    assert_eq!(damaged, 2);
    desk.proven();
}

#[test]
fn a_working_tree_may_hold_files_that_are_named_as_those_of_a_repository() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let source = desk.inputs.clones[0].display().to_string();
    git(desk.dir.path(), &["clone", "-q", "--branch=anchors", &source, "working"]);
    let working = desk.path("working");
    desk.inputs.clones = vec![working.clone()];
    fs::create_dir(working.join("objects")).expect("made");
    desk.proven();
    fs::remove_dir(working.join("objects")).expect("removed");
    fs::write(working.join("HEAD"), "x").expect("written");
    desk.proven();
    fs::remove_dir_all(working.join(".git")).expect("removed");
    assert!(desk.refused(5, "unreadable-clone").contains("not a Git repository"));
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

#[test]
fn folders_to_borrow_objects_from_are_looked_into_up_to_a_limit() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let borrower = desk.path("borrower.git");
    git(
        desk.dir.path(),
        &["clone", "-q", "--bare", "--shared", &desk.inputs.clones[0].display().to_string(), "borrower.git"],
    );
    desk.inputs.clones = vec![borrower.clone()];
    let path = borrower.join("objects/info/alternates");
    let lender = fs::read_to_string(&path).expect("read");
    // Its own, the lender's, and those that are not there; comments are none, and one is counted once.
    let with = |absent: usize| {
        let absent: String = (0..absent).map(|i| format!("../absent-{i}\n")).collect();
        fs::write(&path, format!("# comment\n\n{absent}../absent-0\n{lender}")).expect("written");
    };
    with(14);
    desk.proven();
    with(15);
    assert!(desk.refused(5, "unreadable-clone").contains("objects in more than 16 folders"));
}

/// Opens what is no regular file: none is waited for.
#[test]
fn pipes_are_not_waited_for() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    fs::write(&desk.inputs.trust, trust.replace("max-anchor-age 86400", "max-anchor-age -")).expect("written");
    let clone = desk.inputs.clones[0].clone();
    git(&clone, &["gc", "-q"]);
    let pack = fs::read_dir(clone.join("objects/pack")).expect("listed").flatten().map(|file| file.path());
    let pack = pack.filter(|path| path.extension().is_some_and(|e| e == "pack")).next().expect("a pack");
    desk.inputs.pin = Some(desk.path("pin"));
    let run = |desk: &Desk| {
        // A deadline, as what waits for a pipe waits for ever.
        let mut command = std::process::Command::new("timeout");
        command.arg("60").arg(env!("CARGO_BIN_EXE_streamseal-verify")).arg(&desk.inputs.bundle);
        command.arg("--trust").arg(&desk.inputs.trust).arg("--clone").arg(&desk.inputs.clones[0]);
        command.arg("--pin").arg(desk.inputs.pin.as_ref().expect("given"));
        let output = command.output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(run(&desk).0, Some(0));
    let inputs = [&desk.inputs.trust, &desk.path("pin"), &desk.inputs.bundle].map(Clone::clone);
    let in_clone =
        ["packed-refs", BRANCH, "refs/remotes/up/anchors", "objects/info/alternates"].map(|at| clone.join(at));
    let index = pack.with_extension("idx");
    let in_bundle = ["manifest", "checkpoint", "heads", "entries/000000"].map(|file| desk.inputs.bundle.join(file));
    for path in inputs.into_iter().chain(in_clone).chain([pack, index]).chain(in_bundle) {
        let aside = desk.path("aside");
        let was_there = path.exists();
        if was_there {
            fs::rename(&path, &aside).expect("moved");
        }
        fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("runs").success());
        let (code, said) = run(&desk);
        assert_eq!(code, Some(5), "{}: {said}", path.display());
        assert!(said.contains("not a regular file"), "{}: {said}", path.display());
        fs::remove_file(&path).expect("removed");
        if was_there {
            fs::rename(&aside, &path).expect("moved");
        }
    }
    assert_eq!(run(&desk).0, Some(0));
    // A device, and a folder.
    for path in ["/dev/null", "/dev/zero", &desk.dir.path().display().to_string()] {
        desk.inputs.pin = Some(path.into());
        assert!(desk.refused(5, "unreadable-pin").contains("not a regular file"), "{path}");
    }
}

/// A damaged pack beside good objects, and the other way round.
#[test]
fn an_object_in_several_places_is_read_where_it_is_good() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let clone = &desk.inputs.clones[0];
    let tip = git2::Repository::open_bare(clone).and_then(|git| git.refname_to_id(BRANCH)).expect("a branch");
    let honest = fs::read(loose(clone, tip)).expect("read");
    git(clone, &["repack", "-q", "-a"]);
    put_loose(clone, tip, b"x");
    desk.proven();
    put_loose(clone, tip, &honest);
    let pack =
        files(&clone.join("objects/pack")).into_iter().find(|path| path.extension().is_some_and(|e| e == "pack"));
    let pack = pack.expect("a pack");
    let mut bytes = fs::read(&pack).expect("read");
    bytes[12..].fill(0xff);
    writable(&pack);
    fs::write(&pack, bytes).expect("written");
    desk.proven();
    put_loose(clone, tip, b"x");
    desk.refused(5, "unreadable-clone");
}

#[test]
fn commits_and_trees_are_read_up_to_a_limit() {
    const LIMIT: usize = 16 << 20;
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let clone = &desk.inputs.clones[0];
    let git = git2::Repository::open_bare(clone).expect("opened");
    let tip = git.refname_to_id(BRANCH).expect("a branch");
    let logs =
        git.find_commit(tip).and_then(|commit| commit.tree()).expect("a tree").get_name("logs").expect("there").id();
    let put = |kind: &str, bytes: &[u8]| {
        let id = git2::Oid::hash_object(git2::ObjectType::from_str(kind).expect("a kind"), bytes).expect("hashed");
        put_loose(clone, id, &zlib(&[format!("{kind} {}\0", bytes.len()).as_bytes(), bytes].concat()));
        id
    };
    for (tree_len, commit_len, is_read) in [(LIMIT, LIMIT, true), (LIMIT + 1, LIMIT, false), (LIMIT, LIMIT + 1, false)]
    {
        let entry = |mode: &str, name: &str, id: git2::Oid| {
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_bytes()].concat()
        };
        let logs = entry("40000", "logs", logs);
        let long = entry("100644", "", tip).len() + logs.len();
        let tree = put("tree", &[logs, entry("100644", &"x".repeat(tree_len - long), tip)].concat());
        let head = format!("tree {tree}\nparent {tip}\nauthor a <a> 1 +0000\n\n");
        let commit = put("commit", &[head.as_bytes(), &vec![b'x'; commit_len - head.len()]].concat());
        fs::write(clone.join(BRANCH), format!("{commit}\n")).expect("written");
        if is_read {
            desk.proven();
        } else {
            desk.refused(5, "unreadable-clone");
        }
    }
}

/// Commits with merged tags and long messages, and trees with thousands of files, which are none of the log's.
#[test]
fn long_commits_and_trees_are_read() {
    for packed in [false, true] {
        let desk = desk_with(|ledger, path| {
            let mut anchors = Anchors::of(ledger, path, &[4, 12]);
            let git = git2::Repository::open_bare(path).expect("opened");
            let before = git.find_commit(anchors.tip()).expect("there");
            let blob = git.blob(b"x").expect("a blob");
            let mut root = git.treebuilder(Some(&before.tree().expect("a tree"))).expect("a builder");
            for i in 0..20_000 {
                root.insert(format!("a file beside the folder of logs {i}"), blob, 0o100_644).expect("inserted");
            }
            let tree = git.find_tree(root.write().expect("a tree")).expect("there");
            let who = git2::Signature::now("a", "a@example.com").expect("a signature");
            git.commit(Some(BRANCH), &who, &who, &"long ".repeat(400_000), &tree, &[&before]).expect("committed");
            for i in 1..5 {
                anchors.anchor(ledger, 12, T0 + 60 + i);
            }
        });
        if packed {
            git(&desk.inputs.clones[0], &["gc", "-q"]);
        }
        assert_eq!(desk.proven().clones[0].anchors, 6);
    }
}

/// The limits leave room: for a long policy, for hundreds of other logs in one repository, for what is written about borrowing.
#[test]
fn what_is_long_is_read() {
    let mut desk = desk_with(|ledger, path| {
        let mut anchors = Anchors::of(ledger, path, &[4]);
        (0..200).for_each(|i: u32| {
            anchors.commit_files(&folder(&format!("example.org/{i}")), &[("checkpoint", b"of another log")]);
        });
        anchors.anchor(ledger, 12, T0 + 60);
    });
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    fs::write(&desk.inputs.trust, trust + &"# comment\n".repeat(6_000)).expect("written");
    let lender = desk.inputs.clones[0].display().to_string();
    git(desk.dir.path(), &["clone", "-q", "--bare", "--shared", &lender, "borrower.git"]);
    desk.inputs.clones = vec![desk.path("borrower.git")];
    let path = desk.path("borrower.git/objects/info/alternates");
    let lender = fs::read_to_string(&path).expect("read");
    fs::write(&path, "# comment\n".repeat(6_000) + &lender).expect("written");
    assert_eq!(desk.proven().clones[0].anchors, 2);
    // What is behind the limit would not be known of.
    fs::write(&path, lender + &"# comment\n".repeat(7_000)).expect("written");
    assert!(desk.refused(5, "unreadable-clone").contains("info/alternates: longer than 65536 bytes"));
}

/// A file of an anchor, loose and in a pack; of commits and trees the longest is another.
#[test]
fn objects_are_read_up_to_a_limit() {
    const LIMIT: usize = 128 * 1024;
    for packed in [false, true] {
        // What is read is no checkpoint; what is longer is not read, whether the header of a loose object fits or not.
        for (len, code) in [(LIMIT, "malformed"), (LIMIT + 33, "unreadable-clone")] {
            let desk = desk_with(|_, path| {
                // Bytes that cannot be packed any shorter.
                let bytes: Vec<u8> =
                    (0..len.div_ceil(32) as u64).flat_map(|i| evidence::sha256(&i.to_be_bytes()).0).collect();
                Anchors::new(path)
                    .commit_files(&folder(ORIGIN), &[("checkpoint", &bytes[..len]), ("consistency", b"x")]);
            });
            if packed {
                git(&desk.inputs.clones[0], &["gc", "-q"]);
            }
            desk.refused(5, code);
        }
    }
}
