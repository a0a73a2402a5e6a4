//! The verifier's pin file.

use testbed::{Process, streamseal};

use super::Step;
use crate::place::{Place, SOON};
use crate::report::Tally;
use crate::site::Start;
use crate::strace::{Injection, Trace, Traced};
use testbed::ledger::PROVEN;

pub(super) const PIN: Step =
    Step { name: "verify-pin", start: Start::Evidence, run, check, kept: &[], may_outlive: |_| false };

fn run(place: &mut Place<'_>, trace: &Trace) -> Traced {
    let mut command = trace.command(&streamseal().with_file_name("streamseal-verify"));
    command.arg("--trust").arg(place.trust()).arg("--clone").arg(place.join("clone"));
    command.arg("--pin").arg(place.join("pin")).arg(place.join("new.bundle"));
    let verify = Process::start("verify", place.site.folder().with_extension("verify.log"), command);
    let pid = verify.pid();
    trace.ended(pid, verify.wait(SOON))
}

/// The pin file holds the older or the newer head. Only with the newer one is the verdict *proven*.
fn check(place: &mut Place<'_>, traced: &Traced, injection: Option<Injection>) -> Tally {
    assert_eq!(traced.status.success(), injection.is_none(), "{}", traced.status);
    let left = place.read("pin").expect("there was a pin");
    let again = place.verify("new.bundle");
    assert_eq!(again.code, PROVEN, "{:#}", again.report);
    let new = place.read("pin").expect("there is a pin");
    let before = std::fs::read(place.site.template(Start::Evidence).join("pin")).expect("a case begins with a pin");
    assert_ne!(before, new);
    assert!(left == new || (left == before && !traced.status.success()));
    Tally::default()
}
