//! Hashing on a second thread, while the first reads the next events.
//!
//! Taking an event from librdkafka takes about as long as hashing it, so one thread for both would halve a partition's
//! throughput. Small jobs are hashed by the reading thread itself: waking the other thread would take longer.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc;

use evidence::{EventRef, Hash, LeafHasher};
use kafka::{Batch, Item, ReadError, ReadErrorKind, TopicPartition};

use crate::assignment::ReadId;
use crate::stream::{HashedEvent, Input};

/// One job is filled, one is hashed, and one waits on each side.
const JOBS: usize = 4;

/// A smaller job is hashed by the reading thread, unless the other thread still has jobs.
const BYTES_MIN: u64 = 32 * 1024;

/// Events of one partition on their way to its stream.
pub(crate) struct HashJob {
    pub(crate) partition: TopicPartition,
    /// The read that they belong to. The stream may have begun another read before they are hashed.
    pub(crate) read: ReadId,
    /// The events; their leaves are set when the job is hashed.
    pub(crate) events: Vec<HashedEvent>,
    /// What followed the events.
    pub(crate) rest: Option<Input<'static>>,
    hasher: LeafHasher,
}

impl HashJob {
    /// Takes events until the batch ends or the job is large.
    pub(crate) fn fill(&mut self, mut batch: Batch<'_>) {
        while let Some(item) = batch.next_item() {
            match item {
                Item::Event { event, leader_epoch } => {
                    if self.push(&event, leader_epoch) {
                        return;
                    }
                }
                Item::End { next } => return self.rest = Some(Input::End(offset(next))),
                Item::Error(error) => return self.rest = Some(input(error)),
            }
        }
    }

    /// Adds an event. Whether the job is large now.
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

/// The hashing thread and its jobs. Jobs come back in the order they were sent. Dropping this ends the thread.
pub(crate) struct Hashing {
    /// The buffers of unused jobs.
    idle: Vec<(LeafHasher, Vec<HashedEvent>)>,
    /// The jobs on the thread, in order: read, events, and bytes of content.
    in_flight: VecDeque<(ReadId, u64, u64)>,
    to_thread: mpsc::Sender<HashJob>,
    hashed: mpsc::Receiver<HashJob>,
}

impl Hashing {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let (to_thread, jobs) = mpsc::channel::<HashJob>();
        let (from_thread, hashed) = mpsc::channel();
        let hash = move || {
            for mut job in jobs {
                job.hash();
                if from_thread.send(job).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("hash".to_owned()).spawn(hash)?;
        Ok(Self {
            idle: (0..JOBS).map(|_| Default::default()).collect(),
            in_flight: VecDeque::new(),
            to_thread,
            hashed,
        })
    }

    /// Whether the thread has jobs.
    pub(crate) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The events of a read that are on the thread, and their bytes of content.
    pub(crate) fn in_flight(&self, read: ReadId) -> (u64, u64) {
        let of_read = self.in_flight.iter().filter(|(of, ..)| *of == read);
        of_read.fold((0, 0), |(events, bytes), (_, more, more_bytes)| (events + more, bytes + more_bytes))
    }

    /// An empty job.
    ///
    /// # Panics
    /// If all jobs are in use. Call [`Self::hashed`] first, and [`Self::recycle`] what it returns.
    pub(crate) fn job(&mut self, partition: TopicPartition, read: ReadId) -> HashJob {
        let (hasher, events) = self.idle.pop().expect("the caller recycled a job before");
        HashJob { partition, read, events, rest: None, hasher }
    }

    /// Hashes a small job at once and returns it. Sends a large one to the thread; [`Self::hashed`] returns it later.
    pub(crate) fn hash(&mut self, mut job: HashJob) -> Option<HashJob> {
        if !self.is_busy() && job.hasher.content_bytes() < BYTES_MIN {
            job.hash();
            return Some(job);
        }
        self.in_flight.push_back((job.read, job.events.len() as u64, job.hasher.content_bytes()));
        self.to_thread.send(job).expect(THREAD_PANICKED);
        None
    }

    /// The next hashed job, if any. Waits for one if `wait` is set or all jobs are in use.
    pub(crate) fn hashed(&mut self, wait: bool) -> Option<HashJob> {
        if !self.is_busy() {
            return None;
        }
        let job = if wait || self.idle.is_empty() {
            self.hashed.recv().expect(THREAD_PANICKED)
        } else {
            match self.hashed.try_recv() {
                Ok(job) => job,
                Err(mpsc::TryRecvError::Empty) => return None,
                Err(mpsc::TryRecvError::Disconnected) => panic!("{THREAD_PANICKED}"),
            }
        };
        self.in_flight.pop_front();
        Some(job)
    }

    /// Keeps a job's buffers for the next one.
    pub(crate) fn recycle(&mut self, job: HashJob) {
        let HashJob { mut events, hasher, .. } = job;
        events.clear();
        self.idle.push((hasher, events));
    }
}

/// The thread outlives [`Hashing`] unless it panics.
const THREAD_PANICKED: &str = "the hashing thread panicked";

fn input(error: ReadError) -> Input<'static> {
    match error {
        ReadError { kind: ReadErrorKind::Unreadable, offset: Some(at), reason } => {
            Input::Unreadable(offset(at), reason)
        }
        ReadError { kind: ReadErrorKind::OldFormat, offset: Some(at), reason } => Input::OldFormat(offset(at), reason),
        other => Input::ReadError(format!("Kafka gives nothing more: {other}")),
    }
}

fn offset(offset: i64) -> u64 {
    u64::try_from(offset).expect("librdkafka gives no event a negative offset")
}

#[cfg(test)]
mod tests {
    use evidence::TimestampType;

    use super::*;

    fn event(offset: i64, value: &[u8]) -> EventRef<'_> {
        let timestamp_type = TimestampType::Create;
        EventRef { offset, timestamp: 7, timestamp_type, key: None, value: Some(value), headers: &[] }
    }

    /// A job of `count` events from offset `first`, each with a value of `len` bytes.
    fn job(hashing: &mut Hashing, first: i64, count: i64, len: usize) -> HashJob {
        let mut job = hashing.job(TopicPartition { topic: "orders".into(), partition: 3 }, ReadId::default());
        let value = vec![first as u8; len];
        for offset in first..first + count {
            job.push(&event(offset, &value), Some(2));
        }
        job
    }

    fn assert_hashed(job: &HashJob, first: i64, count: i64, len: usize) {
        let mut hasher = LeafHasher::new();
        let value = vec![first as u8; len];
        (first..first + count).for_each(|offset| hasher.push(&event(offset, &value)));
        let leaves: Vec<_> = job.events.iter().map(|event| event.leaf).collect();
        assert_eq!(leaves, hasher.drain().leaves);
        let offsets: Vec<_> = job.events.iter().map(|event| event.offset as i64).collect();
        assert_eq!(offsets, (first..first + count).collect::<Vec<_>>());
        assert!(job.events.iter().all(|event| event.leader_epoch == Some(2)));
    }

    #[test]
    fn small_job_is_hashed_at_once() {
        let mut hashing = Hashing::start().expect("a thread");
        let small = job(&mut hashing, 5, 10, 100);
        let small = hashing.hash(small).expect("hashed at once");
        assert_hashed(&small, 5, 10, 100);
        assert!(!hashing.is_busy());
        hashing.recycle(small);
        assert!(hashing.hashed(true).is_none());
    }

    #[test]
    fn jobs_come_back_in_order() {
        let mut hashing = Hashing::start().expect("a thread");
        for round in 0..20 {
            // A small job must not overtake a large one.
            let lens = [70_000, 10, 40_000, 20];
            for (number, len) in (0..).zip(lens) {
                let next = job(&mut hashing, round * 100 + number * 10, 9, len);
                assert!(hashing.hash(next).is_none());
            }
            for (number, len) in (0..).zip(lens) {
                // All jobs are in use, so it waits for the first without being told to.
                let back = hashing.hashed(number > 0).expect("one is in flight");
                assert_hashed(&back, round * 100 + number * 10, 9, len);
                hashing.recycle(back);
            }
            assert!(!hashing.is_busy());
        }
    }

    #[test]
    fn jobs_in_flight_are_counted() {
        let mut hashing = Hashing::start().expect("a thread");
        assert_eq!(hashing.in_flight(ReadId::default()), (0, 0));
        for _ in 0..2 {
            let next = job(&mut hashing, 0, 9, 40_000);
            assert!(hashing.hash(next).is_none());
        }
        assert_eq!(hashing.in_flight(ReadId::default()), (18, 18 * 40_012));
        let back = hashing.hashed(true).expect("two are in flight");
        assert_eq!(hashing.in_flight(ReadId::default()), (9, 9 * 40_012));
        hashing.recycle(back);
    }
}
