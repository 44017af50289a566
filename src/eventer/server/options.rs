//! How a server runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::eventer::chatter::{ChatterOptions, LONG};
use crate::eventer::message::InitReq;
use crate::eventer::server::connection::Limits;
use crate::eventer::{EventerError, Notifier, ServerTls, Token};

/// How an [`EventerServer`](crate::eventer::EventerServer) runs.
///
/// # Examples
/// ```
/// use acqbus::eventer::{ServerOptions, Token};
///
/// let options = ServerOptions::default()
///     .bind(([0, 0, 0, 0], 23012).into())
///     .token(Some(Token::new("secret")))
///     .max_connections(100);
/// assert_eq!(options.bind.port(), 23012);
/// ```
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where it listens; port 0 is any free one. Default 127.0.0.1:23012, the port of hat-event.
    pub bind: SocketAddr,
    /// What a client has to show. Default `None`: who shows one is refused, as in hat-event, and who shows none is taken.
    pub token: Option<Token>,
    /// Whether a client that shows no token is taken although the server has one, as hat-event does. Default false.
    pub allow_without_token: bool,
    /// Whether it may listen beyond this machine without a token. Default false.
    pub insecure: bool,
    /// Encryption. Default none, as in hat-event.
    pub tls: Option<ServerTls>,
    /// What tells it of events; that of the backend. Default one of its own, which nobody tells anything.
    pub notifier: Notifier,
    /// Connections at a time. Default 4,096; 0 counts as 1.
    ///
    /// A newcomer beyond them takes the place of the oldest connection that has not said who it is, or is closed at once.
    pub max_connections: usize,
    /// The most bytes of one message, in both directions. Default 16 MiB; hat-event has no limit.
    pub max_frame: usize,
    /// Requests of one client that may wait; with more, or with the bytes of a frame, nothing more is read from it. Default
    /// 1,024, as in hat-event; 0 counts as 1.
    pub max_pending: usize,
    /// How long a client may take to say who it is. Default 5 s; hat-event waits for ever.
    pub hello_timeout: Duration,
    /// The most bytes that may wait for a client; beyond them it is closed. Default 16 MiB.
    ///
    /// With half of it waiting, requests of that client wait too.
    pub send_queue: usize,
    /// How long a client may take nothing of what waits for it, before it is closed. Default 20 s.
    pub send_timeout: Duration,
    /// Threads that serve the connections. Default 2; 0 counts as 1.
    pub threads: usize,
    /// Threads that answer queries: one that takes long holds up none of the others. Default 4; 0 counts as 1.
    pub query_threads: usize,
    /// How long a client may be silent until it is pinged. Default 20 s, as in hat-event.
    pub ping_after: Duration,
    /// How long a client may be silent behind that, before it is closed. Default 20 s, as in hat-event.
    pub close_after_ping: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let chatter = ChatterOptions::default();
        Self {
            bind: (Ipv4Addr::LOCALHOST, PORT).into(),
            token: None,
            allow_without_token: false,
            insecure: false,
            tls: None,
            notifier: Notifier::default(),
            max_connections: 4096,
            max_frame: chatter.max_frame,
            max_pending: 1024,
            hello_timeout: Duration::from_secs(5),
            send_queue: 16 * 1024 * 1024,
            send_timeout: Duration::from_secs(20),
            threads: 2,
            query_threads: 4,
            ping_after: chatter.ping_after,
            close_after_ping: chatter.close_after_ping,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        impl ServerOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](ServerOptions#structfield.", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.$name = $name;
                    self
                }
            )+
        }
    };
}

setters! {
    bind: SocketAddr,
    token: Option<Token>,
    allow_without_token: bool,
    insecure: bool,
    tls: Option<ServerTls>,
    notifier: Notifier,
    max_connections: usize,
    max_frame: usize,
    max_pending: usize,
    hello_timeout: Duration,
    send_queue: usize,
    send_timeout: Duration,
    threads: usize,
    query_threads: usize,
    ping_after: Duration,
    close_after_ping: Duration,
}

impl ServerOptions {
    /// Refuses what cannot be, or should not.
    pub(super) fn check(&self) -> Result<(), EventerError> {
        if !self.bind.ip().is_loopback() && self.token.is_none() && !self.insecure {
            return Err(EventerError::Option {
                option: "bind",
                reason: format!(
                    "{} can be reached from other machines: give a token, or say that it is to be insecure",
                    self.bind
                ),
            });
        }
        if self.max_frame < MIN_FRAME {
            return Err(EventerError::Option {
                option: "max_frame",
                reason: format!("{} bytes are fewer than {MIN_FRAME}", self.max_frame),
            });
        }
        Ok(())
    }

    /// Whether what a client shows lets it in.
    pub(super) fn admits(&self, hello: &InitReq) -> bool {
        match (&self.token, &hello.client_token) {
            (None, None) => true,
            (Some(token), Some(shown)) => token.is(shown),
            (Some(_), None) => self.allow_without_token,
            (None, Some(_)) => false,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            chatter: ChatterOptions::default()
                .ping_after(self.ping_after)
                .close_after_ping(self.close_after_ping)
                .max_frame(self.max_frame),
            max_pending: self.max_pending.max(1),
            send_queue: self.send_queue,
            send_timeout: self.send_timeout.min(LONG),
            hello_timeout: self.hello_timeout.min(LONG),
        }
    }
}

/// The port of hat-event's eventer.
const PORT: u16 = 23012;

/// Room for the smallest answers.
const MIN_FRAME: usize = 1024;
