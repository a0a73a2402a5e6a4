//! The form of cases in `cases.json`.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use evidence::statement::Reason;
use serde::Serialize;
use verifier::{Expectation, Finding, Report, StreamReport};

use crate::common::T0;

/// Changes to the golden files, and the outcome that they must have.
#[derive(Serialize)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) changes: Vec<Change>,
    pub(super) inputs: Inputs,
    pub(super) outcome: Outcome,
}

/// A change to one file.
#[derive(Clone, Serialize)]
pub(super) struct Change {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) how: How,
}

#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(super) enum How {
    /// Replaces `remove` bytes from byte `at` on by `repeat` times those of `insert`. A missing file has no
    /// bytes.
    Splice {
        at: String,
        remove: String,
        insert: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        repeat: Option<String>,
    },
    /// Removes the file, and the folders that are then empty.
    Absent { absent: bool },
}

impl Change {
    pub(super) fn splice(file: &str, at: usize, remove: usize, insert: &[u8]) -> Self {
        let insert = insert.iter().map(|byte| format!("{byte:02x}")).collect();
        let how = How::Splice { at: at.to_string(), remove: remove.to_string(), insert, repeat: None };
        Self { file: file.into(), how }
    }

    /// Inserts a byte `count` times.
    pub(super) fn repeat(file: &str, at: usize, byte: u8, times: u64) -> Self {
        let (at, remove, insert) = (at.to_string(), "0".to_owned(), format!("{byte:02x}"));
        Self { file: file.into(), how: How::Splice { at, remove, insert, repeat: Some(times.to_string()) } }
    }

    /// Replaces a file's bytes.
    pub(super) fn rewrite(file: &str, old: &[u8], new: &[u8]) -> Self {
        let same = |(a, b): &(&u8, &u8)| a == b;
        let before = old.iter().zip(new).take_while(same).count();
        let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(same).count();
        Self::splice(file, before, old.len() - before - after, &new[before..new.len() - after])
    }

    pub(super) fn absent(file: impl Into<String>) -> Self {
        Self { file: file.into(), how: How::Absent { absent: true } }
    }

    pub(super) fn apply(&self, folder: &Path) {
        let path = folder.join(&self.file);
        match &self.how {
            How::Absent { .. } => {
                fs::remove_file(&path).expect("removed");
                // A folder that is not empty stays.
                let inside = path.ancestors().skip(1).take_while(|parent| *parent != folder);
                inside.take_while(|parent| fs::remove_dir(parent).is_ok()).for_each(drop);
            }
            How::Splice { at, remove, insert, repeat } => {
                let mut bytes = fs::read(&path).unwrap_or_default();
                let times = repeat.as_ref().map_or(1, |times| times.parse().expect("a number"));
                let at: usize = at.parse().expect("a number");
                let end = at + remove.parse::<usize>().expect("a number");
                let digits = insert.as_bytes().as_chunks::<2>().0.iter();
                let hex = |pair: &[u8; 2]| {
                    let pair = std::str::from_utf8(pair).expect("digits");
                    u8::from_str_radix(pair, 16).expect("digits")
                };
                bytes.splice(at..end, digits.map(hex).collect::<Vec<u8>>().repeat(times));
                super::write(&path, &bytes);
            }
        }
    }
}

/// The inputs beside the bundle and the trust file.
#[derive(Clone, Serialize)]
pub(super) struct Inputs {
    /// Whether the clone `anchors.git` is given.
    pub(super) clone: bool,
    pub(super) expect: Vec<&'static str>,
    pub(super) accept_gap: Vec<&'static str>,
    /// The auditor's clock, in seconds since 1970.
    pub(super) now_s: String,
    /// Whether the pin file `pin` is used.
    pub(super) pin: bool,
    /// Whether the file `event-proof` is verified, and not the bundle.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) event_proof: bool,
}

impl Inputs {
    /// The verified file or folder and the files beside it, by name.
    pub(super) fn evidence(&self) -> &'static str {
        if self.event_proof { "event-proof" } else { "bundle" }
    }

    /// Whether each expectation parses.
    pub(super) fn make_sense(&self) -> bool {
        self.expect.iter().all(|expect| expect.parse::<Expectation>().is_ok())
    }

    /// The reasons of gaps that are accepted.
    pub(super) fn reasons(&self) -> BTreeSet<Reason> {
        let reasons = self.accept_gap.iter().map(|reason| match *reason {
            "all" => Reason::ALL.to_vec(),
            reason => vec![reason.parse().expect("a reason")],
        });
        reasons.flatten().collect()
    }
}

impl Default for Inputs {
    fn default() -> Self {
        let now_s = (T0 + 3600).to_string();
        Self { clone: true, expect: vec!["orders/0"], accept_gap: vec!["start"], now_s, pin: false, event_proof: false }
    }
}

/// The required outcome.
#[derive(Serialize)]
pub(super) struct Outcome {
    pub(super) exit_code: u8,
    verdict: String,
    pub(super) findings: Vec<Found>,
    proven: Vec<Proven>,
    /// The pin file afterwards; none if it is not used or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pin: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Found {
    verdict: String,
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets: Option<[String; 2]>,
}

/// The proven part of a stream, and who saw it when.
#[derive(Serialize)]
struct Proven {
    stream: String,
    offsets: Vec<[String; 2]>,
    events: String,
    gaps: Vec<[String; 2]>,
    anchored_size: String,
    existed_by_s: String,
}

impl Outcome {
    /// The outcome of a question that makes no sense.
    pub(super) fn usage() -> Self {
        Self { exit_code: 2, verdict: "usage".into(), findings: Vec::new(), proven: Vec::new(), pin: None }
    }

    /// The outcome of verifying the files in `folder`.
    pub(super) fn new(report: &Report, folder: &Path, pin: Option<String>) -> Self {
        Self {
            exit_code: report.verdict.exit_code(),
            verdict: report.verdict.to_string(),
            findings: report.findings.iter().map(|finding| Found::new(finding, folder)).collect(),
            proven: report.streams.iter().filter_map(Proven::new).collect(),
            pin,
        }
    }
}

impl Found {
    fn new(finding: &Finding, folder: &Path) -> Self {
        let place = &finding.place;
        let prefix = format!("{}/", folder.display());
        Self {
            verdict: finding.verdict.to_string(),
            code: finding.code.as_str(),
            file: place.file.as_ref().map(|file| file.strip_prefix(&prefix).unwrap_or(file).to_owned()),
            commit: place.commit.clone(),
            entry: place.entry.map(|seq| seq.to_string()),
            stream: place.stream.as_ref().map(name),
            offsets: place.offsets.clone().map(pair),
        }
    }

    /// The place in one line.
    pub(super) fn place(&self) -> String {
        let offsets = self.offsets.as_ref().map(|[from, to]| format!("{from}..{to}"));
        let entry = self.entry.as_ref().map(|seq| format!("entry {seq}"));
        let commit = self.commit.as_ref().map(|_| "commit".to_owned());
        let parts = [self.file.clone(), commit, self.stream.clone(), offsets, entry];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Proven {
    fn new(report: &StreamReport) -> Option<Self> {
        let anchored = report.anchored.as_ref().filter(|_| !report.proven().is_empty())?;
        Some(Self {
            stream: name(&report.stream),
            offsets: report.proven().iter().cloned().map(pair).collect(),
            events: report.events.to_string(),
            gaps: report.gaps.iter().map(|gap| pair(gap.offsets.clone())).collect(),
            anchored_size: anchored.size.to_string(),
            existed_by_s: anchored.words.existed_by_s.expect("the policy has a quorum").to_string(),
        })
    }
}

/// In the form of a heads line.
fn name(stream: &evidence::StreamId) -> String {
    let evidence::Partition { cluster, topic, number } = &stream.partition;
    format!("{cluster} {topic} {number} {}", stream.epoch)
}

fn pair(range: Range<u64>) -> [String; 2] {
    [range.start.to_string(), range.end.to_string()]
}
