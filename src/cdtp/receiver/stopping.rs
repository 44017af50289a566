//! How a receiver stops: it reads what has arrived, then waits for the ends of open runs.

use std::time::{Duration, Instant};

/// Where a receiving thread is on its way to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nobody wants it to stop.
    #[default]
    No,
    /// It reads what has arrived.
    Draining { until: Option<Instant> },
    /// It waits for the ends of open runs.
    Waiting { until: Instant },
    /// It is done.
    Done,
}

/// How long each part of a stop may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopTimes {
    pub(crate) drain: Option<Duration>,
    pub(crate) eor: Duration,
}

impl Stopping {
    /// Begins; a second time does nothing.
    pub(crate) fn begin(&mut self, now: Instant, times: StopTimes) {
        if *self == Self::No {
            *self = Self::Draining {
                until: times.drain.and_then(|drain| now.checked_add(drain)),
            };
        }
    }

    /// Goes on after a look at all sockets: whether it found nothing, whether a run is open that can still end.
    ///
    /// Source: facts of ConstellationDAQ 1.0.2, `stop_receiving`, steps 1 to 4; the bound of the first is *ours*.
    pub(crate) fn step(&mut self, now: Instant, times: StopTimes, quiet: bool, open: bool) {
        if let Self::Draining { until } = *self
            && (quiet || until.is_some_and(|until| until <= now))
        {
            *self = Self::Waiting {
                // A time beyond the clock is the same as the longest that it has.
                until: now.checked_add(times.eor).unwrap_or(now + FAR),
            };
        }
        if let Self::Waiting { until } = *self
            && (!open || until <= now)
        {
            *self = Self::Done;
        }
    }

    pub(crate) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// When to look again though nothing has come.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::No | Self::Done => None,
            Self::Draining { until } => until,
            Self::Waiting { until } => Some(until),
        }
    }
}

/// A century.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: StopTimes = StopTimes {
        drain: Some(Duration::from_secs(60)),
        eor: Duration::from_secs(10),
    };

    fn begun(now: Instant) -> Stopping {
        let mut stopping = Stopping::No;
        stopping.begin(now, TIMES);
        stopping
    }

    #[test]
    fn nothing_ends_before_it_is_told_to() {
        let mut stopping = Stopping::No;
        stopping.step(Instant::now(), TIMES, true, false);
        assert_eq!(stopping, Stopping::No);
    }

    #[test]
    fn with_no_open_run_it_ends_when_all_is_read() {
        let now = Instant::now();
        let mut stopping = begun(now);
        stopping.step(now, TIMES, false, false);
        assert!(!stopping.is_done());
        stopping.step(now, TIMES, true, false);
        assert!(stopping.is_done());
    }

    #[test]
    fn the_time_for_ends_begins_when_all_is_read() {
        let start = Instant::now();
        let mut stopping = begun(start);
        let later = start + Duration::from_secs(30);
        stopping.step(later, TIMES, true, true);
        assert_eq!(stopping.deadline(), Some(later + TIMES.eor));
        stopping.step(later + Duration::from_secs(9), TIMES, false, true);
        assert!(!stopping.is_done());
        stopping.begin(later + Duration::from_secs(9), TIMES);
        stopping.step(later + TIMES.eor, TIMES, false, true);
        assert!(stopping.is_done());
    }

    #[test]
    fn an_end_that_comes_ends_the_wait() {
        let now = Instant::now();
        let mut stopping = begun(now);
        stopping.step(now, TIMES, true, true);
        stopping.step(now, TIMES, false, false);
        assert!(stopping.is_done());
    }

    #[test]
    fn a_sender_without_pause_cannot_keep_it_from_stopping() {
        let now = Instant::now();
        let mut stopping = begun(now);
        stopping.step(now + Duration::from_secs(60), TIMES, false, true);
        assert!(matches!(stopping, Stopping::Waiting { .. }));
    }
}
