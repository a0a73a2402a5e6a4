use std::ops::Range;

use evidence::Hash;

use crate::stream::HashedEvent;

/// One partition's log, as a reader of committed events sees it.
pub(super) struct Topic {
    pub(super) id: String,
    slots: Vec<Slot>,
    /// The low watermark.
    pub(super) low: u64,
    /// The end for readers of committed events.
    pub(super) stable: u64,
    pub(super) leader_epoch: u32,
    /// Events ever appended, so that no two are the same.
    appended: u64,
}

struct Slot {
    /// `None` for a transaction marker.
    event: Option<HashedEvent>,
    /// Whether the event was compacted away.
    compacted: bool,
}

impl Topic {
    pub(super) fn new(id: u32) -> Self {
        Self { id: format!("T{id}"), slots: Vec::new(), low: 0, stable: 0, leader_epoch: 0, appended: 0 }
    }

    pub(super) fn high(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(super) fn append_event(&mut self) {
        self.appended += 1;
        let identity = format!("{} {} {}", self.id, self.high(), self.appended);
        let event = HashedEvent {
            offset: self.high(),
            timestamp: self.appended as i64,
            content_bytes: 12 + self.appended % 30,
            leader_epoch: Some(self.leader_epoch),
            leaf: evidence::sha256(identity.as_bytes()),
        };
        self.slots.push(Slot { event: Some(event), compacted: false });
    }

    pub(super) fn append_marker(&mut self) {
        self.slots.push(Slot { event: None, compacted: false });
    }

    /// What a reader at `from` gets of the next `count` offsets, and where it is then.
    pub(super) fn read(&self, from: u64, count: u64) -> (Vec<HashedEvent>, u64) {
        let next = (from + count).min(self.stable);
        let slots = &self.slots[from as usize..next as usize];
        (slots.iter().filter(|slot| !slot.compacted).filter_map(|slot| slot.event).collect(), next)
    }

    pub(super) fn compact(&mut self, offset: u64) {
        self.slots[offset as usize].compacted = true;
    }

    /// A new leader that lacks everything from `high` on.
    pub(super) fn truncate(&mut self, high: u64) {
        self.slots.truncate(high as usize);
        self.low = self.low.min(high);
        self.stable = self.stable.min(high);
        self.leader_epoch += 1;
    }

    /// The leaves of all events that were appended in a range.
    pub(super) fn leaves(&self, range: Range<u64>) -> Vec<Hash> {
        let slots = &self.slots[range.start as usize..range.end as usize];
        slots.iter().filter_map(|slot| Some(slot.event?.leaf)).collect()
    }
}
