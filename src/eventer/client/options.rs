//! Where the server is, what its client wants, and how patient it is.

use std::time::Duration;

use crate::event::Subscription;
use crate::eventer::{ClientTls, Token};

/// Where the server is, what its client wants, and how patient it is.
///
/// # Examples
/// ```
/// use acqbus::event::Subscription;
/// use acqbus::eventer::ClientOptions;
///
/// let options = ClientOptions::new("rig-7").name("display/hall").subscription(Subscription::all());
/// assert_eq!(options.address, "rig-7");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// HOST or HOST:PORT; an IPv6 address with a port in brackets. Default `127.0.0.1`; the port is 23012 unless given.
    pub address: String,
    /// The name under which the server registers that the client came and went; `type/name` by convention. Default `acqbus/` and
    /// the name of this machine.
    pub name: String,
    /// What is shown to the server to be let in. Default none.
    pub token: Option<Token>,
    /// Which events come as [`Notice`](crate::eventer::Notice)s. Default none.
    pub subscription: Subscription,
    /// Only events of this server come; `None`, the default, for all.
    pub server_id: Option<i64>,
    /// Whether events come when they are durable, not when they are registered. Default `false`.
    pub persisted: bool,
    /// TLS. Default none: plain TCP.
    pub tls: Option<ClientTls>,
    /// How long one attempt to connect may take, with TLS and the greeting. Default 5 s.
    pub connect_timeout: Duration,
    /// How long an answer is waited for, and how long a request waits for a broken connection to stand again. Default 10 s.
    pub timeout: Duration,
    /// Whether a broken connection is made again, until the client is closed. Default `true`.
    pub reconnect: bool,
    /// The wait before an attempt to connect again is random, up to this for the first. Default 0.1 s.
    pub backoff: Duration,
    /// The limit doubles with each attempt that fails, to this at most. Default 5 s.
    pub max_backoff: Duration,
    /// Whether events that a broken connection missed are read from the history of the server. Default `true`.
    ///
    /// It costs a few queries at the first connection too, which note where the history ends, and again every five minutes for who does
    /// not subscribe to all events. A server that answers no queries
    /// (hat-event's memory backend closes the connection on most) wants `false`. Without
    /// [`reconnect`](Self::reconnect) or a subscription nothing is asked.
    pub resume: bool,
    /// Notices that wait for their reader. Default 1,024; 0 counts as 1.
    pub notice_capacity: usize,
    /// Bytes of events, as on the wire, that wait behind a full queue of notices before the client stops reading from its
    /// connection; and that wait while history is read. Default 16 MiB.
    pub hold_bytes: usize,
    /// The largest message, in bytes, sent or received. Default 16 MiB.
    pub max_frame: usize,
    /// The silence of the server after which it is asked for a sign of life. Default 20 s, as hat-event.
    pub ping_after: Duration,
    /// How long that sign may take before the connection counts as broken. Default 20 s, as hat-event.
    pub close_after_ping: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            address: "127.0.0.1".to_owned(),
            name: default_name(),
            token: None,
            subscription: Subscription::none(),
            server_id: None,
            persisted: false,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            reconnect: true,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            resume: true,
            notice_capacity: 1024,
            hold_bytes: 16 << 20,
            max_frame: 16 << 20,
            ping_after: Duration::from_secs(20),
            close_after_ping: Duration::from_secs(20),
        }
    }
}

impl ClientOptions {
    /// The defaults, for a server at HOST or HOST:PORT.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self::default().address(address)
    }

    /// Sets [`address`](Self::address).
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets [`name`](Self::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`token`](Self::token).
    #[must_use]
    pub fn token(mut self, token: impl Into<Option<Token>>) -> Self {
        self.token = token.into();
        self
    }

    /// Sets [`subscription`](Self::subscription).
    #[must_use]
    pub fn subscription(mut self, subscription: Subscription) -> Self {
        self.subscription = subscription;
        self
    }

    /// Sets [`server_id`](Self::server_id).
    #[must_use]
    pub fn server_id(mut self, server_id: impl Into<Option<i64>>) -> Self {
        self.server_id = server_id.into();
        self
    }

    /// Sets [`persisted`](Self::persisted).
    #[must_use]
    pub fn persisted(mut self, persisted: bool) -> Self {
        self.persisted = persisted;
        self
    }

    /// Sets [`tls`](Self::tls).
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Option<ClientTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`reconnect`](Self::reconnect).
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Sets [`backoff`](Self::backoff) and [`max_backoff`](Self::max_backoff).
    #[must_use]
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = first;
        self.max_backoff = most;
        self
    }

    /// Sets [`resume`](Self::resume).
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets [`notice_capacity`](Self::notice_capacity).
    #[must_use]
    pub fn notice_capacity(mut self, notices: usize) -> Self {
        self.notice_capacity = notices;
        self
    }

    /// Sets [`hold_bytes`](Self::hold_bytes).
    #[must_use]
    pub fn hold_bytes(mut self, bytes: usize) -> Self {
        self.hold_bytes = bytes;
        self
    }

    /// Sets [`max_frame`](Self::max_frame).
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Sets [`ping_after`](Self::ping_after) and [`close_after_ping`](Self::close_after_ping).
    #[must_use]
    pub fn keep_alive(mut self, ping_after: Duration, close_after_ping: Duration) -> Self {
        self.ping_after = ping_after;
        self.close_after_ping = close_after_ping;
        self
    }

    /// Whether missed events are to be read from history.
    pub(super) fn resumes(&self) -> bool {
        self.resume && self.reconnect && !self.subscription.is_none()
    }
}

fn default_name() -> String {
    let machine = rustix::system::uname();
    format!("acqbus/{}", machine.nodename().to_string_lossy())
}
