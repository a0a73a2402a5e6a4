//! One call for all tasks that ask at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Runs one call at a time and shares its result.
///
/// Each caller gets the result of a call that began after it asked, so the result is as fresh as one of its own.
pub(crate) struct SingleFlight<T> {
    /// The number of calls begun.
    begun: AtomicU64,
    /// The newest result, with the number of its call.
    newest: Mutex<Option<(u64, T)>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), newest: Mutex::default() }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// The result of `call`, which must be the same call for every caller.
    pub(crate) async fn run(&self, call: impl Future<Output = T>) -> T {
        let fresh = self.begun.load(Ordering::SeqCst) + 1;
        // Only the holder of the lock begins a call.
        let mut newest = self.newest.lock().await;
        if let Some((number, result)) = &*newest
            && *number >= fresh
        {
            return result.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = call.await;
        *newest = Some((number, result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// Numbers the calls, and lets each wait for a permit to return.
    struct Counted {
        flight: SingleFlight<u64>,
        calls: AtomicU64,
        permits: Semaphore,
    }

    async fn run(counted: Arc<Counted>) -> u64 {
        let call = async {
            let number = counted.calls.fetch_add(1, Ordering::SeqCst) + 1;
            counted.permits.acquire().await.expect("open").forget();
            number
        };
        counted.flight.run(call).await
    }

    #[tokio::test]
    async fn callers_during_a_call_share_the_next() {
        let counted =
            Arc::new(Counted { flight: SingleFlight::default(), calls: AtomicU64::new(0), permits: Semaphore::new(0) });
        let first = tokio::spawn(run(Arc::clone(&counted)));
        while counted.calls.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
        // These ask after the first call began, so its result may be too old for them.
        let mut others = JoinSet::new();
        (0..100).for_each(|_| drop(others.spawn(run(Arc::clone(&counted)))));
        for _ in 0..1_000 {
            yield_now().await;
        }
        counted.permits.add_permits(2);
        assert_eq!(first.await.expect("no panic"), 1);
        assert_eq!(others.join_all().await, vec![2; 100]);

        // Later callers begin another call.
        counted.permits.add_permits(1);
        assert_eq!(run(counted).await, 3);
    }

    #[tokio::test]
    async fn dropped_call_is_made_again() {
        let flight = SingleFlight::default();
        let dropped = tokio::time::timeout(std::time::Duration::ZERO, flight.run(std::future::pending::<u64>()));
        assert!(dropped.await.is_err());
        assert_eq!(flight.run(async { 7 }).await, 7);
    }
}
