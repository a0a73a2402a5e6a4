//! `streamseal verify-batch`: verifies one batch, read live from Kafka, against its commitment.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use committer_client::Client;
use evidence::chain::State;
use evidence::statement::{Statement, Summary};
use evidence::tree::{inclusion_nodes, verify_inclusion};
use evidence::{Entry, SignedCheckpoint};
use kafka::{Cluster, Reader};

use crate::config::{Config, ConfigFile};
use crate::event_position::EventPosition;
use crate::export::PATIENCE;
use crate::ledger::Ledger;
use crate::{export, output};

/// The longest commitment that is read, as JSON.
const COMMITMENT_BYTES_MAX: u64 = 1 << 20;

/// Exit codes, the same as those of `streamseal verify`.
const AS_SEALED: u8 = 0;
const TAMPERED: u8 = 1;
const INCOMPLETE: u8 = 3;

/// Verifies one batch, read live from Kafka, against its commitment
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// An offset in the batch: TOPIC/PARTITION@OFFSET
    #[arg(required_unless_present = "commitment", conflicts_with = "commitment")]
    event: Option<EventPosition>,
    /// File with the value of a record of the topic `commitments`; - reads standard input
    #[arg(long, value_name = "FILE")]
    commitment: Option<PathBuf>,
    /// The epoch of the stream; by default the newest
    #[arg(long)]
    epoch: Option<u64>,
}

/// Returns the verdict as an exit code.
pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    let ledger = Ledger::open(&config).await?;
    let entry = entry(args, &config, &ledger.client).await?;
    let statement = entry.statement.statement();
    let Statement::Summary(summary) = statement else {
        bail!(
            "entry {} holds a {} statement, which has no batch to verify: give a commitment of kind summary",
            entry.seq,
            statement.kind()
        );
    };
    verify_statement(&ledger, &entry)?;
    let size = verify_inclusion_in_log(&ledger, &entry).await?;
    let (first, last) = (summary.first, summary.next - 1);
    output::line(format_args!("{}: offsets {first} to {last}, {} events", summary.stream, summary.events));
    output::line(format_args!("entry {}: signed by a granted key, in the log's checkpoint of size {size}", entry.seq));
    let verdict = tokio::task::block_in_place(|| compare(&config, summary))?;
    output::line(
        "not checked: anchors, coverage before and after; `streamseal export` and `streamseal verify` do that",
    );
    Ok(verdict)
}

async fn entry(args: &Args, config: &Config, client: &Client) -> anyhow::Result<Entry> {
    if let Some(path) = &args.commitment {
        return commitment(path);
    }
    let event = args.event.as_ref().context("an event or --commitment is required")?;
    event.entry(config, client, args.epoch).await
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

/// Verifies the statement's signatures, by the keys that were in force at its seq.
fn verify_statement(ledger: &Ledger, entry: &Entry) -> anyhow::Result<()> {
    let before = ledger.key_entries.iter().take_while(|key_entry| key_entry.seq < entry.seq);
    let mut state = State::of_keys(ledger.state.ledger(), before).context("the key entries of the committer")?;
    state.skip_to(entry.seq);
    state.apply(entry).with_context(|| format!("entry {}", entry.seq))
}

/// Verifies that the log's newest checkpoint includes the entry. Returns the size of the checkpoint.
async fn verify_inclusion_in_log(ledger: &Ledger, entry: &Entry) -> anyhow::Result<u64> {
    let Ledger { client, state, .. } = ledger;
    let note = client.checkpoint().await?.context("the committer has signed no checkpoint yet")?;
    let checkpoint = SignedCheckpoint::parse(&note).context("the committer's checkpoint")?;
    let (head, origin) = (checkpoint.checkpoint(), &state.ledger().origin);
    ensure!(head.origin == *origin, "the committer's checkpoint is of log {}", head.origin);
    state.keys().verify_checkpoint(&checkpoint).context("the committer's checkpoint")?;
    ensure!(entry.seq < head.size, "entry {} is not in a checkpoint yet (newest: {})", entry.seq, head.size);
    let nodes = inclusion_nodes(entry.seq, head.size)?.into_iter().flatten();
    let path = client.tiles(head.size, &head.root, nodes).await?.inclusion_proof(entry.seq)?;
    verify_inclusion(&entry.leaf_hash(), entry.seq, head.size, &path, &head.root)?;
    Ok(head.size)
}

/// Compares the batch in Kafka with what was sealed. A commitment has one root for all events of its batch. If some are
/// missing, it cannot tell whether the others are unchanged.
fn compare(config: &Config, summary: &Summary) -> anyhow::Result<u8> {
    let Summary { stream, topic_id: sealed, events: stated, .. } = summary;
    let topic = Cluster::new(config.kafka()?, PATIENCE)?.topic(&stream.partition.topic)?;
    let shown =
        |id: Option<&str>| id.map_or_else(|| "without a topic id".to_owned(), |id| format!("with topic id {id}"));
    let Some(topic) = topic.filter(|topic| topic.partitions > stream.partition.number) else {
        output::line(format_args!("incomplete: Kafka no longer has {}: its events are gone", stream.partition));
        return Ok(INCOMPLETE);
    };
    if topic.id != *sealed {
        output::line(format_args!(
            "incomplete: sealed was a topic {}, Kafka has one {}: it was recreated, and the events sealed are gone",
            shown(sealed.as_deref()),
            shown(topic.id.as_deref())
        ));
        return Ok(INCOMPLETE);
    }
    let mut reader = Reader::new(config.kafka()?, PATIENCE)?;
    let (events, root) = export::root_now(&mut reader, stream, summary)?;
    if root == summary.root {
        output::line(format_args!("as sealed: root {root}"));
        return Ok(AS_SEALED);
    }
    if events < *stated {
        output::line(format_args!(
            "incomplete: Kafka has {events} of {stated} events, by their number; whether these are as sealed cannot be told \
             without the others"
        ));
        return Ok(INCOMPLETE);
    }
    output::line(format_args!(
        "tampered: Kafka's {events} events have root {root}, sealed were {stated} with root {}",
        summary.root
    ));
    Ok(TAMPERED)
}
