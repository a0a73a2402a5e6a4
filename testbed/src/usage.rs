//! Resource usage of a running process.

use std::fs;
use std::time::Duration;

/// Resources that a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// The part of it that is not a copy of a file: heap and stacks, in bytes.
    pub anonymous_bytes: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time used since its start, by all its threads.
    pub cpu: Duration,
}

impl Usage {
    /// The present usage of `pid`; `None` if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            value.and_then(|value| value.parse::<u64>().ok())
        };
        Some(Self {
            // A zombie has no memory.
            resident_bytes: field("VmRSS:")? * 1024,
            anonymous_bytes: field("RssAnon:")? * 1024,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: field("Threads:")?,
            cpu: cpu_of(pid)?,
        })
    }
}

/// Processor time of all threads of a process; `None` if there is no such process.
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything. User and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
