//! Reading the chain back from the store: every entry re-hashed and applied, everything beside it compared.
//!
//! The signer does this for all that it signs, `fsck` for the whole database.

use std::collections::VecDeque;
use std::sync::Arc;

use evidence::chain::Keys;
use evidence::statement::LedgerId;
use evidence::tree::Node;
use evidence::{EncodedEntry, Hash};

use crate::chain::Chain;
use crate::compute::Compute;
use crate::parse::{Parsed, parse_all};
use crate::recent::{Handed, Recent};
use crate::store::{EntryRow, Store, StoreError, StoreErrorKind};

/// Entries read at a time.
const CHUNK: u64 = 1_000;

/// The chain as far as it was read back.
#[derive(Debug)]
pub(crate) struct Replay {
    compute: Compute,
    /// Entries that need not be parsed and verified again.
    recent: Option<Recent>,
    chain: Chain,
    /// What must be stored beside the entries read, and was not yet found to be.
    expected: Vec<Expected>,
}

/// Something that follows from the entries and is stored for lookups.
#[derive(Debug)]
enum Expected {
    Row(EntryRow),
    Node { node: Node, hash: Hash },
}

/// Why reading back stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The database did not answer.
    #[error(transparent)]
    Store(StoreError),
    /// What is stored is not a valid chain.
    #[error("entry {seq}: {problem}")]
    Bad {
        /// The first seq that is wrong.
        seq: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    fn bad(seq: u64, problem: impl ToString) -> Self {
        Self::Bad { seq, problem: problem.to_string() }
    }
}

impl Replay {
    /// Nothing read yet.
    pub(crate) fn new(ledger: &LedgerId, compute: Compute, recent: Option<Recent>) -> Self {
        Self { compute, recent, chain: Chain::new(ledger), expected: Vec::new() }
    }

    /// Goes on from a chain that was not read from its first entry on.
    pub(crate) fn resumed(chain: Chain, compute: Compute, recent: Option<Recent>) -> Self {
        Self { compute, recent, chain, expected: Vec::new() }
    }

    /// The chain as far as it was read.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether all that must be stored beside the entries read was found to be there.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.expected.is_empty()
    }

    /// Reads some of the entries before `end`, one at least unless there is none left. After a fault the same call
    /// looks again at what was bad.
    pub(crate) async fn advance(&mut self, store: &dyn Store, end: u64) -> Result<(), Fault> {
        self.confirm(store).await?;
        let begin = self.chain.size();
        if begin >= end {
            return Ok(());
        }
        let end = end.min(begin + CHUNK);
        let rows = read(store, begin, end).await?;
        if rows.is_empty() {
            return Err(Fault::bad(begin, "absent"));
        }
        let handed = self.recent.as_ref().map(|recent| recent.take(begin..end)).unwrap_or_default();
        let keys = Arc::new(self.chain.state().keys().clone());
        // A thousand signatures take some 20 ms.
        let nothing = Chain::new(self.chain.state().ledger());
        let chain = std::mem::replace(&mut self.chain, nothing);
        let result;
        (self.chain, self.expected, result) = self.compute.run(move || apply(chain, &keys, rows, handed)).await;
        // What was applied before a bad entry may have something wrong beside it: that is the earlier fault.
        self.confirm(store).await?;
        result
    }

    /// Compares what must be stored with what is; returns when all of it is there.
    async fn confirm(&mut self, store: &dyn Store) -> Result<(), Fault> {
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

/// Rows from `begin` on; one only, where one of those behind it cannot be read.
async fn read(store: &dyn Store, begin: u64, end: u64) -> Result<Vec<EntryRow>, Fault> {
    match store.rows(begin..end).await {
        Err(error) if error.kind != StoreErrorKind::Damaged => return Err(error.into()),
        Err(_) => {}
        Ok(rows) => return Ok(rows),
    }
    store.rows(begin..begin + 1).await.map_err(|error| match error.kind {
        StoreErrorKind::Damaged => Fault::bad(begin, error.message),
        _ => Fault::Store(error),
    })
}

async fn confirm_row(store: &dyn Store, expected: &EntryRow) -> Result<(), Fault> {
    let found = store.rows(expected.seq..expected.seq + 1).await?;
    match found.first() {
        None => Err(Fault::bad(expected.seq, "absent")),
        Some(row) => match row.difference(expected) {
            None => Ok(()),
            Some(column) => Err(Fault::bad(expected.seq, format!("its column {column} is not what the entry says"))),
        },
    }
}

async fn confirm_node(store: &dyn Store, node: Node, hash: Hash) -> Result<(), Fault> {
    if store.nodes(node.level, node.index..node.index + 1).await? == [hash] {
        return Ok(());
    }
    // The entry that completed the subtree is where the row was due.
    let seq = node.range().end - 1;
    Err(Fault::bad(seq, format!("the tree's subtree {} of level {} is not stored as it is", node.index, node.level)))
}

/// Applies rows in order, up to the first that cannot be.
fn apply(
    mut chain: Chain,
    keys: &Keys,
    rows: Vec<EntryRow>,
    handed: VecDeque<Handed>,
) -> (Chain, Vec<Expected>, Result<(), Fault>) {
    let mut expected = Vec::new();
    for (row, entry) in rows.iter().zip(entries_of(keys, &rows, handed)) {
        let seq = chain.size();
        if row.seq != seq {
            return (chain, expected, Err(Fault::bad(seq, "absent")));
        }
        let applied = match entry {
            Err(problem) => return (chain, expected, Err(Fault::bad(seq, problem))),
            Ok(entry) => match chain.apply(entry) {
                Err(refusal) => {
                    let problem = format!("{refusal} ({})", refusal.code());
                    return (chain, expected, Err(Fault::bad(seq, problem)));
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

/// The entries in rows: those handed over where the row is what was appended, all others parsed and verified.
fn entries_of(keys: &Keys, rows: &[EntryRow], handed: VecDeque<Handed>) -> Vec<Parsed> {
    let handed = match_handed(rows, handed);
    let others = rows.iter().zip(&handed).filter(|(_, handed)| handed.is_none());
    let others: Vec<_> = others.map(|(row, _)| &row.bytes).collect();
    let mut parsed = parse_all(keys, &others).into_iter();
    let entry =
        |handed: Option<EncodedEntry>| handed.map_or_else(|| parsed.next().expect("all others were parsed"), Ok);
    handed.into_iter().map(entry).collect()
}

/// In step with the rows, what was handed over of each, if that is what was read back.
fn match_handed(rows: &[EntryRow], mut handed: VecDeque<Handed>) -> Vec<Option<EncodedEntry>> {
    let entry_of = |row: &EntryRow| {
        while handed.front().is_some_and(|handed| handed.seq() < row.seq) {
            handed.pop_front();
        }
        let handed = handed.pop_front_if(|handed| handed.seq() == row.seq)?;
        handed.0.is_read_back(&row.bytes).then_some(handed.0)
    };
    rows.iter().map(entry_of).collect()
}
