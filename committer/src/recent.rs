//! Entries on their way from the appender to the signer of the same process.
//!
//! The signer reads every entry back from the database, compares it byte for byte with what was appended, hashes what
//! it read and applies it. What it need not do again is to parse the entry and to verify its signatures, which is most
//! of the work: the entry comes with a memory of them ([`evidence::Note::verify`]). An entry that does not come this way,
//! or comes back with a byte changed, is parsed and verified in full.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::EncodedEntry;
use tokio::sync::Notify;

/// Enough for what is appended while the signer is at work, at some 2 KiB each.
pub(crate) const ENTRIES_MAX: usize = 16 * 1024;

/// An entry that was committed.
#[derive(Debug)]
pub(crate) struct Handed(pub(crate) EncodedEntry);

impl Handed {
    pub(crate) fn seq(&self) -> u64 {
        self.0.entry().seq
    }
}

/// What waits for the signer, in seq order; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Recent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Of more than these, the oldest are forgotten.
    entries_max: usize,
    waiting: Mutex<VecDeque<Handed>>,
    many: Notify,
}

impl Recent {
    /// Room for so many entries.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self(Arc::new(Shared { entries_max, waiting: Mutex::default(), many: Notify::new() }))
    }

    /// Hands over entries that were committed, from the seq of the first on.
    pub(crate) fn hand(&self, first: u64, entries: impl IntoIterator<Item = Handed>) {
        let mut waiting = self.lock();
        // Those that stand there already are of a database that lost them.
        let before = waiting.partition_point(|handed| handed.seq() < first);
        waiting.truncate(before);
        waiting.extend(entries);
        let surplus = waiting.len().saturating_sub(self.0.entries_max);
        waiting.drain(..surplus);
        if waiting.len() > self.0.entries_max / 4 {
            self.0.many.notify_one();
        }
    }

    /// Returns when so many wait, a quarter of the room, that they should be taken soon lest some are forgotten; at times
    /// when fewer do.
    pub(crate) async fn many(&self) {
        self.0.many.notified().await;
    }

    /// Takes those of a range of seqs, and forgets those before it.
    pub(crate) fn take(&self, seqs: Range<u64>) -> VecDeque<Handed> {
        let mut waiting = self.lock();
        let before = waiting.partition_point(|handed| handed.seq() < seqs.start);
        waiting.drain(..before);
        let end = waiting.partition_point(|handed| handed.seq() < seqs.end);
        waiting.drain(..end).collect()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Handed>> {
        // Nothing in here panics half-way.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
