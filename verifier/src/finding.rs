//! Findings, with the place of each, and the collection of them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evidence::StreamId;

use crate::code::Code;
use crate::verdict::Verdict;

/// Something that keeps the evidence from being proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One of the code's verdicts.
    pub verdict: Verdict,
    /// The machine-readable reason.
    pub code: Code,
    /// The place, as exactly as it is known.
    pub place: Place,
    /// The problem, in a sentence.
    pub problem: String,
    /// The number of problems that it stands for: above one only if there were too many to name each.
    pub count: u64,
}

/// A place in the evidence. Parts that are unknown or do not apply are `None`.
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

/// The most findings of each verdict that are kept. Many light ones cannot hide a grave one.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// The numbers of findings and ranges so far. Collections that are joined in the end share them, so that the checks of
/// 65,536 streams keep no more than one check does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By the rank of the verdict; those of `more-events` come after the others.
    findings: [AtomicUsize; 12],
    ranges: AtomicUsize,
}

/// The most ranges of offsets and gaps that are kept for the report, of all streams together.
pub(crate) const RANGES_ALL_MAX: usize = 100_000;

impl Counts {
    /// Whether one more range may be kept.
    pub(crate) fn room_for_range(&self) -> bool {
        self.0.ranges.fetch_add(1, Ordering::Relaxed) < RANGES_ALL_MAX
    }
}

/// Collects findings. All count for the verdict; only the first are kept.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    counts: Counts,
    /// The number of problems beyond those that the kept findings stand for.
    pub(crate) more: u64,
    pub(crate) verdict: Verdict,
}

impl Default for Findings {
    fn default() -> Self {
        Self::sharing(&Counts::default())
    }
}

impl Findings {
    /// A collection that shares its counts with others.
    pub(crate) fn sharing(counts: &Counts) -> Self {
        Self { kept: Vec::new(), counts: counts.clone(), more: 0, verdict: Verdict::Proven }
    }

    /// Adds a finding with the usual verdict of its code.
    pub(crate) fn add(&mut self, code: Code, place: Place, problem: impl Into<String>) {
        self.add_as(code.verdict(), code, place, problem);
    }

    /// Adds a finding with this verdict, which is one of its code's.
    pub(crate) fn add_as(&mut self, verdict: Verdict, code: Code, place: Place, problem: impl Into<String>) {
        self.keep(Finding { verdict, code, place, problem: problem.into(), count: 1 });
    }

    /// Adds a finding that stands for `count` events of a batch that are not named.
    pub(crate) fn add_more_events(&mut self, verdict: Verdict, place: Place, problem: String, count: u64) {
        self.keep(Finding { verdict, code: Code::MoreEvents, place, problem, count });
    }

    fn keep(&mut self, finding: Finding) {
        debug_assert!(finding.code.verdicts().contains(&finding.verdict), "{finding:?}");
        self.verdict = self.verdict.or(finding.verdict);
        let kind = usize::from(finding.verdict.rank()) + if finding.code == Code::MoreEvents { 6 } else { 0 };
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

    /// Adds the error that kept a part of the bundle from being read.
    pub(crate) fn unreadable(&mut self, error: &bundle::Error) {
        let (code, file, problem) = match error {
            bundle::Error::Io { file, source } => (Code::Unreadable, file, source.to_string()),
            bundle::Error::Malformed { file, problem } => (Code::Malformed, file, problem.clone()),
            bundle::Error::Unsupported { file, problem } => (Code::Unsupported, file, problem.clone()),
        };
        self.add(code, Place::file(file), problem);
    }

    /// Adds the error that kept a file named by the auditor from being read.
    pub(crate) fn unread(&mut self, place: Place, error: &keystore::Error) {
        let code = if matches!(error, keystore::Error::Io { .. }) { Code::Unreadable } else { Code::Malformed };
        self.add(code, place, error.to_string());
    }

    /// Adds the error in a file's format.
    pub(crate) fn unparsable(&mut self, place: Place, error: &evidence::Error) {
        let code = match error {
            evidence::Error::Malformed { .. } => Code::Malformed,
            evidence::Error::Unsupported { .. } => Code::Unsupported,
        };
        self.add(code, place, error.to_string());
    }

    /// Sorts by verdict, the gravest first. Findings of one verdict keep their order.
    pub(crate) fn sort(&mut self) {
        self.kept.sort_by_key(|finding| std::cmp::Reverse(finding.verdict.rank()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_beyond_the_limit_still_count() {
        let mut findings = Findings::default();
        for i in 0..FINDINGS_MAX as u64 + 5 {
            findings.add(Code::AbsentEvent, Place::entry(i), "gone");
        }
        assert_eq!((findings.kept.len(), findings.more, findings.verdict), (FINDINGS_MAX, 5, Verdict::Incomplete));
        for _ in 0..FINDINGS_MAX + 2 {
            findings.add_more_events(Verdict::Incomplete, Place::default(), "gone".into(), 7);
        }
        assert_eq!((findings.kept.len(), findings.more), (2 * FINDINGS_MAX, 5 + 2 * 7));
        // Any number of them leaves room for a graver one.
        findings.add(Code::AlteredEvent, Place::entry(7), "changed");
        let mut all = Findings::default();
        all.add(Code::Stale, Place::default(), "old");
        all.add(Code::AbsentEvent, Place::default(), "gone");
        all.extend(findings);
        assert_eq!((all.kept.len(), all.more, all.verdict), (2 * FINDINGS_MAX + 2, 20, Verdict::Tampered));
        all.sort();
        assert_eq!((all.kept[0].code, all.kept[2 * FINDINGS_MAX + 1].code), (Code::AlteredEvent, Code::Stale));
    }

    #[test]
    fn shared_counts_limit_all_collections_together() {
        let counts = Counts::default();
        let mut all = Findings::default();
        for _ in 0..4 {
            let mut findings = Findings::sharing(&counts);
            for i in 0..FINDINGS_MAX as u64 / 2 {
                findings.add(Code::AbsentEvent, Place::entry(i), "gone");
            }
            all.extend(findings);
        }
        assert_eq!((all.kept.len(), all.more), (FINDINGS_MAX, FINDINGS_MAX as u64));
    }

    #[test]
    fn place_names_outer_parts_first() {
        let stream = evidence::Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(1);
        let place = Place::stream(&stream).offsets(5..6).at_entry(42);
        assert_eq!(place.to_string(), "orders/3 epoch 1, offset 5, entry 42");
        assert_eq!(Place { commit: Some("abc".into()), ..Place::file("a.git") }.to_string(), "a.git, commit abc");
        assert_eq!(offsets_in_words(&(5..9)), "offsets 5 to 8");
        assert_eq!(offsets_in_words(&(5..u64::MAX)), "offsets from 5 on");
    }
}
