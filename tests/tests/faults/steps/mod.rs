//! The steps: what runs while its calls fail, and what must hold afterwards.

mod anchor;
mod committer;
mod export;
mod keys;
mod pin;

use crate::place::Place;
use crate::report::Tally;
use crate::site::Start;
use crate::strace::{Fault, Trace, Traced};

/// A program that makes something durable.
pub(crate) struct Step {
    /// What it is called by.
    pub(crate) name: &'static str,
    /// What it begins with.
    pub(crate) start: Start,
    /// Runs it until its work is done, or it has ended before.
    pub(crate) run: fn(&mut Place<'_>, &Trace) -> Traced,
    /// Starts it again, goes on, and compares; given how it ended and which fault it met, if one.
    pub(crate) check: fn(&mut Place<'_>, &Traced, Option<Fault>) -> Tally,
    /// Cases that once failed, by call, file and number: they run with the tests.
    pub(crate) kept: &'static [(&'static str, &'static str, u32, Fault)],
    /// Whether it may go on although the fsync of this file failed.
    pub(crate) may_outlive: fn(&str) -> bool,
}

/// All of them, in the order of the report.
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
