//! One batch: its events against its leaf index, and both against the root that was sealed.

mod walk;

use std::ops::Range;

use bundle::BatchReader;
use evidence::statement::Summary;
use evidence::{LeafHasher, LeafPreimage};

use self::walk::{Walk, offset_of};
use crate::expect::Ranges;

/// How many events, and how many bytes of them, are hashed together.
const GROUP_EVENTS_MAX: usize = 1024;
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// How many leaf preimages are read at once.
const ROWS: usize = 1024;

type Row = [u8; LeafPreimage::LEN];

/// Checks one batch after the other; its buffers stay.
#[derive(Default)]
pub(crate) struct BatchChecker {
    hasher: LeafHasher,
    /// The content lengths of what is in the hasher.
    lens: Vec<u32>,
    rows: Rows,
}

/// What became of one batch.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Events that are there and are what was sealed, at offsets of which no problem tells.
    pub(crate) events: u64,
    /// The sum of their content lengths in bytes.
    pub(crate) bytes: u64,
    /// Whether there may be more of both: it is not known what was sealed at the offset of an added event.
    pub(crate) at_least: bool,
    /// How it relates to what was sealed.
    pub(crate) outcome: Outcome,
    /// What differs between the events and the leaf index.
    pub(crate) problems: Problems,
    /// What the summary says falsely although its root is right.
    pub(crate) false_summary: Option<String>,
}

/// How a batch relates to its sealed root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The leaf index has the sealed root: the problems name the events that are not as they were sealed, and all
    /// others are.
    ByIndex,
    /// The events have the sealed root, and no leaf index was kept.
    ByEvents,
    /// The events have the sealed root, but the leaf index that comes with them does not, for the reason given.
    IndexAltered(String),
    /// There is no leaf index, and fewer events than were sealed, or only those of a part of the range.
    Undecided,
    /// Neither has the sealed root.
    #[default]
    Altered,
}

/// What differs between the events and the leaf index, by offset.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// Sealed events that are expected and not there, joined where nothing was sealed in between; with their number.
    pub(crate) absent: List<(Range<u64>, u64)>,
    /// Those that are not expected.
    pub(crate) absent_unexpected: List<(Range<u64>, u64)>,
    /// Events that are not what was sealed at their offset, with a reason where the content is no content at all.
    pub(crate) altered: List<(i64, Option<String>)>,
    /// Events where none was sealed, or a second one at the same offset.
    pub(crate) extra: List<i64>,
    /// Events that are as they were sealed, but come after a later one.
    pub(crate) reordered: List<i64>,
}

/// The first problems of a kind.
#[derive(Debug)]
pub(crate) struct List<T> {
    pub(crate) first: Vec<T>,
    /// How many more events have it.
    pub(crate) more: u64,
}

/// How many problems of one kind are kept of one batch.
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

    /// Whether something is there that was not sealed so, as opposed to something being absent.
    pub(crate) fn contradict(&self) -> bool {
        !self.altered.first.is_empty() || !self.extra.first.is_empty() || !self.reordered.first.is_empty()
    }

    /// How many events contradict beyond those that are listed.
    pub(crate) fn more_contradict(&self) -> u64 {
        self.altered.more + self.extra.more + self.reordered.more
    }

    /// Whether all are listed, so that everything else is known to be right.
    pub(crate) fn are_all_listed(&self) -> bool {
        self.more_contradict() + self.absent.more + self.absent_unexpected.more == 0
    }
}

/// Why a batch could not be read to its end.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: bundle::Error,
    /// What the sealed leaf index says of the events before.
    pub(crate) so_far: Option<Box<Checked>>,
}

impl From<bundle::Error> for Broken {
    fn from(error: bundle::Error) -> Self {
        Self { error, so_far: None }
    }
}

impl BatchChecker {
    /// Checks the batch of entry `seq`, of which the bundle holds the events with offsets in `held`, and should hold those
    /// in `expected`.
    ///
    /// # Errors
    /// When the bundle cannot be read on.
    pub(crate) fn check(
        &mut self,
        reader: &mut BatchReader,
        seq: u64,
        summary: &Summary,
        held: Range<u64>,
        expected: &Ranges,
    ) -> Result<Checked, Broken> {
        // A batch that could not be read to its end leaves events behind, perhaps of another stream.
        self.hasher.drain();
        self.lens.clear();
        let (row_count, _) = reader.begin(seq)?;
        let mut walk = Walk::new(summary, held, expected, row_count > 0);
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
            Some(error) => Err(Broken { error, so_far: walk.finish_early().map(Box::new) }),
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

/// What the hasher was loaded with.
enum Loaded {
    /// As many events as are hashed together.
    Group,
    /// Events before one whose content is none.
    NoContent { offset: i64, problem: String },
    /// The last events of the batch.
    End,
}

/// The rows of a leaf index, read some at a time.
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

    /// Takes these rows if they are the next ones; otherwise all stay.
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

    /// The next row, which stays the next one.
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
    fn events_are_hashed_in_groups_that_memory_has_room_for() {
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
    fn rows_are_taken_together_where_all_are_the_next_ones() {
        let contents = vec![content(20); 4];
        let index: Vec<Row> = leaf_index(&contents).iter().map(LeafPreimage::to_bytes).collect();
        let (_folder, reader) = bundle_of(&[&contents]);
        let mut batch = reader.batches_from(0, Position::default(), None);
        batch.begin(0).expect("begun");
        let mut rows = Rows::default();
        let mut take = |of: Range<usize>| rows.take_if(&index[of], &mut batch).expect("read");
        // From the file, not the next ones, from what was read for them, and from the file again.
        assert_eq!([take(0..1), take(2..4), take(1..3), take(3..4)], [true, false, true, true]);
    }

    #[test]
    fn events_that_are_what_the_leaf_index_says_are_taken_together() {
        let contents = vec![content(20); 4];
        let preimages = leaf_index(&contents);
        let index: Vec<Row> = preimages.iter().map(LeafPreimage::to_bytes).collect();
        let leaves: Vec<Hash> = preimages.iter().map(LeafPreimage::leaf).collect();
        let (_folder, reader) = bundle_of(&[&contents]);
        let mut batch = reader.batches_from(0, Position::default(), None);
        batch.begin(0).expect("begun");
        let summary = summary(0, &contents);
        let nothing = Ranges::default();
        let (mut walk, mut rows) = (Walk::new(&summary, 0..4, &nothing, true), Rows::default());
        for of in [0..2, 2..4] {
            let drained = Leaves { index: &index[of.clone()], leaves: &leaves[of], content_bytes: 40 };
            assert!(walk.all_match(drained, &mut rows, &mut batch).expect("read"));
        }
        assert_eq!(walk.finish().outcome, Outcome::ByIndex);
    }

    #[test]
    fn a_batch_that_could_not_be_read_leaves_nothing_behind() {
        let (broken, sound) = ([b"nonsense".to_vec(), content(20)], [content(20)]);
        let (_folder, reader) = bundle_of(&[&broken, &sound]);
        let mut checker = BatchChecker::default();
        // Its leaf index is whole, its last event lacks a byte.
        let end = Position::default().after(2, 2, 28);
        let cut = Position { events: end.events - 1, ..end };
        let mut batch = reader.batches_from(0, Position::default(), Some(cut));
        let nothing = Ranges::default();
        checker.check(&mut batch, 0, &summary(0, &broken), 0..2, &nothing).expect_err("cut short");
        let mut batch = reader.batches_from(1, Position::default(), None);
        let checked = checker.check(&mut batch, 1, &summary(1, &sound), 0..1, &nothing).expect("read");
        assert!(checked.outcome == Outcome::ByIndex && checked.problems.is_empty(), "{checked:?}");
        assert_eq!(checked.events, 1);
    }
}
