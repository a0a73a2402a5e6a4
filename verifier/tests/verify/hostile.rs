//! Changes, cuts and adds bytes in any file: the verifier never proves more than before, and never panics.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::Algorithm;

use crate::common::bundles::Desk;
use crate::common::{Ledger, T0, key, stream};

/// A small bundle of which every byte matters: a witness vouches for its checkpoint, and there is no clone.
fn desk() -> Desk {
    let mut ledger = Ledger::new();
    ledger.seal(&stream("orders", 0, 0), 3);
    ledger.seal(&stream("orders", 1, 0), 2);
    ledger.heads();
    let witness = key("witness.example/w", Algorithm::Cosignature, 50);
    let mut desk = Desk::new(&ledger.trust_with(&witness, "86400"));
    let mut bundle = ledger.bundle();
    bundle.stream(&stream("orders", 0, 0)).offsets = 0..3;
    bundle.stream(&stream("orders", 1, 0)).offsets = 0..2;
    let mut signed = ledger.checkpoint(ledger.size());
    signed.cosign(&witness, T0);
    bundle.checkpoint = signed.to_bytes();
    desk.put(&bundle);
    desk.proven();
    desk
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn changed_byte_anywhere_is_caught() {
    let desk = desk();
    let honest = desk.proven().to_string();
    for file in files(&desk.inputs.bundle) {
        let bytes = fs::read(&file).expect("read");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
            fs::write(&file, &changed).expect("written");
            let report = desk.verify();
            // The manifest may claim a wider range, but the bundle proves nothing more of it.
            let same = file.ends_with("manifest") && report.to_string() == honest;
            assert!(report.verdict.exit_code() != 0 || same, "{} byte {at}: {report}", file.display());
        }
        fs::write(&file, &bytes).expect("written");
    }
    desk.proven();
}

#[test]
fn cut_or_continued_file_is_never_proven() {
    let desk = desk();
    for file in files(&desk.inputs.bundle) {
        let name = file.strip_prefix(&desk.inputs.bundle).expect("inside").display().to_string();
        let bytes = fs::read(&file).expect("read");
        let cuts = (0..bytes.len()).map(|end| bytes[..end].to_vec());
        let tails = ["\n", "\0", "x", "streamseal"].map(|tail| [&bytes[..], tail.as_bytes()].concat());
        for changed in cuts.chain(tails) {
            fs::write(&file, &changed).expect("written");
            let report = desk.verify();
            assert_ne!(report.verdict.exit_code(), 0, "{name} of {} bytes: {report}", changed.len());
            let named = report.findings.iter().any(|f| f.place.file.as_ref().is_some_and(|f| *f == name));
            assert!(named || name == "checkpoint", "{name} of {} bytes: {report}", changed.len());
        }
        fs::write(&file, &bytes).expect("written");
    }
    desk.proven();
}

#[test]
fn cut_or_changed_trust_file_proves_nothing() {
    let desk = desk();
    let trust = fs::read(&desk.inputs.trust).expect("read");
    for end in 0..trust.len() {
        fs::write(&desk.inputs.trust, &trust[..end]).expect("written");
        assert_eq!(desk.verify().verdict.exit_code(), 5);
    }
    for at in 0..trust.len() {
        let mut changed = trust.clone();
        changed[at] ^= 1;
        fs::write(&desk.inputs.trust, &changed).expect("written");
        let report = desk.verify();
        // With another name of the witness, or another age, the file still trusts the same keys.
        let harmless = report.verdict.exit_code() == 0 && {
            let text = String::from_utf8_lossy(&changed).into_owned();
            !text.contains("max-anchor-age 86400") || text.contains("quorum")
        };
        assert!(report.verdict.exit_code() != 0 || harmless, "byte {at}: {report}");
    }
}

#[test]
fn missing_and_unknown_files_are_unusable() {
    let desk = desk();
    for file in files(&desk.inputs.bundle) {
        let aside = desk.path("aside");
        fs::rename(&file, &aside).expect("moved");
        desk.refused(5, "malformed");
        std::os::unix::fs::symlink(&aside, &file).expect("linked");
        desk.refused(5, "malformed");
        fs::remove_file(&file).expect("removed");
        fs::rename(&aside, &file).expect("moved");
    }
    fs::write(desk.inputs.bundle.join("extra"), "x").expect("written");
    assert!(desk.refused(5, "malformed").starts_with("extra:"));
}

#[test]
fn empty_and_missing_inputs_are_unusable() {
    let mut desk = desk();
    let bundle = desk.inputs.bundle.clone();
    desk.inputs.bundle = desk.path("nowhere");
    assert!(desk.refused(5, "unreadable").contains("nowhere"));
    let empty = desk.path("empty");
    fs::create_dir(&empty).expect("made");
    desk.inputs.bundle = empty;
    assert!(desk.refused(5, "malformed").starts_with("manifest: is missing"));
    desk.inputs.bundle = desk.path("trust");
    assert!(desk.refused(5, "malformed").contains("event proof"));
    desk.inputs.bundle = bundle;
    desk.inputs.trust = desk.path("no-trust");
    assert!(desk.refused(5, "unreadable").contains("no-trust"));
    desk.inputs.trust = desk.path("empty");
    desk.refused(5, "malformed");
    desk.inputs.trust = desk.path("long");
    fs::write(&desk.inputs.trust, vec![b'\n'; 128 * 1024 + 1]).expect("written");
    assert!(desk.refused(5, "malformed").contains("larger than"));
}
