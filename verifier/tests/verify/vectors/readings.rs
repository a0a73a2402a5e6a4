//! Cases that decide between two readings of a sentence in SPEC.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use evidence::chain::Role;
use evidence::statement::{Action, Gap, Heads, Reason, SignedStatement, Statement, Summary, heads_root};
use evidence::{Algorithm, EventProof, sha256};

use super::cases::{ENTRIES, EVENTS, FRAME, LEAVES, RECORD};
use super::form::{Case, Change, Inputs};
use super::{Files, Golden};
use crate::common::bundles::Bundle;
use crate::common::{Batch, Event, Ledger, T0, key, stream};

const MANIFEST: &str = "bundle/manifest";
const PROOF: &str = "event-proof";

impl Golden {
    pub(super) fn readings(&self) -> Vec<Case> {
        [
            self.expectations(),
            self.named_entries(),
            self.named_events(),
            self.empty_offsets(),
            self.distrusted(),
            self.refused(),
            self.contradicted(),
            self.event_proofs(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn expectations(&self) -> Vec<Case> {
        let expect = |expect| Inputs { expect: vec![expect], ..Inputs::default() };
        let comment = Change::splice("trust", self.files["trust"].len(), 0, b"# \xff\n");
        vec![
            self.case("a partition of 2^31", vec![], expect("orders/2147483648"), 2, None),
            self.case(
                "the last partition that there can be",
                vec![],
                expect("orders/2147483647"),
                3,
                Some(("no-such-stream", "")),
            ),
            self.case(
                "gaps of all reasons are accepted",
                vec![],
                Inputs { accept_gap: vec!["all"], ..Inputs::default() },
                0,
                None,
            ),
            self.damaged("the policy in the trust file is not UTF-8", vec![comment], 5, "malformed", "trust"),
        ]
    }

    /// The entry that is named of a run without the checkpoint's root.
    fn named_entries(&self) -> Vec<Case> {
        let altered = |name, change, entry| self.damaged(name, vec![change], 1, "altered-entry", entry);
        let time = |seq| self.in_entry(seq, "\ntime 1799999000000\n", "\ntime 1799999000001\n");
        let prev = {
            let text = String::from_utf8_lossy(&self.files[ENTRIES]);
            let line = text.split_once("\nseq 6\n").expect("an entry").1.lines().next().expect("a line");
            self.in_entry(6, line, &format!("prev {}", sha256(b"another")))
        };
        vec![
            altered("an entry's time is changed", time(6), "entry 6"),
            altered("an entry names another one before it", prev, "entry 6"),
            altered("the time of the last entry but one is changed", time(9), "entry 10"),
            altered("the time of the last entry is changed", time(10), "entry 5"),
            altered("an entry says another seq", self.in_entry(8, "seq 8\n", "seq 9\n"), "entry 8"),
            altered(
                "an entry signed by a key of the same run is changed",
                self.in_entry(3, "watermarks 4 4", "watermarks 4 5"),
                "entry 0",
            ),
        ]
    }

    /// Findings about events that differ from the leaf index.
    fn named_events(&self) -> Vec<Case> {
        let events = &self.files[EVENTS];
        let length = u32::from_be_bytes(events[FRAME + 17..FRAME + RECORD].try_into().expect("four bytes"));
        // The batch of entry 5: offsets 4, 5, 7 and 8, all of one length.
        let record = RECORD + length as usize;
        let at = |number: usize| FRAME + number * record;
        let part = |number: usize| events[at(number)..at(number + 1)].to_vec();
        let in_place_of_6 = [&[0, 0, 0, 0, 0, 0, 0, 6], &part(2)[8..]].concat();
        let without = |from: usize, count: usize| {
            let left = 4 - count as u32;
            let (old, new) = (events.len(), events.len() - count * record);
            vec![
                Change::splice(EVENTS, at(from), count * record, b""),
                Change::splice(EVENTS, 8, 4, &left.to_be_bytes()),
                self.replace(MANIFEST, &format!(" {old}\n"), &format!(" {new}\n")),
            ]
        };
        let row = |number: usize| {
            let at = FRAME + 64 * number + 20;
            Change::splice(LEAVES, at, 1, &[self.files[LEAVES][at] ^ 1])
        };
        let value = Change::splice(EVENTS, at(1) + record - 1, 1, b"X");
        let swapped = Change::splice(EVENTS, at(0), 2 * record, &[part(1), part(0)].concat());
        let later = || self.replace(MANIFEST, "orders 0 0 0 13", "orders 0 0 7 13");
        let batch = Some(("altered-batch", "- orders 0 0, 4..9, entry 5"));
        let elsewhere = Inputs { expect: vec!["orders/0#0@11..13"], ..Inputs::default() };
        let from_7 = Inputs { expect: vec!["orders/0#0@7..13"], ..Inputs::default() };
        vec![
            self.damaged(
                "an event comes after one that was added",
                vec![Change::splice(EVENTS, at(1), 2 * record, &[in_place_of_6, part(1)].concat())],
                1,
                "reordered-event",
                "- orders 0 0, 5..6, entry 5",
            ),
            self.damaged(
                "events are absent that are neighbours in the leaf index",
                without(1, 2),
                3,
                "absent-event",
                "- orders 0 0, 5..8, entry 5",
            ),
            self.case(
                "an event and the leaf index are changed, where nothing is expected",
                vec![value, row(2)],
                elsewhere.clone(),
                1,
                batch,
            ),
            self.case(
                "an event is absent and the leaf index is changed, where nothing is expected",
                without(3, 1).into_iter().chain([row(1)]).collect(),
                elsewhere,
                1,
                batch,
            ),
            self.case("events beside the offsets of the manifest", vec![later()], from_7.clone(), 0, None),
            self.case(
                "events beside the offsets of the manifest change places",
                vec![later(), swapped],
                from_7,
                1,
                Some(("added-event", "- orders 0 0, 4..5, entry 5")),
            ),
        ]
    }

    /// A stream without offsets in the bundle has no frames.
    fn empty_offsets(&self) -> Vec<Case> {
        let (leaves, events) = (self.files[LEAVES].len(), self.files[EVENTS].len());
        let nothing = |offset| {
            let line = format!("orders 0 0 0 13 {leaves} {events}");
            vec![
                self.replace(MANIFEST, &line, &format!("orders 0 0 {offset} {offset} 0 0")),
                Change::absent(LEAVES),
                Change::absent(EVENTS),
            ]
        };
        vec![
            self.damaged(
                "the manifest's range is empty, within a batch",
                nothing(5),
                3,
                "uncovered",
                "- orders 0 0, 4..5, entry 5",
            ),
            self.damaged(
                "the manifest's range is empty, beside the batches",
                nothing(13),
                3,
                "uncovered",
                "- orders 0 0, 4..9, entry 5",
            ),
        ]
    }

    /// | seq | what |
    /// |---|---|
    /// | 0 to 2 | genesis, grants of ingest-a and anchor-a |
    /// | 3 | orders/0, a gap of 4 offsets at its start, by ingest-a |
    /// | 4 | orders/0, offsets 4 and 5 |
    /// | 5 | ingest-a is revoked and distrusted from entry 3 on |
    /// | 6 | heads |
    fn distrusted(&self) -> Vec<Case> {
        let mut ledger = Ledger::new();
        let orders = stream("orders", 0, 0);
        let Summary { ledger: id, stream, topic_id, first, next, prev, .. } = ledger.summary(&orders, 0..4, &[]);
        let gap = Gap { ledger: id, stream, topic_id, first, next, reason: Reason::Start, low: 4, high: 4, prev };
        ledger.append(SignedStatement::sign(Statement::Gap(gap), &[&ledger.ingest]));
        ledger.seal(&orders, 2);
        let ingest = ledger.ingest.verifier_key().clone();
        ledger.revoke(Role::Ingest, ingest, Some(3));
        ledger.heads();
        let with = |seqs: &[u64]| {
            let mut bundle = ledger.bundle_of(&seqs.iter().copied().collect(), 7);
            bundle.streams = vec![ledger.stream(&orders, 0..6)];
            self.instead(&ledger, bundle)
        };
        let accept = |reason| Inputs { accept_gap: vec![reason], clone: false, ..Inputs::default() };
        let gap = Some(("distrusted-key", "- orders 0 0, 0..4, entry 3"));
        let all = || with(&[0, 1, 2, 3, 4, 5, 6]);
        vec![
            self.case("a gap by a distrusted key, of a reason that is accepted", all(), accept("start"), 3, gap),
            self.case("a gap by a distrusted key, of a reason that is not", all(), accept("retention"), 3, gap),
            self.case(
                "the revocation is not in the bundle",
                with(&[0, 1, 2, 3, 4, 6]),
                accept("start"),
                3,
                Some(("absent-entry", "entry 5")),
            ),
        ]
    }

    /// The checks after a refused entry of a dishonest log.
    ///
    /// | seq | what |
    /// |---|---|
    /// | 3 | orders/0, offsets 0 and 1 |
    /// | 4 | orders/0, offsets 3 and 4, where offset 2 is due |
    /// | 5 | ingest-a is revoked and distrusted from entry 3 on |
    /// | 6 | heads |
    fn refused(&self) -> Vec<Case> {
        let mut ledger = Ledger::new();
        let orders = stream("orders", 0, 0);
        ledger.seal(&orders, 2);
        let events: Vec<Event> = [3, 4].map(|offset| Event::new(offset, b"value")).into();
        let summary = ledger.summary(&orders, 3..5, &events);
        ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
        let ingest = ledger.ingest.verifier_key().clone();
        let revoke = ledger.key_statement(Action::Revoke, Role::Ingest, ingest, Some(3));
        ledger.force(SignedStatement::sign(revoke, &[&ledger.operator]));
        ledger.heads_after_force();
        let bundle = |heads: &dyn Fn(&mut u64)| {
            let mut bundle = ledger.bundle_of(&(0..7).collect(), 7);
            bundle.streams = vec![ledger.stream(&orders, 0..5)];
            heads(&mut bundle.heads.as_mut().expect("there are some")[0].next);
            self.instead(&ledger, bundle)
        };
        let inputs = || Inputs { expect: vec!["orders/0#0@0..9"], clone: false, ..Inputs::default() };
        let distrusted = Some(("distrusted-key", "- orders 0 0, 0..2, entry 3"));
        let contradicts = Some(("heads-contradict", "- orders 0 0, 0..2, entry 3"));
        vec![
            self.case("a key is distrusted after an entry that is refused", bundle(&|_| ()), inputs(), 1, distrusted),
            self.case(
                "a heads line is changed, and an entry before the heads entry is refused",
                bundle(&|next| *next = 1),
                inputs(),
                1,
                contradicts,
            ),
        ]
    }

    /// A dishonest log whose statements contradict each other or their events, and what is still proven.
    fn contradicted(&self) -> Vec<Case> {
        let orders = stream("orders", 0, 0);
        let shorter = {
            let mut ledger = Ledger::new();
            ledger.seal(&orders, 2);
            ledger.seal(&stream("payments", 0, 0), 1);
            let mut lines: Vec<_> = ledger.state.streams().lines().collect();
            lines.retain(|line| line.stream == orders);
            lines[0].next = 1;
            let (streams, root) = (1, heads_root(lines.clone()));
            let heads = Heads { ledger: ledger.state.ledger().clone(), streams, root };
            let seq = ledger.force(SignedStatement::sign(Statement::Heads(heads), &[&ledger.log]));
            ledger.heads.insert(seq, lines);
            let mut bundle = ledger.bundle_of(&BTreeSet::from([0, 1, 2, 3, 5]), 6);
            bundle.streams = vec![ledger.stream(&orders, 0..2)];
            self.instead(&ledger, bundle)
        };
        let longer = {
            let mut ledger = Ledger::new();
            let events: Vec<Event> = [0, 1].map(|offset| Event::new(offset, b"value")).into();
            let summary = ledger.summary(&orders, 0..2, &events);
            let summary = Statement::Summary(Summary { bytes: summary.bytes + 1, ..summary });
            let seq = ledger.append(SignedStatement::sign(summary, &[&ledger.ingest]));
            ledger.batches.insert(orders.clone(), vec![Batch { seq, events }]);
            let mut bundle = ledger.bundle_of(&(0..4).collect(), 4);
            bundle.streams = vec![ledger.stream(&orders, 0..2)];
            self.instead(&ledger, bundle)
        };
        let inputs = || Inputs { expect: vec!["orders/0#0@0..2"], clone: false, ..Inputs::default() };
        let found = |code| Some((code, "- orders 0 0, 0..2, entry 3"));
        vec![
            self.case("heads that contradict a batch", shorter, inputs(), 1, found("heads-contradict")),
            self.case("a summary with too many bytes", longer, inputs(), 1, found("false-summary")),
        ]
    }

    fn event_proofs(&self) -> Vec<Case> {
        let inputs = || Inputs { event_proof: true, expect: vec![], ..Inputs::default() };
        let by_witness = || Inputs { clone: false, ..inputs() };
        let changed = |change: &dyn Fn(&mut EventProof)| {
            let mut proof = self.event_proof();
            change(&mut proof);
            self.other_proof(&proof)
        };
        // The last entry grants a key: entry 3 seals orders/0, entry 4 grants ingest-b.
        let key_is_last = |change: &dyn Fn(&mut EventProof)| {
            let mut ledger = Ledger::new();
            ledger.seal(&stream("orders", 0, 0), 2);
            ledger.grant(Role::Ingest, key("ingest-b", Algorithm::Ed25519, 70).verifier_key().clone());
            let mut proof = ledger.event_proof(&stream("orders", 0, 0), 1, 5);
            proof.proof.checkpoint = self.cosigned_in(&ledger, 5);
            change(&mut proof);
            self.other_proof(&proof)
        };
        let long = Change::repeat(PROOF, self.files[PROOF].len(), b'\n', 64 << 20);
        vec![
            self.case("an event proof", vec![], inputs(), 0, None),
            self.case(
                "an event proof of another event than the expected one",
                vec![],
                Inputs { expect: vec!["orders/0#0@7..8"], ..inputs() },
                3,
                Some(("uncovered", "- orders 0 0, 7..8")),
            ),
            self.case("an event proof of more than 64 MiB", vec![long], inputs(), 5, Some(("malformed", PROOF))),
            self.case(
                "an event proof with its key entries in another order",
                changed(&|proof| proof.keys.swap(1, 2)),
                inputs(),
                1,
                Some(("wrong-keys", PROOF)),
            ),
            self.case(
                "an event proof without a key entry",
                changed(&|proof| drop(proof.keys.remove(2))),
                inputs(),
                3,
                Some(("absent-entry", "event-proof, entry 5")),
            ),
            self.case("an event proof whose last entry is a key entry", key_is_last(&|_| ()), by_witness(), 0, None),
            self.case(
                "an event proof whose last entry is a key entry that is not among them",
                key_is_last(&|proof| drop(proof.keys.pop())),
                by_witness(),
                3,
                Some(("absent-entry", "event-proof, entry 4")),
            ),
            self.case(
                "an event proof whose last entry is a key entry that is not the last among them",
                key_is_last(&|proof| proof.keys.swap(2, 3)),
                by_witness(),
                1,
                Some(("wrong-keys", "event-proof, entry 3")),
            ),
        ]
    }

    /// The checkpoint of another ledger with the same genesis and keys, as the golden one is cosigned.
    fn cosigned_in(&self, ledger: &Ledger, size: u64) -> evidence::SignedCheckpoint {
        let mut signed = ledger.cosigned(size, T0 + 60);
        signed.cosign(&self.witness, T0 + 61);
        signed
    }

    /// Replaces the golden bundle by one of another ledger with the same genesis and keys.
    fn instead(&self, ledger: &Ledger, mut bundle: Bundle) -> Vec<Change> {
        bundle.checkpoint = self.cosigned_in(ledger, ledger.size()).to_bytes();
        let folder = tempfile::tempdir().expect("a folder");
        bundle.write(&folder.path().join("bundle"));
        let mut written: Files = BTreeMap::new();
        for file in crate::hostile::files(folder.path()) {
            let name = file.strip_prefix(folder.path()).expect("inside").display().to_string();
            written.insert(name, fs::read(&file).expect("read"));
        }
        let mut changes = Vec::new();
        for (name, old) in self.files.iter().filter(|(name, _)| name.starts_with("bundle/")) {
            match written.remove(name) {
                Some(new) => changes.push(Change::rewrite(name, old, &new)),
                None => changes.push(Change::absent(name)),
            }
        }
        changes.extend(written.iter().map(|(name, new)| Change::rewrite(name, &[], new)));
        changes
    }

    fn other_proof(&self, proof: &EventProof) -> Vec<Change> {
        vec![Change::rewrite(PROOF, &self.files[PROOF], &proof.to_bytes())]
    }

    /// A change in the text of one entry.
    fn in_entry(&self, seq: u64, from: &str, to: &str) -> Change {
        let begin = self.find(ENTRIES, &format!("streamseal/entry@v1\nseq {seq}\n"));
        let rest = &self.files[ENTRIES][begin..];
        let at = rest.windows(from.len()).position(|window| window == from.as_bytes()).expect("there");
        Change::splice(ENTRIES, begin + at, from.len(), to.as_bytes())
    }
}
