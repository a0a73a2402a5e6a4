use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use evidence::{Hash, Head, SignedCheckpoint, SigningKey};
use git2::Oid;

use crate::anchor::{Anchor, CHECKPOINT, CONSISTENCY, folder, head};
use crate::config::Config;
use crate::decide::{Branch, BranchFacts, BranchRefusal, about_branch, cosignature_time};
use crate::pack;
use crate::pack_list::PackList;
use crate::repository::Repository;
use crate::state::{Record, State};
use crate::sync_error::is_sync_error;
use crate::witness::Cosignature;

/// Makes anchors: cosigns heads and commits them to the anchor's own repository. All calls block.
///
/// An anchor is made in three steps, each durable before the next begins: written to the state file, committed, and
/// pushed (elsewhere). [`Publisher::recover`] makes up for a missing second step.
pub(crate) struct Publisher {
    key: SigningKey,
    origin: String,
    state: State,
    repository: Repository,
}

/// Why there is no anchor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The key could sign two histories, or continue a branch that is not ours. The process must end.
    #[error("{0:#}")]
    Fatal(anyhow::Error),
    /// The repository cannot be read or written now; a later attempt may succeed.
    #[error("{0:#}")]
    Retry(anyhow::Error),
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Retry(error)
    }
}

impl Error {
    /// A failed fsync is fatal: a second one could succeed although the first lost data.
    fn of_write(error: anyhow::Error) -> Self {
        if is_sync_error(&error) { Self::Fatal(error) } else { Self::Retry(error) }
    }
}

/// Locks a publisher that tasks share. A panic may leave its work half done: `recover` completes or refuses that.
pub(crate) fn lock(publisher: &Mutex<Publisher>) -> MutexGuard<'_, Publisher> {
    publisher.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// Opens key, state and repository for the log of this origin.
    pub(crate) fn open(config: &Config, origin: &str) -> anyhow::Result<Self> {
        let key = keystore::read_signing_key(&config.key).context("anchor.key")?;
        anyhow::ensure!(
            key.verifier_key().algorithm() == evidence::Algorithm::Cosignature,
            "anchor.key: {} is not a cosigning key (`streamseal keygen --role anchor`)",
            config.key.display()
        );
        let state = State::open(&config.key, origin)?;
        let repository = Repository::open_own(&config.repository, &config.reference()).context("anchor.repository")?;
        Ok(Self { key, origin: origin.to_owned(), state, repository })
    }

    /// The name of the key that cosigns.
    pub(crate) fn key_name(&self) -> &str {
        self.key.verifier_key().name()
    }

    /// The largest head ever cosigned.
    pub(crate) fn cosigned(&self) -> Option<Head> {
        self.state.cosigned()
    }

    /// The last anchor, which the branch holds or is about to hold.
    pub(crate) fn last(&self) -> anyhow::Result<Option<Anchor>> {
        let record = self.state.record()?;
        record.map(|record| self.parse(&record.consistency)).transpose()
    }

    /// The anchor's own repository.
    pub(crate) const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Makes sure that the branch is where the key left it, and commits the last anchor if it is not there yet. Returns
    /// the branch's newest commit.
    pub(crate) fn recover(&self) -> Result<Option<Oid>, Error> {
        let _lock = self.repository.lock().map_err(Error::Retry)?;
        self.recover_locked()
    }

    fn recover_locked(&self) -> Result<Option<Oid>, Error> {
        let record = self.state.record().map_err(Error::Fatal)?;
        let tip = self.repository.tip().map_err(Error::Retry)?;
        let facts = self.facts(record.as_ref(), tip).map_err(Error::Retry)?;
        match (about_branch(facts), record) {
            (Ok(Branch::Pending), Some(record)) => Ok(Some(self.commit(tip, &record)?)),
            (Ok(_), _) => Ok(tip),
            (Err(refusal), _) => Err(Error::Fatal(self.explain(refusal, tip))),
        }
    }

    fn facts(&self, record: Option<&Record>, tip: Option<Oid>) -> anyhow::Result<BranchFacts> {
        let held = self.held(tip)?;
        let unchanged = match (record.and_then(|record| record.base), tip) {
            (None, _) => held.is_none(),
            (Some(_), None) => false,
            (Some(base), Some(tip)) => self.repository.is_in_history(base, tip)? && self.held(Some(base))? == held,
        };
        Ok(BranchFacts {
            recorded: record.is_some(),
            present: held.is_some(),
            same: record.is_some_and(|record| held.as_deref() == Some(&record.consistency)),
            unchanged,
        })
    }

    /// This log's file `consistency` in a commit.
    fn held(&self, commit: Option<Oid>) -> anyhow::Result<Option<Vec<u8>>> {
        let path = format!("{}/{CONSISTENCY}", folder(&self.origin));
        commit.map_or(Ok(None), |commit| self.repository.file_at(commit, &path))
    }

    fn explain(&self, refusal: BranchRefusal, tip: Option<Oid>) -> anyhow::Error {
        let holds = tip.map_or_else(|| "nothing".to_owned(), |tip| format!("commit {tip}"));
        let cosigned = self.cosigned().map_or_else(|| "nothing".to_owned(), |head| head.to_string());
        anyhow::anyhow!(
            "{refusal}. {} holds {holds}; the key has cosigned {cosigned}. Nothing is cosigned until you have looked into it \
             and said where to continue (`streamseal anchor --config FILE adopt SOURCE`)",
            self.repository.folder().display()
        )
    }

    /// Cosigns a checkpoint and commits it. It must have been proven consistent with [`Publisher::cosigned`] and with
    /// [`Publisher::last`], from which `proof` leads to it; `cosignatures` of witnesses must have been verified.
    /// Returns the new commit.
    pub(crate) fn publish(
        &mut self,
        checkpoint: &SignedCheckpoint,
        proof: Vec<Hash>,
        cosignatures: Vec<Cosignature>,
        now: u64,
    ) -> Result<Oid, Error> {
        let _lock = self.repository.lock().map_err(Error::Retry)?;
        let tip = self.recover_locked()?;
        let last = self.last().map_err(Error::Fatal)?.map(|last| last.anchored());
        let time = cosignature_time(now, last.and_then(|anchored| anchored.time));
        let old = last.map_or(0, |anchored| anchored.head.size);
        let mut checkpoint = checkpoint.clone();
        checkpoint.cosign(&self.key, time);
        self.put(tip, old, proof, checkpoint, cosignatures)
    }

    /// Commits the last anchor again, with `cosignatures` that came late. Its other signatures stay as they are. Returns
    /// the new commit, or `None` when another key made the last anchor: this key then cosigns it at the next look.
    pub(crate) fn complete(&mut self, cosignatures: Vec<Cosignature>) -> Result<Option<Oid>, Error> {
        let _lock = self.repository.lock().map_err(Error::Retry)?;
        let tip = self.recover_locked()?;
        let last = self.last().map_err(Error::Fatal)?.filter(|last| last.anchored().time.is_some());
        let Some(last) = last else { return Ok(None) };
        self.put(tip, last.head().size, Vec::new(), last.signed().clone(), cosignatures).map(Some)
    }

    /// Writes an anchor to the state file and commits it.
    fn put(
        &mut self,
        tip: Option<Oid>,
        old: u64,
        proof: Vec<Hash>,
        mut checkpoint: SignedCheckpoint,
        cosignatures: Vec<Cosignature>,
    ) -> Result<Oid, Error> {
        for Cosignature { key, line } in cosignatures {
            checkpoint.add_cosignature(&key, line).map_err(|e| Error::Fatal(e.into()))?;
        }
        // After the adoption of an older branch, the largest cosigned head is larger than this one.
        let head = head(&checkpoint);
        let largest = self.cosigned().filter(|cosigned| cosigned.size > head.size).unwrap_or(head);
        let anchor = Anchor::new(old, proof, checkpoint, &self.origin, self.key.verifier_key());
        let record = Record { base: tip, consistency: anchor.map_err(Error::Fatal)?.consistency() };
        self.state.advance(largest, Some(&record)).map_err(|e| Error::Fatal(e.into()))?;
        self.commit(tip, &record)
    }

    fn commit(&self, tip: Option<Oid>, record: &Record) -> Result<Oid, Error> {
        let anchor = self.parse(&record.consistency).map_err(Error::Fatal)?;
        let (checkpoint, folder) = (anchor.checkpoint(), folder(&self.origin));
        let files = [(CHECKPOINT, checkpoint.as_slice()), (CONSISTENCY, &record.consistency)];
        let time = anchor.anchored().time.unwrap_or_default();
        let commit = self.repository.commit(tip, &folder, &files, time, &anchor.message()).map_err(Error::of_write)?;
        pack::pack_if_due(&self.repository).map_err(Error::Fatal)?;
        Ok(commit)
    }

    /// The anchor of this log in a commit; any anchor key may have made it.
    pub(crate) fn anchor_at(&self, commit: Oid) -> anyhow::Result<Option<Anchor>> {
        let held = self.held(Some(commit))?;
        let parse = |bytes: Vec<u8>| Anchor::parse(&bytes, &self.origin, self.key.verifier_key());
        held.map(parse).transpose().with_context(|| format!("the anchor in commit {commit}"))
    }

    /// Continues from `tip`, which must be in the repository and holds `anchor` of this log. `largest` is the largest head
    /// ever cosigned or anchored; it must have been proven consistent with `anchor`.
    pub(crate) fn adopt(&mut self, tip: Oid, anchor: Option<&Anchor>, largest: Option<Head>) -> anyhow::Result<()> {
        let _lock = self.repository.lock()?;
        let current = self.repository.tip()?;
        if let Some(current) = current {
            anyhow::ensure!(
                self.repository.is_in_history(current, tip)?,
                "{} holds commit {current}, which {tip} does not continue: move the repository away first",
                self.repository.folder().display()
            );
        }
        if let Some(largest) = largest {
            let record = anchor.map(|anchor| Record { base: Some(tip), consistency: anchor.consistency() });
            self.state.advance(largest, record.as_ref())?;
        }
        if current != Some(tip) {
            self.repository.move_branch(current, tip)?;
            PackList::start(&self.repository.folder())?;
        }
        Ok(())
    }

    fn parse(&self, consistency: &[u8]) -> anyhow::Result<Anchor> {
        Anchor::parse(consistency, &self.origin, self.key.verifier_key())
            .context("the last anchor in the high-water file")
    }
}
