use super::id::Id;
use super::repository::AnchorFiles;
use super::{Fault, Repository, Tip};
use crate::finding::Verdict;
use crate::time::utc;
use crate::words::{Judge, Words};
use evidence::witness::AddCheckpoint;
use evidence::{Checkpoint, SignedCheckpoint};

/// The most commits that are followed: at one a minute, 31 years.
const COMMITS_MAX: u64 = 1 << 24;

/// An anchor that was verified: its signatures, and that it follows from the one before.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// The commit that brought it.
    pub(crate) commit: Id,
    pub(crate) head: Checkpoint,
    pub(crate) words: Words,
}

/// Walks from the newest anchor of a branch to the oldest, in memory that does not grow with the history.
///
/// Everything is verified on the way: that the branch is linear down to a commit without parents, that each anchor's
/// signatures hold, that each follows from the one before by its consistency proof, and that no witness's clock went
/// back. An anchor is handed out when the one before it was found.
pub(crate) struct Walk<'a> {
    repository: &'a Repository,
    judge: &'a Judge<'a>,
    /// The name of the log's folder.
    log: String,
    /// The commit to look at next; `None` after the one without parents.
    next: Option<Id>,
    commits: u64,
    pending: Option<Pending>,
    /// The last tree that was read, and what was in it: commits without anything new have the same.
    tree: Option<(Id, Option<AnchorFiles>)>,
    /// Set when a commit was reached that has nothing of the log: from there on no commit may have.
    before_first: bool,
    /// Set when an independent witness's clock went back.
    clock_note: Option<String>,
}

struct Pending {
    files: AnchorFiles,
    request: AddCheckpoint,
    anchor: Anchor,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(repository: &'a Repository, tip: &Tip, judge: &'a Judge<'a>) -> Self {
        let log = evidence::sha256(judge.origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
        let next = Some(tip.commit);
        Self {
            repository,
            judge,
            log,
            next,
            commits: 0,
            pending: None,
            tree: None,
            before_first: false,
            clock_note: None,
        }
    }

    /// How many commits were read.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// What was noticed about the clock of an independent witness: odd, but no contradiction.
    pub(crate) fn clock_note(&self) -> Option<&str> {
        self.clock_note.as_deref()
    }

    /// The next older anchor; `None` when the whole branch was walked.
    ///
    /// # Errors
    /// What contradicts, is absent or cannot be read; the walk is then over.
    pub(crate) fn next_anchor(&mut self) -> Result<Option<Anchor>, Fault> {
        let mut newer = self.pending.take();
        while let Some((commit, files)) = self.next_commit()? {
            match (&mut newer, files) {
                (None, None) => self.before_first = true,
                (_, Some(_)) if self.before_first => {
                    let problem = "anchors of the log, after which a commit has none of it: the history was rewritten";
                    return Err(Fault::new(Verdict::Tampered, "rewritten-history", problem).at(commit));
                }
                (None, Some(files)) => newer = Some(self.parse(commit, files)?),
                // The commit was about another log, or brought nothing new.
                (Some(newer), Some(files)) if newer.files == files => newer.anchor.commit = commit,
                (Some(_), Some(files)) => {
                    let older = self.parse(commit, files)?;
                    let newer = newer.take().expect("matched above");
                    self.check_step(&newer, Some(&older))?;
                    self.pending = Some(older);
                    return Ok(Some(newer.anchor));
                }
                (Some(_), None) => self.before_first = true,
            }
        }
        let Some(first) = newer else { return Ok(None) };
        self.check_step(&first, None)?;
        Ok(Some(first.anchor))
    }

    /// The next older commit with the log's files in it.
    fn next_commit(&mut self) -> Result<Option<(Id, Option<AnchorFiles>)>, Fault> {
        let Some(id) = self.next else { return Ok(None) };
        if self.commits == COMMITS_MAX {
            return Err(Fault::unusable(format!("more than {COMMITS_MAX} commits")).at(id));
        }
        self.commits += 1;
        let commit = self.repository.commit(id).map_err(|fault| fault.at(id))?;
        if commit.parents.len() > 1 {
            let problem = "a merge: anchors are made one after the other";
            return Err(Fault::new(Verdict::Tampered, "rewritten-history", problem).at(id));
        }
        self.next = commit.parents.first().copied();
        let files = match self.tree {
            Some((tree, files)) if tree == commit.tree => files,
            _ => self.repository.anchor(commit.tree, &self.log).map_err(|fault| fault.at(id))?,
        };
        self.tree = Some((commit.tree, files));
        Ok(Some((id, files)))
    }

    fn parse(&self, commit: Id, files: AnchorFiles) -> Result<Pending, Fault> {
        let [checkpoint, consistency] = self.repository.contents(files).map_err(|fault| fault.at(commit))?;
        let unreadable = |file: &str, error: evidence::Error| {
            let code = match error {
                evidence::Error::Malformed { .. } => "malformed",
                evidence::Error::Unsupported { .. } => "unsupported",
            };
            Fault::new(Verdict::Unusable, code, format!("`{file}`: {error}")).at(commit)
        };
        let signed = SignedCheckpoint::parse(&checkpoint).map_err(|e| unreadable("checkpoint", e))?;
        let request = AddCheckpoint::parse(&consistency).map_err(|e| unreadable("consistency", e))?;
        if request.checkpoint != signed {
            let problem = "`checkpoint` and `consistency` are about different checkpoints";
            return Err(Fault::new(Verdict::Tampered, "altered-anchor", problem).at(commit));
        }
        let words = self.judge.judge(&signed).map_err(|worthless| {
            let problem = format!("the anchor's checkpoint counts for nothing: {worthless}");
            Fault::new(Verdict::Tampered, worthless.code(), problem).at(commit)
        })?;
        let anchor = Anchor { commit, head: signed.checkpoint().clone(), words };
        Ok(Pending { files, request, anchor })
    }

    /// An anchor follows from the one before it, or is the first.
    fn check_step(&mut self, newer: &Pending, older: Option<&Pending>) -> Result<(), Fault> {
        let commit = newer.anchor.commit;
        newer.request.verify_step(older.map(|older| &older.anchor.head)).map_err(|error| {
            let problem = format!("the anchor does not follow from the one before it: {error}");
            Fault::new(Verdict::Tampered, "inconsistent-anchors", problem).at(commit)
        })?;
        let Some(older) = older else { return Ok(()) };
        for now in &newer.anchor.words.witnesses {
            let before = older.anchor.words.witnesses.iter().find(|before| before.key == now.key);
            let Some(before) = before.filter(|before| before.time_s > now.time_s) else { continue };
            let problem = format!(
                "{} cosigned this at {}, and the older anchor before it at {}",
                now.key.name(),
                utc(now.time_s),
                utc(before.time_s)
            );
            // The anchor's own key never signs an earlier time; a witness elsewhere may set its clock right.
            if now.independent == Some(false) {
                return Err(Fault::new(Verdict::Tampered, "time-backwards", problem).at(commit));
            }
            self.clock_note.get_or_insert(format!("commit {commit}: {problem}"));
        }
        Ok(())
    }
}
