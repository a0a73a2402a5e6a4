//! Hashing on a thread of its own, while the next events are read.
//!
//! The reading thread alone would be what bounds a partition: taking an event from librdkafka and hashing it take about
//! as long. Where little is to be read it hashes by itself, as waking a thread takes longer than that.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc;

use evidence::{EventRef, Hash, LeafHasher};
use kafka::{Batch, Failure, FailureKind, Item, TopicPartition};

use crate::seat::Reading;
use crate::stream::{HashedEvent, Input};

/// One is filled, one is hashed, and one waits in between, either way.
const LOADS: usize = 4;

/// Fewer bytes than this are hashed by who read them, unless others are still being hashed.
const BYTES_MIN: u64 = 32 * 1024;

/// Events of one partition on their way to its stream.
pub(crate) struct Load {
    pub(crate) partition: TopicPartition,
    /// Whose they are; the partition may be read anew by the time they are hashed.
    pub(crate) reading: Reading,
    /// With their leaves once they are hashed.
    pub(crate) events: Vec<HashedEvent>,
    /// What came after them.
    pub(crate) rest: Option<Input<'static>>,
    hasher: LeafHasher,
}

impl Load {
    /// Takes what a partition gives, until it is much.
    pub(crate) fn fill(&mut self, mut batch: Batch<'_>) {
        while let Some(item) = batch.next_item() {
            match item {
                Item::Event { event, leader_epoch } => {
                    if self.push(&event, leader_epoch) {
                        return;
                    }
                }
                Item::End { next } => return self.rest = Some(Input::End(offset(next))),
                Item::Failed(failure) => return self.rest = Some(failed(failure)),
            }
        }
    }

    /// Adds an event; whether that is much now.
    fn push(&mut self, event: &EventRef<'_>, leader_epoch: Option<i32>) -> bool {
        self.events.push(HashedEvent {
            offset: offset(event.offset),
            timestamp: event.timestamp,
            content_bytes: event.content_len() as u64,
            leader_epoch: leader_epoch.and_then(|epoch| u32::try_from(epoch).ok()),
            leaf: Hash([0; Hash::LEN]),
        });
        self.hasher.collect(event)
    }

    fn hash(&mut self) {
        for (event, leaf) in self.events.iter_mut().zip(self.hasher.drain().leaves) {
            event.leaf = *leaf;
        }
    }
}

/// The thread, and the loads, which come back in the order in which they were handed over. The thread ends with this.
pub(crate) struct Hashing {
    /// What the memory of loads that are not in use is kept in.
    idle: Vec<(LeafHasher, Vec<HashedEvent>)>,
    /// Those with the thread, in order: whose they are, how many events, and bytes of contents.
    away: VecDeque<(Reading, u64, u64)>,
    to_thread: mpsc::Sender<Load>,
    hashed: mpsc::Receiver<Load>,
}

impl Hashing {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let (to_thread, loads) = mpsc::channel::<Load>();
        let (from_thread, hashed) = mpsc::channel();
        let hash = move || {
            for mut load in loads {
                load.hash();
                if from_thread.send(load).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("hash".to_owned()).spawn(hash)?;
        Ok(Self { idle: (0..LOADS).map(|_| Default::default()).collect(), away: VecDeque::new(), to_thread, hashed })
    }

    /// Whether loads are with the thread.
    pub(crate) fn is_busy(&self) -> bool {
        !self.away.is_empty()
    }

    /// How many events of a reading are with the thread, and bytes of contents.
    pub(crate) fn away(&self, reading: Reading) -> (u64, u64) {
        let of_it = self.away.iter().filter(|(of, ..)| *of == reading);
        of_it.fold((0, 0), |(events, bytes), (_, more, more_bytes)| (events + more, bytes + more_bytes))
    }

    /// An empty load.
    ///
    /// # Panics
    /// When all loads are in use: [`Self::hashed`] is to be called before, and its loads to be given back.
    pub(crate) fn load(&mut self, partition: TopicPartition, reading: Reading) -> Load {
        let (hasher, events) = self.idle.pop().expect("not all loads are in use");
        Load { partition, reading, events, rest: None, hasher }
    }

    /// Has a load hashed. Returns it if that is done; else [`Self::hashed`] will.
    pub(crate) fn hash(&mut self, mut load: Load) -> Option<Load> {
        if !self.is_busy() && load.hasher.content_bytes() < BYTES_MIN {
            load.hash();
            return Some(load);
        }
        self.away.push_back((load.reading, load.events.len() as u64, load.hasher.content_bytes()));
        self.to_thread.send(load).expect(THREAD);
        None
    }

    /// The next load that is hashed, if there is one. Waits for it when told to, and when all loads are in use.
    pub(crate) fn hashed(&mut self, wait: bool) -> Option<Load> {
        if !self.is_busy() {
            return None;
        }
        let load = if wait || self.idle.is_empty() {
            self.hashed.recv().expect(THREAD)
        } else {
            match self.hashed.try_recv() {
                Ok(load) => load,
                Err(mpsc::TryRecvError::Empty) => return None,
                Err(mpsc::TryRecvError::Disconnected) => panic!("{THREAD}"),
            }
        };
        self.away.pop_front();
        Some(load)
    }

    /// Gives a load back for the next events.
    pub(crate) fn give_back(&mut self, load: Load) {
        let Load { mut events, hasher, .. } = load;
        events.clear();
        self.idle.push((hasher, events));
    }
}

/// Only a panic ends it before this.
const THREAD: &str = "the hashing thread panicked";

fn failed(failure: Failure) -> Input<'static> {
    match failure {
        Failure { kind: FailureKind::Unreadable, offset: Some(at), reason } => Input::Unreadable(offset(at), reason),
        Failure { kind: FailureKind::OldFormat, offset: Some(at), reason } => Input::OldFormat(offset(at), reason),
        other => Input::Stopped(format!("Kafka gives nothing more: {other}")),
    }
}

fn offset(offset: i64) -> u64 {
    u64::try_from(offset).expect("what librdkafka hands out has an offset from 0 on")
}

#[cfg(test)]
mod tests {
    use evidence::TimestampType;

    use super::*;

    fn event(offset: i64, value: &[u8]) -> EventRef<'_> {
        let timestamp_type = TimestampType::Create;
        EventRef { offset, timestamp: 7, timestamp_type, key: None, value: Some(value), headers: &[] }
    }

    /// A load of events from an offset on, each with a value of so many bytes.
    fn load(hashing: &mut Hashing, first: i64, count: i64, len: usize) -> Load {
        let mut load = hashing.load(TopicPartition { topic: "orders".into(), partition: 3 }, Reading::default());
        let value = vec![first as u8; len];
        for offset in first..first + count {
            load.push(&event(offset, &value), Some(2));
        }
        load
    }

    fn assert_hashed(load: &Load, first: i64, count: i64, len: usize) {
        let mut hasher = LeafHasher::new();
        let value = vec![first as u8; len];
        (first..first + count).for_each(|offset| hasher.push(&event(offset, &value)));
        let leaves: Vec<_> = load.events.iter().map(|event| event.leaf).collect();
        assert_eq!(leaves, hasher.drain().leaves);
        let offsets: Vec<_> = load.events.iter().map(|event| event.offset as i64).collect();
        assert_eq!(offsets, (first..first + count).collect::<Vec<_>>());
        assert!(load.events.iter().all(|event| event.leader_epoch == Some(2)));
    }

    #[test]
    fn little_is_hashed_at_once() {
        let mut hashing = Hashing::start().expect("a thread");
        let small = load(&mut hashing, 5, 10, 100);
        let small = hashing.hash(small).expect("hashed at once");
        assert_hashed(&small, 5, 10, 100);
        assert!(!hashing.is_busy());
        hashing.give_back(small);
        assert!(hashing.hashed(true).is_none());
    }

    #[test]
    fn loads_come_back_hashed_in_the_order_they_went() {
        let mut hashing = Hashing::start().expect("a thread");
        for round in 0..20 {
            // The small one behind a large one must not overtake it.
            let lens = [70_000, 10, 40_000, 20];
            for (number, len) in (0..).zip(lens) {
                let next = load(&mut hashing, round * 100 + number * 10, 9, len);
                assert!(hashing.hash(next).is_none());
            }
            for (number, len) in (0..).zip(lens) {
                // All loads are away, so it waits for the first without being told to.
                let back = hashing.hashed(number > 0).expect("one is away");
                assert_hashed(&back, round * 100 + number * 10, 9, len);
                hashing.give_back(back);
            }
            assert!(!hashing.is_busy());
        }
    }

    #[test]
    fn what_is_away_is_known() {
        let mut hashing = Hashing::start().expect("a thread");
        assert_eq!(hashing.away(Reading::default()), (0, 0));
        for _ in 0..2 {
            let next = load(&mut hashing, 0, 9, 40_000);
            assert!(hashing.hash(next).is_none());
        }
        assert_eq!(hashing.away(Reading::default()), (18, 18 * 40_012));
        let back = hashing.hashed(true).expect("two are away");
        assert_eq!(hashing.away(Reading::default()), (9, 9 * 40_012));
        hashing.give_back(back);
    }
}
