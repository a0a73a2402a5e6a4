//! What the whole machine worked.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux counts in these, whatever the kernel's own clock.
const TICKS_S: u64 = 100;

/// How long processors of this machine have been busy since it was started, all of them together, with whatever.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn busy() -> anyhow::Result<Duration> {
    const PATH: &str = "/proc/stat";
    let text = fs::read_to_string(PATH).context(PATH)?;
    let all = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("a line of all processors")?;
    let ticks = all.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().context(PATH)?;
    // user, nice, system, idle, iowait, irq, softirq; what others took from a guest comes after.
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|&field| ticks.get(field)).sum();
    Ok(Duration::from_millis(busy * (1000 / TICKS_S)))
}
