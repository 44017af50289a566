//! How many receivers are connected: a run wants one, since libzmq gives messages to several in turns.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::zsocket::MonitorEvent;

/// Counts connections; written by the thread that owns the socket, read by all.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    now: AtomicUsize,
    /// Connections that have failed and are still to be told as closed.
    failing: AtomicUsize,
    shared: AtomicBool,
}

impl Receivers {
    /// Takes what a monitor tells; true for the connection that makes it more than one.
    pub(super) fn saw(&self, event: MonitorEvent) -> bool {
        match event {
            MonitorEvent::HandshakeSucceeded => {
                let now = self.now.load(Ordering::Relaxed) + 1;
                self.now.store(now, Ordering::Relaxed);
                return now > 1 && !self.shared.swap(true, Ordering::Relaxed);
            }
            // libzmq tells the end of such a connection, too.
            MonitorEvent::HandshakeFailed(_) => {
                self.failing.fetch_add(1, Ordering::Relaxed);
            }
            MonitorEvent::Disconnected => {
                let of = if self.failing.load(Ordering::Relaxed) > 0 {
                    &self.failing
                } else {
                    &self.now
                };
                of.store(
                    of.load(Ordering::Relaxed).saturating_sub(1),
                    Ordering::Relaxed,
                );
            }
            _ => {}
        }
        false
    }

    /// Forgets receivers that have gone.
    pub(super) fn begin_run(&self) {
        let shared = self.now() > 1;
        self.shared.store(shared, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Whether there was more than one at a time since the begin of the run.
    pub(super) fn are_several(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zsocket::HandshakeFailure;

    #[test]
    fn second_receiver_is_told_once_a_run_and_remembered() {
        let receivers = Receivers::default();
        assert!(!receivers.saw(MonitorEvent::HandshakeSucceeded));
        assert!(receivers.saw(MonitorEvent::HandshakeSucceeded));
        assert!(!receivers.saw(MonitorEvent::HandshakeSucceeded));
        for _ in 0..2 {
            receivers.saw(MonitorEvent::Disconnected);
        }
        assert_eq!((receivers.now(), receivers.are_several()), (1, true));
        receivers.begin_run();
        assert!(!receivers.are_several());
        assert!(receivers.saw(MonitorEvent::HandshakeSucceeded));
        receivers.begin_run();
        assert!(receivers.are_several(), "both are still there");
    }

    #[test]
    fn end_of_a_failed_handshake_is_no_receiver_that_goes() {
        let receivers = Receivers::default();
        receivers.saw(MonitorEvent::HandshakeSucceeded);
        receivers.saw(MonitorEvent::HandshakeFailed(HandshakeFailure::NoDetail));
        receivers.saw(MonitorEvent::Disconnected);
        assert_eq!(receivers.now(), 1);
        receivers.saw(MonitorEvent::Disconnected);
        receivers.saw(MonitorEvent::Disconnected);
        assert_eq!(receivers.now(), 0);
    }
}
