//! The Merkle tree of a batch's leaves (SPEC.md, "Batch").
//!
//! The shape is that of RFC 6962, section 2.1. The left subtree holds the largest power of two below the number of
//! leaves, and no node is duplicated. Leaves already have a domain of their own, so a single leaf is its own root.

use crate::Hash;
use crate::blake::NODE;
use crate::tree::TreeError;

/// The number of leaves that are folded at a time. A power of two.
const SPAN: usize = 1024;

/// The root of a batch without events: the node domain over no bytes.
pub fn empty_root() -> Hash {
    NODE.hash(&[])
}

/// The root of these leaves, in offset order.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut builder = RootBuilder::new();
    builder.extend(leaves);
    builder.root()
}

/// The hash of the node above two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut children = [0; 64];
    children[..32].copy_from_slice(&left.0);
    children[32..].copy_from_slice(&right.0);
    NODE.hash_block(&children)
}

/// Computes the root of leaves that come one after the other. It needs memory of the order of log n: up to 1,024 leaves
/// that wait to be folded together, and one node for each complete subtree before them.
#[derive(Debug, Clone, Default)]
pub struct RootBuilder {
    waiting: Vec<[u8; 32]>,
    /// The roots of the complete subtrees of whole spans, from the left and largest to the smallest.
    peaks: Vec<Hash>,
    spans: u64,
}

impl RootBuilder {
    /// The builder of an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.extend(&[leaf]);
    }

    /// Appends leaves.
    pub fn extend(&mut self, mut leaves: &[Hash]) {
        while !leaves.is_empty() {
            let (now, later) = leaves.split_at(leaves.len().min(SPAN - self.waiting.len()));
            self.waiting.extend(now.iter().map(|leaf| leaf.0));
            if self.waiting.len() == SPAN {
                self.close_span();
            }
            leaves = later;
        }
    }

    /// Number of leaves so far.
    pub fn len(&self) -> u64 {
        self.spans * SPAN as u64 + self.waiting.len() as u64
    }

    /// Whether there are no leaves yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The root of the leaves so far.
    pub fn root(&self) -> Hash {
        let tail = fold(&mut self.waiting.clone());
        let nodes = self.peaks.iter().copied().chain(tail);
        nodes.rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// Replaces the waiting leaves, a whole span, by one node. Then replaces every two subtrees of one size by their
    /// parent.
    fn close_span(&mut self) {
        let mut peak = fold(&mut self.waiting).expect("a span of leaves is waiting");
        self.waiting.clear();
        for _ in 0..self.spans.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each bit set in the number of spans");
            peak = node_hash(&left, &peak);
        }
        self.peaks.push(peak);
        self.spans += 1;
    }
}

/// Folds nodes into the root of the tree over them; `None` when there are none.
fn fold(nodes: &mut Vec<[u8; 32]>) -> Option<Hash> {
    while nodes.len() > 1 {
        NODE.fold_pairs(nodes);
    }
    nodes.first().copied().map(Hash)
}

/// The inclusion path of the leaf at `index`: the siblings from the leaf to the root (RFC 6962, section 2.1.1).
///
/// # Panics
/// If there is no such leaf.
pub fn prove(leaves: &[Hash], index: usize) -> Vec<Hash> {
    assert!(index < leaves.len(), "leaf {index} of {}", leaves.len());
    let mut nodes: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
    let mut index = index;
    let mut path = Vec::new();
    while nodes.len() > 1 {
        // The last node of an odd level has no sibling.
        path.extend(nodes.get(index ^ 1).copied().map(Hash));
        NODE.fold_pairs(&mut nodes);
        index /= 2;
    }
    path
}

/// Verifies that `leaf` is the leaf at `index` of the batch of `size` leaves with this `root` (RFC 9162, section
/// 2.1.3.2).
///
/// # Errors
/// When there is no such leaf, when the path has more or fewer hashes than this index and size need, or when it leads
/// to another root.
pub fn verify(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), TreeError> {
    verify_by(node_hash, leaf, index, size, path, root)
}

/// Does the same as [`verify`], with nodes hashed by `node`.
pub(crate) fn verify_by(
    mut node: impl FnMut(&Hash, &Hash) -> Hash,
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    let last = size.checked_sub(1).ok_or(TreeError::OutOfRange { what: "leaf index", value: index, limit: 0 })?;
    TreeError::check_range("leaf index", index, last)?;
    TreeError::check_length(path.len(), sibling_is_left(index, last).count())?;
    let computed = sibling_is_left(index, last)
        .zip(path)
        .fold(*leaf, |hash, (is_left, sibling)| if is_left { node(sibling, &hash) } else { node(&hash, sibling) });
    TreeError::check_root(size, root, computed)
}

/// For each level where the path from the leaf at `index` to the root has a sibling: whether it is on the left.
fn sibling_is_left(index: u64, last: u64) -> impl Iterator<Item = bool> {
    let levels = (0..u64::BITS - last.leading_zeros()).map(move |level| (index >> level, last >> level));
    levels.filter(|(position, last)| position % 2 == 1 || position < last).map(|(position, _)| position % 2 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rs_merkle::{Hasher, MerkleTree};

    use super::*;

    fn derive_key_node(children: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new_derive_key("streamseal 2026-11-21 node v1").update(children).finalize().as_bytes()
    }

    #[derive(Clone)]
    struct Oracle;

    impl Hasher for Oracle {
        type Hash = [u8; 32];

        fn hash(data: &[u8]) -> [u8; 32] {
            derive_key_node(data)
        }

        fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
            right.map_or(*left, |right| derive_key_node(&[*left, *right].concat()))
        }
    }

    /// RFC 6962, section 2.1, word for word.
    fn definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(derive_key_node(&[])),
            [leaf] => *leaf,
            _ => {
                let split = 1 << (leaves.len() - 1).ilog2();
                let (left, right) = leaves.split_at(split);
                Hash(derive_key_node(&[definition(left).0, definition(right).0].concat()))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| Hash(*blake3::hash(&i.to_be_bytes()).as_bytes())).collect()
    }

    /// 0 to 130, and around each power of two above.
    fn sizes() -> impl Iterator<Item = usize> {
        (0..=130).chain((8..=14).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]))
    }

    #[test]
    fn roots_match_the_definition_and_rs_merkle() {
        for size in sizes() {
            let leaves = leaves(size);
            assert_eq!(root(&leaves), definition(&leaves), "{size} leaves");
            let raw: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
            let oracle = MerkleTree::<Oracle>::from_leaves(&raw).root().map_or_else(empty_root, Hash);
            assert_eq!(root(&leaves), oracle, "{size} leaves");
        }
    }

    #[test]
    fn builder_matches_the_definition_at_every_step() {
        let leaves = leaves(3 * SPAN + 2);
        let mut builder = RootBuilder::new();
        assert!(builder.is_empty());
        for size in 0..=leaves.len() {
            assert_eq!(builder.len(), size as u64);
            assert_eq!(builder.is_empty(), size == 0);
            assert!(builder.waiting.len() < SPAN && builder.peaks.len() <= 2, "memory of the order of log n");
            if size % 97 == 0 || size % SPAN <= 1 || size % SPAN == SPAN - 1 {
                assert_eq!(builder.root(), definition(&leaves[..size]), "{size} leaves");
            }
            if let Some(leaf) = leaves.get(size) {
                builder.push(*leaf);
            }
        }
    }

    #[test]
    fn a_duplicated_last_leaf_changes_the_root() {
        let mut leaves = leaves(3);
        let three = root(&leaves);
        leaves.push(leaves[2]);
        assert_ne!(root(&leaves), three);
    }

    #[test]
    fn paths_match_rs_merkle_and_verify() {
        for size in (1..=130).chain([255, 256, 257, 1023, 1024, 1025]) {
            let leaves = leaves(size);
            let root = root(&leaves);
            let raw: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
            let tree = MerkleTree::<Oracle>::from_leaves(&raw);
            for index in (0..size).filter(|index| size <= 130 || index % 61 == 0 || index + 3 > size) {
                let path = prove(&leaves, index);
                let oracle: Vec<_> = tree.proof(&[index]).proof_hashes().iter().copied().map(Hash).collect();
                assert_eq!(path, oracle, "leaf {index} of {size}");
                assert_eq!(verify(&leaves[index], index as u64, size as u64, &path, &root), Ok(()));
            }
        }
    }

    #[test]
    fn any_other_claim_is_refused() {
        for size in 1..=40usize {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let path = prove(&leaves, index);
                let fails = |leaf: &Hash, index: usize, size: usize, path: &[Hash], root: &Hash| {
                    verify(leaf, index as u64, size as u64, path, root).is_err()
                };
                assert!(fails(&Hash([0; 32]), index, size, &path, &root));
                assert!(fails(&leaves[index], index, size, &path, &Hash([0; 32])));
                assert!(
                    (0..size + 3)
                        .filter(|&other| other != index)
                        .all(|other| { fails(&leaves[index], other, size, &path, &root) })
                );
                assert!(fails(&leaves[index], index, 0, &path, &root));
                assert!(fails(&leaves[index], index, size, &[&path[..], &[root]].concat(), &root));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(fails(&leaves[index], index, size, shorter, &root));
                }
                for at in 0..path.len() {
                    let mut altered = path.clone();
                    altered[at].0[31] ^= 1;
                    assert!(fails(&leaves[index], index, size, &altered, &root));
                }
            }
        }
        assert!(verify(&Hash([0; 32]), u64::MAX, u64::MAX, &[], &Hash([0; 32])).is_err());
    }

    proptest! {
        #[test]
        fn any_batch_matches_the_definition(
            leaves in proptest::collection::vec(any::<[u8; 32]>(), 0..2500),
            cut in any::<proptest::sample::Index>(),
        ) {
            let leaves: Vec<_> = leaves.into_iter().map(Hash).collect();
            let expected = definition(&leaves);
            prop_assert_eq!(root(&leaves), expected);
            let mut builder = RootBuilder::new();
            let (first, second) = leaves.split_at(cut.index(leaves.len() + 1));
            builder.extend(first);
            builder.extend(second);
            prop_assert_eq!((builder.len(), builder.root()), (leaves.len() as u64, expected));
        }
    }
}
