//! The question that a verification answers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use evidence::statement::Reason;

use crate::expect::Expectation;

/// The evidence, and everything that it is verified against.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The bundle (a folder), or an event proof (a file).
    pub bundle: PathBuf,
    /// The auditor's trust file.
    pub trust: PathBuf,
    /// Clones of the anchors' repository; they may be bare.
    pub clones: Vec<PathBuf>,
    /// The branch that anchors are on.
    pub branch: String,
    /// The streams and offsets that must be covered. If empty: all streams of the newest heads statement, up to their
    /// cursors in it.
    pub expectations: Vec<Expectation>,
    /// The reasons for which signed gaps are accepted.
    pub accepted_gaps: BTreeSet<Reason>,
    /// A file that remembers the largest head seen; created if it is absent.
    pub pin: Option<PathBuf>,
    /// The auditor's clock, in seconds since 1970.
    pub now_s: u64,
}
