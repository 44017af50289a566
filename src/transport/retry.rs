//! When to try again: pure, with the time and a random number as arguments.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::transport::error::TransportError;

/// How often an event is tried again, and after which time.
///
/// The time is random between 0 and a limit that begins at [`base`](Self::base) and doubles with each attempt up to
/// [`cap`](Self::cap) ("full jitter"), so that many rigs do not come back at one time; where the server asks to wait, it is that
/// and the random time.
///
/// ```
/// use std::time::Duration;
///
/// use acqbus::transport::{RetryPolicy, TransportError};
///
/// let policy = RetryPolicy::default().max_retries(2).base(Duration::from_millis(100));
/// let error = TransportError::timeout("answer", Duration::from_secs(30));
/// let half = u64::MAX / 2;
/// assert_eq!(policy.delay(0, &error, half).unwrap().as_millis(), 49);
/// assert_eq!(policy.delay(1, &error, half).unwrap().as_millis(), 99);
/// assert_eq!(policy.delay(2, &error, half), None, "enough");
/// assert_eq!(policy.delay(0, &TransportError::refused("no source"), half), None, "final");
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first; 3 by default, 0 for none.
    pub max_retries: u32,
    /// Limit of the time before the first retry; 500 ms by default.
    pub base: Duration,
    /// Limit of the time before any retry, what a server asks for apart; 30 s by default.
    pub cap: Duration,
    /// The longest that a server's `Retry-After` is waited for here; a longer one ends the attempts. 60 s by default.
    pub max_retry_after: Duration,
}

impl RetryPolicy {
    /// Sets the number of attempts after the first.
    #[must_use]
    pub const fn max_retries(mut self, count: u32) -> Self {
        self.max_retries = count;
        self
    }

    /// Sets the limit of the time before the first retry.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the limit of the time before any retry.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the longest `Retry-After` that is waited for.
    #[must_use]
    pub const fn max_retry_after(mut self, limit: Duration) -> Self {
        self.max_retry_after = limit;
        self
    }

    /// The time to wait after an attempt that failed, counted from 0; `None` where there is to be no other.
    ///
    /// There is none after [`max_retries`](Self::max_retries), after an error that is not
    /// [retryable](TransportError::is_retryable), and where the server asks to wait longer than
    /// [`max_retry_after`](Self::max_retry_after). `random` is any number, all being equally likely.
    #[must_use]
    pub fn delay(&self, attempt: u32, error: &TransportError, random: u64) -> Option<Duration> {
        if attempt >= self.max_retries || !error.is_retryable() {
            return None;
        }
        let asked = error.retry_after().unwrap_or_default();
        if asked > self.max_retry_after {
            return None;
        }
        Some(asked.saturating_add(self.jitter(attempt, random)))
    }

    /// The random time before a retry, whatever the number of attempts; for what tries for ever.
    #[must_use]
    pub fn jitter(&self, attempt: u32, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let limit = self.base.saturating_mul(factor).min(self.cap);
        // 95 bits of nanoseconds at most leave room for 32 of chance.
        let nanoseconds = (limit.as_nanos() * u128::from(random >> 32)) >> 32;
        // At most the limit, of which the seconds fit as they did there.
        Duration::new(
            (nanoseconds / 1_000_000_000) as u64,
            (nanoseconds % 1_000_000_000) as u32,
        )
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

/// Until when a server asked to be left alone; holds for every request to it, not only for the one that it answered so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Throttle {
    until: Option<Instant>,
}

impl Throttle {
    /// Nothing was asked for.
    #[must_use]
    pub const fn new() -> Self {
        Self { until: None }
    }

    /// Takes the wish that an error bears, if it bears one; the later of two counts.
    pub fn note(&mut self, error: &TransportError, now: Instant) {
        let until = error.retry_after().and_then(|delay| now.checked_add(delay));
        self.until = self.until.max(until);
    }

    /// How long to wait before the next request; `None` if it may be sent at once.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

/// Reads the value of a `Retry-After` header: seconds, or a date in one of the three forms of HTTP.
///
/// A date that has passed is no time; more than a day is a day (*ours*: a wrong clock is likelier than a server that means it).
/// `None` for what is neither. Source: RFC 9110, sections 10.2.3 and 5.6.7.
///
/// ```
/// use std::time::Duration;
///
/// use acqbus::transport::parse_retry_after;
///
/// let now = "1994-11-06T08:49:07Z".parse().unwrap();
/// assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
/// let date = "Sun, 06 Nov 1994 08:49:37 GMT";
/// assert_eq!(parse_retry_after(date, now), Some(Duration::from_secs(30)));
/// assert_eq!(parse_retry_after("soon", now), None);
/// ```
#[must_use]
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too long for the number is longer than a day.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(DAY));
    }
    let date = DATES.iter().find_map(|form| {
        let time = strtime::parse(form, value).ok()?.to_datetime().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    let left = date.duration_since(now);
    Some(Duration::try_from(left).unwrap_or_default().min(DAY))
}

/// The forms of a date in HTTP: today's, that of RFC 850, and that of C.
const DATES: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lost() -> TransportError {
        TransportError::connection("http://127.0.0.1:9")
    }

    #[test]
    fn limit_doubles_up_to_the_cap_and_any_time_below_it_may_come() {
        let policy = RetryPolicy::default().max_retries(100);
        let limits = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        for (attempt, limit) in limits.into_iter().enumerate() {
            let delay = |random| policy.delay(attempt as u32, &lost(), random).unwrap();
            let limit = Duration::from_millis(limit);
            assert_eq!(delay(0), Duration::ZERO);
            assert!(delay(u64::MAX) < limit && delay(u64::MAX) + Duration::from_nanos(9) > limit);
            assert_eq!(delay(1 << 63), limit / 2);
        }
        assert!(policy.delay(99, &lost(), u64::MAX).unwrap() <= policy.cap);
        let endless = policy.base(Duration::MAX).cap(Duration::MAX);
        assert!(endless.delay(40, &lost(), u64::MAX).is_some());
    }

    #[test]
    fn attempts_are_counted_after_the_first() {
        let policy = RetryPolicy::default();
        let tries = |policy: &RetryPolicy| {
            (0..)
                .take_while(|attempt| policy.delay(*attempt, &lost(), 0).is_some())
                .count()
        };
        assert_eq!(tries(&policy), 3);
        assert_eq!(tries(&policy.max_retries(0)), 0);
    }

    #[test]
    fn a_server_that_asks_to_wait_is_never_asked_sooner() {
        let policy = RetryPolicy::default();
        for error in [
            TransportError::throttled(Some(SECOND)),
            TransportError::server("503", Some(SECOND)),
        ] {
            for random in [0, u64::MAX / 2, u64::MAX] {
                assert!(policy.delay(0, &error, random).unwrap() >= SECOND);
            }
        }
        let long = TransportError::throttled(Some(Duration::from_secs(61)));
        assert_eq!(policy.delay(0, &long, 0), None);
    }

    #[test]
    fn a_throttle_holds_for_all_requests_until_the_latest_wish() {
        let now = Instant::now();
        let mut throttle = Throttle::new();
        assert_eq!(throttle.wait(now), None);
        throttle.note(&TransportError::throttled(Some(3 * SECOND)), now);
        throttle.note(&TransportError::throttled(Some(SECOND)), now);
        throttle.note(&TransportError::throttled(None), now);
        throttle.note(&lost(), now);
        assert_eq!(throttle.wait(now + SECOND), Some(2 * SECOND));
        assert_eq!(throttle.wait(now + 3 * SECOND), None);
        throttle.note(&TransportError::throttled(Some(Duration::MAX)), now);
        assert_eq!(
            throttle.wait(now + 3 * SECOND),
            None,
            "a time that no clock reaches is none"
        );
    }

    /// RFC 9110, section 5.6.7.
    #[test]
    fn all_three_dates_of_http_are_read() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_retry_after(date, now), Some(30 * SECOND), "{date}");
        }
        let later = now + 2 * DAY;
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", later),
            Some(Duration::ZERO)
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 2094 08:49:37 GMT", now),
            None,
            "it was no Sunday"
        );
        assert_eq!(
            parse_retry_after("Sat, 06 Nov 2094 08:49:37 GMT", now),
            Some(DAY)
        );
    }

    #[test]
    fn seconds_are_digits_and_bounded() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(parse_retry_after(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("86401", now), Some(DAY));
        assert_eq!(parse_retry_after("99999999999999999999999", now), Some(DAY));
        for text in ["", " ", "-1", "+1", "1.5", "1s", "Sun", "\u{661}"] {
            assert_eq!(parse_retry_after(text, now), None, "{text}");
        }
    }
}
