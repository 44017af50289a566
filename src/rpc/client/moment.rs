//! Moments that lie ahead.

use std::time::{Duration, Instant};

/// The moment so far from now; a time beyond the clock's range is as good as for ever.
pub(crate) fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now + FOR_EVER)
}

const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
