//! The progress of each assigned stream, as the reading thread and the lag watch see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka::TopicPartition;

/// The progress of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamStatus {
    /// The cursor.
    pub(crate) next: u64,
    /// How far it is read. At first this may be below the cursor.
    pub(crate) position: Option<u64>,
    /// Whether nothing blocks sealing, as far as the stream knows.
    pub(crate) is_running: bool,
    /// The number of statements that wait for the committer's answer.
    pub(crate) unacknowledged: usize,
}

/// The statuses that the reading thread sets, and the stalls that the lag watch finds. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct StreamStatuses(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// By assigned partition, as the reading thread last set them.
    statuses: Mutex<BTreeMap<TopicPartition, StreamStatus>>,
    /// Partitions whose streams should inspect again.
    stalled: Mutex<Vec<TopicPartition>>,
    /// Whether `stalled` has any. The reading thread checks this without a lock.
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

    /// Takes the partitions that were added since the last call. Without any, this is one atomic operation.
    pub(crate) fn take_stalled(&self) -> Vec<TopicPartition> {
        if !self.0.has_stalled.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_stalled(&self, partition: &TopicPartition) {
        self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner).push(partition.clone());
        self.0.has_stalled.store(true, Ordering::Release);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, StreamStatus>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left the map half changed.
        self.0.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
