use std::ops::Range;

use super::{LEVEL_MAX, Node, SIZE_MAX, TreeError, decompose, empty_root, fold, node_hash};
use crate::Hash;

/// The hashes of the complete subtrees that cover a range of leaves. They are enough to append to it and, when it
/// begins at leaf 0, to compute its root. There are at most 126, for any number of leaves.
///
/// A log appends leaves and stores the nodes that they complete. It resumes from stored hashes. A verifier folds leaves
/// that it hashed itself between hashes that it was given:
///
/// ```
/// # use evidence::tree::{CompactRange, TreeError, leaf_hash};
/// # use evidence::Hash;
/// fn root_with_run(left: &[Hash], first: u64, run: &[&[u8]], right: &[Hash], size: u64) -> Result<Hash, TreeError> {
///     let mut range = CompactRange::resume(0..first, left)?;
///     for entry in run {
///         range.push_leaf(leaf_hash(entry));
///     }
///     range.extend(size, right)?;
///     Ok(range.root())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactRange {
    begin: u64,
    end: u64,
    nodes: Vec<(Node, Hash)>,
}

impl CompactRange {
    /// The empty range at `begin`, which is at most [`SIZE_MAX`]. `starting_at(0)` is the empty tree.
    pub const fn starting_at(begin: u64) -> Self {
        Self { begin, end: begin, nodes: Vec::new() }
    }

    /// The range whose decomposition has these hashes, left to right.
    ///
    /// # Errors
    /// When there are more or fewer hashes than [`decompose`] has nodes for the range, or the range goes beyond
    /// [`SIZE_MAX`].
    pub fn resume(range: Range<u64>, hashes: &[Hash]) -> Result<Self, TreeError> {
        let mut resumed = Self::starting_at(range.start);
        resumed.extend(range.end, hashes)?;
        Ok(resumed)
    }

    /// Appends one leaf.
    pub fn push_leaf(&mut self, leaf: Hash) {
        self.push_leaf_with(leaf, |_, _| ());
    }

    /// Appends one leaf and reports every subtree that it completes, from the leaf itself upwards. A tiled log stores
    /// those whose level is a multiple of 8.
    pub fn push_leaf_with(&mut self, leaf: Hash, completed: impl FnMut(Node, Hash)) {
        self.merge(Node::leaf(self.end), leaf, completed);
    }

    /// Appends a complete subtree.
    ///
    /// # Errors
    /// When it does not begin at the end of the range or ends beyond [`SIZE_MAX`]. The range then stays as it was.
    pub fn push(&mut self, node: Node, hash: Hash) -> Result<(), TreeError> {
        TreeError::check_range("node level", node.level.into(), LEVEL_MAX.into())?;
        TreeError::check_range("node index", node.index, (SIZE_MAX >> node.level) - 1)?;
        let begin = node.range().start;
        if begin != self.end {
            return Err(TreeError::Gap { end: self.end, begin });
        }
        self.merge(node, hash, |_, _| ());
        Ok(())
    }

    /// Appends the leaves up to `end`, given as the hashes of `decompose(self.end()..end)`.
    ///
    /// # Errors
    /// When there are more or fewer hashes, or `end` is before the end of the range or beyond [`SIZE_MAX`]. The range
    /// then stays as it was.
    pub fn extend(&mut self, end: u64, hashes: &[Hash]) -> Result<(), TreeError> {
        TreeError::check_size(end)?;
        TreeError::check_range("leaf index", self.end, end)?;
        let nodes = decompose(self.end..end);
        TreeError::check_length(hashes.len(), nodes.len())?;
        for (node, hash) in nodes.into_iter().zip(hashes) {
            self.merge(node, *hash, |_, _| ());
        }
        Ok(())
    }

    /// Appends a range that begins where this one ends, so that parts can be hashed separately.
    ///
    /// # Errors
    /// When it begins elsewhere. This range then stays as it was.
    pub fn append(&mut self, other: &CompactRange) -> Result<(), TreeError> {
        if other.begin != self.end {
            return Err(TreeError::Gap { end: self.end, begin: other.begin });
        }
        for (node, hash) in &other.nodes {
            self.merge(*node, *hash, |_, _| ());
        }
        Ok(())
    }

    /// Adds a subtree at the end. While the new one is the right half of a subtree and the last node here is its left
    /// half, joins the two. That keeps `nodes` the decomposition of the range.
    fn merge(&mut self, mut node: Node, mut hash: Hash, mut completed: impl FnMut(Node, Hash)) {
        debug_assert_eq!(node.range().start, self.end, "a subtree follows the range");
        self.end = node.range().end;
        completed(node, hash);
        while let Some((left, left_hash)) = self.nodes.pop_if(|(left, _)| is_right_half(node, *left)) {
            node = left.parent();
            hash = node_hash(&left_hash, &hash);
            completed(node, hash);
        }
        self.nodes.push((node, hash));
    }

    /// The root of the tree. The range must be the whole tree.
    ///
    /// # Panics
    /// When the range does not begin at leaf 0: only a whole tree has a root.
    pub fn root(&self) -> Hash {
        assert_eq!(self.begin, 0, "only a range from leaf 0 has a root");
        fold(self.nodes.iter().map(|(_, hash)| *hash)).unwrap_or_else(empty_root)
    }

    /// Its first leaf.
    pub const fn begin(&self) -> u64 {
        self.begin
    }

    /// The leaf after its last. When the range begins at leaf 0, this is the size of the tree.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The subtrees of its decomposition and their hashes, left to right.
    pub fn nodes(&self) -> &[(Node, Hash)] {
        &self.nodes
    }
}

fn is_right_half(node: Node, left: Node) -> bool {
    node.index % 2 == 1 && left.level == node.level && left.index + 1 == node.index
}
