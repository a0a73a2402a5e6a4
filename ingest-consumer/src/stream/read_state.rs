use evidence::Statement;

use super::open_batch::OpenBatch;
use super::tip::{PendingStatement, Tip};
use super::{Action, HashedEvent, SealedTail};
use crate::halt::Halt;

/// How far a stream is read and batched.
#[derive(Debug)]
pub(super) struct ReadState {
    pub(super) tip: Tip,
    /// Every offset below this one was read or holds no event.
    pub(super) position: u64,
    pub(super) batch: OpenBatch,
    /// The low watermark when reading began.
    pub(super) low: u64,
    /// The high watermark when reading began.
    pub(super) high: u64,
}

impl ReadState {
    /// Closes the batch, which then covers the offsets below `next`.
    pub(super) fn close_batch(&mut self, next: u64) -> PendingStatement {
        let summary = self.batch.close(&self.tip, next);
        self.tip.append(Statement::Summary(summary))
    }

    pub(super) fn push(&mut self, event: &HashedEvent, now_ms: u64) {
        self.batch.push(event, now_ms);
        self.position = event.offset + 1;
    }

    /// Moves the position to `offset`: no event is left below it.
    pub(super) fn skip_to(&mut self, offset: u64, now_ms: u64) {
        self.position = self.position.max(offset);
        if self.position > self.tip.next {
            self.batch.open(now_ms);
        }
    }

    /// Compares an event below the cursor with what was signed.
    ///
    /// If the last sealed event is missing, it was compacted away: the topic is the same, and its log reaches the
    /// cursor.
    pub(super) fn compare(
        &mut self,
        tail: &mut SealedTail,
        event: &HashedEvent,
        actions: &mut Vec<Action>,
    ) -> Result<(), Halt> {
        let HashedEvent { offset, leaf: found, .. } = *event;
        let low = self.low;
        self.position = self.position.max(offset + 1);
        if let Some(last) = tail.last.take_if(|last| offset >= last.offset) {
            if offset > last.offset {
                actions.push(Action::LastEventCompacted(last.offset));
            } else if found != last.leaf {
                return Err(Halt::Altered { offset, signed: last.leaf, found, low });
            }
        }
        if tail.is_empty_at(offset) {
            return Err(Halt::Appeared { offset, found, low });
        }
        Ok(())
    }
}
