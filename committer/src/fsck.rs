//! `committer fsck`: re-hashes, re-applies and compares the whole database.

use std::collections::HashMap;
use std::fmt;

use evidence::statement::Effect;
use evidence::statement::LedgerId;
use evidence::{Head, Partition};

use crate::chain::Chain;
use crate::checkpoints;
use crate::compute::Compute;
use crate::parse::parse;
use crate::replay::{Replay, ReplayError};
use crate::store::{Begun, Store, StoreError, StoreErrorKind, StreamRow};

/// How many seqs are searched at a time for entries of no stream.
const RANGE: usize = 100_000;

/// What `fsck` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The head of the valid chain from the first entry on.
    pub valid: Head,
    /// Number of entries by the database's position.
    pub size: u64,
    /// The first invalid entry, and what is wrong with it or with what is stored beside it.
    pub first_invalid: Option<(u64, String)>,
    /// Everything else that differs from the entries.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.first_invalid.is_none() && self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} entries are a valid chain with root {}", self.valid.size, self.size, self.valid.root)?;
        if let Some((seq, problem)) = &self.first_invalid {
            write!(f, "\nentry {seq}: {problem}")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Checks everything stored for a ledger. Committers may run meanwhile; at the end the ledger is locked for a moment.
/// `progress` gets the number of entries checked, and of all entries.
///
/// # Errors
/// If the database does not answer. Wrong contents are in the report, not an error.
pub async fn fsck(
    store: &dyn Store,
    ledger: &LedgerId,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Report, StoreError> {
    let mut check = Check { store, replay: Replay::new(ledger, Compute::Threads, None), problems: Vec::new() };
    let size = store.position().await?.map_or(0, |p| p.next_seq);
    let checked = async {
        check.entries(size, &mut progress).await?;
        check.tables(&mut progress).await?;
        check.lookups().await
    };
    let first_invalid = checked.await;
    let first_invalid = match first_invalid {
        Ok(()) => None,
        Err(ReplayError::Invalid { seq, problem }) => Some((seq, problem)),
        Err(ReplayError::Store(error)) if error.kind == StoreErrorKind::Corrupt => {
            check.problems.push(error.message);
            None
        }
        Err(ReplayError::Store(error)) => return Err(error),
    };
    let chain = check.replay.chain();
    let valid = Head { size: chain.size(), root: chain.root() };
    Ok(Report { valid, size: size.max(valid.size), first_invalid, problems: check.problems })
}

struct Check<'a> {
    store: &'a dyn Store,
    replay: Replay,
    problems: Vec<String>,
}

impl Check<'_> {
    /// Reads entries back, up to a size.
    async fn entries(&mut self, size: u64, progress: &mut (impl FnMut(u64, u64) + Send)) -> Result<(), ReplayError> {
        let checkpoint = self.store.checkpoint().await?;
        while self.replay.chain().size() < size {
            let at = self.replay.chain().size();
            let checkpoint_size = checkpoint.as_ref().map(|c| c.head.size).filter(|&size| size > at);
            self.replay.advance(self.store, checkpoint_size.unwrap_or(size).min(size)).await?;
            let chain = self.replay.chain();
            progress(chain.size(), size);
            if let Some(checkpoint) = checkpoint.as_ref().filter(|c| c.head.size == chain.size()) {
                let problem = check_checkpoint(chain, checkpoint.head, &checkpoint.note);
                self.problems.extend(problem);
            }
        }
        Ok(())
    }

    /// Compares what is stored beside the entries. The lock keeps it from changing meanwhile.
    async fn tables(&mut self, progress: &mut (impl FnMut(u64, u64) + Send)) -> Result<(), ReplayError> {
        let Begun { position, transaction, .. } = self.store.begin(&[]).await?;
        let size = position.map_or(0, |p| p.next_seq);
        self.entries(size, progress).await?;
        let chain = self.replay.chain();
        if position != chain.position() {
            self.problems.push(format!("the position says {position:?}, but the entries say {:?}", chain.position()));
        }
        if size == 0 {
            self.problems.push("the chain is empty: even its genesis is missing".to_owned());
        }
        if let Some(seq) = self.store.stray_entry(size).await? {
            let problem = format!("stored, but the chain has {size} entries");
            match u64::try_from(seq) {
                Ok(seq) => return Err(ReplayError::Invalid { seq, problem }),
                Err(_) => self.problems.push(format!("entry {seq}: {problem}")),
            }
        }
        let found = self.store.node_count().await?;
        let nodes: u64 = (1..8).map(|level| size >> (8 * level)).sum();
        if found != nodes {
            self.problems.push(format!("{found} subtrees of the tree are stored instead of {nodes}"));
        }
        let streams = self.store.streams().await?;
        self.problems.extend(compare_streams(chain, streams));
        for (what, found) in [
            ("the checkpoint", self.store.checkpoint().await?.map(|c| c.head.size)),
            ("the record of what was published", self.store.published().await?),
        ] {
            if let Some(found) = found.filter(|&found| found > size) {
                self.problems.push(format!("{what} says {found} entries, but the chain has {size}"));
            }
        }
        drop(transaction);
        Ok(())
    }

    /// Looks everything up by its name, place or kind, as a committer does. A corrupt index misses rows that exist.
    async fn lookups(&mut self) -> Result<(), ReplayError> {
        let chain = self.replay.chain();
        let (size, rows) = (chain.size(), chain.stream_rows().collect::<Vec<_>>());
        let lies = |what: String| format!("{what}: an index of the database is corrupt: run REINDEX, then fsck again");
        let mut lost = Vec::new();
        let mut open: HashMap<&Partition, u64> = HashMap::new();
        for row in &rows {
            let number = open.entry(&row.state.id.partition).or_default();
            *number = row.number.max(*number);
        }
        for (partition, number) in open {
            // A newer stream may have begun since the entries were read.
            let found = self.store.open_stream(partition).await?.map(|row| row.number);
            if found < Some(number) {
                lost.push(lies(format!("{partition}: the stream of entry {number} is not found by its name")));
            }
        }
        let newest = self.store.newest_entries(size).await?;
        let newest: HashMap<u64, u64> = newest.iter().map(|newest| (newest.number, newest.entry.seq)).collect();
        for StreamRow { number, state, .. } in &rows {
            if newest.get(number) != Some(&state.seq) {
                lost.push(lies(format!("{}: its newest entry {} is not found by its offset", state.id, state.seq)));
            }
        }
        let (mut keys, mut heads) = (Vec::new(), None);
        for begin in (0..size).step_by(RANGE) {
            for stored in self.store.ledger_entries(begin..size.min(begin + RANGE as u64)).await? {
                match parse(&stored)?.statement.statement().kind().effect() {
                    Effect::Commit => heads = Some(stored.seq),
                    Effect::Keys => keys.push(stored.seq),
                    Effect::Advance | Effect::NewStream => {}
                }
            }
        }
        let mut found: Vec<_> = self.store.key_entries().await?.iter().map(|stored| stored.seq).collect();
        found.retain(|seq| *seq < size);
        if found != keys {
            lost.push(lies(format!("by their kinds, the key entries {found:?} are found instead of {keys:?}")));
        }
        let found = self.store.heads_entry(size).await?.map(|stored| stored.seq);
        if found != heads {
            lost.push(lies(format!("by its kind, the newest heads entry found is {found:?} instead of {heads:?}")));
        }
        lost.sort();
        self.problems.extend(lost);
        Ok(())
    }
}

/// Checks a checkpoint over the whole of `chain`; returns what is wrong.
fn check_checkpoint(chain: &Chain, stored: Head, note: &[u8]) -> Option<String> {
    if stored.root != chain.root() {
        let size = stored.size;
        return Some(format!(
            "the checkpoint of size {size} has root {}, but the entries have {}",
            stored.root,
            chain.root()
        ));
    }
    checkpoints::verify(chain.state().keys(), stored, note).err().map(|error| error.to_string())
}

fn compare_streams(chain: &Chain, stored: Vec<StreamRow>) -> Vec<String> {
    let mut stored: HashMap<u64, StreamRow> = stored.into_iter().map(|row| (row.number, row)).collect();
    let mut problems = Vec::new();
    for expected in chain.stream_rows() {
        let id = &expected.state.id;
        match stored.remove(&expected.number) {
            None => problems.push(format!("{id}: the stream's row is absent")),
            Some(row) if row != expected => {
                problems.push(format!("{id}: the stream's row says {row:?}, but the entries say {expected:?}"));
            }
            Some(_) => {}
        }
    }
    let extra = stored.values().map(|row| format!("{}: the stream has a row, but no entry", row.state.id));
    problems.extend(extra);
    problems.sort();
    problems
}
