//! Bundles of a ledger, made in memory first so that tests can change anything in them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bundle::{Run, Writer};
use evidence::statement::{HeadsLine, Statement};
use evidence::tree::decompose;
use evidence::{Hash, LeafPreimage, StreamId, TimestampType};
use verifier::{Inputs, Report, verify};

use super::{Event, Ledger, ORIGIN, T0};

/// The content of a bundle, before it is written.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) origin: String,
    pub(crate) genesis: Hash,
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) heads: Option<Vec<HeadsLine>>,
    pub(crate) runs: Vec<Run>,
    pub(crate) streams: Vec<Stream>,
}

#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) offsets: Range<u64>,
    pub(crate) batches: Vec<Batch>,
}

#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) leaf_index: Vec<LeafPreimage>,
    pub(crate) events: Vec<Event>,
}

impl Ledger {
    /// A bundle with all entries and all events, against the checkpoint of the present size.
    pub(crate) fn bundle(&self) -> Bundle {
        let size = self.size();
        let mut bundle = self.bundle_of(&(0..size).collect(), size);
        bundle.streams = self.batches.keys().map(|id| self.stream(id, 0..u64::MAX >> 1)).collect();
        bundle
    }

    /// A bundle with some entries and no stream.
    pub(crate) fn bundle_of(&self, seqs: &BTreeSet<u64>, size: u64) -> Bundle {
        let heads = self.heads.iter().rev().find(|(seq, _)| seqs.contains(seq)).map(|(_, lines)| lines.clone());
        Bundle {
            origin: ORIGIN.into(),
            genesis: self.genesis(),
            checkpoint: self.cosigned(size, T0).to_bytes(),
            heads,
            runs: self.runs(seqs, size),
            streams: Vec::new(),
        }
    }

    /// A bundle with the events of one stream in a range, and only the entries that it takes.
    pub(crate) fn sparse(&self, id: &StreamId, offsets: Range<u64>) -> Bundle {
        let size = self.size();
        let needed = |seq: &u64| match self.entry(*seq).statement.statement() {
            Statement::Genesis(_) | Statement::Key(_) => true,
            Statement::Epoch(epoch) => epoch.stream.partition == id.partition,
            Statement::Heads(_) => self.heads.last_key_value().is_some_and(|(newest, _)| newest == seq),
            statement => statement.advance().is_some_and(|advance| {
                advance.stream == id && advance.first < offsets.end && offsets.start < advance.next
            }),
        };
        let seqs = (0..size).filter(|seq| needed(seq) || *seq == size - 1).collect();
        let mut bundle = self.bundle_of(&seqs, size);
        bundle.streams = vec![self.stream(id, offsets)];
        bundle
    }

    pub(crate) fn stream(&self, id: &StreamId, offsets: Range<u64>) -> Stream {
        let meets = |batch: &&super::Batch| {
            let entry = self.entry(batch.seq);
            let advance = entry.statement.statement().advance().expect("a summary");
            !batch.events.is_empty() && advance.first < offsets.end && offsets.start < advance.next
        };
        let batch = |batch: &super::Batch| Batch {
            seq: batch.seq,
            leaf_index: batch.events.iter().map(Event::preimage).collect(),
            events: batch.events.iter().filter(|e| offsets.contains(&(e.offset as u64))).cloned().collect(),
        };
        let batches = self.batches[id].iter().filter(meets).map(batch).collect();
        Stream { id: id.clone(), offsets, batches }
    }

    /// Consecutive seqs become runs.
    pub(crate) fn runs(&self, seqs: &BTreeSet<u64>, size: u64) -> Vec<Run> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for &seq in seqs {
            match ranges.last_mut() {
                Some(range) if range.end == seq && seq - range.start < 1024 => range.end += 1,
                _ => ranges.push(seq..seq + 1),
            }
        }
        ranges.into_iter().map(|range| self.run(range, size)).collect()
    }

    pub(crate) fn run(&self, range: Range<u64>, size: u64) -> Run {
        let nodes = |range| decompose(range).into_iter().map(|node| self.node(node)).collect();
        Run {
            first: range.start,
            left: nodes(0..range.start),
            right: nodes(range.end..size),
            entries: self.entries[range.start as usize..range.end as usize].to_vec(),
        }
    }
}

impl Bundle {
    pub(crate) fn stream(&mut self, id: &StreamId) -> &mut Stream {
        self.streams.iter_mut().find(|stream| stream.id == *id).expect("a stream of the bundle")
    }

    pub(crate) fn batch(&mut self, seq: u64) -> &mut Batch {
        self.streams.iter_mut().flat_map(|s| &mut s.batches).find(|b| b.seq == seq).expect("a batch of the bundle")
    }

    pub(crate) fn write(&self, target: &Path) {
        let streams = self.streams.iter().map(|s| (s.id.clone(), s.offsets.clone())).collect();
        let mut writer =
            Writer::create(target, &self.origin, self.genesis, &self.checkpoint, streams).expect("created");
        if let Some(lines) = &self.heads {
            writer.heads(lines.iter().cloned()).expect("heads");
        }
        for run in &self.runs {
            writer.run(run).expect("a run");
        }
        for (i, stream) in self.streams.iter().enumerate() {
            for batch in &stream.batches {
                let events: Vec<bundle::Event<'_>> = batch
                    .events
                    .iter()
                    .map(|event| bundle::Event {
                        offset: event.offset,
                        timestamp: event.timestamp,
                        timestamp_type: TimestampType::Create,
                        content: &event.content,
                    })
                    .collect();
                writer.batch(i, batch.seq, &batch.leaf_index, &events).expect("a batch");
            }
        }
        writer.finish().expect("finished");
    }
}

/// An auditor's desk: a folder with a bundle, a trust file and clones.
pub(crate) struct Desk {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) inputs: Inputs,
}

impl Desk {
    /// A desk with a trust file only.
    pub(crate) fn new(trust: &str) -> Self {
        // In /dev/shm if there is one: the tests write thousands of bundles durably.
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = made.expect("a folder");
        let inputs = Inputs {
            bundle: dir.path().join("bundle"),
            trust: dir.path().join("trust"),
            clones: Vec::new(),
            branch: "anchors".into(),
            expectations: Vec::new(),
            accepted_gaps: BTreeSet::new(),
            pin: None,
            now_s: T0 + 3600,
        };
        std::fs::write(&inputs.trust, trust).expect("written");
        Self { dir, inputs }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the bundle on the desk.
    pub(crate) fn put(&mut self, bundle: &Bundle) -> &mut Self {
        if self.inputs.bundle.exists() {
            std::fs::remove_dir_all(&self.inputs.bundle).expect("removed");
        }
        bundle.write(&self.inputs.bundle);
        self
    }

    pub(crate) fn expect(&mut self, expectations: &[&str]) -> &mut Self {
        self.inputs.expectations = expectations.iter().map(|e| e.parse().expect("an expectation")).collect();
        self
    }

    pub(crate) fn verify(&self) -> Report {
        verify(&self.inputs)
    }

    /// Verifies, and requires this exit code and a finding with this code; returns that finding's place and problem.
    #[track_caller]
    pub(crate) fn refused(&self, exit_code: u8, code: &str) -> String {
        let report = self.verify();
        let found = report.findings.iter().find(|finding| finding.code.as_str() == code);
        assert_eq!(report.verdict.exit_code(), exit_code, "{report}");
        let finding = found.unwrap_or_else(|| panic!("no finding {code} in\n{report}"));
        format!("{}: {}", finding.place, finding.problem)
    }

    #[track_caller]
    pub(crate) fn proven(&self) -> Report {
        let report = self.verify();
        assert_eq!(report.verdict.exit_code(), 0, "{report}");
        report
    }
}
