//! The sealed topic: the logs of its partitions as a reader of committed events sees them, and everything they ever
//! held.

use std::ops::Range;

use evidence::Hash;
use ingest_consumer::stream::HashedEvent;

pub(crate) const PARTITIONS: u32 = 2;

/// All topics that ever had the name. Only the last one exists.
pub(crate) struct Cluster {
    topics: Vec<Topic>,
    appended: u64,
}

/// One topic under the name.
pub(crate) struct Topic {
    pub(crate) id: String,
    pub(crate) logs: Vec<Log>,
}

/// One partition's log.
pub(crate) struct Log {
    slots: Vec<Slot>,
    /// The low watermark.
    pub(crate) low: u64,
    /// The end for readers of committed events.
    pub(crate) stable: u64,
    pub(crate) leader_epoch: u32,
    /// No reader ever got an event from this offset on.
    pub(crate) unread: u64,
    /// Its contents before each truncation.
    before: Vec<Vec<Slot>>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// `None` for a transaction marker or an aborted record.
    event: Option<HashedEvent>,
    /// When it was compacted away, if it was.
    compacted: Option<Compaction>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compaction {
    BeforeRead,
    AfterSealing,
}

/// What a correct summary of a range must state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) leaves: Vec<Hash>,
    pub(crate) bytes: u64,
    pub(crate) time: Option<(i64, i64)>,
    pub(crate) last: Option<(u64, Hash)>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut cluster = Self { topics: Vec::new(), appended: 0 };
        cluster.recreate();
        cluster
    }

    /// Deletes the topic and creates another one with the same name.
    pub(crate) fn recreate(&mut self) {
        let id = format!("T{}", self.topics.len() + 1);
        self.topics.push(Topic { id, logs: (0..PARTITIONS).map(|_| Log::new()).collect() });
    }

    pub(crate) fn topic(&self) -> &Topic {
        self.topics.last().expect("at least one")
    }

    /// The current or a former topic with this id.
    pub(crate) fn of_id(&self, id: Option<&str>) -> Option<&Topic> {
        self.topics.iter().find(|topic| Some(topic.id.as_str()) == id)
    }

    pub(crate) fn log(&self, partition: u32) -> &Log {
        &self.topic().logs[partition as usize]
    }

    pub(crate) fn log_mut(&mut self, partition: u32) -> &mut Log {
        &mut self.topics.last_mut().expect("at least one").logs[partition as usize]
    }

    pub(crate) fn append_event(&mut self, partition: u32) {
        self.appended += 1;
        let (appended, id) = (self.appended, self.topic().id.clone());
        let log = self.log_mut(partition);
        let identity = format!("{id} {partition} {} {appended}", log.high());
        let event = HashedEvent {
            offset: log.high(),
            timestamp: (appended as i64 * 37) % 1000,
            content_bytes: 12 + appended % 30,
            leader_epoch: Some(log.leader_epoch),
            leaf: evidence::sha256(identity.as_bytes()),
        };
        log.slots.push(Slot { event: Some(event), compacted: None });
    }
}

impl Log {
    fn new() -> Self {
        Self { slots: Vec::new(), low: 0, stable: 0, leader_epoch: 0, unread: 0, before: Vec::new() }
    }

    pub(crate) fn high(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(crate) fn append_marker(&mut self) {
        self.slots.push(Slot { event: None, compacted: None });
    }

    /// The events in the next `count` offsets from `from`, and the next offset to read.
    pub(crate) fn read(&mut self, from: u64, count: u64) -> (Vec<HashedEvent>, u64) {
        let next = (from + count).min(self.stable);
        self.unread = self.unread.max(next);
        let slots = &self.slots[from as usize..next as usize];
        (slots.iter().filter(|slot| slot.compacted.is_none()).filter_map(|slot| slot.event).collect(), next)
    }

    /// Compacts an event away. `false` if there is none.
    pub(crate) fn compact(&mut self, offset: u64, is_sealed: bool) -> bool {
        let slot = &mut self.slots[offset as usize];
        if slot.event.is_none() || slot.compacted.is_some() {
            return false;
        }
        slot.compacted = Some(if is_sealed { Compaction::AfterSealing } else { Compaction::BeforeRead });
        true
    }

    /// A new leader that lacks everything from `high`.
    pub(crate) fn truncate(&mut self, high: u64) {
        self.before.push(self.slots.clone());
        self.slots.truncate(high as usize);
        self.low = self.low.min(high);
        self.stable = self.stable.min(high);
        self.leader_epoch += 1;
    }

    /// Whether an offset was deleted.
    pub(crate) fn is_deleted(&self, offset: u64) -> bool {
        offset < self.low
    }

    /// What the log held in a range: now, and before each truncation.
    pub(crate) fn truths(&self, range: Range<u64>) -> impl Iterator<Item = Truth> {
        let all = std::iter::once(&self.slots).chain(&self.before);
        all.filter_map(move |slots| {
            let slots = slots.get(range.start as usize..range.end as usize)?;
            let readable = slots.iter().filter(|slot| slot.compacted != Some(Compaction::BeforeRead));
            Some(Truth::of(readable.filter_map(|slot| slot.event)))
        })
    }
}

impl Truth {
    fn of(events: impl Iterator<Item = HashedEvent>) -> Self {
        let mut truth = Self { leaves: Vec::new(), bytes: 0, time: None, last: None };
        for event in events {
            truth.leaves.push(event.leaf);
            truth.bytes += event.content_bytes;
            let (min, max) = truth.time.unwrap_or((event.timestamp, event.timestamp));
            truth.time = Some((min.min(event.timestamp), max.max(event.timestamp)));
            truth.last = Some((event.offset, event.leaf));
        }
        truth
    }
}
