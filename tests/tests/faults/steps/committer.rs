//! The committer on SQLite: its database and the log key's high-water file.

use testbed::Process;

use super::Step;
use crate::judge::recover;
use crate::place::{Place, SOON};
use crate::site::Start;
use crate::strace::{Injection, Trace, Traced};

/// Batches that are sealed during the step.
const BATCHES: usize = 2;

pub(super) const BEGINS: Step = Step {
    name: "committer-begins",
    start: Start::New,
    run,
    check: |place, _, _| recover(place),
    kept: &[],
    // SQLite ignores this error; the committer syncs the folder itself.
    may_outlive: |file| file.is_empty(),
};

pub(super) const GOES_ON: Step = Step {
    name: "committer-goes-on",
    start: Start::Sealed,
    kept: &[
        // After a COMMIT on a full disk, nothing was ever appended again.
        ("pwrite64", "chain.db-wal", 1, Injection::Full),
        // The publisher's progress was tried again; an error of the signer at the end was not reported.
        ("fsync", "chain.db-wal", 5, Injection::Io),
        ("fsync", "keys/log.key.high-water.tmp", 2, Injection::Io),
        // SQLite continues if it cannot sync its folder.
        ("fsync", "", 1, Injection::Io),
    ],
    ..BEGINS
};

fn run(place: &mut Place<'_>, trace: &Trace) -> Traced {
    let committer = place.traced("committer", trace);
    let pid = committer.pid();
    let first = place.sealed;
    if place.seal(first..first + BATCHES, &committer) {
        place.until_signed(&committer);
    }
    trace.ended(pid, end(&committer))
}

/// Stops a service cleanly, unless it has ended by itself.
pub(super) fn end(service: &Process) -> std::process::ExitStatus {
    match service.exited() {
        Some(_) => service.wait(SOON),
        None => service.stop(),
    }
}
