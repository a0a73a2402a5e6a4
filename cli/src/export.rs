//! `streamseal export`: writes events with everything that is needed to verify them offline.

mod events;
mod log;
mod seq_set;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bundle::Writer;
use committer_client::{Client, Heads, StreamEntriesQuery, caps};
use evidence::statement::{HeadsLine, Statement, Summary};
use evidence::{Entry, SignedCheckpoint, StreamId};
use indicatif::{ProgressBar, ProgressStyle};
use kafka::{Cluster, Reader, TopicPartition};
use verifier::Expectation;

use crate::config::{Config, ConfigFile};
use crate::ledger::Ledger;
use crate::output;
use events::{Exporter, Found};
use log::Log;
use seq_set::SeqSet;

pub(crate) use events::{read_batch, root_now};

/// How long the export waits for Kafka before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Entries of a stream in one request.
const PAGE: u32 = 200;

/// Writes a bundle: events with everything that is needed to verify them offline
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub config: ConfigFile,
    /// The folder to write; it must not exist yet
    pub bundle: PathBuf,
    /// Streams and offsets: [CLUSTER:]TOPIC/PARTITION[#EPOCH][@FROM..TO]. TOPIC may be a prefix and *; * as PARTITION means
    /// all. May be repeated; ranges of one stream must touch or overlap. The default is everything
    #[allow(rustdoc::broken_intra_doc_links, reason = "a help text, not Markdown")]
    #[arg(long = "stream", value_name = "STREAMS")]
    pub streams: Vec<Expectation>,
    /// Start each partition at its first event with this timestamp or a later one, in milliseconds since 1970
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub since: Option<i64>,
    /// End each partition before its first event with this timestamp or a later one, in milliseconds since 1970
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub until: Option<i64>,
    /// A clone of the repository with the anchors, bare or not; by default the repository of the configured anchor
    #[arg(long, value_name = "DIR")]
    pub clone: Option<PathBuf>,
    /// Use the committer's newest checkpoint, although it is not anchored yet. The bundle proves nothing before it is
    #[arg(long)]
    pub unanchored: bool,
}

impl Args {
    /// All streams, up to the newest anchored checkpoint.
    pub(crate) fn everything(bundle: &Path) -> Self {
        Self {
            config: ConfigFile::default(),
            bundle: bundle.to_owned(),
            streams: Vec::new(),
            since: None,
            until: None,
            clone: None,
            unanchored: false,
        }
    }

    fn is_everything(&self) -> bool {
        self.streams.is_empty() && self.since.is_none() && self.until.is_none()
    }
}

/// One stream of an export.
struct Selected {
    stream: StreamId,
    offsets: Range<u64>,
    /// Whether Kafka may still have the events. It does not if the topic was deleted or recreated.
    readable: bool,
}

/// Writes the bundle and prints a summary of it.
///
/// # Errors
/// Also when Kafka's events differ from those that were sealed. The bundle is written all the same, as evidence.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let found = export(args, &config).await?;
    let Found { batches, events, incomplete, different } = found;
    output::line(format_args!("{}: {events} events of {batches} batches", args.bundle.display()));
    if incomplete > 0 {
        output::line(format_args!(
            "{incomplete} batches: Kafka no longer has every event (retention, compaction, erasure)"
        ));
    }
    ensure!(
        different == 0,
        "{different} batches: Kafka's events are not those that were sealed; run `streamseal verify` on {} to see where",
        args.bundle.display()
    );
    Ok(())
}

/// Writes the bundle.
pub(crate) async fn export(args: &Args, config: &Config) -> anyhow::Result<Found> {
    let ledger = Ledger::open(config).await?;
    let client = &ledger.client;
    let checkpoint = checkpoint(config, client, args.clone.as_deref(), args.unanchored).await?;
    let size = checkpoint.checkpoint().size;
    let heads = client.heads(size).await?.with_context(|| {
        format!("no heads statement among the first {size} entries yet: wait for the next one (committer.heads_s)")
    })?;
    let lines = lines(&heads)?;
    let selected = select(args, config, client, &lines).await?;
    ensure!(!selected.is_empty(), "no sealed stream matches; `streamseal export` without --stream takes all");

    let seqs = match args.is_everything() {
        // The whole chain, so that the verifier can apply every entry.
        true => std::iter::once(0..size).collect(),
        false => needed_entries(client, &selected, heads.seq, size).await?,
    };
    let genesis = ledger.state.ledger().genesis;
    let streams = selected.iter().map(|s| (s.stream.clone(), s.offsets.clone())).collect();
    let mut writer =
        Writer::create(&args.bundle, &config.ledger.origin, genesis, &checkpoint.note().to_bytes(), streams)?;
    writer.heads(lines)?;
    let mut log = Log::new(client, checkpoint.checkpoint());
    log.runs(&seqs, |run| Ok(writer.run(run)?)).await?;
    let found = write_events(client, config, &selected, size, &mut writer).await?;
    writer.finish()?;
    Ok(found)
}

/// The checkpoint that everything is proven against: the newest anchored one, unless `unanchored`.
pub(crate) async fn checkpoint(
    config: &Config,
    client: &Client,
    clone: Option<&Path>,
    unanchored: bool,
) -> anyhow::Result<SignedCheckpoint> {
    let bytes = if unanchored {
        client.checkpoint().await?.context("the committer has signed no checkpoint yet")?
    } else {
        let (repository, branch) = config.anchors(clone)?;
        let newest = anchor::newest_checkpoint(&repository, &branch, &config.ledger.origin)?;
        newest.with_context(|| format!("{} holds no anchor yet: wait, or use --unanchored", repository.display()))?
    };
    let checkpoint = SignedCheckpoint::parse(&bytes).context("the checkpoint")?;
    ensure!(checkpoint.checkpoint().size > 0, "the checkpoint is of an empty chain");
    Ok(checkpoint)
}

fn lines(heads: &Heads) -> anyhow::Result<Vec<HeadsLine>> {
    heads.lines.iter().map(|line| Ok(line.parse::<HeadsLine>()?)).collect()
}

/// The streams and offsets that were asked for, in the order of a bundle.
async fn select(args: &Args, config: &Config, client: &Client, lines: &[HeadsLine]) -> anyhow::Result<Vec<Selected>> {
    let cluster = Cluster::new(config.kafka()?, PATIENCE)?;
    let mut selected = Vec::new();
    for line in lines {
        let stream = &line.stream;
        let closed = lines.iter().any(|l| l.stream.partition == stream.partition && l.stream.epoch > stream.epoch);
        let offsets = match args.streams.as_slice() {
            [] => Some(0..line.next),
            wanted => {
                let wanted = wanted.iter().filter(|w| w.matches(stream));
                union(stream, wanted.filter_map(|w| w.offsets(Some(line.next), closed)).collect())?
            }
        };
        let Some(mut offsets) = offsets else { continue };
        let topic = tokio::task::block_in_place(|| cluster.topic(&stream.partition.topic))?;
        let readable = match topic {
            None => false,
            Some(topic) => topic.id == topic_id(client, stream).await?,
        };
        if readable {
            tokio::task::block_in_place(|| narrow(args, &cluster, stream, &mut offsets))?;
        }
        if !offsets.is_empty() {
            selected.push(Selected { stream: stream.clone(), offsets, readable });
        }
    }
    selected.sort_by(|a, b| a.stream.cmp(&b.stream));
    Ok(selected)
}

/// Joins several ranges of one stream. A bundle holds one range of each stream, so they must leave no gap.
fn union(stream: &StreamId, mut ranges: Vec<Range<u64>>) -> anyhow::Result<Option<Range<u64>>> {
    ranges.sort_by_key(|range| range.start);
    let mut ranges = ranges.into_iter();
    let Some(mut all) = ranges.next() else { return Ok(None) };
    for range in ranges {
        // The offsets between were not asked for: perhaps the auditor must not see them.
        ensure!(
            range.start <= all.end,
            "--stream: {stream} is named with offsets {}..{} and {}..{}, which do not meet: export two bundles",
            all.start,
            all.end,
            range.start,
            range.end
        );
        all.end = all.end.max(range.end);
    }
    Ok(Some(all))
}

/// The topic id under which a stream was sealed.
async fn topic_id(client: &Client, stream: &StreamId) -> anyhow::Result<Option<String>> {
    let first = client.stream_entries(&query(stream, 0, 1)).await?;
    let entry = first.entries.first().with_context(|| format!("the committer has no entry of {stream}"))?;
    let entry = Entry::parse(entry.entry.as_bytes())?;
    Ok(entry.statement.statement().place().and_then(|place| place.topic_id.map(ToOwned::to_owned)))
}

/// Narrows offsets to the time range of the arguments.
fn narrow(args: &Args, cluster: &Cluster, stream: &StreamId, offsets: &mut Range<u64>) -> anyhow::Result<()> {
    let partition = TopicPartition::new(stream.partition.topic.as_str(), stream.partition.number);
    let at = |time: i64| -> anyhow::Result<u64> {
        let found = cluster.offsets_for_time(std::slice::from_ref(&partition), time)?;
        Ok(found[&partition].map_or(u64::MAX, |offset| offset as u64))
    };
    if let Some(since) = args.since {
        offsets.start = offsets.start.max(at(since)?);
    }
    if let Some(until) = args.until {
        offsets.end = offsets.end.min(at(until)?);
    }
    Ok(())
}

fn query(stream: &StreamId, from: u64, limit: u32) -> StreamEntriesQuery {
    StreamEntriesQuery {
        cluster: stream.partition.cluster.clone(),
        topic: stream.partition.topic.clone(),
        partition: stream.partition.number,
        epoch: stream.epoch,
        from,
        limit: limit.min(caps::STREAM_ENTRIES),
    }
}

/// Calls `each` with the entries of a stream below `size` that overlap its offsets, a page at a time.
async fn pages(
    client: &Client,
    selected: &Selected,
    size: u64,
    mut each: impl FnMut(Vec<Entry>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut from = selected.offsets.start;
    while from < selected.offsets.end {
        let page = client.stream_entries(&query(&selected.stream, from, PAGE)).await?.entries;
        let mut entries = Vec::with_capacity(page.len());
        for view in page {
            let entry = Entry::parse(view.entry.as_bytes()).with_context(|| format!("entry {}", view.seq))?;
            let Some(advance) = entry.statement.statement().advance() else { continue };
            if entry.seq >= size || advance.first >= selected.offsets.end {
                break;
            }
            from = advance.next;
            entries.push(entry);
        }
        if entries.is_empty() {
            break;
        }
        each(entries)?;
    }
    Ok(())
}

/// The entries that prove the selected offsets: all key entries, those of the streams, the heads and the last one.
async fn needed_entries(
    client: &Client,
    selected: &[Selected],
    heads: u64,
    size: u64,
) -> anyhow::Result<Vec<Range<u64>>> {
    let mut seqs = SeqSet::default();
    for text in client.keys().await?.entries {
        let entry = Entry::parse(text.as_bytes()).context("a key entry of the committer")?;
        if entry.seq < size {
            seqs.insert(entry.seq);
        }
    }
    seqs.insert(heads);
    seqs.insert(size - 1);
    for selected in selected {
        collect_seqs(client, selected, size, &mut seqs).await?;
    }
    Ok(seqs.into_ranges())
}

async fn collect_seqs(client: &Client, selected: &Selected, size: u64, seqs: &mut SeqSet) -> anyhow::Result<()> {
    // The epoch statements of the partition say where its streams begin and end.
    for epoch in 1..=selected.stream.epoch {
        let stream = selected.stream.partition.stream(epoch);
        let first = client.stream_entries(&query(&stream, 0, 1)).await?;
        let Some(entry) = first.entries.first() else { bail!("the committer has no entry of {stream}") };
        seqs.insert(entry.seq);
    }
    pages(client, selected, size, |entries| {
        entries.iter().for_each(|entry| seqs.insert(entry.seq));
        Ok(())
    })
    .await
}

async fn write_events(
    client: &Client,
    config: &Config,
    selected: &[Selected],
    size: u64,
    writer: &mut Writer,
) -> anyhow::Result<Found> {
    let progress = progress(selected.iter().map(|s| s.offsets.end - s.offsets.start).sum());
    let mut reader = Reader::new(config.kafka()?, PATIENCE)?;
    let mut total = Found::default();
    for (index, selected) in selected.iter().enumerate() {
        progress.set_message(selected.stream.to_string());
        let mut exporter = Exporter::new(writer, index, &selected.stream, selected.offsets.clone(), &progress);
        pages(client, selected, size, |entries| {
            let batches: Vec<(u64, Summary)> = entries.iter().filter_map(batch_with_events).collect();
            match selected.readable {
                true => tokio::task::block_in_place(|| exporter.read(&mut reader, &batches)),
                false => exporter.absent(&batches),
            }
        })
        .await?;
        let found = exporter.found();
        total.batches += found.batches;
        total.events += found.events;
        total.incomplete += found.incomplete;
        total.different += found.different;
    }
    progress.finish_and_clear();
    Ok(total)
}

fn batch_with_events(entry: &Entry) -> Option<(u64, Summary)> {
    match entry.statement.statement() {
        Statement::Summary(summary) if summary.events > 0 => Some((entry.seq, summary.clone())),
        _ => None,
    }
}

fn progress(offsets: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} offsets, {per_sec}, {eta} left")
        .expect("a valid template");
    ProgressBar::new(offsets).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_with_a_gap_are_refused() {
        let stream = evidence::Partition { cluster: "-".into(), topic: "orders".into(), number: 0 }.stream(0);
        let union = |ranges: &[Range<u64>]| union(&stream, ranges.to_vec());
        assert_eq!(union(&[]).expect("nothing"), None);
        assert_eq!(union(&[10..20, 0..10, 5..7]).expect("they meet"), Some(0..20));
        let apart = union(&[1000..1010, 0..10]).expect_err("they do not").to_string();
        assert!(apart.contains("orders/0 is named with offsets 0..10 and 1000..1010"), "{apart}");
    }
}
