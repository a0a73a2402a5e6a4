//! One batch: compares its events with its leaf index, and both with the sealed root.

mod walk;

use std::ops::Range;

use bundle::BatchReader;
use evidence::statement::Summary;
use evidence::{LeafHasher, LeafPreimage};

use self::walk::{BatchWalk, offset_of};
use crate::expect::Ranges;

/// The most events, and the most bytes of them, that are hashed together.
const GROUP_EVENTS_MAX: usize = 1024;
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// The number of leaf preimages that are read at once.
const ROWS: usize = 1024;

type Row = [u8; LeafPreimage::LEN];

/// Checks batches one after the other with the same buffers.
#[derive(Default)]
pub(crate) struct BatchChecker {
    hasher: LeafHasher,
    /// The content lengths of the events in the hasher.
    lens: Vec<u32>,
    rows: Rows,
}

/// A batch that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// The number of events that are there, unchanged, at offsets without a problem.
    pub(crate) events: u64,
    /// The sum of their content lengths in bytes.
    pub(crate) bytes: u64,
    /// Whether there may be more of both: an added event may hide a sealed one at its offset.
    pub(crate) at_least: bool,
    /// Which of events and leaf index have the sealed root.
    pub(crate) root_match: RootMatch,
    /// The differences between the events and the leaf index.
    pub(crate) problems: Problems,
    /// A false statement of the summary, whose root is right.
    pub(crate) false_summary: Option<String>,
}

/// Which of the events and the leaf index have the sealed root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum RootMatch {
    /// The leaf index: the problems name all events that differ from those sealed.
    ByIndex,
    /// The events; there is no leaf index.
    ByEvents,
    /// The events, but not the leaf index beside them, for this reason.
    IndexAltered(String),
    /// Neither, as fewer events are there than were sealed, and no leaf index is.
    TooFewEvents,
    /// Neither, although enough events or a leaf index are there.
    #[default]
    Neither,
}

/// The differences between the events and the leaf index, by offset.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// Sealed events that are expected and absent, with their number. Neighbours are joined.
    pub(crate) absent: List<(Range<u64>, u64)>,
    /// Absent events that are not expected.
    pub(crate) absent_unexpected: List<(Range<u64>, u64)>,
    /// Events that differ from the one sealed at their offset, with a reason if the content does not decode.
    pub(crate) altered: List<(i64, Option<String>)>,
    /// Events at offsets where none was sealed, or a second one at the same offset.
    pub(crate) extra: List<i64>,
    /// Unchanged events that come after one with a higher offset.
    pub(crate) reordered: List<i64>,
}

/// The first problems of a kind.
#[derive(Debug)]
pub(crate) struct List<T> {
    pub(crate) first: Vec<T>,
    /// The number of further events with this problem.
    pub(crate) more: u64,
}

/// The most problems of one kind that are kept of one batch.
const PROBLEMS_MAX: usize = 1000;

impl<T> List<T> {
    fn add(&mut self, item: T) {
        if self.first.len() < PROBLEMS_MAX {
            self.first.push(item);
        } else {
            self.more += 1;
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: 0 }
    }
}

impl Problems {
    pub(crate) fn is_empty(&self) -> bool {
        self.absent.first.is_empty() && self.absent_unexpected.first.is_empty() && !self.contradict()
    }

    /// Whether an event that is there contradicts the leaf index. Absence does not count.
    pub(crate) fn contradict(&self) -> bool {
        !self.altered.first.is_empty() || !self.extra.first.is_empty() || !self.reordered.first.is_empty()
    }

    /// The number of contradicting events beyond those that are listed.
    pub(crate) fn more_contradict(&self) -> u64 {
        self.altered.more + self.extra.more + self.reordered.more
    }

    /// Whether all problems are listed, so that all other events are known to be unchanged.
    pub(crate) fn are_all_listed(&self) -> bool {
        self.more_contradict() + self.absent.more + self.absent_unexpected.more == 0
    }
}

/// The checked batch, or why it could not be read to its end.
pub(crate) type BatchResult = Result<Checked, Unfinished>;

/// A batch that could not be read to its end.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) error: bundle::Error,
    /// The events before, compared with the leaf index, if that has the sealed root.
    pub(crate) so_far: Option<Box<Checked>>,
}

impl From<bundle::Error> for Unfinished {
    fn from(error: bundle::Error) -> Self {
        Self { error, so_far: None }
    }
}

impl BatchChecker {
    /// Checks the batch of entry `seq`. The bundle holds its events with offsets in `held`, and should hold those in
    /// `expected`.
    ///
    /// # Errors
    /// If the batch cannot be read to its end.
    pub(crate) fn check(
        &mut self,
        reader: &mut BatchReader,
        seq: u64,
        summary: &Summary,
        held: Range<u64>,
        expected: &Ranges,
    ) -> BatchResult {
        // An unfinished batch leaves events behind, perhaps of another stream.
        self.hasher.drain();
        self.lens.clear();
        let (row_count, _) = reader.begin(seq)?;
        let mut walk = BatchWalk::new(summary, held, expected, row_count > 0);
        self.rows.clear();
        let error = loop {
            let loaded = self.load(reader);
            let drained = self.hasher.drain();
            if !walk.all_match(drained, &mut self.rows, reader)? {
                for ((event, leaf), len) in drained.index.iter().zip(drained.leaves).zip(&self.lens) {
                    walk.event(offset_of(event), Ok((event, *leaf, *len)), &mut self.rows, reader)?;
                }
            }
            walk.longest = walk.longest.max(self.lens.iter().copied().max().unwrap_or(0).into());
            self.lens.clear();
            match loaded {
                Ok(Loaded::Group) => {}
                Ok(Loaded::NoContent { offset, problem }) => {
                    walk.event(offset, Err(problem), &mut self.rows, reader)?;
                }
                Ok(Loaded::End) => break None,
                Err(error) => break Some(error),
            }
        };
        while let Some(row) = self.rows.next(reader)? {
            walk.without_event(&row);
        }
        reader.shrink();
        match error {
            None => Ok(walk.finish()),
            Some(error) => Err(Unfinished { error, so_far: walk.finish_early().map(Box::new) }),
        }
    }

    /// Reads events into the hasher.
    fn load(&mut self, reader: &mut BatchReader) -> Result<Loaded, bundle::Error> {
        while self.hasher.len() < GROUP_EVENTS_MAX && self.hasher.content_bytes() < GROUP_BYTES_MAX {
            let Some(event) = reader.event()? else { return Ok(Loaded::End) };
            let bundle::Event { offset, timestamp, timestamp_type, content } = event;
            if let Err(problem) = self.hasher.push_content(offset, timestamp, timestamp_type, content) {
                return Ok(Loaded::NoContent { offset, problem: problem.to_string() });
            }
            self.lens.push(content.len() as u32);
        }
        Ok(Loaded::Group)
    }
}

/// The reason why loading the hasher paused.
enum Loaded {
    /// A group is full.
    Group,
    /// The next event has a content that does not decode.
    NoContent { offset: i64, problem: String },
    /// The batch ends.
    End,
}

/// The rows of a leaf index, read in parts.
#[derive(Default)]
struct Rows {
    buffer: Vec<Row>,
    at: usize,
}

impl Rows {
    fn clear(&mut self) {
        self.buffer.clear();
        self.at = 0;
    }

    /// Takes these rows if they are the next ones; otherwise takes none.
    fn take_if(&mut self, rows: &[Row], reader: &mut BatchReader) -> Result<bool, bundle::Error> {
        if self.at == self.buffer.len() {
            let next = reader.leaves(rows.len())?;
            if next == rows {
                return Ok(true);
            }
            self.clear();
            self.buffer.extend_from_slice(next);
        }
        let are_next = self.buffer[self.at..].starts_with(rows);
        self.at += if are_next { rows.len() } else { 0 };
        Ok(are_next)
    }

    /// The next row, without taking it.
    fn peek(&mut self, reader: &mut BatchReader) -> Result<Option<&Row>, bundle::Error> {
        if self.at == self.buffer.len() {
            self.clear();
            self.buffer.extend_from_slice(reader.leaves(ROWS)?);
        }
        Ok(self.buffer.get(self.at))
    }

    fn next(&mut self, reader: &mut BatchReader) -> Result<Option<Row>, bundle::Error> {
        let row = self.peek(reader)?.copied();
        self.at += usize::from(row.is_some());
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use bundle::{Position, Reader, Writer};
    use evidence::statement::{LastEvent, LedgerId};
    use evidence::{EventRef, Hash, Leaves, Partition, StreamId, TimestampType, batch, content_hash};

    use super::*;

    fn stream(number: u32) -> StreamId {
        Partition { cluster: "-".into(), topic: "orders".into(), number }.stream(0)
    }

    /// The content of an event, `len` bytes long.
    fn content(len: usize) -> Vec<u8> {
        let value = vec![7; len - 12];
        let timestamp_type = TimestampType::Create;
        let event = EventRef { offset: 0, timestamp: 0, timestamp_type, key: None, value: Some(&value), headers: &[] };
        let mut content = Vec::new();
        event.encode_content(&mut content);
        assert_eq!(content.len(), len);
        content
    }

    fn leaf_index(contents: &[Vec<u8>]) -> Vec<LeafPreimage> {
        let preimage = |(offset, content): (i64, &Vec<u8>)| LeafPreimage {
            offset,
            timestamp: 0,
            timestamp_type: TimestampType::Create,
            content: content_hash(content),
        };
        (0..).zip(contents).map(preimage).collect()
    }

    /// A bundle with a stream for each of these batches, which are of entries 0, 1 and so on.
    fn bundle_of(batches: &[&[Vec<u8>]]) -> (tempfile::TempDir, Reader) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bundle");
        let streams = (0..batches.len() as u32).map(|number| (stream(number), 0..u64::MAX >> 1)).collect();
        let mut writer = Writer::create(&path, "example.com/audit", Hash([0; 32]), b"-", streams).expect("created");
        for (i, contents) in batches.iter().enumerate() {
            let event = |(offset, content)| bundle::Event {
                offset,
                timestamp: 0,
                timestamp_type: TimestampType::Create,
                content,
            };
            let events: Vec<_> = (0..).zip(contents.iter().map(Vec::as_slice)).map(event).collect();
            writer.batch(i, i as u64, &leaf_index(contents), &events).expect("a batch");
        }
        writer.finish().expect("finished");
        let reader = Reader::open(&path).expect("opened");
        (folder, reader)
    }

    fn summary(number: u32, contents: &[Vec<u8>]) -> Summary {
        let leaves: Vec<Hash> = leaf_index(contents).iter().map(LeafPreimage::leaf).collect();
        let events = contents.len() as u64;
        Summary {
            ledger: LedgerId { origin: "example.com/audit".into(), genesis: Hash([0; 32]) },
            stream: stream(number),
            topic_id: None,
            first: 0,
            next: events,
            events,
            bytes: contents.iter().map(|content| content.len() as u64).sum(),
            time: Some((0, 0)),
            root: batch::root(&leaves),
            last: leaves.last().map(|leaf| LastEvent { offset: events - 1, leaf: *leaf }),
            prev: None,
        }
    }

    #[test]
    fn events_are_hashed_in_bounded_groups() {
        let groups = |contents: &[Vec<u8>]| {
            let (_folder, reader) = bundle_of(&[contents]);
            let mut batch = reader.batches_from(0, Position::default(), None);
            batch.begin(0).expect("begun");
            let mut checker = BatchChecker::default();
            let mut lens = Vec::new();
            while matches!(checker.load(&mut batch).expect("loaded"), Loaded::Group) {
                lens.push(checker.hasher.drain().leaves.len());
            }
            lens.push(checker.hasher.drain().leaves.len());
            lens
        };
        assert_eq!(groups(&vec![content(20); 1025]), [1024, 1]);
        assert_eq!(groups(&vec![content(512 << 10); 3]), [2, 1]);
    }

    #[test]
    fn rows_are_taken_only_if_all_are_next() {
        let contents = vec![content(20); 4];
        let index: Vec<Row> = leaf_index(&contents).iter().map(LeafPreimage::to_bytes).collect();
        let (_folder, reader) = bundle_of(&[&contents]);
        let mut batch = reader.batches_from(0, Position::default(), None);
        batch.begin(0).expect("begun");
        let mut rows = Rows::default();
        let mut take = |of: Range<usize>| rows.take_if(&index[of], &mut batch).expect("read");
        // From the file; not the next ones; from the buffer that this filled; from the file again.
        assert_eq!([take(0..1), take(2..4), take(1..3), take(3..4)], [true, false, true, true]);
    }

    #[test]
    fn matching_events_are_taken_together() {
        let contents = vec![content(20); 4];
        let preimages = leaf_index(&contents);
        let index: Vec<Row> = preimages.iter().map(LeafPreimage::to_bytes).collect();
        let leaves: Vec<Hash> = preimages.iter().map(LeafPreimage::leaf).collect();
        let (_folder, reader) = bundle_of(&[&contents]);
        let mut batch = reader.batches_from(0, Position::default(), None);
        batch.begin(0).expect("begun");
        let summary = summary(0, &contents);
        let nothing = Ranges::default();
        let (mut walk, mut rows) = (BatchWalk::new(&summary, 0..4, &nothing, true), Rows::default());
        for of in [0..2, 2..4] {
            let drained = Leaves { index: &index[of.clone()], leaves: &leaves[of], content_bytes: 40 };
            assert!(walk.all_match(drained, &mut rows, &mut batch).expect("read"));
        }
        assert_eq!(walk.finish().root_match, RootMatch::ByIndex);
    }

    #[test]
    fn unfinished_batch_leaves_nothing_behind() {
        let (undecodable, sound) = ([b"nonsense".to_vec(), content(20)], [content(20)]);
        let (_folder, reader) = bundle_of(&[&undecodable, &sound]);
        let mut checker = BatchChecker::default();
        // The leaf index is whole; the last event lacks a byte.
        let end = Position::default().after(2, 2, 28);
        let cut = Position { events: end.events - 1, ..end };
        let mut batch = reader.batches_from(0, Position::default(), Some(cut));
        let nothing = Ranges::default();
        checker.check(&mut batch, 0, &summary(0, &undecodable), 0..2, &nothing).expect_err("cut short");
        let mut batch = reader.batches_from(1, Position::default(), None);
        let checked = checker.check(&mut batch, 1, &summary(1, &sound), 0..1, &nothing).expect("read");
        assert!(checked.root_match == RootMatch::ByIndex && checked.problems.is_empty(), "{checked:?}");
        assert_eq!(checked.events, 1);
    }
}
