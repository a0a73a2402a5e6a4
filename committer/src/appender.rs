//! The one way into the chain: a bounded queue, and a task that commits what waits in it as one transaction.

mod duplicates;
mod group;
mod request;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use evidence::SignedStatement;
use evidence::chain::Keys;
use tokio::sync::{mpsc, oneshot, watch};

use crate::parse::verify_ahead;
use crate::store::StoreError;
use request::Request;
use worker::Worker;

pub(crate) use request::{AppendError, Candidate, Decision};
pub(crate) use worker::AppenderParts;

/// Requests that wait. Together with the limit on request bodies (see `http`), this bounds the memory that waiting for
/// the database can cost.
const QUEUE_REQUESTS_MAX: usize = 1024;

/// Hands statements to the worker; clones share its queue.
#[derive(Debug, Clone)]
pub(crate) struct Appender {
    queue: mpsc::Sender<Request>,
    keys: watch::Receiver<Arc<Keys>>,
}

impl Appender {
    /// Returns the appender, and its worker to run. The worker fails when the service must end.
    pub(crate) fn new(parts: AppenderParts) -> (Self, impl Future<Output = Result<(), StoreError>> + Send) {
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let (keys_sender, keys) = watch::channel(Arc::default());
        (Self { queue, keys }, Worker::new(parts, requests, keys_sender).run())
    }

    /// Verifies statements' signatures as far as the keys are known here. Takes some 20 microseconds for each.
    pub(crate) fn prepare(&self, statements: Vec<SignedStatement>) -> Vec<Candidate> {
        let keys = self.keys.borrow().clone();
        verify_ahead(&keys, &statements);
        statements.into_iter().map(|statement| Candidate { hash: statement.hash(), statement }).collect()
    }

    /// Appends statements in order, up to the first that is refused.
    pub(crate) async fn append(&self, statements: Vec<Candidate>) -> Result<Decision, AppendError> {
        let (reply, decision) = oneshot::channel();
        self.ask(Request::Statements(statements, reply), decision).await
    }

    /// Appends a heads statement if a stream moved since the last one.
    pub(crate) async fn append_heads(&self) -> Result<Decision, AppendError> {
        let (reply, decision) = oneshot::channel();
        self.ask(Request::Heads(reply), decision).await
    }

    async fn ask(
        &self,
        request: Request,
        decision: oneshot::Receiver<Result<Decision, AppendError>>,
    ) -> Result<Decision, AppendError> {
        let stopping = || AppendError::Unavailable("the committer is stopping".to_owned());
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        decision.await.map_err(|_| stopping())?
    }
}
