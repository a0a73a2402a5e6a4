//! Anchors in clones of the Git repository.
//!
//! Git is transport here and its hashes are no evidence. What counts in a commit are two files of the log's folder; the
//! commits only say in which order they came. Objects are read raw from the object database, so that nothing in the
//! clone's configuration, `refs/replace` or grafts can show other content or another history; where objects are absent
//! the clone is incomplete, whatever its `shallow` file says.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod id;
mod objects;
mod pack;
mod references;
mod repository;
mod store;
mod walk;

pub(crate) use references::Tip;
pub(crate) use repository::Repository;
pub(crate) use walk::{Anchor, Reading, Walk};

use crate::finding::Verdict;

/// Why a clone cannot be read (on), or why what it holds cannot be.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) verdict: Verdict,
    pub(crate) code: &'static str,
    pub(crate) commit: Option<id::Id>,
    pub(crate) problem: String,
}

impl Fault {
    fn new(verdict: Verdict, code: &'static str, problem: impl Into<String>) -> Self {
        Self { verdict, code, commit: None, problem: problem.into() }
    }

    fn unusable(problem: impl Into<String>) -> Self {
        Self::new(Verdict::Unusable, "unreadable-clone", problem)
    }

    fn at(mut self, commit: id::Id) -> Self {
        self.commit.get_or_insert(commit);
        self
    }
}
