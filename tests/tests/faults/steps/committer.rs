//! The committer on SQLite: its database, the log key's high-water file, how far it has published.

use testbed::Process;

use super::Step;
use crate::judge::recover;
use crate::place::{Place, SOON};
use crate::site::Start;
use crate::strace::{Fault, Trace, Traced};

/// Batches that are sealed meanwhile.
const BATCHES: usize = 2;

pub(super) const BEGINS: Step = Step {
    name: "committer-begins",
    start: Start::New,
    run,
    check: |place, _, _| recover(place),
    kept: &[],
    // SQLite does not look at it; the committer has synced the folder itself.
    may_outlive: |file| file.is_empty(),
};

pub(super) const GOES_ON: Step = Step {
    name: "committer-goes-on",
    start: Start::Sealed,
    kept: &[
        // After a COMMIT that found no room, nothing was ever appended again.
        ("pwrite64", "chain.db-wal", 1, Fault::Full),
        // How far it had published was tried again; what the signer met at the end was not told.
        ("fsync", "chain.db-wal", 5, Fault::Io),
        ("fsync", "keys/log.key.high-water.tmp", 2, Fault::Io),
        // SQLite goes on when its folder cannot be synced.
        ("fsync", "", 1, Fault::Io),
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

/// Ends a service in order, unless it has ended by itself.
pub(super) fn end(service: &Process) -> std::process::ExitStatus {
    match service.exited() {
        Some(_) => service.wait(SOON),
        None => service.stop(),
    }
}
