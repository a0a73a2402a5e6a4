use evidence::Statement;

use super::open_batch::OpenBatch;
use super::{Action, Below, HashedEvent};
use crate::halt::Halt;
use crate::place::{Made, Place};

/// The state of a stream that is read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) place: Place,
    /// Everything before this offset was read or is known to hold no event.
    pub(super) position: u64,
    pub(super) batch: OpenBatch,
    /// The low watermark when reading began.
    pub(super) low: u64,
    /// The high watermark when reading began.
    pub(super) high: u64,
}

impl Reading {
    /// Closes the batch with the offsets before `next`.
    pub(super) fn close(&mut self, next: u64) -> Made {
        let summary = self.batch.close(&self.place, next);
        self.place.pass(Statement::Summary(summary))
    }

    pub(super) fn take(&mut self, event: &HashedEvent, now_ms: u64) {
        self.batch.push(event, now_ms);
        self.position = event.offset + 1;
    }

    /// Takes note that no event is before `offset`.
    pub(super) fn advance(&mut self, offset: u64, now_ms: u64) {
        self.position = self.position.max(offset);
        if self.position > self.place.next {
            self.batch.open(now_ms);
        }
    }

    /// Compares an event from below the cursor with what was signed. A last event that is gone was compacted away: it
    /// is the same topic, and its log reaches the cursor.
    pub(super) fn compare(
        &mut self,
        below: &mut Below,
        event: &HashedEvent,
        actions: &mut Vec<Action>,
    ) -> Result<(), Halt> {
        let HashedEvent { offset, leaf: found, .. } = *event;
        let low = self.low;
        self.position = self.position.max(offset + 1);
        if let Some(last) = below.last.take_if(|last| offset >= last.offset) {
            if offset > last.offset {
                actions.push(Action::LastGone(last.offset));
            } else if found != last.leaf {
                return Err(Halt::Altered { offset, signed: last.leaf, found, low });
            }
        }
        if below.is_empty_at(offset) {
            return Err(Halt::Appeared { offset, found, low });
        }
        Ok(())
    }
}
