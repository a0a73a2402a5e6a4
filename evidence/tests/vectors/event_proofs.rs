//! Event proofs of a ledger with a few batches, and forged ones.

mod ledger;

use evidence::chain::State;
use evidence::policy::Policy;
use evidence::statement::{LastEvent, Role, Summary};
use evidence::{
    Checkpoint, Entry, EventProof, EventProofChecker, EventProofError, SignedCheckpoint, SignedStatement, SigningKey,
    Statement, TimestampType, TlogProof, tree,
};
use serde::Serialize;

use self::ledger::{BATCHES, Ledger};
use crate::batches::tree_code;
use crate::fixture::{KeyRing, ORIGIN, genesis, stream};
use crate::form::{Input, Refused, Text, as_text, code, refused_text};
use crate::policies::policy_code;

#[derive(Serialize)]
pub(crate) struct Vectors {
    origin: &'static str,
    genesis: Text,
    policy: String,
    proofs: Vec<Proof>,
    /// Proofs that read well and prove nothing.
    not_proven: Vec<NotProven>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Proof {
    name: &'static str,
    proof: String,
    leaf: Text,
    seq: Text,
    topic: String,
    partition: Text,
    epoch: Text,
}

#[derive(Serialize)]
struct NotProven {
    name: &'static str,
    proof: String,
    code: &'static str,
}

/// The checker's error for a proof. `None` where it is proven.
fn verdict(checker: &mut EventProofChecker<'_>, proof: &EventProof) -> Option<&'static str> {
    match checker.check(proof) {
        Ok(sealed) => (!sealed.words.satisfied).then_some("not-satisfied"),
        Err(EventProofError::OtherLog { .. }) => Some("other-log"),
        Err(EventProofError::Policy(error)) => Some(policy_code(&error)),
        Err(EventProofError::Tree(_, error)) => Some(tree_code(&error)),
        Err(EventProofError::Entry(_, error)) => Some(code(&error)),
        Err(EventProofError::NoKeyEntry(..) | EventProofError::NoSummary(_)) => Some("malformed"),
        Err(EventProofError::Refused(_, refusal)) => Some(refusal.code()),
        Err(EventProofError::FalseSummary(_)) => Some("false-summary"),
    }
}

pub(crate) fn vectors() -> Vectors {
    let ledger = Ledger::new();
    let policy = Ledger::policy();
    let mut checker = EventProofChecker::new(ledger.state.ledger().clone(), &policy);
    let size = ledger.size();
    let proofs = [
        ("the first event of a batch", ledger.proof(BATCHES[0], 0, size)),
        ("an empty value", ledger.proof(BATCHES[0], 2, size)),
        ("no key", ledger.proof(BATCHES[0], 3, size)),
        ("no value", ledger.proof(BATCHES[0], 5, size)),
        ("the last event of a batch", ledger.proof(BATCHES[0], 6, size)),
        ("the only event of a batch", ledger.proof(BATCHES[1], 0, size)),
        ("a batch of four", ledger.proof(BATCHES[2], 2, size)),
        ("the log's last entry seals it", ledger.proof(BATCHES[0], 4, 3)),
        ("the log's last entry is a key entry", ledger.proof(BATCHES[0], 4, 4)),
    ]
    .map(|(name, proof)| {
        assert_eq!(EventProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof), "{name}");
        assert_eq!(verdict(&mut checker, &proof), None, "{name}");
        Proof {
            name,
            leaf: proof.leaf().into(),
            seq: proof.proof.index.into(),
            topic: "orders".into(),
            partition: 3.into(),
            epoch: 0.into(),
            proof: as_text(proof.to_bytes()),
        }
    });
    Vectors {
        origin: ORIGIN,
        genesis: ledger.state.ledger().genesis.into(),
        policy: Ledger::policy_text(),
        proofs: proofs.into(),
        not_proven: not_proven(&ledger, &policy),
        refused: refused(&ledger),
    }
}

/// Forged proofs of the event at place 4 of the first batch.
fn not_proven(ledger: &Ledger, policy: &Policy) -> Vec<NotProven> {
    let size = ledger.size();
    let good = || ledger.proof(BATCHES[0], 4, size);
    let changed = |change: &dyn Fn(&mut EventProof)| {
        let mut proof = good();
        change(&mut proof);
        proof
    };
    let other = || ledger.proof(BATCHES[0], 5, size);
    let tlog = |change: &dyn Fn(&mut TlogProof)| changed(&|proof| change(&mut proof.proof));
    let stranger = |log: &SigningKey| {
        let mut signed = SignedCheckpoint::sign(ledger.checkpoint(size).checkpoint().clone(), log);
        signed.cosign(&ledger.ring.witness_1, 1_732_180_100);
        signed
    };
    let other_origin = {
        let key = crate::fixture::key("example.com/other", evidence::Algorithm::Ed25519, 2);
        let head = Checkpoint { origin: "example.com/other".into(), ..ledger.checkpoint(size).checkpoint().clone() };
        SignedCheckpoint::sign(head, &key)
    };
    let log_key = crate::fixture::key(ORIGIN, evidence::Algorithm::Ed25519, 22);
    let without_witness = SignedCheckpoint::sign(ledger.checkpoint(size).checkpoint().clone(), &ledger.ring.log);
    let gone = |i: usize| changed(&move |proof| drop(proof.keys.remove(i)));
    let cases: Vec<(&'static str, EventProof, &'static str)> = vec![
        ("another offset", changed(&|p| p.offset = 5), "wrong-root"),
        ("an offset outside of the batch", changed(&|p| p.offset = 7), "false-summary"),
        ("another timestamp", changed(&|p| p.timestamp += 1), "wrong-root"),
        ("another timestamp type", changed(&|p| p.timestamp_type = TimestampType::LogAppend), "wrong-root"),
        ("another content", changed(&|p| p.content = other().content), "wrong-root"),
        ("another place", changed(&|p| p.leaf_index = 5), "wrong-root"),
        ("a place beyond the batch", changed(&|p| p.leaf_index = 7), "out-of-range"),
        ("another path", changed(&|p| p.leaf_path = other().leaf_path), "wrong-root"),
        ("a hash missing in the path", changed(&|p| p.leaf_path.truncate(2)), "wrong-length"),
        ("a hash too many in the path", changed(&|p| p.leaf_path.push(p.leaf_path[0])), "wrong-length"),
        ("the entry of another batch", changed(&|p| p.entry = ledger.entries[4].clone()), "wrong-root"),
        (
            "the entry of another batch, with its proof",
            changed(&|p| {
                let other = ledger.proof(BATCHES[2], 0, size);
                (p.entry, p.proof) = (other.entry, other.proof);
            }),
            "false-summary",
        ),
        (
            "a key entry as the one that seals",
            changed(&|p| {
                p.entry = ledger.entries[3].clone();
                (p.proof.index, p.proof.path) = (3, ledger.path(3, size));
            }),
            "wrong-seq",
        ),
        (
            "a heads entry as the one that seals",
            changed(&|p| {
                p.entry = ledger.entries[7].clone();
                (p.proof.index, p.proof.path) = (7, ledger.path(7, size));
            }),
            "malformed",
        ),
        ("another index", tlog(&|p| p.index = 3), "wrong-root"),
        ("an index beyond the log", tlog(&|p| p.index = 8), "out-of-range"),
        ("a hash missing in the log's path", tlog(&|p| p.path.truncate(2)), "wrong-length"),
        ("a checkpoint of another size", tlog(&|p| p.checkpoint = ledger.checkpoint(7)), "wrong-length"),
        ("no genesis entry", gone(0), "wrong-keys"),
        ("no entry that grants the key", gone(1), "wrong-keys"),
        ("a key entry missing between", gone(2), "wrong-keys"),
        ("the newest key entry missing", gone(3), "wrong-keys"),
        ("key entries out of order", changed(&|p| p.keys.swap(2, 3)), "wrong-keys"),
        (
            "the last entry, which is a key entry, missing among those",
            {
                let mut proof = ledger.proof(BATCHES[0], 4, 4);
                proof.keys.truncate(2);
                proof
            },
            "wrong-keys",
        ),
        (
            "a key entry from beyond the log",
            {
                let mut proof = ledger.proof(BATCHES[0], 4, 3);
                proof.keys = ledger.proof(BATCHES[0], 4, 4).keys;
                proof
            },
            "wrong-seq",
        ),
        (
            "the last entry, and a key entry that it names, say seqs beyond the log",
            {
                let mut log = Ledger::new();
                log.grant(Role::Ingest, &log.ring.stranger.clone());
                log.seal((9, 12, 1));
                let (_, ends) = log.entries.split_at(7);
                let [_, key, last] = ends else { panic!("three entries") };
                let (key, last) = (key.clone(), last.clone());
                log.entries.truncate(7);
                log.entries.push(last);
                let mut proof = log.proof(BATCHES[0], 4, log.size());
                proof.keys.push(key);
                proof
            },
            "wrong-seq",
        ),
        (
            "the last entry is the newest key entry once more",
            {
                let mut log = Ledger::new();
                log.entries[7] = log.entries[5].clone();
                log.proof(BATCHES[0], 4, log.size())
            },
            "wrong-seq",
        ),
        ("a key entry twice", changed(&|p| p.keys.push(p.keys[3].clone())), "wrong-seq"),
        (
            "a key entry that does not decode, and another index",
            changed(&|p| {
                p.keys[1] = b"no entry\n".to_vec();
                p.proof.index = 3;
            }),
            "wrong-root",
        ),
        (
            "a summary among the key entries, and a hash missing in the log's path",
            changed(&|p| {
                p.keys.push(ledger.entries[6].clone());
                p.proof.path.truncate(2);
            }),
            "wrong-length",
        ),
        ("a key entry that does not decode", changed(&|p| p.keys[1] = b"no entry\n".to_vec()), "malformed"),
        ("a summary among the key entries", changed(&|p| p.keys.push(ledger.entries[6].clone())), "malformed"),
        ("another entry as the last", changed(&|p| p.newest = ledger.entries[6].clone()), "wrong-root"),
        ("another path of the last", changed(&|p| p.newest_path.swap(0, 1)), "wrong-root"),
        ("no path of the last", changed(&|p| p.newest_path.clear()), "wrong-length"),
        ("another log key", tlog(&|p| p.checkpoint = stranger(&log_key)), "not-by-log"),
        ("another log", tlog(&|p| p.checkpoint = other_origin.clone()), "other-log"),
        ("no witness of the quorum", tlog(&|p| p.checkpoint = without_witness.clone()), "not-satisfied"),
    ];
    let mut all: Vec<NotProven> = Vec::new();
    let mut remembering = EventProofChecker::new(ledger.state.ledger().clone(), policy);
    for (name, proof, code) in cases {
        let proof = EventProof::parse(&proof.to_bytes()).expect(name);
        let mut checker = EventProofChecker::new(ledger.state.ledger().clone(), policy);
        assert_eq!(verdict(&mut checker, &proof), Some(code), "{name}");
        // It is refused again after a good one, and a second time.
        assert_eq!(verdict(&mut remembering, &good()), None);
        assert_eq!(verdict(&mut remembering, &proof), Some(code), "{name}");
        assert_eq!(verdict(&mut remembering, &proof), Some(code), "{name}");
        all.push(NotProven { name, proof: as_text(proof.to_bytes()), code });
    }
    all
}

fn refused(ledger: &Ledger) -> Vec<Refused<Input>> {
    let good = as_text(ledger.proof(BATCHES[0], 4, 3).to_bytes());
    let changed = |name: &str, from: &str, to: &str, code| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{name}");
        refused_text(name, changed.as_bytes(), code, EventProof::parse)
    };
    let content = good.lines().nth(2).expect("content").to_owned();
    let hash = good.lines().nth(4).expect("a hash").to_owned();
    let entry = good.lines().find(|line| line.starts_with("entry ")).expect("an entry").to_owned();
    let many = EventProof { leaf_path: vec![tree::leaf_hash(b""); 64], ..ledger.proof(BATCHES[0], 4, 3) };
    vec![
        changed("another version", "event-proof@v1", "event-proof@v2", "unsupported"),
        changed("no version", "streamseal/event-proof@v1\n", "", "malformed"),
        changed("a negative offset", "event 4 ", "event -4 ", "malformed"),
        changed("an offset with a leading zero", "event 4 ", "event 04 ", "malformed"),
        changed("an offset of 2^63", "event 4 ", "event 9223372036854775808 ", "malformed"),
        changed("a timestamp type that there is not", " 1\ncontent", " 3\ncontent", "malformed"),
        changed("no timestamp type", " 1\ncontent", "\ncontent", "malformed"),
        changed("no content", &content, "content ", "malformed"),
        changed("a content that is none", &content, "content AAAA", "malformed"),
        changed("a content with a tail", &content, &format!("content {}", "AAAAAAAAAAAAAAAAAAAA"), "malformed"),
        changed("a content with a space after it", &content, &format!("{content} "), "malformed"),
        changed("no place", "leaf 4\n", "", "malformed"),
        changed("a place with a sign", "leaf 4", "leaf +4", "malformed"),
        changed("a hash cut short", &hash, &hash[..43], "malformed"),
        changed("an entry that is cut short", &entry, "entry 10", "malformed"),
        changed("an entry of no bytes", &entry, "entry 0", "malformed"),
        changed("an entry of more bytes than there are", &entry, "entry 65535", "malformed"),
        changed("an entry of more than 65,535 bytes", &entry, "entry 65536", "malformed"),
        changed("fewer key entries than it says", "keys 2", "keys 3", "malformed"),
        changed("more key entries than it says", "keys 2", "keys 1", "malformed"),
        changed("a number of key entries with a leading zero", "keys 2", "keys 02", "malformed"),
        changed("an endless number of key entries", "keys 2", "keys 9223372036854775807", "malformed"),
        changed("no last entry", "newest ", "older ", "malformed"),
        changed("another version of the tlog-proof", "tlog-proof@v1", "tlog-proof@v2", "unsupported"),
        changed("something extra in the tlog-proof", "@v1\nindex", "@v1\nextra AAAA\nindex", "malformed"),
        refused_text("64 hashes", &many.to_bytes(), "malformed", EventProof::parse),
        refused_text("bytes after it", format!("{good}\n").as_bytes(), "malformed", EventProof::parse),
        refused_text("not UTF-8", &[good.as_bytes(), b"\xff\n"].concat(), "malformed", EventProof::parse),
    ]
}

#[test]
fn every_event_is_proven_in_every_log() {
    let ledger = Ledger::new();
    let policy = Ledger::policy();
    let mut checker = EventProofChecker::new(ledger.state.ledger().clone(), &policy);
    for _ in 0..2 {
        for proof in ledger.all() {
            assert_eq!(EventProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof));
            assert_eq!(verdict(&mut checker, &proof), None);
        }
    }
}

#[test]
fn no_changed_byte_is_proven() {
    let ledger = Ledger::new();
    let policy = Ledger::policy();
    let mut checker = EventProofChecker::new(ledger.state.ledger().clone(), &policy);
    let bytes = ledger.proof(BATCHES[0], 3, 4).to_bytes();
    for i in 0..bytes.len() {
        let mut is_proven =
            |bytes: &[u8]| EventProof::parse(bytes).is_ok_and(|proof| verdict(&mut checker, &proof).is_none());
        assert!(!is_proven(&bytes[..i]), "cut at {i}");
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[i] ^= flip;
            assert!(!is_proven(&changed), "byte {i} ^ {flip:#x}");
        }
    }
}

/// Puts every field of each proof into every other proof. Each is valid in its own proof.
#[test]
fn part_of_another_proof_is_refused() {
    let ledger = Ledger::new();
    let policy = Ledger::policy();
    let mut checker = EventProofChecker::new(ledger.state.ledger().clone(), &policy);
    type Swap = fn(&mut EventProof, &EventProof);
    let swaps: [(&str, Swap); 12] = [
        ("offset", |p, o| p.offset = o.offset),
        ("timestamp", |p, o| p.timestamp = o.timestamp),
        ("content", |p, o| p.content.clone_from(&o.content)),
        ("leaf_index", |p, o| p.leaf_index = o.leaf_index),
        ("leaf_path", |p, o| p.leaf_path.clone_from(&o.leaf_path)),
        ("entry", |p, o| p.entry.clone_from(&o.entry)),
        ("keys", |p, o| p.keys.clone_from(&o.keys)),
        ("newest", |p, o| p.newest.clone_from(&o.newest)),
        ("newest_path", |p, o| p.newest_path.clone_from(&o.newest_path)),
        ("index", |p, o| p.proof.index = o.proof.index),
        ("path", |p, o| p.proof.path.clone_from(&o.proof.path)),
        ("checkpoint", |p, o| p.proof.checkpoint.clone_from(&o.proof.checkpoint)),
    ];
    let all = ledger.all();
    for good in all.iter().step_by(3) {
        for other in &all {
            for (field, swap) in &swaps {
                let mut mixed = good.clone();
                swap(&mut mixed, other);
                if mixed != *good {
                    let names = [good, other].map(|proof| (proof.offset, proof.proof.checkpoint.checkpoint().size));
                    assert!(verdict(&mut checker, &mixed).is_some(), "{field} of the second in the first: {names:?}");
                }
            }
        }
    }
}

/// Proofs from a log that breaks the rules of the chain.
#[test]
fn a_dishonest_log_proves_nothing() {
    let policy = Ledger::policy();
    let ring = KeyRing::new();
    let forged = |change: &dyn Fn(&mut Summary), signer: &SigningKey| {
        let mut ledger = Ledger::new();
        let mut before = State::new(ORIGIN, genesis(&ring).hash());
        for entry in &ledger.entries[..2] {
            before.apply(&Entry::parse(entry).expect("an entry")).expect("by the chain's rules");
        }
        let (_, first, count) = BATCHES[0];
        let mut summary = Ledger { state: before.clone(), ..Ledger::new() }.summary(first, count);
        change(&mut summary);
        let statement = SignedStatement::sign(Statement::Summary(summary), &[signer]);
        ledger.entries[2] = before.draft(statement, 1_732_180_001_000).to_bytes();
        ledger
    };
    let shifted = {
        let mut ledger = Ledger::new();
        ledger.entries[6] = ledger.entries[2].clone();
        ledger
    };
    let proof_of_shifted = {
        let (_, first, count) = BATCHES[0];
        let proof = shifted.proof((6, first, count), 4, shifted.size());
        assert_eq!(proof.proof.index, 6);
        proof
    };
    let leaf_five = Ledger::new().proof(BATCHES[0], 5, 8).leaf();
    let in_first = |ledger: Ledger, place| ledger.proof(BATCHES[0], place, 3);
    let cases = [
        ("signed by a stranger", in_first(forged(&|_| (), &ring.stranger), 4), "unknown-key"),
        ("signed by a key granted later", in_first(forged(&|_| (), &ring.ingest_b), 4), "unknown-key"),
        ("signed by the operator", in_first(forged(&|_| (), &ring.operator), 4), "wrong-role"),
        (
            "of a topic that the key is not for",
            in_first(forged(&|s| s.stream = stream("payments", 3, 0), &ring.ingest_a), 4),
            "out-of-scope",
        ),
        ("entry 2 in the place of entry 6", proof_of_shifted, "wrong-seq"),
        (
            "a time that leaves the event out",
            in_first(forged(&|s| s.time = Some((1_732_180_000_000, 1_732_180_000_003)), &ring.ingest_a), 4),
            "false-summary",
        ),
        (
            "another last event",
            in_first(forged(&|s| s.last = Some(LastEvent { offset: 5, leaf: leaf_five }), &ring.ingest_a), 6),
            "false-summary",
        ),
        (
            "the event as the last, which it is not",
            in_first(forged(&|s| s.last = Some(LastEvent { offset: 5, leaf: leaf_five }), &ring.ingest_a), 5),
            "false-summary",
        ),
    ];
    for (name, proof, code) in cases {
        let ledger = Ledger::new().state.ledger().clone();
        assert_eq!(verdict(&mut EventProofChecker::new(ledger, &policy), &proof), Some(code), "{name}");
    }
}
