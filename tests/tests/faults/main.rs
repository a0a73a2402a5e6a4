//! Injects a fault into every system call that makes something durable: EIO, ENOSPC, or a kill on entering it. strace
//! first counts the calls of a run without an injection. Then each run gets one injection. Afterwards the program
//! starts again, works on, and is checked by `fsck` and the verifier. No acknowledged entry may be lost or covered
//! twice, nothing may be proven that was not produced, and no two signed heads may contradict each other. A program
//! whose fsync failed must end.
//!
//! `cargo test -p tests --test faults` plays a few cases of each step, `-- --ignored` all of them, and a word selects
//! steps by name. `FAULTS_SAMPLE=N` plays at most N calls on each file, `FAULTS_REPORT=FOLDER` writes the table. The
//! tests need strace and a mount namespace.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]
#![allow(clippy::print_stdout, reason = "a test program prints what it does")]

mod driver;
mod judge;
mod place;
mod report;
mod site;
mod steps;
mod strace;

fn main() -> std::process::ExitCode {
    driver::main(steps::ALL)
}
