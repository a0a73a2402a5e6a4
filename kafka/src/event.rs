//! A message of librdkafka as an event, byte for byte.
//!
//! rust-rdkafka's own view is not used: it panics on header names that are not UTF-8, takes headers that cannot be
//! parsed for none, and folds a timestamp of -1 into "not available". Headers are read from the broker's own bytes (see
//! [`headers`]).
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;

use evidence::{EventRef, HeaderRef, TimestampType};
use rdkafka_sys as sys;

use crate::{headers, native};

unsafe extern "C" {
    /// Of `raw_headers.c`: the headers of a consumed message as the broker sent them, and their length. Null for a
    /// record in a message format before v2.
    fn streamseal_raw_headers(message: *const sys::rd_kafka_message_t, len: *mut usize) -> *const c_void;
}

/// A message that librdkafka handed to us: an event, or news about its partition.
#[derive(Debug)]
pub(crate) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: librdkafka's messages belong to whoever holds them, on any thread.
unsafe impl Send for Message {}

impl Message {
    /// # Safety
    /// `pointer` is a valid message that the caller owns, of a consumer that outlives what is returned.
    pub(crate) unsafe fn new(pointer: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self(pointer)
    }

    /// The error code, 0 for an event.
    ///
    /// A number and not librdkafka's enum: it may be one that a newer broker sent and this version does not know.
    pub(crate) fn error(&self) -> i32 {
        // SAFETY: the message is valid while owned; the enum is represented as an i32, and any i32 may be read as such.
        unsafe { (&raw const (*self.0.as_ptr()).err).cast::<i32>().read() }
    }

    /// What librdkafka says about the error, for people.
    pub(crate) fn error_text(&self) -> String {
        // SAFETY: the message is valid, and so is the text while the message is.
        unsafe { native::text(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// Bytes of its key and value.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the message is valid while owned.
        unsafe { (*self.0.as_ptr()).key_len + (*self.0.as_ptr()).len }
    }

    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message is valid while owned.
        unsafe { (*self.0.as_ptr()).offset }
    }

    /// The epoch of the partition's leader that appended the event, where the broker tells.
    pub(crate) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is valid while owned.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.0.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// The message as an event. For messages without an error only.
    ///
    /// # Errors
    /// When the record cannot be read byte for byte: nothing can be said about it then.
    pub(crate) fn event<'a>(&'a self, headers: &'a mut Headers) -> Result<EventRef<'a>, Misread> {
        let message = self.0.as_ptr();
        let (timestamp, timestamp_type) = self.timestamp();
        let raw = self.raw_headers().ok_or(Misread::OldFormat)?;
        let headers = headers.read(raw).map_err(Misread::Headers)?;
        // SAFETY: the message is valid while owned; key and payload are null or as long as told, and live as long as
        // the message, which the result borrows.
        let (offset, key, value) = unsafe {
            ((*message).offset, bytes((*message).key, (*message).key_len), bytes((*message).payload, (*message).len))
        };
        Ok(EventRef { offset, timestamp, timestamp_type, key, value, headers })
    }

    /// The headers as the broker sent them; `None` for a record in a message format before v2.
    fn raw_headers(&self) -> Option<&[u8]> {
        let mut len = 0;
        // SAFETY: the message is valid while owned and was consumed; what is pointed to is as long as told and lives as
        // long as the message.
        unsafe { bytes(streamseal_raw_headers(self.0.as_ptr(), &mut len), len) }
    }

    fn timestamp(&self) -> (i64, TimestampType) {
        use sys::rd_kafka_timestamp_type_t::*;
        let mut kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid while owned; librdkafka writes one of the three types it has.
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

/// Why a message is no event.
#[derive(Debug)]
pub(crate) enum Misread {
    /// It is a record in a message format before v2, whose key and value librdkafka takes from the wrong place.
    OldFormat,
    /// Its headers cannot be parsed; why.
    Headers(String),
}

/// The headers of one event at a time, in memory that is used again for the next.
///
/// The lifetime is a lie that stays in here: the slices point into what [`Headers::read`] was given, and leave only with
/// its lifetime. (So no `Debug` either, which would look at what may be gone.)
#[derive(Default)]
pub(crate) struct Headers(Vec<HeaderRef<'static>>);

impl Headers {
    fn read<'a>(&'a mut self, raw: &'a [u8]) -> Result<&'a [HeaderRef<'a>], String> {
        // SAFETY: only the lifetime changes. `headers::read` empties the list before it fills it with slices of `raw`,
        // and nobody looks at it but by what is returned here, which borrows both for no longer than `raw` lives.
        let list = unsafe { &mut *(&raw mut self.0).cast::<Vec<HeaderRef<'a>>>() };
        headers::read(raw, list).map_err(|problem| format!("the headers cannot be parsed: {problem}"))?;
        Ok(list)
    }
}

/// # Safety
/// `data` is null, or points to `len` bytes that live and stay for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and as long as promised.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}
