//! Parses stored entries strictly, and verifies their signatures ahead of `apply`.

use std::num::NonZero;

use evidence::chain::{GrantedKey, Keys};
use evidence::{EncodedEntry, Entry, Note, SignedStatement};

use crate::store::{StoreError, StoredEntry};

/// With fewer entries than this per thread, starting a thread costs more than it saves.
const ENTRIES_PER_THREAD_MIN: usize = 64;

/// Parses a stored entry. `apply` checks its seq.
pub(crate) fn parse(stored: &StoredEntry) -> Result<Entry, StoreError> {
    let corrupt = |problem: String| StoreError::corrupt(format!("entry {}: {problem}: run fsck", stored.seq));
    Entry::parse(&stored.bytes).map_err(|error| corrupt(error.to_string()))
}

/// Verifies statements' signatures with the keys that they name. Each statement remembers the result, so that `apply`,
/// which alone decides, has it at once.
pub(crate) fn verify_ahead<'a>(keys: &Keys, statements: impl IntoIterator<Item = &'a SignedStatement>) {
    // Grouped by key, because batches verify faster. There are few keys.
    let mut by_key: Vec<(&GrantedKey, Vec<&Note>)> = Vec::new();
    for statement in statements {
        for granted in statement.note().signatures().filter_map(|signature| keys.by_signature(signature)) {
            match by_key.iter_mut().find(|(key, _)| std::ptr::eq(*key, granted)) {
                Some((_, notes)) => notes.push(statement.note()),
                None => by_key.push((granted, vec![statement.note()])),
            }
        }
    }
    for (granted, notes) in by_key {
        Note::verify_ahead(notes, &granted.key);
    }
}

/// An entry, or why the bytes are none.
pub(crate) type Parsed = Result<EncodedEntry, evidence::Error>;

/// Parses entries and verifies their signatures by the keys known so far, on all processors.
pub(crate) fn parse_all<T: AsRef<[u8]> + Sync>(keys: &Keys, entries: &[T]) -> Vec<Parsed> {
    let parse_share = |entries: &[T]| {
        let parsed: Vec<Parsed> = entries.iter().map(|bytes| EncodedEntry::parse(bytes.as_ref())).collect();
        verify_ahead(keys, parsed.iter().flatten().map(|encoded| &encoded.entry().statement));
        parsed
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = entries.len().div_ceil(threads).max(ENTRIES_PER_THREAD_MIN);
    if entries.len() <= share {
        return parse_share(entries);
    }
    std::thread::scope(|scope| {
        let shares: Vec<_> = entries.chunks(share).map(|entries| scope.spawn(move || parse_share(entries))).collect();
        shares.into_iter().flat_map(|share| share.join().expect("parsing does not panic")).collect()
    })
}
