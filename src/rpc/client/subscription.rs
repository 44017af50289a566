//! Following what a service publishes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::rpc::{HistoryStart, Message, RpcError, Topic};
use crate::zsocket::{
    self, Context, Endpoint, Frame, MonitorEvent, Socket, SocketKind, SocketOptions, WakeReceiver,
    Waker, wake_pair,
};

use super::handshakes::Handshakes;
use super::join::Joiner;
use super::remote::RemoteClient;
use super::tracker::{Patience, Tracker};

/// What a subscriber learns, in the order in which it learns it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A published message.
    Message(Message),
    /// Messages of a topic are missing: `count` of them, from number `first` on. A service without sequence numbers gives none.
    Gap {
        /// The topic.
        topic: Topic,
        /// The sequence number of the first missing message.
        first: u64,
        /// How many are missing.
        count: u64,
    },
    /// The transport is connected and the subscriptions are on their way; the service has not been heard yet.
    Linked,
    /// The service was heard: its first heartbeat, or the first after a silence.
    Connected {
        /// Name of the service.
        identifier: String,
        /// Version of the service.
        version: String,
        /// Its start, for services that tell.
        epoch: Option<u64>,
    },
    /// No heartbeat came for too long.
    HeartbeatLost {
        /// Since when.
        silent_for: Duration,
    },
    /// The service was started anew; what was pending there is lost.
    Restarted {
        /// Its new start.
        epoch: u64,
    },
    /// The connection broke; it is made again by itself.
    Disconnected,
    /// The service does not let this client in; it keeps trying.
    Refused {
        /// What the handshake said.
        reason: String,
    },
    /// History begins where it was asked for; it comes next. With
    /// [`RemoteClient::subscribe_from`](crate::rpc::RemoteClient::subscribe_from) only, as the four below.
    Resumed,
    /// The number that was asked for of a topic by name lies ahead: messages come once the service has published so many.
    Ahead {
        /// The topic.
        topic: Topic,
        /// The number that was asked for.
        from: u64,
        /// The number of the next message that the service will publish.
        next: u64,
    },
    /// The history of a topic is not kept from where it was asked for.
    CutShort {
        /// The topic.
        topic: Topic,
        /// The first number that is kept; what precedes it is lost.
        at: u64,
    },
    /// The position is of another start of the service; the history begins with the first message of the present one.
    OtherEpoch {
        /// The present start.
        epoch: u64,
    },
    /// There is no history: what follows is what is published now.
    NoHistory {
        /// Why.
        reason: String,
    },
}

/// A running subscription: a queue of [`Notice`]s filled by its own thread, `acqbus-subscriber`.
///
/// Dropping it ends the subscription. It works across restarts of the service. The queue is bounded
/// ([`ClientOptions::notice_capacity`](crate::rpc::ClientOptions::notice_capacity)): behind a full one the thread stops
/// reading, and what the service then has to drop arrives here as [`Notice::Gap`].
///
/// ```
/// use acqbus::rpc::{ClientOptions, Event, EventKind, Notice, RemoteClient, RpcOptions, RpcService, Topic};
///
/// let service = RpcService::launch(RpcOptions::default().any_port())?;
/// let options = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
/// let subscription = RemoteClient::connect(options)?.subscribe(&[Topic::EVENT])?;
/// for notice in subscription.iter() {
///     match notice {
///         Notice::Connected { .. } => service.send_event(&Event::now(EventKind::TunnelEnter))?,
///         Notice::Message(message) => {
///             assert_eq!(message.event().expect("an event").kind, EventKind::TunnelEnter);
///             break;
///         }
///         _ => {}
///     }
/// }
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Debug)]
pub struct Subscription {
    // Dropped first, so that a thread that waits for room in the queue ends, whoever else holds the queue.
    _running: Sender<Infallible>,
    notices: Receiver<Notice>,
    // Before the follower, which may wait for it.
    joiner: Option<Joiner>,
    follower: Follower,
}

impl Subscription {
    pub(crate) fn open(plan: Plan, capacity: usize) -> Result<Self, RpcError> {
        let (running, notices, target) = queue(capacity);
        let follower = Follower::start(plan, move |notice| target.hand_over(notice))?;
        Ok(Self {
            _running: running,
            notices,
            joiner: None,
            follower,
        })
    }

    /// The same with history in front.
    pub(crate) fn open_from(
        plan: Plan,
        capacity: usize,
        client: RemoteClient,
        start: HistoryStart,
    ) -> Result<Self, RpcError> {
        let (running, notices, target) = queue(capacity);
        let (joiner, live) = Joiner::start(client, start, &plan.topics, target)?;
        let follower = Follower::start(plan, live)?;
        Ok(Self {
            _running: running,
            notices,
            joiner: Some(joiner),
            follower,
        })
    }

    /// Blocks the calling thread until the next notice; `None` when the subscription has ended.
    #[must_use]
    pub fn recv(&self) -> Option<Notice> {
        self.notices.recv().ok()
    }

    /// The same for at most `timeout`; `None` after it too.
    #[must_use]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Notice> {
        self.notices.recv_timeout(timeout).ok()
    }

    /// The same until `deadline`.
    #[must_use]
    pub fn recv_deadline(&self, deadline: Instant) -> Option<Notice> {
        self.notices.recv_deadline(deadline).ok()
    }

    /// The next notice if one waits; never blocks.
    #[must_use]
    pub fn try_recv(&self) -> Option<Notice> {
        self.notices.try_recv().ok()
    }

    /// Blocking iterator over the notices.
    pub fn iter(&self) -> impl Iterator<Item = Notice> + '_ {
        self.notices.iter()
    }

    /// The queue itself, for a `select!` over several.
    #[must_use]
    pub fn notices(&self) -> &Receiver<Notice> {
        &self.notices
    }

    /// How many messages could not be read: not two frames, or no topic.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.follower.malformed.load(Ordering::Relaxed)
    }

    /// How many messages did not fit the buffer while history was read, and so were taken from history, too; none is lost by it.
    ///
    /// 0 without history.
    #[must_use]
    pub fn read_again(&self) -> u64 {
        self.joiner.as_ref().map_or(0, Joiner::forgotten)
    }
}

fn queue(capacity: usize) -> (Sender<Infallible>, Receiver<Notice>, Target) {
    let (queue, notices) = crossbeam_channel::bounded(capacity.max(1));
    let (running, ended) = crossbeam_channel::bounded(0);
    (running, notices, Target { queue, ended })
}

/// The reader's queue, as the thread that fills it sees it.
#[derive(Debug)]
pub(crate) struct Target {
    queue: Sender<Notice>,
    ended: Receiver<Infallible>,
}

impl Target {
    /// Waits for room in the queue, unless the subscription ends; `false` when it has.
    pub(crate) fn hand_over(&self, notice: Notice) -> bool {
        match self.queue.try_send(notice) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(notice)) => crossbeam_channel::select! {
                send(self.queue, notice) -> sent => sent.is_ok(),
                recv(self.ended) -> _ => false,
            },
        }
    }
}

/// Takes what a follower learns, on the follower's thread.
pub(crate) trait Sink: Send + 'static {
    /// A heartbeat was heard; the notices that it gave were taken before, and the message comes next if it is wanted.
    fn heard(&mut self, _tracker: &Tracker) {}

    /// Takes a notice and says whether more is wanted.
    fn take(&mut self, notice: Notice, tracker: &Tracker) -> bool;
}

impl<F: FnMut(Notice) -> bool + Send + 'static> Sink for F {
    fn take(&mut self, notice: Notice, _: &Tracker) -> bool {
        self(notice)
    }
}

/// All that a follower's thread is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) context: Context,
    pub(crate) endpoint: Endpoint,
    pub(crate) options: SocketOptions,
    /// Empty is all.
    pub(crate) topics: Vec<Topic>,
    pub(crate) patience: Patience,
}

/// A thread that owns a SUB socket and hands on what it learns; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    malformed: Arc<AtomicU64>,
}

impl Follower {
    /// `sink` takes each notice on the follower's thread.
    pub(crate) fn start(plan: Plan, sink: impl Sink) -> Result<Self, RpcError> {
        let socket = plan.context.socket(SocketKind::Sub, &plan.options)?;
        socket.monitor_sessions()?;
        if plan.topics.is_empty() {
            socket.subscribe(b"")?;
        } else {
            for topic in &plan.topics {
                socket.subscribe(&topic.to_bytes())?;
            }
            socket.subscribe(&Topic::HEARTBEAT.to_bytes())?;
        }
        socket.connect(&plan.endpoint)?;
        let (waker, wake) = wake_pair()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let malformed = Arc::new(AtomicU64::new(0));
        let run = Run {
            socket,
            wake,
            stopping: Arc::clone(&stopping),
            malformed: Arc::clone(&malformed),
            handshakes: Handshakes::new(&plan.options),
            refused: false,
            connected: false,
            retry_at: None,
            endpoint: plan.endpoint,
            tracker: Tracker::new(&plan.topics, plan.patience),
            notices: Vec::new(),
            sink,
        };
        let name = "acqbus-subscriber";
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run.run())
            .map_err(|source| RpcError::Thread { name, source })?;
        Ok(Self {
            stopping,
            waker,
            thread: Some(thread),
            malformed,
        })
    }
}

impl Follower {
    /// Whether its thread is gone: after an error of its socket, or because its sink wanted no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("a subscriber's thread panicked; this is a defect of acqbus");
        }
    }
}

struct Run<S> {
    socket: Socket,
    wake: WakeReceiver,
    stopping: Arc<AtomicBool>,
    malformed: Arc<AtomicU64>,
    endpoint: Endpoint,
    handshakes: Handshakes,
    refused: bool,
    /// Whether the monitor has told of a connection that stands.
    connected: bool,
    /// When to connect anew after a refusal, after which libzmq no longer tries.
    retry_at: Option<Instant>,
    tracker: Tracker,
    notices: Vec<Notice>,
    sink: S,
}

impl<S: Sink> Run<S> {
    fn run(mut self) {
        if let Err(error) = self.follow() {
            log::error!("a subscription ended: {error}");
        }
    }

    fn follow(&mut self) -> Result<(), RpcError> {
        let mut topic = Frame::new();
        let mut body = Frame::new();
        loop {
            let mut batch = 0;
            let begun = Instant::now();
            while batch < BATCH && self.socket.try_recv_into(&mut topic)? {
                batch += 1;
                // The first message of a connection never comes before the word of it.
                if !self.connected && !self.watch_connection()? {
                    return Ok(());
                }
                let whole = self.socket.more() && self.socket.recv_into(&mut body)?;
                if !whole || self.socket.more() {
                    self.socket.skip_rest()?;
                    self.malformed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                if !self.take(&topic, &body) {
                    return Ok(());
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            // What a slow reader has not taken yet may hold heartbeats, here and on the way.
            let now = Instant::now();
            if batch == BATCH || now.saturating_duration_since(begun) >= LATE {
                self.tracker.was_behind(now);
            }
            if !self.watch_connection()? {
                return Ok(());
            }
            if batch < BATCH {
                self.block()?;
            }
        }
    }

    fn take(&mut self, topic: &[u8], body: &[u8]) -> bool {
        let Ok(message) = Message::decode(topic, body) else {
            self.malformed.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        self.tracker
            .handle(Instant::now(), &message, &mut self.notices);
        if message.topic == Topic::HEARTBEAT && self.tracker.is_alive() {
            if !self.hand_on() {
                return false;
            }
            self.sink.heard(&self.tracker);
        }
        if self.tracker.wants(message.topic) {
            self.notices.push(Notice::Message(message));
        }
        self.hand_on()
    }

    fn watch_connection(&mut self) -> Result<bool, RpcError> {
        for event in self.socket.monitor_sessions()?.events()? {
            match event {
                MonitorEvent::HandshakeSucceeded => {
                    log::info!("connected to {}", self.endpoint);
                    self.handshakes.succeeded();
                    self.connected = true;
                    self.refused = false;
                    self.retry_at = None;
                    // A service that was heard already is linked.
                    if !self.tracker.is_alive() {
                        self.notices.push(Notice::Linked);
                    }
                }
                MonitorEvent::HandshakeFailed(failure) => {
                    self.retry_at = Some(Instant::now() + REFUSAL_PAUSE);
                    let reason = self.handshakes.failed(failure);
                    self.tell_refusal(reason);
                }
                MonitorEvent::Disconnected => {
                    log::info!("disconnected from {}", self.endpoint);
                    self.connected = false;
                    self.tracker.disconnected(&mut self.notices);
                    let reason = self.handshakes.disconnected();
                    if reason.is_some() {
                        self.retry_at = Some(Instant::now() + REFUSAL_PAUSE);
                    }
                    self.tell_refusal(reason);
                }
                _ => {}
            }
        }
        self.connect_anew()?;
        self.tracker
            .handle_deadline(Instant::now(), &mut self.notices);
        Ok(self.hand_on())
    }

    /// It is tried again and again, and told once.
    fn tell_refusal(&mut self, reason: Option<String>) {
        if let Some(reason) = reason.filter(|_| !self.refused) {
            self.refused = true;
            self.notices.push(Notice::Refused { reason });
        }
    }

    fn connect_anew(&mut self) -> Result<(), RpcError> {
        if self.retry_at.is_some_and(|at| Instant::now() >= at) {
            self.retry_at = None;
            // libzmq may have forgotten the endpoint by itself.
            let _ = self.socket.disconnect(&self.endpoint);
            self.socket.connect(&self.endpoint)?;
        }
        Ok(())
    }

    fn hand_on(&mut self) -> bool {
        let (sink, tracker) = (&mut self.sink, &self.tracker);
        self.notices
            .drain(..)
            .all(|notice| sink.take(notice, tracker))
    }

    fn block(&mut self) -> Result<(), RpcError> {
        let monitor = self.socket.monitor_sessions()?.socket();
        let deadlines = [self.tracker.next_deadline(), self.retry_at];
        let deadline = deadlines.into_iter().flatten().min();
        let ready = zsocket::wait(&[&self.socket, monitor], Some(&self.wake), deadline)?;
        if ready.woken() {
            self.wake.drain();
        }
        Ok(())
    }
}

/// Time between two attempts at a service that refuses this client.
const REFUSAL_PAUSE: Duration = Duration::from_secs(2);

/// A batch that takes so long was held up by its reader.
const LATE: Duration = Duration::from_millis(20);

/// Messages taken between two looks at the connection and at the stop.
const BATCH: usize = 64;
