//! The export: the files of a bundle.

use std::fs;

use testbed::Process;

use super::Step;
use crate::judge::compare;
use crate::place::{Place, SOON};
use crate::report::Tally;
use crate::site::Start;
use crate::strace::{Injection, Trace, Traced};
use testbed::ledger::{PROVEN, verify};

/// The target folder.
const TARGET: &str = "bundle";

pub(super) const EXPORT: Step =
    Step { name: "export", start: Start::Evidence, run, check, kept: &[], may_outlive: |_| false };

fn run(place: &mut Place<'_>, trace: &Trace) -> Traced {
    let committer = place.committer();
    assert!(place.seal(0..place.sealed, &committer));
    let command = trace.command(testbed::streamseal());
    let mut command = place.with_config(command, &["export"]);
    command.arg(place.join(TARGET));
    let export = Process::start("export", place.site.folder().with_extension("export.log"), command);
    let pid = export.pid();
    let status = export.wait(SOON);
    place.stop(&committer);
    trace.ended(pid, status)
}

fn check(place: &mut Place<'_>, traced: &Traced, injection: Option<Injection>) -> Tally {
    let (target, clone) = (place.join(TARGET), place.join("clone"));
    assert_eq!(traced.status.success(), injection.is_none(), "{}", traced.status);
    // A folder with the final name is a complete bundle, however the export ended.
    let mut tally = Tally::default();
    if target.exists() {
        tally.add(compare(place, &target, &clone));
    } else {
        assert!(!traced.status.success());
    }
    for file in fs::read_dir(place.join("")).unwrap().map(|file| file.unwrap().path()) {
        let is_left = file.to_string_lossy().ends_with(".partial");
        // The partial folder may contain everything.
        if is_left && verify(&place.trust(), &file, &clone, None).code == PROVEN {
            tally.add(compare(place, &file, &clone));
        }
    }
    if !target.exists() {
        let committer = place.committer();
        assert!(place.seal(0..place.sealed, &committer));
        place.export_to(TARGET);
        place.stop(&committer);
        tally.add(compare(place, &target, &clone));
    }
    tally
}
