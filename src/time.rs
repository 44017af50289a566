//! The clocks of the machine, as numbers that go over wires.
//!
//! States take the time as an argument and never ask for it; shells ask `std` for an `Instant`. What is written into a
//! message comes from here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Time since 1970 by the wall clock; zero on a machine whose clock is before that.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Nanoseconds of the machine's monotonic clock: it only grows, and is one for all processes until the machine starts anew.
///
/// # Examples
/// ```
/// let first = acqbus::time::monotonic_nanoseconds();
/// assert!(acqbus::time::monotonic_nanoseconds() >= first);
/// ```
#[must_use]
pub fn monotonic_nanoseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    // 292 years after the start of the machine.
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that the events of two starts of one service can be sorted together.
    #[test]
    fn monotonic_clock_does_not_begin_with_the_process() {
        assert!(monotonic_nanoseconds() > 1_000_000_000);
    }
}
