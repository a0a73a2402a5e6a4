//! Compares the anchors in the auditor's clones with the bundle, with each other and with the pin.

mod copy;
mod finding;
mod log_folder;
mod walk;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bundle::Reader;
use evidence::{Checkpoint, Hash, Head};
use git_reader::{Repository, Tip};

use self::copy::{BranchCopy, Followed};
use self::finding::{CloneFinding, ReportedCodes};
use self::walk::{Anchor, AnchorWalk};
use crate::chain::{Chain, proven_runs};
use crate::code::Code;
use crate::finding::{Findings, Place};
use crate::pin::{Pin, Source};
use crate::time::utc;
use crate::words::{Judge, Words};

/// The anchors in one copy of the branch.
#[derive(Debug, Clone)]
pub struct CloneReport {
    /// The repository.
    pub path: String,
    /// The full name of the reference.
    pub reference: String,
    /// The number of commits that were read.
    pub commits: u64,
    /// The number of this log's anchors that were read and whose checkpoint the log signed.
    pub anchors: u64,
    /// The newest of them.
    pub newest: Option<Anchored>,
    /// The largest size at which an anchor that counts has the same root as the bundle's entries.
    pub agrees_at: Option<u64>,
    /// Whether all of the branch was read, down to its first commit.
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
    /// Who signed it, and when; shared, because one anchor vouches for many streams.
    pub words: Arc<Words>,
}

/// The anchors in all clones together.
pub(crate) struct Clones {
    pub(crate) reports: Vec<CloneReport>,
    /// The earliest anchor that vouches for each of [`Comparison::seqs`].
    pub(crate) vouchers: Vec<Option<Anchored>>,
    /// The largest anchored head that was compared with the bundle.
    pub(crate) largest: Option<Anchored>,
    /// The largest such head in a copy that is certain.
    pub(crate) pinnable: Option<Anchored>,
    /// When the newest anchor was the newest head, in seconds since 1970, as a quorum says.
    pub(crate) newest_at_s: Option<u64>,
    /// Notes on oddities that contradict nothing.
    pub(crate) notes: Vec<String>,
    /// Whether the pinned head was found among the anchors.
    pub(crate) pin_found: bool,
}

/// The most copies of a clone that are read although they may be other branches.
const DOUBTFUL_MAX: usize = 64;

/// A clone whose references were read.
struct Opened {
    repository: Repository,
    tips: Vec<Tip>,
    /// Whether a part of it could not be read.
    has_finding: bool,
}

/// A head that all anchors of its size must have.
struct Landmark {
    head: Head,
    /// The name of the head in problems.
    what: String,
    /// The clone with this newest anchor in a certain copy. Longer copies of that clone must contain it.
    clone: Option<usize>,
    is_pin: bool,
}

/// Everything that clones are compared with.
pub(crate) struct Comparison<'a> {
    /// The bundle; `None` for an event proof.
    pub(crate) reader: Option<&'a Reader>,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) chain: &'a Chain,
    /// The runs of the bundle, if the chain does not know them all.
    pub(crate) proven_runs: OnceCell<VecDeque<Range<u64>>>,
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) pin: Option<&'a Pin>,
    pub(crate) branch: &'a str,
    /// The seqs for which an anchor is wanted.
    pub(crate) seqs: &'a [u64],
}

impl Comparison<'_> {
    /// Reads the branch in all clones.
    pub(crate) fn walk(&self, paths: &[&Path], findings: &mut Findings) -> Clones {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let opened: Vec<_> = paths.iter().map(|path| self.open(path, findings)).collect();
        // Read each copy's newest anchor before any older commit: an absent commit then hides no fork.
        let mut landmarks = self.landmarks();
        let mut copies = Vec::new();
        for (clone, (path, opened)) in names.iter().zip(&opened).enumerate() {
            let Some(Opened { repository, tips, has_finding }) = opened else { continue };
            let (mut is_copied, mut doubtful) = (false, 0);
            for tip in tips {
                if tip.is_doubtful && doubtful == DOUBTFUL_MAX {
                    break;
                }
                let walk = AnchorWalk::new(repository, tip, self.judge);
                let mut copy = BranchCopy::new(self, clone, path, tip, walk);
                let newest = copy.read_newest(findings);
                if tip.is_doubtful && newest.is_none() {
                    continue;
                }
                is_copied = true;
                doubtful += usize::from(tip.is_doubtful);
                if let Some(head) = newest {
                    let what = format!("the newest anchor of {} in {path}", tip.reference);
                    // This branch need not contain the anchors of a copy that may be another branch.
                    let clone = (!tip.is_doubtful).then_some(clone);
                    landmarks.push(Landmark { head, what, clone, is_pin: false });
                }
                copies.push(copy);
            }
            if !is_copied && !has_finding {
                let problem = format!("no branch {} in this clone", self.branch);
                findings.add(Code::NoBranch, Place::file(path), problem);
            }
        }
        let mut clones = Clones {
            reports: Vec::new(),
            vouchers: vec![None; self.seqs.len()],
            largest: None,
            pinnable: None,
            newest_at_s: None,
            notes: Vec::new(),
            pin_found: false,
        };
        let mut lacking_pin = Vec::new();
        for copy in copies {
            if copy.is_empty() {
                let problem = format!("{} holds no anchor of {}", copy.tip.reference, self.judge.origin);
                findings.add(Code::NoAnchor, Place::file(copy.path), problem);
            }
            let followed = copy.follow(&landmarks, findings);
            if followed.lacks_pin {
                lacking_pin.push(clones.reports.len());
            }
            clones.add(followed);
        }
        self.require_pin(&clones, &lacking_pin, findings);
        clones
    }

    fn open(&self, path: &Path, findings: &mut Findings) -> Option<Opened> {
        let path_shown = path.display().to_string();
        let mut reported = ReportedCodes::default();
        let mut report = |error: git_reader::Error| reported.report(&path_shown, CloneFinding::from(error), findings);
        let repository = Repository::open(path).map_err(&mut report).ok()?;
        let git_reader::Copies { tips, errors } = repository.copies(self.branch);
        let errors: Vec<_> = repository.unread().cloned().into_iter().chain(errors).collect();
        let has_finding = !errors.is_empty();
        errors.into_iter().for_each(report);
        Some(Opened { repository, tips, has_finding })
    }

    fn landmarks(&self) -> Vec<Landmark> {
        let what = "the bundle's checkpoint".to_owned();
        let bundle = Landmark { head: head(self.checkpoint), what, clone: None, is_pin: false };
        let pin = self.pin.map(|pin| Landmark {
            head: Head { size: pin.size, root: pin.root },
            what: "the pinned head".to_owned(),
            clone: None,
            is_pin: true,
        });
        std::iter::once(bundle).chain(pin).collect()
    }

    /// Requires a pinned head that came from Git in some copy, if a copy has larger anchors.
    fn require_pin(&self, clones: &Clones, lacking: &[usize], findings: &mut Findings) {
        let Some(pin) = self.pin.filter(|pin| pin.from == Source::Git && !clones.pin_found) else { return };
        for report in lacking.iter().map(|&i| &clones.reports[i]) {
            let problem = format!(
                "{} does not contain the pinned anchor (size {}), but has larger ones: its history was rewritten",
                report.reference, pin.size
            );
            findings.add(Code::RewrittenHistory, Place::file(&report.path), problem);
        }
    }

    /// The root of the first `size` entries, as far as the bundle shows it.
    pub(crate) fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.checkpoint.size {
            return Some(self.checkpoint.root);
        }
        let proven = match self.reader {
            // Entries that cannot be followed can still be compared.
            Some(reader) if !self.chain.is_whole => {
                self.proven_runs.get_or_init(|| proven_runs(reader, self.checkpoint))
            }
            _ => &self.chain.runs,
        };
        let at = proven.partition_point(|run| run.end < size);
        if proven.get(at).is_none_or(|run| run.start > size) {
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

impl Clones {
    /// Adds a copy.
    fn add(&mut self, followed: Followed) {
        let Followed { report, newest_at_s, vouchers, notes, is_doubtful, has_pin, .. } = followed;
        self.notes.extend(notes);
        self.pin_found |= has_pin;
        self.newest_at_s = self.newest_at_s.max(newest_at_s);
        if let Some(newest) = report.newest.as_ref().filter(|_| report.agrees_at.is_some()) {
            larger(&mut self.largest, newest);
            // A pinned head must be found in Git again, but another branch may be deleted.
            if !is_doubtful {
                larger(&mut self.pinnable, newest);
            }
        }
        vouchers.into_iter().zip(&mut self.vouchers).for_each(|(new, best)| earlier(best, new));
        self.reports.push(report);
    }
}

fn larger(largest: &mut Option<Anchored>, new: &Anchored) {
    if largest.as_ref().is_none_or(|largest| largest.size < new.size) {
        *largest = Some(new.clone());
    }
}

/// Keeps the voucher with the earlier time; of equal times, the one with the smaller size. One without a time comes last.
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

impl Anchored {
    /// Since when it exists, and who says so.
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
