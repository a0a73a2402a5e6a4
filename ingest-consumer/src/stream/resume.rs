//! What is decided before a stream is read: from where, and what Kafka must still show there.

use std::ops::Range;

use evidence::statement::{LastEvent, LedgerId, Reason};
use evidence::{Hash, Partition};

use super::{Cursor, Inspection, Standing};
use crate::halt::Halt;
use crate::place::{Made, Place};

/// How a stream goes on.
pub(super) struct Resume {
    /// Where the next statement goes, after the gap if there is one.
    pub(super) place: Place,
    pub(super) topic_id: Option<String>,
    pub(super) low: u64,
    pub(super) high: u64,
    /// The statement that offsets are gone, if they are.
    pub(super) gap: Option<Made>,
    /// The offset to read from.
    pub(super) from: u64,
    pub(super) below: Below,
}

/// What was signed of the offsets below the cursor and can still be compared with what Kafka returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Below {
    /// The newest event that was sealed.
    pub last: Option<LastEvent>,
    /// Offset ranges after `last` that were sealed as holding no event.
    pub empty: Vec<Range<u64>>,
}

/// The furthest place of a stream that the committer ever named to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Furthest {
    pub(super) epoch: u64,
    pub(super) next: u64,
    pub(super) statement: Option<Hash>,
}

impl std::fmt::Display for Furthest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, next, statement } = self;
        write!(f, "epoch {epoch} offset {next} statement ")?;
        match statement {
            Some(hash) => hash.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl Furthest {
    /// Takes what the committer says now for the furthest place, if it is.
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

/// Compares what was signed with what Kafka says now.
pub(super) fn decide(ledger: &LedgerId, partition: &Partition, inspection: Inspection) -> Result<Resume, Halt> {
    let Inspection { cursor, log, standing } = inspection;
    if log.cluster != partition.cluster {
        return Err(Halt::OtherCluster { signed: vec![partition.cluster.clone()], found: log.cluster });
    }
    match standing {
        Standing::Granted => {}
        Standing::Refused(problem) => return Err(Halt::KeyNotGranted { problem }),
        Standing::UnknownCluster(signed) => return Err(Halt::OtherCluster { signed, found: log.cluster }),
    }
    let (low, high) = (log.low, log.high);
    // A topic that was never sealed may be any topic. One that was sealed while its id was unknown is named without
    // an id until its next epoch, as the chain asks.
    let sealed = cursor.statement.is_some();
    if sealed && cursor.topic_id.is_some() && cursor.topic_id != log.topic_id {
        return Err(Halt::Recreated { signed: cursor.topic_id, found: log.topic_id });
    }
    if high < cursor.next {
        return Err(Halt::Truncated { next: cursor.next, low, high });
    }
    let mut place = Place {
        ledger: ledger.clone(),
        partition: partition.clone(),
        epoch: cursor.epoch,
        topic_id: if sealed { cursor.topic_id } else { log.topic_id.clone() },
        next: cursor.next,
        prev: cursor.statement,
    };
    let gap = (low > cursor.next).then(|| {
        let reason = if cursor.begun { Reason::Retention } else { Reason::Start };
        place.pass(place.gap(reason, low, high))
    });
    let below = cursor.below;
    let from = below.from().map_or(place.next, |from| from.max(low).min(place.next));
    let topic_id = log.topic_id;
    Ok(Resume { place, topic_id, low, high, gap, from, below })
}

fn went_back(before: &Furthest, now: &Furthest) -> bool {
    let order = (now.epoch, now.next).cmp(&(before.epoch, before.next));
    order.is_lt() || (order.is_eq() && now.statement != before.statement)
}

impl Below {
    /// The offset from which something can be compared.
    fn from(&self) -> Option<u64> {
        let last = self.last.map(|last| last.offset);
        last.into_iter().chain(self.empty.iter().map(|range| range.start)).min()
    }

    /// Whether something was signed about what this offset holds.
    pub(super) fn concerns(&self, offset: u64) -> bool {
        self.is_empty_at(offset) || self.last.is_some_and(|last| last.offset == offset)
    }

    pub(super) fn is_empty_at(&self, offset: u64) -> bool {
        self.empty.iter().any(|range| range.contains(&offset))
    }
}
