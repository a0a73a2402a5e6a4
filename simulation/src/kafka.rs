//! The topic that is sealed: its partitions' logs as a reader of committed events sees them, and all they ever held.

use std::ops::Range;

use evidence::Hash;
use ingest_consumer::stream::HashedEvent;

pub(crate) const PARTITIONS: u32 = 2;

/// The topics of the name, one after another; the last one is there.
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
    /// Nobody was ever given anything from here on.
    pub(crate) unread: u64,
    /// What it held each time before its end was lost.
    before: Vec<Vec<Slot>>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// `None` for a transaction marker or an aborted record.
    event: Option<HashedEvent>,
    /// Compacted away, before anybody read it or later.
    gone: Option<Gone>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Unread,
    Sealed,
}

/// What the events of a range amount to.
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

    /// Another topic in the place of this one.
    pub(crate) fn recreate(&mut self) {
        let id = format!("T{}", self.topics.len() + 1);
        self.topics.push(Topic { id, logs: (0..PARTITIONS).map(|_| Log::new()).collect() });
    }

    pub(crate) fn topic(&self) -> &Topic {
        self.topics.last().expect("one at least")
    }

    /// A topic that is or was there.
    pub(crate) fn of_id(&self, id: Option<&str>) -> Option<&Topic> {
        self.topics.iter().find(|topic| Some(topic.id.as_str()) == id)
    }

    pub(crate) fn log(&self, partition: u32) -> &Log {
        &self.topic().logs[partition as usize]
    }

    pub(crate) fn log_mut(&mut self, partition: u32) -> &mut Log {
        &mut self.topics.last_mut().expect("one at least").logs[partition as usize]
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
        log.slots.push(Slot { event: Some(event), gone: None });
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
        self.slots.push(Slot { event: None, gone: None });
    }

    /// What a reader at `from` gets of the next `count` offsets, and where it is then.
    pub(crate) fn read(&mut self, from: u64, count: u64) -> (Vec<HashedEvent>, u64) {
        let next = (from + count).min(self.stable);
        self.unread = self.unread.max(next);
        let slots = &self.slots[from as usize..next as usize];
        (slots.iter().filter(|slot| slot.gone.is_none()).filter_map(|slot| slot.event).collect(), next)
    }

    /// Compacts an event away; `false` when there is none.
    pub(crate) fn compact(&mut self, offset: u64, is_sealed: bool) -> bool {
        let slot = &mut self.slots[offset as usize];
        if slot.event.is_none() || slot.gone.is_some() {
            return false;
        }
        slot.gone = Some(if is_sealed { Gone::Sealed } else { Gone::Unread });
        true
    }

    /// A new leader that lacks everything from `high` on.
    pub(crate) fn truncate(&mut self, high: u64) {
        self.before.push(self.slots.clone());
        self.slots.truncate(high as usize);
        self.low = self.low.min(high);
        self.stable = self.stable.min(high);
        self.leader_epoch += 1;
    }

    /// Whether an offset was ever readable below the low watermark it has now.
    pub(crate) fn is_deleted(&self, offset: u64) -> bool {
        offset < self.low
    }

    /// What the log held in a range: now, and before each loss of its end.
    pub(crate) fn truths(&self, range: Range<u64>) -> impl Iterator<Item = Truth> {
        let all = std::iter::once(&self.slots).chain(&self.before);
        all.filter_map(move |slots| {
            let slots = slots.get(range.start as usize..range.end as usize)?;
            let readable = slots.iter().filter(|slot| slot.gone != Some(Gone::Unread));
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
