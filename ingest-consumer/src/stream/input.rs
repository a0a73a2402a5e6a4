//! What a stream is told.

use evidence::Hash;

use super::Below;

/// An event as sealing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedEvent {
    /// Its offset.
    pub offset: u64,
    /// Milliseconds since 1970, as the record carries them.
    pub timestamp: i64,
    /// Length of its content preimage in bytes, unpadded.
    pub content_bytes: u64,
    /// The epoch of the partition's leader that appended it, where the broker tells.
    pub leader_epoch: Option<u32>,
    /// Its leaf.
    pub leaf: Hash,
}

/// Where the committer says that a stream stands, taken from statements whose signatures were verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The newest epoch of the partition.
    pub epoch: u64,
    /// The next offset to seal.
    pub next: u64,
    /// The topic id in the newest statement.
    pub topic_id: Option<String>,
    /// The hash of the newest statement; `None` when there is none, at epoch 0 and offset 0.
    pub statement: Option<Hash>,
    /// Whether a summary or gap of this epoch exists.
    pub begun: bool,
    /// What was signed of the offsets below.
    pub below: Below,
}

/// What Kafka says about a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The id of the cluster that answered.
    pub cluster: String,
    /// The topic's id, where the cluster has them.
    pub topic_id: Option<String>,
    /// The low watermark: the first offset that can be read.
    pub low: u64,
    /// The high watermark: the offset after the last one that is replicated.
    pub high: u64,
}

/// Whether the ledger lets our key seal the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Granted,
    /// It does not; which key and why.
    Refused(String),
    /// The partition was never sealed, and the ledger holds streams of these other clusters only.
    UnknownCluster(Vec<String>),
}

/// The answer to [`Action::Inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the committer says.
    pub cursor: Cursor,
    /// What Kafka says, asked after the committer: asked before, it could lie behind the cursor without any harm.
    pub log: Log,
    /// What the ledger says of our key.
    pub standing: Standing,
}

/// Why there is no [`Inspection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectError {
    /// The committer or Kafka cannot be asked now; what was tried and the reason.
    Unavailable(String),
    /// The committer's answer does not verify; why.
    Invalid(String),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The committer decided about each statement.
    Decided {
        /// So many, from the first on, are in the chain.
        accepted: usize,
        /// Why the next one is not.
        refused: Option<Refused>,
    },
    /// It is not known which statements are in the chain.
    Unknown {
        /// What happened.
        problem: String,
        /// When the committer wants to be asked again.
        retry_after_ms: Option<u64>,
    },
    /// Nothing was sent: the topic is not the one that the statements name. What was read may be of either.
    OtherTopic,
}

/// A refusal by the committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
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
    /// The answer to [`Action::Inspect`].
    Inspected(Result<Inspection, InspectError>),
    /// Events were read after the newest [`Action::Read`], in offset order.
    Events(&'a [HashedEvent]),
    /// There is no event left between those read after the newest [`Action::Read`] and this offset, and none behind
    /// it yet.
    End(u64),
    /// All before this record was read, and the record cannot be read as an event; why. Nothing more comes before the
    /// next [`Action::Read`].
    Unreadable(u64, String),
    /// As `Unreadable`, of a record in a message format that the client library misreads: reading it again cannot help.
    OldFormat(u64, String),
    /// Kafka gives nothing more before the next [`Action::Read`]; why: the offset is gone, the leader's log is another
    /// one, a permission is lost.
    Stopped(String),
    /// Nothing has come for long, although Kafka has more: what the committer and Kafka say is to be compared again.
    LookAgain,
    /// The answer to [`Action::Submit`].
    Answered(Answer),
}
