//! Processor time of the whole machine.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux reports times in this unit, independent of the kernel's clock.
const TICKS_S: u64 = 100;

/// Busy time of all processors of this machine since its start.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub(crate) fn busy() -> anyhow::Result<Duration> {
    const PATH: &str = "/proc/stat";
    let text = fs::read_to_string(PATH).context(PATH)?;
    let all = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("a line of all processors")?;
    let ticks = all.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().context(PATH)?;
    // user, nice, system, idle, iowait, irq, softirq. Steal time follows and does not count.
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|&field| ticks.get(field)).sum();
    Ok(Duration::from_millis(busy * (1000 / TICKS_S)))
}
