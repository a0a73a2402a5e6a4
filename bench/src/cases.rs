//! The cases. A case is a module with a [`Case`] named `CASE`, and a line here.

mod anchor;
mod append;
mod bare;
mod committer;
mod latency;
mod leaves;
mod line;
mod proofs;
mod scale;
mod verify;

use crate::Case;

/// All cases, in the order of the report.
pub const ALL: &[Case] = &[
    line::CASE,
    bare::CASE,
    latency::CASE,
    leaves::CASE,
    committer::CASE,
    append::CASE,
    scale::CASE,
    anchor::CASE,
    verify::CASE,
    proofs::CASE,
];

/// The case of this name.
pub fn named(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}
