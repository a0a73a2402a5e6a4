//! Entries on their way from the appender to the signer of the same process.
//!
//! The signer reads every entry back from the database, compares it byte for byte with what was appended, hashes what
//! it read and applies it. It skips parsing and signatures, which are most of the work: the handed-over entry remembers
//! that they were verified ([`evidence::Note::verify`]). Any other entry, or one with a changed byte, is parsed and
//! verified in full.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::EncodedEntry;
use tokio::sync::Notify;

/// Enough for what is appended during one round of the signer, at some 2 KiB each.
pub(crate) const ENTRIES_MAX: usize = 16 * 1024;

/// An entry that was committed.
#[derive(Debug)]
pub(crate) struct HandedEntry(pub(crate) EncodedEntry);

impl HandedEntry {
    pub(crate) fn seq(&self) -> u64 {
        self.0.entry().seq
    }
}

/// Entries that wait for the signer, in seq order; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Handoff(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Above this, the oldest are dropped.
    entries_max: usize,
    waiting: Mutex<VecDeque<HandedEntry>>,
    quarter_full: Notify,
}

impl Handoff {
    /// A handoff with room for `entries_max` entries.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self(Arc::new(Shared { entries_max, waiting: Mutex::default(), quarter_full: Notify::new() }))
    }

    /// Adds committed entries. `first` is the seq of the first.
    pub(crate) fn push(&self, first: u64, entries: impl IntoIterator<Item = HandedEntry>) {
        let mut waiting = self.lock();
        // Entries already here with these seqs are from a database that lost them.
        let before = waiting.partition_point(|entry| entry.seq() < first);
        waiting.truncate(before);
        waiting.extend(entries);
        let surplus = waiting.len().saturating_sub(self.0.entries_max);
        waiting.drain(..surplus);
        if waiting.len() > self.0.entries_max / 4 {
            self.0.quarter_full.notify_one();
        }
    }

    /// Resolves when the buffer is a quarter full; wakeups may be spurious. The signer should take entries then, before
    /// the oldest are dropped.
    pub(crate) async fn quarter_full(&self) {
        self.0.quarter_full.notified().await;
    }

    /// Takes the entries in a range of seqs, and drops those before it.
    pub(crate) fn take(&self, seqs: Range<u64>) -> VecDeque<HandedEntry> {
        let mut waiting = self.lock();
        let before = waiting.partition_point(|entry| entry.seq() < seqs.start);
        waiting.drain(..before);
        let end = waiting.partition_point(|entry| entry.seq() < seqs.end);
        waiting.drain(..end).collect()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<HandedEntry>> {
        // Nothing in here panics half-way.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
