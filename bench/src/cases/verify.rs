//! A bundle verified offline, against b3sum over its files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bundle::{Event, Run, Writer};
use evidence::statement::HeadsLine;
use evidence::tree::{self, CompactRange, Node, decompose};
use evidence::{Hash, LeafHasher, LeafPreimage, Partition, StreamId};
use ingest_consumer::{BATCH_BYTES, BATCH_EVENTS};

use crate::memory_ledger::{Ledger, ORIGIN, event};
use crate::{Better, Case, Context, Goal, Measurement};

pub(super) const CASE: Case = Case {
    name: "verify",
    about: "Bytes of a bundle that streamseal-verify proves in a second, on all cores, against b3sum over the same files, \
            which are in the page cache; events that each core verifies in a second; and the most memory it takes, beside \
            that for a bundle of a tenth. The bundle has eight streams in batches of 16,384 events or 16 MiB, as the \
            ingest-consumer seals and an export writes them.",
    run,
};

/// Size of all files of a bundle: 10 GB, which must fit into the page cache.
const BYTES: u64 = 10_000_000_000;

const STREAMS: u32 = 8;

/// Maximum memory of the offline verifier.
const MEMORY_BYTES_MAX: f64 = 100e6;

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    for (size, name) in [(100, "100 B"), (1 << 10, "1 KiB"), (10 << 10, "10 KiB")] {
        if context.wants(name) {
            measure(context, size, name)?;
        }
    }
    Ok(())
}

fn measure(context: &Context<'_>, size: u64, name: &str) -> anyhow::Result<()> {
    let folder = context.scratch("verify");
    let events = write(folder.path(), size, context.size(BYTES, 1 << 20))?;
    let files = files(&folder.join("bundle"))?;
    let bytes = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<anyhow::Result<u64>>()? as f64;
    let mut peaks = Vec::new();
    let ours = || {
        let (elapsed, peak) = verify(folder.path())?;
        peaks.push(peak as f64);
        Ok(bytes / elapsed.as_secs_f64())
    };
    let baseline = || Ok(bytes / hash(&files, context.quick)?.as_secs_f64());
    let (ours, baseline) = context.alternate(ours, baseline)?;
    let cores = std::thread::available_parallelism()?.get() as f64;
    let per_core: Vec<f64> = ours.iter().map(|rate| rate / bytes * events as f64 / cores).collect();
    let measured = Measurement::new(name, "bytes/s", Better::Higher, ours).against("b3sum", baseline);
    context.record(measured.goal(Goal::RatioAtLeast(0.5)).setting("bundle bytes", bytes).setting("events", events))?;
    let mut events = Measurement::new(format!("{name}: each core"), "events/s", Better::Higher, per_core);
    if size == 100 {
        events = events.goal(Goal::AtLeast(5e6));
    }
    context.record(events)?;
    let peaks = peaks.split_off(peaks.len() - context.runs);
    let small = context.scratch("verify-small");
    write(small.path(), size, context.size(BYTES, 1 << 20) / 10)?;
    let small = (0..context.runs).map(|_| Ok(verify(small.path())?.1 as f64)).collect::<anyhow::Result<_>>()?;
    let memory = Measurement::new(format!("{name}: peak memory"), "bytes", Better::Lower, peaks);
    context.record(memory.against("a bundle of a tenth", small).goal(Goal::AtMost(MEMORY_BYTES_MAX)))
}

/// Verifies with the auditor's own binary, and returns the time and the peak resident memory.
fn verify(folder: &Path) -> anyhow::Result<(Duration, u64)> {
    let program = testbed::streamseal().with_file_name("streamseal-verify");
    let mut command = Command::new(&program);
    command.arg(folder.join("bundle")).arg("--trust").arg(folder.join("trust")).stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| program.display().to_string())?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        // Read while it runs: afterwards the system only reports the maximum of all children.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = field.map_or(peak, |kib: u64| kib * 1024);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    ensure!(ended.success(), "{command:?}: {ended}");
    Ok((begun.elapsed(), peak))
}

/// Runs b3sum over the files; in a quick run, hashes them here instead.
fn hash(files: &[PathBuf], quick: bool) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    if quick {
        for file in files {
            blake3::Hasher::new().update_reader(std::fs::File::open(file)?)?;
        }
        return Ok(begun.elapsed());
    }
    let status = Command::new("b3sum").args(files).stdout(Stdio::null()).status();
    ensure!(status.context("b3sum (cargo install b3sum)")?.success(), "b3sum failed");
    Ok(begun.elapsed())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Makes `bundle` and `trust` with events of this size, and returns their number.
fn write(folder: &Path, size: u64, bytes: u64) -> anyhow::Result<u64> {
    let streams: Vec<StreamId> = (0..STREAMS)
        .map(|number| Partition { cluster: "-".into(), topic: "orders".into(), number }.stream(0))
        .collect();
    let values = Values::new(size);
    let batch = u64::from(BATCH_EVENTS).min(BATCH_BYTES / (12 + size));
    // A record's header, a content without key and headers, a leaf preimage.
    let per_event = 21 + 12 + size + 64;
    let rounds = (bytes / (per_event * batch * u64::from(STREAMS))).max(1);
    let mut ledger = Ledger::new();
    let mut entries = ledger.keys.clone();
    let mut hasher = LeafHasher::new();
    for round in 0..rounds {
        for stream in &streams {
            values.of(round * batch, batch).for_each(|(offset, value)| hasher.push(&event(offset, value)));
            entries.push(ledger.seal(stream, hasher.drain()));
        }
    }
    entries.push(ledger.heads());
    let runs = Runs::new(&entries);
    let (checkpoint, genesis) = (runs.checkpoint(&ledger), ledger.state.ledger().genesis);
    let ranges = streams.iter().map(|stream| (stream.clone(), 0..rounds * batch)).collect();
    let mut writer = Writer::create(&folder.join("bundle"), ORIGIN, genesis, &checkpoint, ranges)?;
    let mut lines: Vec<HeadsLine> = ledger.state.streams().lines().collect();
    lines.sort_by_key(ToString::to_string);
    writer.heads(lines)?;
    runs.each(|run| writer.run(&run))?;
    let mut content = Vec::new();
    for round in 0..rounds {
        for stream in 0..streams.len() {
            content.clear();
            for (offset, value) in values.of(round * batch, batch) {
                hasher.push(&event(offset, value));
                event(offset, value).encode_content(&mut content);
            }
            let index: Vec<_> = hasher.drain().index.iter().map(LeafPreimage::from_bytes).collect::<Result<_, _>>()?;
            let contents = content.chunks(12 + size as usize);
            let events: Vec<Event<'_>> = index.iter().zip(contents).map(|(leaf, content)| of(leaf, content)).collect();
            let seq = ledger.keys.len() as u64 + round * u64::from(STREAMS) + stream as u64;
            writer.batch(stream, seq, &index, &events)?;
        }
    }
    writer.finish()?;
    std::fs::write(folder.join("trust"), ledger.trust())?;
    Ok(rounds * batch * u64::from(STREAMS))
}

fn of<'a>(leaf: &LeafPreimage, content: &'a [u8]) -> Event<'a> {
    let LeafPreimage { offset, timestamp, timestamp_type, .. } = *leaf;
    Event { offset, timestamp, timestamp_type, content }
}

/// Different values, each made of repeated bytes.
struct Values {
    bytes: Vec<u8>,
    size: usize,
}

impl Values {
    const STARTS: usize = 1 << 20;

    fn new(size: u64) -> Self {
        let size = size as usize;
        let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
        Self { bytes: (0..Self::STARTS + size).map(byte).collect(), size }
    }

    /// The values at consecutive offsets.
    fn of(&self, first: u64, count: u64) -> impl Iterator<Item = (u64, &[u8])> {
        (first..first + count).map(|offset| {
            let start = (offset as usize).wrapping_mul(40_503) % Self::STARTS;
            (offset, &self.bytes[start..start + self.size])
        })
    }
}

/// All entries of a log, as the runs of a bundle.
struct Runs<'a> {
    entries: &'a [Vec<u8>],
    leaves: Vec<Hash>,
}

impl<'a> Runs<'a> {
    fn new(entries: &'a [Vec<u8>]) -> Self {
        Self { entries, leaves: entries.iter().map(|entry| tree::leaf_hash(entry)).collect() }
    }

    fn checkpoint(&self, ledger: &Ledger) -> Vec<u8> {
        let mut all = CompactRange::starting_at(0);
        self.leaves.iter().for_each(|leaf| all.push_leaf(*leaf));
        ledger.checkpoint(self.entries.len() as u64, all.root()).to_bytes()
    }

    fn each(&self, mut write: impl FnMut(Run) -> Result<(), bundle::Error>) -> Result<(), bundle::Error> {
        let size = self.entries.len() as u64;
        let mut first = 0;
        for entries in self.entries.chunks(bundle::ENTRIES_PER_RUN_MAX) {
            let end = first + entries.len() as u64;
            let nodes = |range| decompose(range).into_iter().map(|node| self.node(node)).collect();
            write(Run { first, left: nodes(0..first), right: nodes(end..size), entries: entries.to_vec() })?;
            first = end;
        }
        Ok(())
    }

    fn node(&self, node: Node) -> Hash {
        let mut range = CompactRange::starting_at(node.range().start);
        node.range().for_each(|seq| range.push_leaf(self.leaves[seq as usize]));
        range.nodes()[0].1
    }
}
