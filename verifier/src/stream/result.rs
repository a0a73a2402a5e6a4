//! The result of checking one stream.

use std::ops::Range;

use evidence::StreamId;
use evidence::statement::Reason;

use crate::expect::Ranges;
use crate::finding::{Counts, Findings};

/// What the bundle shows of one stream.
#[derive(Debug)]
pub(crate) struct StreamResult {
    pub(crate) stream: StreamId,
    pub(crate) findings: Findings,
    /// The offsets that must be covered; none lies before the stream's first offset, if that is known.
    pub(crate) expected: Ranges,
    /// The offsets in which every sealed event is there, unchanged.
    pub(crate) intact: Ranges,
    /// Whether there are more such ranges than were kept.
    pub(crate) intact_truncated: bool,
    /// Gaps that were accepted.
    pub(crate) gaps: Vec<AcceptedGap>,
    /// The number of accepted gaps beyond those that were kept.
    pub(crate) gaps_more: u64,
    /// The number of events that are there, unchanged.
    pub(crate) events: u64,
    /// The sum of their content lengths in bytes.
    pub(crate) event_bytes: u64,
    /// Whether there may be more of both.
    pub(crate) events_at_least: bool,
    pub(crate) batches: u64,
    /// The first offset of the stream, if the bundle has its epoch statement.
    pub(crate) start: Option<u64>,
    /// The seq of the newest statement that covers an expected offset; of the newest one if none is expected.
    pub(crate) newest_statement: Option<u64>,
}

impl StreamResult {
    /// An empty result. `counts` are shared with the results of other streams.
    pub(crate) fn new(stream: StreamId, counts: &Counts) -> Self {
        Self {
            stream,
            findings: Findings::sharing(counts),
            expected: Ranges::default(),
            intact: Ranges::default(),
            intact_truncated: false,
            gaps: Vec::new(),
            gaps_more: 0,
            events: 0,
            event_bytes: 0,
            events_at_least: false,
            batches: 0,
            start: None,
            newest_statement: None,
        }
    }
}

/// A signed gap that the auditor accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedGap {
    /// The offsets that were never sealed.
    pub offsets: Range<u64>,
    /// The signer's reason.
    pub reason: Reason,
    /// The entry.
    pub seq: u64,
}
