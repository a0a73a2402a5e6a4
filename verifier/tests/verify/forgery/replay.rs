//! True evidence in the wrong place: of another ledger with the same origin, another stream, another time.

use std::fs;
use std::path::Path;

use evidence::SignedCheckpoint;

use super::{Forger, refused};
use crate::common::bundles::Desk;
use crate::common::{T0, stream};
use crate::hostile::files;

/// Puts every file of the desk's bundle in place of the file with the same name, and of each other file.
fn with_files_of(desk: &Desk, other: &Path, what: &str) {
    let honest = files(&desk.inputs.bundle);
    for target in &honest {
        let bytes = fs::read(target).expect("read");
        for source in files(other) {
            let replayed = fs::read(&source).expect("read");
            if replayed == bytes {
                continue;
            }
            fs::write(target, replayed).expect("written");
            let report = desk.verify();
            refused(&report, &[1, 3, 5], &format!("{what}: {} as {}", source.display(), target.display()));
        }
        fs::write(target, bytes).expect("written");
    }
    desk.proven();
}

#[test]
fn files_of_ledger_with_same_origin_are_refused() {
    let desk = Forger::new().desk(true);
    let other = desk.path("other");
    Forger::with_nonce(b"another").bundle().write(&other);
    with_files_of(&desk, &other, "another ledger");
}

#[test]
fn files_of_another_time_are_refused() {
    let desk = Forger::new().desk(true);
    let mut later = Forger::new();
    later.ledger.seal(&stream("orders", 0, 1), 2);
    later.ledger.heads();
    let other = desk.path("later");
    later.bundle().write(&other);
    with_files_of(&desk, &other, "later");
}

#[test]
fn files_of_another_stream_are_refused() {
    let desk = Forger::new().desk(true);
    let other = desk.path("same");
    Forger::new().bundle().write(&other);
    with_files_of(&desk, &other, "another stream");
}

#[test]
fn whole_bundle_of_another_ledger_is_refused() {
    let mut desk = Forger::new().desk(true);
    let mut other = Forger::with_nonce(b"another").bundle();
    refused(&desk.put(&other).verify(), &[1], "another ledger");
    other.genesis = Forger::new().ledger.genesis();
    refused(&desk.put(&other).verify(), &[1], "another ledger under this genesis");
    // A bundle beside an older clone is not anchored, however it is cosigned.
    let mut later = Forger::new();
    later.ledger.seal(&stream("orders", 0, 1), 2);
    later.ledger.heads();
    refused(&desk.put(&later.bundle()).verify(), &[4], "later");
}

#[test]
fn cosignatures_of_another_checkpoint_are_refused() {
    let forger = Forger::new();
    let mut desk = forger.desk(false);
    let own = forger.cosigned(12, T0 + 60);
    let others = [
        ("an older head", forger.cosigned(5, T0 + 60)),
        ("another ledger's head", Forger::with_nonce(b"another").cosigned(12, T0 + 60)),
    ];
    for (what, other) in others {
        let lines: Vec<_> = own.note().signatures().cloned().collect();
        for (i, replayed) in other.note().signatures().enumerate() {
            // Instead of the right line, and beside it.
            for keep in [false, true] {
                let mut text = own.note().text().to_owned() + "\n";
                for (j, line) in lines.iter().enumerate().filter(|(j, _)| keep || *j != i) {
                    text += &format!("{}\n", line.to_line());
                    if i == j {
                        text += &format!("{}\n", replayed.to_line());
                    }
                }
                if !keep {
                    text += &format!("{}\n", replayed.to_line());
                }
                let mut bundle = forger.bundle();
                bundle.checkpoint = text.into_bytes();
                let report = desk.put(&bundle).verify();
                refused(&report, &[1], &format!("line {i} of {what}, kept: {keep}"));
                assert!(report.findings[0].code.as_str() == "bad-signature", "{report}");
            }
        }
        let mut bundle = forger.bundle();
        bundle.checkpoint = SignedCheckpoint::to_bytes(&other);
        refused(&desk.put(&bundle).verify(), &[1, 5], what);
    }
}
