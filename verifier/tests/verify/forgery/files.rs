//! The files of a bundle and of a clone: lines of the manifest and of the heads, names, links, pipes, folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fields::forgeries;
use super::{Forger, refused, sampled};
use crate::common::bundles::Desk;
use crate::common::clones::{BRANCH, git};
use crate::hostile::files;

#[test]
fn forged_manifest_lines_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let path = desk.inputs.bundle.join("manifest");
    let text = fs::read_to_string(&path).expect("read");
    let shown = |report: &verifier::Report| -> Vec<_> {
        report.streams.iter().map(|s| (s.stream.to_string(), s.proven().to_vec(), s.events)).collect()
    };
    let honest = shown(&desk.verify());
    for forged in sampled(forgeries(&text)) {
        fs::write(&path, &forged.text).expect("written");
        let report = desk.verify();
        if report.verdict.exit_code() == 0 {
            // A wider range claims nothing more.
            assert_eq!(
                (forged.field.as_str(), shown(&report)),
                ("stream", honest.clone()),
                "{}: {report}",
                forged.what
            );
        } else {
            refused(&report, &[1, 3, 5], &forged.what);
        }
    }
}

#[test]
fn forged_heads_lines_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let [path, manifest] = ["heads", "manifest"].map(|name| desk.inputs.bundle.join(name));
    let text = fs::read_to_string(&path).expect("read");
    let manifest_text = fs::read_to_string(&manifest).expect("read");
    for forged in sampled(forgeries(&text)) {
        fs::write(&path, &forged.text).expect("written");
        let length = |text: &str| format!("\nheads {}\n", text.len());
        fs::write(&manifest, manifest_text.replace(&length(&text), &length(&forged.text))).expect("written");
        let report = desk.verify();
        refused(&report, &[1, 5], &forged.what);
        let is_named = report.findings.iter().any(|f| f.place.file.as_deref() == Some("heads"));
        assert!(is_named, "{}: {report}", forged.what);
    }
}

/// Puts something else where a file should be. Returns whether the system could make it.
type Odd = fn(&Path, &Path);

const ODD: &[(&str, Odd)] = &[
    ("a link to the same bytes", |path, same| symlink(same, path).expect("linked")),
    ("a link to a device without end", |path, _| symlink("/dev/zero", path).expect("linked")),
    ("a link to a device without bytes", |path, _| symlink("/dev/null", path).expect("linked")),
    ("a link to nothing", |path, _| symlink("nothing", path).expect("linked")),
    ("a link to itself", |path, _| symlink(path.file_name().expect("a name"), path).expect("linked")),
    ("a link up", |path, _| symlink("..", path).expect("linked")),
    ("a folder", |path, _| fs::create_dir(path).expect("made")),
    ("a pipe", |path, _| fifo(path)),
    ("a socket", |path, _| drop(UnixListener::bind(path).expect("bound"))),
    ("nothing", |_, _| {}),
];

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("runs").success());
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

/// All files and folders under a folder, without itself.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut all = files(folder);
    let parents: Vec<PathBuf> = all.iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    all.extend(parents);
    all.retain(|path| path != folder && path.starts_with(folder));
    all.sort();
    all.dedup();
    all
}

#[test]
fn special_files_are_refused_in_bundles() {
    // A short path: that of a socket is short.
    let forger = Forger::new();
    let desk = forger.desk(true);
    let aside = desk.path("aside");
    for path in everything(&desk.inputs.bundle) {
        fs::rename(&path, &aside).expect("moved");
        for (what, make) in ODD {
            make(&path, &aside);
            refused(&desk.verify(), &[5], &format!("{} is {what}", path.display()));
            clear(&path);
        }
        if aside.is_dir() {
            fs::write(&path, b"").expect("written");
            refused(&desk.verify(), &[5], &format!("{} is a file", path.display()));
            fs::remove_file(&path).expect("removed");
        } else {
            // A hard link is a file.
            fs::hard_link(&aside, &path).expect("linked");
            desk.proven();
            fs::remove_file(&path).expect("removed");
        }
        fs::rename(&aside, &path).expect("moved");
    }
    desk.proven();
}

#[test]
fn unknown_names_in_bundles_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let bundle = &desk.inputs.bundle;
    for name in [
        "entries/000001",
        "entries/0000000",
        "entries/+00000",
        "entries/00000",
        "entries/000000.",
        "entries/000000\n",
        "streams/000003",
        "streams/0",
        "streams/+00000",
        "streams/-00001",
        "streams/000000/000001.leaves",
        "streams/000000/000000.leaves~",
        "streams/000000/000000.LEAVES",
        "streams/000000/.events",
        ".manifest",
        "...",
        "Manifest",
        "manifest ",
        "checkpoint\u{202e}",
        "a\u{1b}[2Jb",
        "x\n  proven",
    ] {
        let path = bundle.join(name);
        fs::write(&path, b"x").expect("written");
        let report = desk.verify();
        refused(&report, &[5], name);
        assert_eq!(report.findings[0].place.file.as_deref(), Some(name), "{report}");
        // No name writes more than itself into the report, on one line.
        assert!(!report.to_string().contains(['\u{1b}', '\u{202e}']) && !report.to_string().contains("\n  proven"));
        fs::remove_file(&path).expect("removed");
    }
    let not_text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    fs::write(bundle.join(not_text), b"x").expect("written");
    refused(&desk.verify(), &[5], "a name that is not UTF-8");
    fs::remove_file(bundle.join(not_text)).expect("removed");
    desk.proven();
}

/// Replaces files of a clone by others. The verifier must exit with a verdict, without a panic or a wait.
#[test]
fn special_files_in_clones_are_refused() {
    let forger = Forger::new();
    for packed in [false, true] {
        let desk = forger.desk(true);
        let clone = desk.inputs.clones[0].clone();
        if packed {
            git(&clone, &["gc", "-q"]);
            desk.proven();
        }
        let aside = desk.path("aside");
        let mut places = everything(&clone);
        // Also at places where Git puts nothing here.
        places.extend(
            ["packed-refs", "objects/info/alternates", "refs/remotes", "objects/pack/pack-x.idx"]
                .map(|p| clone.join(p)),
        );
        places.push(clone.join(BRANCH));
        for path in places {
            let was_there = path.symlink_metadata().is_ok();
            if was_there {
                fs::rename(&path, &aside).expect("moved");
            }
            for (what, make) in ODD {
                fs::create_dir_all(path.parent().expect("has one")).expect("made");
                make(&path, &aside);
                let report = desk.verify();
                let what = format!("packed: {packed}, {} is {what}", path.display());
                // Files that the verifier does not read may be anything, and objects have their hashes.
                assert!([0, 3, 4, 5].contains(&report.verdict.exit_code()), "{what}: {report}");
                if report.verdict.exit_code() != 0 {
                    refused(&report, &[3, 4, 5], &what);
                }
                clear(&path);
            }
            if was_there {
                fs::rename(&aside, &path).expect("moved");
            }
        }
        desk.proven();
    }
}

/// References by somebody who can write into a clone.
#[test]
fn hostile_references_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let clone = desk.inputs.clones[0].clone();
    let branch = clone.join(BRANCH);
    let honest = fs::read_to_string(&branch).expect("read");
    let id = honest.trim_end();
    for odd in [
        String::new(),
        "\n".into(),
        id.to_owned(),
        format!("{id}\n\n"),
        format!(" {id}\n"),
        format!("{}\n", id.to_uppercase()),
        format!("{}\n", &id[1..]),
        format!("{id}0\n"),
        "ref: refs/heads/other\n".into(),
        "ref: ../../../etc/passwd\n".into(),
        format!("{}\n", "é".repeat(20)),
        "0".repeat(1 << 20),
    ] {
        fs::write(&branch, &odd).expect("written");
        refused(&desk.verify(), &[5], &odd[..odd.len().min(50)]);
    }
    fs::write(&branch, &honest).expect("written");
    let zero = "0".repeat(40);
    for (odd, exit_code) in [
        (format!("{zero} refs/remotes/o/anchors\n"), 3),
        ("x refs/remotes/o/anchors\n".into(), 5),
        (format!("{id} refs/remotes/\u{1b}[2J\u{202e}/anchors\n"), 0),
        (format!("{zero} refs/heads/other\n^{zero}\n# comment\n\n{zero}\n"), 0),
        (format!("{zero}  refs/remotes/o/anchors\n"), 0),
        (format!("{zero} refs/remotes//anchors\n"), 0),
        ((0..100).map(|i| format!("{id} refs/remotes/{i}/anchors\n")).collect(), 5),
    ] {
        fs::write(clone.join("packed-refs"), &odd).expect("written");
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{odd:?}: {report}");
        assert!(!report.to_string().contains(['\u{1b}', '\u{202e}']), "{report}");
    }
}

/// Folders of objects that borrow from each other.
#[test]
fn hostile_alternates_are_refused() {
    let forger = Forger::new();
    let desk: Desk = forger.desk(true);
    let objects = desk.inputs.clones[0].join("objects");
    let alternates = objects.join("info/alternates");
    fs::create_dir_all(objects.join("info")).expect("made");
    let own = objects.display().to_string();
    // A loop by the same name counts once. A detour makes a new name each time, until there are too many.
    for (odd, exit_code) in [
        (format!("{own}\n"), 0),
        ("../objects\n".to_owned(), 5),
        ("/nowhere\n".to_owned(), 0),
        ("/dev/null\n".to_owned(), 5),
        ("\n# comment\n".to_owned(), 0),
        ((0..100).map(|i| format!("/nowhere/{i}\n")).collect(), 5),
        ("\u{0}\n".to_owned(), 5),
    ] {
        fs::write(&alternates, &odd).expect("written");
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{odd:?}: {report}");
    }
}
