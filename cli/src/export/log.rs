//! The log of a committer at one checkpoint. All hashes and entries are verified against it before use.

use std::ops::Range;

use anyhow::{Context, ensure};
use bundle::{ENTRIES_PER_RUN_MAX, Run};
use committer_client::Client;
use evidence::Checkpoint;
use evidence::tile::{TILE_WIDTH, Tile, Tiles, decode_entries};
use evidence::tree::decompose;

/// Runs whose proofs are made together. Bounds the tiles in memory.
const RUNS_AT_ONCE: usize = 64;

/// A log, and the checkpoint that everything read from it is verified against.
pub(crate) struct Log<'a> {
    client: &'a Client,
    checkpoint: &'a Checkpoint,
    /// The entry bundle read last; neighbouring runs share it.
    cached: Option<(Tile, Vec<Vec<u8>>)>,
}

impl<'a> Log<'a> {
    pub(crate) fn new(client: &'a Client, checkpoint: &'a Checkpoint) -> Self {
        Self { client, checkpoint, cached: None }
    }

    /// Reads the entries of these ascending, disjoint ranges of seqs, and calls `each` with every run and its proof.
    pub(crate) async fn runs(
        &mut self,
        ranges: &[Range<u64>],
        mut each: impl FnMut(&Run) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let pieces: Vec<Range<u64>> = ranges.iter().flat_map(|range| pieces(range.clone())).collect();
        for pieces in pieces.chunks(RUNS_AT_ONCE) {
            let tiles = self.tiles_around(pieces).await?;
            for piece in pieces {
                let run = Run {
                    first: piece.start,
                    left: tiles.range(0..piece.start)?,
                    right: tiles.range(piece.end..self.checkpoint.size)?,
                    entries: self.entries(piece.clone()).await?,
                };
                let root = run.root(self.checkpoint.size)?;
                ensure!(
                    root == self.checkpoint.root,
                    "entries {} to {} of {} are not those of the checkpoint of size {}: run `streamseal committer --config FILE fsck`",
                    piece.start,
                    piece.end - 1,
                    self.client.base(),
                    self.checkpoint.size
                );
                each(&run)?;
            }
        }
        Ok(())
    }

    async fn tiles_around(&self, pieces: &[Range<u64>]) -> anyhow::Result<Tiles> {
        let Checkpoint { size, root, .. } = self.checkpoint;
        let nodes = pieces.iter().flat_map(|p| [decompose(0..p.start), decompose(p.end..*size)]).flatten();
        Ok(self.client.tiles(*size, root, nodes).await?)
    }

    async fn entries(&mut self, seqs: Range<u64>) -> anyhow::Result<Vec<Vec<u8>>> {
        let width = u64::from(TILE_WIDTH);
        let mut entries = Vec::with_capacity((seqs.end - seqs.start) as usize);
        for index in seqs.start / width..seqs.end.div_ceil(width) {
            let tile = Tile::in_tree(0, index, self.checkpoint.size).context("an entry beyond the checkpoint")?;
            let first = index * width;
            let bundle = self.bundle(tile).await?;
            let wanted = seqs.start.max(first) - first..seqs.end.min(first + width) - first;
            entries.extend_from_slice(&bundle[wanted.start as usize..wanted.end as usize]);
        }
        Ok(entries)
    }

    async fn bundle(&mut self, tile: Tile) -> anyhow::Result<&[Vec<u8>]> {
        if self.cached.as_ref().is_none_or(|(cached, _)| *cached != tile) {
            let path = tile.entries_path().expect("a tile of level 0");
            let bytes = self.client.tile(&path).await?;
            let bytes = bytes.with_context(|| format!("{} has no {path}", self.client.base()))?;
            let entries = decode_entries(&bytes, tile.width()).with_context(|| path.clone())?;
            self.cached = Some((tile, entries.into_iter().map(<[u8]>::to_vec).collect()));
        }
        Ok(self.cached.as_ref().map(|(_, entries)| entries.as_slice()).expect("was cached above"))
    }
}

/// A range cut into what fits into runs.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = ENTRIES_PER_RUN_MAX as u64;
    (range.start..range.end).step_by(ENTRIES_PER_RUN_MAX).map(move |start| start..range.end.min(start + step))
}
