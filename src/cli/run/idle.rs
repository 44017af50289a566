//! When `run receive` has waited in vain for long enough.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never};

/// How long nothing has come, looked at now and then: a record has no time of its own.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Option<Duration>,
    records: u64,
    since: Instant,
}

impl Idle {
    /// Nothing has come yet, and the limit counts from now; without one it is never over.
    pub(super) const fn new(limit: Option<Duration>, now: Instant) -> Self {
        Self {
            limit,
            records: 0,
            since: now,
        }
    }

    /// When to look again: four times within the limit.
    pub(super) fn next_look(&self) -> Receiver<Instant> {
        self.limit.map_or_else(never, |limit| after(limit / LOOKS))
    }

    /// Something else than a record has come, or nothing is waited for.
    pub(super) const fn came(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether nothing has come for as long as the limit says.
    pub(super) fn is_over(&mut self, records: u64, now: Instant) -> bool {
        if records != self.records {
            self.records = records;
            self.since = now;
        }
        let silent = now.saturating_duration_since(self.since);
        self.limit.is_some_and(|limit| silent >= limit)
    }
}

const LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_is_what_had_no_record_and_no_event_for_the_limit() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut idle = Idle::new(Some(Duration::from_secs(1)), start);
        assert!(!idle.is_over(0, at(9)));
        assert!(idle.is_over(0, at(10)));
        assert!(!idle.is_over(1, at(12)));
        assert!(!idle.is_over(1, at(21)));
        idle.came(at(21));
        assert!(!idle.is_over(1, at(30)));
        assert!(idle.is_over(1, at(31)));
    }

    #[test]
    fn without_a_limit_it_is_never_over() {
        let start = Instant::now();
        let mut idle = Idle::new(None, start);
        assert!(!idle.is_over(0, start + Duration::from_secs(1 << 20)));
    }
}
