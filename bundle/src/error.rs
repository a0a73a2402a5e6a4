use std::io;

use thiserror::Error;

/// Why a bundle cannot be read or written. `file` is relative to the bundle's folder.
#[derive(Debug, Error)]
pub enum Error {
    /// The system returned an error. Reading again may help.
    #[error("{file}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// The system's error.
        source: io::Error,
    },
    /// The file breaks a rule of the format, is missing, or has no place in a bundle.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file or folder.
        file: String,
        /// What is wrong, with the line or byte position.
        problem: String,
    },
    /// The bundle is of an unknown version.
    #[error("{file}: {problem}")]
    Unsupported {
        /// The file.
        file: String,
        /// What is unknown.
        problem: String,
    },
}

impl Error {
    pub(crate) fn malformed(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), problem: problem.into() }
    }

    pub(crate) fn io(file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }
}
