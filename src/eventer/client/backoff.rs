//! How long is waited before a server is tried again. Pure: the caller brings the random numbers.

use std::time::Duration;

/// Random waits up to a limit that doubles with each failure: clients of a server that comes back do not all come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// The next wait, chosen by a random number.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        doubled
            .min(self.most)
            .mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// The connection stands.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_doubles_to_the_most_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let limits: Vec<_> = (0..8).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(limits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), Duration::from_millis(100));
    }

    #[test]
    fn wait_is_anything_from_none_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(4));
        assert_eq!(backoff.next(0), Duration::ZERO);
        let half = backoff.next(u32::MAX / 2);
        assert!((half.as_secs_f64() - 2.0).abs() < 0.01, "{half:?}");
    }

    #[test]
    fn failures_without_end_overflow_nothing() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::from_secs(1));
        for _ in 0..100 {
            assert!(backoff.next(u32::MAX) <= Duration::from_secs(1));
        }
    }
}
