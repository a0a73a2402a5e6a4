//! The front half of a verification where the evidence is the proof of one event.

use std::collections::HashSet;
use std::ops::Range;

use evidence::chain::{Refusal, State};
use evidence::statement::{LedgerId, Statement};
use evidence::tree::TreeError;
use evidence::{
    EVENT_PROOF_BYTES_MAX, Entry, EventProof, EventProofChecker, EventProofError, ProofPart, Sealed, StreamId,
};

use crate::chain::Chain;
use crate::conclude::Shown;
use crate::distrust::Distrust;
use crate::expect::Ranges;
use crate::finding::{Counts, Place, Verdict};
use crate::heads::Plan;
use crate::report::EventReport;
use crate::stream::StreamResult;
use crate::verify::Verification;

impl Verification<'_> {
    /// Verifies the proof as far as it carries, and draws the conclusions.
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
            let problem = format!("the proof is about {}, the trust file about {}", origins.0, origins.1);
            return self.findings.add(Verdict::Unusable, "other-ledger", file, problem);
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
        // What is absent or cannot be read does not hide what contradicts.
        match checker.check_event(&proof) {
            Err(error) if verdict_of(&proof, &error).0 == Verdict::Tampered => self.not_proven(&proof, file, &error),
            _ => {
                let chain = Chain::unseen(State::new(&ledger.origin, ledger.genesis));
                self.conclude(Shown { reader: None, signed: proof.proof.checkpoint, chain, plan: Plan::default() });
            }
        }
    }

    /// What the proof shows, in the form of what a bundle with one event shows.
    fn sealed(&mut self, proof: &EventProof, sealed: Sealed<'_>) -> Shown<'static> {
        let Sealed { entry, summary, key_entries, state, .. } = sealed;
        let stream = summary.stream.clone();
        let offsets = proof.offset..proof.offset + 1;
        let mut result = StreamResult::new(stream.clone(), &Counts::default());
        result.newest_statement = Some(entry.seq);
        let distrust = Distrust::collect(key_entries);
        if let Some(reason) = distrust.of(entry, state.keys()) {
            let place = Place::stream(&stream).offsets(offsets.clone()).at_entry(entry.seq);
            let problem = format!("sealed by a key that is not to be trusted: {reason}");
            result.findings.add(Verdict::Incomplete, "distrusted-key", place, problem);
        } else {
            result.intact.add(offsets.clone());
        }
        (result.events, result.event_bytes, result.batches) = (1, proof.content.len() as u64, 1);
        self.report.event = Some(EventReport::of(proof));
        self.report.not_checked.push(
            "the other events of the batch, and that none is missing or was added beside this one: a bundle shows that"
                .into(),
        );
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

    /// What is expected of the stream: the event, unless the auditor names something. What is named and not proven here
    /// is a finding.
    fn expected(&mut self, stream: &StreamId, proven: &Range<u64>) -> Ranges {
        let mut expected = Ranges::default();
        for expectation in &self.inputs.expectations {
            let mut miss = |code, place, problem: &str| {
                self.findings.add(Verdict::Incomplete, code, place, format!("{expectation}: {problem}"));
            };
            if !expectation.matches(stream) {
                miss("uncovered", Place::default(), &format!("the proof is of an event of {stream}"));
                continue;
            }
            let offsets = expectation.offsets(None, false).filter(|_| !expectation.is_open());
            let Some(offsets) = offsets else {
                let problem = "the proof of one event does not show what else there is; name one topic, partition, epoch and \
                               offsets, such as orders/3#0@13..14";
                miss("no-heads", Place::default(), problem);
                continue;
            };
            for outside in [offsets.start..offsets.end.min(proven.start), offsets.start.max(proven.end)..offsets.end] {
                if !outside.is_empty() {
                    miss("uncovered", Place::stream(stream).offsets(outside), "the proof is of one event");
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
        let (verdict, code) = verdict_of(proof, error);
        self.findings.add(verdict, code, Place { entry: seq, ..file }, error.to_string());
    }
}

fn verdict_of(proof: &EventProof, error: &EventProofError) -> (Verdict, &'static str) {
    match error {
        EventProofError::Tree(_, TreeError::WrongLength { .. } | TreeError::OutOfRange { .. }) => {
            (Verdict::Unusable, "malformed")
        }
        EventProofError::Tree(ProofPart::Event, _) => (Verdict::Tampered, "altered-event"),
        EventProofError::Tree(..) => (Verdict::Tampered, "altered-entry"),
        EventProofError::Entry(_, evidence::Error::Unsupported { .. }) => (Verdict::Unusable, "unsupported"),
        EventProofError::Entry(ProofPart::Entry | ProofPart::Newest, _) => (Verdict::Tampered, "malformed-entry"),
        // Nothing shows that the log has it.
        EventProofError::Entry(..) | EventProofError::NoKeyEntry(..) | EventProofError::NoSummary(_) => {
            (Verdict::Unusable, "malformed")
        }
        EventProofError::Refused(_, refusal)
            if matches!(**refusal, Refusal::WrongKeys { .. }) && lacks_key_entry(proof) =>
        {
            (Verdict::Incomplete, "absent-entry")
        }
        EventProofError::Refused(_, refusal) => (Verdict::Tampered, refusal.code()),
        EventProofError::FalseSummary(_) => (Verdict::Tampered, "false-summary"),
        EventProofError::OtherLog { .. } => (Verdict::Tampered, "other-log"),
        EventProofError::Policy(_) => (Verdict::Tampered, "bad-signature"),
    }
}

/// Whether an entry of the proof goes by a key entry before it that is not among the proof's key entries, or the last
/// entry is itself a key entry that is not among them.
fn lacks_key_entry(proof: &EventProof) -> bool {
    // Of each its seq and the key entry that it goes by.
    let parse = |bytes: &Vec<u8>| Entry::parse(bytes).ok();
    let places = |entry: &Vec<u8>| parse(entry).map(|entry| (entry.seq, entry.keys.map(|(named, _)| named)));
    let keys: Vec<(u64, Option<u64>)> = proof.keys.iter().filter_map(places).collect();
    let given: HashSet<u64> = keys.iter().map(|(seq, _)| *seq).collect();
    let others = [&proof.entry, &proof.newest].into_iter().filter_map(places);
    let is_absent =
        |(seq, named): (u64, Option<u64>)| named.is_some_and(|named| named < seq && !given.contains(&named));
    let newest_is_key = parse(&proof.newest).is_some_and(|e| matches!(e.statement.statement(), Statement::Key(_)));
    keys.iter().copied().chain(others).any(is_absent) || (newest_is_key && !proof.keys.contains(&proof.newest))
}

fn seq_of(proof: &EventProof, part: ProofPart) -> Option<u64> {
    match part {
        ProofPart::Event | ProofPart::Entry => Some(proof.proof.index),
        ProofPart::Newest => proof.proof.checkpoint.checkpoint().size.checked_sub(1),
        ProofPart::Key(_) => None,
    }
}
