//! A message of librdkafka as an event, byte for byte.
//!
//! rust-rdkafka's own view is not used: it panics on header names that are not UTF-8, takes headers that cannot be
//! parsed for none, and folds a timestamp of -1 into "not available".
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;

use evidence::{EventRef, HeaderRef, TimestampType};
use rdkafka_sys as sys;

use crate::native;

unsafe extern "C" {
    /// Of `no_headers.c`: whether a consumed message has no headers.
    fn streamseal_has_no_headers(message: *const sys::rd_kafka_message_t) -> c_int;
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
    /// Header names are what librdkafka tells of them, C strings: a name with a NUL inside ends before it.
    ///
    /// # Errors
    /// When the headers cannot be parsed: then nothing can be said about the event, and it must not be taken for one
    /// without headers.
    pub(crate) fn event<'a>(&'a self, headers: &'a mut Headers) -> Result<EventRef<'a>, String> {
        let message = self.0.as_ptr();
        let (timestamp, timestamp_type) = self.timestamp();
        headers.read(message)?;
        // SAFETY: the message is valid while owned; key and payload are null or as long as told, and live as long as
        // the message, which the result borrows.
        let (offset, key, value) = unsafe {
            ((*message).offset, bytes((*message).key, (*message).key_len), bytes((*message).payload, (*message).len))
        };
        Ok(EventRef { offset, timestamp, timestamp_type, key, value, headers: &headers.0 })
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

/// The headers of one event at a time, in memory that is used again for the next.
///
/// The lifetime is a lie that stays in here: the slices point into the message that [`Message::event`] was called on,
/// and leave only with its lifetime. (So no `Debug` either, which would look at what may be gone.)
#[derive(Default)]
pub(crate) struct Headers(Vec<HeaderRef<'static>>);

impl Headers {
    fn read(&mut self, message: *const sys::rd_kafka_message_t) -> Result<(), String> {
        use sys::rd_kafka_resp_err_t::*;
        self.0.clear();
        // SAFETY: `message` is valid (our only caller owns it), and was consumed.
        if unsafe { streamseal_has_no_headers(message) } != 0 {
            return Ok(());
        }
        let mut list = ptr::null_mut();
        // SAFETY: `message` is valid (our only caller owns it).
        match unsafe { sys::rd_kafka_message_headers(message, &mut list) } {
            RD_KAFKA_RESP_ERR_NO_ERROR => {}
            // What librdkafka says of any count that is not above zero; the one that means none was seen to above.
            RD_KAFKA_RESP_ERR__NOENT => return Err("the headers cannot be parsed: their count is malformed".to_owned()),
            error => {
                // SAFETY: the code came from librdkafka, which describes all of its codes.
                let reason = unsafe { native::text(sys::rd_kafka_err2str(error)) };
                return Err(format!("the headers cannot be parsed: {reason}"));
            }
        }
        loop {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list belongs to the message and lives with it; an index past the end is answered so.
            let result = unsafe { sys::rd_kafka_header_get_all(list, self.0.len(), &mut name, &mut value, &mut len) };
            if result != RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            // SAFETY: a header has a name, a C string, and a value that is null or as long as told; both live as long
            // as the message, and the caller lends them no longer (see `Headers`).
            let header = unsafe { HeaderRef { name: CStr::from_ptr(name).to_bytes(), value: bytes(value, len) } };
            self.0.push(header);
        }
    }
}

/// # Safety
/// `data` is null, or points to `len` bytes that live and stay for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and as long as promised.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}
