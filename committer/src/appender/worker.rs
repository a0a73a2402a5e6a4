//! The task that appends: one transaction for all that waits, then the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evidence::chain::{Keys, Position};
use evidence::{EncodedEntry, Hash, SigningKey};
use service::Condition;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::group::Group;
use super::sought::sought;
use super::{Outcome, Parts, Reply, Request, Undecided};
use crate::chain::Chain;
use crate::metrics::{APPEND_FAILURES, AppenderMetrics, refused};
use crate::recent::Handed;
use crate::signer::Verdict;
use crate::store::{Append, Begun, Sought, StoreError, StoreErrorKind, Transaction};

/// Statements in one transaction, give or take a request: enough to spread the cost of an fsync thin, few enough that
/// nobody waits long for the lock.
const GROUP_STATEMENTS_MAX: usize = 2048;

/// Local and database clock may differ by so much.
const CLOCK_DIFFERENCE_MS_MAX: u64 = 5_000;

/// How long a request waits at the start for the signer to have looked at the database.
const CHECKING_MAX: Duration = Duration::from_secs(5);

/// How often an appender that cannot append looks whether it can.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Attempts at a transaction that others keep getting in the way of.
const CONFLICTS_MAX: u32 = 10;

/// Further behind the database than this, the tables are read anew instead of what changed in them.
const FOLLOW_ENTRIES_MAX: u64 = 10_000;

pub(super) struct Worker {
    parts: Parts,
    requests: mpsc::Receiver<Request>,
    keys: watch::Sender<Arc<Keys>>,
    /// The chain as of the last transaction that ended well here. Gone when one did not.
    chain: Option<Chain>,
    /// The newest position that was read or written here: the database must never be behind it.
    confirmed: Option<Position>,
    condition: Condition,
    metrics: AppenderMetrics,
    /// When to find out, without a request, whether appending is possible: at the start, and while it is not.
    probe_at: Option<Instant>,
    clock_behind: bool,
}

/// Why a group was not committed.
enum Failure {
    Store(StoreError),
    /// Appending would do harm; what must change first.
    Unsound(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    fn unsound<T>(message: String) -> Result<T, Self> {
        Err(Self::Unsound(message))
    }
}

impl Worker {
    pub(super) fn new(parts: Parts, requests: mpsc::Receiver<Request>, keys: watch::Sender<Arc<Keys>>) -> Self {
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

    /// Runs until told to stop and all that waited is answered.
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
                Ok(outcomes) => {
                    outcomes.iter().filter_map(|outcome| outcome.refused.as_ref()).for_each(refused);
                    answer(replies, outcomes.into_iter().map(Ok));
                }
                Err(failure) => {
                    // Whatever was drafted may or may not be in the database now.
                    self.chain = None;
                    let message = failure_message(&failure);
                    answer(replies, std::iter::repeat_with(|| Err(Undecided::Unavailable(message.clone()))));
                    if let Failure::Store(error) = failure
                        && matches!(error.kind, StoreErrorKind::Broken | StoreErrorKind::Refused)
                    {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a request and takes those that wait with it. An empty group is a probe.
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

    /// Decides and commits the work of a group, again when other transactions got in the way; as many outcomes as
    /// requests.
    async fn commit(&mut self, work: Vec<Work>) -> Result<Vec<Outcome>, Failure> {
        let work = Arc::new(work);
        let mut conflicts = 0;
        loop {
            match self.attempt(&work).await {
                Err(Failure::Store(error)) if error.kind == StoreErrorKind::Conflict && conflicts < CONFLICTS_MAX => {
                    tracing::debug!("once more: {error}");
                    conflicts += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&mut self, work: &Arc<Vec<Work>>) -> Result<Vec<Outcome>, Failure> {
        self.check_verdict().await?;
        let size = self.chain.as_ref().map(Chain::size);
        let asked = sought(self.chain.as_ref(), work);
        let Begun { position, known, mut transaction } = self.parts.store.begin(&asked).await?;
        let now_ms = self.checked_time(&mut *transaction).await?;
        let chain = self.locked_chain(position).await?;
        let is_read_anew = size != Some(chain.size());
        // What others appended may be what is to be appended here.
        if size.is_some_and(|size| size < chain.size()) && !is_part(&sought(Some(&chain), work), &asked) {
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
        let (outcomes, chain, append) = self.parts.compute.run(decide).await;
        match append {
            Some((append, entries)) => self.write(transaction, append, entries).await?,
            None if is_read_anew => self.hold(transaction, &chain).await?,
            None => {}
        }
        self.confirm(&chain);
        self.chain = Some(chain);
        Ok(outcomes)
    }

    /// Makes sure that a chain, of which something was read anew under a lock, fits together: that the lock was held until
    /// now. Its commit tells, and nothing else: a copy of the database may have taken its place between two reads.
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
        if let (Some(recent), Some(first)) = (&self.parts.recent, entries.first()) {
            recent.hand(first.entry().seq, entries.into_iter().map(Handed));
        }
        self.parts.changes.announce();
        Ok(())
    }

    /// Nothing is appended to a database that the signer will not sign for. It needs a moment to know.
    async fn check_verdict(&mut self) -> Result<(), Failure> {
        let known = self.parts.verdict.wait_for(|verdict| *verdict != Verdict::Checking);
        // Out of time, it is looked at as it is.
        let _ = tokio::time::timeout(CHECKING_MAX, known).await;
        match &*self.parts.verdict.borrow() {
            Verdict::Sound => Ok(()),
            Verdict::Checking => {
                Failure::unsound("the signer has not compared the database with what was signed yet".to_owned())
            }
            Verdict::Unsound(reason) => Failure::unsound(reason.clone()),
        }
    }

    /// The time of new entries: the database's. Its clock is compared with the time here before it was asked and after
    /// it answered: however slow the answer is, no difference is seen that is not there.
    async fn checked_time(&self, transaction: &mut dyn Transaction) -> Result<i64, Failure> {
        let before_ms = (self.parts.clock)();
        let now_ms = transaction.now_ms().await?;
        let after_ms = (self.parts.clock)();
        // A clock that is set meanwhile may go back.
        let nearest_ms = now_ms.clamp(before_ms.min(after_ms), before_ms.max(after_ms));
        if nearest_ms.abs_diff(now_ms) <= CLOCK_DIFFERENCE_MS_MAX {
            return Ok(now_ms);
        }
        Failure::unsound(format!(
            "the clock here ({nearest_ms} ms) and the database's ({now_ms} ms) differ by more than {} s: set them right",
            CLOCK_DIFFERENCE_MS_MAX / 1000
        ))
    }

    /// Entries' times never go back; that the clock did is worth knowing once.
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

    /// The chain that is locked: the one from the last transaction, with what other committers appended since.
    async fn locked_chain(&mut self, position: Option<Position>) -> Result<Chain, Failure> {
        // Others may have appended more than this committer did, and it must not continue a copy without that.
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
            // What was sought was chosen by the chain that is gone.
            return Err(StoreError::new(StoreErrorKind::Conflict, "the chain must be read anew").into());
        }
        self.check_confirmed(position).await?;
        Ok(Chain::load(store, &self.parts.ledger, position).await?)
    }

    /// A database that no longer has what was read from it or committed to it is an old copy, or another one.
    async fn check_confirmed(&self, position: Option<Position>) -> Result<(), Failure> {
        let Some(confirmed) = self.confirmed else { return Ok(()) };
        let size = position.map_or(0, |p| p.next_seq);
        let ours =
            format!("this committer has seen {} entries, the last leaf {}", confirmed.next_seq, confirmed.last_leaf);
        if size < confirmed.next_seq {
            return Failure::unsound(format!(
                "the database went back: it has {size} entries, {ours}. An old copy was put in its place"
            ));
        }
        let leaf = self.parts.store.nodes(0, confirmed.next_seq - 1..confirmed.next_seq).await?;
        if leaf != [confirmed.last_leaf] {
            let found = leaf.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Failure::unsound(format!(
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

    /// Logs and shows a change between well and not.
    fn report(&mut self, result: &Result<Vec<Outcome>, Failure>) {
        match result {
            Ok(_) => self.condition.works(|| tracing::info!("appending again")),
            Err(failure) => {
                let message = failure_message(failure);
                self.condition.fails(message, |message| tracing::error!("not appending: {message}"));
            }
        }
    }
}

fn failure_message(failure: &Failure) -> String {
    match failure {
        Failure::Store(error) => error.to_string(),
        Failure::Unsound(reason) => reason.clone(),
    }
}

/// A request without its reply: statements, or `None` for a heads statement.
pub(super) type Work = Option<Vec<super::Candidate>>;

impl Request {
    fn len(&self) -> usize {
        match self {
            Self::Statements(statements, _) => statements.len(),
            Self::Heads(_) => 1,
        }
    }

    fn split(self) -> (Work, Reply) {
        match self {
            Self::Statements(statements, reply) => (Some(statements), reply),
            Self::Heads(reply) => (None, reply),
        }
    }
}

type Decided = (Vec<Outcome>, Chain, Option<(Append, Vec<EncodedEntry>)>);

fn decide(mut group: Group, work: &[Work], log_key: Option<&SigningKey>) -> Decided {
    let outcomes = work.iter().map(|work| match (work, log_key) {
        (Some(statements), _) => group.append_all(statements),
        (None, Some(key)) => group.append_heads(key),
        (None, None) => Outcome::default(),
    });
    let outcomes = outcomes.collect();
    let (chain, append) = group.finish();
    (outcomes, chain, append)
}

/// Whether all of some statements are among others.
fn is_part(some: &[Sought], others: &[Sought]) -> bool {
    let others: HashSet<Hash> = others.iter().map(|sought| sought.statement).collect();
    some.iter().all(|sought| others.contains(&sought.statement))
}

/// Returns at a time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A client that went away does not take its answer, which is fine: it will ask again.
fn answer(replies: Vec<Reply>, outcomes: impl Iterator<Item = Result<Outcome, Undecided>>) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        let _ = reply.send(outcome);
    }
}
