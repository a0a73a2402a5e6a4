//! `committer fsck`: the whole database re-hashed, re-applied and compared.

use std::collections::HashMap;
use std::fmt;

use evidence::statement::Effect;
use evidence::statement::LedgerId;
use evidence::{Head, Partition};

use crate::chain::Chain;
use crate::checkpoints;
use crate::compute::Compute;
use crate::parse::parse;
use crate::replay::{Fault, Replay};
use crate::store::{Begun, Store, StoreError, StoreErrorKind, StreamRow};

/// How many seqs are looked through at a time for entries of no stream.
const RANGE: usize = 100_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries that are a valid chain, from the first on.
    pub valid: Head,
    /// Entries that the database says there are.
    pub size: u64,
    /// The first entry that is wrong, and what is wrong with it or beside it.
    pub first_bad: Option<(u64, String)>,
    /// What else is not as the entries say.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.first_bad.is_none() && self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} entries are a valid chain with root {}", self.valid.size, self.size, self.valid.root)?;
        if let Some((seq, problem)) = &self.first_bad {
            write!(f, "\nentry {seq}: {problem}")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Checks everything that is stored of a ledger. Committers may go on; at the end the ledger is locked for a moment.
/// `progress` is told how many entries were checked, and of how many.
///
/// # Errors
/// When the database does not answer. What is wrong with its contents is no error but the report.
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
    let first_bad = checked.await;
    let first_bad = match first_bad {
        Ok(()) => None,
        Err(Fault::Bad { seq, problem }) => Some((seq, problem)),
        Err(Fault::Store(error)) if error.kind == StoreErrorKind::Damaged => {
            check.problems.push(error.message);
            None
        }
        Err(Fault::Store(error)) => return Err(error),
    };
    let chain = check.replay.chain();
    let valid = Head { size: chain.size(), root: chain.root() };
    Ok(Report { valid, size: size.max(valid.size), first_bad, problems: check.problems })
}

struct Check<'a> {
    store: &'a dyn Store,
    replay: Replay,
    problems: Vec<String>,
}

impl Check<'_> {
    /// Reads entries back, up to a size.
    async fn entries(&mut self, size: u64, progress: &mut (impl FnMut(u64, u64) + Send)) -> Result<(), Fault> {
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

    /// Compares what is stored beside the entries, under the lock, so that none of it moves meanwhile.
    async fn tables(&mut self, progress: &mut (impl FnMut(u64, u64) + Send)) -> Result<(), Fault> {
        let Begun { position, transaction, .. } = self.store.begin(&[]).await?;
        let size = position.map_or(0, |p| p.next_seq);
        self.entries(size, progress).await?;
        let chain = self.replay.chain();
        if position != chain.position() {
            self.problems.push(format!("the position says {position:?}, the entries {:?}", chain.position()));
        }
        if size == 0 {
            self.problems.push("the chain is empty: not even its genesis is there".to_owned());
        }
        if let Some(seq) = self.store.stray_entry(size).await? {
            let problem = format!("stored, but the chain has {size} entries");
            match u64::try_from(seq) {
                Ok(seq) => return Err(Fault::Bad { seq, problem }),
                Err(_) => self.problems.push(format!("entry {seq}: {problem}")),
            }
        }
        let found = self.store.node_count().await?;
        let nodes: u64 = (1..8).map(|level| size >> (8 * level)).sum();
        if found != nodes {
            self.problems.push(format!("{found} subtrees of the tree are stored, there are {nodes}"));
        }
        let streams = self.store.streams().await?;
        self.problems.extend(compare_streams(chain, streams));
        for (what, found) in [
            ("the checkpoint", self.store.checkpoint().await?.map(|c| c.head.size)),
            ("the record of what was published", self.store.published().await?),
        ] {
            if let Some(found) = found.filter(|&found| found > size) {
                self.problems.push(format!("{what} says {found} entries, the chain has {size}"));
            }
        }
        drop(transaction);
        Ok(())
    }

    /// Looks everything up by its name, place or kind, as a committer does: an index that lies does not find what is there.
    async fn lookups(&mut self) -> Result<(), Fault> {
        let chain = self.replay.chain();
        let (size, rows) = (chain.size(), chain.stream_rows().collect::<Vec<_>>());
        let lies = |what: String| format!("{what}: an index of the database lies: run REINDEX, and fsck again");
        let mut lost = Vec::new();
        let mut open: HashMap<&Partition, u64> = HashMap::new();
        for row in &rows {
            let number = open.entry(&row.head.id.partition).or_default();
            *number = row.number.max(*number);
        }
        for (partition, number) in open {
            // Since it was checked, a new stream may have begun.
            let found = self.store.open_stream(partition).await?.map(|row| row.number);
            if found < Some(number) {
                lost.push(lies(format!("{partition}: the stream of entry {number} is not found by its name")));
            }
        }
        let newest = self.store.newest_entries(size).await?;
        let newest: HashMap<u64, u64> = newest.iter().map(|newest| (newest.number, newest.entry.seq)).collect();
        for StreamRow { number, head, .. } in &rows {
            if newest.get(number) != Some(&head.seq) {
                lost.push(lies(format!("{}: its newest entry {} is not found by its offset", head.id, head.seq)));
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
            lost.push(lies(format!("by their kinds, the key entries {found:?} are found, there are {keys:?}")));
        }
        let found = self.store.heads_entry(size).await?.map(|stored| stored.seq);
        if found != heads {
            lost.push(lies(format!("by its kind, the newest heads entry found is {found:?}, it is {heads:?}")));
        }
        lost.sort();
        self.problems.extend(lost);
        Ok(())
    }
}

/// What is wrong with a checkpoint over the whole of `chain`.
fn check_checkpoint(chain: &Chain, stored: Head, note: &[u8]) -> Option<String> {
    if stored.root != chain.root() {
        let size = stored.size;
        return Some(format!("the checkpoint of size {size} has root {}, the entries {}", stored.root, chain.root()));
    }
    checkpoints::verify(chain.state().keys(), stored, note).err().map(|fault| fault.to_string())
}

fn compare_streams(chain: &Chain, stored: Vec<StreamRow>) -> Vec<String> {
    let mut stored: HashMap<u64, StreamRow> = stored.into_iter().map(|row| (row.number, row)).collect();
    let mut problems = Vec::new();
    for expected in chain.stream_rows() {
        let id = &expected.head.id;
        match stored.remove(&expected.number) {
            None => problems.push(format!("{id}: the stream's row is absent")),
            Some(row) if row != expected => {
                problems.push(format!("{id}: the stream's row says {row:?}, the entries {expected:?}"));
            }
            Some(_) => {}
        }
    }
    let extra = stored.values().map(|row| format!("{}: a row for a stream that has no entry", row.head.id));
    problems.extend(extra);
    problems.sort();
    problems
}
