//! Records at a rate.

use std::time::{Duration, Instant};

/// When each record is due; none waits without a rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<f64>,
    since: Instant,
    records: u64,
}

impl Pace {
    /// So many records a second from now on.
    pub(super) const fn new(rate: Option<f64>, now: Instant) -> Self {
        Self {
            rate,
            since: now,
            records: 0,
        }
    }

    /// When the next record is due, which counts as sent then; `None` for at once.
    ///
    /// Records that are a little late go out together; a longer delay is not made up for.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let after = Duration::try_from_secs_f64(self.records as f64 / rate).unwrap_or(LONGEST);
        let due = self.since.checked_add(after.min(LONGEST))?;
        self.records += 1;
        if now.saturating_duration_since(due) > MADE_UP_FOR {
            (self.since, self.records) = (now, 1);
        }
        (due > now).then_some(due)
    }
}

/// Behind this, the pace begins anew.
const MADE_UP_FOR: Duration = Duration::from_secs(1);

/// Safe to add to a clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        assert_eq!(pace.next(start), None);
        let second = start + Duration::from_millis(100);
        assert_eq!(pace.next(start), Some(second));
        let late = start + Duration::from_millis(250);
        assert_eq!(pace.next(late), None);
        assert_eq!(pace.next(late), Some(start + Duration::from_millis(300)));
    }

    #[test]
    fn long_delay_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        let late = start + Duration::from_secs(60);
        assert_eq!(pace.next(start), None);
        assert_eq!(pace.next(late), None);
        assert_eq!(pace.next(late), Some(late + Duration::from_millis(100)));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        assert!((0..1000).all(|_| pace.next(start).is_none()));
    }
}
