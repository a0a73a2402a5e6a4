//! The walk along one batch.

use std::collections::VecDeque;
use std::ops::Range;

use bundle::BatchReader;
use evidence::batch::RootBuilder;
use evidence::statement::{LastEvent, Summary};
use evidence::{Hash, LeafPreimage, Leaves};

use super::{Checked, Problems, RootMatch, Row, Rows};
use crate::expect::Ranges;

/// The number of passed rows among which a late event is still recognised.
const REORDER_WINDOW: usize = 4096;

/// A walk along the events and the leaf index of one batch that computes the root of each.
pub(super) struct BatchWalk<'a> {
    summary: &'a Summary,
    held: Range<u64>,
    expected: &'a Ranges,
    has_index: bool,
    checked: Checked,
    /// The sum of the content lengths of all events so far, right or wrong.
    all_bytes: u64,
    /// The longest content so far.
    pub(super) longest: u64,
    /// The number of events that came again, or may have. Some of the unchanged events may be at their offsets.
    doubled: u64,
    events_root: RootBuilder,
    /// `None` while the rows have the same leaves as the events.
    index_root: Option<RootBuilder>,
    /// The last event in order so far.
    last_event: Option<i64>,
    /// The number of rows so far.
    row_count: u64,
    /// The newest rows without an event, each with its number.
    without_event: VecDeque<(u64, Row)>,
    /// The number of the last absent row, and whether it is expected.
    last_absent: Option<(u64, bool)>,
    /// Offset and leaf of the last row; without a leaf index, those of the last event.
    last_leaf: Option<(i64, Hash)>,
    /// The smallest and largest timestamp so far.
    time: Option<(i64, i64)>,
    /// Why the leaf index is invalid in itself.
    index_problem: Option<String>,
}

impl<'a> BatchWalk<'a> {
    pub(super) fn new(summary: &'a Summary, held: Range<u64>, expected: &'a Ranges, has_index: bool) -> Self {
        Self {
            summary,
            held,
            expected,
            has_index,
            checked: Checked::default(),
            all_bytes: 0,
            longest: 0,
            doubled: 0,
            events_root: RootBuilder::new(),
            index_root: None,
            last_event: None,
            row_count: 0,
            without_event: VecDeque::new(),
            last_absent: None,
            last_leaf: None,
            time: None,
            index_problem: None,
        }
    }

    /// Takes the next events all at once if each is in the leaf index, as in an honest bundle; otherwise takes none.
    pub(super) fn all_match(
        &mut self,
        drained: Leaves<'_>,
        rows: &mut Rows,
        reader: &mut BatchReader,
    ) -> Result<bool, bundle::Error> {
        let Leaves { index: events, leaves, content_bytes } = drained;
        self.all_bytes += content_bytes;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(true) };
        let in_order = self.last_event.is_none_or(|before| before < offset_of(first))
            && events.is_sorted_by(|a, b| offset_of(a) < offset_of(b));
        let all_in_batch = self.is_in_batch(offset_of(first)) && self.is_in_batch(offset_of(last));
        let can_match = self.has_index && in_order && all_in_batch;
        let all_match = can_match && rows.take_if(events, reader)?;
        if !all_match {
            return Ok(false);
        }
        self.last_event = Some(offset_of(last));
        self.row_count += events.len() as u64;
        self.checked.events += events.len() as u64;
        self.checked.bytes += content_bytes;
        self.events_root.extend(leaves);
        if let Some(index_root) = &mut self.index_root {
            index_root.extend(leaves);
        }
        self.last_leaf = leaves.last().map(|leaf| (offset_of(last), *leaf));
        self.time = events.iter().map(time_of).fold(self.time, widen);
        Ok(true)
    }

    /// Takes the next event: its leaf preimage, leaf and content length, or why its content does not decode.
    pub(super) fn event(
        &mut self,
        offset: i64,
        event: Result<(&Row, Hash, u32), String>,
        rows: &mut Rows,
        reader: &mut BatchReader,
    ) -> Result<(), bundle::Error> {
        // An event that does not decode gets a hash that no event has.
        let leaf = event.as_ref().map_or(Hash([0; 32]), |(_, leaf, _)| *leaf);
        if !self.is_in_batch(offset) {
            self.push_event(leaf);
            self.extra(offset);
            return Ok(());
        }
        if self.last_event.is_some_and(|last| offset <= last) {
            self.push_event(leaf);
            self.out_of_order(offset, event);
            return Ok(());
        }
        self.last_event = Some(offset);
        if !self.has_index {
            self.push_event(leaf);
            match event {
                Ok((event, leaf, len)) => self.matched(event, leaf, len),
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
                self.compare(&row, event, leaf);
                return Ok(());
            }
            self.without_event(&row);
        }
        self.push_event(leaf);
        self.extra(offset);
        Ok(())
    }

    /// Compares an event with the row of its offset.
    fn compare(&mut self, row: &Row, event: Result<(&Row, Hash, u32), String>, leaf: Hash) {
        match event {
            Ok((event, _, len)) if event == row => {
                self.events_root.push(leaf);
                if let Some(index_root) = &mut self.index_root {
                    index_root.push(leaf);
                }
                self.row(row, leaf);
                self.matched(event, leaf, len);
            }
            event => {
                self.push_event(leaf);
                self.row_alone(row);
                self.altered(offset_of(row), event.err());
            }
        }
    }

    /// Takes a row without an event: the event is absent, if the bundle should hold it.
    pub(super) fn without_event(&mut self, row: &Row) {
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

    /// Adds the row of an absent event to the problems.
    fn absent(&mut self, (number, row): (u64, Row)) {
        let offset = offset_of(&row) as u64;
        let is_expected = self.expected.contains(offset);
        let Problems { absent, absent_unexpected, .. } = &mut self.checked.problems;
        let list = if is_expected { absent } else { absent_unexpected };
        let continues = self.last_absent == Some((number - 1, is_expected)) && list.more == 0;
        match list.first.last_mut() {
            Some((offsets, count)) if continues => {
                offsets.end = offset + 1;
                *count += 1;
            }
            _ => list.add((offset..offset + 1, 1)),
        }
        self.last_absent = Some((number, is_expected));
    }

    /// Takes an event that does not come after the one before it.
    fn out_of_order(&mut self, offset: i64, event: Result<(&Row, Hash, u32), String>) {
        let passed = self.without_event.binary_search_by_key(&offset, |(_, row)| offset_of(row)).ok();
        match passed.and_then(|at| self.without_event.remove(at)) {
            Some((_, row)) if event.as_ref().is_ok_and(|(event, ..)| **event == row) => {
                self.checked.problems.reordered.add(offset);
            }
            Some(_) => self.altered(offset, event.err()),
            None => {
                self.doubled += 1;
                self.extra(offset);
            }
        }
    }

    fn altered(&mut self, offset: i64, problem: Option<String>) {
        self.checked.problems.altered.add((offset, problem));
    }

    fn extra(&mut self, offset: i64) {
        self.checked.problems.extra.add(offset);
    }

    /// Counts an event that matches its row, or one without a leaf index.
    fn matched(&mut self, event: &Row, leaf: Hash, len: u32) {
        self.checked.events += 1;
        self.checked.bytes += u64::from(len);
        if !self.has_index {
            self.note(event, leaf);
        }
    }

    /// Adds an event that is not the next row to the root of the events.
    fn push_event(&mut self, leaf: Hash) {
        self.index_root.get_or_insert_with(|| self.events_root.clone());
        self.events_root.push(leaf);
    }

    /// Adds a row that is not the next event to the root of the leaf index.
    fn row_alone(&mut self, row: &Row) {
        let leaf = match LeafPreimage::from_bytes(row) {
            Ok(preimage) => preimage.leaf(),
            Err(problem) => {
                self.invalid(row, &problem.to_string());
                Hash([0; 32])
            }
        };
        self.index_root.get_or_insert_with(|| self.events_root.clone()).push(leaf);
        self.row(row, leaf);
    }

    fn row(&mut self, row: &Row, leaf: Hash) {
        let offset = offset_of(row);
        if !self.is_in_batch(offset) {
            self.invalid(row, "it lies outside the batch");
        }
        if self.last_leaf.is_some_and(|(last, _)| offset <= last) {
            self.invalid(row, "it does not come after the one before it");
        }
        self.row_count += 1;
        self.note(row, leaf);
    }

    fn invalid(&mut self, row: &Row, problem: &str) {
        let problem = || format!("leaf preimage of offset {}: {problem}", offset_of(row));
        self.index_problem.get_or_insert_with(problem);
    }

    /// Remembers the facts that the summary states.
    fn note(&mut self, row: &Row, leaf: Hash) {
        self.last_leaf = Some((offset_of(row), leaf));
        self.time = widen(self.time, time_of(row));
    }

    fn is_in_batch(&self, offset: i64) -> bool {
        u64::try_from(offset).is_ok_and(|offset| (self.summary.first..self.summary.next).contains(&offset))
    }

    /// Finishes a batch whose events could not be read to the last one. The events before are compared with a leaf index
    /// that has the sealed root; it is unknown which others are absent.
    pub(super) fn finish_early(self) -> Option<Checked> {
        let mut checked = self.finish();
        let Problems { absent, absent_unexpected, .. } = &mut checked.problems;
        (*absent, *absent_unexpected) = Default::default();
        (checked.root_match == RootMatch::ByIndex).then_some(checked)
    }

    pub(super) fn finish(mut self) -> Checked {
        while let Some(row) = self.without_event.pop_front() {
            self.absent(row);
        }
        let Summary { root, events, .. } = *self.summary;
        let has_root = |builder: &RootBuilder| builder.len() == events && builder.root() == root;
        let events_fit = has_root(&self.events_root);
        let index_fits = self.index_root.as_ref().map_or(events_fit, has_root);
        self.checked.root_match = if self.has_index && self.index_problem.is_none() && index_fits {
            RootMatch::ByIndex
        } else if events_fit && self.has_index {
            let reason = self.index_problem.take();
            RootMatch::IndexAltered(reason.unwrap_or_else(|| "it does not have the sealed root".to_owned()))
        } else if events_fit {
            RootMatch::ByEvents
        } else if !self.has_index && !self.checked.problems.contradict() && self.events_root.len() < events {
            RootMatch::TooFewEvents
        } else {
            RootMatch::Neither
        };
        self.checked.false_summary = match self.checked.root_match {
            RootMatch::ByIndex | RootMatch::ByEvents => self.false_summary(events_fit),
            _ => None,
        };
        self.count(events_fit);
        self.checked
    }

    /// Corrects the counts. An event that came again may have the offset of an unchanged one.
    fn count(&mut self, events_fit: bool) {
        let Checked { events, bytes, at_least, root_match, .. } = &mut self.checked;
        if events_fit && matches!(root_match, RootMatch::IndexAltered(_)) {
            (*events, *bytes) = (self.summary.events, self.all_bytes);
        } else if self.doubled > 0 {
            *at_least = true;
            *events = events.saturating_sub(self.doubled);
            *bytes = bytes.saturating_sub(self.doubled.saturating_mul(self.longest));
        }
    }

    /// Compares the other statements of the summary with what the root proves; its bytes only if all events are there.
    fn false_summary(&self, all_events: bool) -> Option<String> {
        let Summary { last, time, bytes, .. } = self.summary;
        if last.is_none_or(|LastEvent { offset, leaf }| Some((offset as i64, leaf)) != self.last_leaf) {
            return Some("`last` is not the last event".into());
        }
        if *time != self.time {
            return Some("`time` is not the span of the events' timestamps".into());
        }
        if all_events && *bytes != self.all_bytes {
            return Some(format!("`bytes` is {bytes}, but the events have {}", self.all_bytes));
        }
        None
    }
}

pub(super) fn offset_of(row: &Row) -> i64 {
    i64::from_be_bytes(row[..8].try_into().expect("eight bytes"))
}

fn time_of(row: &Row) -> i64 {
    i64::from_be_bytes(row[8..16].try_into().expect("eight bytes"))
}

/// The span of these timestamps and one more.
fn widen(span: Option<(i64, i64)>, time: i64) -> Option<(i64, i64)> {
    Some(span.map_or((time, time), |(min, max)| (min.min(time), max.max(time))))
}
