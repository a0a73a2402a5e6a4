//! What is measured. A case is a module with a [`Case`] named `CASE`, and a line here.

mod latency;
mod leaves;
mod line;

use crate::Case;

/// All cases, in the order of the report.
pub const ALL: &[Case] = &[line::CASE, latency::CASE, leaves::CASE];

/// The case of this name.
pub fn named(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}
