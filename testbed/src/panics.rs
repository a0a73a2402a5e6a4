//! Panics, which are how a test fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the work; what it panicked with, if it did. What the work had in hand may be half done then.
pub fn panic_of(work: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(work)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}
