//! One stream of the bundle: what its statements cover, and its batches.

use std::collections::BTreeSet;
use std::ops::Range;

use bundle::StreamRange;
use evidence::statement::{Epoch, Gap, Reason, Statement, Summary};
use evidence::{Entry, Hash, StreamId};

use crate::batch::{Broken, Checked, Outcome, Problems};
use crate::expect::Ranges;
use crate::finding::{Counts, Findings, Place, Verdict};
use crate::heads::{Head, Planned};

/// How many ranges and gaps of one stream are kept for the report, if all streams together do not have too many.
const RANGES_MAX: usize = 1000;

/// Follows the statements of one stream in the order of their seqs.
///
/// [`StreamCheck::statement`] was applied to the chain's state before: it is signed by a granted key, and no offset is
/// covered twice. What is found out here is whether all offsets that the auditor expects are covered, and whether the
/// events are what was sealed.
pub(crate) struct StreamCheck<'a> {
    range: &'a StreamRange,
    /// Whether the auditor names offsets of this epoch.
    is_named: bool,
    accepted: &'a BTreeSet<Reason>,
    /// What the newest heads statement says of the stream, with the seq of that statement.
    head: Option<(u64, Option<Head>)>,
    /// The first offset that no statement accounts for yet.
    position: u64,
    /// Shared with the checks of the other streams.
    counts: Counts,
    pub(crate) result: StreamResult,
}

/// What an entry's statement is worth.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The chain took it.
    Applied,
    /// The chain took it, and its signer is not to be believed, for this reason.
    Distrusted(String),
    /// It is in the log. Whether the chain would have taken it is not known, as an entry before it is absent or cannot be
    /// read.
    Unapplied,
}

/// What was found out about one stream.
#[derive(Debug)]
pub(crate) struct StreamResult {
    pub(crate) stream: StreamId,
    pub(crate) findings: Findings,
    /// The offsets that must be covered: none of them lies before the first one of the stream, where that is known.
    pub(crate) expected: Ranges,
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
    /// Whether there may be more of both.
    pub(crate) events_at_least: bool,
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
            expected: Ranges::default(),
            intact: Ranges::default(),
            intact_truncated: false,
            gaps: Vec::new(),
            gaps_more: 0,
            events: 0,
            event_bytes: 0,
            events_at_least: false,
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

impl<'a> StreamCheck<'a> {
    /// Takes over what is expected of the stream. `heads` is the seq of the newest heads statement, if the bundle has its
    /// lines. `counts` are shared with the checks of the other streams.
    pub(crate) fn new(
        range: &'a StreamRange,
        planned: &mut Planned,
        accepted: &'a BTreeSet<Reason>,
        heads: Option<u64>,
        counts: &Counts,
    ) -> Self {
        let (expected, is_named) = (std::mem::take(&mut planned.expected), planned.is_named);
        let head = heads.map(|seq| (seq, planned.head));
        let result = StreamResult { expected, ..StreamResult::new(range.stream.clone(), counts) };
        Self { range, is_named, accepted, head, position: 0, counts: counts.clone(), result }
    }

    /// The offsets of a batch that the bundle holds; `None` where that is no event.
    pub(crate) fn held(&self, summary: &Summary) -> Option<Range<u64>> {
        let Range { start, end } = self.range.offsets;
        Some(summary.first.max(start)..summary.next.min(end)).filter(|held| !held.is_empty() && summary.events > 0)
    }

    /// Takes the stream's next statement. `batch` is what became of the batch: `None` where there is none in the bundle, or
    /// the stream could not be read before.
    pub(crate) fn statement(&mut self, entry: &Entry, standing: &Standing, batch: Option<Result<Checked, Broken>>) {
        let seq = entry.seq;
        let distrusted = match standing {
            Standing::Applied => None,
            Standing::Distrusted(reason) => Some(reason.as_str()),
            Standing::Unapplied => return self.unapplied(entry, batch),
        };
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
            Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {}
        }
    }

    /// What was sealed is what the log has, whoever signed it: events that are not this are changed ones.
    fn unapplied(&mut self, entry: &Entry, batch: Option<Result<Checked, Broken>>) {
        let Statement::Summary(summary) = entry.statement.statement() else { return };
        match batch {
            Some(Ok(checked)) => self.contradictions(entry.seq, summary, &checked),
            Some(Err(Broken { so_far: Some(checked), .. })) => self.contradictions(entry.seq, summary, &checked),
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
        if let Some(start) = self.result.start
            && self.is_named
            && self.result.expected.is_empty()
        {
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
        if self.result.expected.is_empty() || self.expects(&offsets) {
            self.result.newest_statement = Some(seq);
        }
    }

    fn uncovered(&mut self, offsets: Range<u64>, seq: Option<u64>, problem: &str) {
        for missing in self.result.expected.within(&offsets) {
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
            if !self.result.expected.is_empty() {
                self.result.findings.add(Verdict::Incomplete, "distrusted-key", place, problem);
            }
            return;
        }
        self.result.start = Some(epoch.start);
        // Perhaps nothing is left: a stream in which nothing happened yet.
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
                self.result.findings.add(Verdict::Incomplete, "gap", place, problem.clone());
            }
        }
    }

    fn distrust(&mut self, seq: u64, offsets: &Range<u64>, reason: &str) {
        for missing in self.result.expected.within(offsets) {
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
        batch: Option<Result<Checked, Broken>>,
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
            // What was read before the fault may contradict.
            Some(Err(Broken { error, so_far })) => {
                self.result.findings.unreadable(&error);
                so_far.iter().for_each(|checked| self.contradictions(seq, summary, checked));
            }
            None => {}
        }
    }

    /// Draws the conclusions from a batch.
    fn batch(&mut self, seq: u64, summary: &Summary, held: &Range<u64>, checked: Checked, trusted: bool) {
        self.contradictions(seq, summary, &checked);
        match checked.outcome {
            Outcome::ByIndex | Outcome::ByEvents => {
                self.absent(seq, &checked.problems, Verdict::Incomplete);
                self.keep_batch(held, &checked, &checked.problems, trusted);
            }
            Outcome::IndexAltered(_) => self.keep_batch(held, &checked, &Problems::default(), trusted),
            Outcome::Altered => self.absent(seq, &checked.problems, Verdict::Tampered),
            Outcome::Undecided => {
                let problem = format!(
                    "{} of the {} sealed events are there, and no leaf index says which; none can be verified",
                    checked.events, summary.events
                );
                if self.expects(held) {
                    let place = self.place().offsets(summary.first..summary.next).at_entry(seq);
                    self.result.findings.add(Verdict::Incomplete, "absent-events", place, problem);
                }
            }
        }
    }

    /// Reports what is not as it was sealed.
    fn contradictions(&mut self, seq: u64, summary: &Summary, checked: &Checked) {
        let Checked { outcome, problems, false_summary, .. } = checked;
        let place = self.place().offsets(summary.first..summary.next).at_entry(seq);
        let findings = &mut self.result.findings;
        if let Some(problem) = false_summary {
            findings.add(Verdict::Tampered, "false-summary", place.clone(), problem);
        }
        match outcome {
            Outcome::ByIndex | Outcome::ByEvents => {}
            Outcome::Undecided => return,
            Outcome::IndexAltered(fault) => {
                let problem = format!("the leaf index was changed ({fault}); the events are what was sealed");
                findings.add(Verdict::Tampered, "altered-leaf-index", place, problem);
                return;
            }
            Outcome::Altered => {
                let problem = match problems.is_empty() {
                    true => "the events are not what was sealed: their root is another",
                    false => "neither the events nor the leaf index lead to the sealed root; they differ as follows",
                };
                findings.add(Verdict::Tampered, "altered-batch", place, problem);
            }
        }
        self.altered(seq, problems);
    }

    /// Reports the events that are there and differ from the leaf index.
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
                format!("the event is not what was sealed, and no event at all: {problem}")
            });
            findings.add(Verdict::Tampered, "altered-event", at(*offset), problem);
        }
        for offset in &reordered.first {
            let problem = "the event is what was sealed, but comes after one with a higher offset";
            findings.add(Verdict::Tampered, "reordered-event", at(*offset), problem);
        }
        for offset in &extra.first {
            let problem = format!(
                "an event at offset {offset} where none was sealed, or a second one, or one that comes too late to be \
                 recognised"
            );
            findings.add(Verdict::Tampered, "added-event", at(*offset), problem);
        }
        let more = problems.more_contradict();
        if more > 0 {
            let problem = format!("{more} more events of the batch are not as they were sealed");
            findings.add_more_events(Verdict::Tampered, place, problem, more);
        }
    }

    /// Reports the expected events that are not there.
    fn absent(&mut self, seq: u64, problems: &Problems, verdict: Verdict) {
        let place = self.place().at_entry(seq);
        let moved = match problems.extra.first.is_empty() {
            true => "",
            false => ", or come too late to be recognised",
        };
        let findings = &mut self.result.findings;
        for (offsets, count) in &problems.absent.first {
            let problem = format!("{count} sealed event{} not there{moved}", if *count == 1 { " is" } else { "s are" });
            findings.add(verdict, "absent-event", place.clone().offsets(offsets.clone()), problem);
        }
        let more = problems.absent.more;
        if more > 0 {
            let problem = format!("{more} more sealed events of the batch are not there{moved}");
            findings.add_more_events(verdict, place, problem, more);
        }
    }

    /// Takes note of what is proven of a batch, if its signer is to be believed.
    fn keep_batch(&mut self, held: &Range<u64>, checked: &Checked, problems: &Problems, trusted: bool) {
        // With problems that are not listed it is not known what lies between them.
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
        // Statements ascend, so a range either continues the last one or stands alone.
        let goes_on = !intact.is_empty() && intact.end() == offsets.start;
        if offsets.is_empty() || goes_on || (intact.len() < RANGES_MAX && self.counts.room_for_range()) {
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
    fn intact_ranges_beyond_the_limit_are_told_of_and_the_last_still_grows() {
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
    fn all_streams_together_keep_no_more_ranges_than_there_is_memory_for() {
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
