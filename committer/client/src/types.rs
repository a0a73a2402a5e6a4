//! The bodies and queries of the HTTP interface.

use serde::{Deserialize, Serialize};

use crate::decimal;

/// Limits that client and committer share.
pub mod caps {
    /// Statements in one request.
    pub const STATEMENTS: usize = 64;
    /// Bytes of one statement, signatures included.
    pub const STATEMENT_BYTES: usize = 16 * 1024;
    /// Bytes of the body of a submission: 64 statements of 16 KiB with room for JSON's escapes.
    pub const SUBMIT_BODY_BYTES: usize = 3 * 1024 * 1024;
    /// Entries in one answer about a stream.
    pub const STREAM_ENTRIES: u32 = 1_000;
}

/// Codes of refusals, in addition to the chain's own in `evidence::chain::Refusal::code`.
pub mod code {
    /// The statement is not a well-formed note of a known kind: its text will never be accepted.
    pub const MALFORMED: &str = "malformed";
    /// The statement is of a kind or version that this committer does not know.
    pub const UNSUPPORTED: &str = "unsupported";
    /// The statement or the request is above a limit of [`super::caps`].
    pub const TOO_LARGE: &str = "too-large";
    /// The request is invalid: a bad query, path or JSON body.
    pub const BAD_REQUEST: &str = "bad-request";
    /// The entry, tile, checkpoint or covering entry does not exist (yet).
    pub const NOT_FOUND: &str = "not-found";
    /// The queue is full or the database unreachable: the request's outcome is unknown. Submit the same again.
    pub const UNAVAILABLE: &str = "unavailable";
}

/// `POST /v1/statements`: statements in order, all of one stream or all by the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The texts of the signed notes, 1 to [`caps::STATEMENTS`].
    pub statements: Vec<String>,
}

/// The answer to a submission: the accepted prefix, and why the next statement was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitResponse {
    /// One for each statement of the accepted prefix, in the request's order. A statement that the chain already held
    /// gets its existing entry.
    pub accepted: Vec<Accepted>,
    /// The first refused statement. Those after it were not processed.
    #[serde(rename = "stopped")]
    pub refused: Option<RefusedStatement>,
    /// The cursor, after this request, of the last processed statement's stream. `None` for statements without a stream.
    pub cursor: Option<Cursor>,
}

/// A statement's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its entry's number.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// The exact text of the entry.
    pub entry: String,
}

/// A refused statement. It will be refused again as long as the chain does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatement {
    /// Index of the refused statement in the request.
    pub index: usize,
    /// Machine-readable reason: `evidence::chain::Refusal::code` or one of [`code`].
    pub code: String,
    /// The reason for a person, with the values that disagree.
    pub message: String,
}

/// The cursor of a partition: the answer of `GET /v1/cursors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The newest epoch of (cluster, topic, partition); 0 when nothing was ever sealed.
    #[serde(with = "decimal")]
    pub epoch: u64,
    /// First offset of that epoch.
    #[serde(with = "decimal")]
    pub start: u64,
    /// Next offset to seal.
    #[serde(with = "decimal")]
    pub next: u64,
    /// Kafka's topic id as the newest statement names it.
    pub topic_id: Option<String>,
    /// The newest statement of the stream, as the exact text of its note.
    pub statement: Option<String>,
    /// The entry that holds `statement`.
    #[serde(with = "decimal::option")]
    pub seq: Option<u64>,
    /// The newest summary of this epoch that has events, as the exact text of its note.
    pub last_summary: Option<String>,
}

/// Query of `GET /v1/cursors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CursorQuery {
    /// Kafka cluster id, or `-`.
    pub cluster: String,
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
}

/// Query of `GET /v1/entries`: the entry whose range covers an offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoveringQuery {
    /// Kafka cluster id, or `-`.
    pub cluster: String,
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// Epoch of the stream.
    pub epoch: u64,
    /// The offset to cover.
    pub offset: u64,
}

/// Query of `GET /v1/streams/entries`: the entries of a stream whose range ends after `from`, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamEntriesQuery {
    /// Kafka cluster id, or `-`.
    pub cluster: String,
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// Epoch of the stream.
    pub epoch: u64,
    /// Only entries that cover this offset or later ones.
    pub from: u64,
    /// Maximum number of entries, 1 to [`caps::STREAM_ENTRIES`].
    pub limit: u32,
}

/// Query of `GET /v1/heads`: the newest heads entry with `seq < size`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsQuery {
    /// A chain size. Entries from it on are ignored.
    pub size: u64,
}

/// `GET /v1/keys`: the entries that define the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The exact texts of the genesis entry and all key entries, in seq order.
    pub entries: Vec<String>,
}

/// `GET /v1/streams/entries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntries {
    /// In offset order, which is seq order. Fewer than `limit` means that there are no more now.
    pub entries: Vec<EntryView>,
}

/// An entry and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// The entry's number.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// The exact text of the entry.
    pub entry: String,
}

/// `GET /v1/heads`: a heads entry with the lines that its root commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The heads entry's number.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// The exact text of the heads entry.
    pub entry: String,
    /// The lines `cluster topic partition epoch next statement-hash`, sorted, without newlines.
    pub lines: Vec<String>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The ledger's origin.
    pub origin: String,
    /// Base64 SHA-256 of the genesis text.
    pub genesis: String,
    /// Entries in the chain.
    #[serde(with = "decimal")]
    pub size: u64,
    /// Size of the newest signed checkpoint; 0 when there is none.
    #[serde(with = "decimal")]
    pub checkpoint_size: u64,
    /// Entries published to the topic of commitments; `None` if this ledger was never published.
    #[serde(with = "decimal::option")]
    pub published_size: Option<u64>,
    /// Ids of the Kafka clusters whose streams the chain has, in ascending order.
    pub clusters: Vec<String>,
}

/// The value of a record in the topic of commitments. Its key is `topic/partition`, or the kind where there is no
/// stream. Fields that an entry lacks are omitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The entry's number. Records may repeat; the first of each seq are in order.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// The ledger's origin.
    pub ledger: String,
    /// The statement's kind: genesis, key, summary, gap, epoch or heads.
    pub kind: String,
    /// Kafka cluster id, or `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Topic name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Partition number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Epoch of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal::option")]
    pub epoch: Option<u64>,
    /// First offset covered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal::option")]
    pub first: Option<u64>,
    /// Offset after the last one covered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal::option")]
    pub next: Option<u64>,
    /// How many events a summary covers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal::option")]
    pub events: Option<u64>,
    /// Base64 RFC 6962 leaf hash of `entry`.
    pub leaf_hash: String,
    /// The entry's time in milliseconds since 1970, as a decimal string.
    pub time: String,
    /// The exact text of the entry.
    pub entry: String,
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// One of [`code`].
    pub code: String,
    /// The reason for a person.
    pub message: String,
}
