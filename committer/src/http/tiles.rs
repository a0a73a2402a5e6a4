//! The log as C2SP tlog-tiles: what the newest checkpoint covers, and nothing beyond it.

use axum::extract::Path;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use evidence::tile::{Tile, encode_entries};

use super::Opened;
use super::answer::{BYTES, Failure, TEXT};
use crate::store::{Store, StoreError};

const CHANGES: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-cache")];
const FOR_GOOD: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=31536000, immutable")];

pub(super) async fn checkpoint(opened: Opened) -> Result<Response, Failure> {
    let checkpoint = opened.store.checkpoint().await?;
    let checkpoint = checkpoint.ok_or_else(|| Failure::not_found("nothing was signed yet"))?;
    Ok((TEXT, CHANGES, checkpoint.note).into_response())
}

pub(super) async fn tile(opened: Opened, Path(rest): Path<String>) -> Result<Response, Failure> {
    let path = format!("tile/{rest}");
    let entries = path.starts_with("tile/entries/");
    let tile = if entries { Tile::parse_entries_path(&path) } else { path.parse() };
    let tile = tile.map_err(Failure::bad_request)?;
    let size = opened.store.checkpoint().await?.map_or(0, |c| c.head.size);
    let there = Tile::in_tree(tile.level(), tile.index(), size).map_or(0, Tile::width);
    if tile.width() > there {
        return Err(Failure::not_found(format!("{path} lies beyond the checkpoint of size {size}")));
    }
    let bytes = if entries { entry_bundle(&*opened.store, tile).await? } else { hashes(&*opened.store, tile).await? };
    Ok((BYTES, FOR_GOOD, bytes).into_response())
}

async fn hashes(store: &dyn Store, tile: Tile) -> Result<Vec<u8>, Failure> {
    let first = tile.index() * u64::from(evidence::tile::TILE_WIDTH);
    let level = 8 * tile.level();
    let hashes = store.nodes(level, first..first + u64::from(tile.width())).await?;
    check_count(tile, hashes.len())?;
    Ok(hashes.iter().flat_map(|hash| hash.0).collect())
}

async fn entry_bundle(store: &dyn Store, tile: Tile) -> Result<Vec<u8>, Failure> {
    let first = tile.index() * u64::from(evidence::tile::TILE_WIDTH);
    let entries = store.entries(first..first + u64::from(tile.width())).await?;
    check_count(tile, entries.len())?;
    let entries: Vec<_> = entries.into_iter().map(|stored| stored.bytes).collect();
    encode_entries(&entries).map_err(|e| StoreError::damaged(format!("{tile}: {e}: run fsck")).into())
}

/// What was signed is complete, or the database is not what it was.
fn check_count(tile: Tile, found: usize) -> Result<(), StoreError> {
    if found == usize::from(tile.width()) {
        return Ok(());
    }
    Err(StoreError::damaged(format!("{found} of {} are stored of {tile}: run fsck", tile.width())))
}
