/// Waiting times between attempts, doubling. Without chance, so that a simulation repeats.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delay {
    failures: u32,
}

const FIRST_MS: u64 = 100;
const MAX_MS: u64 = 10_000;

impl Delay {
    /// The time to wait after one more failure.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let delay = FIRST_MS.saturating_mul(1 << self.failures.min(32)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_ten_seconds_and_begins_anew() {
        let mut delay = Delay::default();
        let delays: Vec<u64> = (0..9).map(|_| delay.next_ms()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        delay.failures = u32::MAX - 1;
        assert_eq!(delay.next_ms(), 10_000);
        delay.reset();
        assert_eq!(delay.next_ms(), 100);
    }
}
