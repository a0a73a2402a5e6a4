//! The events of one started partition.

use std::collections::VecDeque;
use std::fmt;

use evidence::EventRef;
use rdkafka_sys::rd_kafka_resp_err_t as code;

use super::group::Group;
use crate::TopicPartition;
use crate::event::{Headers, Message, MessageError};
use crate::queue::PartitionQueue;

/// The position of a started partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The offset after the last one returned to the owner.
    pub(super) next: i64,
    /// Whether the owner holds it.
    pub(super) held: bool,
    /// Whether it returned an error. It then returns nothing before the owner starts it again.
    pub(super) failed: bool,
}

impl Position {
    pub(super) fn at(offset: i64) -> Self {
        Self { next: offset, held: false, failed: false }
    }
}

/// A started partition.
pub(super) struct StartedPartition {
    pub(super) partition: TopicPartition,
    pub(super) position: Position,
    /// The message whose item the owner may still hold.
    current: Option<Message>,
    messages: VecDeque<Message>,
    /// Declared after the messages, which must be freed before their client.
    queue: PartitionQueue<Group>,
}

impl StartedPartition {
    pub(super) fn new(partition: TopicPartition, position: Position, mut queue: PartitionQueue<Group>) -> Self {
        // Drops what an earlier start left. librdkafka filters its old events, but not its old errors.
        queue.discard();
        Self { partition, position, current: None, messages: VecDeque::new(), queue }
    }

    pub(super) fn set_ready(&self) {
        self.queue.set_ready();
    }

    /// Whether it has messages to return. Reads the queue if it has none and is not held.
    pub(super) fn fill(&mut self) -> bool {
        self.current = None;
        if self.position.held || self.position.failed {
            return false;
        }
        if self.messages.is_empty() && self.queue.is_ready() {
            self.queue.read(&mut self.messages);
        }
        !self.messages.is_empty()
    }
}

/// Events of one partition in offset order, at most a thousand.
///
/// A later [`poll`](super::Consumer::poll) returns again what was not taken.
pub struct Batch<'a> {
    started: &'a mut StartedPartition,
    headers: &'a mut Headers,
}

impl<'a> Batch<'a> {
    pub(super) fn new(started: &'a mut StartedPartition, headers: &'a mut Headers) -> Self {
        Self { started, headers }
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.started.partition
    }

    /// The next item; `None` after the last. Does not allocate.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        let started = &mut *self.started;
        if started.position.failed {
            return None;
        }
        let message = started.current.insert(started.messages.pop_front()?);
        let offset = message.offset();
        let position = &mut started.position;
        let mut fail = |kind, offset, reason| {
            position.failed = true;
            Some(Item::Error(ReadError { kind, offset, reason }))
        };
        match message.error() {
            0 if offset < position.next => {
                let reason = format!("librdkafka returned offset {offset} again, after offset {}", position.next - 1);
                fail(ReadErrorKind::Other, Some(offset), reason)
            }
            0 => match message.event(self.headers) {
                Ok(event) => {
                    position.next = offset + 1;
                    Some(Item::Event { event, leader_epoch: message.leader_epoch() })
                }
                Err(MessageError::Headers(reason)) => fail(ReadErrorKind::Unreadable, Some(offset), reason),
                Err(MessageError::OldFormat) => fail(ReadErrorKind::OldFormat, Some(offset), OLD_FORMAT.to_owned()),
            },
            END => {
                position.next = position.next.max(offset);
                Some(Item::End { next: position.next })
            }
            error => fail(ReadErrorKind::of(error), (offset >= 0).then_some(offset), message.error_text()),
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("partition", &self.started.partition)
            .field("items", &self.started.messages.len())
            .finish()
    }
}

/// One item of a [`Batch`].
#[derive(Debug)]
pub enum Item<'a> {
    /// An event. Offsets rise, but not always by one: transaction markers, aborted events and compaction leave gaps.
    Event {
        /// The event, byte for byte.
        event: EventRef<'a>,
        /// The epoch of the leader that appended it, if the broker tells.
        leader_epoch: Option<i32>,
    },
    /// The partition ends here for now, for a reader of committed events. Everything below `next` was returned, or is
    /// something that no reader gets, such as a trailing transaction marker.
    End {
        /// The lowest offset that the next event can have.
        next: i64,
    },
    /// The partition cannot be read further. It returns nothing more before [`start`](super::Consumer::start) is called
    /// for it again.
    Error(ReadError),
}

/// Why a partition cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// What the caller can do about it.
    pub kind: ReadErrorKind,
    /// The offset that cannot be read, if known.
    pub offset: Option<i64>,
    /// What librdkafka says.
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "at offset {offset}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What a caller can do about a [`ReadError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// The broker has no such offset: events were deleted, or the log was truncated or replaced. The error may be late:
    /// query the watermarks, and if the offset lies within them, start again.
    OutOfRange,
    /// The event is damaged, cannot be parsed or cannot be fetched. Starting there again fails again, unless it was
    /// damaged in transit.
    Unreadable,
    /// The record is in a message format before v2, of clients before Kafka 0.11. librdkafka misreads these: it takes
    /// keys and values from the wrong place, and names offsets that do not exist. Starting there again fails again.
    OldFormat,
    /// Anything else, such as a lost permission: start again later.
    Other,
}

const OLD_FORMAT: &str = "the record is in a message format before v2 (Kafka 0.11), which cannot be read byte for byte";

const END: i32 = code::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;

impl ReadErrorKind {
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
