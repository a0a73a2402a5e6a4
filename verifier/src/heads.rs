//! The heads lines, and the plan: what the auditor expects of each stream.

use std::collections::HashSet;

use bundle::{HeadsReader, Manifest};
use evidence::statement::{Heads, HeadsLine};
use evidence::tree::{self, CompactRange};
use evidence::{Hash, Partition, StreamId};

use crate::code::Code;
use crate::expect::{Expectation, Ranges};
use crate::finding::{Findings, Place};

/// The most epochs of one partition.
const EPOCHS_MAX: usize = 65_536;

/// The expectations, stream by stream.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each stream of the manifest, in their order.
    pub(crate) streams: Vec<Planned>,
    /// Count and root of the heads lines, to be compared with the heads statement; `None` without lines.
    pub(crate) committed: Option<(u64, Hash)>,
}

impl Plan {
    /// A plan that expects nothing of the bundle's streams.
    pub(crate) fn of_nothing(manifest: &Manifest) -> Self {
        Self { streams: vec![Planned::default(); manifest.streams.len()], committed: None }
    }
}

/// The expectations of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planned {
    /// The offsets that must be covered, except those before the stream's first one.
    pub(crate) expected: Ranges,
    /// Whether the auditor names offsets of this epoch. The epoch must then begin before their end.
    pub(crate) is_named: bool,
    /// Whether the heads line decides where the expected offsets end.
    pub(crate) is_ended_by_heads: bool,
    /// The stream's heads line.
    pub(crate) end: Option<StreamEnd>,
}

/// The end of a stream by its heads line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamEnd {
    /// The cursor.
    pub(crate) next: u64,
    /// The hash of the newest statement.
    pub(crate) statement: Hash,
}

/// Makes the plan. Empty `expectations` mean all streams of the heads statement.
///
/// The lines are not verified here; the caller compares [`Plan::committed`] with the heads statement.
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
    /// For each expectation, whether it matches a stream.
    met: Vec<bool>,
    plan: Plan,
}

impl Planner<'_> {
    /// Reads the lines partition by partition. They are sorted, so the epochs of a partition are neighbours.
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
            group.push((stream.epoch, StreamEnd { next, statement }));
            root.push_leaf(tree::leaf_hash(text.as_bytes()));
            last = text;
        }
        if let Some(partition) = partition {
            self.partition(&partition, &group, findings)?;
        }
        self.plan.committed = Some((root.end(), root.root()));
        Ok(())
    }

    /// Plans the streams of a partition, from all of its lines by epoch.
    fn partition(
        &mut self,
        partition: &Partition,
        lines: &[(u64, StreamEnd)],
        findings: &mut Findings,
    ) -> Result<(), bundle::Error> {
        let newest = lines.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
        let mut epochs = HashSet::new();
        for (epoch, end) in lines {
            let stream = partition.stream(*epoch);
            if !epochs.insert(epoch) {
                let problem = format!("two lines are about {stream}");
                return Err(bundle::Error::Malformed { file: "heads".into(), problem });
            }
            let closed = *epoch < newest;
            let is_ended_by_heads = self.expectations.is_empty();
            let mut planned = Planned { is_ended_by_heads, end: Some(*end), ..Planned::default() };
            if self.expectations.is_empty() {
                planned.expected.add(0..end.next);
            }
            for (expectation, met) in self.expectations.iter().zip(&mut self.met) {
                if expectation.matches(&stream) {
                    *met = true;
                    planned.is_ended_by_heads |= expectation.is_open();
                    planned.is_named |= expectation.names_offsets();
                    planned.expected.add(expectation.offsets(Some(end.next), closed).unwrap_or_default());
                }
            }
            match self.manifest.place_of(&stream) {
                Some(at) => self.plan.streams[at] = planned,
                None => absent(&stream, &planned.expected, findings),
            }
        }
        Ok(())
    }

    /// Plans the streams without a heads line: sealed after the heads statement, or in a bundle without one. They take an
    /// expectation that names its end.
    fn without_lines(&mut self) {
        let streams = self.manifest.streams.iter().zip(&mut self.plan.streams);
        for (range, planned) in streams.filter(|(_, planned)| planned.end.is_none()) {
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

    /// Reports expectations that match no stream, or that the bundle cannot answer without heads lines.
    fn unanswered(&self, findings: &mut Findings) {
        let no_heads = self.plan.committed.is_none();
        if no_heads && self.expectations.is_empty() {
            let problem = "the bundle has no heads lines, so it is unknown which streams there are; name the streams to \
                           prove with --stream";
            findings.add(Code::NoHeads, Place::default(), problem);
        }
        for (expectation, met) in self.expectations.iter().zip(&self.met) {
            let (code, problem) = match (no_heads, met) {
                (true, _) if expectation.is_open() => (
                    Code::NoHeads,
                    "without heads lines it is unknown which streams there are and where they end; name the stream, its \
                     epoch and its offsets, as in orders/3#0@0..100",
                ),
                (true, false) => (Code::Uncovered, "the bundle does not hold this stream"),
                (false, false) => (Code::NoSuchStream, "the newest heads statement has no stream of this name"),
                (_, true) => continue,
            };
            findings.add(code, Place::default(), format!("{expectation}: {problem}"));
        }
    }
}

/// Reports a stream that the bundle does not hold. Nothing shows where it begins, so it begins at 0.
fn absent(stream: &StreamId, expected: &Ranges, findings: &mut Findings) {
    for range in expected.iter() {
        let place = Place::stream(stream).offsets(range.clone());
        findings.add(Code::Uncovered, place, "the bundle does not hold this stream");
    }
}

/// Whether the heads statement commits to the lines.
pub(crate) fn are_committed(plan: &Plan, heads: &Heads) -> bool {
    plan.committed == Some((heads.streams, heads.root))
}
