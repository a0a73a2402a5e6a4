//! `committer fsck`: the whole database re-hashed, re-applied and compared.

use std::collections::HashMap;
use std::fmt;

use evidence::SignedCheckpoint;
use evidence::statement::LedgerId;
use keystore::Head;

use crate::chain::Chain;
use crate::compute::Compute;
use crate::replay::{Fault, Replay};
use crate::store::{Begun, Store, StoreError, StoreErrorKind, StreamRow};

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
    let first_bad = match check.entries(size, &mut progress).await {
        Ok(()) => check.tables(&mut progress).await,
        Err(fault) => Err(fault),
    };
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
}

/// What is wrong with a checkpoint over the whole of `chain`.
fn check_checkpoint(chain: &Chain, stored: Head, note: &[u8]) -> Option<String> {
    let size = stored.size;
    if stored.root != chain.root() {
        return Some(format!("the checkpoint of size {size} has root {}, the entries {}", stored.root, chain.root()));
    }
    let signed = match SignedCheckpoint::parse(note) {
        Ok(signed) => signed,
        Err(error) => return Some(format!("the checkpoint of size {size}: {error}")),
    };
    let checkpoint = signed.checkpoint();
    if (checkpoint.size, checkpoint.root) != (size, stored.root) {
        return Some(format!("the checkpoint of size {size} is signed for {} {}", checkpoint.size, checkpoint.root));
    }
    let signer = chain.state().keys().verify_checkpoint(&signed);
    signer.err().map(|problem| format!("the checkpoint of size {size}: {problem}"))
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
