//! The lines under the newest heads statement, and what the auditor expects of each stream.

use std::collections::HashSet;

use bundle::{HeadsReader, Manifest};
use evidence::statement::{Heads, HeadsLine};
use evidence::tree::{self, CompactRange};
use evidence::{Hash, Partition, StreamId};

use crate::expect::{Expectation, Ranges};
use crate::finding::{Findings, Place, Verdict};

/// The most epochs of one partition.
const EPOCHS_MAX: usize = 65_536;

/// What the auditor expects, stream by stream.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each stream of the manifest, in their order.
    pub(crate) streams: Vec<Planned>,
    /// Count and root of the lines, to be compared with the heads statement; `None` without lines.
    pub(crate) committed: Option<(u64, Hash)>,
}

impl Plan {
    /// Nothing is expected of the bundle's streams.
    pub(crate) fn of_nothing(manifest: &Manifest) -> Self {
        Self { streams: vec![Planned::default(); manifest.streams.len()], committed: None }
    }
}

/// What is expected of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planned {
    /// The offsets that must be covered, as far as they do not lie before the stream's first one.
    pub(crate) expected: Ranges,
    /// Whether the auditor names such offsets of this epoch: then it must not begin after them.
    pub(crate) is_named: bool,
    /// Whether a heads line says where the stream ends: how much is expected of it.
    pub(crate) is_ended_by_heads: bool,
    /// The stream's heads line.
    pub(crate) head: Option<Head>,
}

/// What a heads line says of its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) next: u64,
    pub(crate) statement: Hash,
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
    let (met, plan) = (vec![false; expectations.len()], Plan::of_nothing(manifest));
    let mut planner = Planner { expectations, manifest, met, plan };
    if let Some(lines) = lines {
        planner.read(lines, findings)?;
    }
    planner.without_lines();
    planner.unanswered(findings);
    Ok(planner.plan)
}

struct Planner<'a> {
    expectations: &'a [Expectation],
    manifest: &'a Manifest,
    /// Which expectations some stream met.
    met: Vec<bool>,
    plan: Plan,
}

impl Planner<'_> {
    /// Reads the lines partition by partition: all epochs of one stand together, as the lines are sorted.
    fn read(&mut self, mut lines: HeadsReader, findings: &mut Findings) -> Result<(), bundle::Error> {
        let mut root = CompactRange::starting_at(0);
        let mut last = String::new();
        let mut group = Vec::new();
        let mut partition: Option<Partition> = None;
        while let Some(line) = lines.next_line()? {
            let malformed = |problem| {
                let problem = format!("line {}: {problem}", root.end() + 1);
                Err(bundle::Error::Malformed { file: "heads".into(), problem })
            };
            let text = line.to_string();
            if text <= last {
                return malformed("out of order");
            }
            let HeadsLine { stream, next, statement } = line;
            if partition.as_ref() != Some(&stream.partition)
                && let Some(before) = partition.replace(stream.partition)
            {
                self.partition(&before, &group, findings)?;
                group.clear();
            }
            if group.len() == EPOCHS_MAX {
                return malformed("more than 65,536 lines of one partition");
            }
            group.push((stream.epoch, Head { next, statement }));
            root.push_leaf(tree::leaf_hash(text.as_bytes()));
            last = text;
        }
        if let Some(partition) = partition {
            self.partition(&partition, &group, findings)?;
        }
        self.plan.committed = Some((root.end(), root.root()));
        Ok(())
    }

    /// All lines of a partition, by their epochs.
    fn partition(
        &mut self,
        partition: &Partition,
        lines: &[(u64, Head)],
        findings: &mut Findings,
    ) -> Result<(), bundle::Error> {
        let newest = lines.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
        let mut epochs = HashSet::new();
        for (epoch, head) in lines {
            let stream = partition.stream(*epoch);
            if !epochs.insert(epoch) {
                let problem = format!("two lines are about {stream}");
                return Err(bundle::Error::Malformed { file: "heads".into(), problem });
            }
            let closed = *epoch < newest;
            let is_ended_by_heads = self.expectations.is_empty();
            let mut planned = Planned { is_ended_by_heads, head: Some(*head), ..Planned::default() };
            if self.expectations.is_empty() {
                planned.expected.add(0..head.next);
            }
            for (expectation, met) in self.expectations.iter().zip(&mut self.met) {
                if expectation.matches(&stream) {
                    *met = true;
                    planned.is_ended_by_heads |= expectation.is_open();
                    planned.is_named |= expectation.names_offsets();
                    planned.expected.add(expectation.offsets(Some(head.next), closed).unwrap_or_default());
                }
            }
            match self.manifest.place_of(&stream) {
                Some(at) => self.plan.streams[at] = planned,
                None => absent(&stream, &planned.expected, findings),
            }
        }
        Ok(())
    }

    /// Expectations that say themselves where they end hold for streams of the bundle without a heads line as well:
    /// sealed after the heads statement, or in a bundle without one.
    fn without_lines(&mut self) {
        let streams = self.manifest.streams.iter().zip(&mut self.plan.streams);
        for (range, planned) in streams.filter(|(_, planned)| planned.head.is_none()) {
            for (expectation, met) in self.expectations.iter().zip(&mut self.met) {
                let stream = &range.stream;
                if let Some(offsets) = expectation.matches(stream).then(|| expectation.offsets(None, false)).flatten() {
                    *met = true;
                    planned.is_named |= expectation.names_offsets();
                    planned.expected.add(offsets);
                }
            }
        }
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

/// A stream that the bundle does not hold. Nothing shows where it begins.
fn absent(stream: &StreamId, expected: &Ranges, findings: &mut Findings) {
    for range in expected.iter() {
        let place = Place::stream(stream).offsets(range.clone());
        findings.add(Verdict::Incomplete, "uncovered", place, "the bundle does not hold this stream");
    }
}

/// Whether the lines are those that the heads statement commits to.
pub(crate) fn are_committed(plan: &Plan, heads: &Heads) -> bool {
    plan.committed == Some((heads.streams, heads.root))
}
