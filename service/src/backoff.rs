use std::time::Duration;

use crate::Shutdown;

/// The delays between attempts. They double from a first to a largest one. Each loses a random part of up to half, so that
/// the clients of a service that comes back do not all arrive at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    /// The state of the random numbers; `None` without jitter.
    random: Option<u64>,
}

impl Backoff {
    /// Delays from `first` to `max`, with jitter seeded by the system's random source.
    pub fn new(first: Duration, max: Duration) -> Self {
        // Nothing depends on the jitter, so a system without random bytes runs without it.
        Self::with_seed(first, max, getrandom::u64().unwrap_or_default())
    }

    /// Delays that repeat for the same seed, for simulations.
    pub fn with_seed(first: Duration, max: Duration, seed: u64) -> Self {
        Self { random: Some(seed), ..Self::without_jitter(first, max) }
    }

    /// Exactly the doubled delays. For code that must give the same result for the same input.
    pub fn without_jitter(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first.min(max), random: None }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.max);
        let part = self.random.as_mut().map_or(0, random_u32);
        whole - whole.mul_f64(f64::from(part) / f64::from(u32::MAX) / 2.0)
    }

    /// Starts again with the first delay. Call it after a success.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.max);
    }

    /// Sleeps for the next delay. Returns early, with `false`, when `shutdown` is cancelled.
    pub async fn wait(&mut self, shutdown: &Shutdown) -> bool {
        sleep(self.next_delay(), shutdown).await
    }
}

/// A step of splitmix64.
fn random_u32(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

async fn sleep(delay: Duration, shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(delay) => !shutdown.is_cancelled(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(3);

    #[test]
    fn delays_double_and_lose_at_most_half() {
        for seed in 0..1000 {
            let mut backoff = Backoff::with_seed(FIRST, MAX, seed);
            for round in 0..2 {
                for whole_ms in [100, 200, 400, 800, 1600, 3000, 3000] {
                    let whole = Duration::from_millis(whole_ms);
                    let delay = backoff.next_delay();
                    assert!(delay <= whole && delay >= whole / 2, "seed {seed} round {round}: {delay:?} of {whole:?}");
                }
                backoff.reset();
            }
        }
    }

    #[test]
    fn without_jitter_delays_double_exactly() {
        let mut backoff = Backoff::without_jitter(FIRST, MAX);
        let expected = [100, 200, 400, 800, 1600, 3000, 3000].map(Duration::from_millis);
        for _ in 0..2 {
            assert_eq!([(); 7].map(|()| backoff.next_delay()), expected);
            backoff.reset();
        }
    }

    #[test]
    fn equal_seeds_give_equal_delays() {
        let delays = |seed| {
            let mut backoff = Backoff::with_seed(FIRST, MAX, seed);
            [(); 5].map(|()| backoff.next_delay())
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_ends_early_at_shutdown() {
        let shutdown = Shutdown::new();
        let mut backoff = Backoff::with_seed(FIRST, MAX, 0);
        let start = tokio::time::Instant::now();
        assert!(backoff.wait(&shutdown).await);
        assert!(start.elapsed() >= FIRST / 2);
        shutdown.cancel();
        let start = tokio::time::Instant::now();
        assert!(!backoff.wait(&shutdown).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
