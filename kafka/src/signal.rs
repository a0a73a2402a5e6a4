use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wakes the owner of a [`Consumer`](crate::Consumer), which sleeps while there is nothing to read.
///
/// A signal that is raised while nobody waits is kept for the next wait.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<Option<Raised>>,
    changed: Condvar,
}

/// What raised the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Raised {
    /// librdkafka: a queue is no longer empty.
    ByQueue,
    /// A [`Waker`].
    ByWaker,
}

impl Signal {
    pub(crate) fn raise(&self, by: Raised) {
        let mut raised = self.lock();
        *raised = (*raised).max(Some(by));
        drop(raised);
        self.changed.notify_one();
    }

    /// Waits until the signal is raised or `timeout`, and clears it. `None` after the timeout.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Raised> {
        let (mut raised, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |raised| raised.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *raised)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Raised>> {
        // The value is valid, whichever thread panicked.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the current or next [`Consumer::poll`](crate::Consumer::poll), from any thread.
#[derive(Debug, Clone)]
pub struct Waker(pub(crate) Arc<Signal>);

impl Waker {
    /// Makes `poll` return soon: [`Idle`](crate::Polled::Idle) if there is nothing else.
    pub fn wake(&self) {
        self.0.raise(Raised::ByWaker);
    }
}
