//! One stream of the bundle: the offsets that its statements cover, and its batches.

mod result;

use std::collections::BTreeSet;
use std::ops::Range;

use bundle::StreamRange;
use evidence::statement::{Epoch, Gap, Reason, Statement, Summary};
use evidence::{Entry, Hash};

pub use self::result::AcceptedGap;
pub(crate) use self::result::StreamResult;
use crate::batch::{BatchResult, Checked, Problems, RootMatch, Unfinished};
use crate::code::Code;
use crate::finding::{Counts, Place};
use crate::heads::{Planned, StreamEnd};
use crate::verdict::Verdict;

/// The most ranges and gaps of one stream that are kept for the report.
const RANGES_MAX: usize = 1000;

/// Checks the statements of one stream in the order of their seqs.
///
/// [`StreamCheck::statement`] takes statements that the chain's state accepted: a granted key signed them, and they cover no
/// offset twice. The check finds out whether they cover all expected offsets, and whether the events are those sealed.
pub(crate) struct StreamCheck<'a> {
    range: &'a StreamRange,
    /// Whether the auditor names offsets of this epoch.
    is_named: bool,
    accepted: &'a BTreeSet<Reason>,
    /// The seq of the newest heads statement, with its line of the stream.
    heads: Option<(u64, Option<StreamEnd>)>,
    /// The first offset after the ranges of the statements so far.
    position: u64,
    /// Shared with the checks of the other streams.
    counts: Counts,
    pub(crate) result: StreamResult,
}

/// How much an entry's statement counts.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The chain accepted it.
    Applied,
    /// The chain accepted it, but its signer is distrusted for this reason.
    Distrusted(String),
    /// It is in the log, after an entry that is absent or cannot be read. It is unknown whether the chain accepts it.
    Unapplied,
}

impl<'a> StreamCheck<'a> {
    /// Starts a check, and takes the expectations out of `planned`. `heads` is the seq of the newest heads statement, if the
    /// bundle has its lines. `counts` are shared with the checks of the other streams.
    pub(crate) fn new(
        range: &'a StreamRange,
        planned: &mut Planned,
        accepted: &'a BTreeSet<Reason>,
        heads: Option<u64>,
        counts: &Counts,
    ) -> Self {
        let (expected, is_named) = (std::mem::take(&mut planned.expected), planned.is_named);
        let heads = heads.map(|seq| (seq, planned.end));
        let result = StreamResult { expected, ..StreamResult::new(range.stream.clone(), counts) };
        Self { range, is_named, accepted, heads, position: 0, counts: counts.clone(), result }
    }

    /// The offsets of a batch that the bundle holds; `None` if it holds no event of it.
    pub(crate) fn held(&self, summary: &Summary) -> Option<Range<u64>> {
        let Range { start, end } = self.range.offsets;
        Some(summary.first.max(start)..summary.next.min(end)).filter(|held| !held.is_empty() && summary.events > 0)
    }

    /// Takes the stream's next statement. `batch` is the result of checking its batch: `None` if the bundle holds none, or
    /// if an earlier batch of the stream could not be read.
    pub(crate) fn statement(&mut self, entry: &Entry, standing: &Standing, batch: Option<BatchResult>) {
        let seq = entry.seq;
        let distrusted = match standing {
            Standing::Applied => None,
            Standing::Distrusted(reason) => Some(reason.as_str()),
            Standing::Unapplied => return self.unapplied(entry, batch),
        };
        match entry.statement.statement() {
            Statement::Summary(summary) => {
                self.compare_with_heads(entry, summary.first..summary.next, summary.prev);
                self.cover(seq, summary.first..summary.next);
                self.summary(seq, summary, distrusted, batch);
            }
            Statement::Gap(gap) => {
                self.compare_with_heads(entry, gap.first..gap.next, gap.prev);
                self.cover(seq, gap.first..gap.next);
                self.gap(seq, gap, distrusted);
            }
            Statement::Epoch(epoch) => {
                self.compare_with_heads(entry, epoch.start..epoch.start, None);
                self.epoch(seq, epoch, distrusted);
            }
            Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {}
        }
    }

    /// Compares the events with a statement that was not applied. The log has it, so events that differ were changed.
    fn unapplied(&mut self, entry: &Entry, batch: Option<BatchResult>) {
        let Statement::Summary(summary) = entry.statement.statement() else { return };
        match batch {
            Some(Ok(checked)) => self.contradictions(entry.seq, summary, &checked),
            Some(Err(Unfinished { so_far: Some(checked), .. })) => self.contradictions(entry.seq, summary, &checked),
            _ => {}
        }
    }

    /// Returns the result, after the last statement. `end` says whether the stream's files end here too. `all_read` is false
    /// if reading ended early.
    pub(crate) fn finish(mut self, end: Result<(), bundle::Error>, all_read: bool) -> StreamResult {
        if !all_read {
            return self.result;
        }
        self.uncovered(self.position..u64::MAX, None, "no statement in the bundle covers them");
        if let Some(start) = self.result.start
            && self.is_named
            && self.result.expected.is_empty()
        {
            let problem = format!("the stream begins at offset {start}, after all expected offsets");
            self.result.findings.add(Code::NothingExpected, self.place(), problem);
        }
        if let Err(error) = end {
            self.result.findings.unreadable(&error);
        }
        self.result
    }

    /// Takes note of a statement's range, and reports the hole before it.
    fn cover(&mut self, seq: u64, offsets: Range<u64>) {
        if offsets.start > self.position {
            let problem = "no statement in the bundle covers them";
            self.uncovered(self.position..offsets.start, None, problem);
        }
        self.position = self.position.max(offsets.end);
        if self.result.expected.is_empty() || self.expects(&offsets) {
            self.result.newest_statement = Some(seq);
        }
    }

    fn uncovered(&mut self, offsets: Range<u64>, seq: Option<u64>, problem: &str) {
        for missing in self.result.expected.within(&offsets) {
            let place = Place { entry: seq, ..self.place().offsets(missing) };
            self.result.findings.add(Code::Uncovered, place, problem);
        }
    }

    /// Requires that older statements end where the heads line says, and that newer ones continue from there.
    fn compare_with_heads(&mut self, entry: &Entry, offsets: Range<u64>, prev: Option<Hash>) {
        let Some((heads_seq, line)) = &self.heads else { return };
        let older = entry.seq < *heads_seq;
        let says = match line {
            None if older => "leaves this stream out".to_owned(),
            Some(line) if older && offsets.end > line.next => format!("says that the stream ended at {}", line.next),
            Some(line) if older && offsets.end == line.next && entry.statement.hash() != line.statement => {
                "names another last statement".to_owned()
            }
            Some(_) if !older && matches!(entry.statement.statement(), Statement::Epoch(_)) => {
                "says that the stream already existed".to_owned()
            }
            Some(line) if !older && offsets.start < line.next => {
                format!("says that the stream was already sealed up to {}", line.next)
            }
            Some(line) if !older && offsets.start == line.next && prev != Some(line.statement) => {
                "names another statement before this one".to_owned()
            }
            _ => return,
        };
        let place = self.place().offsets(offsets).at_entry(entry.seq);
        let problem = format!("the heads statement in entry {heads_seq} {says}");
        self.result.findings.add(Code::HeadsContradict, place, problem);
    }

    fn epoch(&mut self, seq: u64, epoch: &Epoch, distrusted: Option<&str>) {
        if let Some(reason) = distrusted {
            let place = self.place().at_entry(seq);
            let problem = format!("a distrusted key signed where the epoch begins: {reason}");
            if !self.result.expected.is_empty() {
                self.result.findings.add(Code::DistrustedKey, place, problem);
            }
            return;
        }
        self.result.start = Some(epoch.start);
        // Nothing may be left: a stream that has no events yet.
        self.result.expected.cut_before(epoch.start);
        self.result.newest_statement.get_or_insert(seq);
    }

    fn gap(&mut self, seq: u64, gap: &Gap, distrusted: Option<&str>) {
        let offsets = gap.first..gap.next;
        if let Some(reason) = distrusted {
            self.distrust(seq, &offsets, reason);
        } else if self.accepted.contains(&gap.reason) {
            if self.result.gaps.len() < RANGES_MAX && self.counts.room_for_range() {
                self.result.gaps.push(AcceptedGap { offsets, reason: gap.reason, seq });
            } else {
                self.result.gaps_more += 1;
            }
        } else {
            let problem = format!(
                "a signed gap, reason {}: never sealed (watermarks {} to {}); --accept-gap {} accepts it",
                gap.reason, gap.low, gap.high, gap.reason
            );
            for missing in self.result.expected.within(&offsets) {
                let place = self.place().offsets(missing).at_entry(seq);
                self.result.findings.add(Code::Gap, place, problem.clone());
            }
        }
    }

    fn distrust(&mut self, seq: u64, offsets: &Range<u64>, reason: &str) {
        for missing in self.result.expected.within(offsets) {
            let place = self.place().offsets(missing).at_entry(seq);
            let problem = format!("a distrusted key sealed this: {reason}");
            self.result.findings.add(Code::DistrustedKey, place, problem);
        }
    }

    fn summary(&mut self, seq: u64, summary: &Summary, distrusted: Option<&str>, batch: Option<BatchResult>) {
        let offsets = summary.first..summary.next;
        if let Some(reason) = distrusted {
            self.distrust(seq, &offsets, reason);
        }
        if summary.events == 0 {
            // Only transaction markers and the like: the statement itself is the proof.
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
            // Events before the unreadable one may contradict.
            Some(Err(Unfinished { error, so_far })) => {
                self.result.findings.unreadable(&error);
                so_far.iter().for_each(|checked| self.contradictions(seq, summary, checked));
            }
            None => {}
        }
    }

    /// Draws the conclusions from a batch.
    fn batch(&mut self, seq: u64, summary: &Summary, held: &Range<u64>, checked: Checked, trusted: bool) {
        self.contradictions(seq, summary, &checked);
        match checked.root_match {
            RootMatch::ByIndex | RootMatch::ByEvents => {
                self.absent(seq, &checked.problems, Verdict::Incomplete);
                self.keep_batch(held, &checked, &checked.problems, trusted);
            }
            RootMatch::IndexAltered(_) => self.keep_batch(held, &checked, &Problems::default(), trusted),
            RootMatch::Neither => self.absent(seq, &checked.problems, Verdict::Tampered),
            RootMatch::TooFewEvents => {
                let problem = format!(
                    "only {} of the {} sealed events are there, and without a leaf index none can be verified",
                    checked.events, summary.events
                );
                if self.expects(held) {
                    let place = self.place().offsets(summary.first..summary.next).at_entry(seq);
                    self.result.findings.add(Code::AbsentEvents, place, problem);
                }
            }
        }
    }

    /// Reports everything that contradicts the sealed batch.
    fn contradictions(&mut self, seq: u64, summary: &Summary, checked: &Checked) {
        let Checked { root_match, problems, false_summary, .. } = checked;
        let place = self.place().offsets(summary.first..summary.next).at_entry(seq);
        let findings = &mut self.result.findings;
        if let Some(problem) = false_summary {
            findings.add(Code::FalseSummary, place.clone(), problem);
        }
        match root_match {
            RootMatch::ByIndex | RootMatch::ByEvents => {}
            RootMatch::TooFewEvents => return,
            RootMatch::IndexAltered(reason) => {
                let problem = format!("the leaf index was changed ({reason}); the events are those that were sealed");
                findings.add(Code::AlteredLeafIndex, place, problem);
                return;
            }
            RootMatch::Neither => {
                let problem = match problems.is_empty() {
                    true => "the events are not those that were sealed: they have another root",
                    false => "neither the events nor the leaf index have the sealed root; they differ as follows",
                };
                findings.add(Code::AlteredBatch, place, problem);
            }
        }
        self.altered(seq, problems);
    }

    /// Reports the events that differ from the leaf index.
    fn altered(&mut self, seq: u64, problems: &Problems) {
        let Problems { altered, extra, reordered, .. } = problems;
        let place = self.place().at_entry(seq);
        let at = |offset: i64| match u64::try_from(offset) {
            Ok(offset) => place.clone().offsets(offset..offset.saturating_add(1)),
            Err(_) => place.clone(),
        };
        let findings = &mut self.result.findings;
        for (offset, problem) in &altered.first {
            let problem = problem.as_ref().map_or("the event is not what was sealed".to_owned(), |problem| {
                format!("the event is not what was sealed, and does not decode: {problem}")
            });
            findings.add(Code::AlteredEvent, at(*offset), problem);
        }
        for offset in &reordered.first {
            let problem = "the event is unchanged, but comes after one with a higher offset";
            findings.add(Code::ReorderedEvent, at(*offset), problem);
        }
        for offset in &extra.first {
            let problem = format!(
                "no event was sealed at offset {offset}, or this is a second one, or it comes too late to be recognised"
            );
            findings.add(Code::AddedEvent, at(*offset), problem);
        }
        let more = problems.more_contradict();
        if more > 0 {
            let problem = format!("{more} more events of the batch differ from those that were sealed");
            findings.add_more_events(Verdict::Tampered, place, problem, more);
        }
    }

    /// Reports the expected events that are absent.
    fn absent(&mut self, seq: u64, problems: &Problems, verdict: Verdict) {
        let place = self.place().at_entry(seq);
        let moved = match problems.extra.first.is_empty() {
            true => "",
            false => ", or come too late to be recognised",
        };
        let findings = &mut self.result.findings;
        for (offsets, count) in &problems.absent.first {
            let problem = format!("{count} sealed event{} not there{moved}", if *count == 1 { " is" } else { "s are" });
            findings.add_as(verdict, Code::AbsentEvent, place.clone().offsets(offsets.clone()), problem);
        }
        let more = problems.absent.more;
        if more > 0 {
            let problem = format!("{more} more sealed events of the batch are not there{moved}");
            findings.add_more_events(verdict, place, problem, more);
        }
    }

    /// Takes note of the intact ranges of a batch, unless its signer is distrusted.
    fn keep_batch(&mut self, held: &Range<u64>, checked: &Checked, problems: &Problems, trusted: bool) {
        // Unlisted problems could lie anywhere.
        if !trusted || !problems.are_all_listed() {
            return;
        }
        self.result.batches += 1;
        self.result.events += checked.events;
        self.result.event_bytes += checked.bytes;
        self.result.events_at_least |= checked.at_least;
        let Problems { absent, absent_unexpected, altered, extra, reordered } = problems;
        let one = |offset: &i64| u64::try_from(*offset).ok().map(|offset| offset..offset.saturating_add(1));
        let absent = absent.first.iter().chain(&absent_unexpected.first);
        let mut holes: Vec<Range<u64>> = absent.map(|(offsets, _)| offsets.clone()).collect();
        holes.extend(altered.first.iter().filter_map(|(offset, _)| one(offset)));
        holes.extend(extra.first.iter().chain(&reordered.first).filter_map(one));
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
        // Statements ascend, so a range either continues the last one or comes after it.
        let continues = !intact.is_empty() && intact.end() == offsets.start;
        if offsets.is_empty() || continues || (intact.len() < RANGES_MAX && self.counts.room_for_range()) {
            intact.add(offsets);
        } else {
            self.result.intact_truncated = true;
        }
    }

    fn expects(&self, offsets: &Range<u64>) -> bool {
        self.result.expected.within(offsets).next().is_some()
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
    use crate::finding::RANGES_ALL_MAX;

    /// The range of a stream, and the reasons for gaps that are accepted.
    fn accepting() -> (StreamRange, BTreeSet<Reason>) {
        let stream = Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(0);
        (StreamRange { stream, offsets: 0..u64::MAX, events_bytes: 0, leaves_bytes: 0 }, Reason::ALL.into())
    }

    fn check<'a>((range, accepted): &'a (StreamRange, BTreeSet<Reason>), counts: &Counts) -> StreamCheck<'a> {
        StreamCheck::new(range, &mut Planned::default(), accepted, None, counts)
    }

    #[test]
    fn gaps_beyond_the_limit_are_counted() {
        let accepting = accepting();
        let mut check = check(&accepting, &Counts::default());
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
    fn last_intact_range_grows_beyond_the_limit() {
        let accepting = accepting();
        let mut check = check(&accepting, &Counts::default());
        (0..RANGES_MAX as u64).for_each(|i| check.keep(2 * i..2 * i + 1));
        let end = check.result.intact.end();
        check.keep(end..end + 5);
        let kept = |check: &StreamCheck<'_>| {
            let StreamResult { intact, intact_truncated, .. } = &check.result;
            (intact.len(), intact.end(), *intact_truncated)
        };
        assert_eq!(kept(&check), (RANGES_MAX, end + 5, false));
        check.keep(end + 6..end + 7);
        assert_eq!(kept(&check), (RANGES_MAX, end + 5, true));
    }

    #[test]
    fn all_streams_share_the_limit_of_ranges() {
        let (accepting, counts) = (accepting(), Counts::default());
        let mut kept = 0;
        for _ in 0..=RANGES_ALL_MAX / RANGES_MAX {
            let mut check = check(&accepting, &counts);
            (0..RANGES_MAX as u64).for_each(|i| check.keep(2 * i..2 * i + 1));
            kept += check.result.intact.len();
            assert_eq!(check.result.intact_truncated, kept == RANGES_ALL_MAX && check.result.intact.is_empty());
        }
        assert_eq!(kept, RANGES_ALL_MAX);
    }
}
