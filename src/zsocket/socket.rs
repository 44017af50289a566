//! One socket: attach it, send, receive.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::zsocket::context::Context;
use crate::zsocket::endpoint::Endpoint;
use crate::zsocket::error::{KeyError, TrySendError, ZsocketError, millis};
use crate::zsocket::frame::Frame;
use crate::zsocket::monitor::{Monitor, Reported};
use crate::zsocket::options::{SocketOptions, SocketSecurity};
use crate::zsocket::raw::{Errno, RawSocket};

/// What a socket does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// Sends each message to every subscriber; drops it for one whose queue is full.
    Pub,
    /// Receives what it subscribed to.
    Sub,
    /// As `Pub`, and receives the subscriptions.
    Xpub,
    /// Sends a request, then receives its reply.
    Req,
    /// Receives a request, then sends its reply.
    Rep,
    /// Names its peers by a first frame.
    Router,
    /// A requester that need not wait.
    Dealer,
    /// Sends each message to one of its pullers.
    Push,
    /// Receives from all its pushers.
    Pull,
    /// One peer.
    Pair,
}

impl SocketKind {
    fn number(self) -> u32 {
        match self {
            Self::Pub => zmq_sys::ZMQ_PUB,
            Self::Sub => zmq_sys::ZMQ_SUB,
            Self::Xpub => zmq_sys::ZMQ_XPUB,
            Self::Req => zmq_sys::ZMQ_REQ,
            Self::Rep => zmq_sys::ZMQ_REP,
            Self::Router => zmq_sys::ZMQ_ROUTER,
            Self::Dealer => zmq_sys::ZMQ_DEALER,
            Self::Push => zmq_sys::ZMQ_PUSH,
            Self::Pull => zmq_sys::ZMQ_PULL,
            Self::Pair => zmq_sys::ZMQ_PAIR,
        }
    }
}

/// A ZeroMQ socket; owned by one thread at a time, closed by `Drop`.
///
/// ```
/// use acqbus::zsocket::{Context, Endpoint, Frame, SocketKind, SocketOptions};
///
/// let context = Context::new()?;
/// let pull = context.socket(SocketKind::Pull, &SocketOptions::default())?;
/// let endpoint = pull.bind(&Endpoint::tcp("127.0.0.1", 0)?)?;
/// let push = context.socket(SocketKind::Push, &SocketOptions::default())?;
/// push.connect(&endpoint)?;
/// push.send(Frame::from("one"), true)?;
/// push.send(Frame::from("two"), false)?;
///
/// let message = pull.recv_message(8)?.expect("no time-out is set");
/// assert_eq!(message.frames.len(), 2);
/// # Ok::<(), acqbus::zsocket::ZsocketError>(())
/// ```
pub struct Socket {
    // Dropped in this order: the socket before its monitor's other end, the context last.
    raw: RawSocket,
    monitor: OnceCell<Box<Monitor>>,
    more: Cell<bool>,
    /// The last look found nothing, and nothing has been done since that could have taken a signal.
    drained: Cell<bool>,
    kind: SocketKind,
    ipv6: bool,
    context: Context,
}

/// A received message.
#[derive(Debug, Default)]
pub struct Multipart {
    /// Its frames, up to the limit of the caller.
    pub frames: Vec<Frame>,
    /// How many more frames it had, which were read and dropped.
    pub dropped_frames: usize,
}

impl Context {
    /// Opens a socket with these options.
    ///
    /// # Errors
    /// [`ZsocketError::Unsupported`] or [`ZsocketError::Other`] for an option that this libzmq
    /// refuses, [`ZsocketError::TooManyOpenFiles`] beyond 1023 sockets,
    /// [`ZsocketError::Terminated`] after a shutdown.
    pub fn socket(
        &self,
        kind: SocketKind,
        options: &SocketOptions,
    ) -> Result<Socket, ZsocketError> {
        Socket::open(self, kind, options)
    }
}

impl Socket {
    pub(super) fn open(
        context: &Context,
        kind: SocketKind,
        options: &SocketOptions,
    ) -> Result<Self, ZsocketError> {
        let raw = context
            .raw()
            .socket(kind.number())
            .map_err(|errno| ZsocketError::from_errno("opening a socket", errno))?;
        apply(&raw, kind, options)
            .map_err(|errno| ZsocketError::from_errno("setting a socket option", errno))?;
        secure(&raw, &options.security)?;
        Ok(Self {
            raw,
            monitor: OnceCell::new(),
            more: Cell::new(false),
            drained: Cell::new(false),
            kind,
            ipv6: options.ipv6,
            context: context.clone(),
        })
    }

    /// Sets anew how long unsent messages are kept after the socket is closed; `None`: for ever.
    ///
    /// # Errors
    /// [`ZsocketError::Other`] where libzmq refuses.
    pub fn set_linger(&self, linger: Option<Duration>) -> Result<(), ZsocketError> {
        self.raw
            .set_linger(millis(linger))
            .map_err(|errno| ZsocketError::from_errno("setting a socket option", errno))
    }

    /// What the socket does with messages.
    #[must_use]
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// Listens; gives the real endpoint, with the port that port 0 became.
    ///
    /// Host names are not resolved here: bind takes an address, an interface name or `*`. A socket
    /// may bind several endpoints; after a failure it is as before.
    ///
    /// # Errors
    /// [`ZsocketError::AddressInUse`], [`ZsocketError::AddressNotAvailable`],
    /// [`ZsocketError::PermissionDenied`].
    pub fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, ZsocketError> {
        self.attach("bind", endpoint, |text| self.raw.bind(text))?;
        let real = self
            .raw
            .get_last_endpoint()
            .map_err(|error| ZsocketError::from_errno("reading the bound endpoint", error))?;
        real.unwrap_or_default().parse()
    }

    /// Connects in the background, and again whenever the connection is lost.
    ///
    /// Succeeds without a peer, and for a host name that nobody knows yet; [`Socket::monitor`]
    /// tells when there is a peer. A peer that is refused by the authenticator is not tried again
    /// (libzmq): it takes a new `connect`.
    ///
    /// # Errors
    /// [`ZsocketError::InvalidEndpoint`] for the wildcard `*`.
    pub fn connect(&self, endpoint: &Endpoint) -> Result<(), ZsocketError> {
        self.attach("connect", endpoint, |text| self.raw.connect(text))
    }

    /// Ends a connection that [`Socket::connect`] made; queued messages for it are dropped.
    ///
    /// # Errors
    /// [`ZsocketError::NotAttached`] if there is none.
    pub fn disconnect(&self, endpoint: &Endpoint) -> Result<(), ZsocketError> {
        self.attach("disconnect", endpoint, |text| self.raw.disconnect(text))
    }

    /// Stops listening on an endpoint that [`Socket::bind`] gave; accepted connections stay.
    ///
    /// # Errors
    /// [`ZsocketError::NotAttached`] if it does not listen there.
    pub fn unbind(&self, endpoint: &Endpoint) -> Result<(), ZsocketError> {
        self.attach("unbind", endpoint, |text| self.raw.unbind(text))
    }

    /// Adds a subscription: all messages whose first frame begins with these bytes.
    ///
    /// # Errors
    /// [`ZsocketError::Other`] if this is not a [`SocketKind::Sub`].
    pub fn subscribe(&self, prefix: &[u8]) -> Result<(), ZsocketError> {
        self.drained.set(false);
        retry(|| self.raw.set_subscribe(prefix))
            .map_err(|error| ZsocketError::from_errno("subscribe", error))
    }

    /// Removes one subscription of this prefix.
    ///
    /// # Errors
    /// [`ZsocketError::Other`] if this is not a [`SocketKind::Sub`].
    pub fn unsubscribe(&self, prefix: &[u8]) -> Result<(), ZsocketError> {
        self.drained.set(false);
        retry(|| self.raw.set_unsubscribe(prefix))
            .map_err(|error| ZsocketError::from_errno("unsubscribe", error))
    }

    /// Sends a frame, `more` of the same message to follow.
    ///
    /// Blocks up to the send time-out while the queue is full.
    ///
    /// PUB never blocks, and XPUB does with [`SocketOptions::xpub_nodrop`] only: they drop for the
    /// subscriber whose queue is full. After a failure the frame is gone and the message as if it
    /// had not begun.
    ///
    /// # Errors
    /// [`ZsocketError::TimedOut`], [`ZsocketError::Terminated`], [`ZsocketError::WrongState`],
    /// [`ZsocketError::HostUnreachable`].
    #[inline]
    pub fn send(&self, mut frame: Frame, more: bool) -> Result<(), ZsocketError> {
        self.drained.set(false);
        match self.raw.send(frame.message_mut(), send_flags(more)) {
            Ok(()) => Ok(()),
            Err(errno) => self.send_again(frame, send_flags(more), errno),
        }
    }

    /// As [`Socket::send`], and never blocks.
    ///
    /// # Errors
    /// [`TrySendError::Full`] with the frame, if it cannot be sent now; [`TrySendError::Failed`] as
    /// [`Socket::send`].
    #[inline]
    pub fn try_send(&self, mut frame: Frame, more: bool) -> Result<(), TrySendError> {
        self.drained.set(false);
        loop {
            match self
                .raw
                .send(frame.message_mut(), send_flags(more) | zmq::DONTWAIT)
            {
                Ok(()) => return Ok(()),
                Err(Errno(zmq_sys::errno::EINTR)) => {}
                Err(Errno(zmq_sys::errno::EAGAIN)) => return Err(TrySendError::Full(frame)),
                Err(errno) => return Err(ZsocketError::from_errno("send", errno).into()),
            }
        }
    }

    /// As [`Socket::send`], with a copy of the bytes.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_bytes(&self, bytes: &[u8], more: bool) -> Result<(), ZsocketError> {
        self.send(Frame::from_slice(bytes), more)
    }

    /// As [`Socket::try_send`], with a copy of the bytes.
    ///
    /// # Errors
    /// As [`Socket::try_send`].
    pub fn try_send_bytes(&self, bytes: &[u8], more: bool) -> Result<(), TrySendError> {
        self.try_send(Frame::from_slice(bytes), more)
    }

    /// Receives one frame in place of what `frame` held; false if none came in time.
    ///
    /// Blocks up to the receive time-out.
    ///
    /// [`Socket::more`] then tells whether the message goes on.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`], [`ZsocketError::WrongState`].
    #[inline]
    pub fn recv_into(&self, frame: &mut Frame) -> Result<bool, ZsocketError> {
        self.drained.set(false);
        match self.raw.recv(frame.message_mut(), 0) {
            Ok(()) => {
                self.more.set(frame.message().get_more());
                Ok(true)
            }
            Err(error) => self.recv_again(frame, error),
        }
    }

    /// As [`Socket::recv_into`], and never blocks: false if nothing is there.
    ///
    /// # Errors
    /// As [`Socket::recv_into`].
    #[inline]
    pub fn try_recv_into(&self, frame: &mut Frame) -> Result<bool, ZsocketError> {
        let received = retry(|| self.raw.recv(frame.message_mut(), zmq::DONTWAIT));
        self.drained
            .set(matches!(received, Err(zmq::Error::EAGAIN)));
        match received {
            Ok(()) => {
                self.more.set(frame.message().get_more());
                Ok(true)
            }
            Err(zmq::Error::EAGAIN) => Ok(false),
            Err(error) => Err(ZsocketError::from_errno("receive", error)),
        }
    }

    /// Whether the frame received last is followed by another of the same message.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more.get()
    }

    /// Receives a whole message; `None` if none came within the receive time-out.
    ///
    /// Reads all frames and keeps the first `limit_frames`; the others are counted. A message
    /// arrives whole or not at all, so this waits for its first frame only.
    ///
    /// # Errors
    /// As [`Socket::recv_into`].
    pub fn recv_message(&self, limit_frames: usize) -> Result<Option<Multipart>, ZsocketError> {
        let mut first = Frame::new();
        if !self.recv_into(&mut first)? {
            return Ok(None);
        }
        self.recv_rest(first, limit_frames).map(Some)
    }

    /// As [`Socket::recv_message`], and never blocks.
    ///
    /// # Errors
    /// As [`Socket::recv_into`].
    pub fn try_recv_message(&self, limit_frames: usize) -> Result<Option<Multipart>, ZsocketError> {
        let mut first = Frame::new();
        if !self.try_recv_into(&mut first)? {
            return Ok(None);
        }
        self.recv_rest(first, limit_frames).map(Some)
    }

    /// Reads and drops the frames that are left of the present message; gives their number.
    ///
    /// # Errors
    /// As [`Socket::recv_into`].
    pub fn skip_rest(&self) -> Result<usize, ZsocketError> {
        let mut count = 0;
        let mut frame = Frame::new();
        while self.more() && self.try_recv_into(&mut frame)? {
            count += 1;
        }
        Ok(count)
    }

    /// Changes how long a receive blocks; `None` = for ever.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn set_recv_timeout(&self, timeout: Option<Duration>) -> Result<(), ZsocketError> {
        self.raw
            .set_rcvtimeo(millis(timeout))
            .map_err(|error| ZsocketError::from_errno("setting the receive time-out", error))
    }

    /// Changes how long a send blocks; `None` = for ever.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn set_send_timeout(&self, timeout: Option<Duration>) -> Result<(), ZsocketError> {
        self.raw
            .set_sndtimeo(millis(timeout))
            .map_err(|error| ZsocketError::from_errno("setting the send time-out", error))
    }

    /// Whether a receive would give something now.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn readable(&self) -> Result<bool, ZsocketError> {
        Ok(self.events()?.contains(zmq::POLLIN))
    }

    /// Whether a send would be taken now, having a peer and room for a message.
    ///
    /// # Errors
    /// [`ZsocketError::Terminated`].
    pub fn writable(&self) -> Result<bool, ZsocketError> {
        Ok(self.events()?.contains(zmq::POLLOUT))
    }

    /// What happens to the socket's connections, from the first call of this on.
    ///
    /// The monitor lives as long as the socket.
    ///
    /// Call it before [`Socket::connect`] to miss nothing.
    ///
    /// # Errors
    /// [`ZsocketError::TooManyOpenFiles`], [`ZsocketError::Terminated`].
    pub fn monitor(&self) -> Result<&Monitor, ZsocketError> {
        self.monitor_of(Reported::All)
    }

    /// The same for handshakes and ends of connections only, unless [`Socket::monitor`] was called before.
    ///
    /// A socket that tries for days to reach nobody fills no monitor of this kind, read or not.
    ///
    /// # Errors
    /// As [`Socket::monitor`].
    pub fn monitor_sessions(&self) -> Result<&Monitor, ZsocketError> {
        self.monitor_of(Reported::Sessions)
    }

    /// The same for failed handshakes only, unless another monitor of this socket was opened before.
    ///
    /// For a socket that listens: peers that come and go leave nothing in it.
    ///
    /// # Errors
    /// As [`Socket::monitor`].
    pub fn monitor_failures(&self) -> Result<&Monitor, ZsocketError> {
        self.monitor_of(Reported::Failures)
    }

    /// The same for ends of connections and attempts to connect again, unless another monitor of this socket was opened before.
    ///
    /// For a socket that connects and must know when libzmq gives up: after a breach of the protocol no attempt follows the end.
    ///
    /// # Errors
    /// As [`Socket::monitor`].
    pub fn monitor_ends(&self) -> Result<&Monitor, ZsocketError> {
        self.monitor_of(Reported::Ends)
    }

    fn monitor_of(&self, reported: Reported) -> Result<&Monitor, ZsocketError> {
        if let Some(monitor) = self.monitor.get() {
            return Ok(monitor);
        }
        let monitor = Monitor::open(&self.context, &self.raw, reported)?;
        Ok(self.monitor.get_or_init(|| Box::new(monitor)))
    }

    /// Whether nothing is there to receive, so that what comes will show on the descriptor.
    ///
    /// A call that does not look for messages may take the signal of one that has arrived.
    pub(super) fn is_drained(&self) -> bool {
        self.drained.get()
    }

    /// The descriptor to block on; it belongs to the socket.
    pub(super) fn descriptor(&self) -> Result<BorrowedFd<'_>, ZsocketError> {
        let descriptor = self.raw.descriptor();
        descriptor.map_err(|errno| ZsocketError::from_errno("asking for the descriptor", errno))
    }

    fn events(&self) -> Result<zmq::PollEvents, ZsocketError> {
        let events = retry(|| self.raw.get_events())
            .map_err(|error| ZsocketError::from_errno("asking for events", error))?;
        self.drained.set(!events.contains(zmq::POLLIN));
        Ok(events)
    }

    fn attach(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        mut call: impl FnMut(&std::ffi::CStr) -> Result<(), Errno>,
    ) -> Result<(), ZsocketError> {
        self.drained.set(false);
        let text = endpoint.to_c_string();
        let widen = endpoint.is_ipv6() && !self.ipv6;
        if widen {
            // libzmq reads an IPv6 address only with this option, which would also make `*` mean
            // both families.
            self.raw
                .set_ipv6(true)
                .map_err(|error| ZsocketError::from_errno(operation, error))?;
        }
        let done = loop {
            match call(&text) {
                Err(Errno(zmq_sys::errno::EINTR)) => {}
                other => break other,
            }
        };
        if widen {
            self.raw
                .set_ipv6(false)
                .map_err(|error| ZsocketError::from_errno(operation, error))?;
        }
        done.map_err(|errno| ZsocketError::at(operation, endpoint, errno))
    }

    fn recv_rest(&self, first: Frame, limit_frames: usize) -> Result<Multipart, ZsocketError> {
        let mut message = Multipart::default();
        if limit_frames == 0 {
            message.dropped_frames = 1;
        } else {
            message.frames.push(first);
        }
        while self.more() && message.frames.len() < limit_frames {
            let mut frame = Frame::new();
            if !self.try_recv_into(&mut frame)? {
                break;
            }
            message.frames.push(frame);
        }
        message.dropped_frames += self.skip_rest()?;
        Ok(message)
    }

    /// Goes on after a failed send: waits out signals, without waiting longer than twice the
    /// time-out.
    #[cold]
    fn send_again(&self, mut frame: Frame, flags: i32, first: Errno) -> Result<(), ZsocketError> {
        const OPERATION: &str = "send";
        if first != Errno(zmq_sys::errno::EINTR) {
            return Err(ZsocketError::from_errno(OPERATION, first));
        }
        let limit = retry(|| self.raw.get_sndtimeo());
        let deadline =
            deadline_from(limit.map_err(|error| ZsocketError::from_errno(OPERATION, error))?);
        loop {
            match self.raw.send(frame.message_mut(), flags | zmq::DONTWAIT) {
                Ok(()) => return Ok(()),
                Err(Errno(zmq_sys::errno::EINTR)) => {}
                Err(Errno(zmq_sys::errno::EAGAIN)) => {
                    self.poll(OPERATION, zmq::POLLOUT, deadline)?
                }
                Err(errno) => return Err(ZsocketError::from_errno(OPERATION, errno)),
            }
        }
    }

    /// Goes on after a failed receive, as [`Socket::send_again`] does for a send.
    #[cold]
    fn recv_again(&self, frame: &mut Frame, first: zmq::Error) -> Result<bool, ZsocketError> {
        const OPERATION: &str = "receive";
        match first {
            zmq::Error::EAGAIN => return Ok(false),
            zmq::Error::EINTR => {}
            error => return Err(ZsocketError::from_errno(OPERATION, error)),
        }
        let limit = retry(|| self.raw.get_rcvtimeo());
        let deadline =
            deadline_from(limit.map_err(|error| ZsocketError::from_errno(OPERATION, error))?);
        loop {
            if self.try_recv_into(frame)? {
                return Ok(true);
            }
            match self.poll(OPERATION, zmq::POLLIN, deadline) {
                Err(error) if error.is_timeout() => return Ok(false),
                other => other?,
            }
        }
    }

    fn poll(
        &self,
        operation: &'static str,
        events: zmq::PollEvents,
        deadline: Option<Instant>,
    ) -> Result<(), ZsocketError> {
        self.drained.set(false);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.raw.poll(events, i64::from(millis(left))) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => {
                    return Err(ZsocketError::TimedOut { operation });
                }
                Ok(0) | Err(zmq::Error::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(ZsocketError::from_errno(operation, error)),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.monitor.get().is_some() {
            // Otherwise libzmq would block its I/O thread on events that nobody is left to receive.
            let _ = self.raw.stop_monitor();
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Calls again as long as signals interrupt.
#[inline]
pub(super) fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            other => return other,
        }
    }
}

fn apply(raw: &RawSocket, kind: SocketKind, options: &SocketOptions) -> Result<(), Errno> {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    raw.set_sndhwm(count(options.send_hwm))?;
    raw.set_rcvhwm(count(options.recv_hwm))?;
    raw.set_linger(millis(options.linger))?;
    raw.set_maxmsgsize(
        options
            .max_message_bytes
            .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    )?;
    raw.set_handshake_ivl(millis(Some(options.handshake_timeout)))?;
    raw.set_connect_timeout(options.connect_timeout.map_or(0, |time| millis(Some(time))))?;
    raw.set_reconnect_ivl(millis(Some(options.reconnect_interval)))?;
    raw.set_reconnect_ivl_max(
        options
            .reconnect_interval_max
            .map_or(0, |time| millis(Some(time))),
    )?;
    raw.set_tcp_keepalive(i32::from(options.tcp_keepalive))?;
    raw.set_ipv6(options.ipv6)?;
    raw.set_rcvtimeo(millis(options.recv_timeout))?;
    raw.set_sndtimeo(millis(options.send_timeout))?;
    if kind == SocketKind::Xpub {
        raw.set_xpub_verbose(options.xpub_verbose)?;
        raw.set_xpub_nodrop(options.xpub_nodrop)?;
    }
    if kind == SocketKind::Router {
        raw.set_router_mandatory(options.router_mandatory)?;
    }
    Ok(())
}

fn secure(raw: &RawSocket, security: &SocketSecurity) -> Result<(), ZsocketError> {
    let has_curve = || zmq::has("curve").unwrap_or(false);
    let set = |result: Result<(), Errno>| {
        result.map_err(|errno| ZsocketError::from_errno("setting the CURVE keys", errno))
    };
    match security {
        SocketSecurity::Null => Ok(()),
        _ if !has_curve() => Err(KeyError::NoCurve.into()),
        SocketSecurity::CurveServer { keys, zap_domain } => set((|| {
            raw.set_curve_server(true)?;
            raw.set_curve_secretkey(keys.secret().as_bytes())?;
            raw.set_zap_domain(zap_domain)?;
            raw.enforce_zap()
        })()),
        SocketSecurity::CurveClient { keys, server } => set((|| {
            raw.set_curve_publickey(keys.public().as_bytes())?;
            raw.set_curve_secretkey(keys.secret().as_bytes())?;
            raw.set_curve_serverkey(server.as_bytes())?;
            Ok(())
        })()),
    }
}

fn send_flags(more: bool) -> i32 {
    if more { zmq::SNDMORE } else { 0 }
}

fn deadline_from(limit_ms: i32) -> Option<Instant> {
    let limit = u64::try_from(limit_ms).ok()?;
    Instant::now().checked_add(Duration::from_millis(limit))
}
