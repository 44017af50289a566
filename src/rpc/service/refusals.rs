//! Connections that ended in their handshake: counted, and told in the log a few times a second at most.

use std::sync::Arc;
use std::time::Instant;

use crate::rpc::service::stats::Meters;
use crate::zsocket::{HandshakeFailure, LineLimit, MonitorEvent, Ready, Socket};

/// What one listening socket refused.
///
/// A key that is not accepted is left to the authenticator, which knows the address and counts it.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// The port, for the log.
    port: &'static str,
    meters: Arc<Meters>,
    lines: LineLimit,
}

impl Refusals {
    pub(crate) fn new(port: &'static str, meters: &Arc<Meters>) -> Self {
        Self {
            port,
            meters: Arc::clone(meters),
            lines: LineLimit::default(),
        }
    }

    /// Takes what the socket's monitor has if a wait for both, the socket first, says that there is anything; never blocks.
    pub(crate) fn look(&mut self, socket: &Socket, ready: &Ready) {
        if ready.socket(1) {
            let events = socket.monitor_failures().and_then(|of| of.events());
            for event in events.unwrap_or_default() {
                self.note(event, Instant::now());
            }
        }
    }

    fn note(&mut self, event: MonitorEvent, now: Instant) {
        let MonitorEvent::HandshakeFailed(failure) = event else {
            return;
        };
        let what = match failure {
            HandshakeFailure::Auth(_) => return,
            HandshakeFailure::NoDetail => "it ended before the handshake did".to_owned(),
            told => told.to_string(),
        };
        self.meters.refused_handshake();
        if let Some(left_out) = self.lines.allow(now) {
            let port = self.port;
            log::warn!(
                "a connection to the {port} port was not let in: {what}; {left_out} more since the last line"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_but_for_those_of_the_authenticator() {
        let now = Instant::now();
        let meters = Arc::new(Meters::new(now));
        let mut refusals = Refusals::new("command", &meters);
        for event in [
            MonitorEvent::HandshakeFailed(HandshakeFailure::NoDetail),
            MonitorEvent::HandshakeFailed(HandshakeFailure::Auth(400)),
            MonitorEvent::HandshakeFailed(HandshakeFailure::Protocol(0x1100_0002)),
            MonitorEvent::Disconnected,
        ] {
            refusals.note(event, now);
        }
        assert_eq!(meters.read(now).refused_handshakes, 2);
    }
}
