//! The SHA-256 tree: roots, inclusion and consistency proofs, tiles and entry bundles.

use evidence::tile::{Tile, decode_entries, encode_entries};
use evidence::tree;
use evidence::{Hash, sha256};
use serde::Serialize;

use crate::batches::{Claim, Inclusion, RefusedInclusion, Root, bad_claims, inclusion_cases, tree_code};
use crate::fixture::{entry_leaves, path, root};
use crate::form::{Hex, Refused, Text, code, texts, tree_sizes};

#[derive(Serialize)]
pub(crate) struct Vectors {
    empty_root: Text,
    roots: Vec<Root>,
    inclusion: Vec<Inclusion>,
    refused_inclusion: Vec<RefusedInclusion>,
    consistency: Vec<Consistency>,
    refused_consistency: Vec<RefusedConsistency>,
}

/// A claim that one tree is the beginning of another, with its path.
#[derive(Clone)]
struct Pair {
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    new_root: Hash,
    path: Vec<Hash>,
}

#[derive(Serialize)]
struct Consistency {
    old_size: Text,
    old_root: Text,
    new_size: Text,
    new_root: Text,
    path: Vec<Text>,
}

#[derive(Serialize)]
struct RefusedConsistency {
    name: &'static str,
    #[serde(flatten)]
    consistency: Consistency,
    code: &'static str,
}

impl From<&Pair> for Consistency {
    fn from(pair: &Pair) -> Self {
        Self {
            old_size: pair.old_size.into(),
            old_root: pair.old_root.into(),
            new_size: pair.new_size.into(),
            new_root: pair.new_root.into(),
            path: texts(&pair.path),
        }
    }
}

pub(crate) fn vectors() -> Vectors {
    let leaves = entry_leaves(tree_sizes().max().expect("some sizes"));
    let inclusion: Vec<Claim> = inclusion_cases().map(|(index, size)| claim(&leaves, index, size)).collect();
    for Claim { leaf, index, size, path, root } in &inclusion {
        assert_eq!(tree::verify_inclusion(leaf, *index, *size, path, root), Ok(()));
    }
    let consistency: Vec<Pair> = consistency_cases().map(|(old, new)| pair(&leaves, old, new)).collect();
    for pair in &consistency {
        assert_eq!(verify(pair), Ok(()));
    }
    Vectors {
        empty_root: tree::empty_root().into(),
        roots: tree_sizes().map(|size| Root { size: size.into(), root: root(&leaves, 0..size).into() }).collect(),
        inclusion: inclusion.iter().map(Inclusion::from).collect(),
        refused_inclusion: refused_inclusion(&leaves),
        consistency: consistency.iter().map(Consistency::from).collect(),
        refused_consistency: refused_consistency(&leaves),
    }
}

fn claim(leaves: &[Hash], index: u64, size: u64) -> Claim {
    let nodes = tree::inclusion_nodes(index, size).expect("a leaf of the tree");
    let (leaf, path, root) = (leaves[index as usize], path(leaves, nodes), root(leaves, 0..size));
    Claim { leaf, index, size, path, root }
}

fn pair(leaves: &[Hash], old_size: u64, new_size: u64) -> Pair {
    let nodes = tree::consistency_nodes(old_size, new_size).expect("the older is not the larger");
    let (old_root, new_root) = (root(leaves, 0..old_size), root(leaves, 0..new_size));
    Pair { old_size, old_root, new_size, new_root, path: path(leaves, nodes) }
}

fn verify(pair: &Pair) -> Result<(), tree::TreeError> {
    tree::verify_consistency(pair.old_size, &pair.old_root, pair.new_size, &pair.new_root, &pair.path)
}

/// Every two small trees, and the edges of larger ones.
fn consistency_cases() -> impl Iterator<Item = (u64, u64)> {
    let small = (0..=9).flat_map(|new| (0..=new).map(move |old| (old, new)));
    let edges =
        [64, 65, 130, 1023, 1024, 1025].into_iter().flat_map(|new| [1, 63, 64, new / 2, new - 1].map(|old| (old, new)));
    small.chain(edges)
}

fn refused_inclusion(leaves: &[Hash]) -> Vec<RefusedInclusion> {
    bad_claims(&claim(leaves, 4, 7), leaves)
        .into_iter()
        .map(|(name, claim, code)| {
            let Claim { leaf, index, size, path, root } = &claim;
            let error = tree::verify_inclusion(leaf, *index, *size, path, root).expect_err(name);
            assert_eq!(tree_code(&error), code, "{name}");
            RefusedInclusion { name, inclusion: (&claim).into(), code }
        })
        .collect()
}

fn refused_consistency(leaves: &[Hash]) -> Vec<RefusedConsistency> {
    let from = |old: u64, new: u64, change: &dyn Fn(&mut Pair)| {
        let mut pair = pair(leaves, old, new);
        change(&mut pair);
        pair
    };
    let other = leaves[0];
    [
        ("another older root", from(5, 9, &|p| p.old_root = other), "wrong-root"),
        ("another newer root", from(5, 9, &|p| p.new_root = other), "wrong-root"),
        ("another older root of a complete tree", from(4, 9, &|p| p.old_root = other), "wrong-root"),
        ("another older size with a path as long", from(5, 9, &|p| p.old_size = 7), "wrong-root"),
        ("an older size with a shorter path", from(5, 9, &|p| p.old_size = 8), "wrong-length"),
        ("another newer size with a shorter path", from(5, 9, &|p| p.new_size = 8), "wrong-length"),
        ("an older tree that is larger", from(5, 9, &|p| p.old_size = 10), "out-of-range"),
        ("a hash missing at the begin", from(5, 9, &|p| p.path = p.path[1..].to_vec()), "wrong-length"),
        ("a hash too many at the end", from(5, 9, &|p| p.path.push(other)), "wrong-length"),
        ("two hashes swapped", from(5, 9, &|p| p.path.swap(0, 1)), "wrong-root"),
        ("a changed hash", from(5, 9, &|p| p.path[0].0[0] ^= 0x80), "wrong-root"),
        ("a path between trees of one size", from(5, 5, &|p| p.path.push(other)), "wrong-length"),
        ("two roots of one size", from(5, 5, &|p| p.new_root = other), "wrong-root"),
        ("a path from the empty tree", from(0, 5, &|p| p.path.push(other)), "wrong-length"),
        ("another root of the empty tree", from(0, 5, &|p| p.old_root = other), "wrong-root"),
        ("two empty trees with another root", from(0, 0, &|p| (p.old_root, p.new_root) = (other, other)), "wrong-root"),
    ]
    .into_iter()
    .map(|(name, pair, code)| {
        assert_eq!(tree_code(&verify(&pair).expect_err(name)), code, "{name}");
        RefusedConsistency { name, consistency: (&pair).into(), code }
    })
    .collect()
}

#[derive(Serialize)]
pub(crate) struct TileVectors {
    paths: Vec<TilePath>,
    refused_paths: Vec<Refused<BadPath>>,
    /// A tree, with the SHA-256 of the bytes of each of its tiles.
    tree_size: Text,
    tiles: Vec<TileOfTree>,
    entry_bundles: Vec<EntryBundle>,
    refused_entry_bundles: Vec<Refused<BadBundle>>,
}

#[derive(Serialize)]
struct TilePath {
    level: Text,
    index: Text,
    width: Text,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_path: Option<String>,
}

#[derive(Serialize)]
struct BadPath {
    path: String,
}

#[derive(Serialize)]
struct TileOfTree {
    path: String,
    sha256: Text,
}

#[derive(Serialize)]
struct EntryBundle {
    entries: Vec<Hex>,
    bytes: Hex,
}

#[derive(Serialize)]
struct BadBundle {
    width: Text,
    bytes: Hex,
}

const TILED_SIZE: u64 = 70_000;

pub(crate) fn tile_vectors() -> TileVectors {
    let named = [(0, 0, 1), (0, 0, 256), (0, 999, 255), (0, 1000, 256), (0, 1_234_067, 8), (1, 255, 256), (2, 0, 17)];
    TileVectors {
        paths: named.map(|(level, index, width)| tile_path(level, index, width)).into(),
        refused_paths: refused_paths(),
        tree_size: TILED_SIZE.into(),
        tiles: tiles_of_tree(),
        entry_bundles: entry_bundles(),
        refused_entry_bundles: refused_entry_bundles(),
    }
}

fn tile_path(level: u8, index: u64, width: u16) -> TilePath {
    let tile = Tile::new(level, index, width).expect("a tile");
    let (path, entries_path) = (tile.to_string(), tile.entries_path());
    TilePath { level: level.into(), index: index.into(), width: width.into(), path, entries_path }
}

fn refused_paths() -> Vec<Refused<BadPath>> {
    [
        ("no index", "tile/0"),
        ("one digit", "tile/0/0"),
        ("four digits", "tile/0/0000"),
        ("a leading group of zeros", "tile/0/x000/001"),
        ("a last group with x", "tile/0/x001"),
        ("a first group without x", "tile/0/001/067"),
        ("a level with a leading zero", "tile/00/000"),
        ("a level above 7", "tile/8/000"),
        ("a width of 0", "tile/0/000.p/0"),
        ("a width of 256", "tile/0/000.p/256"),
        ("a width with a leading zero", "tile/0/000.p/01"),
        ("a slash at the end", "tile/0/000/"),
        ("a slash at the begin", "/tile/0/000"),
    ]
    .map(|(name, path)| {
        let code = code(&path.parse::<Tile>().expect_err(name));
        Refused { name: name.into(), input: BadPath { path: path.into() }, code }
    })
    .into()
}

fn tiles_of_tree() -> Vec<TileOfTree> {
    let leaves = entry_leaves(TILED_SIZE);
    let mut tiles = Vec::new();
    for level in 0..8 {
        for tile in (0..).map_while(|index| Tile::in_tree(level, index, TILED_SIZE)) {
            // All tiles of the higher levels, and the ends of the lowest.
            if level > 0 || tile.index() == 0 || !tile.is_full() {
                let bytes: Vec<u8> = tile.nodes().flat_map(|node| root(&leaves, node.range()).0).collect();
                tiles.push(TileOfTree { path: tile.to_string(), sha256: sha256(&bytes).into() });
            }
        }
    }
    tiles
}

fn entry_bundles() -> Vec<EntryBundle> {
    [&[&b"first"[..]][..], &[b"first", b"", b"third"], &[b""], &[&[0x61; 300]]]
        .map(|entries| EntryBundle {
            entries: entries.iter().map(|entry| Hex(entry.to_vec())).collect(),
            bytes: Hex(encode_entries(entries).expect("few and short")),
        })
        .into()
}

fn refused_entry_bundles() -> Vec<Refused<BadBundle>> {
    let good = encode_entries(&[&b"first"[..], b"", b"third"]).expect("few and short");
    [
        ("fewer entries than the width", 4, good.clone()),
        ("more entries than the width", 2, good.clone()),
        ("cut in an entry", 3, good[..good.len() - 1].to_vec()),
        ("cut in a length", 3, good[..8].to_vec()),
        ("a byte follows", 3, [&good[..], b"\0"].concat()),
    ]
    .map(|(name, width, bytes)| {
        let code = code(&decode_entries(&bytes, width).expect_err(name));
        Refused { name: name.into(), input: BadBundle { width: width.into(), bytes: Hex(bytes) }, code }
    })
    .into()
}
