//! Signs heads: only of what was read back, re-hashed and applied, and never one that contradicts another.

mod error;
mod phase;

use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::chain::{Position, State};
use evidence::statement::LedgerId;
use evidence::{Checkpoint, Head, SignedCheckpoint};
use service::{Backoff, Component, Condition, Shutdown};
use tokio::sync::watch;

use crate::chain::load_tree;
use crate::checkpoints::Checkpoints;
use crate::compute::Compute;
use crate::handoff::Handoff;
use crate::log_key::LogKey;
use crate::metrics;
use crate::parse::parse;
use crate::replay::{Replay, ReplayError};
use crate::resume::resume;
use crate::soundness::Soundness;
use crate::store::{Store, StoredCheckpoint};
use error::SignerError;
use phase::{Earlier, Phase, SignedHead, Source};

/// How often progress is logged while a long chain is read back.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How long the last round may take when the service ends.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);

/// What the signer is made of.
pub(crate) struct SignerParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: LedgerId,
    pub(crate) log_key: LogKey,
    /// The shortest time between two checkpoints.
    pub(crate) interval: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) compute: Compute,
    /// What the appender of this process appended.
    pub(crate) handoff: Option<Handoff>,
    pub(crate) soundness: watch::Sender<Soundness>,
    pub(crate) health: Component,
}

/// Reads the chain back as it grows, and signs its head.
pub(crate) struct Signer {
    store: Arc<dyn Store>,
    ledger: LedgerId,
    log_key: LogKey,
    interval: Duration,
    backoff: Backoff,
    compute: Compute,
    soundness: watch::Sender<Soundness>,
    condition: Condition,
    handoff: Option<Handoff>,
    replay: Replay,
    phase: Phase,
    /// Size of the newest checkpoint in the store.
    stored_size: u64,
}

impl Signer {
    pub(crate) fn new(parts: SignerParts) -> Self {
        let SignerParts { store, ledger, log_key, interval, backoff, compute, handoff, soundness, health } = parts;
        Self {
            replay: Replay::new(&ledger, compute, handoff.clone()),
            handoff,
            phase: Phase::Unchecked,
            stored_size: 0,
            store,
            ledger,
            log_key,
            interval,
            backoff,
            compute,
            soundness,
            condition: Condition::new(health),
        }
    }

    /// Signs until `stop`, and once more then.
    ///
    /// # Errors
    /// When the service must end.
    pub(crate) async fn run(mut self, mut changes: watch::Receiver<u64>, stop: Shutdown) -> Result<(), SignerError> {
        while !stop.is_cancelled() {
            let Err(error) = self.sign_and_wait(&mut changes, &stop).await else { continue };
            self.report(&error);
            if error.is_fatal() {
                return Err(error);
            }
            self.backoff.wait(&stop).await;
        }
        match tokio::time::timeout(LAST_ROUND_MAX, self.round(&Shutdown::new())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_fatal() => return Err(error),
            _ => tracing::info!("the newest entries are signed after the next start"),
        }
        Ok(())
    }

    /// Makes a round and waits until the next one is due.
    async fn sign_and_wait(&mut self, changes: &mut watch::Receiver<u64>, stop: &Shutdown) -> Result<(), SignerError> {
        changes.mark_unchanged();
        self.round(stop).await?;
        self.condition.works(|| tracing::info!("signing again"));
        self.backoff.reset();
        self.until_due(changes, stop).await
    }

    /// Waits until the next checkpoint is due or for `stop`. It is due after the interval, and once something changed.
    /// Meanwhile reads back what the appender would otherwise drop from the handoff.
    async fn until_due(&mut self, changes: &mut watch::Receiver<u64>, stop: &Shutdown) -> Result<(), SignerError> {
        let due = tokio::time::sleep(self.interval);
        tokio::pin!(due);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = &mut due => break,
                () = quarter_full(self.handoff.as_ref()) => {}
            }
            self.read_new(stop).await?;
        }
        if !self.phase.is_reading_earlier() {
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = changes.changed() => {}
            }
        }
        Ok(())
    }

    /// Reads what is new and signs the head. Returns without having signed when told to `stop`.
    async fn round(&mut self, stop: &Shutdown) -> Result<(), SignerError> {
        if matches!(self.phase, Phase::Unchecked) {
            self.check_signed().await?;
        }
        let position = self.read_new(stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        self.check_due()?;
        self.check_position(position)?;
        self.read_earlier().await?;
        // Also after a contradiction, once the right database is back.
        self.soundness.send_if_modified(|known| std::mem::replace(known, Soundness::Sound) != Soundness::Sound);
        self.sign().await
    }

    /// Reads back what is new, up to the position that it returns. Returns early at `stop`.
    async fn read_new(&mut self, stop: &Shutdown) -> Result<Option<Position>, SignerError> {
        let position = self.store.position().await?;
        self.check_position(position)?;
        let size = position.map_or(0, |p| p.next_seq);
        metrics::SIZE.with([]).set(size as f64);
        let mut logged = Instant::now();
        while self.replay.chain().size() < size || self.phase.is_unproven() || !self.replay.is_confirmed() {
            if stop.is_cancelled() {
                break;
            }
            match self.read_back(size).await {
                Err(SignerError::Unsound(problem)) if self.phase.is_unproven() => self.start_over(&problem),
                result => result?,
            }
            if logged.elapsed() >= PROGRESS_EVERY {
                logged = Instant::now();
                tracing::info!(entries = self.replay.chain().size(), size, "reading back entries");
            }
        }
        Ok(position)
    }

    /// Reads back some of the entries up to `size`, and no further than to the next head signed before this start.
    async fn read_back(&mut self, size: u64) -> Result<(), SignerError> {
        self.check_due()?;
        let end = self.phase.next_due().unwrap_or(size).min(size);
        self.replay.advance(&*self.store, end).await?;
        self.check_due()
    }

    /// Replays from the first entry on, because the newest part does not lead to what was signed. That finds the reason.
    fn start_over(&mut self, problem: &str) {
        tracing::warn!("reading back the whole chain, as its newest part does not fit the rest: {problem}");
        self.replay = Replay::new(&self.ledger, self.compute, self.handoff.clone());
        if let Phase::Checked { earlier, .. } = &mut self.phase {
            *earlier = Earlier::Read;
        }
    }

    /// Reads back some of the entries before those that the replay began with. The signed tree already vouches for what
    /// they were, so signing need not wait. If they changed since, evidence is lost, and somebody must learn of it.
    async fn read_earlier(&mut self) -> Result<(), SignerError> {
        let Phase::Checked { earlier, .. } = &mut self.phase else { return Ok(()) };
        let Earlier::Reading { replay, end } = earlier else { return Ok(()) };
        match replay.advance(&*self.store, end.size).await {
            // The next round reports a database that stays unreachable.
            Err(ReplayError::Store(error)) if error.is_transient() => return Ok(()),
            result => result?,
        }
        let found = Head { size: replay.chain().size(), root: replay.chain().root() };
        if found.size == end.size {
            check_root(found, *end, "what follows it")?;
            *earlier = Earlier::Read;
            tracing::info!("read back all entries from the first on");
        }
        Ok(())
    }

    /// At the start: compares the database's stored hashes with the heads signed before. The replay then verifies them.
    async fn check_signed(&mut self) -> Result<(), SignerError> {
        let size = self.store.position().await?.map_or(0, |p| p.next_seq);
        let checkpoint = self.store.checkpoint().await?;
        self.stored_size = checkpoint.as_ref().map_or(0, |c| c.head.size);
        metrics::CHECKPOINT_SIZE.with([]).set(self.stored_size as f64);
        // A key that is not granted yet may be granted through this very committer.
        let key_entries = self.store.key_entries().await?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let state = State::of_keys(&self.ledger, &key_entries);
        if state.is_ok_and(|state| self.log_key.check_in_force(state.keys()).is_ok()) {
            self.log_key.check_high_water(self.stored_size)?;
        }
        let signed = self.log_key.signed().map(|head| SignedHead { head, source: Source::HighWaterFile });
        let stored = checkpoint.map(|stored| SignedHead { head: stored.head, source: Source::StoredCheckpoint });
        let due: Vec<_> = signed.into_iter().chain(stored).collect();
        for SignedHead { head, source } in &due {
            if size < head.size {
                return Err(SignerError::Unsound(format!(
                    "the database is behind what was signed: it has {size} entries, {source} says {head}. It is an \
                     old copy, or lost its newest entries: put the full one back"
                )));
            }
            let root = load_tree(&*self.store, head.size).await?.root();
            check_root(Head { size: head.size, root }, *head, source)?;
        }
        // The signed heads are in the database. So must be a valid note of the newest.
        Checkpoints::new(Arc::clone(&self.store), self.ledger.clone()).newest().await?;
        let mut earlier = Earlier::Read;
        if let Some(signed) = signed
            && let Some(chain) = resume(&*self.store, &self.ledger, signed.head.size).await?
        {
            earlier = Earlier::Unproven(Head { size: chain.size(), root: chain.root() });
            self.replay = Replay::resumed(chain, self.compute, self.handoff.clone());
        }
        self.phase = Phase::Checked { due, earlier };
        self.soundness.send_replace(Soundness::Sound);
        Ok(())
    }

    /// Compares the replay with the due heads of its size, and takes those that it reached off the list.
    fn check_due(&mut self) -> Result<(), SignerError> {
        let Phase::Checked { due, earlier } = &mut self.phase else { return Ok(()) };
        let chain = self.replay.chain();
        for SignedHead { head, source } in due.iter().filter(|signed| signed.head.size == chain.size()) {
            check_root(Head { size: head.size, root: chain.root() }, *head, source)?;
            // The root vouches for the entries that were read. Only a heads statement among them vouches for where the
            // streams were before; without one, the replay's begin is not proven.
            let is_unproven = matches!(earlier, Earlier::Unproven(_)) && *source == Source::HighWaterFile;
            if is_unproven && chain.state().heads().is_none() {
                return Err(SignerError::Unsound(format!(
                    "no heads statement below {head} states the streams' cursors"
                )));
            }
        }
        due.retain(|signed| signed.head.size > chain.size());
        if let Earlier::Unproven(end) = *earlier
            && due.iter().all(|signed| signed.source != Source::HighWaterFile)
        {
            let replay = Box::new(Replay::new(&self.ledger, self.compute, None));
            *earlier = Earlier::Reading { replay, end };
        }
        Ok(())
    }

    /// The database must still have all entries that were signed or read back, and the same head at the same size.
    fn check_position(&self, position: Option<Position>) -> Result<(), SignerError> {
        let size = position.map_or(0, |p| p.next_seq);
        if let Some(signed) = self.log_key.signed()
            && size < signed.size
        {
            return Err(SignerError::Unsound(format!(
                "the database went back: it has {size} entries, but {signed} was signed. An old copy was put in its place, or \
                 a standby without its newest entries took over: put the full one back"
            )));
        }
        let chain = self.replay.chain();
        let last_leaf =
            |position: Option<Position>| position.map_or_else(|| "-".to_owned(), |p| p.last_leaf.to_string());
        if size < chain.size() || (size == chain.size() && position != chain.position()) {
            return Err(SignerError::Unsound(format!(
                "the database has another chain: {size} entries with newest leaf {}, but {} with newest leaf {} were read back",
                last_leaf(position),
                chain.size(),
                last_leaf(chain.position())
            )));
        }
        Ok(())
    }

    /// Signs the head of what was read back, unless it is signed already.
    async fn sign(&mut self) -> Result<(), SignerError> {
        let chain = self.replay.chain();
        let head = Head { size: chain.size(), root: chain.root() };
        if head.size == 0 {
            return Ok(());
        }
        self.log_key.check_in_force(chain.state().keys())?;
        self.log_key.check_high_water(self.stored_size)?;
        if head.size <= self.stored_size {
            return Ok(());
        }
        let log_key = self.log_key.clone();
        let advance = move || log_key.advance(head);
        // First the file, then the checkpoint: after a crash here the same head is signed again.
        match self.compute.run(advance).await {
            Ok(()) => {}
            Err(error @ (keystore::Error::Backwards { .. } | keystore::Error::Forked { .. })) => {
                return Err(SignerError::Unsound(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let checkpoint = Checkpoint { origin: self.ledger.origin.clone(), size: head.size, root: head.root };
        let note = SignedCheckpoint::sign(checkpoint, self.log_key.key()).to_bytes();
        self.store.put_checkpoint(&StoredCheckpoint { head, note }).await?;
        self.stored_size = head.size;
        metrics::CHECKPOINT_SIZE.with([]).set(head.size as f64);
        Ok(())
    }

    /// Reports why there is no new checkpoint.
    fn report(&mut self, error: &SignerError) {
        if let SignerError::Unsound(message) = error {
            self.soundness.send_replace(Soundness::Unsound(message.clone()));
        }
        self.condition.fails(error.to_string(), |message| tracing::error!("not signing: {message}"));
    }
}

fn check_root(found: Head, signed: Head, source: impl std::fmt::Display) -> Result<(), SignerError> {
    if found == signed {
        return Ok(());
    }
    Err(SignerError::Unsound(format!(
        "the database contradicts what was signed: it has {found}, {source} says {signed}: run fsck, and put the database \
         back that was signed"
    )))
}

/// Resolves when the handoff is a quarter full; never without one.
async fn quarter_full(handoff: Option<&Handoff>) {
    match handoff {
        Some(handoff) => handoff.quarter_full().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
