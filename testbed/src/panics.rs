//! Panics of tests.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work` and returns its panic message, if it panics. Its side effects may be incomplete then.
pub fn panic_of(work: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(work)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}
