use super::{Node, TreeError, decompose, node_hash, split};
use crate::Hash;

/// The complete subtrees behind each hash of the inclusion proof of a leaf, from leaf to root. The hashes of a group
/// fold from the right into one hash of the proof. All groups but one have one node.
///
/// # Errors
/// When there is no such leaf, or the size is above [`super::SIZE_MAX`].
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<Vec<Node>>, TreeError> {
    check(index, size)?;
    let mut groups = Vec::new();
    let mut range = 0..size;
    while range.end - range.start > 1 {
        let middle = split(&range);
        let (inside, sibling) = if index < middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        groups.push(decompose(sibling));
        range = inside;
    }
    groups.reverse();
    Ok(groups)
}

/// Verifies that the leaf hash `leaf` is at `index` in the tree of this size and root (RFC 9162 section 2.1.3.2).
///
/// The caller must take the size and the root from one signed checkpoint. A path alone does not distinguish a tree of 3
/// from a tree of 4.
///
/// # Errors
/// When there is no such leaf, when the path has more or fewer hashes than the shape needs, or when it leads to another
/// root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), TreeError> {
    check(index, size)?;
    let shape = PathShape::new(index, size - 1);
    TreeError::check_length(path.len(), shape.len())?;
    let (inner, border) = path.split_at(shape.inner);
    let subtree = climb_inner(*leaf, inner, index);
    TreeError::check_root(size, root, climb_border(subtree, border))
}

fn check(index: u64, size: u64) -> Result<(), TreeError> {
    TreeError::check_size(size)?;
    let last = size.checked_sub(1).ok_or(TreeError::OutOfRange { what: "leaf index", value: index, limit: 0 })?;
    TreeError::check_range("leaf index", index, last)
}

/// The number of hashes in a path. The ways to the leaf and to the last leaf of the tree part at a subtree. `inner`
/// hashes are below it, with siblings on either side. `border` hashes are above it, all on the left.
pub(super) struct PathShape {
    pub(super) inner: usize,
    pub(super) border: usize,
}

impl PathShape {
    pub(super) fn new(index: u64, last: u64) -> Self {
        let inner = u64::BITS - (index ^ last).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or(0).count_ones();
        Self { inner: inner as usize, border: border as usize }
    }

    fn len(&self) -> usize {
        self.inner + self.border
    }
}

/// Climbs past one sibling on each level. The bits of `index`, from the lowest, give the side of each.
pub(super) fn climb_inner(start: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings.iter().enumerate().fold(start, |hash, (height, sibling)| {
        if index >> height & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    })
}

/// Climbs past siblings that are all on the left.
pub(super) fn climb_border(start: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(start, |hash, sibling| node_hash(sibling, &hash))
}
