//! The changes to the golden evidence, and the finding that each case is about.

use evidence::{Algorithm, Hash, sha256};

use super::form::{Case, Change, Inputs};
use super::{Golden, STREAM_FILE};
use crate::common::{ORIGIN, T0, key};

pub(super) const EVENTS: &str = "bundle/streams/000000/000000.events";
pub(super) const LEAVES: &str = "bundle/streams/000000/000000.leaves";
pub(super) const ENTRIES: &str = "bundle/entries/000000";

/// A frame's header, a record's header, and the content of an event of the vectors.
pub(super) const FRAME: usize = 12;
pub(super) const RECORD: usize = 21;

impl Golden {
    /// The pin file that a first verification leaves.
    pub(super) fn first_pin(&self) -> String {
        let outcome = self.run(&[], &Inputs { pin: true, ..Inputs::default() });
        assert_eq!(outcome.exit_code, 0);
        outcome.pin.expect("written")
    }

    pub(super) fn cases(&self) -> Vec<Case> {
        [
            self.questions(),
            self.damaged_bundles(),
            self.damaged_frames(),
            self.clones(),
            self.trust_files(),
            self.pins(),
            self.readings(),
            self.replaced(),
            self.copies(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A case about a finding with this code at this place, or about no finding.
    pub(super) fn case(
        &self,
        name: &'static str,
        changes: Vec<Change>,
        inputs: Inputs,
        exit_code: u8,
        about: Option<(&str, &str)>,
    ) -> Case {
        let outcome = self.run(&changes, &inputs);
        let places: Vec<_> = outcome.findings.iter().map(|found| (found.code, found.place())).collect();
        assert_eq!(outcome.exit_code, exit_code, "{name}: {places:?}");
        let is_found = about.is_none_or(|(code, place)| places.iter().any(|found| *found == (code, place.to_owned())));
        assert!(is_found && about.is_some() != places.is_empty(), "{name}: {places:?}");
        Case { name, changes, inputs, outcome }
    }

    pub(super) fn damaged(
        &self,
        name: &'static str,
        changes: Vec<Change>,
        exit_code: u8,
        code: &str,
        place: &str,
    ) -> Case {
        self.case(name, changes, Inputs::default(), exit_code, Some((code, place)))
    }

    fn questions(&self) -> Vec<Case> {
        let plain = Inputs::default();
        let expect = |expect| Inputs { expect: vec![expect], ..plain.clone() };
        let late = Inputs { now_s: (T0 + 120 + 86_401).to_string(), ..plain.clone() };
        vec![
            self.case("whole", vec![], plain.clone(), 0, None),
            self.case("part of a stream", vec![], expect("orders/0#0@5..12"), 0, None),
            self.case(
                "the bundle's checkpoint is cosigned by an independent witness, and no clone is given",
                vec![],
                Inputs { clone: false, ..plain.clone() },
                0,
                None,
            ),
            self.case(
                "a gap that is not accepted",
                vec![],
                Inputs { accept_gap: vec!["retention"], ..plain.clone() },
                3,
                Some(("gap", "- orders 0 0, 0..4, entry 3")),
            ),
            self.case(
                "a stream that the bundle does not have",
                vec![],
                Inputs { expect: vec![], ..plain.clone() },
                3,
                Some(("uncovered", "- payments 0 0, 0..2")),
            ),
            self.case(
                "offsets that were not sealed",
                vec![],
                expect("orders/0#1@12..17"),
                3,
                Some(("uncovered", "- orders 0 1, 13..17")),
            ),
            self.case("no such stream", vec![], expect("refunds/*"), 3, Some(("no-such-stream", ""))),
            self.case(
                "offsets before the stream begins",
                vec![],
                expect("orders/0#1@0..12"),
                3,
                Some(("nothing-expected", "- orders 0 1")),
            ),
            self.case("the newest anchor is too old", vec![], late, 4, Some(("stale", ""))),
        ]
    }

    fn damaged_bundles(&self) -> Vec<Case> {
        let manifest = "bundle/manifest";
        let checkpoint = "bundle/checkpoint";
        let signature = self.find(checkpoint, "— example.com/audit ") + "— example.com/audit ".len();
        let heads = self.find("bundle/heads", "- orders 0 0 13");
        // The last byte of the last hash of the run before the left-out entry; the first byte of the run after it.
        let other_hash = self.find(ENTRIES, "streamseal/entry@v1\nseq 5\n") - 2 - 32;
        vec![
            self.damaged(
                "an unknown version",
                vec![self.replace(manifest, "@v1", "@v2")],
                5,
                "unsupported",
                "manifest",
            ),
            self.damaged(
                "another origin",
                vec![self.replace(manifest, "example.com", "example.net")],
                5,
                "other-ledger",
                "manifest",
            ),
            self.damaged(
                "another genesis",
                vec![self.replace(manifest, &self.ledger.genesis().to_string(), &Hash([1; 32]).to_string())],
                1,
                "wrong-genesis",
                "manifest",
            ),
            self.damaged(
                "a length with a leading zero",
                vec![self.replace(manifest, "streams 2", "streams 02")],
                5,
                "malformed",
                "manifest",
            ),
            self.damaged("an unknown file", vec![Change::splice("bundle/notes", 0, 0, b"x")], 5, "malformed", "notes"),
            self.damaged(
                "a file is missing",
                vec![Change::absent(LEAVES)],
                5,
                "malformed",
                "streams/000000/000000.leaves",
            ),
            self.damaged(
                "a signature is changed",
                vec![Change::splice(checkpoint, signature + 12, 1, &[self.files[checkpoint][signature + 12] ^ 1])],
                1,
                "bad-signature",
                "checkpoint",
            ),
            self.damaged(
                "the checkpoint's size is another",
                vec![self.replace(checkpoint, "\n11\n", "\n12\n")],
                1,
                "bad-signature",
                "checkpoint",
            ),
            self.damaged(
                "a byte of an entry is changed",
                vec![self.replace(ENTRIES, "range 11 13", "range 10 13")],
                1,
                "altered-entry",
                "entry 7",
            ),
            self.damaged(
                "a hash beside a run is changed",
                vec![Change::splice(ENTRIES, other_hash, 1, &[self.files[ENTRIES][other_hash] ^ 1])],
                1,
                "altered-entry",
                "entry 5",
            ),
            self.damaged(
                "a heads line is changed",
                vec![Change::splice("bundle/heads", heads, 15, b"- orders 0 0 12")],
                1,
                "altered-heads",
                "heads, entry 10",
            ),
            self.damaged(
                "a heads line is there twice",
                vec![self.replace("bundle/heads", "- orders 0 1 13", "- orders 0 0 13")],
                5,
                "malformed",
                "heads",
            ),
        ]
    }

    fn damaged_frames(&self) -> Vec<Case> {
        let events = &self.files[EVENTS];
        let content = |at: usize| u32::from_be_bytes(events[at + 17..at + RECORD].try_into().expect("four bytes"));
        // The records of the batch of entry 5: offsets 4, 5, 7 and 8, all of one length.
        let record = RECORD + content(FRAME) as usize;
        let at = |number: usize| FRAME + number * record;
        let batch_7 = at(4) + FRAME;
        let value = |at: usize| Change::splice(EVENTS, at + record - 1, 1, b"X");
        let manifest_length = events.len().to_string();
        let shorter = (events.len() - record).to_string();
        let (first, second) = (events[at(0)..at(1)].to_vec(), events[at(1)..at(2)].to_vec());
        vec![
            self.damaged(
                "an event's value is changed",
                vec![value(at(1))],
                1,
                "altered-event",
                "- orders 0 0, 5..6, entry 5",
            ),
            self.damaged(
                "an event's timestamp is changed",
                vec![Change::splice(EVENTS, at(2) + 15, 1, &[events[at(2) + 15] ^ 1])],
                1,
                "altered-event",
                "- orders 0 0, 7..8, entry 5",
            ),
            self.damaged(
                "an event has another offset",
                vec![Change::splice(EVENTS, at(2) + 7, 1, &[6])],
                1,
                "added-event",
                "- orders 0 0, 6..7, entry 5",
            ),
            self.damaged(
                "two events change places",
                vec![Change::splice(EVENTS, at(0), 2 * record, &[second, first].concat())],
                1,
                "reordered-event",
                "- orders 0 0, 4..5, entry 5",
            ),
            self.damaged(
                "an event is absent, as the leaf index shows",
                vec![
                    Change::splice(EVENTS, at(1), record, b""),
                    Change::splice(EVENTS, 8, 4, &3_u32.to_be_bytes()),
                    self.replace("bundle/manifest", &format!(" {manifest_length}\n"), &format!(" {shorter}\n")),
                ],
                3,
                "absent-event",
                "- orders 0 0, 5..6, entry 5",
            ),
            self.damaged(
                "the leaf index is changed",
                vec![Change::splice(LEAVES, FRAME + 20, 1, &[self.files[LEAVES][FRAME + 20] ^ 1])],
                1,
                "altered-leaf-index",
                "- orders 0 0, 4..9, entry 5",
            ),
            self.damaged(
                "an event is changed in a batch without a leaf index",
                vec![Change::splice(EVENTS, batch_7 + 7, 1, &[12])],
                1,
                "altered-batch",
                "- orders 0 0, 11..13, entry 7",
            ),
            self.damaged(
                "a frame of another entry",
                vec![Change::splice(LEAVES, 7, 1, &[6])],
                5,
                "malformed",
                "streams/000000/000000.leaves",
            ),
            self.damaged(
                "a record that is longer than what is left",
                vec![Change::splice(EVENTS, at(3) + 17, 4, &[0, 0, 255, 255])],
                5,
                "malformed",
                "streams/000000/000000.events",
            ),
        ]
    }

    fn clones(&self) -> Vec<Case> {
        let stream = &self.files[STREAM_FILE];
        let text = String::from_utf8(stream.clone()).expect("text");
        // In both files of the second anchor.
        let places: Vec<usize> = text.match_indices("\n11\n").take(2).map(|(at, _)| at).collect();
        let sizes = places.iter().map(|at| Change::splice(STREAM_FILE, *at, 4, b"\n10\n")).collect();
        let end_of_first = text.match_indices("commit refs").nth(1).expect("three commits").0;
        let checkpoint = self.cosigned(5, 0).to_bytes();
        let hex = |id: git2::Oid| id.to_string();
        let blob = hex(git2::Oid::hash_object(git2::ObjectType::Blob, &checkpoint).expect("hashed"));
        let blob = format!("anchors.git/objects/{}/{}", &blob[..2], &blob[2..]);
        let second = text.match_indices("data 7\n").nth(1).expect("three commits").0;
        let in_second = |from: &str| second + text[second..].find(from).expect("there");
        let old_size = in_second("\nold 5\n") + "\nold ".len();
        vec![
            self.damaged(
                "an anchor has another size than was signed",
                sizes,
                1,
                "bad-signature",
                "anchors.git, commit",
            ),
            self.damaged(
                "the two files of an anchor differ",
                vec![Change::splice(STREAM_FILE, places[0], 4, b"\n10\n")],
                1,
                "altered-anchor",
                "anchors.git, commit",
            ),
            self.damaged(
                "an anchor that follows from another one",
                vec![Change::splice(STREAM_FILE, old_size, 1, b"4")],
                1,
                "inconsistent-anchors",
                "anchors.git, commit",
            ),
            self.damaged(
                "the first anchor is gone",
                vec![Change::splice(STREAM_FILE, 0, end_of_first, b"")],
                1,
                "inconsistent-anchors",
                "anchors.git, commit",
            ),
            self.damaged(
                "only the first anchor is there",
                vec![Change::splice(STREAM_FILE, end_of_first, stream.len() - end_of_first, b"")],
                4,
                "not-anchored",
                "bundle/checkpoint".strip_prefix("bundle/").expect("inside"),
            ),
            self.damaged(
                "an object is absent",
                vec![Change::absent(blob)],
                3,
                "incomplete-clone",
                "anchors.git, commit",
            ),
            self.damaged(
                "a third file beside an anchor",
                vec![Change::splice(
                    STREAM_FILE,
                    in_second("M 100644"),
                    0,
                    format!("M 100644 inline logs/{}/notes\ndata 1\nx\n", crate::common::clones::folder(ORIGIN))
                        .as_bytes(),
                )],
                5,
                "unreadable-clone",
                "anchors.git, commit",
            ),
        ]
    }

    fn trust_files(&self) -> Vec<Case> {
        let other_log = key(ORIGIN, Algorithm::Ed25519, 61);
        let log = self.ledger.log.verifier_key().to_string();
        let genesis = self.ledger.genesis().to_string();
        vec![
            self.damaged(
                "the trust file names another log key",
                vec![self.replace("trust", &log, &other_log.verifier_key().to_string())],
                1,
                "not-by-log",
                "checkpoint",
            ),
            self.damaged(
                "the trust file names another genesis",
                vec![self.replace("trust", &genesis, &sha256(b"another").to_string())],
                1,
                "wrong-genesis",
                "manifest",
            ),
            self.damaged(
                "the trust file has no quorum",
                vec![self.replace("trust", "quorum both\n", "")],
                5,
                "malformed",
                "trust",
            ),
            self.case(
                "only a witness whom the quorum does not count is independent",
                vec![self.replace("trust", "quorum both", "quorum anchor-a")],
                Inputs { clone: false, ..Inputs::default() },
                4,
                Some(("not-anchored", "checkpoint")),
            ),
        ]
    }

    fn pins(&self) -> Vec<Case> {
        let pinned = Inputs { pin: true, ..Inputs::default() };
        let root = self.ledger.root(11).to_string();
        let pin = |name, changes, exit_code, about| self.case(name, changes, pinned.clone(), exit_code, about);
        vec![
            pin("a first pin", vec![Change::absent("pin")], 0, None),
            pin("the pin was seen before", vec![], 0, None),
            pin("an older pin", vec![self.replace("pin", "size 11", "size 5"), self.replace_root(5)], 0, None),
            pin(
                "a larger head was seen before",
                vec![self.replace("pin", "size 11", "size 12")],
                1,
                Some(("rollback", "pin")),
            ),
            pin(
                "another head of this size was seen before",
                vec![self.replace("pin", &root, &sha256(b"another").to_string())],
                1,
                Some(("fork", "pin")),
            ),
            pin(
                "a head that came from Git is in no clone",
                vec![self.replace("pin", "size 11", "size 7"), self.replace_root(7)],
                1,
                Some(("rewritten-history", "anchors.git")),
            ),
            pin(
                "a pin of another ledger",
                vec![self.replace("pin", "origin example.com", "origin example.net")],
                5,
                Some(("other-ledger", "pin")),
            ),
            pin(
                "a pin file without its last line",
                vec![self.replace("pin", "from git\n", "")],
                5,
                Some(("unreadable-pin", "pin")),
            ),
            pin(
                "a contradiction is not pinned",
                vec![Change::absent("pin"), self.replace(ENTRIES, "range 11 13", "range 10 13")],
                1,
                Some(("altered-entry", "entry 7")),
            ),
        ]
    }

    /// Changes the root in the pin file, after its size lost a digit.
    pub(super) fn replace_root(&self, size: u64) -> Change {
        let root = self.ledger.root(11).to_string();
        let at = self.find("pin", &root) - 1;
        Change::splice("pin", at, root.len(), self.ledger.root(size).to_string().as_bytes())
    }

    pub(super) fn find(&self, file: &str, text: &str) -> usize {
        let bytes = &self.files[file];
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("there")
    }

    pub(super) fn replace(&self, file: &str, from: &str, to: &str) -> Change {
        Change::splice(file, self.find(file, from), from.len(), to.as_bytes())
    }
}
