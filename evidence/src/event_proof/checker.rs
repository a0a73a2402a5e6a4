use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use super::EventProof;
use crate::batch;
use crate::chain::{Refusal, State};
use crate::nodes::Nodes;
use crate::policy::{Policy, PolicyError, Verdict};
use crate::statement::{LastEvent, LedgerId, Statement, StatementKind, Summary};
use crate::tree::{self, TreeError};
use crate::{Entry, Error, Hash, SignedCheckpoint};

/// Entries remembered. One more clears the memory. An entry is some kilobytes, at most 50.
const ENTRIES_REMEMBERED: usize = 512;

/// Verifies event proofs of one ledger under one policy.
///
/// It verifies the parts that many proofs share once, and remembers them in bounded memory. These are the checkpoint's
/// signatures and the key entries of the last proof, some entries with their paths, and some nodes of the batches'
/// trees. It compares remembered bytes with those of the next proof, so it accepts or refuses each proof as it would
/// alone.
pub struct EventProofChecker<'a> {
    ledger: LedgerId,
    policy: &'a Policy,
    log: Option<Log>,
    /// By their seqs.
    entries: HashMap<u64, ProvenEntry>,
    nodes: Nodes,
}

/// What an event proof shows.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// The entry that seals the event's batch.
    pub entry: &'a Entry,
    /// Its summary.
    pub summary: &'a Summary,
    /// The genesis entry and all key entries of the log.
    pub key_entries: &'a [Entry],
    /// The chain's state after the last entry of the log. The keys are complete, the streams are not.
    pub state: &'a State,
    /// The verdict on the checkpoint's signatures. The caller must check [`Verdict::satisfied`].
    pub words: &'a Verdict,
}

/// A part of an event proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofPart {
    /// The event and its path in the batch.
    Event,
    /// The entry that seals it.
    Entry,
    /// The key entry at this place among the key entries, from 0.
    Key(usize),
    /// The last entry of the log.
    Newest,
}

/// Why an event proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventProofError {
    /// It is about another log.
    #[error("the checkpoint is of {found}, not of {expected}")]
    OtherLog {
        /// The origin that is trusted.
        expected: String,
        /// That of the checkpoint.
        found: String,
    },
    /// The policy refuses the checkpoint.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A part is not in its tree.
    #[error("{0}: {1}")]
    Tree(ProofPart, #[source] TreeError),
    /// An entry does not decode.
    #[error("{0}: {1}")]
    Entry(ProofPart, #[source] Error),
    /// An entry among the key entries holds another statement.
    #[error("{0} holds a {1} statement")]
    NoKeyEntry(ProofPart, StatementKind),
    /// The chain is not valid with these entries.
    #[error("{0}: {1}")]
    Refused(ProofPart, #[source] Box<Refusal>),
    /// The entry holds another statement, which seals no event.
    #[error("the entry holds a {0} statement")]
    NoSummary(StatementKind),
    /// The summary contradicts the event.
    #[error("{0}")]
    FalseSummary(&'static str),
}

/// The verified parts that proofs under one checkpoint share.
struct Log {
    checkpoint: SignedCheckpoint,
    words: Verdict,
    keys: Vec<Vec<u8>>,
    key_entries: Vec<Entry>,
    newest: Vec<u8>,
    newest_path: Vec<Hash>,
    newest_entry: Entry,
    /// The state after the last entry, once the entries were applied.
    state: State,
}

/// An entry of a valid chain, as far as the proof shows it.
struct ProvenEntry {
    bytes: Vec<u8>,
    path: Vec<Hash>,
    entry: Entry,
}

impl<'a> EventProofChecker<'a> {
    /// A checker that remembers nothing yet.
    pub fn new(ledger: LedgerId, policy: &'a Policy) -> Self {
        Self { ledger, policy, log: None, entries: HashMap::new(), nodes: Nodes::new(batch::node_hash) }
    }

    /// Verifies that a key of the ledger sealed the event in the log of the proof's checkpoint, and judges the
    /// checkpoint. It does not show that the rest of the batch is right or complete.
    ///
    /// # Errors
    /// The first check of SPEC.md section 9.5 that fails.
    pub fn check(&mut self, proof: &EventProof) -> Result<Sealed<'_>, EventProofError> {
        if !self.log.as_ref().is_some_and(|log| log.is_of(proof)) {
            self.entries.clear();
            self.log = None;
        }
        let words = if self.log.is_none() { Some(self.verify_newest(proof)?) } else { None };
        let (index, path) = (proof.proof.index, &proof.proof.path);
        let is_known = |known: &ProvenEntry| known.bytes == proof.entry && known.path == *path;
        let is_known = self.entries.get(&index).is_some_and(is_known);
        // Both entries are shown to be in the log before anything is decoded.
        let entry = if is_known { None } else { Some(prove_entry(proof)?) };
        if let Some(words) = words {
            self.log = Some(Log::decode(proof, words, &self.ledger)?);
        }
        let log = self.log.as_mut().expect("was put there above, if it was not there");
        if let Some(entry) = entry {
            log.state = log.follow(&self.ledger, index, &entry)?;
            if self.entries.len() == ENTRIES_REMEMBERED {
                self.entries.clear();
            }
            self.entries.insert(index, ProvenEntry { bytes: proof.entry.clone(), path: path.clone(), entry });
        }
        let entry = &self.entries.get(&index).expect("was put there above, if it was not there").entry;
        let summary = verify_event(proof, entry, &mut self.nodes)?;
        let Log { key_entries, state, words, .. } = log;
        Ok(Sealed { entry, summary, key_entries, state, words })
    }

    /// Verifies the part of a proof that does not depend on key entries. The entry is in the log of the checkpoint, and
    /// the event is in the batch that the entry seals. It does not show who signed the entry.
    ///
    /// # Errors
    /// The same as [`Self::check`].
    pub fn check_event(&mut self, proof: &EventProof) -> Result<(), EventProofError> {
        verify_event(proof, &prove_entry(proof)?, &mut self.nodes).map(drop)
    }

    /// Verifies the checkpoint and that the newest entry is its last.
    fn verify_newest(&self, proof: &EventProof) -> Result<Verdict, EventProofError> {
        let checkpoint = &proof.proof.checkpoint;
        let head = checkpoint.checkpoint();
        if head.origin != self.ledger.origin {
            let (expected, found) = (self.ledger.origin.clone(), head.origin.clone());
            return Err(EventProofError::OtherLog { expected, found });
        }
        let words = self.policy.check(checkpoint)?;
        let leaf = tree::leaf_hash(&proof.newest);
        let last = head.size.saturating_sub(1);
        tree::verify_inclusion(&leaf, last, head.size, &proof.newest_path, &head.root)
            .map_err(|error| EventProofError::Tree(ProofPart::Newest, error))?;
        Ok(words)
    }
}

/// Shows that the entry that seals the event is in the log, and decodes it.
fn prove_entry(proof: &EventProof) -> Result<Entry, EventProofError> {
    let head = proof.proof.checkpoint.checkpoint();
    tree::verify_inclusion(&tree::leaf_hash(&proof.entry), proof.proof.index, head.size, &proof.proof.path, &head.root)
        .map_err(|error| EventProofError::Tree(ProofPart::Entry, error))?;
    parse(ProofPart::Entry, &proof.entry)
}

fn parse(part: ProofPart, bytes: &[u8]) -> Result<Entry, EventProofError> {
    Entry::parse(bytes).map_err(|error| EventProofError::Entry(part, error))
}

impl Log {
    /// Decodes what follows from the checkpoint: the last entry, which is in the log, and then the key entries.
    fn decode(proof: &EventProof, words: Verdict, ledger: &LedgerId) -> Result<Self, EventProofError> {
        let newest_entry = parse(ProofPart::Newest, &proof.newest)?;
        let mut key_entries = Vec::with_capacity(proof.keys.len());
        for (i, bytes) in proof.keys.iter().enumerate() {
            let entry = parse(ProofPart::Key(i), bytes)?;
            match entry.statement.statement().kind() {
                kind if kind.is_key_entry() => key_entries.push(entry),
                kind => return Err(EventProofError::NoKeyEntry(ProofPart::Key(i), kind)),
            }
        }
        Ok(Self {
            checkpoint: proof.proof.checkpoint.clone(),
            words,
            keys: proof.keys.clone(),
            key_entries,
            newest: proof.newest.clone(),
            newest_path: proof.newest_path.clone(),
            newest_entry,
            state: State::new(&ledger.origin, ledger.genesis),
        })
    }

    fn is_of(&self, proof: &EventProof) -> bool {
        self.checkpoint == proof.proof.checkpoint
            && self.keys == proof.keys
            && self.newest == proof.newest
            && self.newest_path == proof.newest_path
    }

    /// Applies the key entries, the entry at `seq` in its place among them, and the last one. Returns the state after it.
    ///
    /// Only two of these were shown to be in the tree. The last one names the newest key entry by its hash, and each
    /// key entry names the one before it. So all of them are in the log of the checkpoint.
    fn follow(&self, ledger: &LedgerId, seq: u64, entry: &Entry) -> Result<State, EventProofError> {
        let last = self.checkpoint.checkpoint().size - 1;
        let mut state = State::new(&ledger.origin, ledger.genesis);
        let mut apply = |part, seq, entry: &Entry| {
            state.skip_to(seq);
            state.apply(entry).map_err(|refusal| EventProofError::Refused(part, Box::new(refusal)))
        };
        let before = self.key_entries.iter().position(|key| key.seq >= seq).unwrap_or(self.key_entries.len());
        let keys = |range: std::ops::Range<usize>| range.map(|i| (i, &self.key_entries[i]));
        for (i, key) in keys(0..before) {
            apply(ProofPart::Key(i), key.seq, key)?;
        }
        apply(ProofPart::Entry, seq, entry)?;
        for (i, key) in keys(before..self.key_entries.len()) {
            apply(ProofPart::Key(i), key.seq, key)?;
        }
        let is_last_key = self.keys.last() == Some(&self.newest);
        if seq != last && !is_last_key {
            apply(ProofPart::Newest, last, &self.newest_entry)?;
        }
        let refused = |refusal| Err(EventProofError::Refused(ProofPart::Newest, Box::new(refusal)));
        // Nothing shows that a key entry beyond the log was ever in it. A key entry inside the log must be listed among
        // the key entries, because other checks look for it there.
        match (state.next_seq() - 1, self.newest_entry.statement.statement().kind()) {
            (found, _) if found != last => refused(Refusal::WrongSeq { expected: last, found }),
            (_, kind) if kind.is_key_entry() && !is_last_key => refused(Refusal::WrongKeys { seq: last }),
            _ => Ok(state),
        }
    }
}

/// Verifies that the event is in the batch that an entry seals, and returns the entry's summary.
fn verify_event<'e>(proof: &EventProof, entry: &'e Entry, nodes: &mut Nodes) -> Result<&'e Summary, EventProofError> {
    let Statement::Summary(summary) = entry.statement.statement() else {
        return Err(EventProofError::NoSummary(entry.statement.statement().kind()));
    };
    if !(summary.first..summary.next).contains(&proof.offset) {
        return Err(EventProofError::FalseSummary("the offset lies outside of the batch"));
    }
    let leaf = proof.leaf();
    let Summary { events, root, .. } = summary;
    batch::verify_by(|l, r| nodes.parent(l, r), &leaf, proof.leaf_index, *events, &proof.leaf_path, root)
        .map_err(|error| EventProofError::Tree(ProofPart::Event, error))?;
    // The other statements of a summary about all its events must hold for this one.
    if summary.time.is_none_or(|(min, max)| !(min..=max).contains(&proof.timestamp)) {
        return Err(EventProofError::FalseSummary("`time` leaves the event's timestamp out"));
    }
    let event = LastEvent { offset: proof.offset, leaf };
    let is_last = proof.leaf_index == events - 1;
    if is_last != (summary.last == Some(event)) {
        return Err(EventProofError::FalseSummary("`last` is not the last event"));
    }
    Ok(summary)
}

impl fmt::Display for ProofPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => f.write_str("the event"),
            Self::Entry => f.write_str("the entry that seals it"),
            Self::Key(i) => write!(f, "key entry {i}"),
            Self::Newest => f.write_str("the last entry of the log"),
        }
    }
}
