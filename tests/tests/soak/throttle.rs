//! A service that gets little of the processor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::Process;

/// It runs for a part of each of these, and is frozen for the rest.
const PERIOD: Duration = Duration::from_millis(250);

/// The smallest part.
const SHORTEST: Duration = Duration::from_micros(200);

/// Lets `process` run, until `ended`, for as small a part of the time as keeps it from being too fast.
pub(crate) fn throttle(process: &Process, ended: &AtomicBool, is_too_fast: impl Fn() -> bool) {
    let _thawed = Thawed(process);
    let mut runs = SHORTEST;
    while !ended.load(Ordering::SeqCst) {
        process.sigcont();
        thread::sleep(runs);
        process.sigstop();
        thread::sleep(PERIOD.saturating_sub(runs));
        runs = runs.mul_f64(if is_too_fast() { 0.8 } else { 1.1 }).clamp(SHORTEST, PERIOD);
    }
}

/// Lets a process go on, also when a check fails.
struct Thawed<'a>(&'a Process);

impl Drop for Thawed<'_> {
    fn drop(&mut self) {
        self.0.sigcont();
    }
}
