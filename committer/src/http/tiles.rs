//! The log as C2SP tlog-tiles, up to the newest checkpoint and no further.
//!
//! Caches keep tiles for ever, so each tile is compared with the checkpoint's root before it is served. A corrupt tile is
//! an error, which no cache keeps.

use axum::extract::Path;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use evidence::Head;
use evidence::tile::{Tile, Tiles, encode_entries, needed_tiles};
use evidence::tree::leaf_hash;

use super::answer::{ApiError, BYTES, TEXT};
use super::opened::Opened;
use crate::store::{Store, StoreError};

const CHANGES: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-cache")];
const FOR_GOOD: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=31536000, immutable")];

pub(super) async fn checkpoint(opened: Opened) -> Result<Response, ApiError> {
    let checkpoint = opened.checkpoints.newest().await?;
    let checkpoint = checkpoint.ok_or_else(|| ApiError::not_found("nothing is signed yet"))?;
    Ok((TEXT, CHANGES, checkpoint.note).into_response())
}

pub(super) async fn tile(opened: Opened, Path(rest): Path<String>) -> Result<Response, ApiError> {
    let path = format!("tile/{rest}");
    let entries = path.starts_with("tile/entries/");
    let tile = if entries { Tile::parse_entries_path(&path) } else { path.parse() };
    let tile = tile.map_err(ApiError::bad_request)?;
    let head = opened.checkpoints.newest().await?.map(|checkpoint| checkpoint.head);
    let beyond = |size| ApiError::not_found(format!("{path} lies beyond the checkpoint of size {size}"));
    let head = head.ok_or_else(|| beyond(0))?;
    if tile.width() > Tile::in_tree(tile.level(), tile.index(), head.size).map_or(0, Tile::width) {
        return Err(beyond(head.size));
    }
    let tiles = proven(&*opened.store, tile, head).await?;
    let bytes = if entries { entry_bundle(&*opened.store, tile, &tiles).await? } else { hashes(tile, &tiles)? };
    Ok((BYTES, FOR_GOOD, bytes).into_response())
}

/// Reads the hashes of a tile, and those that prove it against the head.
async fn proven(store: &dyn Store, tile: Tile, head: Head) -> Result<Tiles, StoreError> {
    let mut tiles = Vec::new();
    for tile in needed_tiles(tile.nodes().take(1), head.size) {
        let first = tile.index() * u64::from(evidence::tile::TILE_WIDTH);
        let hashes = store.nodes(8 * tile.level(), first..first + u64::from(tile.width())).await?;
        check_count(tile, hashes.len())?;
        tiles.push((tile, hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>()));
    }
    Tiles::authenticate(head.size, &head.root, tiles).map_err(|problem| corrupt(tile, problem))
}

fn hashes(tile: Tile, tiles: &Tiles) -> Result<Vec<u8>, StoreError> {
    let hashes = tile.nodes().map(|node| tiles.hash(node).map(|hash| hash.0));
    let hashes = hashes.collect::<Result<Vec<_>, _>>().map_err(|problem| corrupt(tile, problem))?;
    Ok(hashes.concat())
}

async fn entry_bundle(store: &dyn Store, tile: Tile, tiles: &Tiles) -> Result<Vec<u8>, StoreError> {
    let first = tile.index() * u64::from(evidence::tile::TILE_WIDTH);
    let entries = store.entries(first..first + u64::from(tile.width())).await?;
    check_count(tile, entries.len())?;
    let entries: Vec<_> = entries.into_iter().map(|stored| stored.bytes).collect();
    for (node, entry) in tile.nodes().zip(&entries) {
        if tiles.hash(node).ok() != Some(leaf_hash(entry)) {
            return Err(corrupt(tile, format_args!("entry {} is not the signed one", node.index)));
        }
    }
    encode_entries(&entries).map_err(|problem| corrupt(tile, problem))
}

/// All signed entries must be stored, or the database is corrupt.
fn check_count(tile: Tile, found: usize) -> Result<(), StoreError> {
    if found == usize::from(tile.width()) {
        return Ok(());
    }
    Err(corrupt(tile, format_args!("{found} of {} are stored", tile.width())))
}

fn corrupt(tile: Tile, problem: impl std::fmt::Display) -> StoreError {
    StoreError::corrupt(format!("{tile}: {problem}: run fsck"))
}
