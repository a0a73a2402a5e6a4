//! One copy of the anchors' branch, from its newest anchor to its oldest.

use super::{Anchored, CloneReport, Comparison, Landmark, Reported, anchored, earlier, head};
use crate::finding::{Findings, Place, Verdict};
use crate::git::{Anchor, Fault, Reading, Tip, Walk};
use evidence::Head;

/// How many anchors of a copy are looked for in the bundle's runs, each of which means reading them anew. One is enough
/// unless proofs between anchors are absent.
const SEARCHES_MAX: u32 = 16;

pub(super) struct Copy<'a> {
    comparison: &'a Comparison<'a>,
    /// The place of its clone among those given.
    pub(super) clone: usize,
    pub(super) path: &'a str,
    pub(super) tip: &'a Tip,
    walk: Walk<'a>,
    reported: Reported,
    /// Set by the first finding. What is read after it is only compared: it vouches for nothing.
    has_finding: bool,
    /// Set by what contradicts: nothing more is read.
    is_over: bool,
    /// Whether there may be an anchor whose head is not known, at all and among those older than the newest one known.
    has_gap: bool,
    has_gap_inside: bool,
    /// The newest anchor, until it is compared.
    first: Option<Anchor>,
    newest: Option<Anchored>,
    /// The last anchor that was read.
    newer: Option<Newer>,
    /// Whether a proof leads from the next older anchor to `newer`.
    is_next: bool,
    anchors: u64,
    /// The size of the oldest anchor that was read before the first gap inside.
    passed: Option<u64>,
    searches: u32,
    /// Which landmarks were met.
    met: Vec<bool>,
    notes: Vec<String>,
    /// When the newest anchor that a quorum vouches for was the newest head.
    newest_at_s: Option<u64>,
    agrees_at: Option<u64>,
    vouchers: Vouchers<'a>,
}

struct Newer {
    anchor: Anchor,
    /// Whether it is known to be consistent with the bundle.
    agrees: bool,
}

/// What a copy has shown.
pub(super) struct Followed {
    pub(super) report: CloneReport,
    pub(super) newest_at_s: Option<u64>,
    pub(super) vouchers: Vec<Option<Anchored>>,
    pub(super) notes: Vec<String>,
    /// Whether it may be another branch. Then it says nothing of the pinned head.
    pub(super) is_doubtful: bool,
    pub(super) has_pin: bool,
    /// Whether it has no anchor of the pinned size although it goes on further.
    pub(super) lacks_pin: bool,
}

impl<'a> Copy<'a> {
    pub(super) fn new(
        comparison: &'a Comparison<'a>,
        clone: usize,
        path: &'a str,
        tip: &'a Tip,
        walk: Walk<'a>,
    ) -> Self {
        Self {
            comparison,
            clone,
            path,
            tip,
            walk,
            reported: Reported::default(),
            has_finding: false,
            is_over: false,
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

    /// Reads up to the newest anchor, and returns its head if there is one. In a doubtful copy the newest commit holds
    /// it, or the copy is another branch.
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

    /// Whether everything was read, and no anchor is there.
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
            if let Some(Err(fault)) = anchor.map(|anchor| self.anchor(anchor, landmarks)) {
                self.report(fault, findings);
            }
        }
        if self.walk.is_at_beginning() && !self.is_over {
            self.end(findings);
        }
        let is_lacking = |(landmark, met): &(&Landmark, &bool)| !**met && self.goes_beyond(landmark.head.size);
        let own = landmarks.iter().zip(&self.met).filter(|_| !self.tip.is_doubtful);
        let lacking: Vec<&Landmark> = own.clone().filter(is_lacking).map(|(landmark, _)| landmark).collect();
        let has_pin = own.clone().any(|(landmark, met)| landmark.is_pin && *met);
        let lacks_pin = lacking.iter().any(|landmark| landmark.is_pin);
        for landmark in lacking.into_iter().filter(|landmark| landmark.clone == Some(self.clone)) {
            let problem = format!(
                "{} does not contain {} (size {}), although it goes on further: its history was rewritten",
                self.tip.reference, landmark.what, landmark.head.size
            );
            findings.add(Verdict::Tampered, "rewritten-history", Place::file(self.path), problem);
        }
        let complete = self.walk.is_at_beginning() && !self.is_over && !self.has_gap;
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
        if self.is_over {
            return None;
        }
        let mut reading = self.walk.next_reading()?;
        for fault in std::mem::take(&mut reading.faults) {
            self.report(fault, findings);
        }
        if reading.is_gap {
            self.has_gap = true;
            self.has_gap_inside |= self.newest.is_some();
            self.is_next = false;
        }
        Some(reading)
    }

    fn report(&mut self, fault: Fault, findings: &mut Findings) {
        self.has_finding = true;
        self.is_over |= fault.verdict == Verdict::Tampered;
        // Whoever may push any branch may have made it. A fork alone is shown by what the log signed.
        if self.tip.is_doubtful && fault.code != "fork" {
            if self.notes.is_empty() {
                let note =
                    format!("{}: {}, which may be another branch: {}", self.path, self.tip.reference, fault.problem);
                self.notes.push(note);
            }
            return;
        }
        self.reported.report(self.path, fault, findings);
    }

    fn anchor(&mut self, anchor: Anchor, landmarks: &[Landmark]) -> Result<(), Fault> {
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

    /// Whether the bundle shows the root of the anchor's size, and it is the anchor's.
    fn agrees_with_bundle(&mut self, anchor: &Anchor) -> Result<bool, Fault> {
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

    /// After the first commit.
    fn end(&mut self, findings: &mut Findings) {
        let Some(newer) = &self.newer else { return };
        if let Err(fault) = newer.anchor.check_step(None, self.is_next) {
            self.report(fault, findings);
        }
        self.count_newer();
    }

    /// An anchor counts when it was compared with the one before it, and nothing was found so far.
    fn count_newer(&mut self) {
        let Some(Newer { anchor, agrees }) = self.newer.take().filter(|_| !self.has_finding) else { return };
        self.newest_at_s = self.newest_at_s.or(anchor.words.newest_at_s);
        if agrees {
            self.agrees_at.get_or_insert(anchor.head.size);
            self.vouchers.add(self.path, &anchor);
        }
    }

    /// Whether an anchor of this size would have been read, if the copy had one.
    fn goes_beyond(&self, size: u64) -> bool {
        let is_whole = self.walk.is_at_beginning() && !self.has_gap_inside;
        let is_passed = is_whole || self.passed.is_some_and(|passed| passed < size);
        !self.is_over && is_passed && self.newest.as_ref().is_some_and(|newest| newest.size >= size)
    }
}

fn fork(anchor: &Anchor, what: &str, other: Head) -> Fault {
    let problem = format!("the anchor has {}, {what} has {other}: two histories", head(&anchor.head));
    Fault { verdict: Verdict::Tampered, code: "fork", commit: Some(anchor.commit), problem }
}

/// The anchors that vouch for seqs.
struct Vouchers<'a> {
    seqs: &'a [u64],
    found: Vec<Option<Anchored>>,
    /// The places in `found`, by falling seq; those before `open` are final.
    order: Vec<usize>,
    open: usize,
    /// The earliest anchor so far that vouches for something.
    current: Option<Anchored>,
}

impl<'a> Vouchers<'a> {
    fn new(seqs: &'a [u64]) -> Self {
        let mut order: Vec<usize> = (0..seqs.len()).collect();
        order.sort_unstable_by_key(|&i| std::cmp::Reverse(seqs[i]));
        Self { seqs, found: vec![None; seqs.len()], order, open: 0, current: None }
    }

    /// The next older anchor vouches for the entries before its size.
    fn add(&mut self, path: &str, anchor: &Anchor) {
        while self.order.get(self.open).is_some_and(|&i| self.seqs[i] >= anchor.head.size) {
            self.found[self.order[self.open]].clone_from(&self.current);
            self.open += 1;
        }
        if anchor.words.satisfied {
            earlier(&mut self.current, Some(anchored(path, anchor)));
        }
    }

    /// After the last anchor.
    fn finish(mut self) -> Vec<Option<Anchored>> {
        for &i in &self.order[self.open..] {
            self.found[i].clone_from(&self.current);
        }
        self.found
    }
}
