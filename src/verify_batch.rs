//! `streamseal verify-batch`: one batch, read live from Kafka, against its commitment.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use committer_client::{Client, CoveringQuery};
use evidence::chain::State;
use evidence::statement::{Statement, Summary};
use evidence::tree::{inclusion_nodes, verify_inclusion};
use evidence::{Entry, Partition, SignedCheckpoint, StreamId};
use kafka::{Cluster, Reader};

use crate::config::{Config, ConfigFile};
use crate::{export, output};

const PATIENCE: Duration = Duration::from_secs(30);

/// The longest commitment that is read: an entry as JSON.
const COMMITMENT_BYTES_MAX: u64 = 1 << 20;

/// Verifies one batch, read live from Kafka, against its commitment
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// An offset in the batch: TOPIC/PARTITION@OFFSET
    #[arg(required_unless_present = "commitment", conflicts_with = "commitment")]
    event: Option<EventPlace>,
    /// A record of the topic `commitments` in a file, as kcat prints its value, or - for standard input
    #[arg(long, value_name = "FILE")]
    commitment: Option<PathBuf>,
    /// The epoch of the stream; without it, the newest
    #[arg(long)]
    epoch: Option<u64>,
}

/// `TOPIC/PARTITION@OFFSET`
#[derive(Debug, Clone)]
struct EventPlace {
    topic: String,
    partition: u32,
    offset: u64,
}

impl std::str::FromStr for EventPlace {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let parse = || {
            let (stream, offset) = s.rsplit_once('@')?;
            let (topic, partition) = stream.rsplit_once('/')?;
            Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        };
        parse().ok_or_else(|| "expected TOPIC/PARTITION@OFFSET, such as orders/3@104200".to_owned())
    }
}

/// Verdicts as the exit codes of `streamseal verify`: 0 the batch is as sealed, 1 it differs, 3 events are gone.
pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    let client = Client::new(&config.committer_url()?)?;
    let entry = entry(args, &config, &client).await?;
    let statement = entry.statement.statement();
    let Statement::Summary(summary) = statement else {
        bail!("entry {} holds a {} statement, which has no batch to verify", entry.seq, statement.kind());
    };
    verify_statement(&config, &client, &entry).await?;
    let size = verify_inclusion_in_log(&config, &client, &entry).await?;
    let (first, last) = (summary.first, summary.next - 1);
    output::line(format_args!("{}: offsets {first} to {last}, {} events", summary.stream, summary.events));
    output::line(format_args!("entry {}: signed by a granted key, in the log's checkpoint of size {size}", entry.seq));
    let verdict = compare(&config, &summary.stream, summary)?;
    output::line(
        "not checked: anchors, coverage before and after; `streamseal export` and `streamseal verify` do that",
    );
    Ok(verdict)
}

async fn entry(args: &Args, config: &Config, client: &Client) -> anyhow::Result<Entry> {
    if let Some(path) = &args.commitment {
        return commitment(path);
    }
    let place = args.event.as_ref().context("a place or --commitment is required")?;
    let kafka = config.kafka()?;
    let cluster = tokio::task::block_in_place(|| Cluster::new(kafka, PATIENCE)?.id())?;
    let partition = Partition { cluster, topic: place.topic.clone(), number: place.partition };
    let Partition { cluster, topic, number } = partition.clone();
    let epoch = match args.epoch {
        Some(epoch) => epoch,
        None => {
            let query =
                committer_client::CursorQuery { cluster: cluster.clone(), topic: topic.clone(), partition: number };
            client.cursor(&query).await?.epoch
        }
    };
    let query = CoveringQuery { cluster, topic, partition: number, epoch, offset: place.offset };
    let text = client.covering_entry(&query).await?;
    let text = text.with_context(|| format!("{}: offset {} is not sealed", partition.stream(epoch), place.offset))?;
    Ok(Entry::parse(text.as_bytes())?)
}

fn commitment(path: &Path) -> anyhow::Result<Entry> {
    let mut json = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(COMMITMENT_BYTES_MAX).read_to_string(&mut json)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        file.take(COMMITMENT_BYTES_MAX).read_to_string(&mut json).with_context(|| path.display().to_string())?;
    }
    let value: serde_json::Value = serde_json::from_str(&json).context("the commitment is not one JSON object")?;
    let text = value["entry"].as_str().context("the commitment has no `entry`")?;
    Ok(Entry::parse(text.as_bytes())?)
}

/// The statement's signatures, by keys granted at its seq from the configured genesis on.
async fn verify_statement(config: &Config, client: &Client, entry: &Entry) -> anyhow::Result<()> {
    let genesis = config.ledger.read_genesis()?;
    let mut state = State::new(&config.ledger.origin, genesis.hash());
    for text in client.keys().await?.entries {
        let key_entry = Entry::parse(text.as_bytes()).context("a key entry of the committer")?;
        if key_entry.seq >= entry.seq {
            break;
        }
        state.skip_to(key_entry.seq);
        state.apply(&key_entry).with_context(|| format!("entry {}", key_entry.seq))?;
    }
    state.skip_to(entry.seq);
    state.apply(entry).with_context(|| format!("entry {}", entry.seq))
}

/// That the entry is in the log, at the newest checkpoint signed by the genesis' log key. Returns its size.
async fn verify_inclusion_in_log(config: &Config, client: &Client, entry: &Entry) -> anyhow::Result<u64> {
    let Statement::Genesis(genesis) = config.ledger.read_genesis()?.statement().clone() else {
        bail!("{} is not a genesis statement", config.ledger.genesis.display());
    };
    let note = client.checkpoint().await?.context("the committer has signed no checkpoint yet")?;
    let checkpoint = SignedCheckpoint::parse(&note).context("the committer's checkpoint")?;
    checkpoint.note().verify(&genesis.log).context("the committer's checkpoint")?;
    let head = checkpoint.checkpoint();
    ensure!(head.origin == config.ledger.origin, "the committer's checkpoint is of log {}", head.origin);
    ensure!(entry.seq < head.size, "entry {} is not in a checkpoint yet (newest: {})", entry.seq, head.size);
    let nodes = inclusion_nodes(entry.seq, head.size)?.into_iter().flatten();
    let path = client.tiles(head.size, &head.root, nodes).await?.inclusion_proof(entry.seq)?;
    verify_inclusion(&entry.leaf_hash(), entry.seq, head.size, &path, &head.root)?;
    Ok(head.size)
}

fn compare(config: &Config, stream: &StreamId, summary: &Summary) -> anyhow::Result<u8> {
    let mut reader = Reader::new(config.kafka()?, PATIENCE)?;
    let (events, root) = tokio::task::block_in_place(|| export::root_now(&mut reader, stream, summary))?;
    if root == summary.root {
        output::line(format_args!("as sealed: root {root}"));
        return Ok(0);
    }
    if events < summary.events {
        output::line(format_args!("incomplete: Kafka has {events} of {} events", summary.events));
        return Ok(3);
    }
    output::line(format_args!("tampered: Kafka's events have root {root}, sealed was {}", summary.root));
    Ok(1)
}
