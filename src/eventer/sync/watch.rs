//! When a server that stands by takes over. Pure: told what is, and when.

use std::time::{Duration, Instant};

use crate::event::Status;

/// Knows since when the other server has not registered events.
///
/// The server with the greater id waits twice as long: of two that start at once, or lose a third, only one takes over, and the other
/// sees it.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Duration,
    gone_since: Option<Instant>,
}

impl Watch {
    pub(super) fn new(
        server_id: i64,
        remote_server_id: i64,
        take_over_after: Duration,
        now: Instant,
    ) -> Self {
        let factor = if server_id < remote_server_id { 1 } else { 2 };
        Self {
            patience: take_over_after.saturating_mul(factor),
            gone_since: Some(now),
        }
    }

    /// Takes what the other server does, `None` where it cannot be reached.
    pub(super) fn remote(&mut self, status: Option<Status>, now: Instant) {
        match status {
            Some(Status::Operational | Status::Starting) => self.gone_since = None,
            _ => self.gone_since = self.gone_since.or(Some(now)),
        }
    }

    /// When to take over, if nothing changes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.gone_since?.checked_add(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn server_that_is_gone_long_enough_is_stood_in_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(1, 2, AFTER, start);
        assert_eq!(watch.due(), Some(at(10)));
        watch.remote(Some(Status::Operational), at(3));
        assert_eq!(watch.due(), None);
        watch.remote(Some(Status::Stopping), at(5));
        watch.remote(None, at(6));
        watch.remote(Some(Status::Standby), at(8));
        assert_eq!(watch.due(), Some(at(15)), "since it was last operational");
        watch.remote(Some(Status::Starting), at(9));
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn greater_id_waits_twice_as_long() {
        let start = Instant::now();
        assert_eq!(
            Watch::new(2, 1, AFTER, start).due(),
            Some(start + 2 * AFTER)
        );
    }

    #[test]
    fn patience_without_end_is_never_due() {
        let watch = Watch::new(2, 1, Duration::MAX, Instant::now());
        assert_eq!(watch.due(), None);
    }
}
