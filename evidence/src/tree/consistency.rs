use super::inclusion::{PathShape, climb_border, climb_inner};
use super::{Node, TreeError, decompose, empty_root, node_hash, split};
use crate::Hash;

/// The complete subtrees behind each hash of the consistency proof from an older tree to a newer one, in the order of
/// the proof. The hashes of a group fold from the right into one hash. There are none when the older tree is empty or
/// both have the same size.
///
/// # Errors
/// When the older tree is the larger, or the newer is above [`super::SIZE_MAX`].
pub fn consistency_nodes(old_size: u64, new_size: u64) -> Result<Vec<Vec<Node>>, TreeError> {
    check(old_size, new_size)?;
    let mut groups = Vec::new();
    if old_size == 0 || old_size == new_size {
        return Ok(groups);
    }
    // Descend to the subtree that ends where the older tree ends.
    let mut range = 0..new_size;
    while range.end != old_size {
        let middle = split(&range);
        let (inside, sibling) = if old_size <= middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        groups.push(decompose(sibling));
        range = inside;
    }
    // If it is the whole older tree, its hash is the older root, which the verifier already has.
    if range.start != 0 {
        groups.push(decompose(range));
    }
    groups.reverse();
    Ok(groups)
}

/// Verifies that the tree of `old_size` and `old_root` is the beginning of the tree of `new_size` and `new_root`
/// (RFC 9162 section 2.1.4.2). The empty tree is the beginning of every tree, with an empty path, and has one root.
///
/// # Errors
/// When the older tree is the larger, when the path has more or fewer hashes than the shapes need, or when it leads to
/// another older or newer root.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), TreeError> {
    check(old_size, new_size)?;
    if new_size == 0 {
        TreeError::check_root(0, new_root, empty_root())?;
    }
    if old_size == 0 {
        TreeError::check_length(path.len(), 0)?;
        return TreeError::check_root(0, old_root, empty_root());
    }
    if old_size == new_size {
        TreeError::check_length(path.len(), 0)?;
        return TreeError::check_root(new_size, new_root, *old_root);
    }
    let (old, new) = consistency_roots(old_size, old_root, new_size, path)?;
    TreeError::check_root(old_size, old_root, old)?;
    TreeError::check_root(new_size, new_root, new)
}

/// The older and the newer root to which a path leads, for `0 < old_size < new_size`. `old_root` is used, and returned,
/// only when the older tree is one complete subtree: the path then leaves its hash out.
fn consistency_roots(old_size: u64, old_root: &Hash, new_size: u64, path: &[Hash]) -> Result<(Hash, Hash), TreeError> {
    // Both paths up begin at the last complete subtree of the older tree. Its height is:
    let height = old_size.trailing_zeros();
    let shape = PathShape::new(old_size - 1, new_size - 1);
    let inner = shape.inner - height as usize;
    let start_in_path = !old_size.is_power_of_two();
    TreeError::check_length(path.len(), usize::from(start_in_path) + inner + shape.border)?;
    let (start, path) = match path.split_first() {
        Some((first, rest)) if start_in_path => (*first, rest),
        _ => (*old_root, path),
    };
    let (inner, border) = path.split_at(inner);
    let index = (old_size - 1) >> height;
    // Siblings on the left belong to both trees, siblings on the right to the newer alone.
    let old = inner
        .iter()
        .enumerate()
        .fold(start, |hash, (height, sibling)| if index >> height & 1 == 1 { node_hash(sibling, &hash) } else { hash });
    let new = climb_inner(start, inner, index);
    Ok((climb_border(old, border), climb_border(new, border)))
}

fn check(old_size: u64, new_size: u64) -> Result<(), TreeError> {
    TreeError::check_size(new_size)?;
    TreeError::check_range("older tree size", old_size, new_size)
}
