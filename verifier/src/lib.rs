//! Verifies offline what a ledger claims: events, statements, the chain and its anchors.
//!
//! The auditor asks the question: which streams and offsets must be there ([`Expectation`]), and whose signatures count (the
//! trust file). Bundle and clones only answer it, and may be hostile. The verifier hashes all of their content and compares
//! it with what the trust file's keys signed. It uses no network.
//!
//! [`verify`] never fails. A file that cannot be read is a [`Finding`] like any other, and the gravest finding decides the
//! [`Verdict`].
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::path::PathBuf;
//!
//! use evidence::statement::Reason;
//! use verifier::{Code, Inputs, Verdict, verify};
//!
//! // The golden bundle of this crate; an auditor has one from `streamseal export`.
//! let vectors = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"));
//! let inputs = Inputs {
//!     bundle: vectors.join("bundle"),
//!     trust: vectors.join("trust"),
//!     clones: Vec::new(),
//!     branch: "anchors".to_owned(),
//!     expectations: vec!["orders/0@3..10".parse()?],
//!     accepted_gaps: BTreeSet::from([Reason::Start]),
//!     pin: None,
//!     now_s: 1_800_003_600,
//! };
//! let report = verify(&inputs);
//! println!("{report}");
//! assert_eq!(report.verdict, Verdict::Proven);
//!
//! // The bundle does not hold offset 10,000.
//! let report = verify(&Inputs { expectations: vec!["orders/0@3..10001".parse()?], ..inputs });
//! assert_eq!(report.verdict, Verdict::Incomplete);
//! assert_eq!(report.findings[0].code, Code::Uncovered);
//! # Ok::<(), verifier::ParseExpectationError>(())
//! ```

#![warn(clippy::missing_errors_doc)]

mod batch;
mod chain;
pub mod cli;
mod clones;
mod code;
mod conclude;
mod distrust;
mod event_proof;
mod expect;
mod finding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heads;
mod inputs;
mod pin;
mod report;
mod rounds;
mod scan;
mod stream;
mod threads;
mod verdict;
mod verification;
mod verify;
mod words;

use evidence::time;

pub use clones::{Anchored, CloneReport};
pub use code::Code;
pub use expect::{Expectation, ParseExpectationError};
pub use finding::{Finding, Place};
pub use inputs::Inputs;
pub use report::{EventReport, HeadsReport, Report, StreamReport};
pub use stream::AcceptedGap;
pub use verdict::Verdict;
pub use verify::verify;
pub use words::{Word, Words};
