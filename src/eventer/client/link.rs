//! What the threads of a client share: the connection, and who waits for what on it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard};
use zeroize::Zeroize;

use crate::event::Status;
use crate::eventer::EventerError;
use crate::eventer::chatter::{Chatter, ChatterOptions, Conversation, LONG};
use crate::eventer::message::Message;
use crate::wake::Waker;

use super::options::ClientOptions;
use super::wire::Wire;

/// What the threads that ask share with the one that reads.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: ClientOptions,
    pub(super) waker: Waker,
    link: Mutex<Link>,
    /// The connection stands, has ended, or has room again.
    changed: Condvar,
}

/// The connection, as of now.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) status: Status,
    pub(super) state: State,
    /// The owner has closed the client.
    pub(super) closed: bool,
    /// What ended the last connection.
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) enum State {
    /// There is no connection; there may be one later.
    Down,
    Up(Box<Up>),
    /// There will be no other connection.
    Ended,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) chatter: Chatter,
    pub(super) wire: Wire,
    pub(super) waiting: HashMap<i64, Waiter>,
    /// The server has let the client in.
    pub(super) open: bool,
    /// Why it is of no more use, where somebody who wrote has noticed.
    pub(super) broken: Option<io::Error>,
    /// What is to be encrypted.
    pub(super) plain: Vec<u8>,
    /// Which connection of the client it is.
    number: u64,
    stream: Arc<TcpStream>,
    out: Vec<u8>,
    written: usize,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A caller, for an answer of this type.
    Caller {
        kind: &'static str,
        /// The answer, or what has ended the connection before it.
        answer: Sender<Result<Message, String>>,
    },
    /// The reading of history behind a new connection.
    Resume,
}

impl Shared {
    pub(super) fn new(options: ClientOptions, waker: Waker) -> Self {
        Self {
            options,
            waker,
            link: Mutex::new(Link {
                status: Status::Standby,
                state: State::Down,
                closed: false,
                reason: "it is not made yet".to_owned(),
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock()
    }

    /// Tells those who wait for the connection that it is not what it was.
    pub(super) fn tell_change(&self) {
        self.changed.notify_all();
    }

    /// Ends the client: nothing is asked any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.tell_change();
        self.waker.wake();
    }

    /// Whether a request would have a connection now.
    pub(super) fn check(&self) -> Result<(), EventerError> {
        let link = self.lock();
        match &link.state {
            State::Up(up) if up.open && !link.closed => Ok(()),
            _ => Err(self.gone(&link)),
        }
    }

    /// Sends a request and waits for its answer, which has to be of this type.
    pub(super) fn ask(
        &self,
        request: &Message,
        kind: &'static str,
    ) -> Result<Message, EventerError> {
        let deadline = after(self.options.timeout);
        let (answer, answered) = bounded(1);
        let waiter = Waiter::Caller { kind, answer };
        let (number, first) = self.send(request, Some(waiter), deadline)?;
        match answered.recv_deadline(deadline) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(self.disconnected(reason)),
            Err(error) if error.is_timeout() => {
                if let State::Up(up) = &mut self.lock().state
                    && up.number == number
                {
                    up.waiting.remove(&first);
                }
                Err(self.timed_out())
            }
            Err(_) => Err(self.gone(&self.lock())),
        }
    }

    /// Sends a request that is not answered.
    pub(super) fn tell(&self, request: &Message) -> Result<(), EventerError> {
        self.send(request, None, after(self.options.timeout))?;
        Ok(())
    }

    /// Gives the number of the connection, and that of the conversation on it.
    fn send(
        &self,
        request: &Message,
        waiter: Option<Waiter>,
        deadline: Instant,
    ) -> Result<(u64, i64), EventerError> {
        let mut data = Vec::new();
        request.encode(&mut data);
        let mut link = self.lock();
        loop {
            if link.closed {
                return Err(EventerError::Closed { what: CLIENT });
            }
            match &mut link.state {
                State::Up(up) if up.open && up.has_room() => {
                    let last = waiter.is_none();
                    let begun = up.begin(request.kind(), &data, last, waiter)?;
                    if up.is_stuck() {
                        self.waker.wake();
                    }
                    return Ok((up.number, begun.first));
                }
                State::Up(_) | State::Down => {}
                State::Ended => return Err(self.gone(&link)),
            }
            if self.changed.wait_until(&mut link, deadline).timed_out() {
                return Err(match link.state {
                    State::Up(_) => self.timed_out(),
                    State::Down | State::Ended => self.gone(&link),
                });
            }
        }
    }

    fn timed_out(&self) -> EventerError {
        EventerError::TimedOut {
            address: self.options.address.clone(),
            timeout: self.options.timeout,
        }
    }

    fn gone(&self, link: &Link) -> EventerError {
        if link.closed {
            return EventerError::Closed { what: CLIENT };
        }
        self.disconnected(link.reason.clone())
    }

    fn disconnected(&self, reason: String) -> EventerError {
        EventerError::Disconnected {
            address: self.options.address.clone(),
            reason,
        }
    }
}

impl Up {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        wire: Wire,
        options: &ClientOptions,
        number: u64,
    ) -> Self {
        let options = ChatterOptions::default()
            .ping_after(options.ping_after)
            .close_after_ping(options.close_after_ping)
            .max_frame(options.max_frame);
        Self {
            chatter: Chatter::new(options, Instant::now()),
            wire,
            waiting: HashMap::new(),
            open: false,
            broken: None,
            plain: Vec::new(),
            number,
            stream,
            out: Vec::new(),
            written: 0,
        }
    }

    /// Starts a conversation, and writes as much of it as the socket takes.
    pub(super) fn begin(
        &mut self,
        kind: &str,
        data: &[u8],
        last: bool,
        waiter: Option<Waiter>,
    ) -> Result<Conversation, EventerError> {
        let begun = self.chatter.begin(kind, data, last, &mut self.plain)?;
        if let Some(waiter) = waiter {
            self.waiting.insert(begun.first, waiter);
        }
        self.flush();
        Ok(begun)
    }

    /// Writes as much as the socket takes; an error is kept for the thread that reads.
    pub(super) fn flush(&mut self) {
        if self.broken.is_none()
            && let Err(error) = self.try_flush()
        {
            self.broken = Some(error);
        }
    }

    /// Whether the thread that reads has to go on with it.
    pub(super) fn is_stuck(&self) -> bool {
        self.written < self.out.len() || self.broken.is_some()
    }

    /// Whether another request may wait behind what the socket has not taken.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.written < OUT_LIMIT
    }

    /// Tells all who wait why there will be no answer.
    pub(super) fn abandon(&mut self, reason: &str) {
        for waiter in self.waiting.drain().map(|(_, waiter)| waiter) {
            if let Waiter::Caller { answer, .. } = waiter {
                // Whoever asked may not wait any more.
                let _ = answer.send(Err(reason.to_owned()));
            }
        }
    }

    /// Writes what ends the connection, where TLS has something for that.
    pub(super) fn finish(&mut self) {
        if let Err(error) = self.wire.finish(&mut self.out) {
            self.broken = Some(error);
        }
        self.flush();
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.wire.outgoing(&mut self.plain, &mut self.out)?;
        while self.written < self.out.len() {
            match (&*self.stream).write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if !self.open {
            // The greeting has a token in it.
            self.out.zeroize();
            self.plain.zeroize();
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.plain.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(())
    }
}

/// So long from now, or far away.
pub(super) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(LONG)
}

pub(super) const CLIENT: &str = "eventer client";

/// What may wait for the socket before requests wait for it.
const OUT_LIMIT: usize = 1 << 20;

/// Room that is kept for the next bytes.
const KEPT_BYTES: usize = 64 * 1024;
