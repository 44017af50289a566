//! The error of the eventer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::EventError;
use crate::store::StoreError;

/// What went wrong between an eventer server and its clients.
///
/// Ask the predicates rather than the text.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum EventerError {
    /// The client or the server was closed by its owner.
    #[error("the {what} is closed")]
    Closed {
        /// Which end: `"eventer client"` or `"eventer server"`.
        what: &'static str,
    },
    /// The server cannot listen at this address.
    #[error("cannot listen at {address}")]
    Bind {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// HOST:PORT as it was given.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended while an answer was waited for; whether the server did what was asked is not known.
    #[error("the connection to {address} ended: {reason}")]
    Disconnected {
        /// HOST:PORT as it was given.
        address: String,
        /// What ended it.
        reason: String,
    },
    /// No answer within the time-out; it is not waited for any more.
    #[error("{address} has not answered within {timeout:?}")]
    TimedOut {
        /// HOST:PORT as it was given.
        address: String,
        /// The time-out.
        timeout: Duration,
    },
    /// The server refuses this client.
    #[error("{address} refuses: {text}")]
    Refused {
        /// HOST:PORT as it was given.
        address: String,
        /// The server's words.
        text: String,
    },
    /// The server has not registered: it is not operational, or could not.
    #[error("{address} has not registered the events")]
    NotRegistered {
        /// HOST:PORT as it was given.
        address: String,
    },
    /// Bytes of the peer that break the protocol.
    #[error("{what} of the peer cannot be read")]
    Protocol {
        /// Which part: `"a frame"`, `"MsgQueryReq"`.
        what: String,
        /// Where and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A message that would be larger than a frame may be.
    #[error("a message of {bytes} bytes is larger than the {limit} bytes of a frame")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of this side.
        limit: usize,
    },
    /// An option that cannot be.
    #[error("{option}: {reason}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {reason}")]
    Tls {
        /// What cannot be.
        reason: String,
        /// Why, where somebody said.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The store behind the server, or that of a synchronisation.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A subscription or an event that cannot be.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl EventerError {
    /// Whether this end was closed by its owner.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether the peer was not reached or has gone; a later try may succeed.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Disconnected { .. })
    }

    /// Whether the answer took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// Whether the server refused the client, by its token as a rule; a later try ends alike.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the peer broke the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self, Self::Protocol { .. })
    }
}
