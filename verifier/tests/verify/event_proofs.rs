//! The proof of one event in the place of a bundle.

use evidence::chain::Role;
use evidence::tree::{self, Node, inclusion_nodes};
use evidence::{
    Algorithm, Entry, EventProof, Hash, LeafPreimage, SignedStatement, SigningKey, Statement, StreamId, TimestampType,
    TlogProof, batch, sha256,
};

use crate::common::bundles::Desk;
use crate::common::clones::Anchors;
use crate::common::{Batch, Event, Ledger, T0, key, stream};

impl Ledger {
    fn inclusion(&self, seq: u64, size: u64) -> Vec<Hash> {
        let fold = |group: Vec<Node>| {
            let hashes: Vec<Hash> = group.into_iter().map(|node| self.node(node)).collect();
            hashes.into_iter().rev().reduce(|right, left| tree::node_hash(&left, &right)).expect("a group has nodes")
        };
        inclusion_nodes(seq, size).expect("in the tree").into_iter().map(fold).collect()
    }

    /// The proof of an event in the log of this size.
    pub(crate) fn event_proof(&self, id: &StreamId, offset: i64, size: u64) -> EventProof {
        let mut batches = self.batches[id].iter();
        let batch = batches.find(|batch| batch.events.iter().any(|event| event.offset == offset)).expect("sealed");
        let index = batch.events.iter().position(|event| event.offset == offset).expect("there");
        let leaves: Vec<Hash> = batch.events.iter().map(|event| LeafPreimage::leaf(&event.preimage())).collect();
        let event = &batch.events[index];
        let keys = (0..size).filter(|seq| self.entry(*seq).keys.is_none_or(|_| is_key(self, *seq)));
        EventProof {
            offset: offset as u64,
            timestamp: event.timestamp,
            timestamp_type: TimestampType::Create,
            content: event.content.clone(),
            leaf_index: index as u64,
            leaf_path: batch::prove(&leaves, index),
            entry: self.entries[batch.seq as usize].clone(),
            keys: keys.map(|seq| self.entries[seq as usize].clone()).collect(),
            newest: self.entries[size as usize - 1].clone(),
            newest_path: self.inclusion(size - 1, size),
            proof: TlogProof {
                extra: None,
                index: batch.seq,
                path: self.inclusion(batch.seq, size),
                checkpoint: self.cosigned(size, T0 + 180),
            },
        }
    }
}

fn is_key(ledger: &Ledger, seq: u64) -> bool {
    matches!(ledger.entry(seq).statement.statement(), evidence::Statement::Key(_))
}

pub(crate) fn put(desk: &mut Desk, proof: &EventProof) {
    desk.inputs.bundle = desk.path("event");
    std::fs::write(&desk.inputs.bundle, proof.to_bytes()).expect("written");
}

/// The example ledger, the proof of orders/0 offset 13, and a clone with anchors.
fn desk() -> (Ledger, EventProof, Desk) {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[4, 8, 8, 12]);
    desk.inputs.clones.push(clone);
    let proof = ledger.event_proof(&stream("orders", 0, 0), 13, 12);
    put(&mut desk, &proof);
    (ledger, proof, desk)
}

pub(crate) fn outsider() -> SigningKey {
    key("example.org/w", Algorithm::Cosignature, 40)
}

/// The same proof, cosigned by an independent witness, without a clone.
fn witnessed() -> (Ledger, EventProof, Desk) {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust_with(&outsider(), "-"));
    let mut proof = ledger.event_proof(&stream("orders", 0, 0), 13, 12);
    // Without the anchor's line: this trust file does not know the anchor.
    proof.proof.checkpoint = ledger.checkpoint(12);
    proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
    put(&mut desk, &proof);
    (ledger, proof, desk)
}

#[test]
fn event_is_proven_with_clone() {
    let (_, _, desk) = desk();
    let report = desk.proven();
    assert!(report.findings.is_empty());
    let [orders] = &report.streams[..] else { panic!("{report}") };
    assert_eq!((orders.stream.to_string(), orders.proven(), orders.events), ("orders/0".into(), &[13..14][..], 1));
    // Entry 5 is first among the 8 entries that were anchored after a minute.
    let anchored = orders.anchored.as_ref().expect("anchored");
    assert_eq!((anchored.size, anchored.words.existed_by_s), (8, Some(T0 + 60)));
    assert_eq!(report.entries, 3 + 2);
    let text = report.to_string();
    assert!(text.contains("Event: offset 13, timestamp 1799999000013 ms"), "{text}");
    assert!(text.contains("key:   \"key\"") && text.contains("value: \"with holes\""), "{text}");
    assert!(text.contains("the other events of the batch"), "{text}");
    let json = report.to_json();
    assert_eq!(
        (json["evidence"].as_str(), json["event"]["value"].as_str()),
        (Some("event proof"), Some("d2l0aCBob2xlcw=="))
    );
}

#[test]
fn event_is_proven_by_independent_witness() {
    let (ledger, _, mut desk) = witnessed();
    assert_eq!(desk.proven().streams[0].anchored.as_ref().and_then(|a| a.words.existed_by_s), Some(T0 + 7));
    // Events of every stream, of a later epoch, and of the last entry.
    let events = [(stream("orders", 1, 0), 4, 2), (stream("orders", 1, 1), 0, 1), (stream("payments", 0, 0), 7, 2)];
    for (stream, offset, beside_keys) in events {
        let mut proof = ledger.event_proof(&stream, offset, 10);
        proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
        put(&mut desk, &proof);
        let report = desk.proven();
        assert_eq!((&report.streams[0].stream, report.entries), (&stream, 3 + beside_keys));
    }
}

#[test]
fn own_anchor_key_alone_does_not_anchor() {
    let (ledger, _, mut desk) = desk();
    desk.inputs.clones.clear();
    desk.refused(4, "not-anchored");
    let proof = ledger.event_proof(&stream("orders", 0, 0), 13, 11);
    put(&mut desk, &proof);
    let clone = desk.path("anchors.git");
    desk.inputs.clones.push(clone);
    assert!(
        desk.refused(4, "not-anchored")
            .contains("no clone has a verified anchor with the event proof's root at size 11")
    );
}

#[test]
fn named_offsets_must_be_the_event() {
    let (_, _, mut desk) = desk();
    desk.expect(&["orders/0#0@13..14"]).proven();
    assert!(desk.expect(&["orders/0#0@12..15"]).refused(3, "uncovered").starts_with("orders/0, offset 12:"));
    desk.expect(&["orders/0#0@14..15"]).refused(3, "uncovered");
    assert!(
        desk.expect(&["orders/1#0@13..14"]).refused(3, "uncovered").contains("the proof is of an event of orders/0")
    );
    desk.expect(&["orders/0#1@13..14"]).refused(3, "uncovered");
    // The proof says nothing about events at these offsets.
    for open in ["orders/0#0", "orders/0@13..14", "orders/*#0@13..14", "*/*@13..14"] {
        desk.expect(&[open]).refused(3, "no-heads");
    }
}

#[test]
fn changed_byte_in_proof_is_never_proven() {
    let (_, proof, desk) = witnessed();
    desk.proven();
    let bytes = proof.to_bytes();
    for i in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[i] ^= 1;
        std::fs::write(&desk.inputs.bundle, &changed).expect("written");
        let report = desk.verify();
        assert_ne!(report.verdict.exit_code(), 0, "byte {i}: {report}");
    }
    for len in (0..bytes.len()).step_by(7) {
        std::fs::write(&desk.inputs.bundle, &bytes[..len]).expect("written");
        let report = desk.verify();
        assert_ne!(report.verdict.exit_code(), 0, "cut at {len}: {report}");
    }
}

#[test]
fn each_forgery_of_proof_has_its_code() {
    let (ledger, proof, mut desk) = witnessed();
    let mut refused = |change: &dyn Fn(&mut EventProof), exit_code, code| {
        let mut changed = proof.clone();
        change(&mut changed);
        put(&mut desk, &changed);
        desk.refused(exit_code, code)
    };
    refused(&|p| p.timestamp += 1, 1, "altered-event");
    refused(&|p| p.leaf_index += 1, 1, "altered-event");
    refused(&|p| p.leaf_path.clear(), 5, "malformed");
    refused(&|p| p.offset = 25, 1, "false-summary");
    let problem = refused(&|p| p.entry = ledger.entries[3].clone(), 1, "altered-entry");
    assert!(problem.contains("entry 5"), "{problem}");
    let problem = refused(&|p| p.newest = ledger.entries[10].clone(), 1, "altered-entry");
    assert!(problem.contains("event, entry 11: the last entry"), "{problem}");
    refused(&|p| drop(p.keys.remove(1)), 3, "absent-entry");
    refused(&|p| drop(p.keys.pop()), 3, "absent-entry");
    refused(&|p| p.keys.clear(), 3, "absent-entry");
    refused(&|p| p.keys.push(p.keys[2].clone()), 1, "wrong-seq");
    let problem = refused(&|p| p.keys[2] = ledger.entries[10].clone(), 5, "malformed");
    assert!(problem.contains("event: key entry 2"), "{problem}");
    refused(&|p| p.keys[2] = b"no entry\n".to_vec(), 5, "malformed");
    let other = Ledger::with_nonce(b"another");
    let problem = refused(&|p| p.keys[0] = other.entries[0].clone(), 1, "wrong-genesis");
    assert!(problem.contains("event: key entry 0"), "{problem}");
    // In a tree of another size one path is too long, and the other leads elsewhere.
    refused(&|p| p.proof.checkpoint = ledger.cosigned(11, T0), 1, "altered-entry");
    let thief = key("example.com/audit", Algorithm::Ed25519, 99);
    let head = proof.proof.checkpoint.checkpoint().clone();
    refused(&|p| p.proof.checkpoint = evidence::SignedCheckpoint::sign(head.clone(), &thief), 1, "not-by-log");
    let elsewhere = key("example.com/other", Algorithm::Ed25519, 2);
    let head = evidence::Checkpoint { origin: "example.com/other".into(), ..head };
    let other_log = evidence::SignedCheckpoint::sign(head, &elsewhere);
    refused(&|p| p.proof.checkpoint = other_log.clone(), 5, "other-ledger");
}

#[test]
fn impossible_key_entry_is_wrong_not_absent() {
    let orders = stream("orders", 0, 0);
    // A key entry of the proof by another hash; the entry itself; a later entry.
    for named in [2, 12, 13] {
        let mut ledger = Ledger::example();
        let events = vec![Event::new(30, b"late")];
        let summary = ledger.summary(&orders, 30..31, &events);
        let seq = ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
        let entry = Entry { keys: Some((named, sha256(b"another"))), ..ledger.entry(seq) };
        ledger.entries[12] = entry.to_bytes();
        ledger.batches.get_mut(&orders).expect("sealed").push(Batch { seq, events });
        let mut proof = ledger.event_proof(&orders, 30, 13);
        proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
        let mut desk = Desk::new(&ledger.trust_with(&outsider(), "-"));
        put(&mut desk, &proof);
        assert!(desk.refused(1, "wrong-keys").contains("event, entry 12:"));
    }
}

#[test]
fn summary_by_distrusted_key_proves_nothing() {
    let mut ledger = Ledger::example();
    let ingest = ledger.ingest.verifier_key().clone();
    ledger.revoke(Role::Ingest, ingest, Some(5));
    let size = ledger.size();
    let mut desk = Desk::new(&ledger.trust_with(&outsider(), "-"));
    let mut prove = |offset| {
        let mut proof = ledger.event_proof(&stream("orders", 0, 0), offset, size);
        proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
        put(&mut desk, &proof);
        desk.verify()
    };
    assert_eq!(prove(9).verdict.exit_code(), 0, "entry 3 is from before");
    let report = prove(13);
    assert_eq!(report.verdict.exit_code(), 3, "{report}");
    assert_eq!((report.findings[0].code.as_str(), report.streams[0].proven()), ("distrusted-key", &[][..]));
    // The revocation is the log's last entry: it may not be missing among the key entries.
    let mut proof = ledger.event_proof(&stream("orders", 0, 0), 13, size);
    proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
    proof.keys.pop();
    put(&mut desk, &proof);
    desk.refused(3, "absent-entry");
}

#[test]
fn proof_is_compared_with_pin() {
    let (ledger, _, mut desk) = desk();
    desk.inputs.pin = Some(desk.path("pin"));
    desk.proven();
    let pin = std::fs::read_to_string(desk.path("pin")).expect("written");
    assert!(pin.contains("size 12\n"), "{pin}");
    // A proof against an older head of the same history, from a clone that has the newer one.
    put(&mut desk, &ledger.event_proof(&stream("orders", 0, 0), 13, 8));
    desk.proven();
    // Without the clone, nothing is as new as the pin.
    desk.inputs.clones.clear();
    desk.refused(1, "rollback");
}

#[test]
fn too_long_proof_is_not_read() {
    let (_, _, desk) = witnessed();
    let file = std::fs::File::options().write(true).open(&desk.inputs.bundle).expect("opened");
    file.set_len(1 << 40).expect("made");
    assert!(desk.refused(5, "malformed").contains("larger than"));
}

/// Of two forgeries in one proof, the graver one decides.
#[test]
fn light_finding_hides_no_contradiction_in_proof() {
    let (ledger, proof, mut desk) = witnessed();
    let light: [(&dyn Fn(&mut EventProof), u8, &str); 6] = [
        (&|p| drop(p.keys.remove(1)), 3, "absent-entry"),
        (&|p| p.keys[2] = b"no entry\n".to_vec(), 5, "malformed"),
        (&|p| p.keys[2] = ledger.entries[10].clone(), 5, "malformed"),
        (&|p| p.keys[2] = b"streamseal/entry@v2\n".to_vec(), 5, "unsupported"),
        (&|p| p.newest_path.truncate(1), 5, "malformed"),
        (&|_| {}, 0, ""),
    ];
    let grave: [(&dyn Fn(&mut EventProof), &str); 5] = [
        (&|p| p.timestamp += 1, "altered-event"),
        (&|p| p.leaf_path.swap(0, 1), "altered-event"),
        (&|p| p.offset = 25, "false-summary"),
        (&|p| p.proof.index = 3, "altered-entry"),
        (&|p| p.entry = ledger.entries[3].clone(), "altered-entry"),
    ];
    for (lighten, exit_code, code) in light {
        let mut changed = proof.clone();
        lighten(&mut changed);
        put(&mut desk, &changed);
        assert_eq!(desk.verify().verdict.exit_code(), exit_code);
        for (worsen, worse) in &grave {
            let mut changed = changed.clone();
            worsen(&mut changed);
            put(&mut desk, &changed);
            desk.refused(1, worse);
        }
        // A short path in the batch does not hide it either, and is no contradiction.
        changed.leaf_path.clear();
        put(&mut desk, &changed);
        desk.refused(if code == "absent-entry" { 3 } else { 5 }, if code.is_empty() { "malformed" } else { code });
    }
}

#[test]
fn incomplete_proof_is_compared_with_anchors() {
    let (ledger, mut proof, mut desk) = desk();
    proof.keys.remove(1);
    put(&mut desk, &proof);
    desk.refused(3, "absent-entry");
    desk.inputs.pin = Some(desk.path("pin"));
    let pin = |size: u64, root: Hash| {
        format!(
            "streamseal/pin@v1\norigin example.com/audit\ngenesis {}\nsize {size}\nroot {root}\nfrom bundle\n",
            ledger.genesis()
        )
    };
    std::fs::write(desk.path("pin"), pin(99, sha256(b"later"))).expect("written");
    desk.refused(1, "rollback");
    std::fs::write(desk.path("pin"), pin(12, sha256(b"another"))).expect("written");
    desk.refused(1, "fork");
}
