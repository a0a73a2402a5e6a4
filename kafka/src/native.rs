//! What librdkafka hands out, owned: each is given back exactly once.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use rdkafka_sys as sys;

/// A pointer to something that librdkafka allocated for us, given back with its own function when dropped.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes ownership; `None` for a null pointer.
    ///
    /// # Safety
    /// `pointer` is null, or valid and owned by the caller, with `destroy` as the function that gives it back.
    pub(crate) unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, destroy })
    }

    /// The pointer, valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised an owned pointer and its matching function; it is dropped once.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// Text that librdkafka lends; what is not UTF-8 is replaced, as this is for people to read.
///
/// # Safety
/// `text` is null or a C string that lives until this returns.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a C string as promised.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// What an error code means, also one that this version of librdkafka does not know.
pub(crate) fn reason(code: i32) -> String {
    let (mut table, mut len) = (std::ptr::null(), 0);
    // SAFETY: librdkafka points to a constant table and tells its length. The codes are read as the numbers they are.
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

/// A topic's name for librdkafka. A name that holds a NUL, which Kafka forbids, ends there: no topic is called so.
pub(crate) fn c_name(name: &str) -> CString {
    let name = name.split('\0').next().unwrap_or_default();
    CString::new(name).expect("cut before the first NUL")
}
