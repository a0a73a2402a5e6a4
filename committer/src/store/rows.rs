//! The rows stored for entries and streams, and how they follow from the chain.

use evidence::chain::StreamState;
use evidence::statement::Place;
use evidence::{EncodedEntry, Hash, SignedStatement, StreamId};

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its seq.
    pub seq: u64,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// An entry with everything stored beside it. Only the bytes count; the rest repeats them for lookups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its seq.
    pub seq: u64,
    /// RFC 6962 leaf hash of the bytes.
    pub leaf: Hash,
    /// SHA-256 of the statement's text.
    pub statement: Hash,
    /// The statement's kind.
    pub kind: String,
    /// The statement's place in its stream, if it has one.
    pub place: Option<StreamPlace>,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// Which offsets of which stream an entry covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPlace {
    /// The stream's number.
    pub stream: u64,
    /// First offset covered.
    pub first: u64,
    /// Offset after the last one covered; equal to `first` for an epoch.
    pub next: u64,
}

/// How to find a statement in the chain, if it is there. A stream has only one statement that ends at an offset, so no
/// lookup needs an index over the hashes of all statements. Writes to such an index are scattered: with some 10^8 entries
/// it would cost each append more than everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// SHA-256 of its text.
    pub statement: Hash,
    /// Its stream, if it has one, and the offset after the last one that it covers.
    pub place: Option<(StreamId, u64)>,
}

impl From<&SignedStatement> for Lookup {
    fn from(signed: &SignedStatement) -> Self {
        let statement = signed.statement();
        Self { statement: signed.hash(), place: statement.place().map(|place| (place.stream.clone(), place.next)) }
    }
}

/// A stored stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The seq of the stream's first entry, which identifies it within the ledger.
    pub number: u64,
    /// Its state.
    pub state: StreamState,
    /// The entry of its newest summary that has events.
    pub last_summary: Option<u64>,
}

/// The cursor of a stream after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnd {
    /// The stream's number.
    pub number: u64,
    /// The offset after the last one covered.
    pub next: u64,
    /// SHA-256 of the statement's text.
    pub statement: Hash,
}

/// The newest entry of a stream at some size of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamNewest {
    /// The stream's number.
    pub number: u64,
    /// The first offset that the stream covers.
    pub start: u64,
    /// The entry.
    pub entry: StoredEntry,
}

/// A stream that an append moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its cursor before, which must still be the stored one; `None` for a new stream.
    pub from: Option<u64>,
    /// Its row afterwards.
    pub row: StreamRow,
}

impl EntryRow {
    /// The row of an entry. `stream` is the number of its statement's stream, if it has one.
    pub fn new(encoded: &EncodedEntry, stream: Option<u64>) -> Self {
        let entry = encoded.entry();
        let statement = entry.statement.statement();
        Self {
            seq: entry.seq,
            leaf: encoded.leaf(),
            statement: entry.statement.hash(),
            kind: statement.kind().name().to_owned(),
            place: stream.zip(statement.place()).map(|(stream, Place { first, next, .. })| StreamPlace {
                stream,
                first,
                next,
            }),
            bytes: encoded.bytes().to_vec(),
        }
    }

    /// The name of the first column in which two rows differ, if they do.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("entry", self.bytes != other.bytes),
            ("leaf", self.leaf != other.leaf),
            ("statement", self.statement != other.statement),
            ("kind", self.kind != other.kind),
            ("stream, first_offset or next_offset", self.place != other.place),
            ("seq", self.seq != other.seq),
        ]
        .into_iter()
        .find_map(|(column, differs)| differs.then_some(column))
    }
}
