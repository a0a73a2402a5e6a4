//! What happens to a stream.

use evidence::Hash;

use super::SealedTail;

/// An event as sealing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedEvent {
    /// Its offset.
    pub offset: u64,
    /// Milliseconds since 1970, as the record carries them.
    pub timestamp: i64,
    /// Length of its content preimage in bytes, unpadded.
    pub content_bytes: u64,
    /// The epoch of the leader that appended it, if the broker tells.
    pub leader_epoch: Option<u32>,
    /// Its leaf.
    pub leaf: Hash,
}

/// A stream's cursor, taken from statements with verified signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The newest epoch of the partition.
    pub epoch: u64,
    /// The next offset to seal.
    pub next: u64,
    /// The topic id in the newest statement.
    pub topic_id: Option<String>,
    /// The hash of the newest statement; `None` if there is none, at epoch 0 and offset 0.
    pub statement: Option<Hash>,
    /// Whether this epoch has a summary or gap.
    pub begun: bool,
    /// What was sealed just below `next`.
    pub tail: SealedTail,
}

/// A partition's log, as Kafka shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The id of the cluster that answered.
    pub cluster: String,
    /// The topic's id, if the cluster has topic ids.
    pub topic_id: Option<String>,
    /// The low watermark: the first offset that can be read.
    pub low: u64,
    /// The high watermark: the offset after the last replicated one.
    pub high: u64,
}

/// Whether the ledger lets our key seal the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// The key may seal it.
    Granted,
    /// The key may not; which key and why.
    Denied(String),
    /// The partition was never sealed, and the ledger holds only streams of these other clusters.
    UnknownCluster(Vec<String>),
}

/// The answer to [`Action::Inspect`](super::Action::Inspect).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The committer's cursor.
    pub cursor: Cursor,
    /// Kafka's log, read after the cursor. An older log could end below the cursor and look truncated.
    pub log: Log,
    /// Whether our key may seal the topic.
    pub permission: Permission,
}

/// Why there is no [`Inspection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectError {
    /// The committer or Kafka is unreachable; what was tried and the reason.
    Unavailable(String),
    /// The committer's answer does not verify; why.
    Invalid(String),
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// The committer decided about each statement.
    Decided {
        /// The number of statements in the chain, counted from the first.
        accepted: usize,
        /// Why the next statement is not.
        refused: Option<Refusal>,
    },
    /// It is unknown which statements are in the chain.
    Unknown {
        /// What happened.
        problem: String,
        /// When the committer wants to be asked again.
        retry_after_ms: Option<u64>,
    },
    /// Nothing was sent: Kafka shows another topic than the statements name. The events may come from either.
    OtherTopic,
}

/// A refusal by the committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The machine-readable reason.
    pub code: String,
    /// The reason for people.
    pub message: String,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time passed.
    Tick,
    /// The answer to [`Action::Inspect`](super::Action::Inspect).
    Inspected(Result<Inspection, InspectError>),
    /// Events of the newest [`Action::Read`](super::Action::Read), in offset order.
    Events(&'a [HashedEvent]),
    /// The newest [`Action::Read`](super::Action::Read) reached the end of the log: no unread event is below this
    /// offset, and none is above it yet.
    End(u64),
    /// The record at this offset cannot be read as an event; why. Everything below it was read. Nothing more comes
    /// before the next [`Action::Read`](super::Action::Read).
    Unreadable(u64, String),
    /// As `Unreadable`, for a message format that the client library misreads. Reading it again cannot help.
    OldFormat(u64, String),
    /// Kafka gives nothing more before the next [`Action::Read`](super::Action::Read); why. The offset is deleted, the
    /// leader has another log, or a permission is lost.
    ReadError(String),
    /// The stream has not moved for long, although Kafka has more: inspect again.
    Reinspect,
    /// The answer to [`Action::Submit`](super::Action::Submit).
    Submitted(SubmitOutcome),
}
