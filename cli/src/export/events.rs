//! The events of one stream, read from Kafka and cut into the batches that the chain knows.

use std::ops::Range;

use anyhow::Context;
use bundle::{Event, Writer};
use evidence::statement::Summary;
use evidence::{EventRef, Hash, LeafHasher, LeafPreimage, StreamId, TimestampType, batch};
use indicatif::ProgressBar;
use kafka::{Reader, TopicPartition};

/// Counts of the exported batches and events.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Found {
    /// Batches in the bundle.
    pub batches: u64,
    /// Events in the bundle.
    pub events: u64,
    /// Batches that lost events in Kafka.
    pub incomplete: u64,
    /// Batches whose events are not those that were sealed.
    pub different: u64,
}

/// Writes the batches of one stream to a bundle.
pub(crate) struct Exporter<'a> {
    writer: &'a mut Writer,
    /// The stream's index in the bundle.
    index: usize,
    stream: &'a StreamId,
    /// The offsets that were asked for. Other events stay out of the bundle; their leaf preimages are in it.
    offsets: Range<u64>,
    progress: &'a ProgressBar,
    batch: Collected,
    found: Found,
}

/// The events of the batch that is being read.
#[derive(Default)]
struct Collected {
    hasher: LeafHasher,
    contents: Vec<u8>,
    events: Vec<CollectedEvent>,
}

struct CollectedEvent {
    offset: i64,
    timestamp: i64,
    timestamp_type: TimestampType,
    content: Range<usize>,
}

impl<'a> Exporter<'a> {
    pub(crate) fn new(
        writer: &'a mut Writer,
        index: usize,
        stream: &'a StreamId,
        offsets: Range<u64>,
        progress: &'a ProgressBar,
    ) -> Self {
        let (batch, found) = (Collected::default(), Found::default());
        Self { writer, index, stream, offsets, progress, batch, found }
    }

    /// Reads neighbouring batches, each with the seq of its entry, and writes them.
    pub(crate) fn read(&mut self, reader: &mut Reader, batches: &[(u64, Summary)]) -> anyhow::Result<()> {
        let (Some((_, first)), Some((_, last))) = (batches.first(), batches.last()) else { return Ok(()) };
        let partition = &self.stream.partition;
        let partition = TopicPartition::new(partition.topic.as_str(), partition.number);
        let range = offset(first.first)?..offset(last.next)?;
        let mut waiting = batches.iter();
        let mut current = waiting.next();
        reader.read(&partition, range, |event| {
            while let Some((seq, summary)) = current.filter(|(_, summary)| event.offset as u64 >= summary.next) {
                self.write(*seq, summary)?;
                current = waiting.next();
            }
            // Events in a gap belong to no batch.
            if current.is_some_and(|(_, summary)| event.offset as u64 >= summary.first) {
                self.batch.push(event, &self.offsets);
            }
            anyhow::Ok(())
        })?;
        for (seq, summary) in current.into_iter().chain(waiting) {
            self.write(*seq, summary)?;
        }
        Ok(())
    }

    /// Writes batches without events, because their topic no longer exists.
    pub(crate) fn absent(&mut self, batches: &[(u64, Summary)]) -> anyhow::Result<()> {
        batches.iter().try_for_each(|(seq, summary)| self.write(*seq, summary))
    }

    pub(crate) fn found(&self) -> Found {
        self.found
    }

    /// Writes the collected batch. It gets a leaf index only when no event is missing. If the events then contradict the
    /// summary, the leaf index is evidence of that.
    fn write(&mut self, seq: u64, summary: &Summary) -> anyhow::Result<()> {
        let leaves = self.batch.hasher.drain();
        let complete = leaves.leaves.len() as u64 >= summary.events;
        if !complete {
            self.found.incomplete += 1;
        } else if batch::root(leaves.leaves) != summary.root {
            self.found.different += 1;
        }
        let index: Vec<LeafPreimage> = match complete {
            true => leaves.index.iter().map(LeafPreimage::from_bytes).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        let events: Vec<Event<'_>> = self.batch.events.iter().map(|e| e.view(&self.batch.contents)).collect();
        self.writer
            .batch(self.index, seq, &index, &events)
            .with_context(|| format!("{}, offsets {} to {}", self.stream, summary.first, summary.next - 1))?;
        self.found.batches += 1;
        self.found.events += events.len() as u64;
        self.progress.inc(summary.next - summary.first);
        self.batch.events.clear();
        self.batch.contents.clear();
        Ok(())
    }
}

impl Collected {
    fn push(&mut self, event: &EventRef<'_>, offsets: &Range<u64>) {
        self.hasher.push(event);
        if !offsets.contains(&(event.offset as u64)) {
            return;
        }
        let start = self.contents.len();
        event.encode_content(&mut self.contents);
        self.events.push(CollectedEvent {
            offset: event.offset,
            timestamp: event.timestamp,
            timestamp_type: event.timestamp_type,
            content: start..self.contents.len(),
        });
    }
}

impl CollectedEvent {
    fn view<'a>(&self, contents: &'a [u8]) -> Event<'a> {
        let Self { offset, timestamp, timestamp_type, content } = self;
        Event {
            offset: *offset,
            timestamp: *timestamp,
            timestamp_type: *timestamp_type,
            content: &contents[content.clone()],
        }
    }
}

/// The number of events that Kafka has of a batch now, and their root.
pub(crate) fn root_now(reader: &mut Reader, stream: &StreamId, summary: &Summary) -> anyhow::Result<(u64, Hash)> {
    let mut hasher = LeafHasher::new();
    read_batch(reader, stream, summary, |event| hasher.push(event))?;
    let leaves = hasher.drain();
    Ok((leaves.leaves.len() as u64, batch::root(leaves.leaves)))
}

/// Calls `each` with the events that Kafka has of a batch now.
pub(crate) fn read_batch(
    reader: &mut Reader,
    stream: &StreamId,
    summary: &Summary,
    mut each: impl FnMut(&EventRef<'_>),
) -> anyhow::Result<()> {
    let partition = TopicPartition::new(stream.partition.topic.as_str(), stream.partition.number);
    reader.read(&partition, offset(summary.first)?..offset(summary.next)?, |event| {
        each(event);
        Ok::<(), kafka::Error>(())
    })?;
    Ok(())
}

fn offset(offset: u64) -> anyhow::Result<i64> {
    i64::try_from(offset).context("an offset above 2^63-1")
}
