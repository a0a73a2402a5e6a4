use evidence::batch::RootBuilder;
use evidence::statement::{LastEvent, Summary};

use super::HashedEvent;
use crate::place::Place;

/// The events read since the last batch was closed.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    root: RootBuilder,
    bytes: u64,
    time: Option<(i64, i64)>,
    last: Option<LastEvent>,
    /// When it got something to seal: an event, or the news that offsets hold none.
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

    /// Starts its age, unless it runs already.
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

    /// The summary of the offsets from the place to `next`, of which these are all the events; the batch is empty
    /// afterwards.
    pub(super) fn close(&mut self, place: &Place, next: u64) -> Summary {
        let batch = std::mem::take(self);
        Summary {
            ledger: place.ledger.clone(),
            stream: place.partition.stream(place.epoch),
            topic_id: place.topic_id.clone(),
            first: place.next,
            next,
            events: batch.root.len(),
            bytes: batch.bytes,
            time: batch.time,
            root: batch.root.root(),
            last: batch.last,
            prev: place.prev,
        }
    }
}
