//! Signs heads: only of what was read back, re-hashed and applied, and never one that contradicts another.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use evidence::chain::{Keys, Position, Role, State};
use evidence::statement::LedgerId;
use evidence::{Checkpoint, Head, SignedCheckpoint, SigningKey};
use keystore::HighWater;
use service::{Backoff, Component, Condition, Shutdown};
use tokio::sync::watch;

use crate::chain::load_tree;
use crate::checkpoints::Checkpoints;
use crate::compute::Compute;
use crate::metrics;
use crate::parse::parse;
use crate::parts::LogKey;
use crate::recent::Recent;
use crate::replay::{Fault, Replay};
use crate::resume::resume;
use crate::store::{Store, StoreError, StoreErrorKind, StoredCheckpoint};

/// How often progress is told while a long chain is read back.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Whose word a head is that was signed before this start.
const HIGH_WATER: &str = "the log key's high-water file";

/// How long the last round may take when the service ends.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);

/// What the signer makes of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not compared yet with what was signed.
    Checking,
    /// Nothing speaks against appending.
    Sound,
    /// It contradicts what was signed, or holds what is no chain. Nothing may be appended.
    Unsound(String),
}

/// What the signer needs.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: LedgerId,
    pub(crate) log_key: LogKey,
    /// The shortest time between two checkpoints.
    pub(crate) interval: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) compute: Compute,
    /// What the appender of this process appended.
    pub(crate) recent: Option<Recent>,
    pub(crate) verdict: watch::Sender<Verdict>,
    pub(crate) health: Component,
}

/// Reads the chain back as it grows, and signs its head.
pub(crate) struct Signer {
    store: Arc<dyn Store>,
    ledger: LedgerId,
    key: Arc<SigningKey>,
    /// Whether no other log key can have signed before this one.
    is_first: bool,
    /// Shared only with the thread that syncs it.
    high_water: Arc<Mutex<HighWater>>,
    interval: Duration,
    backoff: Backoff,
    compute: Compute,
    verdict: watch::Sender<Verdict>,
    condition: Condition,
    recent: Option<Recent>,
    replay: Replay,
    /// Whether reading back began further on than at the first entry, and has not come to the head signed last yet: nothing
    /// vouches for where it began before that.
    is_unproven: bool,
    /// The entries before that, which are read back bit by bit while signing goes on, and the head that they must have.
    behind: Option<(Replay, Head)>,
    /// Whether the database was compared with what was signed before this start, and was found to have it.
    checked: bool,
    /// Heads that were signed before this start, which the chain must go through.
    due: Vec<(Head, &'static str)>,
    /// Size of the newest checkpoint in the store.
    stored: u64,
}

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nothing is known to be wrong; the database did not answer.
    #[error(transparent)]
    Store(StoreError),
    /// The database must not be signed for.
    #[error("{0}")]
    Unsound(String),
    /// The log key does not count.
    #[error("{0}")]
    Key(String),
    /// Something was signed for this ledger, and what is not known: the service ends, as the file is read at the start.
    #[error("{0}")]
    Forgotten(String),
    /// The high-water file could not be written: the service ends.
    #[error(transparent)]
    HighWater(#[from] keystore::Error),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Damaged => Self::Unsound(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error.into(),
            bad @ Fault::Bad { .. } => {
                Self::Unsound(format!("the database does not hold a valid chain: {bad}: run fsck"))
            }
        }
    }
}

impl Trouble {
    /// Whether the service must end.
    fn is_fatal(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error.kind, StoreErrorKind::Broken | StoreErrorKind::Refused),
            Self::Unsound(_) | Self::Key(_) => false,
            Self::Forgotten(_) | Self::HighWater(_) => true,
        }
    }
}

/// Where the high-water file of a log key is: beside it.
pub(crate) fn high_water_path(log_key: &Path) -> std::path::PathBuf {
    let mut path = log_key.as_os_str().to_owned();
    path.push(".high-water");
    path.into()
}

impl Signer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, ledger, log_key, interval, backoff, compute, recent, verdict, health } = parts;
        let LogKey { key, high_water, is_first } = log_key;
        Self {
            is_first,
            replay: Replay::new(&ledger, compute, recent.clone()),
            recent,
            is_unproven: false,
            behind: None,
            high_water: Arc::new(Mutex::new(high_water)),
            checked: false,
            due: Vec::new(),
            stored: 0,
            store,
            ledger,
            key,
            interval,
            backoff,
            compute,
            verdict,
            condition: Condition::new(health),
        }
    }

    /// Signs until `stop`, and what is there then. Ends with an error when the service must.
    pub(crate) async fn run(mut self, mut changes: watch::Receiver<u64>, stop: Shutdown) -> Result<(), Trouble> {
        while !stop.is_cancelled() {
            let Err(trouble) = self.sign_and_wait(&mut changes, &stop).await else { continue };
            self.report(&trouble);
            if trouble.is_fatal() {
                return Err(trouble);
            }
            self.backoff.wait(&stop).await;
        }
        match tokio::time::timeout(LAST_ROUND_MAX, self.round(&Shutdown::new())).await {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) if trouble.is_fatal() => return Err(trouble),
            _ => tracing::info!("the newest entries are signed after the next start"),
        }
        Ok(())
    }

    /// Makes a round, and waits until the next is due.
    async fn sign_and_wait(&mut self, changes: &mut watch::Receiver<u64>, stop: &Shutdown) -> Result<(), Trouble> {
        changes.mark_unchanged();
        self.round(stop).await?;
        self.condition.works(|| tracing::info!("signing again"));
        self.backoff.reset();
        self.until_due(changes, stop).await
    }

    /// Waits until the next checkpoint is due, after the interval and when idle not before something changed, or for
    /// `stop`. Meanwhile reads back what the appender would have forgotten by then.
    async fn until_due(&mut self, changes: &mut watch::Receiver<u64>, stop: &Shutdown) -> Result<(), Trouble> {
        let due = tokio::time::sleep(self.interval);
        tokio::pin!(due);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = &mut due => break,
                () = many(self.recent.as_ref()) => {}
            }
            self.read_new(stop).await?;
        }
        if self.behind.is_none() {
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = changes.changed() => {}
            }
        }
        Ok(())
    }

    /// Reads what is new and signs the head. Returns without having signed when told to `stop`.
    async fn round(&mut self, stop: &Shutdown) -> Result<(), Trouble> {
        if !self.checked {
            self.check_signed().await?;
        }
        let position = self.read_new(stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        self.check_due()?;
        self.check_position(position)?;
        self.look_behind().await?;
        // Also after a contradiction that is gone, because the right database is back.
        self.verdict.send_if_modified(|verdict| std::mem::replace(verdict, Verdict::Sound) != Verdict::Sound);
        self.sign().await
    }

    /// Reads back what is new, up to the position that it returns unless it is told to `stop` before.
    async fn read_new(&mut self, stop: &Shutdown) -> Result<Option<Position>, Trouble> {
        let position = self.store.position().await?;
        self.check_position(position)?;
        let size = position.map_or(0, |p| p.next_seq);
        metrics::SIZE.with([]).set(size as f64);
        let mut told = Instant::now();
        while self.replay.chain().size() < size || self.is_unproven || !self.replay.is_confirmed() {
            if stop.is_cancelled() {
                break;
            }
            match self.read_back(size).await {
                Err(Trouble::Unsound(problem)) if self.is_unproven => self.start_over(&problem),
                result => result?,
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tracing::info!(entries = self.replay.chain().size(), size, "reading back entries");
            }
        }
        Ok(position)
    }

    /// Reads back some of the entries up to `size`, and no further than to the next head that was signed before.
    async fn read_back(&mut self, size: u64) -> Result<(), Trouble> {
        self.check_due()?;
        let next_due = self.due.iter().map(|(head, _)| head.size).min().unwrap_or(size);
        self.replay.advance(&*self.store, next_due.min(size)).await?;
        self.check_due()
    }

    /// What was resumed from does not lead to what was signed: from the first entry on, it is found out why.
    fn start_over(&mut self, problem: &str) {
        tracing::warn!("reading back the whole chain, as its newest part does not fit the rest: {problem}");
        self.replay = Replay::new(&self.ledger, self.compute, self.recent.clone());
        self.is_unproven = false;
        self.behind = None;
    }

    /// Reads back some of the entries before those that the start read: a change in them is no danger to what is signed,
    /// as the tree vouches for what they were, but evidence that is lost if nobody knows.
    async fn look_behind(&mut self) -> Result<(), Trouble> {
        let Some((replay, end)) = &mut self.behind else { return Ok(()) };
        match replay.advance(&*self.store, end.size).await {
            // That the database is away is noticed elsewhere.
            Err(Fault::Store(error)) if error.is_transient() => return Ok(()),
            result => result?,
        }
        let found = Head { size: replay.chain().size(), root: replay.chain().root() };
        if found.size == end.size {
            check_root(found, *end, "what follows it")?;
            self.behind = None;
            tracing::info!("read back all entries from the first on");
        }
        Ok(())
    }

    /// At the start: compares the database with what was signed before, by its stored hashes. Reading back makes sure.
    async fn check_signed(&mut self) -> Result<(), Trouble> {
        let size = self.store.position().await?.map_or(0, |p| p.next_seq);
        let checkpoint = self.store.checkpoint().await?;
        self.stored = checkpoint.as_ref().map_or(0, |c| c.head.size);
        metrics::CHECKPOINT_SIZE.with([]).set(self.stored as f64);
        // A key that does not count yet may be granted through this very committer.
        let key_entries = self.store.key_entries().await?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if State::of_keys(&self.ledger, &key_entries).is_ok_and(|state| self.check_key(state.keys()).is_ok()) {
            self.check_memory()?;
        }
        let signed = self.high_water().head();
        let stored = checkpoint.map(|checkpoint| (checkpoint.head, "the database's own checkpoint"));
        let due: Vec<_> = signed.map(|head| (head, HIGH_WATER)).into_iter().chain(stored).collect();
        for &(head, source) in &due {
            if size < head.size {
                return Err(Trouble::Unsound(format!(
                    "the database is behind what was signed: it has {size} entries, {source} says {head}. It is an \
                     old copy, or lost its newest entries: put the full one back"
                )));
            }
            let root = load_tree(&*self.store, head.size).await?.root();
            check_root(Head { size: head.size, root }, head, source)?;
        }
        // What was signed is in the database; so must be the note that says it.
        Checkpoints::new(Arc::clone(&self.store), self.ledger.clone()).newest().await?;
        self.due = due;
        if let Some(signed) = signed
            && self.replay.chain().size() == 0
            && let Some(chain) = resume(&*self.store, &self.ledger, signed.size).await?
        {
            let begin = Head { size: chain.size(), root: chain.root() };
            self.replay = Replay::resumed(chain, self.compute, self.recent.clone());
            self.behind = Some((Replay::new(&self.ledger, self.compute, None), begin));
            self.is_unproven = true;
        }
        self.checked = true;
        self.verdict.send_replace(Verdict::Sound);
        Ok(())
    }

    /// The heads signed earlier, when reading back has come to their size.
    fn check_due(&mut self) -> Result<(), Trouble> {
        let chain = self.replay.chain();
        for &(head, source) in self.due.iter().filter(|(head, _)| head.size == chain.size()) {
            check_root(Head { size: head.size, root: chain.root() }, head, source)?;
            // The root vouches for the entries that were read. For where the streams stood before them only a heads
            // statement does that was among these: what was resumed from is there without one.
            if source == HIGH_WATER && self.is_unproven && chain.state().heads().is_none() {
                return Err(Trouble::Unsound(format!("no heads statement below {head} says where the streams stood")));
            }
        }
        let size = chain.size();
        self.due.retain(|(head, _)| head.size > size);
        if self.due.iter().all(|(_, source)| *source != HIGH_WATER) {
            self.is_unproven = false;
        }
        Ok(())
    }

    /// The database must have all that was signed and read from it, and at the same size the same head.
    fn check_position(&self, position: Option<Position>) -> Result<(), Trouble> {
        let size = position.map_or(0, |p| p.next_seq);
        if let Some(signed) = self.high_water().head()
            && size < signed.size
        {
            return Err(Trouble::Unsound(format!(
                "the database went back: it has {size} entries, signed is {signed}. An old copy was put in its place, or \
                 a standby without its newest entries took over: put the full one back"
            )));
        }
        let chain = self.replay.chain();
        let head = |position: Option<Position>| position.map_or_else(|| "-".to_owned(), |p| p.last_leaf.to_string());
        if size < chain.size() || (size == chain.size() && position != chain.position()) {
            return Err(Trouble::Unsound(format!(
                "the database has another chain: {size} entries with head {}, read back were {} with head {}",
                head(position),
                chain.size(),
                head(chain.position())
            )));
        }
        Ok(())
    }

    /// The key must be one that the ledger granted for the log and has not revoked.
    fn check_key(&self, keys: &Keys) -> Result<(), Trouble> {
        let key = self.key.verifier_key();
        if keys.in_force(Role::Log).any(|granted| granted.key == *key) {
            return Ok(());
        }
        let granted = keys.granted().iter().find(|granted| granted.key == *key);
        let problem = match granted.and_then(|granted| granted.revoked) {
            Some(end) => format!("was revoked in entry {}", end.seq),
            None => "is not granted as a log key of this ledger".to_owned(),
        };
        let in_force: Vec<_> = keys.in_force(Role::Log).map(|granted| granted.key.to_string()).collect();
        let in_force = if in_force.is_empty() { "none".to_owned() } else { in_force.join(" ") };
        Err(Trouble::Key(format!(
            "the log key {key} {problem}, so it signs nothing. Log keys in force: {in_force}. Put one of them in its place, \
             with the high-water file, or have one granted (`streamseal key --config FILE grant VKEY --role log \
             --operator-key FILE`)"
        )))
    }

    /// A key must not begin with nothing where another one, or itself, has signed before.
    fn check_memory(&self) -> Result<(), Trouble> {
        let high_water = self.high_water();
        if high_water.head().is_some() || (self.is_first && self.stored == 0) {
            return Ok(());
        }
        let before = match self.stored {
            0 => "it is not the log key that the ledger began with".to_owned(),
            size => format!("the database has a checkpoint of size {size}"),
        };
        Err(Trouble::Forgotten(format!(
            "{} is not there, and this ledger was signed for before: {before}. The log key could sign another history now. \
             Move the high-water file of the log key that signed last to that name; if it is lost, see that the database is \
             not behind the newest anchor, and run `streamseal committer --config FILE adopt`",
            high_water.path().display()
        )))
    }

    /// Signs the head of what was read back, unless that was done.
    async fn sign(&mut self) -> Result<(), Trouble> {
        let chain = self.replay.chain();
        let head = Head { size: chain.size(), root: chain.root() };
        if head.size == 0 {
            return Ok(());
        }
        self.check_key(chain.state().keys())?;
        self.check_memory()?;
        if head.size <= self.stored {
            return Ok(());
        }
        let high_water = Arc::clone(&self.high_water);
        let advance = move || lock(&high_water).advance(head);
        // First the disk, then the world: after a crash here the same head is signed again.
        match self.compute.run(advance).await {
            Ok(()) => {}
            Err(error @ (keystore::Error::Backwards { .. } | keystore::Error::Sideways { .. })) => {
                return Err(Trouble::Unsound(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let checkpoint = Checkpoint { origin: self.ledger.origin.clone(), size: head.size, root: head.root };
        let note = SignedCheckpoint::sign(checkpoint, &self.key).to_bytes();
        self.store.put_checkpoint(&StoredCheckpoint { head, note }).await?;
        self.stored = head.size;
        metrics::CHECKPOINT_SIZE.with([]).set(head.size as f64);
        Ok(())
    }

    fn high_water(&self) -> MutexGuard<'_, HighWater> {
        lock(&self.high_water)
    }

    /// Shows why there is no new checkpoint, and logs what was not logged just before.
    fn report(&mut self, trouble: &Trouble) {
        if let Trouble::Unsound(message) = trouble {
            self.verdict.send_replace(Verdict::Unsound(message.clone()));
        }
        self.condition.fails(trouble.to_string(), |message| tracing::error!("not signing: {message}"));
    }
}

/// The file is only ever replaced whole, so a panic elsewhere cannot have left the value half changed.
fn lock(high_water: &Mutex<HighWater>) -> MutexGuard<'_, HighWater> {
    high_water.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_root(found: Head, signed: Head, source: &str) -> Result<(), Trouble> {
    if found == signed {
        return Ok(());
    }
    Err(Trouble::Unsound(format!(
        "the database contradicts what was signed: it has {found}, {source} says {signed}: run fsck, and put the database \
         back that was signed"
    )))
}

/// Returns when the appender has handed over much that is still to be read back; never without an appender.
async fn many(recent: Option<&Recent>) {
    match recent {
        Some(recent) => recent.many().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
