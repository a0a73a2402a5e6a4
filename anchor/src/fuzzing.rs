//! Readers of the anchor's own files, for the fuzzer: what they read is written again; `None` for what is none.

use crate::pack::List;
use crate::seen;
use crate::state::Record;

/// The record of the last anchor, in the high-water file.
pub fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    Record::parse(bytes).map(|record| record.encode())
}

/// The list of the packs of the anchor's repository.
pub fn packs(text: &str) -> Option<String> {
    List::parse(text).map(|list| list.encode())
}

/// What was seen at some remote.
pub fn remote(text: &str) -> Option<String> {
    seen::reencode(text)
}
