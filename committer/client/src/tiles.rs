use evidence::Hash;
use evidence::tile::{TileError, Tiles, needed_tiles};
use evidence::tree::Node;

use crate::{Client, Error};

/// Why there are no authenticated tiles.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The committer did not answer, or refused.
    #[error(transparent)]
    Client(#[from] Error),
    /// The committer does not have a tile that a tree of this size has.
    #[error("{url} does not have {path}")]
    Missing {
        /// The committer.
        url: String,
        /// The tile.
        path: String,
    },
    /// The tiles do not match the tree's root.
    #[error("{url}: {source}")]
    Mismatch {
        /// The committer.
        url: String,
        /// What does not match.
        source: TileError,
    },
}

impl Client {
    /// Fetches the tiles that contain these complete subtrees, and authenticates them against the tree's size and root.
    ///
    /// # Errors
    /// [`TilesError`] when a tile cannot be fetched, or is not of this tree.
    pub async fn tiles(
        &self,
        size: u64,
        root: &Hash,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Tiles, TilesError> {
        let url = || self.base().to_owned();
        let mut fetched = Vec::new();
        for tile in needed_tiles(nodes, size) {
            let path = tile.to_string();
            let bytes = self.tile(&path).await?;
            fetched.push((tile, bytes.ok_or_else(|| TilesError::Missing { url: url(), path })?));
        }
        Tiles::authenticate(size, root, fetched).map_err(|source| TilesError::Mismatch { url: url(), source })
    }
}
