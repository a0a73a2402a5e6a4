//! The line under overload, and under a long load. Memory, file descriptors and threads stay level, no producer is
//! refused, the metrics show the lag, and afterwards all produced events are proven.
//!
//! In `./test`, each runs for seconds. `just overload` and `just soak MINUTES` run them for minutes and write a report
//! with samples of every second to `target/soak`. SOAK_MINUTES sets the length of the load, SOAK_REPORT the folder.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod flat;
mod line;
mod load;
mod overload;
mod record;
mod report;
mod run;
mod soak;
mod throttle;
