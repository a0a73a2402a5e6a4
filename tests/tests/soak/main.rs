//! The line under more load than it can take, and under load for long: memory, file descriptors and threads stay level,
//! no producer is refused, the lag is shown, and afterwards everything that was produced is proven.
//!
//! The tests run each for seconds. `just overload` and `just soak MINUTES` run them for minutes and write a report with
//! the samples of every second to `target/soak`: SOAK_MINUTES says how long the load lasts, SOAK_REPORT where to.

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
