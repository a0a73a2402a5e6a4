//! What waits in the appender's queue, and how each request is answered.

use evidence::chain::Refusal;
use evidence::{Hash, SignedStatement};
use tokio::sync::oneshot;

use crate::store::{StoredEntry, StreamRow};

/// A parsed statement. Its signatures are verified as far as the keys were known.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(super) hash: Hash,
    pub(super) statement: SignedStatement,
}

/// What was decided about the statements of one request.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// An entry for each statement of the accepted prefix. The chain may have had it before.
    pub(crate) accepted: Vec<StoredEntry>,
    /// Why the statement after the accepted ones was refused.
    pub(crate) refused: Option<Refusal>,
    /// The open stream of the last decided statement's partition, if it has one. `None` when that statement is of no
    /// stream.
    pub(crate) open_stream: Option<Option<StreamRow>>,
}

/// Nothing is known about the outcome; the same request may be made again.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppendError {
    /// The queue has no room.
    #[error("the queue is full")]
    Busy,
    /// The transaction failed, or could not begin.
    #[error("{0}")]
    Unavailable(String),
}

pub(super) type Reply = oneshot::Sender<Result<Decision, AppendError>>;

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Request {
    /// Statements to append in order.
    Statements(Vec<Candidate>, Reply),
    /// A heads statement to draft under the lock, sign and append, if anything moved since the last.
    Heads(Reply),
}

/// A request without its reply: statements, or `None` for a heads statement.
pub(super) type Work = Option<Vec<Candidate>>;

impl Request {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Statements(statements, _) => statements.len(),
            Self::Heads(_) => 1,
        }
    }

    pub(super) fn split(self) -> (Work, Reply) {
        match self {
            Self::Statements(statements, reply) => (Some(statements), reply),
            Self::Heads(reply) => (None, reply),
        }
    }
}
