use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use super::Tile;
use crate::tree::{self, CompactRange, Node, TreeError, consistency_nodes, decompose, inclusion_nodes};
use crate::{Error, Hash};

/// Hashes of one tree, read from tiles and compared with a given root.
///
/// There is no other way to read a hash from a tile. A log may alter an entry and its leaf hash alike, and leave the
/// tiles above unchanged. A reader that compares only some tiles would accept that. Here every tile is compared with
/// the hash above it, up to the root, before any of its hashes can be read.
///
/// To make a proof: list the nodes that it needs, fetch [`needed_tiles`](super::needed_tiles), authenticate them, and
/// read the hashes.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use evidence::Hash;
/// # use evidence::tile::{Tile, TileError, Tiles, needed_tiles};
/// # use evidence::tree::inclusion_nodes;
/// fn prove(fetch: impl Fn(Tile) -> Vec<u8>, index: u64, size: u64, root: &Hash) -> Result<Vec<Hash>, TileError> {
///     let nodes = inclusion_nodes(index, size)?;
///     let fetched = needed_tiles(nodes.into_iter().flatten(), size).into_iter().map(|tile| (tile, fetch(tile)));
///     Tiles::authenticate(size, root, fetched)?.inclusion_proof(index)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Tiles {
    size: u64,
    tiles: BTreeMap<Tile, Vec<Hash>>,
}

/// Why tiles do not show the hashes of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileError {
    /// A needed tile was not given.
    #[error("{0} is needed and was not given")]
    Missing(Tile),
    /// A tile has the wrong length.
    #[error(transparent)]
    Malformed(#[from] Error),
    /// The tree of this size does not have this tile, or has it with another width.
    #[error("{tile} is not a tile of the tree of size {size}")]
    Foreign {
        /// The tile.
        tile: Tile,
        /// The size of the tree.
        size: u64,
    },
    /// The tree of this size does not have this complete subtree.
    #[error("the tree of size {size} has no complete subtree of level {} at {}", node.level, node.index)]
    NoSubtree {
        /// The subtree.
        node: Node,
        /// The size of the tree.
        size: u64,
    },
    /// A tile's hashes do not lead to the hash that the tile above has for it: the log contradicts itself.
    #[error("{tile} has the root {computed} where {above} has {expected}")]
    Contradiction {
        /// The tile.
        tile: Tile,
        /// The tile above it.
        above: Tile,
        /// The root over the tile's hashes.
        computed: Hash,
        /// The hash in the tile above.
        expected: Hash,
    },
    /// The tiles lead to another root, or the claim is out of range.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Tiles {
    /// Takes the bytes of tiles of the tree of this size, and compares them with the root.
    ///
    /// # Errors
    /// When a tile is not of a tree of this size, is malformed, or contradicts the tile above or the root. Also when a
    /// tile above another, or one of the right edge, is missing.
    pub fn authenticate<B: AsRef<[u8]>>(
        size: u64,
        root: &Hash,
        tiles: impl IntoIterator<Item = (Tile, B)>,
    ) -> Result<Self, TileError> {
        let mut read = Self { size, tiles: BTreeMap::new() };
        for (tile, bytes) in tiles {
            if Tile::in_tree(tile.level(), tile.index(), size) != Some(tile) {
                return Err(TileError::Foreign { tile, size });
            }
            read.tiles.insert(tile, tile.decode_hashes(bytes.as_ref())?);
        }
        // The partial tiles are the right edge: the root vouches for every hash in them.
        let edge = read.compact_range(size)?;
        TreeError::check_root(size, root, edge.root())?;
        // The tile above vouches for a full tile. The check goes from the highest down, so that the first tile named is
        // the wrong one.
        for (tile, hashes) in read.tiles.iter().rev() {
            if let Some(above) = tile.above(size) {
                let expected = read.hash(tile.root_node())?;
                let computed = complete_root(hashes);
                if computed != expected {
                    return Err(TileError::Contradiction { tile: *tile, above, computed, expected });
                }
            }
        }
        Ok(read)
    }

    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// When the tile that it is computed from was not given, or the tree does not have that subtree.
    pub fn hash(&self, node: Node) -> Result<Hash, TileError> {
        let size = self.size;
        let (tile, positions) = Tile::locate(node, size).ok_or(TileError::NoSubtree { node, size })?;
        let hashes = self.tiles.get(&tile).ok_or(TileError::Missing(tile))?;
        Ok(complete_root(&hashes[positions]))
    }

    /// The hashes of the complete subtrees that cover a range of leaves ([`decompose`]), left to right.
    ///
    /// # Errors
    /// As for [`Tiles::hash`].
    pub fn range(&self, range: Range<u64>) -> Result<Vec<Hash>, TileError> {
        decompose(range).into_iter().map(|node| self.hash(node)).collect()
    }

    /// The first `size` leaves as a range to append to, or for its root.
    ///
    /// # Errors
    /// As for [`Tiles::hash`].
    pub fn compact_range(&self, size: u64) -> Result<CompactRange, TileError> {
        Ok(CompactRange::resume(0..size, &self.range(0..size)?)?)
    }

    /// The inclusion proof of the leaf at `index`, for [`tree::verify_inclusion`].
    ///
    /// # Errors
    /// As for [`Tiles::hash`], and when there is no such leaf.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, TileError> {
        self.folded(inclusion_nodes(index, self.size)?)
    }

    /// The proof that the tree of the first `old_size` leaves is the beginning of this one, for
    /// [`tree::verify_consistency`].
    ///
    /// # Errors
    /// As for [`Tiles::hash`], and when this tree is smaller.
    pub fn consistency_proof(&self, old_size: u64) -> Result<Vec<Hash>, TileError> {
        self.folded(consistency_nodes(old_size, self.size)?)
    }

    fn folded(&self, groups: Vec<Vec<Node>>) -> Result<Vec<Hash>, TileError> {
        let mut proof = Vec::with_capacity(groups.len());
        for group in groups {
            let hashes = group.into_iter().map(|node| self.hash(node)).collect::<Result<Vec<_>, _>>()?;
            proof.push(tree::fold(hashes).expect("every group covers at least one leaf"));
        }
        Ok(proof)
    }
}

/// The root over a power of two of hashes.
fn complete_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            tree::node_hash(&complete_root(left), &complete_root(right))
        }
    }
}
