use std::fmt;

use crate::id::Id;

/// Why something in a repository cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No place in the repository holds the object.
    #[error("object {0} is absent: the clone is shallow, partial or damaged")]
    Absent(Id),
    /// The system cannot read it, it is damaged, it is larger than the limits, or the reader does not know its kind.
    #[error("{0}")]
    Unreadable(String),
}

/// Why bytes cannot be read, before it is known which object or reference they belong to.
///
/// It does not implement `Display`, so that `?` can make it from every error that does.
#[derive(Debug)]
pub(crate) struct ReadError(pub(crate) String);

impl<T: fmt::Display> From<T> for ReadError {
    fn from(error: T) -> Self {
        Self(error.to_string())
    }
}

impl From<ReadError> for Error {
    fn from(ReadError(problem): ReadError) -> Self {
        Self::Unreadable(problem)
    }
}
