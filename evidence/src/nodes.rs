//! A memory of what nodes of a Merkle tree hash to.

use crate::Hash;

/// How many nodes are remembered: the upper levels of the trees of some large batches. 1.5 MiB, within a core's cache.
const NODES: usize = 1 << 14;

/// Hashes two children, or remembers what they hash to.
///
/// Paths of one tree meet on their way to the root, and from there on are the same. The memory only ever repeats what
/// was computed here from the very same children, whole: it can make a proof neither valid nor invalid. Each pair has one
/// place, by its bytes, in which the newest pair stays: whoever chooses hashes so that they fall into one place slows the
/// memory down to hashing, and no more.
pub(crate) struct Nodes {
    hash: fn(&Hash, &Hash) -> Hash,
    places: Box<[Node]>,
}

#[derive(Clone)]
struct Node {
    left: Hash,
    right: Hash,
    parent: Hash,
}

impl Nodes {
    /// Nothing remembered yet. `hash` is the tree's own.
    pub(crate) fn new(hash: fn(&Hash, &Hash) -> Hash) -> Self {
        let zero = Hash([0; 32]);
        let node = Node { left: zero, right: zero, parent: hash(&zero, &zero) };
        Self { hash, places: vec![node; NODES].into() }
    }

    /// The node above two children.
    pub(crate) fn parent(&mut self, left: &Hash, right: &Hash) -> Hash {
        let place = &mut self.places[place(left, right)];
        if place.left != *left || place.right != *right {
            *place = Node { left: *left, right: *right, parent: (self.hash)(left, right) };
        }
        place.parent
    }
}

/// Hashes spread by themselves: some bytes of each are enough.
fn place(left: &Hash, right: &Hash) -> usize {
    let bits = |hash: &Hash| usize::from(u16::from_le_bytes([hash.0[0], hash.0[1]]));
    (bits(left) ^ bits(right).rotate_left(7)) % NODES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{batch, tree};

    #[test]
    fn remembered_or_not_a_node_is_what_its_children_hash_to() {
        for hash in [batch::node_hash, tree::node_hash] {
            let mut nodes = Nodes::new(hash);
            // More pairs than places, some twice in a row, some after others have taken their place.
            let child = |i: u32| Hash(*blake3::hash(&(i % 60_000).to_le_bytes()).as_bytes());
            for i in (0..100_000).chain(0..1000) {
                let (left, right) = (child(i), child(i * 7));
                assert_eq!(nodes.parent(&left, &right), hash(&left, &right));
                assert_eq!(nodes.parent(&right, &left), hash(&right, &left));
                assert_eq!(nodes.parent(&left, &right), hash(&left, &right));
            }
            let zero = Hash([0; 32]);
            assert_eq!(nodes.parent(&zero, &zero), hash(&zero, &zero));
        }
    }
}
