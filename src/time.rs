//! The clocks of the machine, as numbers that go over wires, and the calendar.
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

/// Year, month and day of a day since 1970, in the Gregorian calendar carried on in both directions.
///
/// For any number of days that seconds of 64 bits make. Years are counted from March, so that the day that comes every four
/// years is the last of them; 400 years are a cycle.
#[must_use]
pub(crate) const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + TO_1970;
    let cycle = day.div_euclid(CYCLE);
    let of_cycle = day.rem_euclid(CYCLE);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // 0 is March
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + cycle * 400 + carry, month, of_month)
}

/// The day since 1970 of year, month and day: the reverse of [`civil`] for a day that exists, and else another day.
#[must_use]
pub(crate) const fn day_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    cycle * CYCLE + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - TO_1970
}

/// Days from the first of March of the year 0 to 1970.
const TO_1970: i64 = 719_468;

/// Days of 400 years.
const CYCLE: i64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_knows_leap_years() {
        for (day, date) in [
            (-719_528, (0, 1, 1)),
            (-1, (1969, 12, 31)),
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_454, (2026, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date);
        }
    }

    #[test]
    fn days_follow_each_other_and_come_back() {
        let mut before = civil(-800_001);
        for day in -800_000..800_000 {
            let date = civil(day);
            let (year, month, of_month) = date;
            assert_eq!(day_since_1970(year, month, of_month), day);
            let next = [
                (before.0, before.1, before.2 + 1),
                (before.0, before.1 + 1, 1),
                (before.0 + 1, 1, 1),
            ];
            assert!(next.contains(&date) && month <= 12 && of_month <= 31);
            before = date;
        }
    }

    #[test]
    fn every_second_of_64_bits_has_a_day() {
        for seconds in [i64::MIN, i64::MAX] {
            let day = seconds.div_euclid(86_400);
            let (year, month, of_month) = civil(day);
            assert_eq!(day_since_1970(year, month, of_month), day);
        }
    }

    /// So that the events of two starts of one service can be sorted together.
    #[test]
    fn monotonic_clock_does_not_begin_with_the_process() {
        assert!(monotonic_nanoseconds() > 1_000_000_000);
    }
}
