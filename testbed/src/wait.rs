//! Waits for conditions, never for a fixed time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Interval between checks, short enough that no test waits noticeably too long.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Calls `condition` until it returns a value, and returns that value.
///
/// # Panics
/// With `what`, when `deadline` has passed since the call.
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
