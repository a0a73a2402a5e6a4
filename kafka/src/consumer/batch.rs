//! One partition's events on their way to the owner.

use std::collections::VecDeque;
use std::fmt;

use evidence::EventRef;
use rdkafka_sys::rd_kafka_resp_err_t as code;

use super::group::Group;
use crate::TopicPartition;
use crate::event::{Headers, Message, Misread};
use crate::queue::PartitionQueue;

/// How far a started partition is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The offset after the last one handed to the owner.
    pub(super) next: i64,
    /// The owner wants nothing of it for now.
    pub(super) held: bool,
    /// After a failure nothing is handed out before the owner says from where.
    pub(super) failed: bool,
}

impl Place {
    pub(super) fn at(offset: i64) -> Self {
        Self { next: offset, held: false, failed: false }
    }
}

/// A started partition.
pub(super) struct Slot {
    pub(super) partition: TopicPartition,
    pub(super) place: Place,
    /// The message whose item the owner may still look at.
    current: Option<Message>,
    messages: VecDeque<Message>,
    /// After the messages, which must go before their client.
    queue: PartitionQueue<Group>,
}

impl Slot {
    pub(super) fn new(partition: TopicPartition, place: Place, mut queue: PartitionQueue<Group>) -> Self {
        // What an earlier start left: librdkafka tells its events from ours, but not its errors.
        queue.discard();
        Self { partition, place, current: None, messages: VecDeque::new(), queue }
    }

    pub(super) fn look_again(&self) {
        self.queue.look_again();
    }

    /// Whether there is something to hand out; reads the queue if it must and may.
    pub(super) fn fill(&mut self) -> bool {
        self.current = None;
        if self.place.held || self.place.failed {
            return false;
        }
        if self.messages.is_empty() && self.queue.is_ready() {
            self.queue.read(&mut self.messages);
        }
        !self.messages.is_empty()
    }
}

/// What one partition has to give just now: events in the order of their offsets, up to a thousand.
///
/// What is not taken is given again by the next [`poll`](super::Consumer::poll).
pub struct Batch<'a> {
    slot: &'a mut Slot,
    headers: &'a mut Headers,
}

impl<'a> Batch<'a> {
    pub(super) fn new(slot: &'a mut Slot, headers: &'a mut Headers) -> Self {
        Self { slot, headers }
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.slot.partition
    }

    /// The next item, `None` after the last. Does not allocate (librdkafka does, for events with headers).
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        let slot = &mut *self.slot;
        if slot.place.failed {
            return None;
        }
        let message = slot.current.insert(slot.messages.pop_front()?);
        let offset = message.offset();
        let place = &mut slot.place;
        let mut failed = |kind, offset, reason| {
            place.failed = true;
            Some(Item::Failed(Failure { kind, offset, reason }))
        };
        match message.error() {
            0 if offset < place.next => {
                let reason = format!("it was given offset {offset} after all below {} were read", place.next);
                failed(FailureKind::Other, Some(offset), reason)
            }
            0 => match message.event(self.headers) {
                Ok(event) => {
                    place.next = offset + 1;
                    Some(Item::Event { event, leader_epoch: message.leader_epoch() })
                }
                Err(Misread::Headers(reason)) => failed(FailureKind::Unreadable, Some(offset), reason),
                Err(Misread::OldFormat) => failed(FailureKind::OldFormat, Some(offset), OLD_FORMAT.to_owned()),
            },
            END => {
                place.next = place.next.max(offset);
                Some(Item::End { next: place.next })
            }
            error => failed(FailureKind::of(error), (offset >= 0).then_some(offset), message.error_text()),
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("partition", &self.slot.partition)
            .field("items", &self.slot.messages.len())
            .finish()
    }
}

/// One item of a [`Batch`].
#[derive(Debug)]
pub enum Item<'a> {
    /// An event. Offsets rise, but not always by one: transaction markers, aborted events and compaction leave holes.
    Event {
        /// The event, byte for byte.
        event: EventRef<'a>,
        /// The epoch of the partition's leader that appended it, where the broker tells.
        leader_epoch: Option<i32>,
    },
    /// For now the partition ends here, for a reader of committed events: everything below `next` was handed out, or is
    /// something that no reader gets, such as a trailing transaction marker.
    End {
        /// The offset that the next event will have at least.
        next: i64,
    },
    /// The partition cannot be read further. It gives nothing more until [`start`](super::Consumer::start) is called
    /// for it again.
    Failed(Failure),
}

/// Why a partition cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// The offset at fault, where there is one.
    pub offset: Option<i64>,
    /// What librdkafka says.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "at offset {offset}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What a caller does about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The broker has no such offset (events were deleted, or the log was cut off or replaced). It is a hint that may
    /// be late: ask for the watermarks, and where the offset lies within them just start again.
    OutOfRange,
    /// The event is damaged or cannot be parsed, or cannot be fetched as it is. Starting there again fails again,
    /// unless the damage was on the way.
    Unreadable,
    /// The record is in a message format before v2, that of clients before Kafka 0.11. librdkafka misreads these: it takes
    /// keys and values from the wrong place, and names offsets that do not exist. Starting there again fails again.
    OldFormat,
    /// Anything else, such as a lost permission: start again after a while.
    Other,
}

const OLD_FORMAT: &str = "the record is in a message format before v2 (Kafka 0.11), which cannot be read byte for byte";

const END: i32 = code::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;

impl FailureKind {
    fn of(error: i32) -> Self {
        let is = |codes: &[code]| codes.iter().any(|&code| code as i32 == error);
        if is(&[code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]) {
            Self::OutOfRange
        } else if is(&[
            code::RD_KAFKA_RESP_ERR__BAD_MSG,
            code::RD_KAFKA_RESP_ERR__BAD_COMPRESSION,
            code::RD_KAFKA_RESP_ERR__UNDERFLOW,
            code::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED,
            code::RD_KAFKA_RESP_ERR_INVALID_MSG,
            code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        ]) {
            Self::Unreadable
        } else {
            Self::Other
        }
    }
}
