//! What one transaction appends. The chain's state alone decides on each statement.

use std::collections::HashMap;

use evidence::chain::Refusal;
use evidence::{EncodedEntry, Hash, SignedStatement, SigningKey, Statement, StreamId};

use super::request::{Candidate, Decision};
use crate::chain::{Applied, Chain};
use crate::store::{Append, Moved, StoredEntry};

/// Statements that are in the chain, by the hashes of their texts.
pub(super) type Known = HashMap<Hash, StoredEntry>;

/// A draft of an append, on a chain that runs ahead of the database by it.
pub(super) struct Group {
    chain: Chain,
    now_ms: i64,
    /// Before this group or by it.
    known: Known,
    applied: Vec<Applied>,
    /// The cursor before the group of each stream that it moves; `None` for a new one.
    moved: HashMap<StreamId, Option<u64>>,
}

impl Group {
    /// Begins on the locked chain. `known` are the statements to append that it already holds.
    pub(super) fn new(chain: Chain, now_ms: i64, known: Known) -> Self {
        Self { chain, now_ms, known, applied: Vec::new(), moved: HashMap::new() }
    }

    /// Appends the statements of one request, up to the first that is refused.
    pub(super) fn append_all(&mut self, statements: &[Candidate]) -> Decision {
        let mut accepted = Vec::with_capacity(statements.len());
        let mut refused = None;
        for Candidate { hash, statement } in statements {
            if let Some(entry) = self.known.get(hash) {
                accepted.push(entry.clone());
                continue;
            }
            match self.append(*hash, statement.clone()) {
                Ok(entry) => accepted.push(entry),
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let last = accepted.len().min(statements.len().saturating_sub(1));
        let stream = statements.get(last).and_then(|candidate| candidate.statement.statement().stream());
        let open_stream = stream.map(|stream| self.chain.open_stream_row(&stream.partition));
        Decision { accepted, refused, open_stream }
    }

    /// Appends a heads statement, if a stream moved since the last one.
    pub(super) fn append_heads(&mut self, log_key: &SigningKey) -> Decision {
        let Some(heads) = self.chain.state().draft_heads() else {
            return Decision::default();
        };
        let statement = SignedStatement::sign(Statement::Heads(heads), &[log_key]);
        self.append_all(&[Candidate { hash: statement.hash(), statement }])
    }

    fn append(&mut self, hash: Hash, statement: SignedStatement) -> Result<StoredEntry, Refusal> {
        let cursor = statement.statement().stream().and_then(|id| self.chain.state().stream(id)).map(|head| head.next);
        let applied = self.chain.append(statement, self.now_ms)?;
        if let Some(id) = &applied.stream {
            self.moved.entry(id.clone()).or_insert(cursor);
        }
        let entry = StoredEntry { seq: applied.row.seq, bytes: applied.row.bytes.clone() };
        self.known.insert(hash, entry.clone());
        self.applied.push(applied);
        Ok(entry)
    }

    /// Returns the chain after the group, and the append with its entries; `None` if there is nothing to write.
    pub(super) fn finish(self) -> (Chain, Option<(Append, Vec<EncodedEntry>)>) {
        let Some(position) = self.chain.position().filter(|_| !self.applied.is_empty()) else {
            return (self.chain, None);
        };
        let streams = self.moved.into_iter().map(|(id, from)| {
            let row = self.chain.stream_row(&id).expect("an applied entry gave its stream a row");
            Moved { from, row }
        });
        let streams = streams.collect();
        let nodes = self.applied.iter().flat_map(|a| a.nodes.iter().copied()).collect();
        let (rows, entries) = self.applied.into_iter().map(|a| (a.row, a.entry)).unzip();
        (self.chain, Some((Append { entries: rows, streams, nodes, position }, entries)))
    }
}
