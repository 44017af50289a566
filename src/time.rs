//! Time as a value: one small trait, so that tests move the clock by hand.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// Where a part of the bus reads the time.
///
/// [`Clock::now`] is for waiting and never goes back; [`Clock::wall`] is for the record. Neither blocks.
pub trait Clock: Send + Sync {
    /// The monotonic time.
    fn now(&self) -> Instant;

    /// The time of day, which an operator can change.
    fn wall(&self) -> SystemTime;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that moves only when told, for tests.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use acqbus::time::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let start = clock.now();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now() - start, Duration::from_secs(5));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<(Instant, SystemTime)>,
}

impl ManualClock {
    /// A clock that stands at the present moment.
    pub fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// A clock whose time of day stands at `wall`.
    pub fn at(wall: SystemTime) -> Self {
        Self {
            time: Mutex::new((Instant::now(), wall)),
        }
    }

    /// Moves both times forward by `step`.
    pub fn advance(&self, step: Duration) {
        let mut time = self.time.lock();
        time.0 += step;
        time.1 += step;
    }

    /// Sets the time of day alone, as an operator would; the monotonic time stays.
    pub fn set_wall(&self, wall: SystemTime) {
        self.time.lock().1 = wall;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.time.lock().0
    }

    fn wall(&self) -> SystemTime {
        self.time.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_stands_until_it_is_moved() {
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now() - start, Duration::from_millis(1500));
        assert_eq!(
            clock.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_millis(1500)
        );
    }

    #[test]
    fn setting_the_time_of_day_leaves_the_monotonic_time() {
        let clock = ManualClock::new();
        let start = clock.now();
        clock.set_wall(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH);
    }
}
