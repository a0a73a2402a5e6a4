//! A chain of any length without its middle. A committer can continue it, because it does not read the middle.

use std::path::Path;

use committer::store::{self, Append, EntryRow, Moved, StreamRow};
use evidence::chain::{Position, State, StreamState};
use evidence::statement::StatementKind;
use evidence::tree::{CompactRange, Node};
use evidence::{EncodedEntry, Hash, Head, SignedStatement, Statement, sha256};
use keystore::HighWater;

use testbed::statements::{ORIGIN, TestLedger, stream};

/// Number of real entries at the start.
const FIRST: usize = 9_000;

/// The time of all entries.
const TIME: i64 = 1_700_000_000_000;

pub(crate) struct LongChain {
    parts: Vec<Append>,
    head: Head,
}

impl LongChain {
    /// A chain of `size` entries. The last one is the heads statement for its only stream.
    pub(crate) fn make(ledger: &TestLedger, size: u64) -> Self {
        let mut first = Beginning::new(ledger);
        let id = stream("t-long", 0);
        let summaries = ledger.summaries(&id, 0, 10, FIRST, None);
        let beginning: Vec<_> = [&ledger.genesis].into_iter().chain(&ledger.grants).chain(&summaries).collect();
        let number = beginning.len() as u64 - FIRST as u64;
        let beginning = first.append(&beginning, number);

        // Only the newest summary and the heads statement are real at the end.
        let made_up = |what: &str, index: u64| sha256(format!("{what} {index}").as_bytes());
        let at = size - 2;
        let stream = StreamState { next: 10 * at, statement: made_up("statement", at), ..first.stream_state() };
        let position = Position { next_seq: at, last_leaf: made_up("leaf", at - 1), time: TIME };
        let mut state = State::new(ORIGIN, ledger.id().genesis)
            .resume(&first.key_entries, [stream.clone()], position)
            .expect("the beginning's keys");
        let newest = ledger.summary(&id, stream.next, stream.next + 10, Some(stream.statement));
        let newest = applied(&mut state, newest);
        let heads = state.draft_heads().expect("the stream moved");
        let heads = applied(&mut state, SignedStatement::sign(Statement::Heads(heads), &[&ledger.log]));

        let (mut tree, mut nodes, mut rows) = (CompactRange::starting_at(0), Vec::new(), Vec::new());
        for level in [24_u8, 16, 8, 0] {
            let above = at >> level >> 8;
            for index in above << 8..at >> level {
                let node = Node { level, index };
                let stored = beginning.nodes.iter().find(|(stored, _)| *stored == node);
                let hash = match stored {
                    Some((_, hash)) => *hash,
                    None if node == Node::leaf(at - 1) => position.last_leaf,
                    None => made_up(&format!("level {level}"), index),
                };
                tree.push(node, hash).expect("the next of the edge");
                match (level, stored) {
                    (0, _) => rows.push(made_up_row(index, hash)),
                    (_, None) => nodes.push((node, hash)),
                    (_, Some(_)) => {}
                }
            }
        }
        rows.extend([EntryRow::new(&newest, Some(number)), EntryRow::new(&heads, None)]);
        for entry in [&newest, &heads] {
            tree.push_leaf_with(entry.leaf(), |node, hash| {
                if node.level > 0 && node.level % 8 == 0 {
                    nodes.push((node, hash));
                }
            });
        }
        let row = StreamRow { number, state: state.stream(&id).expect("moved").clone(), last_summary: Some(at) };
        let position = Position { next_seq: size, last_leaf: heads.leaf(), time: TIME };
        let streams = vec![Moved { from: Some(first.stream_state().next), row }];
        let end = Append { entries: rows, streams, nodes, position };
        Self { parts: vec![beginning, end], head: Head { size, root: tree.root() } }
    }

    /// Writes it to an empty database, and its high-water file beside the log key.
    pub(crate) async fn write(&self, ledger: &TestLedger, url: &str, log_key: &Path) -> anyhow::Result<()> {
        let store = store::open(url, &ledger.id()).await?;
        for part in &self.parts {
            store.begin(&[]).await?.transaction.commit(part).await?;
        }
        let mut path = log_key.as_os_str().to_owned();
        path.push(".high-water");
        HighWater::open(Path::new(&path), ORIGIN)?.advance(self.head)?;
        Ok(())
    }
}

fn applied(state: &mut State, statement: SignedStatement) -> EncodedEntry {
    let entry = EncodedEntry::new(state.draft(statement, TIME));
    state.apply_encoded(&entry).expect("it continues the chain");
    entry
}

/// Only its leaf hash is ever used.
fn made_up_row(seq: u64, leaf: Hash) -> EntryRow {
    EntryRow {
        seq,
        leaf,
        statement: leaf,
        kind: StatementKind::Summary.name().to_owned(),
        place: None,
        bytes: Vec::new(),
    }
}

/// The real entries.
struct Beginning {
    state: State,
    tree: CompactRange,
    key_entries: Vec<evidence::Entry>,
}

impl Beginning {
    fn new(ledger: &TestLedger) -> Self {
        let id = ledger.id();
        Self { state: State::new(&id.origin, id.genesis), tree: CompactRange::starting_at(0), key_entries: Vec::new() }
    }

    fn stream_state(&self) -> StreamState {
        self.state.stream(&stream("t-long", 0)).expect("it has begun").clone()
    }

    fn append(&mut self, statements: &[&SignedStatement], number: u64) -> Append {
        let (mut entries, mut nodes) = (Vec::new(), Vec::new());
        for &statement in statements {
            let entry = applied(&mut self.state, statement.clone());
            let of_stream = statement.statement().stream().map(|_| number);
            if of_stream.is_none() {
                self.key_entries.push(entry.entry().clone());
            }
            self.tree.push_leaf_with(entry.leaf(), |node, hash| {
                if node.level > 0 && node.level % 8 == 0 {
                    nodes.push((node, hash));
                }
            });
            entries.push(EntryRow::new(&entry, of_stream));
        }
        let state = self.stream_state();
        let (next_seq, last_leaf) = (self.state.next_seq(), self.state.last_leaf().expect("there are entries"));
        let streams = vec![Moved { from: None, row: StreamRow { number, last_summary: Some(state.seq), state } }];
        Append { entries, streams, nodes, position: Position { next_seq, last_leaf, time: TIME } }
    }
}
