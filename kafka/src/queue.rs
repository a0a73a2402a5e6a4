//! The queue of one partition, read in batches.
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

/// The most messages taken from a queue at once: more would not be faster, fewer costs a lock per message.
const BATCH_MAX: usize = 1_000;

/// The fewest, however large they are.
const BATCH_MIN: usize = 16;

/// So many bytes are taken from a queue at once, if messages are as large as those before. librdkafka fetches as much as was
/// taken, so more would be memory beyond what it may fetch ahead.
const BATCH_BYTES: usize = 512 * 1024;

/// What a queue's callback touches.
#[derive(Debug)]
pub(crate) struct Bell {
    ready: AtomicBool,
    signal: Arc<Signal>,
}

impl Bell {
    /// A bell that has rung: whatever came before it was hung up is not missed.
    fn new(signal: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { ready: AtomicBool::new(true), signal })
    }

    pub(crate) fn ring(&self) {
        self.ready.store(true, Ordering::Release);
        self.signal.raise(Raised::ByQueue);
    }
}

/// The queue for what concerns no partition: rebalances, errors, log lines. rust-rdkafka reads it; this knows when to
/// and whether something is left.
#[derive(Debug)]
pub(crate) struct ClientQueue {
    queue: Owned<sys::rd_kafka_queue_t>,
    bell: Arc<Bell>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for ClientQueue {}
// SAFETY: as above.
unsafe impl Sync for ClientQueue {}

impl ClientQueue {
    /// To be dropped before its consumer. `None` when librdkafka has no such queue.
    pub(crate) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>, signal: Arc<Signal>) -> Option<Self> {
        // SAFETY: the handle is valid while the consumer lives; what is returned is null or ours to destroy.
        let queue = unsafe {
            let handle = consumer.client().native_ptr();
            let in_group = Owned::new(sys::rd_kafka_queue_get_consumer(handle), sys::rd_kafka_queue_destroy);
            in_group.or_else(|| Owned::new(sys::rd_kafka_queue_get_main(handle), sys::rd_kafka_queue_destroy))
        }?;
        Some(Self { queue, bell: Bell::new(signal) })
    }

    /// To be rung when the queue stops being empty.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Whether the bell rang since this was last asked.
    pub(crate) fn take_ready(&self) -> bool {
        self.bell.ready.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn look_again(&self) {
        self.bell.ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: the queue is valid while owned.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }
}

/// The events of one partition as librdkafka fetches them, apart from those of other partitions. librdkafka stops
/// fetching when a bounded number of them waits to be read.
///
/// Keeps its consumer alive: librdkafka wants its queues given back before the client itself.
pub(crate) struct PartitionQueue<C: ConsumerContext> {
    /// Before `bell`, which its callback uses, and before the consumer.
    queue: Owned<sys::rd_kafka_queue_t>,
    bell: Arc<Bell>,
    taken: Vec<*mut sys::rd_kafka_message_t>,
    /// So many are taken the next time.
    batch: usize,
    _consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread; `taken` is empty between calls.
unsafe impl<C: ConsumerContext> Send for PartitionQueue<C> {}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Takes the partition's queue apart from the consumer's own. To be done before the partition is assigned, so that
    /// no event goes the other way. `None` when librdkafka cannot have such a topic.
    pub(crate) fn split(
        consumer: Arc<BaseConsumer<C>>,
        partition: &TopicPartition,
        signal: Arc<Signal>,
    ) -> Option<Self> {
        let handle = consumer.client().native_ptr();
        let name = c_name(&partition.topic);
        // SAFETY: the handle is valid while the consumer lives; what is returned is null or ours to destroy.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_get_partition(handle, name.as_ptr(), partition.number());
            Owned::new(queue, sys::rd_kafka_queue_destroy)
        }?;
        let bell = Bell::new(signal);
        // SAFETY: the queue is valid; `bell` stays where it is and alive until `drop` has taken the callback away.
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(ring), Arc::as_ptr(&bell).cast_mut().cast());
        }
        Some(Self { queue, bell, taken: Vec::with_capacity(BATCH_MAX), batch: BATCH_MIN, _consumer: consumer })
    }

    /// Whether something may be there to read. Costs nothing.
    pub(crate) fn is_ready(&self) -> bool {
        self.bell.ready.load(Ordering::Acquire)
    }

    /// Makes the next [`read`](Self::read) look, bell or not.
    pub(crate) fn look_again(&self) {
        self.bell.ready.store(true, Ordering::Release);
    }

    /// Moves what is there to `into`, at most [`BATCH_MAX`] messages, without waiting.
    pub(crate) fn read(&mut self, into: &mut VecDeque<Message>) {
        // The bell rings only when an empty queue gets something. So it is silenced before looking, and the queue
        // counts as ready until it was seen empty.
        self.bell.ready.store(false, Ordering::Release);
        // SAFETY: the queue is valid, and `taken` has room for as many pointers as told.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.taken.as_mut_ptr(), self.batch) };
        // Negative when the queue cannot be read from, which a partition's queue always can.
        let count = usize::try_from(count).unwrap_or(0);
        if count > 0 {
            self.look_again();
        }
        // SAFETY: so many pointers were written, each to a message that is ours now.
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

    /// Throws away what is there just now.
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
        // SAFETY: the queue is valid. When this returns no callback runs or will run: librdkafka calls it, and takes it
        // away, under the queue's lock.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut()) }
    }
}

/// Called by librdkafka's threads, under the queue's lock, when the queue stops being empty.
unsafe extern "C" fn ring(_: *mut sys::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: the bell that `split` passed, alive until `drop` has taken this callback away.
    let bell = unsafe { &*bell.cast_const().cast::<Bell>() };
    bell.ring();
}
