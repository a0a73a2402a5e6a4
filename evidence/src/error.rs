use thiserror::Error;

/// Why bytes are not the object they should be.
///
/// The two cases lead to different verdicts (SPEC.md, "Verdicts"). Malformed input breaks the specification.
/// Unsupported input may be valid under a later one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The bytes break a rule of the format.
    #[error("malformed {object}: {problem}")]
    Malformed {
        /// The object being decoded, such as "summary" or "checkpoint".
        object: &'static str,
        /// What is wrong, with the line or byte position.
        problem: String,
    },
    /// The bytes are of a kind, version or algorithm that this implementation does not know.
    #[error("unsupported {object}: {problem}")]
    Unsupported {
        /// The object being decoded.
        object: &'static str,
        /// What is not known.
        problem: String,
    },
}

impl Error {
    pub(crate) fn malformed(object: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { object, problem: problem.into() }
    }

    pub(crate) fn unsupported(object: &'static str, problem: impl Into<String>) -> Self {
        Self::Unsupported { object, problem: problem.into() }
    }
}
