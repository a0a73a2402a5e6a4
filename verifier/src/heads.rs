//! The lines under the newest heads statement, and what the auditor expects of each stream.

use std::collections::{HashMap, HashSet};

use bundle::{HeadsReader, Manifest};
use evidence::statement::{Heads, HeadsLine};
use evidence::tree::{self, CompactRange};
use evidence::{Hash, StreamId};

use crate::expect::{Expectation, Ranges};
use crate::finding::{Findings, Place, Verdict};

/// The most epochs of one partition.
const EPOCHS_MAX: usize = 65_536;

/// What the auditor expects, stream by stream.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For streams of the manifest, by their index in it: the offsets that must be covered.
    pub(crate) expected: HashMap<usize, Ranges>,
    /// For streams of the manifest: their heads line.
    pub(crate) lines: HashMap<usize, HeadsLine>,
    /// Those streams of the manifest of which a heads line says where they end: how much is expected of them.
    pub(crate) ended_by_heads: HashSet<usize>,
    /// Count and root of the lines, to be compared with the heads statement; `None` without lines.
    pub(crate) committed: Option<(u64, Hash)>,
}

/// Makes the plan. `expectations` is empty when all streams of the heads statement are meant.
///
/// The lines are not verified here: whoever uses the plan compares [`Plan::committed`] with the heads statement.
pub(crate) fn plan(
    expectations: &[Expectation],
    manifest: &Manifest,
    lines: Option<HeadsReader>,
    findings: &mut Findings,
) -> Result<Plan, bundle::Error> {
    let index = manifest.streams.iter().enumerate().map(|(i, range)| (&range.stream, i)).collect();
    let mut planner = Planner { expectations, index, met: vec![false; expectations.len()], plan: Plan::default() };
    if let Some(lines) = lines {
        planner.read(lines, findings)?;
    }
    planner.without_lines(findings);
    Ok(planner.plan)
}

struct Planner<'a> {
    expectations: &'a [Expectation],
    index: HashMap<&'a StreamId, usize>,
    /// Which expectations some stream met.
    met: Vec<bool>,
    plan: Plan,
}

impl Planner<'_> {
    /// Reads the lines partition by partition: all epochs of one stand together, as the lines are sorted.
    fn read(&mut self, mut lines: HeadsReader, findings: &mut Findings) -> Result<(), bundle::Error> {
        let mut root = CompactRange::starting_at(0);
        let mut last = String::new();
        let mut group: Vec<HeadsLine> = Vec::new();
        while let Some(line) = lines.next_line()? {
            let text = line.to_string();
            if text <= last || group.len() == EPOCHS_MAX {
                let problem = format!("line {}: out of order", root.end() + 1);
                return Err(bundle::Error::Malformed { file: "heads".into(), problem });
            }
            root.push_leaf(tree::leaf_hash(text.as_bytes()));
            last = text;
            if group.first().is_some_and(|first| first.stream.partition != line.stream.partition) {
                self.partition(std::mem::take(&mut group), findings)?;
            }
            group.push(line);
        }
        self.partition(group, findings)?;
        self.plan.committed = Some((root.end(), root.root()));
        Ok(())
    }

    fn partition(&mut self, lines: Vec<HeadsLine>, findings: &mut Findings) -> Result<(), bundle::Error> {
        let newest = lines.iter().map(|line| line.stream.epoch).max().unwrap_or(0);
        let mut epochs = HashSet::new();
        for line in lines {
            if !epochs.insert(line.stream.epoch) {
                let problem = format!("two lines are about {}", line.stream);
                return Err(bundle::Error::Malformed { file: "heads".into(), problem });
            }
            let closed = line.stream.epoch < newest;
            let mut expected = Ranges::default();
            let mut ended_by_heads = self.expectations.is_empty();
            if self.expectations.is_empty() {
                expected.add(0..line.next);
            }
            for (expectation, met) in self.expectations.iter().zip(&mut self.met) {
                if expectation.matches(&line.stream) {
                    *met = true;
                    ended_by_heads |= expectation.is_open();
                    expected.add(expectation.offsets(Some(line.next), closed).unwrap_or_default());
                }
            }
            self.add(&line.stream, expected, findings);
            if let Some(i) = self.index.get(&line.stream) {
                if ended_by_heads {
                    self.plan.ended_by_heads.insert(*i);
                }
                self.plan.lines.insert(*i, line);
            }
        }
        Ok(())
    }

    fn add(&mut self, stream: &StreamId, expected: Ranges, findings: &mut Findings) {
        if expected.is_empty() {
            return;
        }
        if let Some(i) = self.index.get(stream) {
            self.plan.expected.insert(*i, expected);
            return;
        }
        for range in expected.iter() {
            let place = Place::stream(stream).offsets(range.clone());
            findings.add(Verdict::Incomplete, "uncovered", place, "the bundle does not hold this stream");
        }
    }

    /// Expectations that say themselves where they end hold for streams of the bundle without a heads line as well:
    /// sealed after the heads statement, or in a bundle without one.
    fn without_lines(&mut self, findings: &mut Findings) {
        let mut streams: Vec<(&StreamId, usize)> = self.index.iter().map(|(stream, i)| (*stream, *i)).collect();
        streams.sort_unstable();
        for (stream, i) in streams {
            if self.plan.lines.contains_key(&i) {
                continue;
            }
            let mut expected = Ranges::default();
            for (expectation, met) in self.expectations.iter().zip(&mut self.met) {
                if let Some(offsets) = expectation.matches(stream).then(|| expectation.offsets(None, false)).flatten() {
                    *met = true;
                    expected.add(offsets);
                }
            }
            self.add(stream, expected, findings);
        }
        self.unanswered(findings);
    }

    /// Reports what cannot be answered, or is answered by there being no such stream.
    fn unanswered(&self, findings: &mut Findings) {
        let no_heads = self.plan.committed.is_none();
        if no_heads && self.expectations.is_empty() {
            let problem = "the bundle has no heads lines, so it is not known which streams there are; \
                           say with --expect which must be proven";
            findings.add(Verdict::Incomplete, "no-heads", Place::default(), problem);
        }
        for (expectation, met) in self.expectations.iter().zip(&self.met) {
            let (code, problem) = match (no_heads, met) {
                (true, _) if expectation.is_open() => (
                    "no-heads",
                    "without heads lines it is not known which streams there are and where they end; name the \
                     stream, its epoch and its offsets, as in orders/3#0@0..100",
                ),
                (true, false) => ("uncovered", "the bundle does not hold this stream"),
                (false, false) => {
                    ("no-such-stream", "nothing was sealed under this name by the newest heads statement")
                }
                (_, true) => continue,
            };
            findings.add(Verdict::Incomplete, code, Place::default(), format!("{expectation}: {problem}"));
        }
    }
}

/// Whether the lines are those that the heads statement commits to.
pub(crate) fn are_committed(plan: &Plan, heads: &Heads) -> bool {
    plan.committed == Some((heads.streams, heads.root))
}
