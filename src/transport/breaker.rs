//! Whether to try at all: a circuit breaker, pure, with the time as an argument.

use std::fmt;
use std::time::{Duration, Instant};

/// Settings of a [`CircuitBreaker`].
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row that open it; 5 by default, 0 as 1.
    pub failure_threshold: u32,
    /// How long it stays open at first; 5 s by default.
    pub cool_down: Duration,
    /// How long it stays open at most, since every probe that fails doubles the time; 60 s by default.
    pub max_cool_down: Duration,
}

impl BreakerOptions {
    /// Sets the number of failures in a row that open it.
    #[must_use]
    pub const fn failure_threshold(mut self, count: u32) -> Self {
        self.failure_threshold = count;
        self
    }

    /// Sets how long it stays open at first.
    #[must_use]
    pub const fn cool_down(mut self, time: Duration) -> Self {
        self.cool_down = time;
        self
    }

    /// Sets how long it stays open at most.
    #[must_use]
    pub const fn max_cool_down(mut self, time: Duration) -> Self {
        self.max_cool_down = time;
        self
    }
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            cool_down: Duration::from_secs(5),
            max_cool_down: Duration::from_secs(60),
        }
    }
}

/// Keeps requests from a service that fails, and lets one through now and then to see whether it still does.
///
/// ```text
///            failures in a row               cool-down is over
///   Closed --------------------->  Open  ----------------------> HalfOpen
///     ^                             ^                             |    |
///     |                             +--- the probe fails: twice --+    |
///     +------------------------------------- the probe succeeds -------+
/// ```
///
/// Ask [`allow`](Self::allow) before a request, and say afterwards what came of it. A probe of which nothing is heard for a cool-down counts as
/// lost, and another is let through.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use acqbus::transport::{BreakerOptions, BreakerState, CircuitBreaker};
///
/// let now = Instant::now();
/// let second = Duration::from_secs(1);
/// let options = BreakerOptions::default().failure_threshold(2).cool_down(second);
/// let mut breaker = CircuitBreaker::new(options);
/// for _ in 0..2 {
///     breaker.allow(now).expect("it is closed");
///     breaker.failed(now);
/// }
/// assert_eq!(breaker.allow(now), Err(second), "nothing is sent for a second");
/// assert!(breaker.allow(now + second).is_ok(), "then one request");
/// assert!(breaker.allow(now + second).is_err(), "and no other");
/// breaker.succeeded();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// ```
#[derive(Debug, Clone)]
pub struct CircuitBreaker {
    options: BreakerOptions,
    position: Position,
    opened_count: u64,
}

impl CircuitBreaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            position: Position::Closed { failures: 0 },
            opened_count: 0,
        }
    }

    /// Whether a request may be sent now; an open breaker whose time is over is half open from then on, and this is the probe.
    ///
    /// # Errors
    /// The time after which to ask again.
    pub fn allow(&mut self, now: Instant) -> Result<(), Duration> {
        let (until, cool_down) = match self.position {
            Position::Closed { .. } => return Ok(()),
            Position::Open { until, cool_down } | Position::HalfOpen { until, cool_down } => {
                (until, cool_down)
            }
        };
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return Err(left);
        }
        self.position = Position::HalfOpen {
            until: later(now, cool_down),
            cool_down,
        };
        Ok(())
    }

    /// A request was answered: the service works, also where it refused an event.
    pub const fn succeeded(&mut self) {
        self.position = Position::Closed { failures: 0 };
    }

    /// A request failed for a reason that is not its event's.
    pub fn failed(&mut self, now: Instant) {
        let cool_down = match self.position {
            Position::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if failures < self.options.failure_threshold {
                    self.position = Position::Closed { failures };
                    return;
                }
                self.options.cool_down
            }
            Position::HalfOpen { cool_down, .. } => cool_down.saturating_mul(2),
            // A request from before it opened.
            Position::Open { .. } => return,
        };
        let cool_down = cool_down.min(self.options.max_cool_down);
        self.position = Position::Open {
            until: later(now, cool_down),
            cool_down,
        };
        self.opened_count += 1;
    }

    /// The state, as people see it; an open one stays open until somebody asks to send.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.position {
            Position::Closed { .. } => BreakerState::Closed,
            Position::Open { .. } => BreakerState::Open,
            Position::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it opened, a probe that failed included.
    #[must_use]
    pub const fn opened_count(&self) -> u64 {
        self.opened_count
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(BreakerOptions::default())
    }
}

/// What a [`CircuitBreaker`] does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// All are sent.
    Closed,
    /// None is sent.
    Open,
    /// One is sent, to see what becomes of it.
    HalfOpen,
}

impl BreakerState {
    /// The name, as `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for BreakerState {
    /// The name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, Copy)]
enum Position {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        cool_down: Duration,
    },
    /// A probe was let through; the next one not before `until`.
    HalfOpen {
        until: Instant,
        cool_down: Duration,
    },
}

fn later(now: Instant, time: Duration) -> Instant {
    // A time that no clock reaches is cut to a year.
    now.checked_add(time).unwrap_or(now + YEAR)
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> CircuitBreaker {
        let options = BreakerOptions::default()
            .failure_threshold(3)
            .cool_down(SECOND)
            .max_cool_down(5 * SECOND);
        let mut breaker = CircuitBreaker::new(options);
        for _ in 0..3 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert_eq!(breaker.allow(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn failures_open_it_only_in_a_row() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(BreakerOptions::default().failure_threshold(2));
        for _ in 0..10 {
            breaker.failed(now);
            breaker.succeeded();
        }
        assert_eq!(
            (breaker.state(), breaker.opened_count()),
            (BreakerState::Closed, 0)
        );
        let mut breaker = CircuitBreaker::new(BreakerOptions::default().failure_threshold(0));
        breaker.failed(now);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn an_open_one_lets_nothing_through_until_its_time_is_over() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.allow(now), Err(SECOND));
        assert_eq!(breaker.allow(now + SECOND / 4), Err(SECOND * 3 / 4));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.allow(now + SECOND), Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.allow(now + SECOND), Err(SECOND));
    }

    #[test]
    fn every_probe_that_fails_doubles_the_time_up_to_its_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [1, 2, 4, 5, 5] {
            let wait = seconds * SECOND;
            assert_eq!(breaker.allow(now), Err(wait));
            now += wait;
            assert_eq!(breaker.allow(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(breaker.opened_count(), 6);
        now += 5 * SECOND;
        assert_eq!(breaker.allow(now), Ok(()));
        breaker.succeeded();
        for _ in 0..3 {
            breaker.failed(now);
        }
        assert_eq!(breaker.allow(now), Err(SECOND), "the time begins anew");
    }

    #[test]
    fn a_probe_of_which_nothing_is_heard_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.allow(now + SECOND), Ok(()));
        assert_eq!(breaker.allow(now + 2 * SECOND), Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_late_failure_of_an_earlier_request_changes_nothing() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.failed(now + SECOND / 2);
        assert_eq!(breaker.allow(now + SECOND), Ok(()));
        assert_eq!(breaker.opened_count(), 1);
    }

    #[test]
    fn a_time_that_no_clock_reaches_is_cut() {
        let now = Instant::now();
        let options = BreakerOptions::default().failure_threshold(1);
        let mut breaker = CircuitBreaker::new(
            options
                .cool_down(Duration::MAX)
                .max_cool_down(Duration::MAX),
        );
        breaker.failed(now);
        assert_eq!(breaker.allow(now), Err(YEAR));
    }
}
