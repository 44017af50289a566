//! One timestamp a session, which never goes back.

use crate::event::Timestamp;

/// Turns readings of the wall clock into timestamps that never go back.
///
/// A store leaves out events that are older than the last one of their server; a clock that is set back must not cost any.
/// From a step backwards on, our time runs at half the speed of the wall clock until that has caught up: the order stays, and
/// intervals remain to be seen.
#[derive(Debug)]
pub(super) struct SessionClock {
    /// The last timestamp given, or that of the last stored event.
    last: Option<Timestamp>,
    /// The last reading, or the same.
    reading: Option<Timestamp>,
}

/// What the clock gives for a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tick {
    pub(super) timestamp: Timestamp,
    /// Seconds from the last reading to this one where it is earlier, so below 0.
    pub(super) step: Option<f64>,
}

impl SessionClock {
    /// A clock that goes on after the last stored event.
    pub(super) fn new(last: Option<Timestamp>) -> Self {
        Self {
            last,
            reading: last,
        }
    }

    pub(super) fn tick(&mut self, reading: Timestamp) -> Tick {
        let previous = self.reading.replace(reading).unwrap_or(reading);
        let elapsed = microseconds(reading) - microseconds(previous);
        let timestamp = match self.last {
            Some(last) if reading < last => {
                from_microseconds(microseconds(last) + elapsed.max(0) / 2)
            }
            _ => reading,
        };
        self.last = Some(timestamp);
        Tick {
            timestamp,
            step: (elapsed < 0).then(|| seconds(elapsed)),
        }
    }
}

fn microseconds(time: Timestamp) -> i128 {
    i128::from(time.s()) * MICROSECONDS + i128::from(time.us())
}

fn from_microseconds(time: i128) -> Timestamp {
    let Ok(s) = i64::try_from(time.div_euclid(MICROSECONDS)) else {
        return Timestamp::MAX;
    };
    // The remainder is below a million.
    Timestamp::new(s, u32::try_from(time.rem_euclid(MICROSECONDS)).unwrap_or(0))
}

/// Only for people: digits beyond a float's are lost.
fn seconds(microseconds: i128) -> f64 {
    microseconds as f64 / MICROSECONDS as f64
}

const MICROSECONDS: i128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_grows_is_taken_as_it_is() {
        let mut clock = SessionClock::new(Some(at(10)));
        for second in [10, 10, 11, 500] {
            let tick = clock.tick(at(second));
            assert_eq!((tick.timestamp, tick.step), (at(second), None));
        }
    }

    #[test]
    fn step_back_is_told_once_and_time_goes_on_at_half_speed() {
        let mut clock = SessionClock::new(None);
        clock.tick(at(100));
        assert_eq!(
            clock.tick(at(90)),
            Tick {
                timestamp: at(100),
                step: Some(-10.0)
            }
        );
        let ticks = [(94, 102), (110, 110), (111, 111)];
        for (reading, ours) in ticks {
            let tick = clock.tick(at(reading));
            assert_eq!((tick.timestamp, tick.step), (at(ours), None), "{reading}");
        }
    }

    #[test]
    fn step_back_between_two_runs_is_told() {
        let mut clock = SessionClock::new(Some(at(100)));
        let tick = clock.tick(Timestamp::new(98, 500_000));
        assert_eq!(tick.timestamp, at(100));
        assert_eq!(tick.step, Some(-1.5));
    }

    #[test]
    fn ends_of_time_do_not_overflow() {
        let mut clock = SessionClock::new(Some(Timestamp::MAX));
        assert_eq!(clock.tick(Timestamp::MIN).timestamp, Timestamp::MAX);
        assert_eq!(clock.tick(at(0)).timestamp, Timestamp::MAX);
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0)
    }
}
