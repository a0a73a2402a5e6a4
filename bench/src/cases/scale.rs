//! Work whose cost must not grow with the chain, or only as its logarithm.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use committer::store;
use evidence::tile::{Tile, Tiles, needed_tiles};
use evidence::tree::{CompactRange, Node, inclusion_nodes, leaf_hash, node_hash, verify_inclusion};
use evidence::{Hash, SignedStatement};

use crate::embedded::Embedded;
use crate::long_chain::LongChain;
use crate::submissions::Submissions;
use crate::{Better, Case, Context, Measurement};
use testbed::statements::{TestLedger, stream};

pub(super) const CASE: Case = Case {
    name: "scale",
    about: "The same work on chains of 10,000, 1,000,000 and 100,000,000 entries, on SQLite in this process. `start`: from \
            opening the database to the first statement committed and a checkpoint over it signed. `append`: the time for \
            each of 20,000 statements, 64 to a request. `checkpoint`: from a statement's submission to a checkpoint over \
            it. `proof`: an inclusion proof made from tiles, which are authenticated up to the root, and verified. Of the \
            long chains the oldest and the newest entries are there, and the tree's edge; the proofs are of trees whose \
            leaves are all alike, so that any tile can be computed.",
    run,
};

const SIZES: [(u64, &str); 3] = [(10_000, "10^4"), (1_000_000, "10^6"), (100_000_000, "10^8")];

const APPENDED: usize = 20_000;

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ledger = TestLedger::new("bench");
    let submissions = Submissions::make(&ledger, context.size(APPENDED, 640), 32, 64);
    for (size, name) in SIZES {
        let names = ["start", "append", "checkpoint", "proof"].map(|what| format!("{what}, {name} entries"));
        let [start, append, checkpoint, proof] = &names;
        let record = |name: &str, unit, samples| context.record(Measurement::new(name, unit, Better::Lower, samples));
        if [start, append, checkpoint].into_iter().any(|name| context.wants(name)) {
            let (mut starts, mut appends, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..context.runs {
                let folder = context.scratch("scale");
                let costs = runtime.block_on(on_chain(&ledger, folder.path(), size, &submissions))?;
                starts.push(milliseconds(costs.start));
                appends.push(1_000.0 * milliseconds(costs.append) / submissions.statements as f64);
                checkpoints.push(milliseconds(costs.checkpoint));
            }
            record(start, "ms", starts)?;
            record(append, "µs", appends)?;
            record(checkpoint, "ms", checkpoints)?;
        }
        if context.wants(proof) {
            let alike = Alike::new(size);
            let proofs = context.size(2_000, 10);
            record(proof, "µs", context.repeat(|| alike.prove(proofs))?)?;
        }
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    1_000.0 * duration.as_secs_f64()
}

struct Costs {
    start: Duration,
    append: Duration,
    checkpoint: Duration,
}

async fn on_chain(ledger: &TestLedger, folder: &Path, size: u64, submissions: &Submissions) -> anyhow::Result<Costs> {
    let url = format!("sqlite:{}", folder.join("chain.db").display());
    LongChain::make(ledger, size).write(ledger, &url, &folder.join("log.key")).await?;
    // Statements of partitions that the submissions do not use.
    let one = |partition| -> [SignedStatement; 1] { [ledger.summary(&stream("t-one", partition), 0, 10, None)] };
    let start = async |checkpoint_every| -> anyhow::Result<Embedded> {
        let store = store::open(&url, &ledger.id()).await?;
        Embedded::start_on(ledger, folder, store, checkpoint_every).await
    };
    let begun = Instant::now();
    let committer = start(Duration::from_millis(1)).await?;
    Submissions::of(&one(0)).submit(&committer.opened).await?;
    committer.until_signed(size + 1).await?;
    let started = begun.elapsed();
    let begun = Instant::now();
    Submissions::of(&one(1)).submit(&committer.opened).await?;
    committer.until_signed(size + 2).await?;
    let checkpoint = begun.elapsed();
    committer.end().await?;
    // A committer that has no checkpoint to sign during the measurement.
    let committer = start(Duration::from_secs(3_600)).await?;
    committer.until_signed(size + 2).await?;
    let begun = Instant::now();
    submissions.submit(&committer.opened).await?;
    let append = begun.elapsed();
    committer.end().await?;
    Ok(Costs { start: started, append, checkpoint })
}

/// A tree of equal leaves, so that complete subtrees of one level are equal too.
struct Alike {
    size: u64,
    root: Hash,
    /// The hash of a complete subtree of each level.
    subtrees: Vec<Hash>,
}

impl Alike {
    fn new(size: u64) -> Self {
        let mut subtrees = vec![leaf_hash(b"leaf")];
        for level in 0..size.ilog2() as usize {
            subtrees.push(node_hash(&subtrees[level], &subtrees[level]));
        }
        let hashes: Vec<_> =
            evidence::tree::decompose(0..size).iter().map(|node| subtrees[usize::from(node.level)]).collect();
        let root = CompactRange::resume(0..size, &hashes).expect("the nodes of the range").root();
        Self { size, root, subtrees }
    }

    fn tile(&self, tile: Tile) -> Vec<u8> {
        tile.nodes().flat_map(|Node { level, .. }| self.subtrees[usize::from(level)].0).collect()
    }

    /// Makes and verifies proofs all over the tree; returns microseconds per proof.
    fn prove(&self, proofs: u64) -> anyhow::Result<f64> {
        let begun = Instant::now();
        for number in 0..proofs {
            let index = self.size / proofs * number;
            let nodes = inclusion_nodes(index, self.size)?.into_iter().flatten();
            let tiles = needed_tiles(nodes, self.size).into_iter().map(|tile| (tile, self.tile(tile)));
            let path = Tiles::authenticate(self.size, &self.root, tiles)?.inclusion_proof(index)?;
            verify_inclusion(&self.subtrees[0], index, self.size, &path, &self.root).context("the proof")?;
            black_box(path);
        }
        Ok(1e6 * begun.elapsed().as_secs_f64() / proofs as f64)
    }
}
