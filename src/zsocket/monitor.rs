//! What happens to the connections of a socket.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::zsocket::context::Context;
use crate::zsocket::endpoint::Endpoint;
use crate::zsocket::error::ZsocketError;
use crate::zsocket::options::SocketOptions;
use crate::zsocket::raw::RawSocket;
use crate::zsocket::socket::{Socket, SocketKind, retry};

/// Reports the connections of one socket, see [`Socket::monitor`].
///
/// libzmq keeps the events until they are taken: whoever opens a monitor waits for
/// [`Monitor::socket`] along with the others and calls [`Monitor::events`].
#[derive(Debug)]
pub struct Monitor {
    events: Socket,
}

impl Monitor {
    pub(super) fn open(
        context: &Context,
        observed: &RawSocket,
        reported: Reported,
    ) -> Result<Self, ZsocketError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let failed = |error| ZsocketError::from_errno("opening a monitor", error);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let endpoint = Endpoint::inproc(&format!("acqbus.monitor.{number}"))?;
        // No limit: at one, libzmq would block its I/O thread until an event is taken.
        let events = context.socket(SocketKind::Pair, &SocketOptions::default().recv_hwm(0))?;
        retry(|| observed.monitor(endpoint.as_str(), reported.mask())).map_err(failed)?;
        events.connect(&endpoint)?;
        Ok(Self { events })
    }

    /// Takes all events that are there; never blocks.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn events(&self) -> Result<Vec<MonitorEvent>, ZsocketError> {
        let mut events = Vec::new();
        while let Some(message) = self.events.try_recv_message(FRAMES)? {
            events.extend(
                message
                    .frames
                    .first()
                    .and_then(|frame| MonitorEvent::decode(frame)),
            );
        }
        Ok(events)
    }

    /// Takes the next event, or gives `None` if there is none in time.
    ///
    /// Blocks up to the time-out, `None` = for ever.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn next_event(
        &self,
        timeout: Option<Duration>,
    ) -> Result<Option<MonitorEvent>, ZsocketError> {
        self.events.set_recv_timeout(timeout)?;
        let message = self.events.recv_message(FRAMES)?;
        Ok(message.and_then(|message| MonitorEvent::decode(message.frames.first()?)))
    }

    /// The socket to give to [`wait`](crate::zsocket::wait()): readable when there are events.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.events
    }
}

/// Which events a monitor gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    All,
    /// Handshakes and ends of connections.
    Sessions,
    /// Handshakes that failed.
    Failures,
    /// Ends of connections, and attempts to connect again.
    Ends,
}

impl Reported {
    fn mask(self) -> i32 {
        let failures = zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
        let events = match self {
            Self::All => zmq_sys::ZMQ_EVENT_ALL,
            Self::Sessions => {
                failures | zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED | zmq_sys::ZMQ_EVENT_DISCONNECTED
            }
            Self::Failures => failures,
            Self::Ends => zmq_sys::ZMQ_EVENT_DISCONNECTED | zmq_sys::ZMQ_EVENT_CONNECT_RETRIED,
        };
        events as i32
    }
}

/// Something that happened to a connection of the observed socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorEvent {
    /// The TCP connection stands; the handshake follows.
    Connected,
    /// An attempt to connect goes on in the background.
    ConnectDelayed,
    /// An attempt to connect failed; the next one comes after this pause.
    ConnectRetried(Duration),
    /// The socket listens.
    Listening,
    /// The socket cannot listen.
    BindFailed,
    /// A peer's TCP connection was taken; the handshake follows.
    Accepted,
    /// A peer's connection could not be taken, as without descriptors.
    AcceptFailed,
    /// A connection or listener was closed.
    Closed,
    /// A connection or listener could not be closed.
    CloseFailed,
    /// The connection broke, or the peer ended it.
    Disconnected,
    /// Messages can flow.
    HandshakeSucceeded,
    /// The peers do not agree; libzmq ends the connection.
    HandshakeFailed(HandshakeFailure),
    /// The last event.
    Stopped,
    /// An event of a later libzmq.
    Other(u16),
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The connection ended meanwhile, as it does for a wrong server key.
    NoDetail,
    /// A breach of the protocol, or another mechanism, as a code of libzmq.
    Protocol(u32),
    /// The authenticator said no, with this status: 300, 400 or 500.
    Auth(u32),
}

impl HandshakeFailure {
    /// Whether the authenticator refused the key; libzmq does not try again then.
    #[must_use]
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Auth(_))
    }

    /// Whether one side wants keys and the other has none.
    #[must_use]
    pub fn is_other_mechanism(self) -> bool {
        self == Self::Protocol(zmq_sys::ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDetail => {
                f.write_str("the peer ended the handshake, as it does for a wrong server key")
            }
            Self::Auth(status) => write!(f, "the peer refuses this key (status {status})"),
            Self::Protocol(_) if self.is_other_mechanism() => {
                f.write_str("one side wants keys and the other has none")
            }
            Self::Protocol(code) => write!(f, "the peer breaks the protocol (code {code:#x})"),
        }
    }
}

impl MonitorEvent {
    /// Reads the first frame of an event: a 16-bit number and a 32-bit value in the byte order of
    /// the machine.
    ///
    /// Source: zmq_socket_monitor(3).
    fn decode(frame: &[u8]) -> Option<Self> {
        let (number, value) = frame.split_first_chunk::<2>()?;
        let number = u16::from_ne_bytes(*number);
        let value = u32::from_ne_bytes(*value.first_chunk::<4>()?);
        Some(match u32::from(number) {
            zmq_sys::ZMQ_EVENT_CONNECTED => Self::Connected,
            zmq_sys::ZMQ_EVENT_CONNECT_DELAYED => Self::ConnectDelayed,
            zmq_sys::ZMQ_EVENT_CONNECT_RETRIED => {
                Self::ConnectRetried(Duration::from_millis(value.into()))
            }
            zmq_sys::ZMQ_EVENT_LISTENING => Self::Listening,
            zmq_sys::ZMQ_EVENT_BIND_FAILED => Self::BindFailed,
            zmq_sys::ZMQ_EVENT_ACCEPTED => Self::Accepted,
            zmq_sys::ZMQ_EVENT_ACCEPT_FAILED => Self::AcceptFailed,
            zmq_sys::ZMQ_EVENT_CLOSED => Self::Closed,
            zmq_sys::ZMQ_EVENT_CLOSE_FAILED => Self::CloseFailed,
            zmq_sys::ZMQ_EVENT_DISCONNECTED => Self::Disconnected,
            zmq_sys::ZMQ_EVENT_MONITOR_STOPPED => Self::Stopped,
            zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED => Self::HandshakeSucceeded,
            zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL => {
                Self::HandshakeFailed(HandshakeFailure::NoDetail)
            }
            zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => {
                Self::HandshakeFailed(HandshakeFailure::Protocol(value))
            }
            zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => {
                Self::HandshakeFailed(HandshakeFailure::Auth(value))
            }
            _ => Self::Other(number),
        })
    }
}

/// An event is two frames: the event and the endpoint.
const FRAMES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u32, value: u32) -> Vec<u8> {
        let mut bytes = (number as u16).to_ne_bytes().to_vec();
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn events_are_read_by_number_and_value() {
        for (number, value, expected) in [
            (1, 0, MonitorEvent::Connected),
            (
                4,
                250,
                MonitorEvent::ConnectRetried(Duration::from_millis(250)),
            ),
            (
                0x4000,
                400,
                MonitorEvent::HandshakeFailed(HandshakeFailure::Auth(400)),
            ),
            (0x8000, 7, MonitorEvent::Other(0x8000)),
        ] {
            assert_eq!(MonitorEvent::decode(&bytes(number, value)), Some(expected));
        }
    }

    #[test]
    fn truncated_events_are_none() {
        let good = bytes(1, 0);
        for len in 0..good.len() {
            assert_eq!(MonitorEvent::decode(&good[..len]), None);
        }
    }
}
