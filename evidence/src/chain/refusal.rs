mod kind;

use thiserror::Error;

pub use self::kind::RefusalKind;

use crate::{Hash, NoteError, StreamId};

/// Why an entry or statement has no place in the chain. [`Refusal::code`] is the machine-readable reason of SPEC.md.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The entry's seq is not the next one.
    #[error("entry {found} where entry {expected} was expected")]
    WrongSeq {
        /// The next seq.
        expected: u64,
        /// The entry's.
        found: u64,
    },
    /// The entry does not name the leaf hash of the entry before it.
    #[error("entry {seq} does not follow from the entry before it")]
    WrongEntryPrev {
        /// The entry.
        seq: u64,
    },
    /// The entry does not name the newest entry that changed keys.
    #[error("entry {seq} does not name the newest entry that changed keys")]
    WrongKeys {
        /// The entry.
        seq: u64,
    },
    /// The entry's time is before the previous entry's.
    #[error("entry {seq} has time {found} ms, before the previous entry's {previous} ms")]
    TimeBackwards {
        /// The entry.
        seq: u64,
        /// Its time.
        found: i64,
        /// The time of the previous entry.
        previous: i64,
    },
    /// Entry 0 is not the trusted genesis, or another entry holds a genesis.
    #[error("not the genesis of this ledger: {0}")]
    WrongGenesis(String),
    /// The statement names another ledger.
    #[error("the statement belongs to ledger {found}, this is {expected}")]
    WrongLedger {
        /// Origin and genesis hash of this ledger.
        expected: String,
        /// Those of the statement.
        found: String,
    },
    /// A signature is by a key that was never granted.
    #[error("key {0} was never granted")]
    UnknownKey(String),
    /// A signature is by a key that was revoked before this seq.
    #[error("key {name} was revoked in entry {seq}")]
    RevokedKey {
        /// The key.
        name: String,
        /// The entry that revoked it.
        seq: u64,
    },
    /// A signature is by a key whose role does not sign this.
    #[error("key {name} has role {role}, which does not sign {what}")]
    WrongRole {
        /// The key.
        name: String,
        /// Its role.
        role: super::Role,
        /// The kind of statement.
        what: String,
    },
    /// A signature is by an ingest key that may not seal this topic.
    #[error("key {name} may not seal topic {topic}")]
    OutOfScope {
        /// The key.
        name: String,
        /// The topic.
        topic: String,
    },
    /// A signature does not verify or is repeated, or a required one is absent.
    #[error("bad signature: {0}")]
    BadSignature(#[from] NoteError),
    /// The range does not begin at the stream's cursor.
    #[error("{stream}: the range begins at offset {found}, the cursor is at {expected}")]
    WrongCursor {
        /// The stream.
        stream: StreamId,
        /// The cursor.
        expected: u64,
        /// Where the range begins.
        found: u64,
    },
    /// The statement does not name the stream's previous statement.
    #[error("{stream}: `prev` is not the stream's previous statement")]
    WrongPrev {
        /// The stream.
        stream: StreamId,
    },
    /// The statement is of a closed epoch, or of one that does not follow the open one.
    #[error("{stream}: the partition is in epoch {expected}")]
    WrongEpoch {
        /// The stream.
        stream: StreamId,
        /// The epoch that is open.
        expected: u64,
    },
    /// The epoch begins too late: some offsets would belong to no epoch.
    #[error("{stream}: begins at offset {start}, after {start_max}: only a gap may leave offsets out")]
    BadEpoch {
        /// The stream.
        stream: StreamId,
        /// Where it begins.
        start: u64,
        /// The highest offset that it may begin at: the old cursor, or 0 in a topic that was recreated.
        start_max: u64,
    },
    /// The topic id is not the one that the stream began with.
    #[error("{stream}: topic id {found}, the stream has {expected}")]
    WrongTopicId {
        /// The stream.
        stream: StreamId,
        /// The stream's topic id, or `-`.
        expected: String,
        /// The statement's.
        found: String,
    },
    /// The gap's reason does not fit the watermarks or the signer.
    #[error("{stream}: {problem}")]
    BadGap {
        /// The stream.
        stream: StreamId,
        /// What does not fit.
        problem: String,
    },
    /// The key statement contradicts the keys granted so far.
    #[error("key {name}: {problem}")]
    BadKey {
        /// The key.
        name: String,
        /// What contradicts.
        problem: String,
    },
    /// The key statement does not name the previous key statement.
    #[error("`prev` is {found}, the previous key statement is {expected}")]
    WrongKeyPrev {
        /// The previous key statement.
        expected: Hash,
        /// The one named.
        found: Hash,
    },
    /// The heads statement does not match the streams, or nothing moved since the last one.
    #[error("heads: {0}")]
    BadHeads(String),
}

impl Refusal {
    /// The broken rule.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::WrongSeq { .. } => RefusalKind::WrongSeq,
            Self::WrongEntryPrev { .. } => RefusalKind::WrongEntryPrev,
            Self::WrongKeys { .. } => RefusalKind::WrongKeys,
            Self::TimeBackwards { .. } => RefusalKind::TimeBackwards,
            Self::WrongGenesis(_) => RefusalKind::WrongGenesis,
            Self::WrongLedger { .. } => RefusalKind::WrongLedger,
            Self::UnknownKey(_) => RefusalKind::UnknownKey,
            Self::RevokedKey { .. } => RefusalKind::RevokedKey,
            Self::WrongRole { .. } => RefusalKind::WrongRole,
            Self::OutOfScope { .. } => RefusalKind::OutOfScope,
            Self::BadSignature(_) => RefusalKind::BadSignature,
            Self::WrongCursor { .. } => RefusalKind::WrongCursor,
            Self::WrongPrev { .. } => RefusalKind::WrongPrev,
            Self::WrongEpoch { .. } => RefusalKind::WrongEpoch,
            Self::BadEpoch { .. } => RefusalKind::BadEpoch,
            Self::WrongTopicId { .. } => RefusalKind::WrongTopicId,
            Self::BadGap { .. } => RefusalKind::BadGap,
            Self::BadKey { .. } => RefusalKind::BadKey,
            Self::WrongKeyPrev { .. } => RefusalKind::WrongKeyPrev,
            Self::BadHeads(_) => RefusalKind::BadHeads,
        }
    }

    /// The machine-readable code (SPEC.md, "Refusals").
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }
}
