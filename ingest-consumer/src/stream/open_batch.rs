use evidence::batch::RootBuilder;
use evidence::statement::{LastEvent, Summary};

use super::HashedEvent;
use super::tip::Tip;

/// The events read since the last batch was closed.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    root: RootBuilder,
    bytes: u64,
    time: Option<(i64, i64)>,
    last: Option<LastEvent>,
    /// When its age began: at its first event, or when offsets turned out to hold none.
    opened_ms: Option<u64>,
}

impl OpenBatch {
    /// Appends an event, read at `now_ms`.
    pub(super) fn push(&mut self, event: &HashedEvent, now_ms: u64) {
        self.root.push(event.leaf);
        self.bytes += event.content_bytes;
        let (min, max) = self.time.unwrap_or((event.timestamp, event.timestamp));
        self.time = Some((min.min(event.timestamp), max.max(event.timestamp)));
        self.last = Some(LastEvent { offset: event.offset, leaf: event.leaf });
        self.open(now_ms);
    }

    /// Begins its age, unless that has begun.
    pub(super) fn open(&mut self, now_ms: u64) {
        self.opened_ms.get_or_insert(now_ms);
    }

    pub(super) fn events(&self) -> u64 {
        self.root.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn opened_ms(&self) -> Option<u64> {
        self.opened_ms
    }

    /// The summary of the offsets from the tip to `next`, which hold exactly these events. The batch is then empty.
    pub(super) fn close(&mut self, tip: &Tip, next: u64) -> Summary {
        let batch = std::mem::take(self);
        Summary {
            ledger: tip.ledger.clone(),
            stream: tip.partition.stream(tip.epoch),
            topic_id: tip.topic_id.clone(),
            first: tip.next,
            next,
            events: batch.root.len(),
            bytes: batch.bytes,
            time: batch.time,
            root: batch.root.root(),
            last: batch.last,
            prev: tip.prev,
        }
    }
}
