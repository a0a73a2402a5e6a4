//! Waiting for a condition, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is looked at: short enough that no test waits noticeably longer than it must.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Calls `condition` until it gives a value, and returns that.
///
/// # Panics
/// With `what` was waited for, when `deadline` has passed since the call.
#[track_caller]
pub fn eventually<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        sleep(LOOK_EVERY);
    }
}

/// [`eventually`] for a plain yes or no.
///
/// # Panics
/// As [`eventually`].
#[track_caller]
pub fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    eventually(what, deadline, || condition().then_some(()));
}
