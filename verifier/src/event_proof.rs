//! The front half of a verification whose evidence is the proof of one event.

use std::collections::HashSet;
use std::ops::Range;

use evidence::chain::{Refusal, State};
use evidence::statement::{LedgerId, StatementKind};
use evidence::tree::TreeError;
use evidence::{
    EVENT_PROOF_BYTES_MAX, Entry, EventProof, EventProofChecker, EventProofError, ProofPart, Sealed, StreamId,
};

use crate::chain::Chain;
use crate::code::Code;
use crate::distrust::Distrust;
use crate::expect::Ranges;
use crate::finding::{Counts, Place};
use crate::heads::Plan;
use crate::report::EventReport;
use crate::stream::StreamResult;
use crate::verdict::Verdict;
use crate::verification::{Shown, Verification};

impl Verification<'_> {
    /// Verifies as much of the proof as can be read, and draws the conclusions.
    pub(crate) fn event_proof(&mut self) {
        let path = &self.inputs.bundle;
        let file = Place::file(path.display());
        let bytes = match keystore::read_capped(path, EVENT_PROOF_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => return self.findings.unread(file, &error),
        };
        let proof = match EventProof::parse(&bytes) {
            Ok(proof) => proof,
            Err(error) => return self.findings.unparsable(file, &error),
        };
        drop(bytes);
        let signed = &proof.proof.checkpoint;
        let ledger = LedgerId { origin: self.trust.origin.clone(), genesis: self.trust.genesis };
        if signed.checkpoint().origin != ledger.origin {
            let origins = (&signed.checkpoint().origin, &ledger.origin);
            let problem = format!("the proof is about {}, but the trust file is about {}", origins.0, origins.1);
            return self.findings.add(Code::OtherLedger, file, problem);
        }
        if !self.is_by_log(signed) {
            return;
        }
        let mut checker = EventProofChecker::new(ledger.clone(), &self.trust.policy);
        let error = match checker.check(&proof) {
            Ok(sealed) => {
                let shown = self.sealed(&proof, sealed);
                return self.conclude(shown);
            }
            Err(error) => error,
        };
        self.not_proven(&proof, file.clone(), &error);
        if self.findings.verdict == Verdict::Tampered {
            return;
        }
        // Something absent or unreadable must not hide a contradiction.
        match checker.check_event(&proof) {
            Err(error) if code_of(&proof, &error).verdict() == Verdict::Tampered => {
                self.not_proven(&proof, file, &error)
            }
            _ => {
                let chain = Chain::unseen(State::new(&ledger.origin, ledger.genesis));
                self.conclude(Shown { reader: None, signed: proof.proof.checkpoint, chain, plan: Plan::default() });
            }
        }
    }

    /// The content of the proof, in the form of a bundle with one event.
    fn sealed(&mut self, proof: &EventProof, sealed: Sealed<'_>) -> Shown<'static> {
        let Sealed { entry, summary, key_entries, state, .. } = sealed;
        let stream = summary.stream.clone();
        let offsets = proof.offset..proof.offset + 1;
        let mut result = StreamResult::new(stream.clone(), &Counts::default());
        result.newest_statement = Some(entry.seq);
        let distrust = Distrust::collect(key_entries);
        if let Some(reason) = distrust.of(entry, state.keys()) {
            let place = Place::stream(&stream).offsets(offsets.clone()).at_entry(entry.seq);
            let problem = format!("a distrusted key sealed this: {reason}");
            result.findings.add(Code::DistrustedKey, place, problem);
        } else {
            result.intact.add(offsets.clone());
        }
        (result.events, result.event_bytes, result.batches) = (1, proof.content.len() as u64, 1);
        self.report.event = Some(EventReport::of(proof));
        self.report
            .not_checked
            .push("the other events of the batch, and whether any is missing or added: that takes a bundle".into());
        // The entry itself, the last one, and the key entries; some may be the same.
        let mut seqs: Vec<u64> = key_entries.iter().map(|key| key.seq).collect();
        seqs.extend([entry.seq, proof.proof.checkpoint.checkpoint().size - 1]);
        seqs.sort_unstable();
        seqs.dedup();
        self.report.entries = seqs.len() as u64;
        result.expected = self.expected(&stream, &offsets);
        let chain = Chain {
            streams: vec![result],
            entries: self.report.entries,
            is_whole: true,
            ..Chain::unseen(state.clone())
        };
        Shown { reader: None, signed: proof.proof.checkpoint.clone(), chain, plan: Plan::default() }
    }

    /// The expectations of the stream: by default, the event. Offsets that the auditor names and the proof does not cover
    /// are findings.
    fn expected(&mut self, stream: &StreamId, proven: &Range<u64>) -> Ranges {
        let mut expected = Ranges::default();
        for expectation in &self.inputs.expectations {
            let mut miss = |code, place, problem: &str| {
                self.findings.add(code, place, format!("{expectation}: {problem}"));
            };
            if !expectation.matches(stream) {
                miss(Code::Uncovered, Place::default(), &format!("the proof is of an event of {stream}"));
                continue;
            }
            let offsets = expectation.offsets(None, false).filter(|_| !expectation.is_open());
            let Some(offsets) = offsets else {
                let problem = "the proof of one event shows no other events; name one topic, partition, epoch and offsets, \
                               such as orders/3#0@13..14";
                miss(Code::NoHeads, Place::default(), problem);
                continue;
            };
            for outside in [offsets.start..offsets.end.min(proven.start), offsets.start.max(proven.end)..offsets.end] {
                if !outside.is_empty() {
                    miss(Code::Uncovered, Place::stream(stream).offsets(outside), "the proof is of one event");
                }
            }
            expected.add(offsets);
        }
        if self.inputs.expectations.is_empty() {
            expected.add(proven.clone());
        }
        expected
    }

    fn not_proven(&mut self, proof: &EventProof, file: Place, error: &EventProofError) {
        let seq = match error {
            EventProofError::Tree(part, _)
            | EventProofError::Entry(part, _)
            | EventProofError::NoKeyEntry(part, _)
            | EventProofError::Refused(part, _) => seq_of(proof, *part),
            _ => Some(proof.proof.index),
        };
        self.findings.add(code_of(proof, error), Place { entry: seq, ..file }, error.to_string());
    }
}

fn code_of(proof: &EventProof, error: &EventProofError) -> Code {
    match error {
        EventProofError::Tree(_, TreeError::WrongLength { .. } | TreeError::OutOfRange { .. }) => Code::Malformed,
        EventProofError::Tree(ProofPart::Event, _) => Code::AlteredEvent,
        EventProofError::Tree(..) => Code::AlteredEntry,
        EventProofError::Entry(_, evidence::Error::Unsupported { .. }) => Code::Unsupported,
        EventProofError::Entry(ProofPart::Entry | ProofPart::Newest, _) => Code::MalformedEntry,
        // Nothing shows that the log has this entry.
        EventProofError::Entry(..) | EventProofError::NoKeyEntry(..) | EventProofError::NoSummary(_) => Code::Malformed,
        EventProofError::Refused(_, refusal)
            if matches!(**refusal, Refusal::WrongKeys { .. }) && lacks_key_entry(proof) =>
        {
            Code::AbsentEntry
        }
        EventProofError::Refused(_, refusal) => Code::Refused(refusal.kind()),
        EventProofError::FalseSummary(_) => Code::FalseSummary,
        EventProofError::OtherLog { .. } => Code::OtherLog,
        EventProofError::Policy(_) => Code::BadSignature,
    }
}

/// Whether the proof lacks a key entry: one that an entry of the proof names, or its last entry.
fn lacks_key_entry(proof: &EventProof) -> bool {
    // The seq of an entry, and that of the key entry that it names.
    let parse = |bytes: &Vec<u8>| Entry::parse(bytes).ok();
    let places = |entry: &Vec<u8>| parse(entry).map(|entry| (entry.seq, entry.keys.map(|(named, _)| named)));
    let keys: Vec<(u64, Option<u64>)> = proof.keys.iter().filter_map(places).collect();
    let given: HashSet<u64> = keys.iter().map(|(seq, _)| *seq).collect();
    let others = [&proof.entry, &proof.newest].into_iter().filter_map(places);
    let is_absent =
        |(seq, named): (u64, Option<u64>)| named.is_some_and(|named| named < seq && !given.contains(&named));
    let newest_is_key = parse(&proof.newest).is_some_and(|entry| match entry.statement.statement().kind() {
        StatementKind::Key => true,
        // SPEC.md section 13.8 gives `absent-entry` for a key statement alone. A genesis here stays `wrong-keys`.
        StatementKind::Genesis
        | StatementKind::Summary
        | StatementKind::Gap
        | StatementKind::Epoch
        | StatementKind::Heads => false,
    });
    keys.iter().copied().chain(others).any(is_absent) || (newest_is_key && !proof.keys.contains(&proof.newest))
}

fn seq_of(proof: &EventProof, part: ProofPart) -> Option<u64> {
    match part {
        ProofPart::Event | ProofPart::Entry => Some(proof.proof.index),
        ProofPart::Newest => proof.proof.checkpoint.checkpoint().size.checked_sub(1),
        ProofPart::Key(_) => None,
    }
}
