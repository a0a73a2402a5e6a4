use super::id::Id;
use super::repository::LogFolder;
use super::{Fault, Repository, Tip};
use crate::finding::Verdict;
use crate::time::utc;
use crate::words::{Judge, Words};
use evidence::witness::AddCheckpoint;
use evidence::{Checkpoint, SignedCheckpoint};

/// The most commits that are followed: at one a minute, 31 years.
const COMMITS_MAX: u64 = 1 << 24;

/// An anchor whose checkpoint is signed by the log.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// The newest commit that holds it.
    pub(crate) commit: Id,
    pub(crate) head: Checkpoint,
    pub(crate) words: Words,
    /// How it follows from the anchor before it; `None` when that cannot be read.
    request: Option<AddCheckpoint>,
}

/// What a commit holds of the log.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What contradicts, is absent or cannot be read.
    pub(crate) faults: Vec<Fault>,
    /// The anchor that newer commits do not have.
    pub(crate) anchor: Option<Anchor>,
    /// Whether there may be an anchor whose head is not known.
    pub(crate) is_gap: bool,
}

/// Reads a branch from its newest commit to its first, in memory that does not grow with the history.
///
/// What cannot be read does not keep older commits from being read: they may contradict.
pub(crate) struct Walk<'a> {
    repository: &'a Repository,
    judge: &'a Judge<'a>,
    /// The name of the log's folder.
    log: String,
    /// The commit to look at next; `None` after the one without parents, or where the walk ended.
    next: Option<Id>,
    commits: u64,
    is_at_beginning: bool,
    /// The last tree that was read, and what was in it: commits without anything new have the same.
    tree: Option<(Id, Option<LogFolder>)>,
    /// The last folder of the log that was read.
    folder: Option<LogFolder>,
    /// Set when a commit was reached that has nothing of the log: from there on no commit may have.
    before_first: bool,
    /// Whether it may be another branch, which is not read on from a newest commit that has nothing of the log.
    is_doubtful: bool,
}

impl<'a> Walk<'a> {
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

    /// Whether the walk went down to the commit without parents.
    pub(crate) fn is_at_beginning(&self) -> bool {
        self.is_at_beginning
    }

    /// What the next older commit holds that newer ones do not; `None` after the last one that can be reached.
    pub(crate) fn next_reading(&mut self) -> Option<Reading> {
        loop {
            let commit = self.next.take()?;
            let mut reading = Reading::default();
            match self.commit(commit, &mut reading) {
                Ok(()) if reading.faults.is_empty() && reading.anchor.is_none() => {}
                Ok(()) => return Some(reading),
                Err(fault) => {
                    reading.is_gap = true;
                    reading.faults.push(fault.at(commit));
                    return Some(reading);
                }
            }
        }
    }

    /// Reads a commit, up to the first fault after which it is not known what it holds.
    fn commit(&mut self, id: Id, reading: &mut Reading) -> Result<(), Fault> {
        if self.commits == COMMITS_MAX {
            return Err(Fault::unusable(format!("more than {COMMITS_MAX} commits")));
        }
        let commit = self.repository.commit(id)?;
        self.commits += 1;
        if commit.parents.len() > 1 {
            let problem = "a merge: anchors are made one after the other";
            return Err(Fault::new(Verdict::Tampered, "rewritten-history", problem));
        }
        self.next = commit.parents.first().copied();
        self.is_at_beginning = self.next.is_none();
        let found = match &self.tree {
            Some((tree, found)) if *tree == commit.tree => found.clone(),
            _ => self.repository.log_folder(commit.tree, &self.log)?,
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
            let problem = "anchors of the log, after which a commit has none of it: the history was rewritten";
            return Err(Fault::new(Verdict::Tampered, "rewritten-history", problem));
        }
        reading.faults.extend(found.problem.clone().map(|problem| Fault::unusable(problem).at(id)));
        // The newer commit was about another log, or brought nothing new.
        if self.folder.as_ref().is_some_and(|newer| newer.has_files_of(&found)) {
            return Ok(());
        }
        self.anchor(id, &found, reading)?;
        self.folder = Some(found);
        Ok(())
    }

    fn anchor(&self, commit: Id, found: &LogFolder, reading: &mut Reading) -> Result<(), Fault> {
        let read = |name: &str, id: Option<Id>| {
            let Some(id) = id else { return Ok(None) };
            self.repository.file(id).map(|bytes| Some((name.to_owned(), bytes)))
        };
        let mut kept = |fault: Fault| reading.faults.push(fault.at(commit));
        let checkpoint = read("checkpoint", found.checkpoint).unwrap_or_else(|fault| {
            kept(fault);
            None
        });
        let consistency = read("consistency", found.consistency).unwrap_or_else(|fault| {
            kept(fault);
            None
        });
        let mut unreadable = |name: &str, error: &evidence::Error| {
            let code = match error {
                evidence::Error::Malformed { .. } => "malformed",
                evidence::Error::Unsupported { .. } => "unsupported",
            };
            kept(Fault::new(Verdict::Unusable, code, format!("`{name}`: {error}")));
        };
        let signed = checkpoint
            .and_then(|(name, bytes)| SignedCheckpoint::parse(&bytes).map_err(|error| unreadable(&name, &error)).ok());
        let request = consistency
            .and_then(|(name, bytes)| AddCheckpoint::parse(&bytes).map_err(|error| unreadable(&name, &error)).ok());
        if let (Some(signed), Some(request)) = (&signed, &request)
            && request.checkpoint != *signed
        {
            let problem = "`checkpoint` and `consistency` are about different checkpoints";
            return Err(Fault::new(Verdict::Tampered, "altered-anchor", problem));
        }
        // Both files hold it; one of them is enough to know it.
        let Some(signed) = signed.or_else(|| Some(request.as_ref()?.checkpoint.clone())) else {
            reading.is_gap = true;
            return Ok(());
        };
        let words = self.judge.judge(&signed).map_err(|worthless| {
            let problem = format!("the anchor's checkpoint counts for nothing: {worthless}");
            Fault::new(Verdict::Tampered, worthless.code(), problem)
        })?;
        reading.anchor = Some(Anchor { commit, head: signed.checkpoint().clone(), words, request });
        Ok(())
    }
}

impl Anchor {
    /// Whether it can be shown to follow from the anchor before it.
    pub(crate) fn has_proof(&self) -> bool {
        self.request.is_some()
    }

    /// Requires that it follows from the next older anchor, or is the first. Where there may be others in between, no
    /// proof leads from one to the other, and the sizes and times must still not go back.
    ///
    /// # Errors
    /// What contradicts.
    pub(crate) fn check_step(&self, older: Option<&Self>, is_next: bool) -> Result<Option<String>, Fault> {
        let inconsistent = |problem: String| {
            let problem = format!("the anchor does not follow from the one before it: {problem}");
            Fault::new(Verdict::Tampered, "inconsistent-anchors", problem).at(self.commit)
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

    /// No witness's clock goes back. Returns what was noticed of an independent one: odd, but no contradiction.
    fn check_times(&self, older: &Self) -> Result<Option<String>, Fault> {
        let mut note = None;
        for now in &self.words.witnesses {
            let before = older.words.witnesses.iter().find(|before| before.key == now.key);
            let Some(before) = before.filter(|before| before.time_s > now.time_s) else { continue };
            let problem = format!(
                "{} cosigned this at {}, and the older anchor before it at {}",
                now.key.name(),
                utc(now.time_s),
                utc(before.time_s)
            );
            // The anchor's own key never signs an earlier time; a witness elsewhere may set its clock right.
            if now.independent == Some(false) {
                return Err(Fault::new(Verdict::Tampered, "time-backwards", problem).at(self.commit));
            }
            note.get_or_insert(format!("commit {}: {problem}", self.commit));
        }
        Ok(note)
    }
}
