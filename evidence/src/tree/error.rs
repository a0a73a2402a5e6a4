use thiserror::Error;

use super::SIZE_MAX;
use crate::Hash;

/// Why hashes do not prove a claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The claim itself cannot hold: a leaf beyond the end of the tree, or an older tree larger than the newer.
    #[error("{what} {value} is out of range: at most {limit}")]
    OutOfRange {
        /// What is out of range.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest value that it may have.
        limit: u64,
    },
    /// More or fewer hashes than the tree's shape needs.
    #[error("{found} hashes, the shape of the tree needs {expected}")]
    WrongLength {
        /// The number that the shape needs.
        expected: usize,
        /// The number that was given.
        found: usize,
    },
    /// The hashes lead to another root. Some hash, the leaf, or the root is not of this tree.
    #[error("the hashes lead to {computed} where the tree of size {size} has the root {root}")]
    WrongRoot {
        /// The size of the tree.
        size: u64,
        /// The claimed root.
        root: Hash,
        /// The computed root.
        computed: Hash,
    },
    /// A subtree that does not begin where the range before it ends.
    #[error("a subtree that begins at leaf {begin} cannot follow leaf {end}")]
    Gap {
        /// Where the range ends (exclusive).
        end: u64,
        /// Where the subtree begins.
        begin: u64,
    },
}

impl TreeError {
    pub(crate) fn check_range(what: &'static str, value: u64, limit: u64) -> Result<(), Self> {
        if value <= limit { Ok(()) } else { Err(Self::OutOfRange { what, value, limit }) }
    }

    pub(crate) fn check_size(size: u64) -> Result<(), Self> {
        Self::check_range("tree size", size, SIZE_MAX)
    }

    pub(crate) fn check_length(found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::WrongLength { expected, found }) }
    }

    pub(crate) fn check_root(size: u64, root: &Hash, computed: Hash) -> Result<(), Self> {
        if computed == *root { Ok(()) } else { Err(Self::WrongRoot { size, root: *root, computed }) }
    }
}
