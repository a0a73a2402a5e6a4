//! Reading hashes from tiles: the tiles of an honest log are enough for every proof, and those of a dishonest one are
//! refused.

use std::collections::BTreeMap;

use evidence::Hash;
use evidence::tile::*;
use evidence::tree::*;

/// A log of numbered entries that keeps every hash at the levels of tiles.
struct Log {
    range: CompactRange,
    hashes: Vec<Vec<Hash>>,
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}\n").into_bytes()
}

impl Log {
    fn new(size: u64) -> Self {
        let mut log = Self { range: CompactRange::starting_at(0), hashes: vec![Vec::new(); 3] };
        for index in 0..size {
            log.range.push_leaf_with(leaf_hash(&entry(index)), |node, hash| {
                if node.level % 8 == 0 {
                    log.hashes[usize::from(node.level / 8)].push(hash);
                }
            });
        }
        log
    }

    fn hashes(&self, tile: Tile) -> &[Hash] {
        let first = tile.index() as usize * usize::from(TILE_WIDTH);
        &self.hashes[usize::from(tile.level())][first..first + usize::from(tile.width())]
    }

    fn tile(&self, tile: Tile) -> Vec<u8> {
        self.hashes(tile).iter().flat_map(|hash| hash.0).collect()
    }

    fn fetch(&self, nodes: impl IntoIterator<Item = Node>, size: u64) -> BTreeMap<Tile, Vec<u8>> {
        needed_tiles(nodes, size).into_iter().map(|tile| (tile, self.tile(tile))).collect()
    }

    /// All tiles that the log serves at a size.
    fn all_tiles(&self, size: u64) -> BTreeMap<Tile, Vec<u8>> {
        let level = |level| (0..).map_while(move |index| Tile::in_tree(level, index, size));
        (0..3).flat_map(level).map(|tile| (tile, self.tile(tile))).collect()
    }

    fn root(&self, size: u64) -> Hash {
        let mut range = CompactRange::starting_at(0);
        self.hashes[0][..size as usize].iter().for_each(|leaf| range.push_leaf(*leaf));
        range.root()
    }
}

/// Sizes around every boundary of tiles up to level 2, and the example of the specification.
const SIZES: [u64; 14] = [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 66_000, 70_000];

fn indices(size: u64) -> impl Iterator<Item = u64> {
    let near = [0, 1, 254, 255, 256, 300, 511, 512, 40_000, 65_279, 65_535, 65_536, size - 1, size / 2];
    near.into_iter().filter(move |index| *index < size)
}

#[test]
fn the_needed_tiles_are_enough_for_inclusion_proofs() {
    let log = Log::new(70_000);
    for size in SIZES {
        let root = log.root(size);
        for index in indices(size) {
            let nodes = inclusion_nodes(index, size).expect("a leaf").into_iter().flatten();
            let tiles = Tiles::authenticate(size, &root, log.fetch(nodes, size)).expect("an honest log");
            let path = tiles.inclusion_proof(index).expect("the needed tiles");
            let leaf = leaf_hash(&entry(index));
            assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()), "{index} in {size}");
        }
    }
}

#[test]
fn the_needed_tiles_are_enough_for_consistency_proofs() {
    let log = Log::new(70_000);
    for size in SIZES {
        let root = log.root(size);
        for old in indices(size).chain([size]) {
            let nodes = consistency_nodes(old, size).expect("older first").into_iter().flatten();
            let tiles = Tiles::authenticate(size, &root, log.fetch(nodes, size)).expect("an honest log");
            let path = tiles.consistency_proof(old).expect("the needed tiles");
            assert_eq!(verify_consistency(old, &log.root(old), size, &root, &path), Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn range_resumes_from_tiles() {
    let log = Log::new(70_000);
    for size in SIZES {
        let tiles = Tiles::authenticate(size, &log.root(size), log.fetch([], size)).expect("an honest log");
        let mut range = tiles.compact_range(size).expect("the right edge");
        log.hashes[0][size as usize..].iter().for_each(|leaf| range.push_leaf(*leaf));
        assert_eq!(range, log.range, "resumed at {size}");
    }
    let empty = Tiles::authenticate(0, &empty_root(), BTreeMap::<Tile, Vec<u8>>::new()).expect("nothing to show");
    assert_eq!(empty.compact_range(0), Ok(CompactRange::starting_at(0)));
    assert!(Tiles::authenticate(0, &log.root(1), BTreeMap::<Tile, Vec<u8>>::new()).is_err());
}

#[test]
fn run_proves_with_the_hashes_beside_it() {
    let (log, size) = (Log::new(66_000), 66_000);
    let root = log.root(size);
    for (first, last) in [(0, 1), (0, size), (255, 257), (300, 1_000), (65_536, 66_000), (65_999, 66_000)] {
        let nodes = decompose(0..first).into_iter().chain(decompose(last..size));
        let tiles = Tiles::authenticate(size, &root, log.fetch(nodes, size)).expect("an honest log");
        let mut range = CompactRange::resume(0..first, &tiles.range(0..first).expect("needed")).expect("its nodes");
        (first..last).for_each(|index| range.push_leaf(leaf_hash(&entry(index))));
        range.extend(size, &tiles.range(last..size).expect("needed")).expect("its nodes");
        assert_eq!(range.root(), root, "{first}..{last}");
    }
}

/// The log rewrites an entry and its leaf hash alike, and leaves the tiles above unchanged. A reader who takes the root
/// from the upper tiles, and leaf hashes from a tile that nothing was compared with, accepts it.
#[test]
fn altered_entry_with_matching_leaf_is_refused() {
    let size = 70_000;
    let (log, forged) = (Log::new(size), b"another entry\n");
    let root = log.root(size);
    for victim in [0, 255, 300, 65_535, 69_888, 69_999] {
        let tile = Tile::in_tree(0, victim / 256, size).expect("in the tree");
        let mut entries: Vec<Vec<u8>> = tile.nodes().map(|node| entry(node.index)).collect();
        entries[(victim % 256) as usize] = forged.to_vec();
        let bundle = encode_entries(&entries).expect("short entries");
        let leaves: Vec<Hash> =
            decode_entries(&bundle, tile.width()).expect("its own").iter().map(|e| leaf_hash(e)).collect();

        let mut served = log.all_tiles(size);
        served.insert(tile, leaves.iter().flat_map(|hash| hash.0).collect());
        let refused = Tiles::authenticate(size, &root, served.clone()).expect_err("forged");
        match tile.width() {
            TILE_WIDTH => assert!(matches!(refused, TileError::Contradiction { tile: t, .. } if t == tile)),
            _ => assert!(matches!(refused, TileError::Tree(TreeError::WrongRoot { .. }))),
        }

        // Only the tiles that a proof needs, for the victim and for its neighbour, whose path holds the forged leaf
        // hash.
        for index in [victim, victim ^ 1] {
            let nodes = inclusion_nodes(index, size).expect("a leaf").into_iter().flatten();
            let needed: BTreeMap<Tile, Vec<u8>> =
                needed_tiles(nodes, size).into_iter().map(|tile| (tile, served[&tile].clone())).collect();
            assert!(needed.contains_key(&tile));
            assert!(Tiles::authenticate(size, &root, needed).is_err(), "{index} beside {victim}");
        }

        // The honest path does not lead from the forged entry, nor does the honest frame fold with the forged bundle.
        let honest = Tiles::authenticate(size, &root, log.all_tiles(size)).expect("an honest log");
        let path = honest.inclusion_proof(victim).expect("all tiles");
        assert!(verify_inclusion(&leaf_hash(forged), victim, size, &path, &root).is_err());
        let (first, last) = (tile.index() * 256, tile.index() * 256 + u64::from(tile.width()));
        let mut range = CompactRange::resume(0..first, &honest.range(0..first).expect("all tiles")).expect("its nodes");
        leaves.iter().for_each(|leaf| range.push_leaf(*leaf));
        range.extend(size, &honest.range(last..size).expect("all tiles")).expect("its nodes");
        assert_ne!(range.root(), root);
        assert_ne!(honest.hash(Node::leaf(victim)), Ok(leaf_hash(forged)));
    }
}

/// Every hash of every tile, one flipped bit at a time, in a log of three levels.
#[test]
fn no_altered_hash_is_believed() {
    let size = 65_536 + 256 + 3;
    let log = Log::new(size);
    let (root, tiles) = (log.root(size), log.all_tiles(size));
    let some = [0, 1, 255, 256].map(|index| Tile::in_tree(0, index, size).expect("in the tree"));
    let checked = tiles.keys().copied().filter(|tile| tile.level() > 0 || some.contains(tile));
    for tile in checked.collect::<Vec<_>>() {
        let upper: BTreeMap<Tile, Vec<u8>> = log.fetch([tile.nodes().next().expect("not empty")], size);
        assert!(Tiles::authenticate(size, &root, upper.clone()).is_ok());
        for byte in (0..usize::from(tile.width()) * Hash::LEN).step_by(Hash::LEN) {
            let mut altered = upper.clone();
            altered.get_mut(&tile).expect("fetched")[byte] ^= 1;
            assert!(Tiles::authenticate(size, &root, altered).is_err(), "{tile} byte {byte}");
        }
    }
}

#[test]
fn tiles_without_those_above_are_refused() {
    let size = 70_000;
    let log = Log::new(size);
    let root = log.root(size);
    let needed = log.fetch([Node::leaf(300)], size);
    for without in needed.keys() {
        let mut fewer = needed.clone();
        fewer.remove(without);
        match Tiles::authenticate(size, &root, fewer) {
            // The leaf's own tile vouches for nothing else.
            Ok(tiles) => {
                assert_eq!(without.to_string(), "tile/0/001");
                assert_eq!(tiles.hash(Node::leaf(300)), Err(TileError::Missing(*without)));
            }
            Err(error) => assert_eq!(error, TileError::Missing(*without)),
        }
    }
}

#[test]
fn tiles_of_another_size_are_refused() {
    let log = Log::new(600);
    let mut tiles = log.fetch([Node::leaf(0)], 600);
    let narrower = Tile::in_tree(0, 2, 599).expect("in that tree");
    tiles.insert(narrower, log.tile(narrower));
    let refused = Tiles::authenticate(600, &log.root(600), tiles).expect_err("another size");
    assert_eq!(refused, TileError::Foreign { tile: narrower, size: 600 });
    let mut tiles = log.fetch([Node::leaf(0)], 600);
    tiles.values_mut().next().expect("not empty").push(0);
    assert!(matches!(Tiles::authenticate(600, &log.root(600), tiles), Err(TileError::Malformed(_))));
}

#[test]
fn nodes_outside_the_tree_are_refused() {
    let log = Log::new(600);
    let tiles = Tiles::authenticate(600, &log.root(600), log.all_tiles(600)).expect("an honest log");
    for node in [Node::leaf(600), Node { level: 10, index: 0 }, Node { level: 200, index: 0 }, Node::leaf(u64::MAX)] {
        assert_eq!(tiles.hash(node), Err(TileError::NoSubtree { node, size: 600 }));
    }
    assert!(matches!(tiles.inclusion_proof(600), Err(TileError::Tree(TreeError::OutOfRange { .. }))));
    assert!(matches!(tiles.consistency_proof(601), Err(TileError::Tree(TreeError::OutOfRange { .. }))));
    assert!(tiles.compact_range(601).is_err());
}
