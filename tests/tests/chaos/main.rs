//! Real Kafka, PostgreSQL and Git, what can happen to them and to the services, and what must hold after it: every event
//! that the broker acknowledged is proven once by the verifier (which runs where there is no network), compared with the
//! scenario's own account of what it produced, or is named as not proven, if it was destroyed.
//!
//! `cargo test -p tests --test chaos` runs the quick scenarios, `-- --include-ignored` all, and a word those whose names
//! it is part of. `CHAOS_REPORT=FOLDER` writes what came out as Markdown and JSON, `CHAOS_RUNS=N` repeats each. Those that
//! fill disks up need root, to mount small ones.

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
