//! The anchor: its state files, its own repository, and the push to a remote at a path.

use super::Step;
use super::committer::end;
use crate::judge::recover;
use crate::place::Place;
use crate::site::Start;
use crate::strace::{GIT_OBJECTS, Injection, Trace, Traced};

pub(super) const BEGINS: Step = Step {
    name: "anchor-begins",
    start: Start::Sealed,
    run,
    check: |place, _, _| recover(place),
    kept: &[
        // A partial repository was never completed.
        ("link", "anchor.git/HEAD.lock", 1, Injection::Kill),
        ("link", "anchors.git/config.lock", 1, Injection::Kill),
        // A failed sync was tried again: of the branch, and of the remote's state.
        ("fsync", "anchor.git/refs/heads/anchors.lock", 1, Injection::Io),
        ("fsync", "keys", 2, Injection::Io),
        // libgit2 wrote an object again after a failed sync: file and folder of a tree and of the commit.
        ("fsync", "anchor.git/objects/tmp_object_git2_0236646454b0a28c", 1, Injection::Io),
        ("fsync", GIT_OBJECTS, 10, Injection::Io),
        ("fsync", "anchor.git/objects/tmp_object_git2_f041252f12553303", 1, Injection::Io),
        ("fsync", GIT_OBJECTS, 14, Injection::Io),
    ],
    // A remote is another machine's disk. The anchor pushes again, and sees what the remote lost.
    may_outlive: |file| file.starts_with("anchors.git"),
};

pub(super) const GOES_ON: Step = Step {
    name: "anchor-goes-on",
    start: Start::Anchored,
    // A killed anchor left Git's lock on the branch, which blocked every later anchor.
    kept: &[("rename", "anchor.git/refs/heads/anchors.lock", 1, Injection::Kill)],
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
