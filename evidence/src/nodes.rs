//! Remembers the hashes of nodes of a Merkle tree.

use crate::Hash;

/// The number of remembered nodes: the upper levels of the trees of some large batches. They take 1.5 MiB, within a
/// core's cache.
const NODES: usize = 1 << 14;

/// Hashes two children, or recalls their hash.
///
/// Paths of one tree meet on their way to the root, and are the same from there on. The memory compares both children
/// whole, and repeats only hashes that were computed here. So it makes no proof valid or invalid. Each pair has one
/// place, by its bytes, and the newest pair replaces older ones there. An attacker who chooses hashes with the same
/// place only makes every node be hashed.
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
    /// An empty memory. `hash` is the node hash of the tree.
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

/// Hashes are evenly spread, so some bytes of each are enough.
fn place(left: &Hash, right: &Hash) -> usize {
    let bits = |hash: &Hash| usize::from(u16::from_le_bytes([hash.0[0], hash.0[1]]));
    (bits(left) ^ bits(right).rotate_left(7)) % NODES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{batch, tree};

    #[test]
    fn remembered_nodes_equal_hashed_nodes() {
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
