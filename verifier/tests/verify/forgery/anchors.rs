//! Checkpoints, cosignatures and consistency proofs: in the bundle and in the clone, each line and each byte.

use evidence::witness::AddCheckpoint;
use evidence::{Algorithm, SignedCheckpoint};
use git2::{ObjectType, Oid};

use super::fields::forgeries;
use super::{Forger, refused, sampled};
use crate::common::bundles::Desk;
use crate::common::clones::{Anchors, BRANCH, folder};
use crate::common::{ORIGIN, T0, key};

/// Lines of keys unknown to policy and ledger mean nothing: anyone can add or remove them
/// (SPEC.md, sections 5.2 and 10.2).
fn is_immaterial(honest: &[u8], forged: &[u8]) -> bool {
    let known = |bytes: &[u8]| {
        let signed = SignedCheckpoint::parse(bytes).ok()?;
        let names = [ORIGIN, "anchor-a", "witness.example/w"];
        let mut lines: Vec<_> = signed.note().signatures().cloned().collect();
        let own = SignedCheckpoint::parse(honest).expect("honest");
        lines.retain(|line| {
            names.contains(&line.name())
                && own.note().signatures().any(|s| s.id() == line.id() && s.name() == line.name())
        });
        lines.sort_by_key(|line| line.to_line());
        Some((signed.note().text().to_owned(), lines))
    };
    known(forged).is_some_and(|forged| Some(forged) == known(honest))
}

#[test]
fn forged_checkpoint_lines_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(false);
    let honest = forger.cosigned(12, T0 + 60).to_bytes();
    let text = String::from_utf8(honest.clone()).expect("text");
    for forged in sampled(forgeries(&text)) {
        std::fs::write(desk.inputs.bundle.join("checkpoint"), &forged.text).expect("written");
        let report = desk.verify();
        if is_immaterial(&honest, forged.text.as_bytes()) {
            assert_eq!(report.verdict.exit_code(), 0, "{}: {report}", forged.what);
            continue;
        }
        refused(&report, &[1, 4, 5], &forged.what);
        let is_named = report.findings.iter().any(|f| f.place.file.as_deref() == Some("checkpoint"));
        assert!(is_named, "{}: {report}", forged.what);
    }
}

#[test]
fn checkpoints_by_wrong_keys_are_refused() {
    let forger = Forger::new();
    let desk = forger.desk(false);
    let head = forger.ledger.checkpoint(12).checkpoint().clone();
    let log = key(ORIGIN, Algorithm::Ed25519, 70);
    let anchor = key("anchor-a", Algorithm::Cosignature, 71);
    let witness = key("witness.example/w", Algorithm::Cosignature, 72);
    // All of them, or all but one, by others under the same names.
    for honest in 0..8_u8 {
        let pick = |bit: u8, own, other| if honest >> bit & 1 == 1 { own } else { other };
        let mut signed = SignedCheckpoint::sign(head.clone(), pick(0, &forger.ledger.log, &log));
        signed.cosign(pick(1, &forger.ledger.anchor, &anchor), T0);
        signed.cosign(pick(2, &forger.witness, &witness), T0);
        std::fs::write(desk.inputs.bundle.join("checkpoint"), signed.to_bytes()).expect("written");
        let report = desk.verify();
        match honest {
            7 => assert_eq!(report.verdict.exit_code(), 0, "{report}"),
            _ if honest & 1 == 0 => refused(&report, &[1], "another log key"),
            _ => refused(&report, &[4], "other witnesses"),
        }
    }
}

/// A clone whose newest anchor has these files.
fn with_newest(desk: &mut Desk, forger: &Forger, number: usize, files: &[(&str, &[u8])]) {
    let path = desk.path(&format!("forged-{number}.git"));
    let mut anchors = Anchors::new(&path);
    let first = forger.cosigned(5, T0);
    anchors.commit(0, Vec::new(), &first);
    anchors.size = 12;
    anchors.commit_files(&folder(ORIGIN), files);
    desk.inputs.clones = vec![path];
}

#[test]
fn forged_anchor_lines_are_refused() {
    let forger = Forger::new();
    let mut desk = forger.desk(true);
    // The bundle does not replace a missing part of the anchor.
    let mut bundle = forger.bundle();
    bundle.checkpoint = forger.ledger.checkpoint(12).to_bytes();
    desk.put(&bundle).proven();
    let checkpoint = forger.cosigned(12, T0 + 60);
    let proof = forger.ledger.consistency(5, 12);
    let honest = AddCheckpoint { old_size: 5, proof, checkpoint: checkpoint.clone() }.to_bytes();
    let checkpoint = checkpoint.to_bytes();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let head = honest.len() - checkpoint.len();
    let mut cases = Vec::new();
    for forged in forgeries(&text(&checkpoint)) {
        let alike = [text(&honest[..head]).into_bytes(), forged.text.clone().into_bytes()].concat();
        cases.push((format!("checkpoint alone, {}", forged.what), forged.text.clone().into_bytes(), honest.clone()));
        cases.push((format!("both files, {}", forged.what), forged.text.into_bytes(), alike));
    }
    for forged in forgeries(&text(&honest)) {
        cases.push((format!("consistency, {}", forged.what), checkpoint.clone(), forged.text.into_bytes()));
    }
    for (i, byte) in (0..honest.len()).flat_map(|i| [(i, 0x01), (i, 0x80)]) {
        let mut flipped = honest.clone();
        flipped[i] ^= byte;
        cases.push((format!("consistency, byte {i} ^ {byte}"), checkpoint.clone(), flipped));
        cases.push((format!("consistency, cut at {i}"), checkpoint.clone(), honest[..i].to_vec()));
    }
    for i in 0..checkpoint.len() {
        cases.push((format!("checkpoint, cut at {i}"), checkpoint[..i].to_vec(), honest.clone()));
    }
    for (number, (what, checkpoint_file, consistency)) in sampled(cases).into_iter().enumerate() {
        with_newest(&mut desk, &forger, number, &[("checkpoint", &checkpoint_file), ("consistency", &consistency)]);
        let report = desk.verify();
        let same_proof = consistency.get(..head) == honest.get(..head);
        let alike =
            consistency.get(head..) == Some(&checkpoint_file[..]) && is_immaterial(&checkpoint, &checkpoint_file);
        if alike && same_proof {
            assert_eq!(report.verdict.exit_code(), 0, "{what}: {report}");
        } else {
            // An anchor without one of its cosignatures is an anchor, but does not satisfy the policy.
            refused(&report, &[1, 4, 5], &what);
            let in_clone = report.findings.iter().any(|f| f.place.commit.is_some());
            assert!(in_clone || report.verdict.exit_code() == 4, "{what}: {report}");
        }
        std::fs::remove_dir_all(&desk.inputs.clones[0]).expect("removed");
    }
}

/// Trees that Git's own tools never make.
#[test]
fn odd_trees_are_refused() {
    let forger = Forger::new();
    let mut desk = forger.desk(true);
    let path = desk.path("odd.git");
    let mut anchors = Anchors::new(&path);
    let checkpoint = forger.cosigned(12, T0 + 60);
    anchors.commit(0, Vec::new(), &checkpoint);
    anchors.size = 12;
    desk.inputs.clones = vec![path];
    desk.proven();
    let honest = anchors.git.find_commit(anchors.tip()).and_then(|commit| commit.tree()).expect("a tree");
    let log = folder(ORIGIN);
    let id = |path: &str| honest.get_path(std::path::Path::new(path)).expect("there").id();
    let [logs, own, file, proof] =
        ["logs".to_owned(), format!("logs/{log}"), format!("logs/{log}/checkpoint"), format!("logs/{log}/consistency")]
            .map(|path| id(&path));
    let entry =
        |mode: &str, name: &str, id: Oid| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_bytes()].concat();
    let tree = |entries: &[Vec<u8>]| anchors.git.odb().and_then(|odb| odb.write(ObjectType::Tree, &entries.concat()));
    let tree = |entries: &[Vec<u8>]| tree(entries).expect("written");
    let files = |files: &[Vec<u8>]| {
        let own = tree(files);
        tree(&[entry("40000", "logs", tree(&[entry("40000", &log, own)]))])
    };
    let good = [entry("100644", "checkpoint", file), entry("100644", "consistency", proof)];
    let cases = [
        ("an executable file", files(&[entry("100755", "checkpoint", file), good[1].clone()]), 5),
        ("a link", files(&[entry("120000", "checkpoint", file), good[1].clone()]), 5),
        ("a folder", files(&[entry("40000", "checkpoint", own), good[1].clone()]), 5),
        ("a submodule", files(&[entry("160000", "checkpoint", file), good[1].clone()]), 5),
        ("a mode with a zero before it", files(&[entry("0100644", "checkpoint", file), good[1].clone()]), 5),
        ("a name twice", files(&[good[0].clone(), entry("100644", "checkpoint", proof), good[1].clone()]), 5),
        ("the same file twice", files(&[good[0].clone(), good[0].clone(), good[1].clone()]), 5),
        ("a way up", files(&[good[0].clone(), good[1].clone(), entry("40000", "..", own)]), 5),
        ("a path for a name", files(&[good[0].clone(), good[1].clone(), entry("100644", "a/../b", file)]), 5),
        ("no name", files(&[entry("100644", "", file), good[0].clone(), good[1].clone()]), 5),
        ("one file", files(&good[..1]), 5),
        ("no file", files(&[]), 5),
        (
            "files that are each other",
            files(&[entry("100644", "checkpoint", proof), entry("100644", "consistency", file)]),
            5,
        ),
        ("a folder that is a file", tree(&[entry("100644", "logs", file)]), 5),
        ("a folder that is a link", tree(&[entry("120000", "logs", logs)]), 5),
        ("the log's folder is a link", tree(&[entry("40000", "logs", tree(&[entry("120000", &log, own)]))]), 5),
        ("a folder of another name", tree(&[entry("40000", "Logs", logs)]), 4),
        ("a folder by a way up", tree(&[entry("40000", "x/../logs", logs)]), 4),
        ("a tree that is a file", file, 5),
        ("a tree that is absent", Oid::from_bytes(&[7; 20]).expect("an id"), 3),
    ];
    for (what, tree, exit_code) in cases {
        let text = format!("tree {tree}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nodd\n");
        let commit = anchors.git.odb().and_then(|odb| odb.write(ObjectType::Commit, text.as_bytes())).expect("written");
        std::fs::write(desk.inputs.clones[0].join(BRANCH), format!("{commit}\n")).expect("written");
        refused(&desk.verify(), &[exit_code], what);
    }
    // The log's folder twice in one tree: with the forged one first and with the honest one first.
    let twice = tree(&[entry("40000", &log, own), entry("40000", &log, tree(&good[..1]))]);
    let text = format!("tree {}\nauthor a <a> 1 +0000\n\nodd\n", tree(&[entry("40000", "logs", twice)]));
    let commit = anchors.git.odb().and_then(|odb| odb.write(ObjectType::Commit, text.as_bytes())).expect("written");
    std::fs::write(desk.inputs.clones[0].join(BRANCH), format!("{commit}\n")).expect("written");
    refused(&desk.verify(), &[5], "the log's folder twice");
}
