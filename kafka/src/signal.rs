use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the owner of a [`Consumer`](crate::Consumer) sleeps on while nothing is there to read.
///
/// What happens while nobody waits is kept for the next wait.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<Option<Raised>>,
    changed: Condvar,
}

/// Why a wait ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Raised {
    /// By librdkafka: some queue stopped being empty.
    ByQueue,
    /// By a [`Waker`].
    ByWaker,
}

impl Signal {
    pub(crate) fn raise(&self, by: Raised) {
        let mut raised = self.lock();
        *raised = (*raised).max(Some(by));
        drop(raised);
        self.changed.notify_one();
    }

    /// Waits until raised, at most for `timeout`, and takes the raise away. `None` after the time-out.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Raised> {
        let (mut raised, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |raised| raised.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *raised)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Raised>> {
        // The value is whole whatever thread panicked.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the current or next wait of [`Consumer::poll`](crate::Consumer::poll), from any thread.
#[derive(Debug, Clone)]
pub struct Waker(pub(crate) Arc<Signal>);

impl Waker {
    /// Makes `poll` return [`Idle`](crate::Polled::Idle) soon if it has nothing else to return.
    pub fn wake(&self) {
        self.0.raise(Raised::ByWaker);
    }
}
