//! The chain in memory: the state that decides, the tree's edge, and the names that streams have in the store.

use std::collections::HashMap;

use evidence::chain::{Position, Refusal, State};
use evidence::statement::{Heads, LedgerId};
use evidence::tree::{CompactRange, Node};
use evidence::{EncodedEntry, Entry, Hash, Head, Partition, SignedStatement, Statement, StreamId};

use crate::parse::parse;
use crate::store::{EntryRow, Store, StoreError, StoredCheckpoint, StreamRow};

/// The levels of the tree whose complete subtrees are stored, as in C2SP tlog-tiles: every eighth.
const TILE_HEIGHT: u8 = 8;

/// The chain up to some entry.
///
/// The appender keeps one and lets it run ahead of the database within a transaction. The signer and `fsck` build one
/// from the first entry on. [`State::apply`] makes all decisions.
#[derive(Debug)]
pub(crate) struct Chain {
    state: State,
    tree: CompactRange,
    streams: HashMap<StreamId, Stored>,
}

/// What the store knows of a stream and the state does not.
#[derive(Debug, Clone, Copy)]
struct Stored {
    number: u64,
    last_summary: Option<u64>,
}

/// What an entry adds to the store.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The entry.
    pub(crate) entry: EncodedEntry,
    /// The entry's row.
    pub(crate) row: EntryRow,
    /// The subtrees that it completes, of the levels that are stored.
    pub(crate) nodes: Vec<(Node, Hash)>,
    /// The stream that it moves.
    pub(crate) stream: Option<StreamId>,
}

impl Chain {
    /// The chain without entries.
    pub(crate) fn new(ledger: &LedgerId) -> Self {
        Self {
            state: State::new(&ledger.origin, ledger.genesis),
            tree: CompactRange::starting_at(0),
            streams: HashMap::new(),
        }
    }

    /// Loads the chain from the store's tables. The store must be locked, or the reads may not fit together.
    pub(crate) async fn load(
        store: &dyn Store,
        ledger: &LedgerId,
        position: Option<Position>,
    ) -> Result<Self, StoreError> {
        let Some(position) = position else { return Ok(Self::new(ledger)) };
        let mut entries = store.key_entries().await?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let streams = store.streams().await?;
        let heads = store.heads_entry(position.next_seq).await?.as_ref().map(parse).transpose()?;
        check_checkpoint(store, position).await?;
        let lines = store.heads_lines(position.next_seq).await?;
        let lines: HashMap<_, _> = lines.iter().map(|line| (&line.stream, (line.next, line.statement))).collect();
        streams.iter().try_for_each(|row| check_row(row, lines.get(&row.state.id).copied()))?;
        check_heads(&streams, heads.as_ref())?;
        entries.extend(heads);
        entries.sort_by_key(|entry| entry.seq);
        let mut chain = Self::new(ledger);
        chain.tree = load_tree(store, position.next_seq).await?;
        chain.resume(&entries, streams, position)
    }

    /// Moves the chain to `position` with what the tables say about the entries in between. What another committer
    /// verified is not verified again. `None` if the stored entries do not continue this chain. The store must be locked.
    pub(crate) async fn follow(mut self, store: &dyn Store, position: Position) -> Result<Option<Self>, StoreError> {
        let seqs = self.size()..position.next_seq;
        // The newest entry that this chain has must still be there, unchanged.
        let newest = self.state.last_leaf();
        let begin = seqs.start - u64::from(newest.is_some());
        let leaves = store.nodes(0, begin..seqs.end).await?;
        let new = newest.map_or(Some(&*leaves), |newest| leaves.strip_prefix(&[newest]));
        let Some(new) = new.filter(|new| new.len() as u64 == seqs.end - seqs.start) else { return Ok(None) };
        if leaves.last() != Some(&position.last_leaf) {
            return Ok(None);
        }
        new.iter().for_each(|leaf| self.tree.push_leaf(*leaf));
        let entries = store.ledger_entries(seqs.clone()).await?;
        let entries = entries.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let moved = store.moved_streams(seqs.clone()).await?;
        let ends = store.ends(seqs).await?;
        let ends: HashMap<_, _> = ends.iter().map(|end| (end.number, (end.next, end.statement))).collect();
        if moved.len() != ends.len() {
            return Err(StoreError::corrupt(format!(
                "the table streams has {} of the {} streams that other committers moved: run fsck, and correct the rows \
                 (docs/operations.md, Recovery)",
                moved.len(),
                ends.len()
            )));
        }
        moved.iter().try_for_each(|row| check_row(row, ends.get(&row.number).copied()))?;
        self.resume(&entries, moved, position).map(Some)
    }

    /// Moves the state to `position`, where the tree is already.
    fn resume(mut self, entries: &[Entry], moved: Vec<StreamRow>, position: Position) -> Result<Self, StoreError> {
        for row in &moved {
            let stored = Stored { number: row.number, last_summary: row.last_summary };
            self.streams.insert(row.state.id.clone(), stored);
        }
        let moved = moved.into_iter().map(|row| row.state);
        self.state = self.state.resume(entries, moved, position).map_err(|refusal| {
            StoreError::corrupt(format!(
                "the stored genesis, key and heads entries are no valid chain: {refusal}: run fsck"
            ))
        })?;
        Ok(self)
    }

    /// Makes a chain from a state, the edge of its tree, and the numbers of its streams.
    pub(crate) fn resumed(state: State, tree: CompactRange, numbers: impl Iterator<Item = (StreamId, u64)>) -> Self {
        let stored = |number| Stored { number, last_summary: None };
        Self { state, tree, streams: numbers.map(|(id, number)| (id, stored(number))).collect() }
    }

    /// Makes a statement the next entry, at `now_ms` by the database's clock.
    pub(crate) fn append(&mut self, statement: SignedStatement, now_ms: i64) -> Result<Applied, Refusal> {
        let entry = self.state.draft(statement, now_ms);
        self.apply(EncodedEntry::new(entry))
    }

    /// Applies the next entry. A refused entry changes nothing.
    pub(crate) fn apply(&mut self, entry: EncodedEntry) -> Result<Applied, Refusal> {
        self.state.apply_encoded(&entry)?;
        let statement = entry.entry().statement.statement();
        let stream = statement.stream().cloned();
        let number = stream.as_ref().map(|id| self.note_stream(id, entry.entry().seq, statement));
        let row = EntryRow::new(&entry, number);
        let mut nodes = Vec::new();
        self.tree.push_leaf_with(row.leaf, |node, hash| {
            if node.level > 0 && node.level % TILE_HEIGHT == 0 {
                nodes.push((node, hash));
            }
        });
        Ok(Applied { entry, row, nodes, stream })
    }

    /// The stream's number: the seq of its first entry.
    fn note_stream(&mut self, id: &StreamId, seq: u64, statement: &Statement) -> u64 {
        let new = Stored { number: seq, last_summary: None };
        let stored = self.streams.entry(id.clone()).or_insert(new);
        if matches!(statement, Statement::Summary(summary) if summary.events > 0) {
            stored.last_summary = Some(seq);
        }
        stored.number
    }

    /// The row of a stream that has a statement.
    pub(crate) fn stream_row(&self, id: &StreamId) -> Option<StreamRow> {
        let (state, stored) = (self.state.stream(id)?, self.streams.get(id)?);
        Some(StreamRow { number: stored.number, state: state.clone(), last_summary: stored.last_summary })
    }

    /// The row of a partition's open stream, if it has one.
    pub(crate) fn open_stream_row(&self, partition: &Partition) -> Option<StreamRow> {
        self.stream_row(&self.state.streams().open(partition)?.id)
    }

    /// The rows of all streams.
    pub(crate) fn stream_rows(&self) -> impl Iterator<Item = StreamRow> {
        self.streams.keys().filter_map(|id| self.stream_row(id))
    }

    /// The state that decides.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// How many entries it has.
    pub(crate) fn size(&self) -> u64 {
        self.tree.end()
    }

    /// The root of the tree over its entries.
    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The chain's position; `None` when it is empty.
    pub(crate) fn position(&self) -> Option<Position> {
        let last_leaf = self.state.last_leaf()?;
        Some(Position { next_seq: self.state.next_seq(), last_leaf, time: self.state.time() })
    }
}

/// Compares the chain with its own checkpoint. A shorter or different chain is an old copy or was changed. Without a
/// signer, nothing else would notice.
async fn check_checkpoint(store: &dyn Store, position: Position) -> Result<(), StoreError> {
    let Some(StoredCheckpoint { head: signed, .. }) = store.checkpoint().await? else { return Ok(()) };
    if position.next_seq < signed.size {
        return Err(StoreError::corrupt(format!(
            "it has {} entries, but its own checkpoint says {signed}: it lost its newest entries: put the full one back",
            position.next_seq
        )));
    }
    let root = load_tree(store, signed.size).await?.root();
    if root != signed.root {
        let found = Head { size: signed.size, root };
        return Err(StoreError::corrupt(format!("it has {found}, its own checkpoint says {signed}: run fsck")));
    }
    Ok(())
}

/// Compares a row of the table `streams` with the stream's newest entry, `newest`. The row repeats what the entries say,
/// and new statements are decided by it: a changed row would let invalid statements into the chain.
fn check_row(StreamRow { state, .. }: &StreamRow, newest: Option<(u64, Hash)>) -> Result<(), StoreError> {
    if newest == Some((state.next, state.statement)) {
        return Ok(());
    }
    let newest = newest.map_or_else(|| "none".to_owned(), |(next, statement)| format!("{next} {statement}"));
    Err(StoreError::corrupt(format!(
        "the table streams says that {} is at {} {}, but its newest entry says {newest}: correct the row \
         (docs/operations.md, Recovery)",
        state.id, state.next, state.statement
    )))
}

/// Compares the number of rows with the newest heads entry: a removed row would let invalid statements in too.
fn check_heads(rows: &[StreamRow], heads: Option<&Entry>) -> Result<(), StoreError> {
    let Some(Entry { seq, statement, .. }) = heads else { return Ok(()) };
    let Statement::Heads(Heads { streams: stated, .. }) = statement.statement() else {
        return Err(StoreError::corrupt(format!("entry {seq} is stored as heads, but is none")));
    };
    let found = rows.iter().filter(|row| row.number < *seq).count() as u64;
    if found != *stated {
        return Err(StoreError::corrupt(format!(
            "the table streams has {found} streams that began before entry {seq}, which states {stated}: run fsck, and correct \
             the rows (docs/operations.md, Recovery)"
        )));
    }
    Ok(())
}

/// Loads the edge of the tree over the first `size` entries from the stored hashes of complete subtrees.
pub(crate) async fn load_tree(store: &dyn Store, size: u64) -> Result<CompactRange, StoreError> {
    let mut tree = CompactRange::starting_at(0);
    for level in (0..=56).rev().step_by(TILE_HEIGHT.into()) {
        // Only those that no higher stored subtree covers: fewer than 256.
        let above = size.checked_shr(u32::from(level) + 8).unwrap_or(0);
        let indices = above << TILE_HEIGHT..size >> level;
        if indices.is_empty() {
            continue;
        }
        let hashes = store.nodes(level, indices.clone()).await?;
        if hashes.len() as u64 != indices.end - indices.start {
            return Err(StoreError::corrupt(format!(
                "{} of the tree's subtrees {indices:?} of level {level} are stored: run fsck",
                hashes.len()
            )));
        }
        for (index, hash) in indices.zip(hashes) {
            tree.push(Node { level, index }, hash)
                .map_err(|e| StoreError::corrupt(format!("the tree of {size} entries: {e}")))?;
        }
    }
    Ok(tree)
}
