//! The clocks of the machine, as numbers that go over wires.
//!
//! States take the time as an argument and never ask for it; shells ask `std` for an `Instant`. What is written into a
//! message comes from here.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time since 1970 by the wall clock; zero on a machine whose clock is before that.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A number of nanoseconds that only grows, counted from its first use in this process.
///
/// # Examples
/// ```
/// let first = acqbus::time::monotonic_nanoseconds();
/// assert!(acqbus::time::monotonic_nanoseconds() >= first);
/// ```
#[must_use]
pub fn monotonic_nanoseconds() -> i64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let since = BEGIN.get_or_init(Instant::now).elapsed();
    // 292 years after the start of the process.
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
