//! The service that an acquisition application embeds.
//!
//! ```text
//! callers ── publisher ──> outbox ──> publisher_thread (XPUB) ──> subscribers
//!                                       └──> taps
//! clients ──> dispatcher (ROUTER) ──> once ──> delegate ──> pending ──> publisher
//!               └──> historian (a thread) ──> history
//! ```

mod admission;
mod announcement;
mod batch;
mod binding;
mod delegate;
mod dispatcher;
mod historian;
mod once;
mod options;
mod outbox;
mod pending;
mod publisher;
mod publisher_state;
mod publisher_thread;
mod refusals;
mod running;
mod stats;
mod tap;

pub use announcement::Announcement;
pub use delegate::CommandRequestDelegate;
pub use dispatcher::{NONCE_REUSED, NOT_PERMITTED};
pub use options::{Overflow, RpcOptions};
pub use pending::PendingInfo;
pub use publisher::Publisher;
pub use stats::Stats;
pub use tap::Tap;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use self::outbox::{Outbox, OutboxLimits};
use self::pending::PendingCommands;
use self::running::{Bound, Running, Shared};
use self::stats::Meters;
use crate::rpc::{CommandRequest, CommandResponse, Event, RpcError, Topic};
use crate::zsocket::Endpoint;

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
    shared: Shared,
    publisher: Publisher,
    bound: OnceLock<Bound>,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug)]
enum State {
    New,
    Running(Box<Running>),
    /// Running without sockets, by [`RpcOptions::enable`].
    Disabled,
    /// On its way down, on another thread.
    Stopping {
        dispatcher: ThreadId,
    },
    Stopped,
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
        let max_pending = options.max_pending;
        Self {
            shared: Shared {
                options,
                outbox,
                pending: PendingCommands::new(publisher.clone(), max_pending),
                delegate: Arc::default(),
                taps: Arc::default(),
                meters: Arc::new(Meters::new(Instant::now())),
                muted: Arc::default(),
            },
            publisher,
            bound: OnceLock::new(),
            state: Mutex::new(State::New),
            stopped: Condvar::new(),
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
            State::Stopping { .. } | State::Stopped => return Err(RpcError::Stopped),
        }
        if !self.shared.options.enable {
            self.shared.outbox.open_to_nowhere();
            *state = State::Disabled;
            return Ok(());
        }
        let (running, bound) = Running::open(&self.shared)?;
        // The first successful start is the only one.
        let _ = self.bound.set(bound);
        *state = State::Running(Box::new(running));
        Ok(())
    }

    /// Stops the service for good.
    ///
    /// No more commands are taken, pending ones fail, and what is queued is delivered within the linger. Blocks until
    /// the delegate's current call, the linger and both threads have ended, also where another thread stops it already.
    /// Called by the delegate itself, it does not wait for that call. Once stopped, a further call does nothing.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Running(running) => {
                *state = State::Stopping {
                    dispatcher: running.dispatcher_thread(),
                };
                drop(state);
                running.close(&self.shared);
                self.release();
                *self.state.lock() = State::Stopped;
                self.stopped.notify_all();
            }
            State::Stopping { dispatcher } => {
                *state = State::Stopping { dispatcher };
                // The first stop waits for this very call.
                if dispatcher != thread::current().id() {
                    self.stopped
                        .wait_while(&mut state, |state| matches!(state, State::Stopping { .. }));
                }
            }
            State::New | State::Disabled => {
                self.shared.outbox.close();
                self.release();
            }
            State::Stopped => {}
        }
    }

    /// Registers the delegate that answers commands, in place of any other; the next command goes to it.
    pub fn set_delegate(&self, delegate: impl CommandRequestDelegate) {
        self.shared.delegate.set(Some(Arc::new(delegate)));
    }

    /// Removes the delegate; commands are answered UNAVAILABLE.
    pub fn clear_delegate(&self) {
        self.shared.delegate.set(None);
    }

    /// The options that the service was made with.
    #[must_use]
    pub fn options(&self) -> &RpcOptions {
        &self.shared.options
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

    /// The number of this start, which every message carries, in microseconds since 1970.
    ///
    /// `None` before a successful start. Section 7 of `docs/wire.md` says what subscribers do with it.
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
        self.shared.pending.list(Instant::now())
    }

    /// An in-process consumer of everything published from now on.
    ///
    /// It may be at most `capacity` messages behind (at least 1); what it misses beyond that, it counts.
    #[must_use]
    pub fn tap(&self, capacity: usize) -> Tap {
        self.shared.taps.open(capacity, usize::MAX)
    }

    /// The same within a number of bytes of bodies, too; one message that is larger still fits an empty tap.
    #[must_use]
    pub fn tap_within(&self, capacity: usize, bytes: usize) -> Tap {
        self.shared.taps.open(capacity, bytes)
    }

    /// What the service has counted since its start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = self.shared.outbox.counts();
        let metered = self.shared.meters.read(Instant::now());
        let unaccepted = match &*self.state.lock() {
            State::Running(running) => running.zap_stats().map_or(0, |zap| zap.refused()),
            State::New | State::Disabled | State::Stopping { .. } | State::Stopped => 0,
        };
        Stats {
            queue_depth: counts.depth,
            dropped: counts.dropped,
            refused: counts.refused,
            tap_lost: self.shared.taps.lost(),
            refused_handshakes: metered.refused_handshakes + unaccepted,
            pending: self.shared.pending.count(),
            refused_pending: self.shared.pending.refused(),
            ..metered
        }
    }

    /// Sends no heartbeats while `muted`; none is made up for afterwards. For the faults of the simulated rig.
    pub(crate) fn mute_heartbeats(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::Relaxed);
    }

    fn release(&self) {
        self.shared.taps.close();
        // A delegate that holds its service would otherwise keep it for ever.
        self.shared.delegate.set(None);
    }
}

impl Drop for RpcService {
    fn drop(&mut self) {
        self.stop();
    }
}
