//! The committers: their real parts, on the database in memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use committer::store::memory::MemoryDatabase;
use committer::{ApiError, Clock, Committer, CommitterParts, Compute, LogKey, Opened};
use committer_client::{Cursor, Keys as KeyEntries, SubmitResponse};
use evidence::Partition;
use service::{Backoff, Health, Shutdown};

use crate::commitments::{Commitments, NodeTopic};
use crate::executor::Executor;
use crate::ledger::Keys;
use crate::link::{Gates, NodeLink};

const CHECKPOINT_EVERY: Duration = Duration::from_millis(300);
const HEADS_EVERY: Duration = Duration::from_secs(4);

/// A clock that the world sets.
#[derive(Clone, Default)]
pub(crate) struct WorldClock(Arc<AtomicI64>);

impl WorldClock {
    pub(crate) fn set_ms(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn as_clock(&self) -> Clock {
        let ms = Arc::clone(&self.0);
        Arc::new(move || ms.load(Ordering::Relaxed))
    }
}

/// A request to a committer.
#[derive(Clone)]
pub(crate) enum Question {
    /// A partition's cursor and the keys.
    Cursor(Partition),
    /// The body of a submission.
    Submit(Vec<u8>),
}

/// The answer to a [`Question`].
pub(crate) enum Reply {
    Cursor(Result<(Cursor, KeyEntries), RequestError>),
    Submitted(Result<SubmitResponse, RequestError>),
}

/// An answer other than 200.
pub(crate) enum RequestError {
    /// The outcome is unknown.
    Unavailable(String),
    /// The whole request was refused.
    Refused(ApiError),
}

impl From<ApiError> for RequestError {
    fn from(failure: ApiError) -> Self {
        if failure.code == committer_client::code::UNAVAILABLE {
            Self::Unavailable(failure.message)
        } else {
            Self::Refused(failure)
        }
    }
}

/// One machine with a committer, whether it runs or not.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) signs: bool,
    pub(crate) clock: WorldClock,
    /// Set while a committer runs; filled once it serves requests.
    opened: Option<Arc<OnceLock<Opened>>>,
    /// The health of the running committer.
    pub(crate) health: Health,
    /// Why the running committer exited.
    ended: Arc<Mutex<Option<String>>>,
}

/// What a [`Node`] starts its committer from.
pub(crate) struct NodeParts<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) database: &'a MemoryDatabase,
    pub(crate) gates: &'a Gates,
    pub(crate) commitments: &'a Commitments,
    /// The folder of the high-water file.
    pub(crate) folder: &'a Path,
}

/// The path of the log key. Only the high-water file beside it exists.
pub(crate) fn log_key_path(folder: &Path) -> PathBuf {
    folder.join("log.key")
}

impl Node {
    pub(crate) fn new(number: usize, signs: bool) -> Self {
        Self { number, signs, clock: WorldClock::default(), opened: None, health: Health::new(), ended: Arc::default() }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.opened.is_some()
    }

    /// The committer, if it serves requests.
    pub(crate) fn serves(&self) -> Option<&Opened> {
        self.opened.as_ref()?.get()
    }

    /// Starts a committer, as the service does.
    ///
    /// # Errors
    /// If it refuses to start.
    pub(crate) fn start(
        &mut self,
        parts: &NodeParts<'_>,
        executor: &mut Executor<'_>,
        seed: u64,
    ) -> Result<(), String> {
        let NodeParts { keys, database, gates, commitments, folder } = parts;
        let number = self.number;
        let link = Arc::new(NodeLink { node: number, gates: (*gates).clone() });
        let store = database.open(keys.id(), link).map_err(|error| error.to_string())?;
        let log_key = self.signs.then(|| LogKey::open((*keys.log).clone(), &log_key_path(folder), &keys.ledger));
        self.health = Health::new();
        let topic = NodeTopic { node: number, gates: (*gates).clone(), commitments: (*commitments).clone() };
        let (committer, tasks) = Committer::new(CommitterParts {
            store,
            ledger: keys.ledger.clone(),
            log_key: log_key.transpose().map_err(|error| error.to_string())?,
            topic: Some(Arc::new(topic)),
            clock: self.clock.as_clock(),
            compute: Compute::Here,
            checkpoint_every: CHECKPOINT_EVERY,
            heads_every: HEADS_EVERY,
            backoff: Backoff::with_seed(Duration::from_millis(100), Duration::from_secs(5), seed),
            health: self.health.clone(),
        });
        let opened = Arc::new(OnceLock::new());
        let (serving, serve) = (committer.opened.clone(), Arc::clone(&opened));
        let lead = committer.lead(
            move || {
                let _ = serve.set(serving);
            },
            Shutdown::new(),
        );
        self.ended = Arc::default();
        for task in tasks.chain.into_iter().chain(tasks.readers).chain([lead]) {
            let ended = Arc::clone(&self.ended);
            executor.spawn(
                number,
                Box::pin(async move {
                    let end = task.await.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
                    *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
                }),
            );
        }
        self.opened = Some(opened);
        Ok(())
    }

    /// Kills the committer.
    pub(crate) fn kill(&mut self, executor: &mut Executor<'_>) {
        executor.kill(self.number);
        self.opened = None;
    }

    /// Why it exited, if it did.
    pub(crate) fn take_end(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers a question, as the HTTP interface does.
pub(crate) async fn answer(opened: Opened, question: Question) -> Reply {
    match question {
        Question::Cursor(partition) => {
            let asked = async {
                let cursor = opened.cursor(&partition).await?;
                Ok((cursor, opened.keys().await?))
            };
            Reply::Cursor(asked.await)
        }
        Question::Submit(body) => Reply::Submitted(opened.submit(body.into()).await.map_err(Into::into)),
    }
}

impl Reply {
    /// Why the outcome is unknown, if it is.
    pub(crate) fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Cursor(Err(RequestError::Unavailable(why)))
            | Self::Submitted(Err(RequestError::Unavailable(why))) => Some(why),
            _ => None,
        }
    }

    /// The answer that the network gives in the place of a committer.
    pub(crate) fn none(question: &Question, why: &str) -> Self {
        let unanswered = || RequestError::Unavailable(why.to_owned());
        match question {
            Question::Cursor(_) => Self::Cursor(Err(unanswered())),
            Question::Submit(_) => Self::Submitted(Err(unanswered())),
        }
    }
}
