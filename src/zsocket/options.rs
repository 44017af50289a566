//! What a socket may use: queues, sizes, times, security.

use std::time::Duration;

use crate::zsocket::curve::{CurveKeyPair, PublicKey};

/// The settings of one socket, fixed when it is opened.
///
/// ```
/// use std::time::Duration;
/// use acqbus::zsocket::SocketOptions;
///
/// let options = SocketOptions::default()
///     .send_hwm(10_000)
///     .linger(Some(Duration::ZERO))
///     .max_message_bytes(Some(1 << 20));
/// assert_eq!(options.recv_hwm, 1000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// Messages kept for each peer that does not take them yet; 0 = no limit.
    ///
    /// Default 1000, as libzmq.
    pub send_hwm: u32,
    /// Messages kept from each peer until they are received; 0 = no limit.
    ///
    /// Default 1000, as libzmq.
    pub recv_hwm: u32,
    /// How long messages are still sent after the socket is dropped; `None` = for ever.
    ///
    /// Default 1 s (*ours*; libzmq for ever).
    pub linger: Option<Duration>,
    /// Largest frame accepted from a peer, who is cut off beyond it; `None` = no limit.
    ///
    /// Default `None`, as libzmq.
    pub max_message_bytes: Option<usize>,
    /// How long a peer may take for its handshake; zero = for ever.
    ///
    /// Default 5 s (*ours*; libzmq 30 s).
    pub handshake_timeout: Duration,
    /// How long one attempt to connect may take; `None` = as long as the system allows.
    ///
    /// Default `None`, as libzmq.
    pub connect_timeout: Option<Duration>,
    /// Pause before connecting again; zero = reconnect at once. Default 100 ms, as libzmq.
    pub reconnect_interval: Duration,
    /// Bound to which the pause doubles; `None` = it stays the same, the default.
    pub reconnect_interval_max: Option<Duration>,
    /// Whether the system probes silent connections, at its own times.
    ///
    /// Default true (*ours*).
    pub tcp_keepalive: bool,
    /// Whether an XPUB socket receives every subscription, and not only the first of its kind.
    /// Default false.
    pub xpub_verbose: bool,
    /// Whether an XPUB socket refuses a message for which one of its subscribers has no room, and does not drop it for him.
    ///
    /// [`Socket::try_send`](crate::zsocket::Socket::try_send) gives the message back then, and nobody has got it;
    /// [`wait_for_room`](crate::zsocket::wait_for_room) says when to try again. Default false.
    pub xpub_nodrop: bool,
    /// Whether a ROUTER socket reports an unknown or full peer, and does not drop the message.
    /// Default false.
    pub router_mandatory: bool,
    /// Whether host names may resolve to IPv6. An IPv6 address works either way. Default false.
    pub ipv6: bool,
    /// Encryption and identity. Default [`SocketSecurity::Null`].
    pub security: SocketSecurity,
    /// How long a receive blocks; `None` = for ever, the default.
    pub recv_timeout: Option<Duration>,
    /// How long a send blocks; `None` = for ever, the default.
    pub send_timeout: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            send_hwm: 1000,
            recv_hwm: 1000,
            linger: Some(Duration::from_secs(1)),
            max_message_bytes: None,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: None,
            reconnect_interval: Duration::from_millis(100),
            reconnect_interval_max: None,
            tcp_keepalive: true,
            xpub_verbose: false,
            xpub_nodrop: false,
            router_mandatory: false,
            ipv6: false,
            security: SocketSecurity::Null,
            recv_timeout: None,
            send_timeout: None,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        impl SocketOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](SocketOptions#structfield.", stringify!($name), ").")]
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
    send_hwm: u32,
    recv_hwm: u32,
    linger: Option<Duration>,
    max_message_bytes: Option<usize>,
    handshake_timeout: Duration,
    connect_timeout: Option<Duration>,
    reconnect_interval: Duration,
    reconnect_interval_max: Option<Duration>,
    tcp_keepalive: bool,
    xpub_verbose: bool,
    xpub_nodrop: bool,
    router_mandatory: bool,
    ipv6: bool,
    security: SocketSecurity,
    recv_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
}

/// How a socket proves who it is, and whether what it says can be read on the way.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum SocketSecurity {
    /// Neither identity nor encryption.
    #[default]
    Null,
    /// The end that binds: encrypted, and open only to keys that the authenticator knows.
    ///
    /// Without a running [`ZapHandler`](crate::zsocket::ZapHandler) in the context every client is
    /// refused (*ours*: libzmq alone would accept all).
    CurveServer {
        /// The server's own keys.
        keys: CurveKeyPair,
        /// The name under which the authenticator is asked; 1 to 254 bytes.
        zap_domain: String,
    },
    /// The end that connects: encrypted, and only to the holder of this public key's secret.
    CurveClient {
        /// The client's own keys.
        keys: CurveKeyPair,
        /// The public key of the server.
        server: PublicKey,
    },
}
