//! Every system call by which a program makes something durable, failing: with EIO, with ENOSPC, or killed on entering it
//! (strace counts the calls of a run without a fault, then one run after the other has a fault at one of them). After
//! each: a new start, `fsck`, more of the same work, and the verifier; nothing acknowledged may be lost or covered twice,
//! nothing proven that was not produced, no two heads ever signed may contradict each other, and a program whose fsync
//! failed must have ended.
//!
//! `cargo test -p tests --test faults` takes a few calls of each step, `-- --ignored` all of them, and a word the steps whose
//! names it is part of. `FAULTS_SAMPLE=N` takes at most N on each file, `FAULTS_REPORT=FOLDER` writes the table. strace must
//! be allowed to trace, and a mount namespace to be made.

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
