//! What an inspection decides: where reading resumes, and what Kafka must still show there.

use std::ops::Range;

use evidence::statement::{LastEvent, LedgerId, Reason};
use evidence::{Hash, Partition};

use super::tip::{PendingStatement, Tip};
use super::{Cursor, Inspection, Permission};
use crate::halt::Halt;

/// How a stream resumes.
pub(super) struct ResumePlan {
    /// The tip, after the gap if there is one.
    pub(super) tip: Tip,
    /// The topic id that Kafka shows.
    pub(super) topic_id: Option<String>,
    pub(super) low: u64,
    pub(super) high: u64,
    /// A gap over the offsets that Kafka deleted before they were sealed.
    pub(super) gap: Option<PendingStatement>,
    /// The offset to read from.
    pub(super) from: u64,
    pub(super) tail: SealedTail,
}

/// What was sealed just below the cursor and can still be compared with Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedTail {
    /// The newest sealed event.
    pub last: Option<LastEvent>,
    /// Offset ranges after `last` that were sealed as holding no event.
    pub empty: Vec<Range<u64>>,
}

/// The furthest cursor that the committer ever showed to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FurthestCursor {
    pub(super) epoch: u64,
    pub(super) next: u64,
    pub(super) statement: Option<Hash>,
}

impl std::fmt::Display for FurthestCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, next, statement } = self;
        write!(f, "epoch {epoch} offset {next} statement ")?;
        match statement {
            Some(hash) => hash.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl FurthestCursor {
    /// Takes the committer's cursor as the furthest one.
    ///
    /// # Errors
    /// [`Halt::CursorWentBack`] when it is behind the furthest one, or contradicts it.
    pub(super) fn advance(furthest: &mut Option<Self>, cursor: &Cursor) -> Result<(), Halt> {
        let now = Self { epoch: cursor.epoch, next: cursor.next, statement: cursor.statement };
        match furthest {
            Some(before) if went_back(before, &now) => {
                Err(Halt::CursorWentBack { before: before.to_string(), now: now.to_string() })
            }
            _ => {
                *furthest = Some(now);
                Ok(())
            }
        }
    }
}

/// Compares what was signed with what Kafka shows, and plans how to resume.
pub(super) fn plan(ledger: &LedgerId, partition: &Partition, inspection: Inspection) -> Result<ResumePlan, Halt> {
    let Inspection { cursor, log, permission } = inspection;
    if log.cluster != partition.cluster {
        return Err(Halt::OtherCluster { signed: vec![partition.cluster.clone()], found: log.cluster });
    }
    match permission {
        Permission::Granted => {}
        Permission::Denied(problem) => return Err(Halt::KeyNotGranted { problem }),
        Permission::UnknownCluster(signed) => return Err(Halt::OtherCluster { signed, found: log.cluster }),
    }
    let (low, high) = (log.low, log.high);
    // A topic that was never sealed may have any id. A stream that began without a topic id names none until its next
    // epoch, as the chain requires.
    let is_sealed = cursor.statement.is_some();
    if is_sealed && cursor.topic_id.is_some() && cursor.topic_id != log.topic_id {
        return Err(Halt::Recreated { signed: cursor.topic_id, found: log.topic_id });
    }
    if high < cursor.next {
        return Err(Halt::Truncated { next: cursor.next, low, high });
    }
    let mut tip = Tip {
        ledger: ledger.clone(),
        partition: partition.clone(),
        epoch: cursor.epoch,
        topic_id: if is_sealed { cursor.topic_id } else { log.topic_id.clone() },
        next: cursor.next,
        prev: cursor.statement,
    };
    let gap = (low > cursor.next).then(|| {
        let reason = if cursor.begun { Reason::Retention } else { Reason::Start };
        tip.append(tip.gap(reason, low, high))
    });
    let tail = cursor.tail;
    let from = tail.from().map_or(tip.next, |from| from.max(low).min(tip.next));
    let topic_id = log.topic_id;
    Ok(ResumePlan { tip, topic_id, low, high, gap, from, tail })
}

fn went_back(before: &FurthestCursor, now: &FurthestCursor) -> bool {
    let order = (now.epoch, now.next).cmp(&(before.epoch, before.next));
    order.is_lt() || (order.is_eq() && now.statement != before.statement)
}

impl SealedTail {
    /// The first offset that can be compared.
    fn from(&self) -> Option<u64> {
        let last = self.last.map(|last| last.offset);
        last.into_iter().chain(self.empty.iter().map(|range| range.start)).min()
    }

    /// Whether something was signed about this offset.
    pub(super) fn concerns(&self, offset: u64) -> bool {
        self.is_empty_at(offset) || self.last.is_some_and(|last| last.offset == offset)
    }

    pub(super) fn is_empty_at(&self, offset: u64) -> bool {
        self.empty.iter().any(|range| range.contains(&offset))
    }
}
