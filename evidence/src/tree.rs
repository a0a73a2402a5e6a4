//! The SHA-256 Merkle tree over the entries of a chain (RFC 6962 section 2.1, RFC 9162 section 2.1).
//!
//! A tree of `n` leaves is split at the largest power of two below `n`, recursively. No node is duplicated. Most of the
//! tree is complete subtrees, which never change once their last leaf is there. A [`Node`] names one. All proofs here
//! depend on the nodes that cover a range of leaves ([`decompose`]), and on how their hashes fold.

mod compact_range;
mod consistency;
mod error;
mod inclusion;

use std::ops::Range;

use sha2::{Digest, Sha256};

pub use compact_range::CompactRange;
pub use consistency::{consistency_nodes, verify_consistency};
pub use error::TreeError;
pub use inclusion::{inclusion_nodes, verify_inclusion};

use crate::Hash;

/// The largest number of leaves, 2^63 - 1: the limit of the text formats.
pub const SIZE_MAX: u64 = crate::text::U63_MAX;

/// The height of the largest complete subtree in a tree of at most [`SIZE_MAX`] leaves.
const LEVEL_MAX: u8 = 62;

const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// The hash of a leaf that holds `entry`: SHA-256(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([LEAF_PREFIX]).chain_update(entry).finalize().into())
}

/// The hash of the node above two children: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut preimage = [0; 1 + 2 * Hash::LEN];
    preimage[0] = NODE_PREFIX;
    preimage[1..=Hash::LEN].copy_from_slice(left.as_bytes());
    preimage[1 + Hash::LEN..].copy_from_slice(right.as_bytes());
    crate::sha256(&preimage)
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    crate::sha256(b"")
}

/// A complete subtree: `1 << level` leaves from `index << level` on. A node of level 0 is a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The height of the subtree, 0 to 62.
    pub level: u8,
    /// Its place among the subtrees of that height.
    pub index: u64,
}

impl Node {
    /// The subtree of one leaf.
    pub const fn leaf(index: u64) -> Self {
        Self { level: 0, index }
    }

    /// The leaves below it.
    pub const fn range(self) -> Range<u64> {
        self.index << self.level..(self.index + 1) << self.level
    }

    /// The subtree of which this one is a half.
    const fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index >> 1 }
    }
}

/// The fewest complete subtrees that cover the leaves of a range, left to right. For a range from 0 their levels fall,
/// and their hashes folded from the right are the root ([`CompactRange::root`]).
pub fn decompose(range: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut begin = range.start;
    while begin < range.end {
        let level = (range.end - begin).ilog2().min(begin.trailing_zeros());
        nodes.push(Node { level: level as u8, index: begin >> level });
        begin += 1 << level;
    }
    nodes
}

/// The hash over the leaves of a subtree, from the hashes of its decomposition. `None` without hashes.
pub(crate) fn fold<I>(hashes: I) -> Option<Hash>
where
    I: IntoIterator<Item = Hash, IntoIter: DoubleEndedIterator>,
{
    hashes.into_iter().rev().reduce(|right, left| node_hash(&left, &right))
}

/// The number of leaves in the left half of a tree of at least two: the largest power of two that leaves a leaf on the
/// right.
fn split(range: &Range<u64>) -> u64 {
    range.start + (1 << (range.end - range.start - 1).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_6962() {
        // From the test vectors of Certificate Transparency implementations: the empty tree and the empty leaf.
        let hex = |hash: Hash| hash.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(
            hex(node_hash(&leaf_hash(b""), &leaf_hash(b"\0"))),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn a_decomposition_is_the_fewest_aligned_subtrees() {
        for end in 0..200 {
            for start in 0..=end {
                let nodes = decompose(start..end);
                let mut at = start;
                for node in &nodes {
                    assert_eq!(node.range().start, at);
                    at = node.range().end;
                }
                assert_eq!(at, end);
                // They are the fewest: no two neighbours are halves of one subtree.
                assert!(nodes.windows(2).all(|w| w[0].parent() != w[1].parent() || w[0].level != w[1].level));
            }
        }
        assert!(decompose(5..5).is_empty());
        assert_eq!(decompose(0..SIZE_MAX).len(), 63);
    }
}
