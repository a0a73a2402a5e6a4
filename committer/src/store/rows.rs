//! What is stored beside an entry and about a stream, and how it follows from the chain.

use evidence::chain::StreamState;
use evidence::statement::Place;
use evidence::{EncodedEntry, Hash, SignedStatement, StreamId};

/// An entry as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its seq.
    pub seq: u64,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// An entry with all that is stored beside it. The bytes count; the rest repeats what they say, for lookups.
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

/// A statement that may be in the chain, and how to find it there. In its stream it can only be the one that covers these
/// offsets, so no lookup needs an index over the hashes of all statements: such an index is written to all over, and with
/// some 10^8 entries it would cost every append more than all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// SHA-256 of its text.
    pub statement: Hash,
    /// Its stream and the offset after the last one that it covers, if it is of a stream.
    pub place: Option<(StreamId, u64)>,
}

impl From<&SignedStatement> for Sought {
    fn from(signed: &SignedStatement) -> Self {
        let statement = signed.statement();
        Self { statement: signed.hash(), place: statement.place().map(|place| (place.stream.clone(), place.next)) }
    }
}

/// A stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The seq of the stream's first entry, which names it among the stream's of the ledger for good.
    pub number: u64,
    /// Where it stands.
    pub head: StreamState,
    /// The entry of its newest summary that has events.
    pub last_summary: Option<u64>,
}

/// Where an entry leaves its stream.
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
    /// What is stored for an entry. `stream` is the number of the stream that its statement belongs to, if it belongs
    /// to one.
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
