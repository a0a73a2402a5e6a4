//! Cases with another bundle: one of the same ledger that lacks something, or one some entries later.

use std::collections::BTreeSet;
use std::fs;

use evidence::{Note, SignedCheckpoint};

use super::Golden;
use super::form::{Case, Change, Inputs};
use crate::common::bundles::Bundle;
use crate::common::{T0, stream};

impl Golden {
    pub(super) fn replaced(&self) -> Vec<Case> {
        [self.merged_signatures(), self.doubly_damaged(), vec![self.stream_that_began()]]
            .into_iter()
            .flatten()
            .collect()
    }

    /// More lines on the bundle's checkpoint.
    fn merged_signatures(&self) -> Vec<Case> {
        let signed = |sign: &dyn Fn(&mut Note)| {
            let mut note = self.cosigned(11, 60).note().clone();
            sign(&mut note);
            let checkpoint = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint").to_bytes();
            vec![self.whole("bundle/checkpoint", &checkpoint)]
        };
        let alone = Inputs { clone: false, ..Inputs::default() };
        let of_another = self.cosigned(5, 0).note().signatures().last().expect("cosigned").clone();
        vec![
            self.case(
                "witnesses cosigned the bundle's checkpoint several times, and the log signed it twice",
                signed(&|note| {
                    note.sign(&self.ledger.log);
                    [(&self.witness, 30), (&self.witness, 90), (&self.ledger.anchor, 20), (&self.ledger.anchor, 60)]
                        .into_iter()
                        .for_each(|(key, after_s)| note.cosign(key, T0 + after_s));
                }),
                alone.clone(),
                0,
                None,
            ),
            self.case(
                "a second line of a witness is no cosignature of this checkpoint",
                signed(&|note| note.add_signature(of_another.clone())),
                alone,
                1,
                Some(("bad-signature", "checkpoint")),
            ),
        ]
    }

    /// Absent or malformed evidence does not hide a changed event.
    fn doubly_damaged(&self) -> Vec<Case> {
        let changed = |bundle: &Bundle| {
            let mut bundle = bundle.clone();
            bundle.batch(5).events[1].timestamp += 1;
            self.bundle_instead(&bundle)
        };
        let no_grant = self.bundle_without(&[1, 4]);
        let event = Some(("altered-event", "- orders 0 0, 5..6, entry 5"));
        let mut two_lines = self.bundle_without(&[4]);
        let lines = two_lines.heads.as_mut().expect("has heads");
        lines.swap(0, 1);
        vec![
            self.damaged("a key entry is absent", self.bundle_instead(&no_grant), 3, "absent-entry", "entry 1"),
            self.case(
                "a key entry is absent, and an event is changed that was sealed after it",
                changed(&no_grant),
                Inputs::default(),
                1,
                event,
            ),
            self.case(
                "the heads lines are out of order, and an event is changed",
                changed(&two_lines),
                Inputs::default(),
                1,
                event,
            ),
        ]
    }

    /// An epoch at the end of the one before, without sealed events.
    fn stream_that_began(&self) -> Case {
        let mut ledger = Self::ledger(4);
        let second = stream("orders", 0, 1);
        let third = ledger.epoch(&second, 13);
        ledger.heads();
        let later = Self { ledger, witness: self.witness.clone(), files: self.files.clone() };
        let mut bundle = later.bundle_without(&[4]);
        bundle.streams.push(crate::common::bundles::Stream { id: third, offsets: 0..13, batches: Vec::new() });
        self.case(
            "nothing is sealed yet of an epoch that begins where the one before ended",
            self.bundle_instead(&bundle),
            Inputs { clone: false, ..Inputs::default() },
            0,
            None,
        )
    }

    /// The golden bundle without these entries.
    pub(super) fn bundle_without(&self, skipped: &[u64]) -> Bundle {
        let size = self.ledger.size();
        let seqs: BTreeSet<u64> = (0..size).filter(|seq| !skipped.contains(seq)).collect();
        let mut bundle = self.ledger.bundle_of(&seqs, size);
        bundle.checkpoint = self.cosigned(size, 60).to_bytes();
        let stream = |epoch, offsets| self.ledger.stream(&stream("orders", 0, epoch), offsets);
        bundle.streams = vec![stream(0, 0..13), stream(1, 12..13)];
        bundle.batch(7).leaf_index.clear();
        bundle
    }

    /// The changes that replace the golden bundle by another.
    fn bundle_instead(&self, bundle: &Bundle) -> Vec<Change> {
        let folder = tempfile::tempdir().expect("a folder");
        bundle.write(&folder.path().join("bundle"));
        let mut changes = Vec::new();
        for file in crate::hostile::files(&folder.path().join("bundle")) {
            let name = file.strip_prefix(folder.path()).expect("inside").display().to_string();
            let bytes = fs::read(&file).expect("read");
            if self.files[&name] != bytes {
                changes.push(self.whole(&name, &bytes));
            }
        }
        changes
    }

    /// Replaces a whole file by these bytes.
    fn whole(&self, name: &str, bytes: &[u8]) -> Change {
        Change::splice(name, 0, self.files[name].len(), bytes)
    }
}
