//! `streamseal prove`: makes the proof of one event, which anybody can verify offline.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use evidence::statement::{Statement, Summary};
use evidence::tree::inclusion_nodes;
use evidence::{EVENT_PROOF_BYTES_MAX, Entry, EventProof, Hash, LeafHasher, TimestampType, TlogProof, batch};
use kafka::Reader;

use crate::config::{Config, ConfigFile};
use crate::event_position::EventPosition;
use crate::export;
use crate::ledger::Ledger;

/// Prints the proof of one event, a file that `streamseal verify` accepts like a bundle
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The event: TOPIC/PARTITION@OFFSET
    event: EventPosition,
    /// The epoch of the stream; by default the newest
    #[arg(long)]
    epoch: Option<u64>,
    /// A clone of the repository with the anchors, bare or not; by default the repository of the configured anchor
    #[arg(long, value_name = "DIR")]
    clone: Option<PathBuf>,
    /// Use the committer's newest checkpoint, although it is not anchored yet. The file proves nothing before it is
    #[arg(long)]
    unanchored: bool,
}

/// An event as Kafka has it now, and its place in the batch.
struct InBatch {
    timestamp: i64,
    timestamp_type: TimestampType,
    content: Vec<u8>,
    index: usize,
    path: Vec<Hash>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let ledger = Ledger::open(&config).await?;
    let checkpoint = export::checkpoint(&config, &ledger.client, args.clone.as_deref(), args.unanchored).await?;
    let entry = args.event.entry(&config, &ledger.client, args.epoch).await?;
    let (offset, size) = (args.event.offset, checkpoint.checkpoint().size);
    let Statement::Summary(summary) = entry.statement.statement() else {
        bail!(
            "offset {offset} is not sealed: entry {} holds a {} statement",
            entry.seq,
            entry.statement.statement().kind()
        );
    };
    ensure!(
        entry.seq < size,
        "offset {offset} is sealed by entry {}, which is not among the {size} entries of the newest anchored checkpoint: \
         wait, or use --unanchored",
        entry.seq
    );
    let InBatch { timestamp, timestamp_type, content, index, path } =
        tokio::task::block_in_place(|| in_batch(&config, summary, offset))?;
    let last = size - 1;
    let newest = ledger.client.entry(last).await?.with_context(|| format!("the committer has no entry {last}"))?;
    let nodes = [inclusion_nodes(entry.seq, size)?, inclusion_nodes(last, size)?].concat().into_iter().flatten();
    let root = checkpoint.checkpoint().root;
    let tiles = ledger.client.tiles(size, &root, nodes).await?;
    let proof = EventProof {
        offset,
        timestamp,
        timestamp_type,
        content,
        leaf_index: index as u64,
        leaf_path: path,
        entry: entry.to_bytes(),
        keys: ledger.key_entries.iter().filter(|key| key.seq < size).map(Entry::to_bytes).collect(),
        newest: newest.into_bytes(),
        newest_path: tiles.inclusion_proof(last)?,
        proof: TlogProof { extra: None, index: entry.seq, path: tiles.inclusion_proof(entry.seq)?, checkpoint },
    };
    let bytes = proof.to_bytes();
    ensure!(
        bytes.len() <= EVENT_PROOF_BYTES_MAX,
        "the event is too long for a proof of its own: the proof has {} bytes, and a verifier reads {EVENT_PROOF_BYTES_MAX}. \
         Export a bundle with its batch",
        bytes.len()
    );
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}

/// Reads the whole batch from Kafka, because the path of one leaf needs all leaves.
fn in_batch(config: &Config, summary: &Summary, offset: u64) -> anyhow::Result<InBatch> {
    let mut hasher = LeafHasher::new();
    let mut found = None;
    export::read_batch(&mut Reader::new(config.kafka()?, export::PATIENCE)?, &summary.stream, summary, |event| {
        if event.offset == offset as i64 {
            let mut content = Vec::new();
            event.encode_content(&mut content);
            found = Some((event.timestamp, event.timestamp_type, content, hasher.len()));
        }
        hasher.push(event);
    })?;
    let leaves = hasher.drain().leaves;
    ensure!(
        batch::root(leaves) == summary.root,
        "offsets {} to {}: Kafka's events are not all of those that were sealed; `streamseal verify-batch` says more",
        summary.first,
        summary.next - 1
    );
    let (timestamp, timestamp_type, content, index) = found
        .with_context(|| format!("there is no event at offset {offset}: a transaction marker, or compacted away"))?;
    Ok(InBatch { timestamp, timestamp_type, content, index, path: batch::prove(leaves, index) })
}
