//! Owned librdkafka objects and texts.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use rdkafka_sys as sys;

/// An object that librdkafka allocated for us. Dropping it calls the matching destroy function.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes ownership; `None` for a null pointer.
    ///
    /// # Safety
    /// `pointer` is null, or valid and owned by the caller, and `destroy` is its destroy function.
    pub(crate) unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, destroy })
    }

    /// The pointer. It is valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the caller of `new` ensured that the pointer is owned and the function matches; it is dropped once.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// A copy of a librdkafka text for people; invalid UTF-8 is replaced.
///
/// # Safety
/// `text` is null, or a C string that lives until this returns.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller ensures that it is a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// An error code in words, even if this version of librdkafka does not know it.
pub(crate) fn reason(code: i32) -> String {
    let (mut table, mut len) = (std::ptr::null(), 0);
    // SAFETY: librdkafka returns a constant table and its length. The codes are read as numbers.
    unsafe {
        sys::rd_kafka_get_err_descs(&mut table, &mut len);
        for index in 0..len {
            let entry = table.add(index);
            if (&raw const (*entry).code).cast::<i32>().read() == code && !(*entry).desc.is_null() {
                return text((*entry).desc);
            }
        }
    }
    format!("error {code} of the broker")
}

/// A topic name for librdkafka. Kafka forbids NUL in names; such a name is cut there, and no topic has it.
pub(crate) fn c_name(name: &str) -> CString {
    let name = name.split('\0').next().unwrap_or_default();
    CString::new(name).expect("cut before the first NUL")
}
