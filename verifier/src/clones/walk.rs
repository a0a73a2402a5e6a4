//! The anchors in one copy of the branch, from the newest commit to the oldest.
//!
//! Git's hashes are no evidence. Two files of the log's folder count in a commit; the commits only give their order.

use evidence::witness::AddCheckpoint;
use evidence::{Checkpoint, SignedCheckpoint};
use git_reader::{Id, Repository, Tip};

use super::finding::CloneFinding;
use super::log_folder::LogFolder;
use crate::code::Code;
use crate::time::utc;
use crate::words::{Judge, Words};

/// The most commits that are read: 31 years at one a minute.
const COMMITS_MAX: u64 = 1 << 24;

/// The longest file of an anchor, in bytes: a checkpoint and a proof.
const FILE_BYTES_MAX: usize = 128 * 1024;

/// An anchor whose checkpoint is signed by the log.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// The newest commit that holds it.
    pub(crate) commit: Id,
    pub(crate) head: Checkpoint,
    pub(crate) words: Words,
    /// The proof that it follows from the anchor before it; `None` if that cannot be read.
    request: Option<AddCheckpoint>,
}

/// What a commit adds to the newer ones.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Everything that contradicts, is absent or cannot be read.
    pub(crate) findings: Vec<CloneFinding>,
    /// The anchor that newer commits do not have.
    pub(crate) anchor: Option<Anchor>,
    /// Whether the commit may hold an anchor whose head is unknown.
    pub(crate) is_gap: bool,
}

/// Reads a branch from its newest commit to its first, in memory that does not grow with the history.
///
/// A commit that cannot be read does not keep older ones from being read: they may contradict.
pub(crate) struct AnchorWalk<'a> {
    repository: &'a Repository,
    judge: &'a Judge<'a>,
    /// The name of the log's folder.
    log: String,
    /// The commit to read next; `None` after the one without parents, or where the walk ended.
    next: Option<Id>,
    commits: u64,
    is_at_beginning: bool,
    /// The last tree that was read, and the log's folder in it: commits that change nothing have the same tree.
    tree: Option<(Id, Option<LogFolder>)>,
    /// The last folder of the log that was read.
    folder: Option<LogFolder>,
    /// Set by a commit without the log's folder: no older commit may have one.
    before_first: bool,
    /// Whether the copy may be another branch. It is then read only if its newest commit has the log's folder.
    is_doubtful: bool,
}

impl<'a> AnchorWalk<'a> {
    pub(crate) fn new(repository: &'a Repository, tip: &Tip, judge: &'a Judge<'a>) -> Self {
        let log = evidence::sha256(judge.origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            repository,
            judge,
            log,
            next: Some(tip.commit),
            commits: 0,
            is_at_beginning: false,
            tree: None,
            folder: None,
            before_first: false,
            is_doubtful: tip.is_doubtful,
        }
    }

    /// How many commits were read.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Whether the walk reached the commit without parents.
    pub(crate) fn is_at_beginning(&self) -> bool {
        self.is_at_beginning
    }

    /// The next older commit that adds something; `None` after the last one that can be reached.
    pub(crate) fn next_reading(&mut self) -> Option<Reading> {
        loop {
            let commit = self.next.take()?;
            let mut reading = Reading::default();
            match self.commit(commit, &mut reading) {
                Ok(()) if reading.findings.is_empty() && reading.anchor.is_none() => {}
                Ok(()) => return Some(reading),
                Err(finding) => {
                    reading.is_gap = true;
                    reading.findings.push(finding.at(commit));
                    return Some(reading);
                }
            }
        }
    }

    /// Reads a commit, up to the first finding after which its content is unknown.
    fn commit(&mut self, id: Id, reading: &mut Reading) -> Result<(), CloneFinding> {
        if self.commits == COMMITS_MAX {
            return Err(CloneFinding::unreadable(format!("more than {COMMITS_MAX} commits")));
        }
        let commit = self.repository.commit(id)?;
        self.commits += 1;
        if commit.parents.len() > 1 {
            let problem = "the commit is a merge, but anchors are made one after the other";
            return Err(CloneFinding::new(Code::RewrittenHistory, problem));
        }
        self.next = commit.parents.first().copied();
        self.is_at_beginning = self.next.is_none();
        let found = match &self.tree {
            Some((tree, found)) if *tree == commit.tree => found.clone(),
            _ => LogFolder::read(self.repository, commit.tree, &self.log)?,
        };
        self.tree = Some((commit.tree, found.clone()));
        let Some(found) = found else {
            self.before_first = true;
            if self.is_doubtful && self.folder.is_none() {
                self.next = None;
            }
            return Ok(());
        };
        if self.before_first {
            let problem = "the commit has anchors of the log, but a newer one has none: the history was rewritten";
            return Err(CloneFinding::new(Code::RewrittenHistory, problem));
        }
        reading.findings.extend(found.problem.clone().map(|problem| CloneFinding::unreadable(problem).at(id)));
        // The newer commit was about another log, or added nothing.
        if self.folder.as_ref().is_some_and(|newer| newer.has_files_of(&found)) {
            return Ok(());
        }
        self.anchor(id, &found, reading)?;
        self.folder = Some(found);
        Ok(())
    }

    fn anchor(&self, commit: Id, found: &LogFolder, reading: &mut Reading) -> Result<(), CloneFinding> {
        let read = |name: &str, id: Option<Id>| {
            let Some(id) = id else { return Ok(None) };
            self.repository.blob(id, FILE_BYTES_MAX).map(|bytes| Some((name.to_owned(), bytes)))
        };
        let mut keep = |finding: CloneFinding| reading.findings.push(finding.at(commit));
        let checkpoint = read("checkpoint", found.checkpoint).unwrap_or_else(|error| {
            keep(error.into());
            None
        });
        let consistency = read("consistency", found.consistency).unwrap_or_else(|error| {
            keep(error.into());
            None
        });
        let mut unreadable = |name: &str, error: &evidence::Error| {
            let code = match error {
                evidence::Error::Malformed { .. } => Code::Malformed,
                evidence::Error::Unsupported { .. } => Code::Unsupported,
            };
            keep(CloneFinding::new(code, format!("`{name}`: {error}")));
        };
        let signed = checkpoint
            .and_then(|(name, bytes)| SignedCheckpoint::parse(&bytes).map_err(|error| unreadable(&name, &error)).ok());
        let request = consistency
            .and_then(|(name, bytes)| AddCheckpoint::parse(&bytes).map_err(|error| unreadable(&name, &error)).ok());
        if let (Some(signed), Some(request)) = (&signed, &request)
            && request.checkpoint != *signed
        {
            let problem = "`checkpoint` and `consistency` are about different checkpoints";
            return Err(CloneFinding::new(Code::AlteredAnchor, problem));
        }
        // Both files hold the checkpoint; one of them is enough.
        let Some(signed) = signed.or_else(|| Some(request.as_ref()?.checkpoint.clone())) else {
            reading.is_gap = true;
            return Ok(());
        };
        let words = self.judge.judge(&signed).map_err(|refusal| {
            CloneFinding::new(refusal.code(), format!("the anchor's checkpoint is refused: {refusal}"))
        })?;
        reading.anchor = Some(Anchor { commit, head: signed.checkpoint().clone(), words, request });
        Ok(())
    }
}

impl Anchor {
    /// Whether it comes with a proof that it follows from the anchor before it.
    pub(crate) fn has_proof(&self) -> bool {
        self.request.is_some()
    }

    /// Requires that the anchor follows from the next older one, or is the first. If other anchors may lie in between
    /// (not `is_next`), no proof connects the two, but sizes and times must still not decrease. Returns a note on a
    /// time that is odd but contradicts nothing.
    ///
    /// # Errors
    /// The contradiction.
    pub(crate) fn check_step(&self, older: Option<&Self>, is_next: bool) -> Result<Option<String>, CloneFinding> {
        let inconsistent = |problem: String| {
            let problem = format!("the anchor does not extend the one before it: {problem}");
            CloneFinding::new(Code::InconsistentAnchors, problem).at(self.commit)
        };
        if let Some(request) = self.request.as_ref().filter(|_| is_next) {
            let step = request.verify_step(older.map(|older| &older.head));
            step.map_err(|error| inconsistent(error.to_string()))?;
        }
        let Some(older) = older else { return Ok(None) };
        let (now, before) = (&self.head, &older.head);
        if before.size > now.size || (before.size == now.size && before.root != now.root) {
            let problem =
                format!("size {}, root {} after size {}, root {}", now.size, now.root, before.size, before.root);
            return Err(inconsistent(problem));
        }
        self.check_times(older)
    }

    /// Requires that the times of the ledger's own keys do not decrease. Returns a note if an independent witness's do.
    fn check_times(&self, older: &Self) -> Result<Option<String>, CloneFinding> {
        let mut note = None;
        for now in &self.words.witnesses {
            let before = older.words.witnesses.iter().find(|before| before.key == now.key);
            let Some(before) = before.filter(|before| before.time_s > now.time_s) else { continue };
            let problem = format!(
                "{} cosigned this at {}, but the older anchor before it at {}",
                now.key.name(),
                utc(now.time_s),
                utc(before.time_s)
            );
            // The anchor's own key never signs an earlier time. A witness elsewhere may correct its clock.
            if now.independent == Some(false) {
                return Err(CloneFinding::new(Code::TimeBackwards, problem).at(self.commit));
            }
            note.get_or_insert(format!("commit {}: {problem}", self.commit));
        }
        Ok(note)
    }
}
