//! Tiles of the SHA-256 tree. A log serves its hashes and entries in them (C2SP tlog-tiles).
//!
//! A tile holds up to 256 neighbouring hashes of one tile level. Level 0 holds the leaf hashes. A hash of level `l + 1`
//! is the root over a full tile of level `l`, so tile level `l` is tree level `8 l`. A tile that is not full yet is
//! partial: it has no hash above it.

mod entries;
mod tiles;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

pub use entries::{ENTRY_BYTES_MAX, decode_entries, encode_entries};
pub use tiles::{TileError, Tiles};

use crate::tree::{Node, SIZE_MAX, decompose};
use crate::{Error, Hash};

/// The number of hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Tree levels in a tile: 2^8 = 256.
pub(crate) const TILE_HEIGHT: u8 = 8;

/// The highest tile level. A hash of level 8 would cover 2^64 leaves.
const LEVEL_MAX: u8 = 7;

const OBJECT: &str = "tile path";

/// Names a tile of hashes, or, at level 0, the bundle of the entries behind those hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// Names a tile. `None` when no tree of at most [`SIZE_MAX`] leaves has it, or the width is not 1 to 256.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        if level > LEVEL_MAX || !(1..=TILE_WIDTH).contains(&width) {
            return None;
        }
        let hashes = index.checked_mul(TILE_WIDTH.into())?.checked_add(width.into())?;
        (hashes <= SIZE_MAX >> (TILE_HEIGHT * level)).then_some(Self { level, index, width })
    }

    /// The tile at a level and index in a tree of `size` leaves, full or partial. `None` when that tree has no hash
    /// there.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        if level > LEVEL_MAX {
            return None;
        }
        let hashes = size >> (TILE_HEIGHT * level);
        let here = hashes.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
        Self::new(level, index, here.min(TILE_WIDTH.into()) as u16)
    }

    /// The tile of a tree of `size` leaves from which the hash of a complete subtree is computed. `None` when the tree
    /// does not have that subtree.
    pub fn of_node(node: Node, size: u64) -> Option<Self> {
        Self::locate(node, size).map(|(tile, _)| tile)
    }

    /// The tile of [`Tile::of_node`], and the positions of its hashes below the subtree.
    fn locate(node: Node, size: u64) -> Option<(Self, Range<usize>)> {
        let below = 1 << (node.level % TILE_HEIGHT);
        let first = node.index.checked_mul(below)?;
        let tile = Self::in_tree(node.level / TILE_HEIGHT, first / u64::from(TILE_WIDTH), size)?;
        let start = first % u64::from(TILE_WIDTH);
        (start + below <= tile.width.into()).then_some((tile, start as usize..(start + below) as usize))
    }

    /// The tile level, 0 to 7.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its index among the tiles of its level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of hashes or entries that it holds, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it holds 256.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The complete subtrees whose hashes it holds, in order.
    pub fn nodes(self) -> impl DoubleEndedIterator<Item = Node> {
        let first = self.index * u64::from(TILE_WIDTH);
        let level = TILE_HEIGHT * self.level;
        (first..first + u64::from(self.width)).map(move |index| Node { level, index })
    }

    /// The path of the entries behind a tile of leaf hashes, `tile/entries/<N>[.p/<W>]`. `None` above level 0.
    pub fn entries_path(self) -> Option<String> {
        (self.level == 0).then(|| format!("tile/entries/{}", self.place_text()))
    }

    /// Parses what [`Tile::entries_path`] writes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling.
    pub fn parse_entries_path(path: &str) -> Result<Self, Error> {
        path.strip_prefix("tile/entries/")
            .and_then(|place| Self::parse_place(0, place))
            .filter(|tile| tile.entries_path().as_deref() == Some(path))
            .ok_or_else(|| Error::malformed(OBJECT, format!("expected tile/entries/<N>[.p/<W>], found {path:?}")))
    }

    /// Reads the hashes of this tile.
    ///
    /// # Errors
    /// When there are more or fewer bytes than the width needs.
    pub fn decode_hashes(self, bytes: &[u8]) -> Result<Vec<Hash>, Error> {
        let expected = usize::from(self.width) * Hash::LEN;
        if bytes.len() != expected {
            return Err(Error::malformed("tile", format!("{self}: {} bytes instead of {expected}", bytes.len())));
        }
        let (hashes, _) = bytes.as_chunks::<{ Hash::LEN }>();
        Ok(hashes.iter().copied().map(Hash).collect())
    }

    /// The subtree over a full tile.
    const fn root_node(self) -> Node {
        Node { level: TILE_HEIGHT * (self.level + 1), index: self.index }
    }

    /// The tile of a tree of `size` leaves that holds the root over this tile. `None` for a partial tile.
    fn above(self, size: u64) -> Option<Self> {
        if !self.is_full() {
            return None;
        }
        Self::in_tree(self.level + 1, self.index / u64::from(TILE_WIDTH), size)
    }

    /// `<N>[.p/<W>]`: the index in groups of three digits, all but the last with an `x` before them.
    fn place_text(self) -> String {
        let mut text = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            text = format!("x{:03}/{text}", rest % 1000);
            rest /= 1000;
        }
        if !self.is_full() {
            text.push_str(&format!(".p/{}", self.width));
        }
        text
    }

    /// Parses `<N>[.p/<W>]` leniently. The callers compare the result with its one spelling.
    fn parse_place(level: u8, place: &str) -> Option<Self> {
        let (groups, width) = match place.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().ok()?),
            None => (place, TILE_WIDTH),
        };
        let digits: String = groups.chars().filter(char::is_ascii_digit).collect();
        Self::new(level, digits.parse().ok()?, width)
    }
}

/// The path of the tile: `tile/<L>/<N>[.p/<W>]`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, self.place_text())
    }
}

impl FromStr for Tile {
    type Err = Error;

    /// Parses what `Display` writes.
    fn from_str(path: &str) -> Result<Self, Error> {
        path.strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(level, place)| Self::parse_place(level.parse().ok()?, place))
            .filter(|tile| tile.to_string() == path)
            .ok_or_else(|| Error::malformed(OBJECT, format!("expected tile/<L>/<N>[.p/<W>], found {path:?}")))
    }
}

/// The tiles of a tree of `size` leaves that [`Tiles::authenticate`] needs for the hashes of `nodes`: those that hold
/// the hashes, the tiles above them, and the right edge. Nodes that the tree does not have are left out.
pub fn needed_tiles(nodes: impl IntoIterator<Item = Node>, size: u64) -> BTreeSet<Tile> {
    let mut needed: BTreeSet<Tile> = decompose(0..size).into_iter().filter_map(|n| Tile::of_node(n, size)).collect();
    for tile in nodes.into_iter().filter_map(|node| Tile::of_node(node, size)) {
        let mut next = Some(tile);
        // If a tile is already there, so are the tiles above it.
        while let Some(tile) = next.filter(|tile| needed.insert(*tile)) {
            next = tile.above(size);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(level: u8, index: u64, width: u16) -> String {
        Tile::new(level, index, width).expect("a tile").to_string()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path(0, 0, 256), "tile/0/000");
        assert_eq!(path(0, 1234067, 256), "tile/0/x001/x234/067");
        assert_eq!(path(1, 1000, 5), "tile/1/x001/000.p/5");
        let tile = Tile::new(0, 999_999, 255).expect("a tile");
        assert_eq!(tile.entries_path().as_deref(), Some("tile/entries/x999/999.p/255"));
        assert_eq!(Tile::new(1, 0, 1).expect("a tile").entries_path(), None);
    }

    #[test]
    fn paths_read_back_and_have_one_spelling() {
        for index in [0, 1, 999, 1000, 1234067, 35_000_000_000_000] {
            for width in [1, 9, 255, 256] {
                let tile = Tile::new(0, index, width).expect("a tile");
                assert_eq!(tile.to_string().parse(), Ok(tile));
                assert_eq!(Tile::parse_entries_path(&tile.entries_path().expect("level 0")), Ok(tile));
            }
        }
        for bad in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/x001",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/x1/000",
            "tile/0/X001/000",
            "tile/00/000",
            "tile/+0/000",
            "tile/8/000",
            "tile/63/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/7/127",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1.p/1",
            "tile/0/00٠",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/entries/000",
            "tile/0/000?x",
        ] {
            assert!(bad.parse::<Tile>().is_err(), "{bad:?}");
            assert!(
                Tile::parse_entries_path(&bad.replace("tile/0", "tile/entries")).is_err() || bad.ends_with("s/000")
            );
        }
    }

    /// The example of the specification: a tree of 70,000.
    #[test]
    fn tiles_of_a_tree() {
        let widths =
            |level: u8| (0..).map_while(|i| Tile::in_tree(level, i, 70_000)).map(Tile::width).collect::<Vec<_>>();
        assert_eq!(widths(0), [vec![256; 273], vec![112]].concat());
        assert_eq!(widths(1), [256, 17]);
        assert_eq!(widths(2), [1]);
        assert!(widths(3).is_empty());
        assert_eq!(Tile::in_tree(1, 0, 256), Tile::new(1, 0, 1));
        // The top of the largest tree.
        assert_eq!(Tile::in_tree(7, 0, SIZE_MAX), Tile::new(7, 0, 127));
        assert_eq!(Tile::in_tree(8, 0, SIZE_MAX), None);
    }

    #[test]
    fn locate_returns_the_tile_below_a_node() {
        for size in [1, 255, 256, 257, 70_000] {
            for node in decompose(0..size) {
                let (tile, positions) = Tile::locate(node, size).expect("in the tree");
                let below: Vec<Node> = tile.nodes().collect();
                assert_eq!(below[positions.start].range().start, node.range().start);
                assert_eq!(below[positions.end - 1].range().end, node.range().end);
            }
        }
        assert_eq!(Tile::of_node(Node::leaf(5), 5), None);
        assert_eq!(Tile::of_node(Node { level: 3, index: 1 }, 15), None);
        assert_eq!(Tile::of_node(Node { level: 64, index: 0 }, SIZE_MAX), None);
    }

    #[test]
    fn needed_tiles_reach_up_to_the_right_edge() {
        let needed: Vec<String> = needed_tiles([Node::leaf(300)], 70_000).iter().map(ToString::to_string).collect();
        let expected = ["tile/0/001", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"];
        assert_eq!(needed, expected);
        assert!(needed_tiles([Node::leaf(0)], 0).is_empty());
    }

    #[test]
    fn tile_bytes_must_match_the_width() {
        let tile = Tile::new(0, 0, 2).expect("a tile");
        assert_eq!(tile.decode_hashes(&[7; 64]), Ok(vec![Hash([7; 32]); 2]));
        for bad in [0, 32, 63, 65, 96] {
            assert!(tile.decode_hashes(&vec![7; bad]).is_err(), "{bad} bytes");
        }
    }
}
