use std::time::Duration;

use crate::zsocket::ClientKeys;

/// Where the service is, and how patient its client.
///
/// ```
/// use std::time::Duration;
/// use acqbus::rpc::ClientOptions;
///
/// let options = ClientOptions::default().host("rig-7").timeout(Duration::from_millis(500)).retries(0);
/// assert_eq!((options.subscriber_port, options.command_port), (5556, 5557));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Host name or address of the service. Defaults to `127.0.0.1`.
    pub host: String,
    /// TCP port of its publisher. Defaults to 5556.
    pub subscriber_port: u16,
    /// TCP port of its commands. Defaults to 5557.
    pub command_port: u16,
    /// How long one attempt waits for the reply. Defaults to 2 s.
    pub timeout: Duration,
    /// How many more attempts follow the first, each with a new socket and the same nonce. Defaults to 2.
    pub retries: u32,
    /// Which requests may be sent again. Defaults to [`Retry::WhenSafe`].
    pub retry: Retry,
    /// Adds this client's identity to requests, so that the service runs none twice; old services ignore it.
    /// Defaults to `true`.
    pub identified: bool,
    /// Silence after which a subscriber reports the heartbeat lost; `None`, the default, is three times the interval that the
    /// service announces (5 s where it announces none).
    pub heartbeat_timeout: Option<Duration>,
    /// High-water mark: messages held for a subscriber that reads slowly, on this side; 0 is no limit. Defaults to 10,000.
    pub recv_hwm: u32,
    /// Notices held between the subscriber's thread and its reader. At least 1. Defaults to 1,000. A reader that is behind by this
    /// and the high-water mark stops reading from the wire, and sees what it missed as gaps.
    pub notice_capacity: usize,
    /// Largest message or reply that is accepted, in bytes. Defaults to 64 MiB.
    pub max_message_bytes: usize,
    /// Deepest nesting of arrays and objects in a reply. Defaults to 64; more than
    /// [`DEPTH_CEILING`](crate::rpc::json::DEPTH_CEILING) (256) counts as that.
    pub max_depth: usize,
    /// A subscription that began with history reads from history, too, what it misses later. Defaults to `true`.
    pub fill_gaps: bool,
    /// This client's keys and the service's public key. `None`, the default, is no encryption.
    pub keys: Option<ClientKeys>,
}

/// Which requests are sent again after a time-out.
///
/// A repeat is harmless to a service of this crate, which runs no request twice, and for commands that only read. To others it may
/// be a second command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Queries, requests that never left, and all requests to a service that promises one effect.
    #[default]
    WhenSafe,
    /// Every request.
    Always,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            subscriber_port: 5556,
            command_port: 5557,
            timeout: Duration::from_secs(2),
            retries: 2,
            retry: Retry::default(),
            identified: true,
            heartbeat_timeout: None,
            recv_hwm: 10_000,
            notice_capacity: 1_000,
            max_message_bytes: 64 << 20,
            max_depth: 64,
            fill_gaps: true,
            keys: None,
        }
    }
}

impl ClientOptions {
    /// Sets [`host`](Self::host).
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Sets [`subscriber_port`](Self::subscriber_port) and [`command_port`](Self::command_port).
    #[must_use]
    pub fn ports(mut self, subscriber_port: u16, command_port: u16) -> Self {
        self.subscriber_port = subscriber_port;
        self.command_port = command_port;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`retries`](Self::retries).
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets [`retry`](Self::retry).
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets [`identified`](Self::identified).
    #[must_use]
    pub fn identified(mut self, identified: bool) -> Self {
        self.identified = identified;
        self
    }

    /// Sets [`heartbeat_timeout`](Self::heartbeat_timeout).
    #[must_use]
    pub fn heartbeat_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.heartbeat_timeout = timeout;
        self
    }

    /// Sets [`recv_hwm`](Self::recv_hwm) and [`notice_capacity`](Self::notice_capacity).
    #[must_use]
    pub fn buffers(mut self, recv_hwm: u32, notice_capacity: usize) -> Self {
        self.recv_hwm = recv_hwm;
        self.notice_capacity = notice_capacity;
        self
    }

    /// Sets [`max_message_bytes`](Self::max_message_bytes).
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Sets [`max_depth`](Self::max_depth).
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// Sets [`fill_gaps`](Self::fill_gaps).
    #[must_use]
    pub fn fill_gaps(mut self, fill: bool) -> Self {
        self.fill_gaps = fill;
        self
    }

    /// Sets [`keys`](Self::keys).
    #[must_use]
    pub fn keys(mut self, keys: ClientKeys) -> Self {
        self.keys = Some(keys);
        self
    }
}
