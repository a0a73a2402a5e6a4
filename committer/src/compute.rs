use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where work that takes milliseconds and never waits is done: hashing, signatures, a synced file.
#[derive(Debug, Clone, Copy)]
pub enum Compute {
    /// On threads of the runtime that are there for it, so that no task is held up.
    Threads,
    /// At once, where it is asked for: a simulation has one thread, and what it does must repeat.
    Here,
}

impl Compute {
    /// Does it.
    ///
    /// # Panics
    /// When the work does.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.expect("the work does not panic"),
            Self::Here => work(),
        }
    }
}

/// Turns at work that comes with requests: as many at a time as there are processors. More threads would take the
/// processors from the one transaction that all of them wait for.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(processors)))
    }

    /// Waits for a turn, which lasts until what is returned is dropped.
    pub(crate) async fn wait(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_owned().await.expect("it is never closed")
    }
}
