//! Parsers of the anchor's own files, for the fuzzer. Each encodes again what it parsed; `None` when it refuses.

use crate::last_seen;
use crate::pack_list::PackList;
use crate::state::Record;

/// The record of the last anchor, in the high-water file.
pub fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    Record::parse(bytes).map(|record| record.encode())
}

/// The list of the packs of the anchor's repository.
pub fn packs(text: &str) -> Option<String> {
    PackList::parse(text).map(|list| list.encode())
}

/// The commit that was last seen at a remote.
pub fn remote(text: &str) -> Option<String> {
    last_seen::reencode(text)
}
