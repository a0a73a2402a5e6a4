//! Hostile evidence, class by class: a generator takes proven evidence and forges or damages one thing at a
//! time. Forged evidence is never proven, except for immaterial changes that are listed with a reason. The exit code
//! must be right, and the finding must name the place.
//!
//! The tests take a sample of each class, spread evenly, or all of it with `HOSTILE_EVIDENCE=whole` (`just hostile`).

mod anchors;
mod bombs;
mod entries;
mod events;
mod fields;
mod files;
mod lists;
pub(crate) mod objects;
mod proofs;
mod replay;

use evidence::statement::{Action, Reason, SignedStatement};
use evidence::{Algorithm, SignedCheckpoint, SigningKey, tree};
use verifier::Report;

use crate::common::bundles::{Bundle, Desk};
use crate::common::clones::Anchors;
use crate::common::{Event, Ledger, T0, key, stream};

/// The number tried of each class without `HOSTILE_EVIDENCE=whole`.
const SAMPLE: usize = 60;

/// All of a class, or a sample of it.
fn sampled<T>(class: Vec<T>) -> Vec<T> {
    let whole = std::env::var_os("HOSTILE_EVIDENCE").is_some_and(|value| value == "whole");
    // A prime step meets every kind of change at every kind of place.
    let step = if whole { 1 } else { (class.len() / SAMPLE).max(1) | 1 };
    class.into_iter().step_by(step).collect()
}

/// A ledger with a statement of each kind, and all keys.
///
/// | seq | what |
/// |---|---|
/// | 0 to 2 | genesis, grants of ingest-a and anchor-a |
/// | 3 | orders/0, a gap of 4 offsets at its start |
/// | 4 | orders/0, offsets 4 to 6 |
/// | 5 | orders/0, offsets 7 and 8, without an event |
/// | 6 | payments/0, offsets 0 and 1 |
/// | 7 and 8 | grant of ingest-z, and its revocation, distrusted from 7 on |
/// | 9 | orders/0 begins epoch 1 at 5 |
/// | 10 | orders/0 epoch 1, offset 5 |
/// | 11 | heads |
struct Forger {
    ledger: Ledger,
    witness: SigningKey,
    retired: SigningKey,
}

impl Forger {
    fn new() -> Self {
        Self::with_nonce(b"nonce")
    }

    fn with_nonce(nonce: &[u8]) -> Self {
        let mut ledger = Ledger::with_nonce(nonce);
        let (orders, payments) = (stream("orders", 0, 0), stream("payments", 0, 0));
        let retired = key("ingest-z", Algorithm::Ed25519, 90);
        let role = evidence::chain::Role::Ingest;
        ledger.gap(&orders, 4, Reason::Start);
        ledger.seal(&orders, 3);
        ledger.seal_events(&orders, 7..9, Vec::new());
        ledger.seal(&payments, 2);
        let grant = ledger.key_statement(Action::Grant, role, retired.verifier_key().clone(), None);
        ledger.append(SignedStatement::sign(grant, &[&ledger.operator]));
        ledger.revoke(role, retired.verifier_key().clone(), Some(7));
        let second = ledger.epoch(&orders, 5);
        ledger.seal_events(&second, 5..6, vec![Event::new(5, b"again")]);
        ledger.heads();
        Self { ledger, witness: key("witness.example/w", Algorithm::Cosignature, 50), retired }
    }

    /// Both the ledger's own anchor and an independent witness must have cosigned.
    fn trust(&self) -> String {
        let witness = self.witness.verifier_key();
        let lines = format!("witness outside {witness}\ngroup both all anchor-a outside\nquorum both\n");
        self.ledger.trust().replace("quorum anchor-a\n", &lines)
    }

    fn cosigned(&self, size: u64, time_s: u64) -> SignedCheckpoint {
        let mut signed = self.ledger.cosigned(size, time_s);
        signed.cosign(&self.witness, time_s);
        signed
    }

    /// A bundle with everything, its checkpoint cosigned by all.
    fn bundle(&self) -> Bundle {
        let mut bundle = self.ledger.bundle();
        bundle.checkpoint = self.cosigned(self.ledger.size(), T0 + 60).to_bytes();
        bundle
    }

    /// The bundle with other bytes of an entry, and with everything that the log itself makes corrected: the
    /// rest of the chain, the tree, the checkpoint.
    fn rechained(&mut self, seq: usize, bytes: Vec<u8>) -> Bundle {
        let mut entries = self.ledger.entries.clone();
        entries[seq] = bytes;
        rechain(&mut entries, seq);
        self.bundle_of(entries)
    }

    /// The bundle with other entries, and a checkpoint of them.
    fn bundle_of(&mut self, entries: Vec<Vec<u8>>) -> Bundle {
        let mut bundle = self.bundle();
        let honest = std::mem::replace(&mut self.ledger.entries, entries);
        let size = self.ledger.size();
        bundle.runs = self.ledger.runs(&(0..size).collect(), size);
        bundle.checkpoint = self.cosigned(size, T0 + 60).to_bytes();
        self.ledger.entries = honest;
        bundle
    }

    /// The auditor's desk with the honest bundle and, if asked for, an honest clone.
    fn desk(&self, with_clone: bool) -> Desk {
        let mut desk = Desk::new(&self.trust());
        desk.inputs.accepted_gaps.insert(Reason::Start);
        desk.put(&self.bundle());
        if with_clone {
            let path = desk.path("anchors.git");
            let mut anchors = Anchors::new(&path);
            for (size, time_s) in [(5, T0), (12, T0 + 60)] {
                let old = std::mem::replace(&mut anchors.size, size);
                anchors.commit(old, self.ledger.consistency(old, size), &self.cosigned(size, time_s));
            }
            desk.inputs.clones.push(path);
        }
        desk.proven();
        desk
    }

    fn keys(&self) -> [&SigningKey; 4] {
        [&self.ledger.operator, &self.ledger.log, &self.ledger.ingest, &self.retired]
    }
}

/// Links the entries after one to those before them.
fn rechain(entries: &mut [Vec<u8>], seq: usize) {
    for i in seq + 1..entries.len() {
        let text = String::from_utf8_lossy(&entries[i]).into_owned();
        let (head, statement) = text.split_once("\n\n").expect("an entry of the ledger");
        let keys = head.split("\nkeys ").nth(1).and_then(|rest| rest.split(' ').next());
        // A misplaced genesis names no entry.
        let Some(keys) = keys.and_then(|seq| seq.parse::<usize>().ok()) else { continue };
        let time = head.split("\ntime ").nth(1).expect("has a time");
        let (prev, key_entry) = (tree::leaf_hash(&entries[i - 1]), tree::leaf_hash(&entries[keys]));
        let head = format!("streamseal/entry@v1\nseq {i}\nprev {prev}\nkeys {keys} {key_entry}\ntime {time}");
        entries[i] = format!("{head}\n\n{statement}").into_bytes();
    }
}

/// Requires one of these exit codes, and a finding with the place.
#[track_caller]
fn refused(report: &Report, exit_codes: &[u8], what: &str) {
    assert!(exit_codes.contains(&report.verdict.exit_code()), "{what}: {report}");
    let places = report.findings.iter().map(|finding| &finding.place);
    let is_named = |place: &verifier::Place| {
        let verifier::Place { file, commit, entry, stream, offsets: _ } = place;
        file.is_some() || commit.is_some() || entry.is_some() || stream.is_some()
    };
    assert!(places.into_iter().any(is_named), "{what}: no place in {report}");
}

/// The place of a finding that names an entry.
fn names_entry(report: &Report, seq: usize) -> bool {
    report.findings.iter().any(|finding| finding.place.entry == Some(seq as u64))
}
