//! One batch: its events against its leaf index, and both against the root that was sealed.

use std::collections::VecDeque;
use std::ops::Range;

use bundle::BatchReader;
use evidence::batch::RootBuilder;
use evidence::statement::{LastEvent, Summary};
use evidence::{Hash, LeafHasher, LeafPreimage};

/// How many events, and how many bytes of them, are hashed together.
const GROUP_EVENTS_MAX: usize = 1024;
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// How many leaf preimages are read at once.
const ROWS: usize = 1024;

/// How many problems of one kind are kept of one batch.
const PROBLEMS_MAX: usize = 1000;

/// How far back an event that is out of order is still recognised.
const REORDER_WINDOW: usize = 4096;

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

fn add<T>(list: &mut Vec<T>, more: &mut u64, item: T) {
    if list.len() < PROBLEMS_MAX {
        list.push(item);
    } else {
        *more += 1;
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
            for (event, leaf) in drained.index.iter().zip(drained.leaves) {
                walk.event(offset_of(event), Ok((event, *leaf)), &mut self.rows, reader)?;
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

/// A walk along the events and the leaf index of one batch, in which both are folded to a root.
struct Walk<'a> {
    summary: &'a Summary,
    held: Range<u64>,
    has_index: bool,
    checked: Checked,
    events_root: RootBuilder,
    index_root: RootBuilder,
    /// The last event in order so far.
    last_event: Option<i64>,
    /// The number of rows so far.
    row_count: u64,
    /// The newest rows that were found without an event, each with its number.
    without_event: VecDeque<(u64, Row)>,
    /// The number of the row that `checked.problems.absent` ends with.
    last_absent: Option<u64>,
    /// The last row so far, or the last event where there is no leaf index, and its leaf.
    last_leaf: Option<(i64, Hash)>,
    /// The smallest and largest timestamp among these.
    time: Option<(i64, i64)>,
    /// What is wrong with the leaf index in itself.
    index_fault: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(summary: &'a Summary, held: Range<u64>, has_index: bool) -> Self {
        Self {
            summary,
            held,
            has_index,
            checked: Checked::default(),
            events_root: RootBuilder::new(),
            index_root: RootBuilder::new(),
            last_event: None,
            row_count: 0,
            without_event: VecDeque::new(),
            last_absent: None,
            last_leaf: None,
            time: None,
            index_fault: None,
        }
    }

    /// Takes the next event: its leaf preimage and leaf, or why its content is none.
    fn event(
        &mut self,
        offset: i64,
        event: Result<(&Row, Hash), String>,
        rows: &mut Rows,
        reader: &mut BatchReader,
    ) -> Result<(), bundle::Error> {
        // A hash that no event has stands for one that is none.
        self.events_root.push(event.as_ref().map_or(Hash([0; 32]), |(_, leaf)| *leaf));
        if !self.is_in_batch(offset) {
            self.extra(offset);
            return Ok(());
        }
        if self.last_event.is_some_and(|last| offset <= last) {
            self.out_of_order(offset, event);
            return Ok(());
        }
        self.last_event = Some(offset);
        if !self.has_index {
            match event {
                Ok((event, leaf)) => self.matched(event, leaf),
                Err(problem) => self.altered(offset, Some(problem)),
            }
            return Ok(());
        }
        while let Some(&row) = rows.peek(reader)? {
            if offset_of(&row) > offset {
                break;
            }
            rows.at += 1;
            if offset_of(&row) == offset {
                self.compare(&row, event);
                return Ok(());
            }
            self.without_event(&row);
        }
        self.extra(offset);
        Ok(())
    }

    /// An event and the row of its offset.
    fn compare(&mut self, row: &Row, event: Result<(&Row, Hash), String>) {
        match event {
            Ok((event, leaf)) if event == row => {
                self.row(row, leaf);
                self.matched(event, leaf);
            }
            event => {
                self.row_alone(row);
                self.altered(offset_of(row), event.err());
            }
        }
    }

    /// A row of which there is no event: absent, unless the bundle does not mean to hold it.
    fn without_event(&mut self, row: &Row) {
        self.row_alone(row);
        if !u64::try_from(offset_of(row)).is_ok_and(|offset| self.held.contains(&offset)) {
            return;
        }
        if self.without_event.len() == REORDER_WINDOW
            && let Some(oldest) = self.without_event.pop_front()
        {
            self.absent(oldest);
        }
        self.without_event.push_back((self.row_count, *row));
    }

    /// A row whose event will not come any more.
    fn absent(&mut self, (number, row): (u64, Row)) {
        let offset = offset_of(&row) as u64;
        let Problems { absent, more, .. } = &mut self.checked.problems;
        match absent.last_mut() {
            Some((offsets, count)) if self.last_absent == Some(number - 1) => {
                offsets.end = offset + 1;
                *count += 1;
            }
            _ => add(absent, more, (offset..offset + 1, 1)),
        }
        self.last_absent = Some(number);
    }

    /// An event that does not come after the one before it.
    fn out_of_order(&mut self, offset: i64, event: Result<(&Row, Hash), String>) {
        let passed = self.without_event.binary_search_by_key(&offset, |(_, row)| offset_of(row)).ok();
        match passed.and_then(|at| self.without_event.remove(at)) {
            Some((_, row)) if event.as_ref().is_ok_and(|(event, _)| **event == row) => {
                let Problems { reordered, more, .. } = &mut self.checked.problems;
                add(reordered, more, offset);
            }
            Some(_) => self.altered(offset, event.err()),
            None => self.extra(offset),
        }
    }

    fn altered(&mut self, offset: i64, problem: Option<String>) {
        let Problems { altered, more, .. } = &mut self.checked.problems;
        add(altered, more, (offset, problem));
    }

    fn extra(&mut self, offset: i64) {
        let Problems { extra, more, .. } = &mut self.checked.problems;
        add(extra, more, offset);
    }

    /// An event that is what its row says, or one where there is no leaf index.
    fn matched(&mut self, event: &Row, leaf: Hash) {
        self.checked.events += 1;
        if !self.has_index {
            self.note(event, leaf);
        }
    }

    /// A row whose leaf is still to be computed.
    fn row_alone(&mut self, row: &Row) {
        match LeafPreimage::from_bytes(row) {
            Ok(preimage) => self.row(row, preimage.leaf()),
            Err(problem) => {
                self.fault(row, &problem.to_string());
                self.row(row, Hash([0; 32]));
            }
        }
    }

    fn row(&mut self, row: &Row, leaf: Hash) {
        let offset = offset_of(row);
        if !self.is_in_batch(offset) {
            self.fault(row, "it lies outside of the batch");
        }
        if self.last_leaf.is_some_and(|(last, _)| offset <= last) {
            self.fault(row, "it does not come after the one before it");
        }
        self.row_count += 1;
        self.index_root.push(leaf);
        self.note(row, leaf);
    }

    fn fault(&mut self, row: &Row, problem: &str) {
        let fault = || format!("leaf preimage of offset {}: {problem}", offset_of(row));
        self.index_fault.get_or_insert_with(fault);
    }

    /// Remembers what the summary makes a statement about.
    fn note(&mut self, row: &Row, leaf: Hash) {
        let time = i64::from_be_bytes(row[8..16].try_into().expect("eight bytes"));
        self.last_leaf = Some((offset_of(row), leaf));
        self.time = Some(self.time.map_or((time, time), |(min, max)| (min.min(time), max.max(time))));
    }

    fn is_in_batch(&self, offset: i64) -> bool {
        u64::try_from(offset).is_ok_and(|offset| (self.summary.first..self.summary.next).contains(&offset))
    }

    fn finish(mut self) -> Checked {
        while let Some(row) = self.without_event.pop_front() {
            self.absent(row);
        }
        let Summary { root, events, .. } = *self.summary;
        let has_root = |builder: &RootBuilder| builder.len() == events && builder.root() == root;
        let events_fit = has_root(&self.events_root);
        self.checked.outcome = if self.has_index && self.index_fault.is_none() && has_root(&self.index_root) {
            Outcome::ByIndex
        } else if events_fit && self.has_index {
            let fault = self.index_fault.take();
            Outcome::IndexAltered(fault.unwrap_or_else(|| "it does not lead to the sealed root".to_owned()))
        } else if events_fit {
            Outcome::ByEvents
        } else if !self.has_index && !self.checked.problems.contradict() && self.events_root.len() < events {
            Outcome::Undecided
        } else {
            Outcome::Altered
        };
        self.checked.false_summary = match self.checked.outcome {
            Outcome::ByIndex | Outcome::ByEvents => self.false_summary(events_fit),
            _ => None,
        };
        self.checked
    }

    /// What the summary says beside the root, compared with what the root proves; its bytes only when all events are
    /// there.
    fn false_summary(&self, all_events: bool) -> Option<String> {
        let Summary { last, time, bytes, .. } = self.summary;
        if last.is_none_or(|LastEvent { offset, leaf }| Some((offset as i64, leaf)) != self.last_leaf) {
            return Some("`last` is not the last event".into());
        }
        if *time != self.time {
            return Some("`time` is not the span of the events' timestamps".into());
        }
        if all_events && *bytes != self.checked.bytes {
            return Some(format!("`bytes` is {bytes}, the events have {}", self.checked.bytes));
        }
        None
    }
}

fn offset_of(row: &Row) -> i64 {
    i64::from_be_bytes(row[..8].try_into().expect("eight bytes"))
}
