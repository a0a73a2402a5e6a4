//! Findings about a clone, before its path is added.

use git_reader::Id;

use crate::code::Code;
use crate::finding::{Findings, Place};

/// A finding in a clone.
#[derive(Debug)]
pub(crate) struct CloneFinding {
    pub(crate) code: Code,
    pub(crate) commit: Option<Id>,
    pub(crate) problem: String,
}

impl CloneFinding {
    pub(crate) fn new(code: Code, problem: impl Into<String>) -> Self {
        Self { code, commit: None, problem: problem.into() }
    }

    pub(crate) fn unreadable(problem: impl Into<String>) -> Self {
        Self::new(Code::UnreadableClone, problem)
    }

    /// The same finding, in this commit unless it names one.
    pub(crate) fn at(mut self, commit: Id) -> Self {
        self.commit.get_or_insert(commit);
        self
    }
}

impl From<git_reader::Error> for CloneFinding {
    fn from(error: git_reader::Error) -> Self {
        let code = match error {
            git_reader::Error::Absent(_) => Code::IncompleteClone,
            git_reader::Error::Unreadable(_) => Code::UnreadableClone,
        };
        Self::new(code, error.to_string())
    }
}

/// The codes reported for a clone or a copy. One finding of each is enough: the first.
#[derive(Debug, Default)]
pub(crate) struct ReportedCodes(Vec<Code>);

impl ReportedCodes {
    pub(crate) fn report(&mut self, path: &str, finding: CloneFinding, findings: &mut Findings) {
        let CloneFinding { code, commit, problem } = finding;
        if !self.0.contains(&code) {
            self.0.push(code);
            let place = Place { commit: commit.map(|commit| commit.to_string()), ..Place::file(path) };
            findings.add(code, place, problem);
        }
    }
}
