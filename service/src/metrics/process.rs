//! What Linux says of this process, under the names that every Prometheus client uses.

use std::fs;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The unit of times in /proc. It is part of Linux' interface and the same on every architecture that Rust builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The values at one moment; `None` where /proc does not say.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
    pub(super) start_seconds: Option<f64>,
}

/// When this process started, computed once: the clock and the uptime are read one after the other, so each computation
/// gives a slightly different value, and Prometheus takes a change for a restart.
static START_SECONDS: LazyLock<Option<f64>> =
    LazyLock::new(|| stat_seconds(&stat_fields(&stat()), 22).and_then(|since_boot| Some(boot_seconds()? + since_boot)));

impl Process {
    pub(super) fn now() -> Self {
        let stat = stat();
        let fields = stat_fields(&stat);
        let (user, system) = (stat_seconds(&fields, 14), stat_seconds(&fields, 15));
        Self {
            cpu_seconds: user.zip(system).map(|(user, system)| user + system),
            resident_bytes: value_of("/proc/self/status", "VmRSS:").map(|kib| kib * 1024.0),
            // Listing them opens one.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64),
            max_fds: value_of("/proc/self/limits", "Max open files"),
            start_seconds: *START_SECONDS,
        }
    }
}

fn stat() -> String {
    fs::read_to_string("/proc/self/stat").unwrap_or_default()
}

/// The fields from the third on. The second is the program's name in parentheses, which may hold anything.
fn stat_fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect()
}

/// A time among these fields, by its number in proc(5).
fn stat_seconds(fields: &[&str], number: usize) -> Option<f64> {
    Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND)
}

/// The first number behind a name in a file of lines.
fn value_of(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// When the machine started. `btime` in /proc/stat is cut to whole seconds, so the clock and the uptime say it better.
fn boot_seconds() -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - value_of("/proc/uptime", "")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_stays_the_same() {
        let start = Process::now().start_seconds;
        assert!((0..100).all(|_| Process::now().start_seconds == start), "Prometheus would see restarts");
    }

    #[test]
    fn values_of_this_process_are_plausible() {
        let _open = fs::File::open("/proc/self/stat").expect("a file");
        let process = Process::now();
        assert!(process.cpu_seconds.expect("known") >= 0.0);
        assert!(process.resident_bytes.expect("known") > 100_000.0);
        let (open, max) = (process.open_fds.expect("known"), process.max_fds.expect("known"));
        assert!((4.0..max).contains(&open), "{open} of {max}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let age = now - process.start_seconds.expect("known");
        assert!((-1.0..86_400.0).contains(&age), "{age}");
    }
}
