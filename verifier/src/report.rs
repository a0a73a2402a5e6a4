//! The report of a verification, for people and for programs.

mod json;
mod text;

use std::ops::Range;

use evidence::statement::LedgerId;
use evidence::{Checkpoint, EventProof, StreamId, TimestampType};

use crate::clones::{Anchored, CloneReport};
use crate::finding::Finding;
use crate::stream::AcceptedGap;
use crate::verdict::Verdict;
use crate::words::Words;

/// The report of a verification.
///
/// `Display` is the text for people; [`Report::to_json`] says the same for programs.
#[derive(Debug)]
pub struct Report {
    /// The kind of evidence: `bundle` or `event proof`.
    pub evidence: &'static str,
    /// The verdict of the whole.
    pub verdict: Verdict,
    /// The ledger that the trust file names; `None` if the file could not be read.
    pub ledger: Option<LedgerId>,
    /// The checkpoint of the evidence and the signatures on it; `None` if it was refused.
    pub checkpoint: Option<(Checkpoint, Words)>,
    /// The newest heads statement in the bundle.
    pub heads: Option<HeadsReport>,
    /// The number of entries that are in the tree and keep the chain's rules.
    pub entries: u64,
    /// The event of an event proof, if it is in the log.
    pub event: Option<EventReport>,
    /// The streams of the bundle, or that of the event.
    pub streams: Vec<StreamReport>,
    /// The copies of the anchors' branch.
    pub clones: Vec<CloneReport>,
    /// The newest time at which a quorum saw the newest head, in seconds since 1970.
    pub newest_at_s: Option<u64>,
    /// The findings, the gravest first. Without any, the verdict is proven.
    pub findings: Vec<Finding>,
    /// The number of problems beyond those that the findings stand for.
    pub findings_more: u64,
    /// Notes on what was not checked, and on oddities.
    pub not_checked: Vec<String>,
}

/// The event of an event proof.
#[derive(Debug)]
pub struct EventReport {
    /// Its offset.
    pub offset: u64,
    /// Milliseconds since 1970, as its producer or broker says.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The unpadded content preimage: key, value and headers.
    pub content: Vec<u8>,
}

impl EventReport {
    pub(crate) fn of(proof: &EventProof) -> Self {
        let EventProof { offset, timestamp, timestamp_type, ref content, .. } = *proof;
        Self { offset, timestamp, timestamp_type, content: content.clone() }
    }
}

/// A heads statement.
#[derive(Debug, Clone, Copy)]
pub struct HeadsReport {
    /// Its entry.
    pub seq: u64,
    /// The time of that entry, in milliseconds since 1970, as the committer says.
    pub time_ms: i64,
    /// The number of streams that it commits to.
    pub streams: u64,
}

/// One stream.
#[derive(Debug)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamId,
    /// The verdict of the stream.
    pub verdict: Verdict,
    /// The offsets that the auditor expects.
    pub expected: Vec<Range<u64>>,
    /// The first offset, if the evidence has the stream's epoch statement.
    pub start: Option<u64>,
    /// The offsets in which every sealed event is there, unchanged. Offsets without an event in between are transaction
    /// markers and the like.
    pub intact: Vec<Range<u64>>,
    /// Whether there are more such ranges.
    pub intact_truncated: bool,
    /// Whether they are proven: an anchor covers them, and nothing contradicts the ledger as a whole.
    pub counts: bool,
    /// Signed gaps that were accepted.
    pub gaps: Vec<AcceptedGap>,
    /// The number of further gaps.
    pub gaps_more: u64,
    /// The number of intact events.
    pub events: u64,
    /// The sum of their content lengths in bytes.
    pub event_bytes: u64,
    /// Whether there may be more of them, hidden by added events.
    pub events_at_least: bool,
    /// The number of batches that they were sealed in.
    pub batches: u64,
    /// The earliest anchor that covers all statements about expected offsets.
    pub anchored: Option<Anchored>,
}

impl StreamReport {
    /// The offsets that are proven.
    pub fn proven(&self) -> &[Range<u64>] {
        if self.counts { &self.intact } else { &[] }
    }
}
