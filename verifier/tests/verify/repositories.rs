//! Repositories: whole, shallow, packed, borrowed, damaged, and folders that are none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::anchors::desk_with;
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder, git};
use crate::common::{Ledger, ORIGIN, T0};
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
fn all_layouts_of_clones_are_read() {
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
fn folders_without_repository_or_anchor_do_not_anchor() {
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
    // One good clone beside them is enough for the anchor, but not for the verdict.
    let good = desk.path("good.git");
    Anchors::of(&Ledger::example(), &good, &[12]);
    desk.inputs.clones.push(good);
    desk.refused(4, "no-anchor");
}

#[test]
fn object_must_have_its_hash() {
    let ledger = Ledger::example();
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let git = git2::Repository::open_bare(&desk.inputs.clones[0]).expect("opened");
    let [old, new] = [ledger.cosigned(4, T0), ledger.cosigned(12, T0 + 60)].map(|signed| {
        let id = git.blob(&signed.to_bytes()).expect("there already").to_string();
        desk.inputs.clones[0].join("objects").join(&id[..2]).join(&id[2..])
    });
    writable(&new);
    fs::copy(old, new).expect("copied");
    assert!(desk.refused(5, "unreadable-clone").contains("its hash is not its name"));
}

fn pack_in(clone: &Path) -> PathBuf {
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pack");
    files(&clone.join("objects/pack")).into_iter().find(is_pack).expect("a pack")
}

/// Git makes its objects read-only.
fn writable(path: &Path) {
    let mut permissions = fs::metadata(path).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of the test's own")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("set");
}

#[test]
fn damaged_objects_are_unusable() {
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
fn damaged_packs_are_unusable() {
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
                // The verifier hashes each object and ignores checksums over whole files.
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
fn working_tree_may_look_like_a_repository() {
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
fn borrowed_object_folders_are_limited() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let borrower = desk.path("borrower.git");
    git(
        desk.dir.path(),
        &["clone", "-q", "--bare", "--shared", &desk.inputs.clones[0].display().to_string(), "borrower.git"],
    );
    desk.inputs.clones = vec![borrower.clone()];
    let path = borrower.join("objects/info/alternates");
    let lender = fs::read_to_string(&path).expect("read");
    // Its own folder, the lender's, and missing ones. Comments do not count, and a repeated folder counts once.
    let with = |absent: usize| {
        let absent: String = (0..absent).map(|i| format!("../absent-{i}\n")).collect();
        fs::write(&path, format!("# comment\n\n{absent}../absent-0\n{lender}")).expect("written");
    };
    with(14);
    desk.proven();
    with(15);
    assert!(desk.refused(5, "unreadable-clone").contains("objects in more than 16 folders"));
}

/// Special files in place of regular ones must not block the verifier.
#[test]
fn pipes_do_not_block() {
    let mut desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    fs::write(&desk.inputs.trust, trust.replace("max-anchor-age 86400", "max-anchor-age -")).expect("written");
    let clone = desk.inputs.clones[0].clone();
    git(&clone, &["gc", "-q"]);
    let pack = pack_in(&clone);
    desk.inputs.pin = Some(desk.path("pin"));
    let run = |desk: &Desk| {
        // A deadline, because a reader of a pipe waits for ever.
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

/// A damaged pack beside good objects, and damaged objects beside a good pack.
#[test]
fn one_good_copy_of_object_suffices() {
    let desk = desk_with(|ledger, path| drop(Anchors::of(ledger, path, &[4, 12])));
    let clone = &desk.inputs.clones[0];
    let tip = git2::Repository::open_bare(clone).and_then(|git| git.refname_to_id(BRANCH)).expect("a branch");
    let honest = fs::read(loose(clone, tip)).expect("read");
    git(clone, &["repack", "-q", "-a"]);
    put_loose(clone, tip, b"x");
    desk.proven();
    put_loose(clone, tip, &honest);
    let pack = pack_in(clone);
    let mut bytes = fs::read(&pack).expect("read");
    bytes[12..].fill(0xff);
    writable(&pack);
    fs::write(&pack, bytes).expect("written");
    desk.proven();
    put_loose(clone, tip, b"x");
    desk.refused(5, "unreadable-clone");
}

#[test]
fn commits_and_trees_have_a_limit() {
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

/// Commits with merged tags and long messages, and trees with thousands of other files.
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

/// The limits leave room for a long policy, hundreds of other logs, and comments in `info/alternates`.
#[test]
fn long_files_are_read() {
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
    // Lines after the limit would stay unread.
    fs::write(&path, lender + &"# comment\n".repeat(7_000)).expect("written");
    assert!(desk.refused(5, "unreadable-clone").contains("info/alternates: longer than 65536 bytes"));
}

/// A file of an anchor, loose and in a pack. Commits and trees have other limits.
#[test]
fn objects_have_a_limit() {
    const LIMIT: usize = 128 * 1024;
    for packed in [false, true] {
        // A file within the limit is no checkpoint; a longer one is not read.
        for (len, code) in [(LIMIT, "malformed"), (LIMIT + 33, "unreadable-clone")] {
            let desk = desk_with(|_, path| {
                // Random bytes, which do not compress.
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
