//! A time of the wall clock, as tags hold it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cdtp::error::CdtpError;
use crate::time::{civil, day_since_1970};

/// A time of the wall clock, in nanoseconds, as MessagePack has it.
///
/// Python's end keeps microseconds only, and none beyond the year 9999. Source: MessagePack, "Timestamp extension type".
///
/// ```
/// use acqbus::cdtp::Timestamp;
///
/// let time = Timestamp::new(1_700_000_000, 5_000_000)?;
/// assert_eq!(time.to_string(), "2023-11-14T22:13:20.005Z");
/// assert!(Timestamp::new(0, 1_000_000_000).is_err());
/// # Ok::<(), acqbus::cdtp::CdtpError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// A time of `seconds` since 1970, which may be negative, and 0 to 999,999,999 nanoseconds after them.
    ///
    /// # Errors
    /// [`CdtpError::Time`] for more nanoseconds.
    pub fn new(seconds: i64, nanoseconds: u32) -> Result<Self, CdtpError> {
        Self::checked(seconds, nanoseconds).ok_or(CdtpError::Time {
            seconds,
            nanoseconds,
        })
    }

    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Whole seconds since 1970; negative before.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the whole second.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    pub(super) fn checked(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (nanoseconds < NANOSECONDS).then_some(Self {
            seconds,
            nanoseconds,
        })
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self {
                seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: since.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
                match before.subsec_nanos() {
                    0 => Self {
                        seconds,
                        nanoseconds: 0,
                    },
                    part => Self {
                        seconds: seconds.saturating_sub(1),
                        nanoseconds: NANOSECONDS - part,
                    },
                }
            }
        }
    }
}

impl TryFrom<Timestamp> for SystemTime {
    type Error = CdtpError;

    /// Fails for a time that the system's clock cannot hold.
    fn try_from(time: Timestamp) -> Result<Self, CdtpError> {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let start = if time.seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        start
            .and_then(|start| start.checked_add(Duration::from_nanos(time.nanoseconds.into())))
            .ok_or(CdtpError::Time {
                seconds: time.seconds,
                nanoseconds: time.nanoseconds,
            })
    }
}

/// As RFC 3339 writes it, in UTC, with as many digits of the second as there are.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanoseconds > 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = CdtpError;

    /// Reads what [`Timestamp`] is written as: RFC 3339 in UTC, years 0 to 9999.
    fn from_str(text: &str) -> Result<Self, CdtpError> {
        read(text).ok_or_else(|| CdtpError::TimeText {
            text: text.chars().take(40).collect(),
        })
    }
}

fn read(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if !(1..=9).contains(&fraction.len()) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanoseconds = number(&format!("{fraction:0<9}"), 9)?;
    let date = day_since_1970(year, month, day);
    // A day that does not exist, such as the 30th of February, comes back as another.
    if civil(date) != (year, month, day) {
        return None;
    }
    let seconds = date * DAY + hour * 3600 + minute * 60 + second;
    Timestamp::checked(seconds, nanoseconds.try_into().ok()?)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (at, width) in numbers.iter_mut().zip(widths) {
        *at = number(parts.next()?, width)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// A number of exactly so many digits.
fn number(text: &str, width: usize) -> Option<i64> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

const NANOSECONDS: u32 = 1_000_000_000;

/// Seconds of a day.
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: i64, nanoseconds: u32) -> String {
        Timestamp::new(seconds, nanoseconds).unwrap().to_string()
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(-1, 500_000_000), "1969-12-31T23:59:59.5Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(text(253_402_300_800, 0), "10000-01-01T00:00:00Z");
        assert!(!text(i64::MIN, 0).is_empty() && !text(i64::MAX, 0).is_empty());
    }

    #[test]
    fn written_times_read_back() {
        for seconds in (-62_167_219_200..253_402_300_800).step_by(86_399 * 1_009) {
            for nanoseconds in [0, 1, 500_000_000, 999_999_999] {
                let time = Timestamp::new(seconds, nanoseconds).unwrap();
                assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            }
        }
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.0000000000Z",
            "+023-11-14T22:13:20Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_of_the_system_pass_both_ways() {
        for (seconds, nanoseconds) in [(0, 0), (1_700_000_000, 123_456_789), (-1, 1), (-5, 0)] {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            let system = SystemTime::try_from(time).unwrap();
            assert_eq!(Timestamp::from(system), time);
        }
    }
}
