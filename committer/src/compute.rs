use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where work runs that takes milliseconds and never waits: hashing, signatures, syncing a file.
#[derive(Debug, Clone, Copy)]
pub enum Compute {
    /// On the runtime's blocking threads, so that it holds up no task.
    Threads,
    /// At once, on the caller's thread. A simulation needs this to be repeatable.
    Here,
}

impl Compute {
    /// Runs the work.
    ///
    /// # Panics
    /// If the work panics.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.expect("the work does not panic"),
            Self::Here => work(),
        }
    }
}

/// Limits how many requests compute at once to the number of processors. More would take processors from the one
/// transaction that all of them wait for.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(processors)))
    }

    /// Waits for a turn. It lasts until the permit is dropped.
    pub(crate) async fn wait(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_owned().await.expect("it is never closed")
    }
}
