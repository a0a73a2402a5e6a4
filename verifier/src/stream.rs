//! One stream of the bundle: what its statements cover, and its batches.

use std::collections::BTreeSet;
use std::ops::Range;

use bundle::StreamRange;
use evidence::statement::{Epoch, Gap, HeadsLine, Reason, Statement, Summary};
use evidence::{Entry, Hash, StreamId};

use crate::batch::{Checked, Outcome, Problems};
use crate::expect::Ranges;
use crate::finding::{Counts, Findings, Place, Verdict};

/// How many ranges and gaps of one stream are kept for the report.
const RANGES_MAX: usize = 1000;

/// Follows the statements of one stream in the order of their seqs.
///
/// [`StreamCheck::statement`] was applied to the chain's state before: it is signed by a granted key, and no offset is
/// covered twice. What is found out here is whether all offsets that the auditor expects are covered, and whether the
/// events are what was sealed.
pub(crate) struct StreamCheck {
    range: StreamRange,
    expected: Ranges,
    accepted: BTreeSet<Reason>,
    /// What the newest heads statement says of the stream, with the seq of that statement.
    head: Option<(u64, Option<HeadsLine>)>,
    /// The first offset that no statement accounts for yet.
    position: u64,
    pub(crate) result: StreamResult,
}

/// What was found out about one stream.
#[derive(Debug)]
pub(crate) struct StreamResult {
    pub(crate) stream: StreamId,
    pub(crate) findings: Findings,
    /// The offsets of which every sealed event is there and is what was sealed.
    pub(crate) intact: Ranges,
    /// Whether there are more such ranges than are kept.
    pub(crate) intact_truncated: bool,
    /// Gaps that were accepted, and how many more there are.
    pub(crate) gaps: Vec<AcceptedGap>,
    pub(crate) gaps_more: u64,
    /// Events that are there and are what was sealed, and the sum of their content lengths.
    pub(crate) events: u64,
    pub(crate) event_bytes: u64,
    pub(crate) batches: u64,
    /// The first offset of the stream, when its epoch statement was seen.
    pub(crate) start: Option<u64>,
    /// The newest statement that covers an expected offset, or any when none is expected.
    pub(crate) newest_statement: Option<u64>,
}

impl StreamResult {
    /// Nothing yet. `counts` are shared with the results of other streams.
    pub(crate) fn new(stream: StreamId, counts: &Counts) -> Self {
        Self {
            stream,
            findings: Findings::sharing(counts),
            intact: Ranges::default(),
            intact_truncated: false,
            gaps: Vec::new(),
            gaps_more: 0,
            events: 0,
            event_bytes: 0,
            batches: 0,
            start: None,
            newest_statement: None,
        }
    }
}

/// A signed gap that the auditor accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedGap {
    /// The offsets that are not sealed.
    pub offsets: Range<u64>,
    /// Why, as the signer says.
    pub reason: Reason,
    /// The entry.
    pub seq: u64,
}

impl StreamCheck {
    /// `head` is the newest heads statement's seq and its line about this stream, if it has one. `counts` are shared with
    /// the checks of the other streams.
    pub(crate) fn new(
        range: StreamRange,
        expected: Ranges,
        accepted: BTreeSet<Reason>,
        head: Option<(u64, Option<HeadsLine>)>,
        counts: &Counts,
    ) -> Self {
        let result = StreamResult::new(range.stream.clone(), counts);
        Self { range, expected, accepted, head, position: 0, result }
    }

    /// The offsets of a batch that the bundle holds; `None` where that is no event.
    pub(crate) fn held(&self, summary: &Summary) -> Option<Range<u64>> {
        let Range { start, end } = self.range.offsets;
        Some(summary.first.max(start)..summary.next.min(end)).filter(|held| !held.is_empty() && summary.events > 0)
    }

    /// Takes the stream's next statement. `distrusted` says why its signer is not to be believed, `batch` what became of
    /// the batch: `None` where there is none in the bundle, or the stream could not be read before.
    pub(crate) fn statement(
        &mut self,
        entry: &Entry,
        distrusted: Option<&str>,
        batch: Option<Result<Checked, bundle::Error>>,
    ) {
        let seq = entry.seq;
        match entry.statement.statement() {
            Statement::Summary(summary) => {
                self.compare_with_head(entry, summary.first..summary.next, summary.prev);
                self.cover(seq, summary.first..summary.next);
                self.summary(seq, summary, distrusted, batch);
            }
            Statement::Gap(gap) => {
                self.compare_with_head(entry, gap.first..gap.next, gap.prev);
                self.cover(seq, gap.first..gap.next);
                self.gap(seq, gap, distrusted);
            }
            Statement::Epoch(epoch) => {
                self.compare_with_head(entry, epoch.start..epoch.start, None);
                self.epoch(seq, epoch, distrusted);
            }
            _ => {}
        }
    }

    /// Takes it that there are no more statements. `end` says whether the stream's files end here too. Not `all_read`
    /// where reading stopped early.
    pub(crate) fn finish(mut self, end: Result<(), bundle::Error>, all_read: bool) -> StreamResult {
        if !all_read {
            return self.result;
        }
        self.uncovered(self.position..u64::MAX, None, "no statement in the bundle covers them");
        let start = self.result.start.unwrap_or(0);
        if !self.expected.is_empty() && self.expected.within(&(start..u64::MAX)).next().is_none() {
            let problem = format!("the stream begins at offset {start}: nothing that is expected lies in it");
            self.result.findings.add(Verdict::Incomplete, "nothing-expected", self.place(), problem);
        }
        if let Err(error) = end {
            self.result.findings.unreadable(&error);
        }
        self.result
    }

    /// Accounts for a statement's range, and for what lies between it and the one before.
    fn cover(&mut self, seq: u64, offsets: Range<u64>) {
        if offsets.start > self.position {
            let problem = "no statement in the bundle covers them";
            self.uncovered(self.position..offsets.start, None, problem);
        }
        self.position = self.position.max(offsets.end);
        if self.expected.is_empty() || self.expected.within(&offsets).next().is_some() {
            self.result.newest_statement = Some(seq);
        }
    }

    fn uncovered(&mut self, offsets: Range<u64>, seq: Option<u64>, problem: &str) {
        let start = self.result.start.unwrap_or(0);
        for missing in self.expected.within(&(offsets.start.max(start)..offsets.end)) {
            let place = Place { entry: seq, ..self.place().offsets(missing) };
            self.result.findings.add(Verdict::Incomplete, "uncovered", place, problem);
        }
    }

    /// The heads statement says where the stream stood: what is older must lead there, what is newer must go on there.
    fn compare_with_head(&mut self, entry: &Entry, offsets: Range<u64>, prev: Option<Hash>) {
        let Some((heads_seq, line)) = &self.head else { return };
        let older = entry.seq < *heads_seq;
        let says = match line {
            None if older => "leaves this stream out".to_owned(),
            Some(line) if older && offsets.end > line.next => format!("says that the stream ended at {}", line.next),
            Some(line) if older && offsets.end == line.next && entry.statement.hash() != line.statement => {
                "names another last statement".to_owned()
            }
            Some(_) if !older && matches!(entry.statement.statement(), Statement::Epoch(_)) => {
                "says that the stream had begun before".to_owned()
            }
            Some(line) if !older && offsets.start < line.next => {
                format!("says that the stream was sealed up to {} before", line.next)
            }
            Some(line) if !older && offsets.start == line.next && prev != Some(line.statement) => {
                "names another statement before this one".to_owned()
            }
            _ => return,
        };
        let place = self.place().offsets(offsets).at_entry(entry.seq);
        let problem = format!("the heads statement in entry {heads_seq} {says}");
        self.result.findings.add(Verdict::Tampered, "heads-contradict", place, problem);
    }

    fn epoch(&mut self, seq: u64, epoch: &Epoch, distrusted: Option<&str>) {
        if let Some(reason) = distrusted {
            let place = self.place().at_entry(seq);
            let problem = format!("where the epoch begins is said by a key that is not to be trusted: {reason}");
            if !self.expected.is_empty() {
                self.result.findings.add(Verdict::Incomplete, "distrusted-key", place, problem);
            }
            return;
        }
        self.result.start = Some(epoch.start);
        self.result.newest_statement.get_or_insert(seq);
    }

    fn gap(&mut self, seq: u64, gap: &Gap, distrusted: Option<&str>) {
        let offsets = gap.first..gap.next;
        if let Some(reason) = distrusted {
            self.distrust(seq, &offsets, reason);
        } else if self.accepted.contains(&gap.reason) {
            if self.result.gaps.len() < RANGES_MAX {
                self.result.gaps.push(AcceptedGap { offsets, reason: gap.reason, seq });
            } else {
                self.result.gaps_more += 1;
            }
        } else {
            let problem = format!(
                "a signed gap, reason {}: never sealed (watermarks {} to {}); --accept-gap {} accepts it",
                gap.reason, gap.low, gap.high, gap.reason
            );
            for missing in self.expected.within(&offsets) {
                let place = self.place().offsets(missing).at_entry(seq);
                self.result.findings.add(Verdict::Incomplete, "gap", place, problem.clone());
            }
        }
    }

    fn distrust(&mut self, seq: u64, offsets: &Range<u64>, reason: &str) {
        for missing in self.expected.within(offsets) {
            let place = self.place().offsets(missing).at_entry(seq);
            let problem = format!("sealed by a key that is not to be trusted: {reason}");
            self.result.findings.add(Verdict::Incomplete, "distrusted-key", place, problem);
        }
    }

    fn summary(
        &mut self,
        seq: u64,
        summary: &Summary,
        distrusted: Option<&str>,
        batch: Option<Result<Checked, bundle::Error>>,
    ) {
        let offsets = summary.first..summary.next;
        if let Some(reason) = distrusted {
            self.distrust(seq, &offsets, reason);
        }
        if summary.events == 0 {
            // Nothing but transaction markers and the like: the statement itself is the proof.
            if distrusted.is_none() {
                self.keep(offsets);
            }
            return;
        }
        let held = offsets.start.max(self.range.offsets.start)..offsets.end.min(self.range.offsets.end);
        for outside in [offsets.start..offsets.end.min(held.start), offsets.start.max(held.end)..offsets.end] {
            let problem = "sealed, but the bundle does not hold these events";
            self.uncovered(outside, Some(seq), problem);
        }
        match batch {
            Some(Ok(checked)) => self.batch(seq, summary, &held, checked, distrusted.is_none()),
            Some(Err(error)) => self.result.findings.unreadable(&error),
            None => {}
        }
    }

    /// Draws the conclusions from a batch.
    fn batch(&mut self, seq: u64, summary: &Summary, held: &Range<u64>, checked: Checked, trusted: bool) {
        let Checked { events, bytes, outcome, problems, false_summary } = checked;
        let place = self.place().offsets(summary.first..summary.next).at_entry(seq);
        let findings = &mut self.result.findings;
        if let Some(problem) = false_summary {
            findings.add(Verdict::Tampered, "false-summary", place.clone(), problem);
        }
        let is_sealed = match outcome {
            Outcome::ByIndex | Outcome::ByEvents => true,
            Outcome::IndexAltered(fault) => {
                let problem = format!("the leaf index was changed ({fault}); the events are what was sealed");
                findings.add(Verdict::Tampered, "altered-leaf-index", place, problem);
                self.keep_batch(held, events.max(summary.events), bytes, &Problems::default(), trusted);
                return;
            }
            Outcome::Undecided => {
                let problem = format!(
                    "{} of the {} sealed events are there, and no leaf index says which; none can be verified",
                    events, summary.events
                );
                if self.expected.within(held).next().is_some() {
                    findings.add(Verdict::Incomplete, "absent-events", place, problem);
                }
                return;
            }
            Outcome::Altered => {
                let problem = match problems.is_empty() {
                    true => "the events are not what was sealed: their root is another",
                    false => "neither the events nor the leaf index lead to the sealed root; they differ as follows",
                };
                findings.add(Verdict::Tampered, "altered-batch", place, problem);
                false
            }
        };
        self.report(seq, &problems, is_sealed);
        if is_sealed {
            self.keep_batch(held, events, bytes, &problems, trusted);
        }
    }

    /// Reports the events that differ from the leaf index. Absent ones matter where they are expected, and only when
    /// the leaf index is the sealed one.
    fn report(&mut self, seq: u64, problems: &Problems, index_is_sealed: bool) {
        let Problems { absent, altered, extra, reordered, more } = problems;
        let place = |offset: i64| {
            let place = self.place().at_entry(seq);
            match u64::try_from(offset) {
                Ok(offset) => place.offsets(offset..offset.saturating_add(1)),
                Err(_) => place,
            }
        };
        let mut found = Findings::default();
        for (offset, problem) in altered {
            let problem = problem.as_ref().map_or("the event is not what was sealed".to_owned(), |problem| {
                format!("the event is not what was sealed, and no event at all: {problem}")
            });
            found.add(Verdict::Tampered, "altered-event", place(*offset), problem);
        }
        for offset in reordered {
            let problem = "the event is what was sealed, but comes after one with a higher offset";
            found.add(Verdict::Tampered, "reordered-event", place(*offset), problem);
        }
        for offset in extra {
            let problem = format!("an event at offset {offset} where none was sealed, or a second one");
            found.add(Verdict::Tampered, "added-event", place(*offset), problem);
        }
        for (offsets, count) in absent {
            let verdict = if index_is_sealed { Verdict::Incomplete } else { Verdict::Tampered };
            let expected = self.expected.within(offsets).next().is_some();
            if expected || !index_is_sealed {
                let problem = format!("{count} sealed event{} not there", if *count == 1 { " is" } else { "s are" });
                found.add(verdict, "absent-event", self.place().offsets(offsets.clone()).at_entry(seq), problem);
            }
        }
        if *more > 0 {
            let verdict = if problems.contradict() { Verdict::Tampered } else { Verdict::Incomplete };
            let problem = format!("{more} more events of the batch differ");
            found.add(verdict, "more-events", self.place().at_entry(seq), problem);
        }
        self.result.findings.extend(found);
    }

    fn keep_batch(&mut self, held: &Range<u64>, events: u64, bytes: u64, problems: &Problems, trusted: bool) {
        self.result.batches += 1;
        self.result.events += events;
        self.result.event_bytes += bytes;
        // With problems that are not listed it is not known what lies between them.
        if !trusted || problems.more > 0 {
            return;
        }
        let one = |offset: &i64| u64::try_from(*offset).ok().map(|offset| offset..offset + 1);
        let mut holes: Vec<Range<u64>> = problems.absent.iter().map(|(offsets, _)| offsets.clone()).collect();
        holes.extend(problems.altered.iter().filter_map(|(offset, _)| one(offset)));
        holes.extend(problems.extra.iter().chain(&problems.reordered).filter_map(one));
        holes.sort_by_key(|hole| hole.start);
        let mut from = held.start;
        for hole in holes.into_iter().filter(|hole| held.start <= hole.start && hole.end <= held.end) {
            self.keep(from..hole.start.max(from));
            from = from.max(hole.end);
        }
        self.keep(from..held.end);
    }

    fn keep(&mut self, offsets: Range<u64>) {
        let intact = &mut self.result.intact;
        // Statements ascend, so a range either continues the last one or stands alone.
        if intact.len() < RANGES_MAX || intact.end() == offsets.start {
            intact.add(offsets);
        } else {
            self.result.intact_truncated = true;
        }
    }

    fn place(&self) -> Place {
        Place::stream(&self.range.stream)
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;
    use evidence::statement::LedgerId;

    use super::*;

    fn check() -> StreamCheck {
        let stream = Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(0);
        let range = StreamRange { stream, offsets: 0..u64::MAX, events_bytes: 0, leaves_bytes: 0 };
        StreamCheck::new(range, Ranges::default(), Reason::ALL.into(), None, &Counts::default())
    }

    #[test]
    fn gaps_beyond_the_limit_are_counted() {
        let mut check = check();
        for i in 0..RANGES_MAX as u64 + 2 {
            let gap = Gap {
                ledger: LedgerId { origin: "example.com/audit".into(), genesis: Hash([0; 32]) },
                stream: check.range.stream.clone(),
                topic_id: None,
                first: i,
                next: i + 1,
                reason: Reason::Start,
                low: i,
                high: i,
                prev: None,
            };
            check.gap(i, &gap, None);
        }
        let StreamResult { gaps, gaps_more, .. } = check.result;
        assert_eq!((gaps.len(), gaps_more, gaps[RANGES_MAX - 1].seq), (RANGES_MAX, 2, RANGES_MAX as u64 - 1));
    }

    #[test]
    fn intact_ranges_beyond_the_limit_are_told_of_and_the_last_still_grows() {
        let mut check = check();
        (0..RANGES_MAX as u64).for_each(|i| check.keep(2 * i..2 * i + 1));
        let end = check.result.intact.end();
        check.keep(end..end + 5);
        let kept = |check: &StreamCheck| {
            let StreamResult { intact, intact_truncated, .. } = &check.result;
            (intact.len(), intact.end(), *intact_truncated)
        };
        assert_eq!(kept(&check), (RANGES_MAX, end + 5, false));
        check.keep(end + 6..end + 7);
        assert_eq!(kept(&check), (RANGES_MAX, end + 5, true));
    }
}
