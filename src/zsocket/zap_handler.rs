//! The thread that answers libzmq when it asks who may connect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wake::{WakeReceiver, Waker};
use crate::zsocket::context::Context;
use crate::zsocket::endpoint::Endpoint;
use crate::zsocket::error::ZsocketError;
use crate::zsocket::options::SocketOptions;
use crate::zsocket::socket::{Multipart, Socket, SocketKind};
use crate::zsocket::wait::{wait, wake_pair};
use crate::zsocket::zap::{Authenticate, Refusal, ZapReply, ZapRequest, decide};

/// Decides who may connect to the CURVE servers of one context, on the thread `acqbus-zap`.
///
/// `Drop` stops and joins the thread.
///
/// Start it before a server socket binds. While none runs, such sockets refuse everybody.
pub struct ZapHandler {
    waker: Waker,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl ZapHandler {
    /// Starts answering for this context; from the return on, every new connection is decided.
    ///
    /// # Errors
    /// [`ZsocketError::AddressInUse`] if the context has a handler already, [`ZsocketError::Other`]
    /// without a thread.
    pub fn start(
        context: &Context,
        authenticator: impl Authenticate,
    ) -> Result<Self, ZsocketError> {
        let options = SocketOptions::default().linger(Some(Duration::ZERO));
        let socket = context.socket(SocketKind::Rep, &options)?;
        socket.bind(&Endpoint::inproc(ZAP_NAME)?)?;
        let (waker, receiver) = wake_pair()?;
        let counters = Arc::new(Counters::default());
        let state = Handler {
            socket,
            receiver,
            authenticator: Box::new(authenticator),
            counters: Arc::clone(&counters),
            lines: LineLimit::default(),
        };
        let thread = thread::Builder::new()
            .name("acqbus-zap".to_owned())
            .spawn(move || state.run())
            .map_err(|source| ZsocketError::Other {
                operation: "starting the thread acqbus-zap",
                source,
            })?;
        Ok(Self {
            waker,
            counters,
            thread: Some(thread),
        })
    }

    /// How many connections were let in and refused since the start.
    #[must_use]
    pub fn stats(&self) -> ZapStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ZapStats {
            accepted: read(&self.counters.accepted),
            unknown_key: read(&self.counters.unknown_key),
            revoked_key: read(&self.counters.revoked_key),
            mechanism: read(&self.counters.mechanism),
            malformed: read(&self.counters.malformed),
        }
    }
}

impl Drop for ZapHandler {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It panics only if the authenticator did, who has said so by then.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ZapHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZapHandler")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Counts of decided connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZapStats {
    /// Let in.
    pub accepted: u64,
    /// Refused: nobody has the key.
    pub unknown_key: u64,
    /// Refused: the key was revoked.
    pub revoked_key: u64,
    /// Refused: not CURVE.
    pub mechanism: u64,
    /// Refused: not a request.
    pub malformed: u64,
}

impl ZapStats {
    /// All refused connections.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.unknown_key + self.revoked_key + self.mechanism + self.malformed
    }
}

#[derive(Default)]
struct Counters {
    stop: std::sync::atomic::AtomicBool,
    accepted: AtomicU64,
    unknown_key: AtomicU64,
    revoked_key: AtomicU64,
    mechanism: AtomicU64,
    malformed: AtomicU64,
}

struct Handler {
    socket: Socket,
    receiver: WakeReceiver,
    authenticator: Box<dyn Authenticate>,
    counters: Arc<Counters>,
    lines: LineLimit,
}

impl Handler {
    fn run(mut self) {
        if let Err(error) = self.serve()
            && !error.is_terminated()
        {
            log::error!("the authenticator stops, nobody can connect any more: {error}");
        }
    }

    fn serve(&mut self) -> Result<(), ZsocketError> {
        while !self.counters.stop.load(Ordering::Acquire) {
            let ready = wait(&[&self.socket], Some(&self.receiver), None)?;
            if ready.woken() {
                self.receiver.drain();
                continue;
            }
            if let Some(message) = self.socket.try_recv_message(MAX_FRAMES)? {
                self.answer(&message)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, message: &Multipart) -> Result<(), ZsocketError> {
        let frames: Vec<&[u8]> = message.frames.iter().map(|frame| &frame[..]).collect();
        let (address, reply) = match ZapRequest::parse(&frames) {
            Ok(request) => (request.address, decide(&request, &*self.authenticator)),
            Err(reply) => ("?", reply),
        };
        self.note(address, &reply);
        let reply = reply.frames();
        for (index, frame) in reply.iter().enumerate() {
            self.socket.send_bytes(frame, index + 1 < reply.len())?;
        }
        Ok(())
    }

    fn note(&mut self, address: &str, reply: &ZapReply) {
        let refusal = match reply.outcome() {
            Ok(name) => {
                self.counters.accepted.fetch_add(1, Ordering::Relaxed);
                log::info!("{name} connected from {address}");
                return;
            }
            Err(refusal) => refusal,
        };
        let counter = match refusal {
            Refusal::UnknownKey => &self.counters.unknown_key,
            Refusal::RevokedKey => &self.counters.revoked_key,
            Refusal::Mechanism => &self.counters.mechanism,
            Refusal::Malformed => &self.counters.malformed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        match self.lines.allow(Instant::now()) {
            Some(0) => log::warn!("connection from {address} refused: {refusal}"),
            Some(left_out) => log::warn!(
                "connection from {address} refused: {refusal}; {left_out} more refused since the last line"
            ),
            None => {}
        }
    }
}

/// Lets a few lines a second into the log, so that strangers cannot fill the disk.
#[derive(Debug, Default)]
pub(crate) struct LineLimit {
    window: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LineLimit {
    /// How many lines were left out before this one, or `None` to leave out this one too.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<u64> {
        let fresh = self
            .window
            .is_none_or(|start| now.saturating_duration_since(start) >= WINDOW);
        if fresh {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines < LINES_PER_WINDOW {
            self.lines += 1;
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

/// Where libzmq looks for the handler of a context. Source: RFC 27.
const ZAP_NAME: &str = "zeromq.zap.01";
/// Six fields and the most credentials that a request may have, and one to notice more.
const MAX_FRAMES: usize = 16;
const WINDOW: Duration = Duration::from_secs(1);
const LINES_PER_WINDOW: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_beyond_ten_a_second_are_counted_and_told_later() {
        let mut limit = LineLimit::default();
        let start = Instant::now();
        let shown = (0..1000).filter(|_| limit.allow(start).is_some()).count();
        assert_eq!(shown, 10);
        assert_eq!(limit.allow(start + WINDOW), Some(990));
        assert_eq!(limit.allow(start + WINDOW), Some(0));
    }
}
