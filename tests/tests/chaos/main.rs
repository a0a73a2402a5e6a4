//! Real Kafka, PostgreSQL and Git, and faults of these and of the services. Afterwards, the verifier must prove every
//! event that the broker acknowledged, once and as produced, or name it as not proven if the scenario destroyed it. The
//! verifier runs without a network. Each scenario keeps its own account of the events that it produced.
//!
//! `cargo test -p tests --test chaos` runs the quick scenarios, `-- --include-ignored` all, and a word selects
//! scenarios by name. `CHAOS_REPORT=FOLDER` writes the results as Markdown and JSON, `CHAOS_RUNS=N` repeats each
//! scenario. Scenarios that fill disks need root, to mount small ones.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]
#![allow(clippy::print_stdout, reason = "a test program prints what it does")]

mod account;
mod driver;
mod report;
mod run;
mod scenarios;
mod site;

fn main() -> std::process::ExitCode {
    driver::main(scenarios::all().leak())
}
