//! One copy of the anchors' branch, from its newest anchor to its oldest.

use evidence::Head;
use git_reader::Tip;

use super::finding::{CloneFinding, ReportedCodes};
use super::walk::{Anchor, AnchorWalk, Reading};
use super::{Anchored, CloneReport, Comparison, Landmark, anchored, earlier, head};
use crate::code::Code;
use crate::finding::{Findings, Place};
use crate::verdict::Verdict;

/// The most anchors of a copy that are looked up in the bundle's runs; each time the runs are read again. One is enough
/// unless proofs between anchors are absent.
const SEARCHES_MAX: u32 = 16;

pub(super) struct BranchCopy<'a> {
    comparison: &'a Comparison<'a>,
    /// The index of its clone in the auditor's list.
    pub(super) clone: usize,
    pub(super) path: &'a str,
    pub(super) tip: &'a Tip,
    walk: AnchorWalk<'a>,
    reported: ReportedCodes,
    /// Set by the first finding. Anchors read after it are compared, but vouch for nothing.
    has_finding: bool,
    /// Set by a contradiction: nothing more is read.
    is_tampered: bool,
    /// Whether some commit may hold an anchor whose head is unknown.
    has_gap: bool,
    /// Whether such a commit is older than the newest known anchor.
    has_gap_inside: bool,
    /// The newest anchor, until it is compared.
    first: Option<Anchor>,
    newest: Option<Anchored>,
    /// The last anchor that was read.
    newer: Option<Newer>,
    /// Whether a proof connects the next older anchor with `newer`.
    is_next: bool,
    anchors: u64,
    /// The size of the oldest anchor that was read before the first such gap.
    passed: Option<u64>,
    searches: u32,
    /// For each landmark, whether an anchor has its size.
    met: Vec<bool>,
    notes: Vec<String>,
    /// The time of the newest anchor that a quorum vouches for.
    newest_at_s: Option<u64>,
    agrees_at: Option<u64>,
    vouchers: Vouchers<'a>,
}

struct Newer {
    anchor: Anchor,
    /// Whether it is proven consistent with the bundle.
    agrees: bool,
}

/// A copy that was read to its end.
pub(super) struct Followed {
    pub(super) report: CloneReport,
    pub(super) newest_at_s: Option<u64>,
    pub(super) vouchers: Vec<Option<Anchored>>,
    pub(super) notes: Vec<String>,
    /// Whether it may be another branch. It then says nothing about the pinned head.
    pub(super) is_doubtful: bool,
    pub(super) has_pin: bool,
    /// Whether it has larger anchors than the pinned head, but none of its size.
    pub(super) lacks_pin: bool,
}

impl<'a> BranchCopy<'a> {
    pub(super) fn new(
        comparison: &'a Comparison<'a>,
        clone: usize,
        path: &'a str,
        tip: &'a Tip,
        walk: AnchorWalk<'a>,
    ) -> Self {
        Self {
            comparison,
            clone,
            path,
            tip,
            walk,
            reported: ReportedCodes::default(),
            has_finding: false,
            is_tampered: false,
            has_gap: false,
            has_gap_inside: false,
            first: None,
            newest: None,
            newer: None,
            is_next: false,
            anchors: 0,
            passed: None,
            searches: 0,
            met: Vec::new(),
            notes: Vec::new(),
            newest_at_s: None,
            agrees_at: None,
            vouchers: Vouchers::new(comparison.seqs),
        }
    }

    /// Reads up to the newest anchor, and returns its head if there is one. A doubtful copy whose newest commit holds no
    /// anchor is another branch.
    pub(super) fn read_newest(&mut self, findings: &mut Findings) -> Option<Head> {
        while self.first.is_none() {
            self.first = self.next_reading(findings)?.anchor;
            if self.tip.is_doubtful {
                break;
            }
        }
        let first = self.first.as_ref()?;
        self.newest = Some(anchored(self.path, first));
        Some(head(&first.head))
    }

    /// Whether everything was read and there is no anchor.
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_none() && !self.has_finding
    }

    /// Compares all anchors with the landmarks, the bundle and each other.
    pub(super) fn follow(mut self, landmarks: &[Landmark], findings: &mut Findings) -> Followed {
        self.met = vec![false; landmarks.len()];
        loop {
            let anchor = match self.first.take() {
                Some(first) => Some(first),
                None => match self.next_reading(findings) {
                    Some(reading) => reading.anchor,
                    None => break,
                },
            };
            if let Some(Err(finding)) = anchor.map(|anchor| self.anchor(anchor, landmarks)) {
                self.report(finding, findings);
            }
        }
        if self.walk.is_at_beginning() && !self.is_tampered {
            self.first_commit_reached(findings);
        }
        let is_lacking = |(landmark, met): &(&Landmark, &bool)| !**met && self.goes_beyond(landmark.head.size);
        let own = landmarks.iter().zip(&self.met).filter(|_| !self.tip.is_doubtful);
        let lacking: Vec<&Landmark> = own.clone().filter(is_lacking).map(|(landmark, _)| landmark).collect();
        let has_pin = own.clone().any(|(landmark, met)| landmark.is_pin && *met);
        let lacks_pin = lacking.iter().any(|landmark| landmark.is_pin);
        for landmark in lacking.into_iter().filter(|landmark| landmark.clone == Some(self.clone)) {
            let problem = format!(
                "{} does not contain {} (size {}), but has larger anchors: its history was rewritten",
                self.tip.reference, landmark.what, landmark.head.size
            );
            findings.add(Code::RewrittenHistory, Place::file(self.path), problem);
        }
        let complete = self.walk.is_at_beginning() && !self.is_tampered && !self.has_gap;
        Followed {
            report: CloneReport {
                path: self.path.to_owned(),
                reference: self.tip.reference.clone(),
                commits: self.walk.commits(),
                anchors: self.anchors,
                newest: self.newest,
                agrees_at: self.agrees_at,
                complete,
            },
            newest_at_s: self.newest_at_s.filter(|_| self.agrees_at.is_some()),
            vouchers: self.vouchers.finish(),
            notes: self.notes,
            is_doubtful: self.tip.is_doubtful,
            has_pin,
            lacks_pin,
        }
    }

    fn next_reading(&mut self, findings: &mut Findings) -> Option<Reading> {
        if self.is_tampered {
            return None;
        }
        let mut reading = self.walk.next_reading()?;
        for finding in std::mem::take(&mut reading.findings) {
            self.report(finding, findings);
        }
        if reading.is_gap {
            self.has_gap = true;
            self.has_gap_inside |= self.newest.is_some();
            self.is_next = false;
        }
        Some(reading)
    }

    fn report(&mut self, finding: CloneFinding, findings: &mut Findings) {
        self.has_finding = true;
        self.is_tampered |= finding.code.verdict() == Verdict::Tampered;
        // Everyone who may push a branch may have made a doubtful copy. Only a fork is proven, by the log's signatures.
        if self.tip.is_doubtful && finding.code != Code::Fork {
            if self.notes.is_empty() {
                let note =
                    format!("{}: {}, which may be another branch: {}", self.path, self.tip.reference, finding.problem);
                self.notes.push(note);
            }
            return;
        }
        self.reported.report(self.path, finding, findings);
    }

    fn anchor(&mut self, anchor: Anchor, landmarks: &[Landmark]) -> Result<(), CloneFinding> {
        self.anchors += 1;
        let found = head(&anchor.head);
        for (landmark, met) in landmarks.iter().zip(&mut self.met) {
            if landmark.head.size == found.size {
                if landmark.head.root != found.root {
                    return Err(fork(&anchor, &landmark.what, landmark.head));
                }
                *met = true;
            }
        }
        let mut agrees = false;
        if let Some(newer) = &self.newer {
            let note = newer.anchor.check_step(Some(&anchor), self.is_next)?;
            if self.notes.is_empty() {
                self.notes.extend(note.map(|note| format!("{}: {note}", self.path)));
            }
            agrees = newer.agrees && self.is_next;
        }
        let agrees = agrees || self.agrees_with_bundle(&anchor)?;
        self.count_newer();
        if !self.has_gap_inside {
            self.passed = Some(found.size);
        }
        self.is_next = anchor.has_proof();
        self.newer = Some(Newer { anchor, agrees });
        Ok(())
    }

    /// Whether the bundle shows a root for the anchor's size, and it is the anchor's root.
    fn agrees_with_bundle(&mut self, anchor: &Anchor) -> Result<bool, CloneFinding> {
        let found = head(&anchor.head);
        let size = self.comparison.checkpoint.size;
        if found.size > size || (found.size < size && self.searches == SEARCHES_MAX) {
            return Ok(false);
        }
        let Some(root) = self.comparison.root_at(found.size) else { return Ok(false) };
        self.searches += u32::from(found.size < size);
        if root == found.root {
            return Ok(true);
        }
        Err(fork(anchor, "the bundle's entries", Head { size: found.size, root }))
    }

    /// Checks the oldest anchor, after the branch's first commit was read.
    fn first_commit_reached(&mut self, findings: &mut Findings) {
        let Some(newer) = &self.newer else { return };
        if let Err(finding) = newer.anchor.check_step(None, self.is_next) {
            self.report(finding, findings);
        }
        self.count_newer();
    }

    /// Counts the newer anchor, once it was compared with the older one. After a finding nothing counts.
    fn count_newer(&mut self) {
        let Some(Newer { anchor, agrees }) = self.newer.take().filter(|_| !self.has_finding) else { return };
        self.newest_at_s = self.newest_at_s.or(anchor.words.newest_at_s);
        if agrees {
            self.agrees_at.get_or_insert(anchor.head.size);
            self.vouchers.add(self.path, &anchor);
        }
    }

    /// Whether the reading passed this size: an anchor of it would have been read.
    fn goes_beyond(&self, size: u64) -> bool {
        let is_whole = self.walk.is_at_beginning() && !self.has_gap_inside;
        let is_passed = is_whole || self.passed.is_some_and(|passed| passed < size);
        !self.is_tampered && is_passed && self.newest.as_ref().is_some_and(|newest| newest.size >= size)
    }
}

fn fork(anchor: &Anchor, what: &str, other: Head) -> CloneFinding {
    let problem = format!("the anchor has {}, but {what} has {other}: two histories", head(&anchor.head));
    CloneFinding::new(Code::Fork, problem).at(anchor.commit)
}

/// Finds the anchor that vouches for each seq.
struct Vouchers<'a> {
    seqs: &'a [u64],
    found: Vec<Option<Anchored>>,
    /// The indexes in `found`, by descending seq; those before `open` are final.
    order: Vec<usize>,
    open: usize,
    /// The earliest anchor so far.
    current: Option<Anchored>,
}

impl<'a> Vouchers<'a> {
    fn new(seqs: &'a [u64]) -> Self {
        let mut order: Vec<usize> = (0..seqs.len()).collect();
        order.sort_unstable_by_key(|&i| std::cmp::Reverse(seqs[i]));
        Self { seqs, found: vec![None; seqs.len()], order, open: 0, current: None }
    }

    /// Adds the next older anchor, which vouches for the entries below its size.
    fn add(&mut self, path: &str, anchor: &Anchor) {
        while self.order.get(self.open).is_some_and(|&i| self.seqs[i] >= anchor.head.size) {
            self.found[self.order[self.open]].clone_from(&self.current);
            self.open += 1;
        }
        if anchor.words.satisfied {
            earlier(&mut self.current, Some(anchored(path, anchor)));
        }
    }

    /// Returns the vouchers, after the last anchor.
    fn finish(mut self) -> Vec<Option<Anchored>> {
        for &i in &self.order[self.open..] {
            self.found[i].clone_from(&self.current);
        }
        self.found
    }
}
