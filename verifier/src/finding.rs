//! What was found, what it means for the verdict, and where.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evidence::StreamId;

/// What can be said of the evidence as a whole, or of one finding in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Everything that was expected is there and holds.
    Proven,
    /// A hash, signature or consistency contradicts another: something was changed, added or reordered.
    Tampered,
    /// The question makes no sense.
    Usage,
    /// Something that was expected is absent.
    Incomplete,
    /// Nobody outside of the ledger vouches for the head, or not recently enough.
    NotAnchored,
    /// The input cannot be read, or is of a kind that is not known here.
    Unusable,
}

impl Verdict {
    /// The exit code (SPEC.md, "Verdicts").
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Tampered => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::NotAnchored => 4,
            Self::Unusable => 5,
        }
    }

    /// The graver of two verdicts: tampered, then unusable, incomplete, not anchored, proven.
    pub fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::NotAnchored => 1,
            Self::Incomplete => 2,
            Self::Unusable => 3,
            Self::Tampered => 4,
            Self::Usage => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "proven",
            Self::Tampered => "tampered",
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::NotAnchored => "not anchored",
            Self::Unusable => "unusable",
        })
    }
}

/// Something that keeps the evidence from being proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// The machine-readable reason (SPEC.md, "Verdicts").
    pub code: &'static str,
    /// Where it is, as exactly as can be known.
    pub place: Place,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// How many problems it stands for: more than one where there were too many to name each.
    pub count: u64,
}

/// A place in the evidence; what is not known or does not apply is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// A file of the input, or a Git repository.
    pub file: Option<String>,
    /// A commit in that repository.
    pub commit: Option<String>,
    /// The seq of an entry.
    pub entry: Option<u64>,
    /// A stream.
    pub stream: Option<StreamId>,
    /// Offsets of that stream.
    pub offsets: Option<Range<u64>>,
}

impl Place {
    /// A file or repository.
    pub(crate) fn file(file: impl fmt::Display) -> Self {
        Self { file: Some(file.to_string()), ..Self::default() }
    }

    /// An entry.
    pub(crate) fn entry(seq: u64) -> Self {
        Self { entry: Some(seq), ..Self::default() }
    }

    /// A stream.
    pub(crate) fn stream(stream: &StreamId) -> Self {
        Self { stream: Some(stream.clone()), ..Self::default() }
    }

    /// The same place, narrowed to offsets.
    pub(crate) fn offsets(self, offsets: Range<u64>) -> Self {
        Self { offsets: Some(offsets), ..self }
    }

    /// The same place, narrowed to an entry.
    pub(crate) fn at_entry(self, seq: u64) -> Self {
        Self { entry: Some(seq), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            parts.push(file.clone());
        }
        if let Some(commit) = &self.commit {
            parts.push(format!("commit {commit}"));
        }
        if let Some(stream) = &self.stream {
            parts.push(stream.to_string());
        }
        if let Some(offsets) = &self.offsets {
            parts.push(offsets_in_words(offsets));
        }
        if let Some(entry) = self.entry {
            parts.push(format!("entry {entry}"));
        }
        f.write_str(&parts.join(", "))
    }
}

/// `offset 5`, or `offsets 5 to 7`, both included; without an end, `offsets from 5 on`.
pub(crate) fn offsets_in_words(offsets: &Range<u64>) -> String {
    match offsets {
        Range { start, end } if *end == start + 1 => format!("offset {start}"),
        Range { start, end: u64::MAX } => format!("offsets from {start} on"),
        Range { start, end } => format!("offsets {start} to {}", end.saturating_sub(1)),
    }
}

/// How many findings of each verdict are kept in full: many of a light one cannot hide where a grave one is.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Stands for problems of a batch that are not named; as many of these are kept beside the others.
const MORE_EVENTS: &str = "more-events";

/// How many findings there were of each verdict, by its rank; those that stand for others after them. Shared where several collect what is put together in the
/// end: the checks of 65,536 streams keep no more than one does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    findings: [AtomicUsize; 12],
    ranges: AtomicUsize,
}

/// How many ranges of offsets and gaps are kept for the report, of all streams together.
pub(crate) const RANGES_ALL_MAX: usize = 100_000;

impl Counts {
    /// Whether one range more may be kept.
    pub(crate) fn room_for_range(&self) -> bool {
        self.0.ranges.fetch_add(1, Ordering::Relaxed) < RANGES_ALL_MAX
    }
}

/// Collects findings: all of them count for the verdict, the first of them are kept.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    counts: Counts,
    /// How many more problems there were than those kept stand for.
    pub(crate) more: u64,
    pub(crate) verdict: Verdict,
}

impl Default for Findings {
    fn default() -> Self {
        Self::sharing(&Counts::default())
    }
}

impl Findings {
    /// Collects findings beside others with the same counts.
    pub(crate) fn sharing(counts: &Counts) -> Self {
        Self { kept: Vec::new(), counts: counts.clone(), more: 0, verdict: Verdict::Proven }
    }

    pub(crate) fn add(&mut self, verdict: Verdict, code: &'static str, place: Place, problem: impl Into<String>) {
        self.keep(Finding { verdict, code, place, problem: problem.into(), count: 1 });
    }

    /// Adds a finding that stands for so many events of a batch that are not named.
    pub(crate) fn add_more_events(&mut self, verdict: Verdict, place: Place, problem: String, count: u64) {
        self.keep(Finding { verdict, code: MORE_EVENTS, place, problem, count });
    }

    fn keep(&mut self, finding: Finding) {
        self.verdict = self.verdict.or(finding.verdict);
        let kind = usize::from(finding.verdict.rank()) + if finding.code == MORE_EVENTS { 6 } else { 0 };
        let before = self.counts.0.findings[kind].fetch_add(1, Ordering::Relaxed);
        if before < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.more += finding.count;
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.verdict = self.verdict.or(other.verdict);
        self.more += other.more;
        other.kept.into_iter().for_each(|finding| self.keep(finding));
    }

    /// Adds what kept a part of the bundle from being read.
    pub(crate) fn unreadable(&mut self, error: &bundle::Error) {
        let (code, file, problem) = match error {
            bundle::Error::Io { file, source } => ("unreadable", file, source.to_string()),
            bundle::Error::Malformed { file, problem } => ("malformed", file, problem.clone()),
            bundle::Error::Unsupported { file, problem } => ("unsupported", file, problem.clone()),
        };
        self.add(Verdict::Unusable, code, Place::file(file), problem);
    }

    /// Adds what kept a file that the auditor named from being read: the system, or what the file is.
    pub(crate) fn unread(&mut self, place: Place, error: &keystore::Error) {
        let code = if matches!(error, keystore::Error::Io { .. }) { "unreadable" } else { "malformed" };
        self.add(Verdict::Unusable, code, place, error.to_string());
    }

    /// Adds what keeps a file from being what it should be.
    pub(crate) fn unparsable(&mut self, place: Place, error: &evidence::Error) {
        let code = match error {
            evidence::Error::Malformed { .. } => "malformed",
            evidence::Error::Unsupported { .. } => "unsupported",
        };
        self.add(Verdict::Unusable, code, place, error.to_string());
    }

    /// The gravest verdicts first, each in the order in which it was found.
    pub(crate) fn sort(&mut self) {
        self.kept.sort_by_key(|finding| std::cmp::Reverse(finding.verdict.rank()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graver_verdict_wins() {
        use Verdict::*;
        let order = [Proven, NotAnchored, Incomplete, Unusable, Tampered];
        for (i, a) in order.into_iter().enumerate() {
            for (j, b) in order.into_iter().enumerate() {
                assert_eq!(a.or(b), order[i.max(j)]);
            }
        }
        assert_eq!(
            [Proven, Tampered, Usage, Incomplete, NotAnchored, Unusable].map(Verdict::exit_code),
            [0, 1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn findings_beyond_the_limit_still_count() {
        let mut findings = Findings::default();
        for i in 0..FINDINGS_MAX as u64 + 5 {
            findings.add(Verdict::Incomplete, "absent-event", Place::entry(i), "gone");
        }
        assert_eq!((findings.kept.len(), findings.more, findings.verdict), (FINDINGS_MAX, 5, Verdict::Incomplete));
        for _ in 0..FINDINGS_MAX + 2 {
            findings.add_more_events(Verdict::Incomplete, Place::default(), "gone".into(), 7);
        }
        assert_eq!((findings.kept.len(), findings.more), (2 * FINDINGS_MAX, 5 + 2 * 7));
        // However many there are of them, a graver one is named.
        findings.add(Verdict::Tampered, "altered-event", Place::entry(7), "changed");
        let mut all = Findings::default();
        all.add(Verdict::NotAnchored, "stale", Place::default(), "old");
        all.add(Verdict::Incomplete, "absent-event", Place::default(), "gone");
        all.extend(findings);
        assert_eq!((all.kept.len(), all.more, all.verdict), (2 * FINDINGS_MAX + 2, 20, Verdict::Tampered));
        all.sort();
        assert_eq!((all.kept[0].code, all.kept[2 * FINDINGS_MAX + 1].code), ("altered-event", "stale"));
    }

    #[test]
    fn those_that_share_counts_keep_no_more_together_than_one() {
        let counts = Counts::default();
        let mut all = Findings::default();
        for _ in 0..4 {
            let mut findings = Findings::sharing(&counts);
            for i in 0..FINDINGS_MAX as u64 / 2 {
                findings.add(Verdict::Incomplete, "absent-event", Place::entry(i), "gone");
            }
            all.extend(findings);
        }
        assert_eq!((all.kept.len(), all.more), (FINDINGS_MAX, FINDINGS_MAX as u64));
    }

    #[test]
    fn places_read_from_the_outside_in() {
        let stream = evidence::Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(1);
        let place = Place::stream(&stream).offsets(5..6).at_entry(42);
        assert_eq!(place.to_string(), "orders/3 epoch 1, offset 5, entry 42");
        assert_eq!(Place { commit: Some("abc".into()), ..Place::file("a.git") }.to_string(), "a.git, commit abc");
        assert_eq!(offsets_in_words(&(5..9)), "offsets 5 to 8");
        assert_eq!(offsets_in_words(&(5..u64::MAX)), "offsets from 5 on");
    }
}
