//! Compares the anchors in the auditor's clones with the bundle, with each other and with the pin.

use std::path::Path;
use std::sync::Arc;

use bundle::Reader;
use evidence::{Checkpoint, Hash};
use keystore::Head;

use crate::chain::Chain;
use crate::finding::{Findings, Place, Verdict};
use crate::git::{Anchor, Fault, Repository, Tip, Walk};
use crate::pin::{Pin, Source};
use crate::time::utc;
use crate::words::{Judge, Words};

/// What one copy of the anchors' branch has shown.
#[derive(Debug, Clone)]
pub struct CloneReport {
    /// The repository.
    pub path: String,
    /// The full name of the reference.
    pub reference: String,
    /// How many commits and anchors of this log were read.
    pub commits: u64,
    /// How many anchors of this log were verified.
    pub anchors: u64,
    /// The newest anchor.
    pub newest: Option<Anchored>,
    /// The largest size at which an anchor has the same root as the bundle's entries.
    pub agrees_at: Option<u64>,
    /// Whether the whole branch was walked, down to its first commit.
    pub complete: bool,
}

/// An anchor or checkpoint that vouches for entries.
#[derive(Debug, Clone)]
pub struct Anchored {
    /// The repository and commit; `None` for the bundle's own checkpoint.
    pub commit: Option<(String, String)>,
    /// The head.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Whose word there is on it; shared, as one anchor vouches for many streams.
    pub words: Arc<Words>,
}

/// What all clones together have shown.
pub(crate) struct Clones {
    pub(crate) reports: Vec<CloneReport>,
    /// For each of the seqs asked for: the anchor that vouches for it, the earliest one.
    pub(crate) vouchers: Vec<Option<Anchored>>,
    /// The largest anchored head that was compared with the bundle.
    pub(crate) largest: Option<Anchored>,
    /// When the newest anchor was the newest head, in seconds since 1970, by a quorum's word.
    pub(crate) newest_at_s: Option<u64>,
    /// What is odd but contradicts nothing.
    pub(crate) notes: Vec<String>,
    /// Whether the pinned head was found among the anchors.
    pub(crate) pin_found: bool,
}

/// A head that all anchors of its size must have.
struct Landmark {
    head: Head,
    what: String,
    /// The clone that it is the newest anchor of: another copy of that branch that goes on further must contain it.
    clone: Option<usize>,
}

/// What clones are compared with.
pub(crate) struct Comparison<'a> {
    /// The bundle, if it is one.
    pub(crate) reader: Option<&'a Reader>,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) chain: &'a Chain,
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) pin: Option<&'a Pin>,
    pub(crate) branch: &'a str,
    /// The seqs for which an anchor is wanted.
    pub(crate) seqs: &'a [u64],
}

struct Copy<'a> {
    clone: usize,
    path: String,
    tip: &'a Tip,
    walk: Walk<'a>,
    newest: Anchor,
}

impl Comparison<'_> {
    /// Walks the branch in all clones.
    pub(crate) fn walk(&self, paths: &[&Path], findings: &mut Findings) -> Clones {
        let mut clones = Clones {
            reports: Vec::new(),
            vouchers: vec![None; self.seqs.len()],
            largest: None,
            newest_at_s: None,
            notes: Vec::new(),
            pin_found: false,
        };
        let opened: Vec<_> = paths.iter().map(|path| self.open(path, findings)).collect();
        let mut copies = Vec::new();
        for (clone, (path, opened)) in paths.iter().zip(&opened).enumerate() {
            let Some((repository, tips)) = opened else { continue };
            for tip in tips {
                copies.extend(self.begin(clone, path, repository, tip, findings));
            }
        }
        let mut landmarks = self.landmarks();
        landmarks.extend(copies.iter().map(|copy| Landmark {
            head: head(&copy.newest.head),
            what: format!("the newest anchor of {} in {}", copy.tip.reference, copy.path),
            clone: Some(copy.clone),
        }));
        for copy in copies {
            self.finish(copy, &landmarks, &mut clones, findings);
        }
        self.require_pin(&clones, findings);
        clones
    }

    fn open(&self, path: &Path, findings: &mut Findings) -> Option<(Repository, Vec<Tip>)> {
        let place = Place::file(path.display());
        let opened = Repository::open(path).and_then(|repository| {
            let tips = repository.tips(self.branch)?;
            Ok((repository, tips))
        });
        match opened {
            Ok((_, tips)) if tips.is_empty() => {
                let problem = format!("no branch {} in this clone", self.branch);
                findings.add(Verdict::NotAnchored, "no-branch", place, problem);
                None
            }
            Ok(opened) => Some(opened),
            Err(fault) => {
                report_fault(place, fault, findings);
                None
            }
        }
    }

    /// Reads the newest anchor of a copy of the branch.
    fn begin<'b>(
        &'b self,
        clone: usize,
        path: &Path,
        repository: &'b Repository,
        tip: &'b Tip,
        findings: &mut Findings,
    ) -> Option<Copy<'b>> {
        let place = Place::file(path.display());
        let mut walk = Walk::new(repository, tip, self.judge);
        match walk.next_anchor() {
            Ok(Some(newest)) => Some(Copy { clone, path: path.display().to_string(), tip, walk, newest }),
            Ok(None) => {
                let problem = format!("{} holds no anchor of {}", tip.reference, self.judge.origin);
                findings.add(Verdict::NotAnchored, "no-anchor", place, problem);
                None
            }
            Err(fault) => {
                report_fault(place, fault, findings);
                None
            }
        }
    }

    fn landmarks(&self) -> Vec<Landmark> {
        let bundle = Landmark { head: head(self.checkpoint), what: "the bundle's checkpoint".to_owned(), clone: None };
        let pin = self.pin.map(|pin| Landmark {
            head: Head { size: pin.size, root: pin.root },
            what: "the pinned head".to_owned(),
            clone: None,
        });
        std::iter::once(bundle).chain(pin).collect()
    }

    /// Walks the rest of a copy.
    fn finish(&self, mut copy: Copy<'_>, landmarks: &[Landmark], clones: &mut Clones, findings: &mut Findings) {
        let place = Place::file(&copy.path);
        let mut follower = Follower::new(self, landmarks, &copy.path);
        let mut next = Ok(Some(copy.newest.clone()));
        let complete = loop {
            match next {
                Ok(Some(anchor)) => {
                    if let Err(fault) = follower.anchor(anchor) {
                        report_fault(place.clone(), fault, findings);
                        break false;
                    }
                }
                Ok(None) => break true,
                Err(fault) => {
                    report_fault(place.clone(), fault, findings);
                    break false;
                }
            }
            next = copy.walk.next_anchor();
        };
        if complete {
            for landmark in follower.missing(copy.clone, copy.newest.head.size) {
                let problem = format!(
                    "{} does not contain {} (size {}), although it goes on further: its history was rewritten",
                    copy.tip.reference, landmark.what, landmark.head.size
                );
                findings.add(Verdict::Tampered, "rewritten-history", place.clone(), problem);
            }
        }
        let newest = anchored(&copy.path, &copy.newest);
        clones.reports.push(CloneReport {
            path: copy.path.clone(),
            reference: copy.tip.reference.clone(),
            commits: copy.walk.commits(),
            anchors: follower.anchors,
            newest: Some(newest.clone()),
            agrees_at: follower.agrees_at,
            complete,
        });
        clones.notes.extend(copy.walk.clock_note().map(|note| format!("{}: {note}", copy.path)));
        clones.pin_found |= self.pin.is_some() && follower.found[1];
        if follower.agrees_at.is_some() {
            clones.newest_at_s = clones.newest_at_s.max(follower.newest_at_s);
            if clones.largest.as_ref().is_none_or(|largest| largest.size < newest.size) {
                clones.largest = Some(newest);
            }
        }
        follower.vouchers().into_iter().zip(&mut clones.vouchers).for_each(|(new, best)| earlier(best, new));
    }

    /// A pinned head that came from Git must be in some copy, when a whole one goes on further.
    fn require_pin(&self, clones: &Clones, findings: &mut Findings) {
        let Some(pin) = self.pin.filter(|pin| pin.from == Source::Git && !clones.pin_found) else { return };
        for report in &clones.reports {
            let newest = report.newest.as_ref().map_or(0, |newest| newest.size);
            if report.complete && newest > pin.size {
                let problem = format!(
                    "{} does not contain the pinned anchor (size {}), although it goes on further: its history was \
                     rewritten",
                    report.reference, pin.size
                );
                findings.add(Verdict::Tampered, "rewritten-history", Place::file(&report.path), problem);
            }
        }
    }

    /// The root of the first `size` entries, as far as the bundle shows it.
    pub(crate) fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.checkpoint.size {
            return Some(self.checkpoint.root);
        }
        let at = self.chain.runs.partition_point(|run| run.end < size);
        if self.chain.runs.get(at).is_none_or(|run| run.start > size) {
            return None;
        }
        let mut runs = self.reader?.runs().ok()?;
        while let Some(run) = runs.next_run().ok()? {
            if run.end() >= size {
                let is_proven = run.root(self.checkpoint.size).is_ok_and(|root| root == self.checkpoint.root);
                return if is_proven { run.root_at(size) } else { None };
            }
        }
        None
    }
}

/// Looks at the anchors of one copy, from the newest to the oldest.
struct Follower<'a> {
    comparison: &'a Comparison<'a>,
    landmarks: &'a [Landmark],
    path: &'a str,
    /// Which landmarks were met.
    found: Vec<bool>,
    anchors: u64,
    /// When the newest anchor that a quorum vouches for was the newest head.
    newest_at_s: Option<u64>,
    agrees_at: Option<u64>,
    vouchers: Vec<Option<Anchored>>,
    /// The places in `vouchers`, by falling seq; those before `open` are final.
    order: Vec<usize>,
    open: usize,
    /// The oldest anchor so far that vouches for something.
    current: Option<Anchored>,
}

impl<'a> Follower<'a> {
    fn new(comparison: &'a Comparison<'a>, landmarks: &'a [Landmark], path: &'a str) -> Self {
        let seqs = comparison.seqs;
        let mut order: Vec<usize> = (0..seqs.len()).collect();
        order.sort_unstable_by_key(|&i| std::cmp::Reverse(seqs[i]));
        Self {
            comparison,
            landmarks,
            path,
            found: vec![false; landmarks.len()],
            anchors: 0,
            newest_at_s: None,
            agrees_at: None,
            vouchers: vec![None; seqs.len()],
            order,
            open: 0,
            current: None,
        }
    }

    fn anchor(&mut self, anchor: Anchor) -> Result<(), Fault> {
        self.anchors += 1;
        self.newest_at_s = self.newest_at_s.or(anchor.words.newest_at_s);
        let found = head(&anchor.head);
        for (landmark, met) in self.landmarks.iter().zip(&mut self.found) {
            if landmark.head.size == found.size {
                if landmark.head.root != found.root {
                    return Err(self.fork(&anchor, &landmark.what, landmark.head));
                }
                *met = true;
            }
        }
        if self.agrees_at.is_none() && found.size <= self.comparison.checkpoint.size {
            match self.comparison.root_at(found.size) {
                Some(root) if root == found.root => self.agrees_at = Some(found.size),
                Some(root) => {
                    let ours = Head { size: found.size, root };
                    return Err(self.fork(&anchor, "the bundle's entries", ours));
                }
                None => {}
            }
        }
        if self.agrees_at.is_some() {
            self.vouch(anchor);
        }
        Ok(())
    }

    fn fork(&self, anchor: &Anchor, what: &str, other: Head) -> Fault {
        let problem = format!("the anchor has {}, {what} has {other}: two histories", head(&anchor.head));
        Fault { verdict: Verdict::Tampered, code: "fork", commit: Some(anchor.commit), problem }
    }

    /// An anchor vouches for the entries before its size, as it is consistent with the bundle.
    fn vouch(&mut self, anchor: Anchor) {
        let seqs = self.comparison.seqs;
        while self.order.get(self.open).is_some_and(|&i| seqs[i] >= anchor.head.size) {
            self.vouchers[self.order[self.open]].clone_from(&self.current);
            self.open += 1;
        }
        if anchor.words.satisfied {
            earlier(&mut self.current, Some(anchored(self.path, &anchor)));
        }
    }

    /// The vouchers, after the last anchor.
    fn vouchers(mut self) -> Vec<Option<Anchored>> {
        for &i in &self.order[self.open..] {
            self.vouchers[i].clone_from(&self.current);
        }
        self.vouchers
    }

    /// The landmarks that a whole branch of this clone, with this newest size, should have contained.
    fn missing(&self, clone: usize, newest: u64) -> impl Iterator<Item = &Landmark> {
        let must = move |landmark: &Landmark| landmark.head.size <= newest && landmark.clone == Some(clone);
        self.landmarks.iter().zip(&self.found).filter(move |(l, met)| !**met && must(l)).map(|(l, _)| l)
    }
}

/// Keeps the voucher with the earlier time, of equal times that with the smaller size. One without a time comes last.
fn earlier(best: &mut Option<Anchored>, new: Option<Anchored>) {
    let rank = |anchored: &Anchored| (anchored.words.existed_by_s.unwrap_or(u64::MAX), anchored.size);
    if let Some(new) = new
        && best.as_ref().is_none_or(|best| rank(&new) <= rank(best))
    {
        *best = Some(new);
    }
}

fn anchored(path: &str, anchor: &Anchor) -> Anchored {
    Anchored {
        commit: Some((path.to_owned(), anchor.commit.to_string())),
        size: anchor.head.size,
        root: anchor.head.root,
        words: Arc::new(anchor.words.clone()),
    }
}

fn head(checkpoint: &Checkpoint) -> Head {
    Head { size: checkpoint.size, root: checkpoint.root }
}

fn report_fault(place: Place, fault: Fault, findings: &mut Findings) {
    let Fault { verdict, code, commit, problem } = fault;
    let place = Place { commit: commit.map(|commit| commit.to_string()), ..place };
    findings.add(verdict, code, place, problem);
}

impl Anchored {
    /// Since when it is known to exist, and by whose word.
    pub(crate) fn in_words(&self) -> String {
        let Some(by) = self.words.existed_by_s else { return "no witness says since when it exists".to_owned() };
        let name = |word: &crate::words::Word| {
            let whose = match word.independent {
                Some(true) => "",
                Some(false) => " (the ledger's own key)",
                None => " (perhaps a key of the ledger)",
            };
            format!("{}{whose}", word.key.name())
        };
        let names: Vec<String> = self.words.by_then().map(name).collect();
        format!("existed no later than {}, says {}", utc(by), names.join(" and "))
    }
}
