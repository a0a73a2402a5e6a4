//! The steps: the programs whose calls fail, and the checks afterwards.

mod anchor;
mod committer;
mod export;
mod keys;
mod pin;

use crate::place::Place;
use crate::report::Tally;
use crate::site::Start;
use crate::strace::{Injection, Trace, Traced};

/// A program that makes something durable.
pub(crate) struct Step {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// The state at its start.
    pub(crate) start: Start,
    /// Runs it until its work is done or it ends.
    pub(crate) run: fn(&mut Place<'_>, &Trace) -> Traced,
    /// Starts it again, continues, and compares. Takes how it ended and the injection that happened, if any.
    pub(crate) check: fn(&mut Place<'_>, &Traced, Option<Injection>) -> Tally,
    /// Cases that once failed, by call, file and number. They run in `./test`.
    pub(crate) kept: &'static [(&'static str, &'static str, u32, Injection)],
    /// Whether it may continue after a failed fsync of this file.
    pub(crate) may_outlive: fn(&str) -> bool,
}

/// All steps, in the order of the report.
pub(crate) const ALL: &[Step] = &[
    keys::INIT,
    keys::KEYGEN,
    committer::BEGINS,
    committer::GOES_ON,
    anchor::BEGINS,
    anchor::GOES_ON,
    export::EXPORT,
    pin::PIN,
];
