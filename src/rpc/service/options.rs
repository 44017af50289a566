use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::rpc::service::announcement::Announcement;
use crate::rpc::{ApiCommand, Dialect, History};

/// How a service is named, where it listens, how much it holds, and who may talk to it.
///
/// ```
/// use acqbus::rpc::RpcOptions;
///
/// let options = RpcOptions::default().identifier("rig-7").any_port();
/// assert_eq!(options.subscriber_port, 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RpcOptions {
    /// Name of the service in its heartbeats. Defaults to `autotrainer-device`.
    pub identifier: String,
    /// Version that the heartbeats carry. Defaults to this crate's version.
    pub version: String,
    /// Time between heartbeats, from 1 ms to a year; others are taken as the nearest of these. Defaults to 5 s.
    pub heartbeat_interval: Duration,
    /// TCP port of the publisher; 0 takes any free one, which
    /// [`RpcService::subscriber_port`](crate::rpc::RpcService::subscriber_port) then tells. Defaults to 5556.
    pub subscriber_port: u16,
    /// TCP port of the commands; 0 takes any free one. Defaults to 5557.
    pub command_port: u16,
    /// Addresses or interface names to listen at. Defaults to `127.0.0.1`. An address off the loopback wants keys or
    /// [`insecure`](Self::insecure).
    pub bind: Vec<String>,
    /// Listens at every IPv4 interface, whatever [`bind`](Self::bind) says. Defaults to `false`.
    pub reachable: bool,
    /// Permits an address off the loopback without keys: whoever reaches the ports can run commands. Defaults to `false`.
    pub insecure: bool,
    /// When `false`, `start` opens no socket and what is published goes nowhere, so that an application need not ask at each
    /// call. Defaults to `true`.
    pub enable: bool,
    /// How many published messages may wait for the publisher's thread. At least 1. Defaults to 100,000.
    pub queue_messages: usize,
    /// How many bytes of bodies may wait for the publisher's thread. Defaults to 64 MiB. What the thread has taken and is
    /// sending, and emergencies, count apart: as much again each, at most.
    pub queue_bytes: usize,
    /// What happens to a message that finds the queue full. Defaults to [`Overflow::Refuse`].
    pub overflow: Overflow,
    /// High-water mark: messages held for one slow subscriber before it misses some; 0 is no limit. Defaults to 10,000.
    pub send_hwm: u32,
    /// Whether a subscriber that is slow holds up all publishing, in the place of missing messages. Defaults to `false`: the bus
    /// never waits for a listener.
    ///
    /// At [`send_hwm`](Self::send_hwm) (0 turns this off) nothing is published, heartbeats and emergencies included, until he
    /// takes a message or goes; what is published meanwhile waits in the queue, and finds it full then.
    /// [`Stats::held_up`](crate::rpc::Stats::held_up) tells for how long. `stop` waits for him as long as the
    /// [`linger`](Self::linger).
    pub back_pressure: bool,
    /// Requests held for one client while the delegate is busy. At least 1. Defaults to 64.
    ///
    /// A client that has more outstanding is held back by TCP. At least 1,000 replies are held for one that does not read; beyond,
    /// they are dropped and counted.
    pub command_hwm: u32,
    /// Largest request in bytes. A little over is answered with an error, far over (64 KiB) ends the connection.
    /// Defaults to 1 MiB.
    pub max_command_bytes: usize,
    /// Deepest nesting of arrays and objects in a request. Defaults to 64; more than
    /// [`DEPTH_CEILING`](crate::rpc::json::DEPTH_CEILING) (256) counts as that.
    pub max_depth: usize,
    /// How long `stop` waits for what is queued to reach the subscribers. Defaults to 1 s; zero drops it.
    pub linger: Duration,
    /// How long a connection may take to finish its handshake. Defaults to 5 s; zero is no limit.
    pub handshake_timeout: Duration,
    /// Wire dialect. Defaults to [`Dialect::Plain`].
    pub dialect: Dialect,
    /// Adds `epoch` and `sequence` to every published object, so that a subscriber can tell what it missed. Defaults to `true`.
    pub extras: bool,
    /// How many commands may be pending at a time; one more is answered UNAVAILABLE. Defaults to 10,000; 0 allows none.
    pub max_pending: usize,
    /// How many answered requests are remembered, so that a repeat runs no command twice. At least 1. Defaults to 1,024.
    pub once_entries: usize,
    /// How long an answered request is remembered. Defaults to 60 s.
    pub once_window: Duration,
    /// Directory of the service's keys and of those who may connect, as [`KeyRing`](crate::zsocket::KeyRing) makes it; read at
    /// the start and followed from then on. `None`, the default, is no encryption and no authentication.
    pub keys: Option<PathBuf>,
    /// Commands that want the role admin, where the service has keys. The default, none, lets an operator run every command.
    pub admin_commands: Vec<ApiCommand>,
    /// Announces the service by multicast while it runs. `None`, the default, does not. A failure is logged and counted
    /// ([`Stats::announce_failures`](crate::rpc::Stats::announce_failures)) and no error of the start.
    pub announce: Option<Announcement>,
    /// What remembers what was published, for clients that ask for it. `None`, the default, leaves such requests to the delegate,
    /// as every other of the application's own. `stop` waits for the page that it is at.
    pub history: Option<Arc<dyn History>>,
}

/// What becomes of a message that finds the publishing queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The caller gets [`RpcError::QueueFull`](crate::rpc::RpcError::QueueFull); nothing is lost unknown to him.
    #[default]
    Refuse,
    /// The message that waits longest makes room; counted, and subscribers see the gap.
    DropOldest,
    /// The new message goes; counted, and subscribers see the gap.
    DropNewest,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            identifier: "autotrainer-device".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeat_interval: Duration::from_secs(5),
            subscriber_port: 5556,
            command_port: 5557,
            bind: vec!["127.0.0.1".to_owned()],
            reachable: false,
            insecure: false,
            enable: true,
            queue_messages: 100_000,
            queue_bytes: 64 << 20,
            overflow: Overflow::default(),
            send_hwm: 10_000,
            back_pressure: false,
            command_hwm: 64,
            max_command_bytes: 1 << 20,
            max_depth: 64,
            linger: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(5),
            dialect: Dialect::default(),
            extras: true,
            max_pending: 10_000,
            once_entries: 1024,
            once_window: Duration::from_secs(60),
            keys: None,
            admin_commands: Vec::new(),
            announce: None,
            history: None,
        }
    }
}

impl RpcOptions {
    /// Sets [`identifier`](Self::identifier).
    #[must_use]
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = identifier.into();
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets [`heartbeat_interval`](Self::heartbeat_interval).
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Sets [`subscriber_port`](Self::subscriber_port) and [`command_port`](Self::command_port).
    #[must_use]
    pub fn ports(mut self, subscriber_port: u16, command_port: u16) -> Self {
        self.subscriber_port = subscriber_port;
        self.command_port = command_port;
        self
    }

    /// Takes any two free ports, as tests and second services on one machine do.
    #[must_use]
    pub fn any_port(self) -> Self {
        self.ports(0, 0)
    }

    /// Sets [`bind`](Self::bind).
    #[must_use]
    pub fn bind<S: Into<String>>(mut self, addresses: impl IntoIterator<Item = S>) -> Self {
        self.bind = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`reachable`](Self::reachable).
    #[must_use]
    pub fn reachable(mut self, reachable: bool) -> Self {
        self.reachable = reachable;
        self
    }

    /// Sets [`insecure`](Self::insecure).
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Sets [`enable`](Self::enable).
    #[must_use]
    pub fn enable(mut self, enable: bool) -> Self {
        self.enable = enable;
        self
    }

    /// Sets the bounds of the publishing queue and what happens at them.
    ///
    /// These are [`queue_messages`](Self::queue_messages), [`queue_bytes`](Self::queue_bytes) and [`overflow`](Self::overflow).
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize, overflow: Overflow) -> Self {
        self.queue_messages = messages;
        self.queue_bytes = bytes;
        self.overflow = overflow;
        self
    }

    /// Sets [`send_hwm`](Self::send_hwm).
    #[must_use]
    pub fn send_hwm(mut self, messages: u32) -> Self {
        self.send_hwm = messages;
        self
    }

    /// Sets [`back_pressure`](Self::back_pressure): for who replays or copies, not for a bus with work to do.
    #[must_use]
    pub fn back_pressure(mut self, back_pressure: bool) -> Self {
        self.back_pressure = back_pressure;
        self
    }

    /// Sets [`command_hwm`](Self::command_hwm).
    #[must_use]
    pub fn command_hwm(mut self, requests: u32) -> Self {
        self.command_hwm = requests;
        self
    }

    /// Sets [`max_command_bytes`](Self::max_command_bytes).
    #[must_use]
    pub fn max_command_bytes(mut self, bytes: usize) -> Self {
        self.max_command_bytes = bytes;
        self
    }

    /// Sets [`max_depth`](Self::max_depth).
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// Sets [`linger`](Self::linger).
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets [`dialect`](Self::dialect).
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Sets [`extras`](Self::extras).
    #[must_use]
    pub fn extras(mut self, extras: bool) -> Self {
        self.extras = extras;
        self
    }

    /// Sets [`max_pending`](Self::max_pending).
    #[must_use]
    pub fn max_pending(mut self, commands: usize) -> Self {
        self.max_pending = commands;
        self
    }

    /// Sets [`once_entries`](Self::once_entries) and [`once_window`](Self::once_window).
    #[must_use]
    pub fn once(mut self, entries: usize, window: Duration) -> Self {
        self.once_entries = entries;
        self.once_window = window;
        self
    }

    /// Sets [`keys`](Self::keys): both ports want CURVE, and each command the right role.
    #[must_use]
    pub fn keys(mut self, directory: impl Into<PathBuf>) -> Self {
        self.keys = Some(directory.into());
        self
    }

    /// Sets [`admin_commands`](Self::admin_commands).
    #[must_use]
    pub fn admin_commands(mut self, commands: impl IntoIterator<Item = ApiCommand>) -> Self {
        self.admin_commands = commands.into_iter().collect();
        self
    }

    /// Sets [`announce`](Self::announce): clients find the service without an address.
    #[must_use]
    pub fn announce(mut self, announcement: Announcement) -> Self {
        self.announce = Some(announcement);
        self
    }

    /// Sets [`history`](Self::history): clients can ask for what they missed.
    #[must_use]
    pub fn history(mut self, history: Arc<dyn History>) -> Self {
        self.history = Some(history);
        self
    }
}
