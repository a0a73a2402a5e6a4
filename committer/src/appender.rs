//! The one way into the chain: a bounded queue, and a task that commits what waits in it as one transaction.

mod group;
mod sought;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use evidence::chain::{Keys, Position, Refusal};
use evidence::statement::LedgerId;
use evidence::{Hash, SignedStatement, SigningKey};
use service::{Component, Shutdown};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Clock;
use crate::changes::Changes;
use crate::compute::Compute;
use crate::parse::verify_ahead;
use crate::recent::Recent;
use crate::signer::Verdict;
use crate::store::{Store, StoreError, StoredEntry, StreamRow};

/// Requests that wait. With the limit on bodies being read (see `http`) this bounds the memory that a database that is
/// away can cost.
const QUEUE_REQUESTS_MAX: usize = 1024;

/// Hands statements to the worker; clones share its queue.
#[derive(Debug, Clone)]
pub(crate) struct Appender {
    queue: mpsc::Sender<Request>,
    keys: watch::Receiver<Arc<Keys>>,
}

/// A statement that was read, and its signatures verified as far as the keys were known.
#[derive(Debug)]
pub(crate) struct Candidate {
    hash: Hash,
    statement: SignedStatement,
}

/// What became of the statements of one request: an entry for each of the accepted prefix, which may be one that the
/// chain had before, and why the next was refused.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: Vec<StoredEntry>,
    pub(crate) refused: Option<Refusal>,
    /// Where the partition of the last statement looked at stands afterwards: its open stream, or that it has none. `None`
    /// when that statement is of no stream.
    pub(crate) standing: Option<Option<StreamRow>>,
}

/// Nothing is known about the outcome; the same request may be made again.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Undecided {
    /// More requests wait than fit.
    #[error("the queue is full")]
    Busy,
    /// The transaction did not end well, or could not begin.
    #[error("{0}")]
    Unavailable(String),
}

type Reply = oneshot::Sender<Result<Outcome, Undecided>>;

/// What waits in the queue.
#[derive(Debug)]
enum Request {
    /// Statements to append in order.
    Statements(Vec<Candidate>, Reply),
    /// A heads statement to draft under the lock, sign and append, if anything moved since the last.
    Heads(Reply),
}

/// What the worker needs.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: LedgerId,
    pub(crate) clock: Clock,
    pub(crate) compute: Compute,
    /// Signs heads statements.
    pub(crate) log_key: Option<Arc<SigningKey>>,
    /// Takes what was appended, for the signer, if there is one here.
    pub(crate) recent: Option<Recent>,
    /// Told of every append.
    pub(crate) changes: Changes,
    /// What the signer makes of the database.
    pub(crate) verdict: watch::Receiver<Verdict>,
    /// The largest position that the database was seen at, whoever appended.
    pub(crate) seen: watch::Receiver<Option<Position>>,
    pub(crate) health: Component,
    /// Ends the worker, after what waits.
    pub(crate) stop: Shutdown,
}

impl Appender {
    /// The appender and its worker, which is to be run until it ends. It ends with an error when the service must.
    pub(crate) fn new(parts: Parts) -> (Self, impl Future<Output = Result<(), StoreError>> + Send) {
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let (keys_sender, keys) = watch::channel(Arc::default());
        (Self { queue, keys }, worker::Worker::new(parts, requests, keys_sender).run())
    }

    /// Verifies statements' signatures as far as the keys are known here. Takes some 20 microseconds for each.
    pub(crate) fn prepare(&self, statements: Vec<SignedStatement>) -> Vec<Candidate> {
        let keys = self.keys.borrow().clone();
        verify_ahead(&keys, &statements);
        statements.into_iter().map(|statement| Candidate { hash: statement.hash(), statement }).collect()
    }

    /// Appends statements in order, up to the first that is refused.
    pub(crate) async fn append(&self, statements: Vec<Candidate>) -> Result<Outcome, Undecided> {
        let (reply, outcome) = oneshot::channel();
        self.ask(Request::Statements(statements, reply), outcome).await
    }

    /// Appends a heads statement if a stream moved since the last one.
    pub(crate) async fn append_heads(&self) -> Result<Outcome, Undecided> {
        let (reply, outcome) = oneshot::channel();
        self.ask(Request::Heads(reply), outcome).await
    }

    async fn ask(
        &self,
        request: Request,
        outcome: oneshot::Receiver<Result<Outcome, Undecided>>,
    ) -> Result<Outcome, Undecided> {
        let stopping = || Undecided::Unavailable("the committer is stopping".to_owned());
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undecided::Busy,
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        outcome.await.map_err(|_| stopping())?
    }
}
