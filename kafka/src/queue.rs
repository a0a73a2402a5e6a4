//! librdkafka queues: one per partition, read in batches, and one for the client.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka_sys as sys;

use crate::TopicPartition;
use crate::event::Message;
use crate::native::{Owned, c_name};
use crate::signal::{Raised, Signal};

/// Maximum messages per read. More would not be faster; fewer would lock the queue more often.
const BATCH_MAX: usize = 1_000;

/// Minimum messages per read, however large they are.
const BATCH_MIN: usize = 16;

/// Target bytes per read, estimated from the last messages. librdkafka refills what was read, so more would use memory
/// beyond the bound on fetching ahead.
const BATCH_BYTES: usize = 512 * 1024;

/// The flag that a queue's callback sets.
#[derive(Debug)]
pub(crate) struct Readiness {
    ready: AtomicBool,
    signal: Arc<Signal>,
}

impl Readiness {
    /// Ready at first: messages may have arrived before the callback was set.
    fn new(signal: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { ready: AtomicBool::new(true), signal })
    }

    pub(crate) fn raise(&self) {
        self.ready.store(true, Ordering::Release);
        self.signal.raise(Raised::ByQueue);
    }
}

/// The queue of the client: rebalances, errors, log lines. rust-rdkafka reads it; this tells when to read, and whether
/// anything is left.
#[derive(Debug)]
pub(crate) struct ClientQueue {
    queue: Owned<sys::rd_kafka_queue_t>,
    readiness: Arc<Readiness>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for ClientQueue {}
// SAFETY: as above.
unsafe impl Sync for ClientQueue {}

impl ClientQueue {
    /// Drop it before its consumer. `None` if librdkafka has no such queue.
    pub(crate) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>, signal: Arc<Signal>) -> Option<Self> {
        // SAFETY: the handle is valid while the consumer lives; the returned queues are null or ours to destroy.
        let queue = unsafe {
            let handle = consumer.client().native_ptr();
            let in_group = Owned::new(sys::rd_kafka_queue_get_consumer(handle), sys::rd_kafka_queue_destroy);
            in_group.or_else(|| Owned::new(sys::rd_kafka_queue_get_main(handle), sys::rd_kafka_queue_destroy))
        }?;
        Some(Self { queue, readiness: Readiness::new(signal) })
    }

    /// To be raised when the queue is no longer empty.
    pub(crate) fn readiness(&self) -> Arc<Readiness> {
        Arc::clone(&self.readiness)
    }

    /// Whether it was raised since the last call.
    pub(crate) fn take_ready(&self) -> bool {
        self.readiness.ready.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_ready(&self) {
        self.readiness.ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: the queue is valid while owned.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }
}

/// The queue of one partition. librdkafka stops fetching when a bounded number of messages is queued.
///
/// Keeps its consumer alive: librdkafka requires that queues are destroyed before the client.
pub(crate) struct PartitionQueue<C: ConsumerContext> {
    /// Declared before `readiness`, which its callback uses, and before the consumer: dropped first.
    queue: Owned<sys::rd_kafka_queue_t>,
    readiness: Arc<Readiness>,
    taken: Vec<*mut sys::rd_kafka_message_t>,
    /// The number of messages to read next time.
    batch: usize,
    _consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread, and `taken` is empty between calls.
unsafe impl<C: ConsumerContext> Send for PartitionQueue<C> {}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Separates the partition's queue from the consumer's. Call it before the partition is assigned, or events could
    /// go to the consumer's queue. `None` if librdkafka cannot have such a topic.
    pub(crate) fn split(
        consumer: Arc<BaseConsumer<C>>,
        partition: &TopicPartition,
        signal: Arc<Signal>,
    ) -> Option<Self> {
        let handle = consumer.client().native_ptr();
        let name = c_name(&partition.topic);
        // SAFETY: the handle is valid while the consumer lives; the returned queues are null or ours to destroy.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_get_partition(handle, name.as_ptr(), partition.number());
            Owned::new(queue, sys::rd_kafka_queue_destroy)
        }?;
        let readiness = Readiness::new(signal);
        // SAFETY: the queue is valid; `readiness` stays alive at its address until `drop` has removed the callback.
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(raise), Arc::as_ptr(&readiness).cast_mut().cast());
        }
        Some(Self { queue, readiness, taken: Vec::with_capacity(BATCH_MAX), batch: BATCH_MIN, _consumer: consumer })
    }

    /// Whether there may be something to read. Costs nothing.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.ready.load(Ordering::Acquire)
    }

    /// Makes the next [`read`](Self::read) check the queue.
    pub(crate) fn set_ready(&self) {
        self.readiness.ready.store(true, Ordering::Release);
    }

    /// Moves up to [`BATCH_MAX`] messages to `into`, without waiting.
    pub(crate) fn read(&mut self, into: &mut VecDeque<Message>) {
        // librdkafka calls back only when an empty queue gets a message. So the flag is cleared before reading, and the
        // queue counts as ready until a read finds it empty.
        self.readiness.ready.store(false, Ordering::Release);
        // SAFETY: the queue is valid, and `taken` has room for that many pointers.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.taken.as_mut_ptr(), self.batch) };
        // Negative if the queue cannot be read, which does not happen to the queue of a partition.
        let count = usize::try_from(count).unwrap_or(0);
        if count > 0 {
            self.set_ready();
        }
        // SAFETY: librdkafka wrote this many pointers, each to a message that is ours now.
        unsafe { self.taken.set_len(count) };
        let mut bytes = 0;
        for message in self.taken.drain(..).filter_map(NonNull::new) {
            // SAFETY: as above. The consumer outlives this queue, and messages are dropped before it.
            let message = unsafe { Message::new(message) };
            bytes += message.len();
            into.push_back(message);
        }
        if let Some(mean) = bytes.checked_div(count) {
            self.batch = (BATCH_BYTES / mean.max(1)).clamp(BATCH_MIN, BATCH_MAX);
        }
    }

    /// Drops the messages that are queued now.
    pub(crate) fn discard(&mut self) {
        let mut dropped = VecDeque::new();
        // SAFETY: the queue is valid while owned.
        let mut left = unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) };
        while left > 0 {
            self.read(&mut dropped);
            if dropped.is_empty() {
                break;
            }
            left = left.saturating_sub(dropped.len());
            dropped.clear();
        }
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is valid. librdkafka calls and removes the callback under the queue's lock, so none runs
        // after this returns.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut()) }
    }
}

/// Called by librdkafka's threads, under the queue's lock, when the queue is no longer empty.
unsafe extern "C" fn raise(_: *mut sys::rd_kafka_t, readiness: *mut c_void) {
    // SAFETY: `split` passed it, and it lives until `drop` has removed this callback.
    let readiness = unsafe { &*readiness.cast_const().cast::<Readiness>() };
    readiness.raise();
}
