//! One batch: its events against its leaf index, and both against the root that was sealed.

mod walk;

use std::ops::Range;

use bundle::BatchReader;
use evidence::statement::Summary;
use evidence::{LeafHasher, LeafPreimage};

use self::walk::{Walk, offset_of};

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
    rows: Rows,
}

/// What became of one batch.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Events that are there and are what was sealed.
    pub(crate) events: u64,
    /// The sum of their content lengths in bytes.
    pub(crate) bytes: u64,
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
    /// Sealed events that are not there, joined where nothing was sealed in between; with their number.
    pub(crate) absent: Vec<(Range<u64>, u64)>,
    /// Events that are not what was sealed at their offset, with a reason where the content is no content at all.
    pub(crate) altered: Vec<(i64, Option<String>)>,
    /// Events where none was sealed, or a second one at the same offset.
    pub(crate) extra: Vec<i64>,
    /// Events that are as they were sealed, but come after a later one.
    pub(crate) reordered: Vec<i64>,
    /// Problems that are not in these lists because there were too many.
    pub(crate) more: u64,
}

impl Problems {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { absent, altered, extra, reordered, more } = self;
        absent.is_empty() && altered.is_empty() && extra.is_empty() && reordered.is_empty() && *more == 0
    }

    /// Whether something is there that was not sealed so, as opposed to something being absent.
    pub(crate) fn contradict(&self) -> bool {
        !self.altered.is_empty() || !self.extra.is_empty() || !self.reordered.is_empty()
    }
}

impl BatchChecker {
    /// Checks the batch of entry `seq`, of which the bundle holds the events with offsets in `held`.
    ///
    /// # Errors
    /// When the bundle cannot be read on.
    pub(crate) fn check(
        &mut self,
        reader: &mut BatchReader,
        seq: u64,
        summary: &Summary,
        held: Range<u64>,
    ) -> Result<Checked, bundle::Error> {
        // A batch that could not be read to its end leaves events behind, perhaps of another stream.
        self.hasher.drain();
        let (row_count, _) = reader.begin(seq)?;
        let mut walk = Walk::new(summary, held, row_count > 0);
        self.rows.clear();
        loop {
            let loaded = self.load(reader)?;
            let drained = self.hasher.drain();
            walk.checked.bytes += drained.content_bytes;
            if !walk.all_match(drained.index, drained.leaves, &mut self.rows, reader)? {
                for (event, leaf) in drained.index.iter().zip(drained.leaves) {
                    walk.event(offset_of(event), Ok((event, *leaf)), &mut self.rows, reader)?;
                }
            }
            match loaded {
                Loaded::Group => {}
                Loaded::NoContent { offset, problem } => walk.event(offset, Err(problem), &mut self.rows, reader)?,
                Loaded::End => break,
            }
        }
        while let Some(row) = self.rows.next(reader)? {
            walk.without_event(&row);
        }
        reader.shrink();
        Ok(walk.finish())
    }

    /// Reads events into the hasher.
    fn load(&mut self, reader: &mut BatchReader) -> Result<Loaded, bundle::Error> {
        while self.hasher.len() < GROUP_EVENTS_MAX && self.hasher.content_bytes() < GROUP_BYTES_MAX {
            let Some(event) = reader.event()? else { return Ok(Loaded::End) };
            let bundle::Event { offset, timestamp, timestamp_type, content } = event;
            if let Err(problem) = self.hasher.push_content(offset, timestamp, timestamp_type, content) {
                return Ok(Loaded::NoContent { offset, problem: problem.to_string() });
            }
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
