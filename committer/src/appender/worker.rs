//! The task that appends: it commits all waiting requests in one transaction, then the next ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evidence::chain::{Keys, Position};
use evidence::statement::LedgerId;
use evidence::{EncodedEntry, Hash, SigningKey};
use service::{Component, Condition, Shutdown};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::duplicates::possible_duplicates;
use super::group::Group;
use super::request::{AppendError, Decision, Reply, Request, Work};
use crate::Clock;
use crate::chain::Chain;
use crate::changes::Changes;
use crate::compute::Compute;
use crate::handoff::{HandedEntry, Handoff};
use crate::metrics::{APPEND_FAILURES, AppenderMetrics, refused};
use crate::soundness::Soundness;
use crate::store::{Append, Begun, Lookup, Store, StoreError, StoreErrorKind, Transaction};

/// Statements in one transaction, not counting the rest of the last request. Enough to make the cost of an fsync small;
/// few enough that nobody waits long for the lock.
const GROUP_STATEMENTS_MAX: usize = 2048;

/// Maximum difference between the local clock and the database's.
const CLOCK_DIFFERENCE_MS_MAX: u64 = 5_000;

/// How long a request waits at the start for the signer to check the database.
const CHECKING_MAX: Duration = Duration::from_secs(5);

/// How often an appender that cannot append tries whether it can.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Attempts at a transaction that keeps conflicting with others.
const CONFLICTS_MAX: u32 = 10;

/// Further behind the database than this, the worker loads the tables again instead of following their changes.
const FOLLOW_ENTRIES_MAX: u64 = 10_000;

/// What the appender is made of.
pub(crate) struct AppenderParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: LedgerId,
    pub(crate) clock: Clock,
    pub(crate) compute: Compute,
    /// Signs heads statements.
    pub(crate) log_key: Option<Arc<SigningKey>>,
    /// Hands what was appended to the signer, if there is one here.
    pub(crate) handoff: Option<Handoff>,
    /// Told of every append.
    pub(crate) changes: Changes,
    /// What the signer found.
    pub(crate) soundness: watch::Receiver<Soundness>,
    /// The largest position that the database was seen at, by any committer's appends.
    pub(crate) seen: watch::Receiver<Option<Position>>,
    pub(crate) health: Component,
    /// Ends the worker, after what waits.
    pub(crate) stop: Shutdown,
}

#[cfg(test)]
impl AppenderParts {
    /// Parts of an appender on a sound database, which signs nothing and reports to nobody.
    pub(crate) fn for_test(store: Arc<dyn Store>, ledger: LedgerId) -> Self {
        Self {
            store,
            ledger,
            clock: crate::system_clock(),
            compute: Compute::Threads,
            log_key: None,
            handoff: None,
            changes: Changes::new(),
            soundness: watch::channel(Soundness::Sound).1,
            seen: watch::channel(None).1,
            health: service::Health::new().component("appending"),
            stop: Shutdown::new(),
        }
    }
}

pub(super) struct Worker {
    parts: AppenderParts,
    requests: mpsc::Receiver<Request>,
    keys: watch::Sender<Arc<Keys>>,
    /// The chain after the last transaction here; `None` if that one failed.
    chain: Option<Chain>,
    /// The newest position that was read or written here: the database must never be behind it.
    confirmed: Option<Position>,
    condition: Condition,
    metrics: AppenderMetrics,
    /// When to try, without a request, whether appending is possible: at the start, and after an error.
    probe_at: Option<Instant>,
    clock_behind: bool,
}

/// Why a group was not committed.
#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Appending would do harm. The text says what must change first.
    #[error("{0}")]
    Unsound(String),
}

impl CommitError {
    fn unsound<T>(message: String) -> Result<T, Self> {
        Err(Self::Unsound(message))
    }
}

impl Worker {
    pub(super) fn new(parts: AppenderParts, requests: mpsc::Receiver<Request>, keys: watch::Sender<Arc<Keys>>) -> Self {
        let condition = Condition::counting(parts.health.clone(), APPEND_FAILURES.with([]));
        Self {
            parts,
            requests,
            keys,
            chain: None,
            confirmed: None,
            condition,
            metrics: AppenderMetrics::new(),
            probe_at: Some(Instant::now()),
            clock_behind: false,
        }
    }

    /// Runs until it is stopped and all waiting requests are answered.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        while let Some(requests) = self.next_group().await {
            let (work, replies): (Vec<_>, Vec<_>) = requests.into_iter().map(Request::split).unzip();
            let begun = Instant::now();
            let result = self.commit(work).await;
            if !replies.is_empty() {
                self.metrics.append_seconds.record(begun.elapsed());
            }
            self.report(&result);
            self.probe_at = result.is_err().then(|| Instant::now() + PROBE_EVERY);
            match result {
                Ok(decisions) => {
                    decisions.iter().filter_map(|decision| decision.refused.as_ref()).for_each(refused);
                    answer(replies, decisions.into_iter().map(Ok));
                }
                Err(error) => {
                    // The drafted entries may or may not be in the database.
                    self.chain = None;
                    let message = error.to_string();
                    answer(replies, std::iter::repeat_with(|| Err(AppendError::Unavailable(message.clone()))));
                    if let CommitError::Store(error) = error
                        && matches!(error.kind, StoreErrorKind::DiskFailed | StoreErrorKind::Refused)
                    {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a request and takes the others that wait. An empty group is a probe.
    async fn next_group(&mut self) -> Option<Vec<Request>> {
        let first = tokio::select! {
            biased;
            first = self.requests.recv() => first,
            () = self.parts.stop.cancelled() => {
                self.requests.close();
                self.requests.recv().await
            }
            () = until(self.probe_at) => return Some(Vec::new()),
        };
        let mut group = vec![first?];
        let mut statements = group[0].len();
        while statements < GROUP_STATEMENTS_MAX
            && let Ok(request) = self.requests.try_recv()
        {
            statements += request.len();
            group.push(request);
        }
        Some(group)
    }

    /// Decides and commits the work of a group, and retries after conflicts. Returns one decision for each request.
    async fn commit(&mut self, work: Vec<Work>) -> Result<Vec<Decision>, CommitError> {
        let work = Arc::new(work);
        let mut conflicts = 0;
        loop {
            match self.attempt(&work).await {
                Err(CommitError::Store(error))
                    if error.kind == StoreErrorKind::Conflict && conflicts < CONFLICTS_MAX =>
                {
                    tracing::debug!("trying again: {error}");
                    conflicts += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&mut self, work: &Arc<Vec<Work>>) -> Result<Vec<Decision>, CommitError> {
        self.check_soundness().await?;
        let size = self.chain.as_ref().map(Chain::size);
        let asked = possible_duplicates(self.chain.as_ref(), work);
        let Begun { position, known, mut transaction } = self.parts.store.begin(&asked).await?;
        let now_ms = self.checked_time(&mut *transaction).await?;
        let chain = self.locked_chain(position).await?;
        let is_reread = size != Some(chain.size());
        // Others may have appended some of these statements.
        if size.is_some_and(|size| size < chain.size()) && !is_part(&possible_duplicates(Some(&chain), work), &asked) {
            self.hold(transaction, &chain).await?;
            self.confirm(&chain);
            self.chain = Some(chain);
            let message = "another committer appended to the same streams";
            return Err(StoreError::new(StoreErrorKind::Conflict, message).into());
        }
        self.warn_of_clock(now_ms, chain.state().time());
        let log_key = self.parts.log_key.clone();
        let work = Arc::clone(work);
        let decide = move || decide(Group::new(chain, now_ms, known), &work, log_key.as_deref());
        let (decisions, chain, append) = self.parts.compute.run(decide).await;
        match append {
            Some((append, entries)) => self.write(transaction, append, entries).await?,
            None if is_reread => self.hold(transaction, &chain).await?,
            None => {}
        }
        self.confirm(&chain);
        self.chain = Some(chain);
        Ok(decisions)
    }

    /// Commits nothing, to prove that the lock was held while the chain was read. A copy may have replaced the database
    /// between two reads; only a successful commit under the lock rules that out.
    async fn hold(&self, transaction: Box<dyn Transaction>, chain: &Chain) -> Result<(), StoreError> {
        let Some(position) = chain.position() else { return Ok(()) };
        let nothing = Append { entries: Vec::new(), streams: Vec::new(), nodes: Vec::new(), position };
        transaction.commit(&nothing).await
    }

    async fn write(
        &self,
        transaction: Box<dyn Transaction>,
        append: Append,
        entries: Vec<EncodedEntry>,
    ) -> Result<(), StoreError> {
        transaction.commit(&append).await?;
        for kind in append.entries.chunk_by(|a, b| a.kind == b.kind) {
            self.metrics.appended(&kind[0].kind, kind.len());
        }
        if let (Some(handoff), Some(first)) = (&self.parts.handoff, entries.first()) {
            handoff.push(first.entry().seq, entries.into_iter().map(HandedEntry));
        }
        self.parts.changes.announce();
        Ok(())
    }

    /// Refuses a database that the signer will not sign for. At the start the signer needs a moment to know.
    async fn check_soundness(&mut self) -> Result<(), CommitError> {
        let known = self.parts.soundness.wait_for(|soundness| *soundness != Soundness::Unchecked);
        // After that time, the present value decides.
        let _ = tokio::time::timeout(CHECKING_MAX, known).await;
        match &*self.parts.soundness.borrow() {
            Soundness::Sound => Ok(()),
            Soundness::Unchecked => {
                CommitError::unsound("the signer has not compared the database with the signed heads yet".to_owned())
            }
            Soundness::Unsound(reason) => CommitError::unsound(reason.clone()),
        }
    }

    /// The time of new entries, by the database's clock. That is compared with the time here before the question and after
    /// the answer, so that a slow answer does not look like a difference of the clocks.
    async fn checked_time(&self, transaction: &mut dyn Transaction) -> Result<i64, CommitError> {
        let before_ms = (self.parts.clock)();
        let now_ms = transaction.now_ms().await?;
        let after_ms = (self.parts.clock)();
        // The clock may be set back in between.
        let nearest_ms = now_ms.clamp(before_ms.min(after_ms), before_ms.max(after_ms));
        if nearest_ms.abs_diff(now_ms) <= CLOCK_DIFFERENCE_MS_MAX {
            return Ok(now_ms);
        }
        CommitError::unsound(format!(
            "the clock here ({nearest_ms} ms) and the database's ({now_ms} ms) differ by more than {} s: correct them",
            CLOCK_DIFFERENCE_MS_MAX / 1000
        ))
    }

    /// Warns once when the database's clock goes back. Entries' times never do.
    fn warn_of_clock(&mut self, now_ms: i64, newest_ms: i64) {
        let behind = now_ms < newest_ms;
        if behind && !self.clock_behind {
            tracing::warn!(
                now_ms,
                newest_ms,
                "the database's clock went back: new entries get the newest entry's time"
            );
        }
        self.clock_behind = behind;
    }

    /// The locked chain: that of the last transaction, with what other committers appended since.
    async fn locked_chain(&mut self, position: Option<Position>) -> Result<Chain, CommitError> {
        // Others may have appended more than this committer. It must not continue a copy without their entries.
        let seen = *self.parts.seen.borrow();
        self.confirmed = self.confirmed.into_iter().chain(seen).max_by_key(|position| position.next_seq);
        let store = &*self.parts.store;
        if let Some(chain) = self.chain.take() {
            if self.confirmed.is_some_and(|confirmed| confirmed.next_seq > chain.size()) {
                self.check_confirmed(position).await?;
            }
            if chain.position() == position {
                return Ok(chain);
            }
            if let Some(position) = position
                && (chain.size() + 1..=chain.size() + FOLLOW_ENTRIES_MAX).contains(&position.next_seq)
                && let Some(chain) = chain.follow(store, position).await?
            {
                return Ok(chain);
            }
            // The lookups were chosen by a chain that no longer holds.
            return Err(StoreError::new(StoreErrorKind::Conflict, "the chain must be loaded again").into());
        }
        self.check_confirmed(position).await?;
        Ok(Chain::load(store, &self.parts.ledger, position).await?)
    }

    /// Refuses a database without the entries that were read from it or committed to it: an old copy, or another one.
    async fn check_confirmed(&self, position: Option<Position>) -> Result<(), CommitError> {
        let Some(confirmed) = self.confirmed else { return Ok(()) };
        let size = position.map_or(0, |p| p.next_seq);
        let ours =
            format!("this committer has seen {} entries with newest leaf {}", confirmed.next_seq, confirmed.last_leaf);
        if size < confirmed.next_seq {
            return CommitError::unsound(format!(
                "the database went back: it has {size} entries, {ours}. An old copy was put in its place"
            ));
        }
        let leaf = self.parts.store.nodes(0, confirmed.next_seq - 1..confirmed.next_seq).await?;
        if leaf != [confirmed.last_leaf] {
            let found = leaf.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return CommitError::unsound(format!(
                "the database has another chain: {ours}, its entry there has leaf hash {found}"
            ));
        }
        Ok(())
    }

    fn confirm(&mut self, chain: &Chain) {
        self.confirmed = chain.position();
        let keys = chain.state().keys();
        self.keys.send_if_modified(|known| {
            let changed = known.newest() != keys.newest();
            if changed {
                *known = Arc::new(keys.clone());
            }
            changed
        });
    }

    /// Reports whether appending works.
    fn report(&mut self, result: &Result<Vec<Decision>, CommitError>) {
        match result {
            Ok(_) => self.condition.works(|| tracing::info!("appending again")),
            Err(error) => {
                let message = error.to_string();
                self.condition.fails(message, |message| tracing::error!("not appending: {message}"));
            }
        }
    }
}

type Decided = (Vec<Decision>, Chain, Option<(Append, Vec<EncodedEntry>)>);

fn decide(mut group: Group, work: &[Work], log_key: Option<&SigningKey>) -> Decided {
    let decisions = work.iter().map(|work| match (work, log_key) {
        (Some(statements), _) => group.append_all(statements),
        (None, Some(key)) => group.append_heads(key),
        (None, None) => Decision::default(),
    });
    let decisions = decisions.collect();
    let (chain, append) = group.finish();
    (decisions, chain, append)
}

/// Whether `others` has all of `some`.
fn is_part(some: &[Lookup], others: &[Lookup]) -> bool {
    let others: HashSet<Hash> = others.iter().map(|lookup| lookup.statement).collect();
    some.iter().all(|lookup| others.contains(&lookup.statement))
}

/// Resolves at a time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Sends the answers. A client that went away misses its own, and will ask again.
fn answer(replies: Vec<Reply>, decisions: impl Iterator<Item = Result<Decision, AppendError>>) {
    for (reply, decision) in replies.into_iter().zip(decisions) {
        let _ = reply.send(decision);
    }
}
