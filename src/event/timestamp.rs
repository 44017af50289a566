//! A point in time, to the microsecond.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::error::EventError;

/// A point in time: seconds since 1970 in UTC, and microseconds after them.
///
/// Microseconds are 0 to 999,999 in all that is computed here; larger ones that come in are kept as they are, as hat-event does.
/// Ordered by seconds, then microseconds. All conversions are exact but those of floats, and cut what is below a microsecond.
///
/// ```
/// use acqbus::event::Timestamp;
///
/// let noon: jiff::Timestamp = "1969-12-31T12:00:00Z".parse()?;
/// assert_eq!(Timestamp::from(noon), Timestamp::new(-43_200, 0));
/// assert_eq!(Timestamp::from_f64(-0.25)?, Timestamp::new(-1, 750_000));
/// assert_eq!(Timestamp::new(5, 999_999).add(1.5)?, Timestamp::new(7, 499_999));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    s: i64,
    us: u32,
}

impl Timestamp {
    /// The first point in time.
    pub const MIN: Self = Self::new(i64::MIN, 0);

    /// The last point in time.
    pub const MAX: Self = Self::new(i64::MAX, 999_999);

    /// A point in time of seconds and microseconds, which are kept as they are.
    #[must_use]
    pub const fn new(s: i64, us: u32) -> Self {
        Self { s, us }
    }

    /// The wall clock, which may go back.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn s(self) -> i64 {
        self.s
    }

    /// Microseconds after the second.
    #[must_use]
    pub const fn us(self) -> u32 {
        self.us
    }

    /// 12 bytes whose order is that of time: seconds + 2^63, then microseconds, each big-endian.
    ///
    /// Source: hat-event 0.9.44.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&(self.s.cast_unsigned() ^ SIGN).to_be_bytes());
        bytes[8..].copy_from_slice(&self.us.to_be_bytes());
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes); all bytes are a point in time.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, us @ ..] = *bytes;
        let s = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ SIGN;
        Self::new(s.cast_signed(), u32::from_be_bytes(us))
    }

    /// The point in time of seconds since 1970 as a float, to the nearest microsecond.
    ///
    /// The steps and their rounding are those of hat-event 0.9.44.
    ///
    /// # Errors
    /// [`EventError::Seconds`] for what is not finite, or beyond 64 bits of seconds.
    pub fn from_f64(seconds: f64) -> Result<Self, EventError> {
        let refused = EventError::Seconds { seconds };
        if !seconds.is_finite() {
            return Err(refused);
        }
        let mut s = whole_seconds(seconds);
        if seconds < 0.0 {
            s -= 1;
        }
        let us = ((seconds - s as f64) * 1e6).round_ties_even();
        Self::carry(s, us as i128).ok_or(refused)
    }

    /// Seconds since 1970 as a float, which holds microseconds exactly for no time of ours.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.s as f64 + f64::from(self.us) * 1e-6
    }

    /// The point in time so many seconds later, to the nearest microsecond; earlier for a negative number.
    ///
    /// # Errors
    /// [`EventError::Seconds`] for what is not finite, or leads beyond 64 bits of seconds.
    #[expect(
        clippy::should_implement_trait,
        reason = "a sum that may be refused is none of the operator's"
    )]
    pub fn add(self, seconds: f64) -> Result<Self, EventError> {
        let refused = EventError::Seconds { seconds };
        if !seconds.is_finite() {
            return Err(refused);
        }
        let us = ((seconds - seconds.trunc()) * 1e6).round_ties_even();
        let s = i128::from(self.s) + whole_seconds(seconds);
        Self::carry(s, i128::from(self.us) + us as i128).ok_or(refused)
    }

    /// The point in time so much later, exactly; `None` beyond [`MAX`](Self::MAX).
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let s = i128::from(self.s) + i128::from(duration.as_secs());
        let us = i128::from(self.us) + i128::from(duration.subsec_micros());
        Self::carry(s, us)
    }

    /// The point in time so much earlier, exactly; `None` before [`MIN`](Self::MIN).
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let s = i128::from(self.s) - i128::from(duration.as_secs());
        let us = i128::from(self.us) - i128::from(duration.subsec_micros());
        Self::carry(s, us)
    }

    /// The time that passed since an earlier point, exactly; `None` if that one is later.
    ///
    /// ```
    /// use acqbus::event::Timestamp;
    ///
    /// let passed = Timestamp::new(2, 0).checked_duration_since(Timestamp::new(1, 999_999));
    /// assert_eq!(passed, Some(std::time::Duration::from_micros(1)));
    /// ```
    #[must_use]
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        let us = self.microseconds().checked_sub(earlier.microseconds())?;
        let us = u128::try_from(us).ok()?;
        let seconds = u64::try_from(us / 1_000_000).ok()?;
        Some(Duration::new(seconds, (us % 1_000_000) as u32 * 1000))
    }

    fn microseconds(self) -> i128 {
        i128::from(self.s) * 1_000_000 + i128::from(self.us)
    }

    /// Any number of microseconds, carried into the seconds.
    fn carry(s: i128, us: i128) -> Option<Self> {
        let s = s.checked_add(us.div_euclid(1_000_000))?;
        let us = us.rem_euclid(1_000_000) as u32;
        Some(Self::new(i64::try_from(s).ok()?, us))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let found = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::new(0, 0).checked_add(after),
            Err(before) => {
                let before = before.duration();
                // What is below a microsecond is cut towards the past.
                let cut = u32::from(!before.subsec_nanos().is_multiple_of(1000));
                Self::new(0, 0)
                    .checked_sub(before)
                    .and_then(|time| time.checked_sub(Duration::from_micros(cut.into())))
            }
        };
        // The system counts seconds in 64 bits itself.
        found.unwrap_or(if time < UNIX_EPOCH {
            Self::MIN
        } else {
            Self::MAX
        })
    }
}

impl TryFrom<Timestamp> for SystemTime {
    type Error = EventError;

    /// # Errors
    /// [`EventError::Clock`] beyond what the system's clock holds.
    fn try_from(timestamp: Timestamp) -> Result<Self, EventError> {
        let seconds = Duration::from_secs(timestamp.s.unsigned_abs());
        let whole = if timestamp.s < 0 {
            UNIX_EPOCH.checked_sub(seconds)
        } else {
            UNIX_EPOCH.checked_add(seconds)
        };
        whole
            .and_then(|whole| whole.checked_add(Duration::from_micros(timestamp.us.into())))
            .ok_or(EventError::Clock {
                timestamp,
                clock: "the system",
            })
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        let us = i128::from(time.subsec_nanosecond()).div_euclid(1000);
        // The calendar of jiff ends long before 64 bits of seconds.
        Self::carry(time.as_second().into(), us).unwrap_or(Self::MAX)
    }
}

impl TryFrom<Timestamp> for jiff::Timestamp {
    type Error = EventError;

    /// # Errors
    /// [`EventError::Clock`] outside the years -9999 to 9999.
    fn try_from(timestamp: Timestamp) -> Result<Self, EventError> {
        let nanoseconds = timestamp.microseconds() * 1000;
        Self::from_nanosecond(nanoseconds).map_err(|_| EventError::Clock {
            timestamp,
            clock: "the calendar of the years -9999 to 9999",
        })
    }
}

impl Serialize for Timestamp {
    /// A list of seconds and microseconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.s, self.us).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (s, us) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(s, us))
    }
}

/// The seconds before the point of a finite float; far beyond 64 bits where there are more.
fn whole_seconds(seconds: f64) -> i128 {
    (seconds.trunc() as i128).clamp(-BEYOND, BEYOND)
}

/// Seconds that no timestamp holds, with room to add to them.
const BEYOND: i128 = 1 << 66;

/// The bit whose change makes negative numbers come first among bytes.
const SIGN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_the_order() {
        let sorted = [
            Timestamp::MIN,
            Timestamp::new(-1, 999_999),
            Timestamp::new(0, 0),
            Timestamp::new(0, 1),
            Timestamp::new(0, u32::MAX),
            Timestamp::new(1, 0),
            Timestamp::MAX,
        ];
        assert!(sorted.is_sorted());
        assert!(sorted.map(Timestamp::to_bytes).is_sorted());
        for timestamp in sorted {
            assert_eq!(Timestamp::from_bytes(&timestamp.to_bytes()), timestamp);
        }
    }

    #[test]
    fn floats_that_are_no_time_are_refused() {
        for seconds in [f64::NAN, f64::INFINITY, f64::MAX, -f64::MAX, 1e19, -1e19] {
            assert!(Timestamp::from_f64(seconds).unwrap_err().is_time());
            assert!(Timestamp::new(0, 0).add(seconds).unwrap_err().is_time());
        }
        assert!(Timestamp::MAX.add(1e-6).is_err());
        assert!(Timestamp::MIN.add(-1e-6).is_err());
    }

    #[test]
    fn durations_are_exact_and_carry() {
        let time = Timestamp::new(-1, 999_999);
        let step = Duration::from_micros(2);
        assert_eq!(time.checked_add(step), Some(Timestamp::new(0, 1)));
        assert_eq!(Timestamp::new(0, 1).checked_sub(step), Some(time));
        assert_eq!(Timestamp::MAX.checked_add(step), None);
        assert_eq!(Timestamp::MIN.checked_sub(step), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::MAX), None);
        assert_eq!(time.checked_duration_since(Timestamp::new(0, 0)), None);
        let all = Timestamp::MAX.checked_duration_since(Timestamp::MIN);
        assert_eq!(all, Some(Duration::new(u64::MAX, 999_999_000)));
    }

    #[test]
    fn the_clock_of_the_system_is_cut_towards_the_past() {
        let before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::from(before), Timestamp::new(-1, 999_999));
        let after = UNIX_EPOCH + Duration::from_nanos(1999);
        assert_eq!(Timestamp::from(after), Timestamp::new(0, 1));
        let whole = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(Timestamp::from(whole), Timestamp::new(-5, 0));
        for time in [Timestamp::new(-5, 1), Timestamp::new(5, 999_999)] {
            assert_eq!(Timestamp::from(SystemTime::try_from(time).unwrap()), time);
        }
        let large = SystemTime::try_from(Timestamp::new(1, 2_000_001)).unwrap();
        assert_eq!(Timestamp::from(large), Timestamp::new(3, 1));
        assert!(
            SystemTime::try_from(Timestamp::MAX)
                .is_ok_and(|time| Timestamp::from(time) == Timestamp::MAX)
        );
    }

    #[test]
    fn the_calendar_is_exact_within_its_years() {
        let before: jiff::Timestamp = "1969-12-31T23:59:59.9999999Z".parse().unwrap();
        assert_eq!(Timestamp::from(before), Timestamp::new(-1, 999_999));
        for time in [
            Timestamp::new(-62_135_596_800, 0),
            Timestamp::new(4, 999_999),
        ] {
            assert_eq!(
                Timestamp::from(jiff::Timestamp::try_from(time).unwrap()),
                time
            );
        }
        for time in [Timestamp::MIN, Timestamp::MAX] {
            let error = jiff::Timestamp::try_from(time).unwrap_err();
            assert!(
                error
                    .to_string()
                    .ends_with("the calendar of the years -9999 to 9999")
            );
        }
    }

    #[test]
    fn the_form_is_a_list_of_two_numbers() {
        let time = Timestamp::new(-5, 2_000_000);
        assert_eq!(serde_json::to_string(&time).unwrap(), "[-5,2000000]");
        assert_eq!(
            serde_json::from_str::<Timestamp>("[-5,2000000]").unwrap(),
            time
        );
        for text in [
            "[1]",
            "[1,-1]",
            "[1,4294967296]",
            "[9223372036854775808,0]",
            "[1.5,0]",
        ] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
    }
}
