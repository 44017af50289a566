//! The service that an acquisition application embeds.
//!
//! ```text
//! callers ── publisher ──> outbox ──> publisher_thread (XPUB) ──> subscribers
//!                                       └──> taps
//! clients ──> dispatcher (ROUTER) ──> once ──> delegate ──> pending ──> publisher
//! ```

mod admission;
mod delegate;
mod dispatcher;
mod once;
mod options;
mod outbox;
mod pending;
mod publisher;
mod publisher_state;
mod publisher_thread;
mod stats;
mod tap;

pub use delegate::CommandRequestDelegate;
pub use options::{Overflow, RpcOptions};
pub use pending::PendingInfo;
pub use publisher::Publisher;
pub use stats::Stats;
pub use tap::Tap;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use self::admission::Admission;
use self::delegate::DelegateSlot;
use self::dispatcher::Dispatcher;
use self::once::OnceWindow;
use self::outbox::{Outbox, OutboxLimits};
use self::pending::PendingCommands;
use self::publisher_state::{Identity, PublisherState};
use self::publisher_thread::PublisherThread;
use self::stats::Meters;
use self::tap::Taps;
use crate::rpc::answer::RequestLimits;
use crate::rpc::{CommandRequest, CommandResponse, Event, RpcError, Topic};
use crate::zsocket::{
    Context, Endpoint, SharedKeyRing, Socket, SocketKind, SocketOptions, SocketSecurity,
    WakeReceiver, Waker, ZapHandler, addresses_of, wake_pair,
};

/// A service: publishes events, answers commands through a delegate, and tells that it lives.
///
/// Two threads, `acqbus-publisher` and `acqbus-dispatcher`, each own a socket and block on it; an idle service uses no measurable
/// CPU. Publishing never waits for a command, nor a command for publishing.
///
/// A service is started once and stopped once; dropping it stops it. All calls work from any thread.
///
/// ```
/// use acqbus::rpc::{CommandRequest, CommandResponse, Event, EventKind, RpcOptions, RpcService};
///
/// let service = RpcService::new(RpcOptions::default().any_port());
/// service.set_delegate(|_: &CommandRequest| CommandResponse::success());
/// service.start()?;
/// service.send_event(&Event::now(EventKind::TunnelEnter))?;
/// println!("events at port {}, commands at port {}", service.subscriber_port(), service.command_port());
///
/// service.stop();
/// assert!(service.start().is_err(), "a service is never restarted");
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Debug)]
pub struct RpcService {
    options: RpcOptions,
    publisher: Publisher,
    outbox: Arc<Outbox>,
    pending: PendingCommands,
    delegate: Arc<DelegateSlot>,
    taps: Arc<Taps>,
    meters: Arc<Meters>,
    bound: OnceLock<Bound>,
    state: Mutex<State>,
}

/// Where a service listens.
#[derive(Debug)]
struct Bound {
    subscriber: Vec<Endpoint>,
    command: Vec<Endpoint>,
    epoch: u64,
}

#[derive(Debug)]
enum State {
    New,
    Running(Box<Running>),
    /// Running without sockets, by [`RpcOptions::enable`].
    Disabled,
    Stopped,
}

/// What is joined and closed at the stop; in the order in which it is dropped.
#[derive(Debug)]
struct Running {
    publisher: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    dispatcher_waker: Waker,
    keys: Option<SharedKeyRing>,
    zap: Option<ZapHandler>,
    context: Context,
}

impl RpcService {
    /// A service that is not started; opens nothing.
    #[must_use]
    pub fn new(options: RpcOptions) -> Self {
        let outbox = Arc::new(Outbox::new(OutboxLimits {
            messages: options.queue_messages.max(1),
            bytes: options.queue_bytes,
            overflow: options.overflow,
        }));
        let publisher = Publisher::new(Arc::clone(&outbox), options.dialect, options.extras);
        Self {
            pending: PendingCommands::new(publisher.clone()),
            publisher,
            outbox,
            delegate: Arc::default(),
            taps: Arc::default(),
            meters: Arc::new(Meters::new(Instant::now())),
            bound: OnceLock::new(),
            state: Mutex::new(State::New),
            options,
        }
    }

    /// [`new`](Self::new) and [`start`](Self::start) in one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn launch(options: RpcOptions) -> Result<Self, RpcError> {
        let service = Self::new(options);
        service.start()?;
        Ok(service)
    }

    /// Binds both ports and starts the threads; the first heartbeat goes out at once.
    ///
    /// After an error nothing is bound, no thread runs, and the service may be started again (a port may have become free).
    ///
    /// # Errors
    /// [`RpcError::Socket`] with the endpoint when a port is in use or an address is not of this machine;
    /// [`RpcError::Exposed`] for an address off the loopback without keys; [`RpcError::AlreadyStarted`]; [`RpcError::Stopped`],
    /// for a service is never restarted.
    pub fn start(&self) -> Result<(), RpcError> {
        let mut state = self.state.lock();
        match *state {
            State::New => {}
            State::Running(_) | State::Disabled => return Err(RpcError::AlreadyStarted),
            State::Stopped => return Err(RpcError::Stopped),
        }
        if !self.options.enable {
            self.outbox.open_to_nowhere();
            *state = State::Disabled;
            return Ok(());
        }
        *state = State::Running(Box::new(self.open()?));
        Ok(())
    }

    /// Stops the service: no more commands, pending ones fail, what is queued is delivered within the linger.
    ///
    /// Blocks until the delegate's current call, the linger and both threads have ended. Called by the delegate itself, it does not
    /// wait for that call. A second call does nothing.
    pub fn stop(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Stopped);
        match state {
            State::Running(running) => self.close(*running),
            State::New | State::Disabled | State::Stopped => self.outbox.close(),
        }
        self.taps.close();
    }

    /// Registers the delegate that answers commands, in place of any other; the next command goes to it.
    pub fn set_delegate(&self, delegate: impl CommandRequestDelegate) {
        self.delegate.set(Some(Arc::new(delegate)));
    }

    /// Removes the delegate; commands are answered UNAVAILABLE.
    pub fn clear_delegate(&self) {
        self.delegate.set(None);
    }

    /// The options that the service was made with.
    #[must_use]
    pub fn options(&self) -> &RpcOptions {
        &self.options
    }

    /// The real TCP port of the publisher; 0 before a successful start.
    #[must_use]
    pub fn subscriber_port(&self) -> u16 {
        self.subscriber_endpoints()
            .first()
            .and_then(Endpoint::port)
            .unwrap_or(0)
    }

    /// The real TCP port of the commands; 0 before a successful start.
    #[must_use]
    pub fn command_port(&self) -> u16 {
        self.command_endpoints()
            .first()
            .and_then(Endpoint::port)
            .unwrap_or(0)
    }

    /// Where subscribers connect; empty before a successful start.
    #[must_use]
    pub fn subscriber_endpoints(&self) -> &[Endpoint] {
        self.bound.get().map_or(&[], |bound| &bound.subscriber)
    }

    /// Where commands are taken; empty before a successful start.
    #[must_use]
    pub fn command_endpoints(&self) -> &[Endpoint] {
        self.bound.get().map_or(&[], |bound| &bound.command)
    }

    /// The number of this start, in microseconds since 1970: every message carries it. `None` before a successful start.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.bound.get().map(|bound| bound.epoch)
    }

    /// A cheap handle that publishes for this service from any thread.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// See [`Publisher::send_event`].
    ///
    /// # Errors
    /// As there.
    pub fn send_event<C: Serialize>(&self, event: &Event<C>) -> Result<(), RpcError> {
        self.publisher.send_event(event)
    }

    /// See [`Publisher::send_event_dict`].
    ///
    /// # Errors
    /// As there.
    pub fn send_event_dict<T: Serialize + ?Sized>(&self, event: &T) -> Result<(), RpcError> {
        self.publisher.send_event_dict(event)
    }

    /// See [`Publisher::send_dict`].
    ///
    /// # Errors
    /// As there.
    pub fn send_dict<T: Serialize + ?Sized>(
        &self,
        topic: Topic,
        value: &T,
    ) -> Result<(), RpcError> {
        self.publisher.send_dict(topic, value)
    }

    /// See [`Publisher::send_string`].
    ///
    /// # Errors
    /// As there.
    pub fn send_string(&self, topic: Topic, text: &str) -> Result<(), RpcError> {
        self.publisher.send_string(topic, text)
    }

    /// See [`Publisher::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, topic: Topic, body: impl AsRef<[u8]>) -> Result<(), RpcError> {
        self.publisher.send(topic, body)
    }

    /// See [`Publisher::send_command_result`].
    ///
    /// # Errors
    /// As there.
    pub fn send_command_result(
        &self,
        request: &CommandRequest,
        response: &CommandResponse,
    ) -> Result<(), RpcError> {
        self.publisher.send_command_result(request, response)
    }

    /// The commands that were answered as pending and have no result yet.
    #[must_use]
    pub fn pending_commands(&self) -> Vec<PendingInfo> {
        self.pending.list(Instant::now())
    }

    /// An in-process consumer of everything published from now on, at most `capacity` (at least 1) messages behind.
    #[must_use]
    pub fn tap(&self, capacity: usize) -> Tap {
        self.taps.open(capacity)
    }

    /// What the service has counted since its start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = self.outbox.counts();
        Stats {
            queue_depth: counts.depth,
            dropped: counts.dropped,
            refused: counts.refused,
            tap_lost: self.taps.lost(),
            pending: self.pending.count(),
            ..self.meters.read(Instant::now())
        }
    }

    fn open(&self) -> Result<Running, RpcError> {
        let options = &self.options;
        let addresses = self.addresses()?;
        let context = Context::new()?;
        let keys = options.keys.as_ref().map(SharedKeyRing::open).transpose()?;
        // The handler first: a port that is open before it would let every key in.
        let zap = match &keys {
            Some(keys) => Some(ZapHandler::start(&context, keys.clone())?),
            None => None,
        };
        let (subscriber, publisher_socket) = self.bind(
            &context,
            SocketKind::Xpub,
            options.subscriber_port,
            &addresses,
            keys.as_ref(),
        )?;
        let (command, dispatcher_socket) = self.bind(
            &context,
            SocketKind::Router,
            options.command_port,
            &addresses,
            keys.as_ref(),
        )?;
        let (publisher_waker, publisher_wake) = wake_pair()?;
        let (dispatcher_waker, dispatcher_wake) = wake_pair()?;
        let admission = |bound: &[Endpoint]| keys.as_ref().map(|keys| Admission::new(keys, bound));
        let (publisher_admission, dispatcher_admission) =
            (admission(&subscriber), admission(&command));
        let epoch = epoch_now();
        let stopping = Arc::new(AtomicBool::new(false));

        let publishing =
            self.publisher_thread(publisher_socket, publisher_wake, publisher_admission, epoch);
        let dispatching = Dispatcher {
            socket: dispatcher_socket,
            wake: dispatcher_wake,
            stopping: Arc::clone(&stopping),
            delegate: Arc::clone(&self.delegate),
            pending: Arc::new(self.pending.clone()),
            once: OnceWindow::new(options.once_entries, options.once_window),
            meters: Arc::clone(&self.meters),
            admission: dispatcher_admission,
            limits: RequestLimits::default()
                .with_bytes(options.max_command_bytes)
                .with_depth(options.max_depth),
            dialect: options.dialect,
        };
        self.outbox.open(publisher_waker);
        let publisher = spawn("acqbus-publisher", move || publishing.run())?;
        let dispatcher = match spawn("acqbus-dispatcher", move || dispatching.run()) {
            Ok(dispatcher) => dispatcher,
            Err(error) => {
                self.outbox.close();
                let _ = publisher.join();
                return Err(error);
            }
        };
        // The first successful start is the only one.
        let _ = self.bound.set(Bound {
            subscriber,
            command,
            epoch,
        });
        Ok(Running {
            publisher,
            dispatcher,
            stopping,
            dispatcher_waker,
            keys,
            zap,
            context,
        })
    }

    fn publisher_thread(
        &self,
        socket: Socket,
        wake: WakeReceiver,
        admission: Option<Admission>,
        epoch: u64,
    ) -> PublisherThread {
        let identity = Identity {
            identifier: self.options.identifier.clone(),
            version: self.options.version.clone(),
            interval: self
                .options
                .heartbeat_interval
                .max(Duration::from_millis(1)),
            extras: self.options.extras,
        };
        PublisherThread {
            socket,
            wake,
            outbox: Arc::clone(&self.outbox),
            state: PublisherState::new(identity, Instant::now()),
            pending: self.pending.clone(),
            taps: Arc::clone(&self.taps),
            meters: Arc::clone(&self.meters),
            admission,
            dialect: self.options.dialect,
            extras: self.options.extras,
            epoch,
        }
    }

    /// The addresses to bind, each checked against the rule that what is reachable has keys.
    fn addresses(&self) -> Result<Vec<IpAddr>, RpcError> {
        let options = &self.options;
        let mut addresses = Vec::new();
        if options.reachable {
            addresses.push(IpAddr::from([0, 0, 0, 0]));
        } else {
            for name in &options.bind {
                for address in addresses_of(name)? {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        if addresses.is_empty() {
            return Err(RpcError::NoAddress);
        }
        let exposed = addresses.iter().find(|address| !address.is_loopback());
        match exposed {
            Some(&address) if options.keys.is_none() && !options.insecure => {
                Err(RpcError::Exposed { address })
            }
            _ => Ok(addresses),
        }
    }

    fn bind(
        &self,
        context: &Context,
        kind: SocketKind,
        port: u16,
        addresses: &[IpAddr],
        keys: Option<&SharedKeyRing>,
    ) -> Result<(Vec<Endpoint>, Socket), RpcError> {
        let options = &self.options;
        let security = match keys {
            Some(keys) => SocketSecurity::CurveServer {
                keys: keys.server().clone(),
                zap_domain: "acqbus".to_owned(),
            },
            None => SocketSecurity::Null,
        };
        let common = SocketOptions::default()
            .linger(Some(options.linger))
            .handshake_timeout(options.handshake_timeout)
            .tcp_keepalive(true)
            .ipv6(addresses.iter().any(IpAddr::is_ipv6))
            .security(security);
        let socket_options = match kind {
            SocketKind::Xpub => common.send_hwm(options.send_hwm).xpub_verbose(true),
            _ => common
                .recv_hwm(options.command_hwm.max(1))
                .send_hwm(options.command_hwm.max(1))
                .max_message_bytes(Some(options.max_command_bytes + OVERSIZE_ANSWERED)),
        };
        let socket = context.socket(kind, &socket_options)?;
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for address in addresses {
            // Port 0 is decided by the first address and holds for the others.
            let port = endpoints.first().and_then(Endpoint::port).unwrap_or(port);
            endpoints.push(socket.bind(&Endpoint::tcp_ip(*address, port))?);
        }
        Ok((endpoints, socket))
    }

    fn close(&self, running: Running) {
        running.stopping.store(true, Ordering::Release);
        running.dispatcher_waker.wake();
        join(running.dispatcher);
        self.pending.abandon();
        self.outbox.close();
        join(running.publisher);
        // Sockets are closed; the context waits for what they linger over, and nobody new may come in meanwhile.
        drop(running.keys);
        drop(running.zap);
        drop(running.context);
    }
}

impl Drop for RpcService {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RpcError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| RpcError::Thread { name, source })
}

/// Waits for a thread, unless it is the one that asks.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() == thread::current().id() {
        return;
    }
    if thread.join().is_err() {
        log::error!("a thread of the service panicked; this is a defect of acqbus");
    }
}

fn epoch_now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// How far a request may exceed the limit and still get an answer that says so; beyond, the connection ends.
const OVERSIZE_ANSWERED: usize = 64 << 10;
