//! When an endpoint is to be connected anew because libzmq has given it up.

use std::time::{Duration, Instant};

/// Tells a connection that libzmq has given up from one that it makes again by itself.
///
/// libzmq announces every end of a connection. After an end of the transport it announces at once that it tries again; after a
/// breach of the protocol or a frame over the limit nothing follows. Source: libzmq 4.3.4, observed.
#[derive(Debug)]
pub(crate) struct Redial {
    /// When to connect anew, unless libzmq says meanwhile that it does.
    due: Option<Instant>,
    /// How long after the next end.
    pause: Duration,
    last: Option<Instant>,
}

impl Redial {
    pub(crate) fn new() -> Self {
        Self {
            due: None,
            pause: FIRST_PAUSE,
            last: None,
        }
    }

    /// The connection has ended.
    pub(crate) fn ended(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now > last + 2 * self.pause) {
            // The last connection was worth it.
            self.pause = FIRST_PAUSE;
        }
        self.due = Some(now + self.pause);
    }

    /// libzmq connects again by itself.
    pub(crate) fn retried(&mut self) {
        self.due = None;
    }

    /// When to look again, if libzmq says nothing.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The endpoint is connected anew; the next time comes later if that is of no use.
    pub(crate) fn done(&mut self, now: Instant) {
        self.due = None;
        self.last = Some(now);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

/// The pause of libzmq, far more than it takes to announce that it tries again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A sender behind a port that was somebody else's is not kept waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_after_which_libzmq_tries_again_is_none_of_ours() {
        let now = Instant::now();
        let mut redial = Redial::new();
        assert_eq!(redial.due(), None);
        redial.ended(now);
        assert_eq!(redial.due(), Some(now + FIRST_PAUSE));
        redial.retried();
        assert_eq!(redial.due(), None);
    }

    #[test]
    fn pauses_grow_to_a_bound_while_each_connection_ends_at_once() {
        let mut now = Instant::now();
        let mut redial = Redial::new();
        for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            redial.ended(now);
            now += Duration::from_millis(pause);
            assert_eq!(redial.due(), Some(now));
            redial.done(now);
            assert_eq!(redial.due(), None);
        }
    }

    #[test]
    fn connection_that_lasts_makes_the_next_pause_short() {
        let now = Instant::now();
        let mut redial = Redial::new();
        redial.ended(now);
        redial.done(now);
        let later = now + Duration::from_secs(1);
        redial.ended(later);
        assert_eq!(redial.due(), Some(later + FIRST_PAUSE));
    }
}
