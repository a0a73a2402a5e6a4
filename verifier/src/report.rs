//! What a verification has shown, for people and for programs.

mod json;
mod text;

use std::ops::Range;

use evidence::statement::LedgerId;
use evidence::{Checkpoint, EventProof, StreamId, TimestampType};

use crate::clones::{Anchored, CloneReport};
use crate::finding::{Finding, Verdict};
use crate::stream::AcceptedGap;
use crate::words::Words;

/// The outcome of a verification.
///
/// `Display` is the text for people; [`Report::to_json`] says the same for programs.
#[derive(Debug)]
pub struct Report {
    /// What was verified: `bundle` or `event proof`.
    pub evidence: &'static str,
    /// What can be said of the whole.
    pub verdict: Verdict,
    /// The ledger that the trust file names; `None` when it could not be read.
    pub ledger: Option<LedgerId>,
    /// The bundle's checkpoint and whose word there is on it; `None` when it counts for nothing.
    pub checkpoint: Option<(Checkpoint, Words)>,
    /// The newest heads statement in the bundle.
    pub heads: Option<HeadsReport>,
    /// How many entries of the bundle were proven and followed.
    pub entries: u64,
    /// The event of an event proof, as far as it is in the log.
    pub event: Option<EventReport>,
    /// The streams of the bundle, or that of the event.
    pub streams: Vec<StreamReport>,
    /// The copies of the anchors' branch.
    pub clones: Vec<CloneReport>,
    /// The newest moment at which the newest head was still the newest, in seconds since 1970, by a quorum's word.
    pub newest_at_s: Option<u64>,
    /// What keeps the evidence from being proven, the gravest first.
    pub findings: Vec<Finding>,
    /// How many problems there were beyond those that the findings stand for.
    pub findings_more: u64,
    /// What was not checked, and what is odd.
    pub not_checked: Vec<String>,
}

/// The event that an event proof is of.
#[derive(Debug)]
pub struct EventReport {
    /// Its offset.
    pub offset: u64,
    /// Milliseconds since 1970, by its producer's or broker's word.
    pub timestamp: i64,
    /// What the timestamp means.
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
    /// When that was appended, in milliseconds since 1970, by the committer's word.
    pub time_ms: i64,
    /// How many streams it commits to.
    pub streams: u64,
}

/// What was shown of one stream.
#[derive(Debug)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamId,
    /// What can be said of it.
    pub verdict: Verdict,
    /// The offsets that the auditor expects; empty when none were asked for.
    pub expected: Vec<Range<u64>>,
    /// The first offset, where the stream's epoch statement was seen.
    pub start: Option<u64>,
    /// The offsets of which every sealed event is there and is what was sealed. Offsets without an event in between
    /// are transaction markers and the like.
    pub intact: Vec<Range<u64>>,
    /// Whether there are more such ranges.
    pub intact_truncated: bool,
    /// Whether that proves anything: an anchor covers it, and nothing contradicts the ledger as a whole.
    pub counts: bool,
    /// Signed gaps that were accepted.
    pub gaps: Vec<AcceptedGap>,
    /// How many more of them there are.
    pub gaps_more: u64,
    /// How many events are intact.
    pub events: u64,
    /// The sum of their content lengths in bytes.
    pub event_bytes: u64,
    /// Whether there may be more of them: added events stand between these, and it is not known how many they hide.
    pub events_at_least: bool,
    /// In how many batches they were sealed.
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
