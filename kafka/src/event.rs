//! librdkafka messages as events, byte for byte.
//!
//! rust-rdkafka's message type is not used. It panics on header names that are not UTF-8, treats unparsable headers as
//! none, and turns a timestamp of -1 into "not available". Headers are parsed from the broker's bytes (see
//! [`headers`]).
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;

use evidence::{EventRef, HeaderRef, TimestampType};
use rdkafka_sys as sys;

use crate::{headers, native};

unsafe extern "C" {
    /// In `raw_headers.c`: the headers of a consumed message as the broker sent them, and their length. Null for a
    /// record in a message format before v2.
    fn streamseal_raw_headers(message: *const sys::rd_kafka_message_t, len: *mut usize) -> *const c_void;
}

/// A message from librdkafka: an event, or an error of its partition.
#[derive(Debug)]
pub(crate) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: a librdkafka message may be used by its owner on any thread.
unsafe impl Send for Message {}

impl Message {
    /// # Safety
    /// `pointer` is a valid message that the caller owns, and its consumer outlives the returned value.
    pub(crate) unsafe fn new(pointer: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self(pointer)
    }

    /// The error code; 0 for an event.
    ///
    /// A number instead of librdkafka's enum, because a newer broker may send a code that this version does not know.
    pub(crate) fn error(&self) -> i32 {
        // SAFETY: the message is valid while owned. The enum is represented as an i32, so it can be read as one.
        unsafe { (&raw const (*self.0.as_ptr()).err).cast::<i32>().read() }
    }

    /// The error in words.
    pub(crate) fn error_text(&self) -> String {
        // SAFETY: the message is valid while owned, and its text as long as the message.
        unsafe { native::text(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// The number of bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the message is valid while owned.
        unsafe { (*self.0.as_ptr()).key_len + (*self.0.as_ptr()).len }
    }

    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message is valid while owned.
        unsafe { (*self.0.as_ptr()).offset }
    }

    /// The epoch of the leader that appended the event, if the broker tells.
    pub(crate) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is valid while owned.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.0.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// The message as an event. Only for messages without an error code.
    ///
    /// # Errors
    /// If the record cannot be read byte for byte.
    pub(crate) fn event<'a>(&'a self, headers: &'a mut Headers) -> Result<EventRef<'a>, MessageError> {
        let message = self.0.as_ptr();
        let (timestamp, timestamp_type) = self.timestamp();
        let raw = self.raw_headers().ok_or(MessageError::OldFormat)?;
        let headers = headers.read(raw).map_err(MessageError::Headers)?;
        // SAFETY: the message is valid while owned. Key and payload are null or as long as stated, and live as long as
        // the message, which the result borrows.
        let (offset, key, value) = unsafe {
            ((*message).offset, bytes((*message).key, (*message).key_len), bytes((*message).payload, (*message).len))
        };
        Ok(EventRef { offset, timestamp, timestamp_type, key, value, headers })
    }

    /// The headers as the broker sent them; `None` for a record in a message format before v2.
    fn raw_headers(&self) -> Option<&[u8]> {
        let mut len = 0;
        // SAFETY: the message is valid while owned, and was consumed. The bytes are as long as stated, and live as long
        // as the message.
        unsafe { bytes(streamseal_raw_headers(self.0.as_ptr(), &mut len), len) }
    }

    fn timestamp(&self) -> (i64, TimestampType) {
        use sys::rd_kafka_timestamp_type_t::*;
        let mut kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid while owned; librdkafka writes one of its three types.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) };
        let kind = match kind {
            RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => TimestampType::NotAvailable,
            RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::Create,
            RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppend,
        };
        (timestamp, kind)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Why a message cannot be read as an event.
#[derive(Debug)]
pub(crate) enum MessageError {
    /// The record is in a message format before v2. librdkafka takes its key and value from the wrong place.
    OldFormat,
    /// Its headers cannot be parsed; why.
    Headers(String),
}

/// The headers of one event, in memory that the next event reuses.
///
/// The `'static` is not true, but stays private: the slices point into the argument of [`Headers::read`], which returns
/// them only with its lifetime. `Debug` is missing because it could read freed memory.
#[derive(Default)]
pub(crate) struct Headers(Vec<HeaderRef<'static>>);

impl Headers {
    fn read<'a>(&'a mut self, raw: &'a [u8]) -> Result<&'a [HeaderRef<'a>], String> {
        // SAFETY: only the lifetime changes. `headers::read` clears the list before it fills it with slices of `raw`.
        // The list is only visible through the returned slice, which lives no longer than `raw`.
        let list = unsafe { &mut *(&raw mut self.0).cast::<Vec<HeaderRef<'a>>>() };
        headers::read(raw, list).map_err(|problem| format!("the headers cannot be parsed: {problem}"))?;
        Ok(list)
    }
}

/// # Safety
/// `data` is null, or points to `len` bytes that live unchanged for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and the caller ensures the length and lifetime.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}
