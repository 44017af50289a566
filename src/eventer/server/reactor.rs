//! A thread that serves many connections.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::eventer::server::connection::{Connection, Limits};
use crate::eventer::server::desk::Stalled;
use crate::eventer::server::hub::Hub;
use crate::eventer::server::info::{add, count};
use crate::eventer::server::leave::{Complaints, Leave};
use crate::eventer::server::mailbox::{Address, Mail, Mailbox};
use crate::eventer::server::queries::Job;
use crate::eventer::server::slots::Slots;
use crate::eventer::server::stream::Stream;

/// Serves many connections; the first one also lets them in.
pub(super) struct Reactor {
    poll: Poll,
    pub(super) index: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) queries: Sender<Job>,
    listener: Option<Door>,
    limits: Limits,
    pub(super) slots: Slots,
    /// Connections that something has happened to.
    marked: Vec<usize>,
    pub(super) stalled: Stalled,
    complaints: Complaints,
    buffer: Box<[u8]>,
    pub(super) now: Instant,
    /// When it ends at the latest, once it stops.
    stopping: Option<Instant>,
}

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    is_ready: bool,
    /// Until then nobody is let in, for want of descriptors.
    pause: Option<Instant>,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            is_ready: true,
            pause: None,
        }
    }
}

impl Reactor {
    pub(super) fn new(
        poll: Poll,
        index: usize,
        hub: Arc<Hub>,
        queries: Sender<Job>,
        listener: Option<Door>,
    ) -> io::Result<Self> {
        let mut listener = listener;
        if let Some(door) = &mut listener {
            poll.registry()
                .register(&mut door.listener, DOOR, Interest::READABLE)?;
        }
        let mailbox = Arc::clone(&hub.mailboxes[index]);
        Ok(Self {
            poll,
            index,
            mailbox,
            queries,
            listener,
            limits: hub.options.limits(),
            slots: Slots::default(),
            marked: Vec::new(),
            stalled: Stalled::default(),
            complaints: Complaints::default(),
            buffer: vec![0; READ_BYTES].into(),
            now: Instant::now(),
            stopping: None,
            hub,
        })
    }

    /// Serves until the server stops.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut mail = Vec::new();
        while !self.is_over() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("the eventer server ends, it cannot wait any more: {error}");
                    break;
                }
                Ok(()) => {}
            }
            self.now = Instant::now();
            for event in &events {
                match event.token() {
                    WAKE => {}
                    DOOR => {
                        if let Some(door) = &mut self.listener {
                            door.is_ready = true;
                        }
                    }
                    Token(token) => {
                        let Some(slot) = self.slots.at(token - SLOTS) else {
                            continue;
                        };
                        let has_failed = event.is_error();
                        slot.is_readable |= event.is_readable() || has_failed;
                        slot.is_read_closed |= event.is_read_closed() || has_failed;
                        slot.is_writable |= event.is_writable() || has_failed;
                        self.mark(token - SLOTS);
                    }
                }
            }
            self.let_in();
            self.mailbox.take(&mut mail);
            for mail in mail.drain(..) {
                self.open(mail);
            }
            while let Some(place) = self.slots.take_due(self.now) {
                self.look_at_time(place);
            }
            for place in std::mem::take(&mut self.marked) {
                self.drive(place);
            }
        }
        for address in self.slots.addresses() {
            self.close(address.slot, Leave::Stopped);
        }
        self.mailbox.close();
    }

    /// Sees to it that something is done for a connection in this turn.
    pub(super) fn mark(&mut self, place: usize) {
        if let Some(slot) = self.slots.at(place)
            && !slot.is_marked
        {
            slot.is_marked = true;
            self.marked.push(place);
        }
    }

    /// Ends a connection and tells the log why; nothing more comes of it.
    pub(super) fn close(&mut self, place: usize, leave: Leave) {
        let Some(slot) = self.slots.at(place) else {
            return;
        };
        let Some(mut stream) = slot.stream.take() else {
            return;
        };
        // Its registrations that wait for room in the engine's queue go with it.
        slot.drop_held();
        slot.load.set_outgoing(0);
        let (name, number) = (slot.name(), slot.address.number);
        let is_known = slot.info.is_some();
        let counters = &self.hub.counters;
        // Before the peer sees the end.
        if leave.is_malformed() {
            count(&counters.malformed);
        } else if leave.is_slow() {
            count(&counters.slow);
        } else if matches!(leave, Leave::NoHello { .. } | Leave::Pushed) {
            count(&counters.silent);
        } else if matches!(leave, Leave::Refused { .. }) {
            count(&counters.unwelcome);
        }
        self.hub.remove(number);
        // Closing the socket does it too.
        let _ = self.poll.registry().deregister(&mut stream.socket);
        stream.close();
        self.complaints.tell(&name, is_known, &leave, self.now);
        self.say_goodbye(place);
    }

    /// Gives the place of a connection back.
    pub(super) fn vacate(&mut self, place: usize) {
        if self.slots.remove(place).is_some() {
            self.hub.counters.open.fetch_sub(1, Ordering::Relaxed);
            self.mailbox.vacate();
        }
    }

    fn is_over(&self) -> bool {
        self.stopping
            .is_some_and(|until| self.slots.len() == 0 || self.now >= until)
    }

    fn timeout(&self) -> Option<Duration> {
        let is_busy = !self.marked.is_empty()
            || (self.listener.as_ref()).is_some_and(|door| door.is_ready && door.pause.is_none());
        if is_busy {
            return Some(Duration::ZERO);
        }
        let pause = self.listener.as_ref().and_then(|door| door.pause);
        let deadlines = [pause, self.slots.next_deadline(), self.stopping];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Lets in who waits at the door, and deals connections out to the reactors.
    fn let_in(&mut self) {
        let Some(mut door) = self.listener.take() else {
            return;
        };
        if door.pause.is_some_and(|pause| self.now >= pause) {
            door.pause = None;
        }
        for _ in 0..NEWCOMERS {
            if !door.is_ready || door.pause.is_some() {
                break;
            }
            match door.listener.accept() {
                Ok((socket, peer)) => self.deal(socket, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => door.is_ready = false,
                // It has gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let leave = Leave::Socket(error);
                    let name = "a newcomer at the eventer's door";
                    self.complaints.tell(name, false, &leave, self.now);
                    // Out of descriptors, as a rule: one that does not say who it is makes room.
                    match self.slots.oldest_stranger() {
                        Some(stranger) => self.close(stranger.slot, Leave::Pushed),
                        None => door.pause = Some(self.now + BREATH),
                    }
                }
            }
        }
        self.listener = Some(door);
    }

    fn deal(&mut self, socket: TcpStream, peer: SocketAddr) {
        count(&self.hub.counters.connections);
        count(&self.hub.counters.open);
        let number = self.hub.next_number();
        // The one with the most room; with none anywhere in turn, as any of them may have a stranger to push out.
        let rooms = self.hub.mailboxes.iter().map(|mailbox| mailbox.room());
        let turn = number.unsigned_abs() as usize % self.hub.mailboxes.len();
        let roomiest = rooms.enumerate().filter(|(_, room)| *room > 0);
        let index = roomiest.max_by_key(|(_, room)| *room);
        let index = index.map_or(turn, |(index, _)| index);
        let mailbox = &self.hub.mailboxes[index];
        mailbox.occupy();
        if index == self.index {
            self.admit(socket, peer, number);
        } else {
            mailbox.push(Mail::Accepted(socket, peer, number));
        }
    }

    /// Takes a connection, if there is room for it.
    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr, number: i64) {
        let refuse = |reactor: &Self| {
            reactor.hub.counters.open.fetch_sub(1, Ordering::Relaxed);
            reactor.mailbox.vacate();
        };
        if self.stopping.is_some() {
            return refuse(self);
        }
        if self.slots.len() >= self.mailbox.share()
            && let Some(stranger) = self.slots.oldest_stranger()
        {
            self.close(stranger.slot, Leave::Pushed);
        }
        if self.slots.len() >= self.mailbox.share() {
            count(&self.hub.counters.refused);
            refuse(self);
            let leave = Leave::Full {
                limit: self.hub.options.max_connections,
            };
            let name = format!("an eventer client at {peer}");
            return self.complaints.tell(&name, false, &leave, self.now);
        }
        // Answers are written as a whole; there is nothing to wait for.
        let _ = socket.set_nodelay(true);
        let token = Token(self.slots.vacancy() + SLOTS);
        let both = Interest::READABLE | Interest::WRITABLE;
        let stream = match &self.hub.options.tls {
            None => Ok(None),
            Some(tls) => tls.connection().map(Some).map_err(io::Error::other),
        };
        let stream = stream.and_then(|tls| {
            self.poll.registry().register(&mut socket, token, both)?;
            Ok(Stream::new(socket, tls))
        });
        match stream {
            Ok(stream) => {
                let connection = Connection::new(self.limits, self.now);
                let address = self.slots.insert(number, peer, stream, connection);
                self.mark(address.slot);
            }
            Err(error) => {
                refuse(self);
                let name = format!("an eventer client at {peer}");
                self.complaints
                    .tell(&name, false, &Leave::Socket(error), self.now);
            }
        }
    }

    fn open(&mut self, mail: Mail) {
        match mail {
            Mail::Accepted(socket, peer, number) => self.admit(socket, peer, number),
            Mail::Notify {
                to,
                kind,
                data,
                ack,
            } => {
                let Some(slot) = self.slots.of(to) else {
                    return;
                };
                slot.load.delivered(data.len());
                let notified = slot.connection.notify(kind, &data, ack);
                slot.load.set_outgoing(slot.connection.out.len());
                self.settle(to, notified);
            }
            Mail::Connected(to, result) => self.connected(to, result),
            Mail::Registered(to, result) => {
                if let Ok(events) = &result {
                    add(&self.hub.counters.events, events.len());
                }
                if let Some(slot) = self.slots.of(to) {
                    let settled = slot.connection.registered(result);
                    self.settle(to, settled);
                }
            }
            Mail::Queried(to, result) => {
                if let Some(slot) = self.slots.of(to) {
                    let settled = result.and_then(|data| slot.connection.queried(&data));
                    self.settle(to, settled);
                }
            }
            Mail::Overflow(to) => {
                let limit = self.hub.options.send_queue;
                if self.slots.of(to).is_some() {
                    self.close(to.slot, Leave::Overflow { limit });
                }
            }
            Mail::Room => self.use_room(),
            Mail::Stop => self.stop(),
        }
    }

    /// Goes on with a connection, or ends it.
    pub(super) fn settle(&mut self, address: Address, result: Result<(), Leave>) {
        match result {
            Ok(()) => self.mark(address.slot),
            Err(leave) => self.close(address.slot, leave),
        }
    }

    fn look_at_time(&mut self, place: usize) {
        let Some(slot) = self.slots.at(place) else {
            return;
        };
        if slot.stream.is_none() {
            return;
        }
        let address = slot.address;
        // While much waited for it, it may have said something that was not read: it is not silent.
        let looked = self.read(place).and_then(|_| {
            let slot = self.slots.at(place);
            slot.map_or(Ok(()), |slot| slot.connection.tick(self.now))
        });
        self.settle(address, looked);
    }

    /// Reads, does and writes for a connection what can be done now, as far as one turn goes.
    fn drive(&mut self, place: usize) {
        let Some(slot) = self.slots.at(place) else {
            return;
        };
        slot.is_marked = false;
        if slot.stream.is_none() {
            return;
        }
        match self.work(place) {
            Ok(true) => self.mark(place),
            Ok(false) => {}
            Err(leave) => return self.close(place, leave),
        }
        self.slots.arm(place);
    }

    /// Whether there is more to do in the next turn.
    fn work(&mut self, place: usize) -> Result<bool, Leave> {
        let mut has_more = self.read(place)?;
        has_more |= self.do_steps(place)?;
        let Some(slot) = self.slots.at(place) else {
            return Ok(false);
        };
        let was_congested = slot.connection.is_congested();
        self.write(place)?;
        let Some(slot) = self.slots.at(place) else {
            return Ok(false);
        };
        // What was written may have made room for the next step, which may make room for more to be read.
        let has_room = was_congested && !slot.connection.is_congested()
            || slot.is_readable && slot.connection.wants_read();
        if has_more || has_room {
            return Ok(true);
        }
        if let Some(end) = slot.connection.take_end() {
            return Err(end);
        }
        Ok(false)
    }

    /// Whether more may be there to be read.
    fn read(&mut self, place: usize) -> Result<bool, Leave> {
        let Some(slot) = self.slots.at(place) else {
            return Ok(false);
        };
        let Some(stream) = &mut slot.stream else {
            return Ok(false);
        };
        let mut read = 0;
        while slot.is_readable && slot.connection.wants_read() {
            if read >= TURN_BYTES {
                return Ok(true);
            }
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    slot.is_readable = false;
                    slot.connection.end(Leave::Gone);
                }
                Ok(bytes) => {
                    read += bytes;
                    if bytes < self.buffer.len() && stream.is_plain() && !slot.is_read_closed {
                        slot.is_readable = false;
                    }
                    slot.connection.receive(&self.buffer[..bytes], self.now)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => slot.is_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => {
                    slot.is_readable = false;
                    slot.connection.end(Leave::Gone);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Whether more steps may be due.
    fn do_steps(&mut self, place: usize) -> Result<bool, Leave> {
        for _ in 0..TURN_STEPS {
            let Some(slot) = self.slots.at(place) else {
                return Ok(false);
            };
            if slot.held.is_some() {
                return Ok(false);
            }
            let Some(step) = slot.connection.next_step()? else {
                return Ok(false);
            };
            let address = slot.address;
            self.take_step(address, step)?;
        }
        Ok(true)
    }

    fn write(&mut self, place: usize) -> Result<(), Leave> {
        let Some(slot) = self.slots.at(place) else {
            return Ok(());
        };
        let Some(stream) = &mut slot.stream else {
            return Ok(());
        };
        let out = &mut slot.connection.out;
        if out.is_deaf() {
            out.give_up();
            return Ok(());
        }
        while slot.is_writable && (!out.is_empty() || stream.is_unflushed()) {
            let written = if out.is_empty() {
                stream.flush().map(|()| 0)
            } else {
                stream.write(out.unwritten())
            };
            match written {
                Ok(bytes) => out.wrote(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    slot.is_writable = false;
                    if !out.is_empty() {
                        out.stall(self.now);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => {
                    // What it sent before is still to be read, and the end behind that.
                    out.give_up();
                    slot.is_readable = true;
                    slot.is_read_closed = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        slot.load.set_outgoing(out.len());
        Ok(())
    }

    fn stop(&mut self) {
        self.listener = None;
        self.stopping = Some(self.now + GRACE);
        for address in self.slots.addresses() {
            if let Some(slot) = self.slots.of(address) {
                slot.drop_held();
                if slot.connection.is_stranger() {
                    self.close(address.slot, Leave::Stopped);
                } else {
                    slot.connection.cut_short(Leave::Stopped);
                    self.mark(address.slot);
                }
            }
        }
    }
}

/// Whether the peer has ended the connection, in one way or another.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Wakes the reactor for its mail.
pub(super) const WAKE: Token = Token(0);

const DOOR: Token = Token(1);

/// The token of the first connection.
const SLOTS: usize = 2;

const EVENTS: usize = 1024;

const READ_BYTES: usize = 64 * 1024;

/// What one connection may have of a turn, so that the others have theirs.
const TURN_BYTES: usize = 256 * 1024;
const TURN_STEPS: usize = 64;
const NEWCOMERS: usize = 64;

/// A pause at the door, for want of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// How long answers under way and words of farewell may take, once the server stops.
const GRACE: Duration = Duration::from_secs(1);
