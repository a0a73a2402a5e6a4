//! The anchor: its state file, what it saw at the remote, its own repository, and the push to one at a path.

use super::Step;
use super::committer::end;
use crate::judge::recover;
use crate::place::Place;
use crate::site::Start;
use crate::strace::{Fault, GIT_OBJECTS, Trace, Traced};

pub(super) const BEGINS: Step = Step {
    name: "anchor-begins",
    start: Start::Sealed,
    run,
    check: |place, _, _| recover(place),
    kept: &[
        // A repository that was half made was never finished.
        ("link", "anchor.git/HEAD.lock", 1, Fault::Kill),
        ("link", "anchors.git/config.lock", 1, Fault::Kill),
        // What could not be synced was tried again: the branch, and what was seen at the remote.
        ("fsync", "anchor.git/refs/heads/anchors.lock", 1, Fault::Io),
        ("fsync", "keys", 2, Fault::Io),
        // libgit2 wrote an object once more that could not be synced: file and folder of a tree, of the commit.
        ("fsync", "anchor.git/objects/tmp_object_git2_0236646454b0a28c", 1, Fault::Io),
        ("fsync", GIT_OBJECTS, 10, Fault::Io),
        ("fsync", "anchor.git/objects/tmp_object_git2_f041252f12553303", 1, Fault::Io),
        ("fsync", GIT_OBJECTS, 14, Fault::Io),
    ],
    // A remote is somebody else's disk: it is tried again, and what it loses is seen.
    may_outlive: |file| file.starts_with("anchors.git"),
};

pub(super) const GOES_ON: Step = Step {
    name: "anchor-goes-on",
    start: Start::Anchored,
    // Git's lock on the branch that a killed anchor left behind kept every later one from its work.
    kept: &[("rename", "anchor.git/refs/heads/anchors.lock", 1, Fault::Kill)],
    ..BEGINS
};

fn run(place: &mut Place<'_>, trace: &Trace) -> Traced {
    let committer = place.committer();
    let anchor = place.traced("anchor", trace);
    let pid = anchor.pid();
    place.until_anchored(&anchor);
    let status = end(&anchor);
    place.take_commits();
    place.stop(&committer);
    trace.ended(pid, status)
}
