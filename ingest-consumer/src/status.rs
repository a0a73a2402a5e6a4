//! The progress of each assigned stream, as the reading thread and the lag watch see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka::TopicPartition;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamStatus {
    /// The cursor.
    pub(crate) next: u64,
    /// How far it is read, which may be below the cursor at first.
    pub(crate) position: Option<u64>,
    /// Whether nothing is known to stand in the way of sealing.
    pub(crate) is_running: bool,
    /// How many statements wait for the committer's answer.
    pub(crate) unacknowledged: usize,
}

/// What the reading thread and the watch tell each other. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct StreamStatuses(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Where the streams of the assigned partitions stand, as the reading thread last knew.
    statuses: Mutex<BTreeMap<TopicPartition, StreamStatus>>,
    /// Partitions whose streams are to look again.
    stalled: Mutex<Vec<TopicPartition>>,
    /// Whether there are any, for who must not wait for a lock.
    has_stalled: AtomicBool,
}

impl StreamStatuses {
    pub(crate) fn set(&self, partition: &TopicPartition, now: StreamStatus) {
        let mut statuses = self.lock();
        match statuses.get_mut(partition) {
            Some(status) => *status = now,
            None => drop(statuses.insert(partition.clone(), now)),
        }
    }

    pub(crate) fn remove(&self, partition: &TopicPartition) {
        self.lock().remove(partition);
    }

    /// The partitions that have stalled since this was last asked. Costs nothing where there are none.
    pub(crate) fn take_stalled(&self) -> Vec<TopicPartition> {
        if !self.0.has_stalled.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stall(&self, partition: &TopicPartition) {
        self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner).push(partition.clone());
        self.0.has_stalled.store(true, Ordering::Release);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, StreamStatus>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.0.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
