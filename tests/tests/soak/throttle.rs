//! Slows a service down by freezing it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testbed::Process;

/// Length of one run between freezes.
const RUNS: Duration = Duration::from_micros(300);

/// For so long.
const FROZEN_MIN: Duration = Duration::from_millis(1);
const FROZEN_MAX: Duration = Duration::from_secs(4);

/// Until `ended`, keeps `process` frozen enough to hold it below a rate.
pub(crate) fn throttle(process: &Process, ended: &AtomicBool, is_too_fast: impl Fn() -> bool) {
    let _thawed = Thawed(process);
    let mut frozen = FROZEN_MAX;
    while !ended.load(Ordering::SeqCst) {
        process.sigstop();
        thread::sleep(frozen);
        process.sigcont();
        thread::sleep(RUNS);
        // A frozen service reports its progress late. So it is slowed down at once, and sped up carefully.
        frozen = frozen.mul_f64(if is_too_fast() { 1.2 } else { 0.97 }).clamp(FROZEN_MIN, FROZEN_MAX);
    }
}

/// Resumes a process when dropped, even if a check fails.
struct Thawed<'a>(&'a Process);

impl Drop for Thawed<'_> {
    fn drop(&mut self) {
        self.0.sigcont();
    }
}
