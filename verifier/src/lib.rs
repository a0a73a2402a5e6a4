//! Verifies offline what a ledger claims: events, statements, the chain and its anchors.
//!
//! The question is the auditor's: which streams and offsets must be there ([`Expectation`]), whose word counts (the
//! trust file). The bundle and the clones only answer it, and are taken to be hostile: whatever they say is hashed, and
//! compared with what the trust file's keys have signed. Nothing here reaches for the network.
//!
//! [`verify`] never fails: what cannot be read is a finding like any other, and the gravest finding is the verdict.

mod batch;
mod chain;
pub mod cli;
mod clones;
mod conclude;
mod distrust;
mod event_proof;
mod expect;
mod finding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod git;
mod heads;
mod pin;
mod report;
mod rounds;
mod scan;
mod stream;
mod verify;
mod words;

use evidence::time;

pub use clones::{Anchored, CloneReport};
pub use expect::{Expectation, ParseExpectationError};
pub use finding::{Finding, Place, Verdict};
pub use report::{EventReport, HeadsReport, Report, StreamReport};
pub use stream::AcceptedGap;
pub use verify::{Inputs, verify};
pub use words::{Word, Words};
