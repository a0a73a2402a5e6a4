//! Several signature lines of one key on one checkpoint, as a relay that merges checkpoints leaves them.

use evidence::{Algorithm, Note, SignedCheckpoint, SigningKey};

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Ledger, T0, key};

fn witness() -> SigningKey {
    key("witness.example/w", Algorithm::Cosignature, 50)
}

/// The checkpoint of the whole ledger with more lines.
fn with_lines(ledger: &Ledger, sign: impl FnOnce(&mut Note)) -> SignedCheckpoint {
    let mut note = ledger.checkpoint(ledger.size()).note().clone();
    sign(&mut note);
    SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint")
}

/// A bundle under such a checkpoint, a trust file with an independent witness, and no clone.
fn desk(ledger: &Ledger, sign: impl FnOnce(&mut Note)) -> Desk {
    let mut desk = Desk::new(&ledger.trust_with(&witness(), "86400"));
    let mut bundle = ledger.bundle();
    bundle.checkpoint = with_lines(ledger, sign).to_bytes();
    desk.put(&bundle);
    desk
}

#[test]
fn repeated_cosignatures_give_first_and_last_time() {
    let ledger = Ledger::example();
    for times in [[T0 + 3, T0 + 600], [T0 + 600, T0 + 3]] {
        let report = desk(&ledger, |note| times.iter().for_each(|time| note.cosign(&witness(), *time))).proven();
        let (_, words) = report.checkpoint.as_ref().expect("a checkpoint");
        assert_eq!((words.existed_by_s, words.newest_at_s), (Some(T0 + 3), Some(T0 + 600)));
        assert_eq!(words.witnesses.iter().map(|word| word.time_s).collect::<Vec<_>>(), [T0 + 3], "one witness");
        assert_eq!(report.newest_at_s, Some(T0 + 600));
    }
}

#[test]
fn repeated_log_and_anchor_lines_are_allowed() {
    let ledger = Ledger::example();
    desk(&ledger, |note| {
        note.sign(&ledger.log);
        [T0, T0 + 60, T0].iter().for_each(|time| note.cosign(&ledger.anchor, *time));
        note.cosign(&witness(), T0);
    })
    .proven();
}

#[test]
fn one_invalid_line_refuses_the_checkpoint() {
    let ledger = Ledger::example();
    let mut other = ledger.checkpoint(ledger.size() - 1);
    other.cosign(&ledger.anchor, T0);
    other.cosign(&witness(), T0);
    for line in other.note().signatures() {
        for first in [true, false] {
            let desk = desk(&ledger, |note| {
                let add = |note: &mut Note| note.add_signature(line.clone());
                if first {
                    add(note);
                }
                note.cosign(&ledger.anchor, T0);
                note.cosign(&witness(), T0);
                if !first {
                    add(note);
                }
            });
            assert!(desk.refused(1, "bad-signature").contains(line.name()));
        }
    }
}

#[test]
fn merged_cosignatures_may_follow_each_other() {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    desk.put(&ledger.bundle());
    let clone = desk.path("anchors.git");
    let size = ledger.size();
    let anchors = Anchors::new(&clone);
    let times: [&[u64]; 3] = [&[T0], &[T0 + 60, T0], &[T0, T0 + 60, T0 + 120]];
    for (i, times) in times.into_iter().enumerate() {
        let merged = with_lines(&ledger, |note| times.iter().for_each(|time| note.cosign(&ledger.anchor, *time)));
        anchors.commit(if i == 0 { 0 } else { size }, Vec::new(), &merged);
    }
    desk.inputs.clones.push(clone);
    let report = desk.proven();
    let anchored = report.streams[0].anchored.as_ref().expect("anchored");
    assert_eq!((anchored.words.existed_by_s, report.newest_at_s), (Some(T0), Some(T0 + 120)));
    // One time before that of the older anchor is a step back, even beside later times.
    let back = with_lines(&ledger, |note| [T0 + 300, T0 - 1].iter().for_each(|t| note.cosign(&ledger.anchor, *t)));
    anchors.commit(size, Vec::new(), &back);
    desk.refused(1, "time-backwards");
}
