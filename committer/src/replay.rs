//! Reads the chain back from the store: re-hashes and applies every entry, and compares everything stored beside it.
//!
//! The signer does this for everything it signs, `fsck` for the whole database.

use std::collections::VecDeque;
use std::sync::Arc;

use evidence::chain::Keys;
use evidence::statement::LedgerId;
use evidence::tree::Node;
use evidence::{EncodedEntry, Hash};

use crate::chain::Chain;
use crate::compute::Compute;
use crate::handoff::{HandedEntry, Handoff};
use crate::parse::{Parsed, parse_all};
use crate::store::{EntryRow, Store, StoreError, StoreErrorKind};

/// Entries read at a time.
const CHUNK: u64 = 1_000;

/// The chain as far as it is read back.
#[derive(Debug)]
pub(crate) struct Replay {
    compute: Compute,
    /// Entries that need not be parsed and verified again.
    handoff: Option<Handoff>,
    chain: Chain,
    /// What must be stored beside the entries read, and is not confirmed yet.
    expected: Vec<Expected>,
}

/// Data that follows from the entries and is stored for lookups.
#[derive(Debug)]
enum Expected {
    Row(EntryRow),
    Node { node: Node, hash: Hash },
}

/// Why reading back stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The database did not answer.
    #[error(transparent)]
    Store(StoreError),
    /// The stored entries are not a valid chain.
    #[error("entry {seq}: {problem}")]
    Invalid {
        /// The first seq that is wrong.
        seq: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl ReplayError {
    fn invalid(seq: u64, problem: impl ToString) -> Self {
        Self::Invalid { seq, problem: problem.to_string() }
    }
}

impl Replay {
    /// Nothing read yet.
    pub(crate) fn new(ledger: &LedgerId, compute: Compute, handoff: Option<Handoff>) -> Self {
        Self { compute, handoff, chain: Chain::new(ledger), expected: Vec::new() }
    }

    /// Continues from a chain that was not read from its first entry on.
    pub(crate) fn resumed(chain: Chain, compute: Compute, handoff: Option<Handoff>) -> Self {
        Self { compute, handoff, chain, expected: Vec::new() }
    }

    /// The chain as far as it was read.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether everything that must be stored beside the entries read was found.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.expected.is_empty()
    }

    /// Reads some of the entries before `end`, at least one unless none is left. After an error the same call reads the
    /// invalid entry again.
    pub(crate) async fn advance(&mut self, store: &dyn Store, end: u64) -> Result<(), ReplayError> {
        self.confirm(store).await?;
        let begin = self.chain.size();
        if begin >= end {
            return Ok(());
        }
        let end = end.min(begin + CHUNK);
        let rows = read(store, begin, end).await?;
        if rows.is_empty() {
            return Err(ReplayError::invalid(begin, "absent"));
        }
        let handed = self.handoff.as_ref().map(|handoff| handoff.take(begin..end)).unwrap_or_default();
        let keys = Arc::new(self.chain.state().keys().clone());
        // A thousand signatures take some 20 ms.
        let nothing = Chain::new(self.chain.state().ledger());
        let chain = std::mem::replace(&mut self.chain, nothing);
        let result;
        (self.chain, self.expected, result) = self.compute.run(move || apply(chain, &keys, rows, handed)).await;
        // The rows beside the entries applied before an invalid one may be wrong: that is the earlier error.
        self.confirm(store).await?;
        result
    }

    /// Confirms that everything expected is stored.
    async fn confirm(&mut self, store: &dyn Store) -> Result<(), ReplayError> {
        for expected in &self.expected {
            match expected {
                Expected::Row(row) => confirm_row(store, row).await?,
                Expected::Node { node, hash } => confirm_node(store, *node, *hash).await?,
            }
        }
        self.expected.clear();
        Ok(())
    }
}

/// Rows from `begin` on; only one if a later row cannot be read.
async fn read(store: &dyn Store, begin: u64, end: u64) -> Result<Vec<EntryRow>, ReplayError> {
    match store.rows(begin..end).await {
        Err(error) if error.kind != StoreErrorKind::Corrupt => return Err(error.into()),
        Err(_) => {}
        Ok(rows) => return Ok(rows),
    }
    store.rows(begin..begin + 1).await.map_err(|error| match error.kind {
        StoreErrorKind::Corrupt => ReplayError::invalid(begin, error.message),
        _ => ReplayError::Store(error),
    })
}

async fn confirm_row(store: &dyn Store, expected: &EntryRow) -> Result<(), ReplayError> {
    let found = store.rows(expected.seq..expected.seq + 1).await?;
    match found.first() {
        None => Err(ReplayError::invalid(expected.seq, "absent")),
        Some(row) => match row.difference(expected) {
            None => Ok(()),
            Some(column) => {
                Err(ReplayError::invalid(expected.seq, format!("its column {column} differs from the entry")))
            }
        },
    }
}

async fn confirm_node(store: &dyn Store, node: Node, hash: Hash) -> Result<(), ReplayError> {
    if store.nodes(node.level, node.index..node.index + 1).await? == [hash] {
        return Ok(());
    }
    // The subtree was due with the entry that completes it.
    let seq = node.range().end - 1;
    Err(ReplayError::invalid(
        seq,
        format!("the tree's subtree {} of level {} is missing or wrong", node.index, node.level),
    ))
}

/// Applies rows in order, up to the first invalid one.
fn apply(
    mut chain: Chain,
    keys: &Keys,
    rows: Vec<EntryRow>,
    handed: VecDeque<HandedEntry>,
) -> (Chain, Vec<Expected>, Result<(), ReplayError>) {
    let mut expected = Vec::new();
    for (row, entry) in rows.iter().zip(entries_of(keys, &rows, handed)) {
        let seq = chain.size();
        if row.seq != seq {
            return (chain, expected, Err(ReplayError::invalid(seq, "absent")));
        }
        let applied = match entry {
            Err(problem) => return (chain, expected, Err(ReplayError::invalid(seq, problem))),
            Ok(entry) => match chain.apply(entry) {
                Err(refusal) => {
                    let problem = format!("{refusal} ({})", refusal.code());
                    return (chain, expected, Err(ReplayError::invalid(seq, problem)));
                }
                Ok(applied) => applied,
            },
        };
        if applied.row != *row {
            expected.push(Expected::Row(applied.row));
        }
        expected.extend(applied.nodes.into_iter().map(|(node, hash)| Expected::Node { node, hash }));
    }
    (chain, expected, Ok(()))
}

/// The entries in rows. Those handed over are used where the row is what was appended; all others are parsed and verified.
fn entries_of(keys: &Keys, rows: &[EntryRow], handed: VecDeque<HandedEntry>) -> Vec<Parsed> {
    let handed = match_handed(rows, handed);
    let others = rows.iter().zip(&handed).filter(|(_, handed)| handed.is_none());
    let others: Vec<_> = others.map(|(row, _)| &row.bytes).collect();
    let mut parsed = parse_all(keys, &others).into_iter();
    let entry =
        |handed: Option<EncodedEntry>| handed.map_or_else(|| parsed.next().expect("all others were parsed"), Ok);
    handed.into_iter().map(entry).collect()
}

/// For each row the entry handed over, if it is what was read back.
fn match_handed(rows: &[EntryRow], mut handed: VecDeque<HandedEntry>) -> Vec<Option<EncodedEntry>> {
    let entry_of = |row: &EntryRow| {
        while handed.front().is_some_and(|handed| handed.seq() < row.seq) {
            handed.pop_front();
        }
        let handed = handed.pop_front_if(|handed| handed.seq() == row.seq)?;
        handed.0.is_read_back(&row.bytes).then_some(handed.0)
    };
    rows.iter().map(entry_of).collect()
}
