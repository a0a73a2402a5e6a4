//! Takes a bundle apart, lets a forger change it, and writes a well-formed bundle again.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bundle::{Event, Reader, Run, Writer};
use evidence::tree::{CompactRange, leaf_hash};
use evidence::{Entry, Hash, LeafPreimage, Statement, StreamId, TimestampType};

/// A bundle in memory.
pub struct Forgery {
    origin: String,
    genesis: Hash,
    checkpoint: Vec<u8>,
    heads: Vec<evidence::statement::HeadsLine>,
    runs: Vec<Run>,
    streams: Vec<Stream>,
}

/// A stream of a bundle.
pub struct Stream {
    /// Its name.
    pub id: StreamId,
    /// The exported offsets.
    pub offsets: Range<u64>,
    /// Its batches, in order.
    pub batches: Vec<Batch>,
}

/// A batch of a stream.
pub struct Batch {
    /// The entry that sealed it.
    pub seq: u64,
    /// Its leaf preimages.
    pub leaf_index: Vec<LeafPreimage>,
    /// Its events.
    pub events: Vec<Record>,
}

/// An event of a batch.
#[derive(Clone)]
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Key, value and headers, encoded.
    pub content: Vec<u8>,
}

impl Forgery {
    /// Reads a bundle into memory.
    pub fn of(path: &Path) -> Self {
        let reader = Reader::open(path).unwrap();
        let mut heads = Vec::new();
        if let Some(mut lines) = reader.heads().unwrap() {
            while let Some(line) = lines.next_line().unwrap() {
                heads.push(line);
            }
        }
        let mut runs = Vec::new();
        let mut reading = reader.runs().unwrap();
        while let Some(run) = reading.next_run().unwrap() {
            runs.push(run);
        }
        let manifest = reader.manifest();
        let mut forgery = Self {
            origin: manifest.origin.clone(),
            genesis: manifest.genesis,
            checkpoint: reader.checkpoint().unwrap(),
            heads,
            runs,
            streams: Vec::new(),
        };
        for (i, range) in manifest.streams.iter().enumerate() {
            let batches = read_batches(&reader, i, &forgery.batch_seqs(&range.stream));
            forgery.streams.push(Stream { id: range.stream.clone(), offsets: range.offsets.clone(), batches });
        }
        forgery
    }

    /// Writes the bundle to `target`.
    pub fn write(&self, target: &Path) {
        let streams = self.streams.iter().map(|stream| (stream.id.clone(), stream.offsets.clone())).collect();
        let mut writer = Writer::create(target, &self.origin, self.genesis, &self.checkpoint, streams).unwrap();
        if !self.heads.is_empty() {
            writer.heads(self.heads.iter().cloned()).unwrap();
        }
        for run in &self.runs {
            writer.run(run).unwrap();
        }
        for (i, stream) in self.streams.iter().enumerate() {
            for Batch { seq, leaf_index, events } in &stream.batches {
                let events: Vec<Event<'_>> = events.iter().map(Record::as_event).collect();
                writer.batch(i, *seq, leaf_index, &events).unwrap();
            }
        }
        writer.finish().unwrap();
    }

    /// The genesis that the bundle claims.
    pub fn genesis(&self) -> Hash {
        self.genesis
    }

    /// Makes the bundle claim another genesis.
    pub fn set_genesis(&mut self, genesis: Hash) {
        self.genesis = genesis;
    }

    /// The stream of a topic and partition.
    pub fn stream(&mut self, topic: &str, partition: u32) -> &mut Stream {
        let found = self.streams.iter_mut().find(|stream| {
            let place = &stream.id.partition;
            place.topic == topic && place.number == partition
        });
        found.expect("the bundle has the stream")
    }

    /// All events of the bundle.
    pub fn events(&self) -> impl Iterator<Item = (&StreamId, &Record)> {
        self.streams.iter().flat_map(|stream| {
            let records = stream.batches.iter().flat_map(|batch| &batch.events);
            records.map(|record| (&stream.id, record))
        })
    }

    /// All entries of the bundle.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.runs.iter().flat_map(|run| &run.entries).map(|bytes| Entry::parse(bytes).unwrap())
    }

    /// Gives each batch without a leaf index the one that an earlier bundle has.
    pub fn keep_leaf_indexes_of(&mut self, before: &Self) {
        let batches = before.streams.iter().flat_map(|stream| &stream.batches);
        let kept: BTreeMap<u64, &Vec<LeafPreimage>> = batches.map(|batch| (batch.seq, &batch.leaf_index)).collect();
        for batch in self.streams.iter_mut().flat_map(|stream| &mut stream.batches) {
            if let Some(kept) = kept.get(&batch.seq).filter(|_| batch.leaf_index.is_empty()) {
                batch.leaf_index = (*kept).clone();
            }
        }
    }

    /// The entry with this seq.
    pub fn entry(&self, seq: u64) -> Entry {
        let run = self.runs.iter().find(|run| (run.first..run.end()).contains(&seq)).expect("the bundle has the entry");
        Entry::parse(&run.entries[(seq - run.first) as usize]).unwrap()
    }

    /// Replaces the text of an entry and keeps the proofs.
    pub fn replace_entry(&mut self, seq: u64, bytes: Vec<u8>) {
        let run = self.runs.iter_mut().find(|run| (run.first..run.end()).contains(&seq));
        let run = run.expect("the bundle has the entry");
        run.entries[(seq - run.first) as usize] = bytes;
    }

    /// Removes an entry. The others keep valid proofs.
    pub fn drop_entry(&mut self, seq: u64) {
        let size = self.size();
        let at = self.runs.iter().position(|run| (run.first..run.end()).contains(&seq));
        let at = at.expect("the bundle has the entry");
        let run = self.runs.remove(at);
        let (before, after) = split(&run, seq, size);
        let pieces = [before, after].into_iter().filter(|piece| !piece.entries.is_empty());
        self.runs.splice(at..at, pieces);
    }

    /// The tree size of the checkpoint.
    fn size(&self) -> u64 {
        let text = String::from_utf8_lossy(&self.checkpoint);
        text.lines().nth(1).and_then(|line| line.parse().ok()).expect("a checkpoint's second line is its size")
    }

    /// The seqs of the summaries of a stream that have events, in order.
    fn batch_seqs(&self, stream: &StreamId) -> Vec<u64> {
        let of_stream = self.entries().filter(|entry| match entry.statement.statement() {
            Statement::Summary(summary) => summary.stream == *stream && summary.events > 0,
            _ => false,
        });
        of_stream.map(|entry| entry.seq).collect()
    }
}

impl Record {
    fn as_event(&self) -> Event<'_> {
        let Self { offset, timestamp, timestamp_type, ref content } = *self;
        Event { offset, timestamp, timestamp_type, content }
    }
}

fn read_batches(reader: &Reader, stream: usize, seqs: &[u64]) -> Vec<Batch> {
    let mut reading = reader.batches(stream).unwrap();
    let mut batches = Vec::new();
    for &seq in seqs {
        let (leaves, _) = reading.begin(seq).unwrap();
        let leaf_index = reading.leaves(leaves as usize).unwrap();
        let leaf_index = leaf_index.iter().map(|bytes| LeafPreimage::from_bytes(bytes).unwrap()).collect();
        let mut events = Vec::new();
        while let Some(Event { offset, timestamp, timestamp_type, content }) = reading.event().unwrap() {
            events.push(Record { offset, timestamp, timestamp_type, content: content.to_vec() });
        }
        batches.push(Batch { seq, leaf_index, events });
    }
    reading.end().unwrap();
    batches
}

/// The entries of a run before and after `seq`, each part with its own proof.
fn split(run: &Run, seq: u64, size: u64) -> (Run, Run) {
    let at = (seq - run.first) as usize;
    let hashes = |range: &CompactRange| range.nodes().iter().map(|&(_, hash)| hash).collect::<Vec<Hash>>();

    let mut left = CompactRange::resume(0..run.first, &run.left).unwrap();
    run.entries[..=at].iter().for_each(|entry| left.push_leaf(leaf_hash(entry)));
    let mut right = CompactRange::starting_at(seq);
    run.entries[at..].iter().for_each(|entry| right.push_leaf(leaf_hash(entry)));
    right.extend(size, &run.right).unwrap();

    let before =
        Run { first: run.first, left: run.left.clone(), right: hashes(&right), entries: run.entries[..at].to_vec() };
    let after =
        Run { first: seq + 1, left: hashes(&left), right: run.right.clone(), entries: run.entries[at + 1..].to_vec() };
    (before, after)
}
