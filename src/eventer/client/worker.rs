//! The thread of a client: connects, reads, hands on, connects again.

use std::io::{self, Read};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rustix::event::{PollFd, PollFlags};
use zeroize::Zeroizing;

use crate::event::{Event, QueryParams, QueryResult, Status};
use crate::eventer::chatter::Conversation;
use crate::eventer::message::{self, InitReq, Message};
use crate::eventer::{EventerError, Notice};
use crate::wake::{WakeReceiver, poll_until};

use super::backoff::Backoff;
use super::dial::{Address, Undone, dial};
use super::link::{Shared, State, Up, Waiter, after};
use super::outlet::Outlet;
use super::resume::Resume;
use super::wire::Wire;

pub(super) struct Worker {
    shared: Arc<Shared>,
    address: Address,
    woken: WakeReceiver,
    outlet: Outlet,
    resume: Resume,
    backoff: Backoff,
    buffer: Box<[u8]>,
    decrypted: Vec<u8>,
    /// How many there were.
    connections: u64,
    /// Who waits for the first connection.
    started: Option<Sender<Result<(), EventerError>>>,
    connection: Connection,
}

/// What is known of the present connection, or of none.
#[derive(Debug, Default)]
struct Connection {
    /// The greeting, until it is answered.
    hello: Option<Conversation>,
    /// The next answer has to be there by then.
    patience: Option<Instant>,
    /// When the ends of the histories are looked up again.
    look_up: Option<Instant>,
    /// The reader of the notices knows of it.
    told: bool,
    /// He knows of a refusal.
    refused: bool,
}

/// Why a connection is no more.
enum End {
    /// The owner has closed the client.
    Closed,
    Failed(EventerError),
}

/// What came, to be handed on once the link is free.
enum Heard {
    Open(Status),
    Status(Status),
    Events {
        events: Vec<Arc<Event>>,
        bytes: usize,
        acknowledge: Option<Conversation>,
    },
    History {
        result: QueryResult,
        bytes: usize,
    },
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        address: Address,
        woken: WakeReceiver,
        outlet: Outlet,
        started: Option<Sender<Result<(), EventerError>>>,
    ) -> Self {
        let options = &shared.options;
        let backoff = Backoff::new(options.backoff, options.max_backoff);
        let resume = Resume::new(options);
        Self {
            address,
            woken,
            outlet,
            resume,
            backoff,
            buffer: vec![0; READ_BYTES].into(),
            decrypted: Vec::new(),
            connections: 0,
            started,
            connection: Connection::default(),
            shared,
        }
    }

    /// The whole life of the thread.
    pub(super) fn run(mut self) {
        loop {
            let End::Failed(error) = self.connect() else {
                break;
            };
            if !self.goes_on_after(error) {
                break;
            }
        }
        let mut link = self.shared.lock();
        link.state = State::Ended;
        drop(link);
        self.shared.tell_change();
        self.hand_over();
    }

    /// Waits until the reader of the notices has room for all that came, or the owner closes the client.
    fn hand_over(&mut self) {
        while self.outlet.is_carrying() && !self.shared.lock().closed {
            let woken = PollFd::from_borrowed_fd(self.woken.descriptor(), PollFlags::IN);
            if poll_until(&mut [woken], None).is_err() {
                return;
            }
            self.woken.drain();
        }
    }

    /// Takes a connection down, and waits until the next one is to be made; `false` if there is to be none.
    fn goes_on_after(&mut self, error: EventerError) -> bool {
        let reason = reason(&error);
        {
            let mut link = self.shared.lock();
            link.reason.clone_from(&reason);
            if let State::Up(mut up) = mem::replace(&mut link.state, State::Down) {
                up.abandon(&reason);
            }
        }
        self.shared.tell_change();
        if let Some(started) = self.started.take() {
            // Whoever connects waits for it.
            let _ = started.send(Err(error));
            return false;
        }
        log::debug!("{}: {reason}", self.shared.options.address);
        if mem::take(&mut self.connection.told) {
            self.outlet.give(Notice::Disconnected { reason }, 0);
        }
        if let EventerError::Refused { text, .. } = error
            && !mem::replace(&mut self.connection.refused, true)
        {
            self.outlet.give(Notice::Refused { text }, 0);
        }
        self.shared.options.reconnect && self.pause()
    }

    /// Waits before the next attempt; `false` if the client was closed meanwhile.
    fn pause(&mut self) -> bool {
        let until = after(self.backoff.next(random()));
        loop {
            let mut items = [PollFd::from_borrowed_fd(
                self.woken.descriptor(),
                PollFlags::IN,
            )];
            let woken = poll_until(&mut items, Some(until));
            self.woken.drain();
            if self.shared.lock().closed {
                return false;
            }
            match woken {
                Ok(true) => {}
                // Without a way to wait the next attempt comes at once.
                Ok(false) | Err(_) => return true,
            }
        }
    }

    /// One connection, from its first attempt to its end.
    fn connect(&mut self) -> End {
        let options = &self.shared.options;
        let deadline = after(options.connect_timeout);
        let wire = match &options.tls {
            None => Wire::Plain,
            Some(tls) => match tls.connection(&self.address.host) {
                Ok(connection) => Wire::Tls(Box::new(connection)),
                Err(error) => return End::Failed(error),
            },
        };
        let stream = loop {
            match dial(&self.address, deadline, &self.woken) {
                Ok(stream) => break Arc::new(stream),
                Err(Undone::Failed(source)) => {
                    return End::Failed(EventerError::Connect {
                        address: options.address.clone(),
                        source,
                    });
                }
                Err(Undone::Woken) => {
                    self.woken.drain();
                    if self.shared.lock().closed {
                        return End::Closed;
                    }
                }
            }
        };
        self.connections += 1;
        let mut up = Up::new(Arc::clone(&stream), wire, options, self.connections);
        let hello = match greet(&mut up, options) {
            Ok(hello) => hello,
            Err(error) => return End::Failed(error),
        };
        self.connection.hello = Some(hello);
        self.connection.look_up = None;
        self.connection.patience = Some(deadline);
        self.shared.lock().state = State::Up(Box::new(up));
        let end = self.serve(&stream);
        if matches!(end, End::Closed) {
            self.leave(&stream);
        }
        end
    }

    /// Reads until the end of the connection.
    fn serve(&mut self, stream: &TcpStream) -> End {
        loop {
            let full = self.outlet.is_full();
            if full && self.connection.patience.is_some() {
                self.connection.patience = Some(after(self.shared.options.timeout));
            }
            if let Err(end) = self
                .wait(stream, full)
                .and_then(|()| if full { Ok(()) } else { self.read(stream) })
                .and_then(|()| self.tick(full))
                .and_then(|()| self.look_up(full))
            {
                return end;
            }
        }
    }

    /// Blocks until there is something to do.
    fn wait(&mut self, stream: &TcpStream, full: bool) -> Result<(), End> {
        let (silence, stuck) = match &self.shared.lock().state {
            State::Up(up) => (up.chatter.deadline(), up.is_stuck()),
            // Only this thread takes it down.
            State::Down | State::Ended => return Err(End::Closed),
        };
        // Who does not read cannot complain of silence.
        let deadline = if full { None } else { Some(silence) };
        let deadline = [deadline, self.connection.patience, self.connection.look_up]
            .into_iter()
            .flatten()
            .min();
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !full);
        flags.set(PollFlags::OUT, stuck);
        let woken = PollFd::from_borrowed_fd(self.woken.descriptor(), PollFlags::IN);
        let mut items = [woken, PollFd::from_borrowed_fd(stream.as_fd(), flags)];
        // A connection that is not asked about still tells when it breaks, for ever.
        let count = if flags.is_empty() { 1 } else { 2 };
        poll_until(&mut items[..count], deadline).map_err(|error| self.lost(&error))?;
        if !items[0].revents().is_empty() {
            self.woken.drain();
        }
        if self.shared.lock().closed {
            return Err(End::Closed);
        }
        match self.connection.patience {
            Some(patience) if patience <= Instant::now() => {
                Err(End::Failed(EventerError::TimedOut {
                    address: self.shared.options.address.clone(),
                    timeout: if self.connection.hello.is_some() {
                        self.shared.options.connect_timeout
                    } else {
                        self.shared.options.timeout
                    },
                }))
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, mut stream: &TcpStream) -> Result<(), End> {
        loop {
            match stream.read(&mut self.buffer) {
                Ok(0) => return Err(self.lost(&"the server closed the connection")),
                Ok(count) => {
                    self.take(count)?;
                    // What is left is told by the next wait.
                    if count < READ_BYTES || self.outlet.is_full() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// From time to time, the ends of the histories.
    fn look_up(&mut self, full: bool) -> Result<(), End> {
        match self.connection.look_up {
            Some(due) if due <= Instant::now() => {}
            _ => return Ok(()),
        }
        if full {
            // What was found before may not have come yet.
            self.connection.look_up = Some(after(LOOK_UP));
            return Ok(());
        }
        self.connection.look_up = None;
        match self.resume.look_up_ends() {
            Some(question) => self.go_on(Some(question), Vec::new(), 0),
            None => Ok(()),
        }
    }

    /// Keep-alive, and what could not be written before.
    fn tick(&self, full: bool) -> Result<(), End> {
        let mut link = self.shared.lock();
        let State::Up(up) = &mut link.state else {
            return Ok(());
        };
        let was_full = !up.has_room();
        if !full && let Err(error) = up.chatter.tick(Instant::now(), &mut up.plain) {
            return Err(self.lost(&error));
        }
        up.flush();
        if let Some(error) = up.broken.take() {
            return Err(self.lost(&error));
        }
        if was_full && up.has_room() {
            self.shared.tell_change();
        }
        Ok(())
    }

    /// Takes bytes of the buffer: whole messages are answered, told, or handed to who waits for them.
    fn take(&mut self, count: usize) -> Result<(), End> {
        let mut heard = Vec::new();
        let taken = {
            let mut link = self.shared.lock();
            let State::Up(up) = &mut link.state else {
                return Ok(());
            };
            self.decrypted.clear();
            let arrived = up
                .wire
                .incoming(&self.buffer[..count], &mut self.decrypted)
                .map_err(|source| EventerError::Tls {
                    reason: "the peer's part of it is refused".to_owned(),
                    source: Some(Box::new(source)),
                });
            up.chatter.receive(&self.decrypted, Instant::now());
            let hello = self.connection.hello;
            let taken = arrived.and_then(|()| take_messages(up, hello, &mut heard));
            up.flush();
            for heard in &heard {
                if let Heard::Open(status) | Heard::Status(status) = heard {
                    link.status = *status;
                }
            }
            taken
        };
        // What came before the fault still counts.
        for heard in heard {
            self.handle(heard)?;
        }
        taken.map_err(|error| match error {
            EventerError::Refused { text, .. } => End::Failed(EventerError::Refused {
                address: self.shared.options.address.clone(),
                text,
            }),
            error => End::Failed(error),
        })
    }

    fn handle(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Open(status) => {
                self.connection.hello = None;
                self.connection.told = true;
                self.connection.refused = false;
                self.shared.tell_change();
                self.outlet.give(Notice::Connected { status }, 0);
                let mut notices = Vec::new();
                let question = self.resume.connected(&mut notices);
                self.go_on(question, notices, 0)
            }
            Heard::Status(status) => {
                self.outlet.give(Notice::Status(status), 0);
                Ok(())
            }
            Heard::Events {
                events,
                bytes,
                acknowledge,
            } => {
                if let Some(notice) = self.resume.live(events, bytes) {
                    self.outlet.give(notice, bytes);
                }
                acknowledge.map_or(Ok(()), |conversation| self.acknowledge(conversation))
            }
            Heard::History { result, bytes } => {
                let mut notices = Vec::new();
                let question = self.resume.answered(result, &mut notices);
                self.go_on(question, notices, bytes)
            }
        }
    }

    /// Tells what history has brought, and asks on, or is live.
    fn go_on(
        &mut self,
        question: Option<QueryParams>,
        notices: Vec<Notice>,
        bytes: usize,
    ) -> Result<(), End> {
        for notice in notices {
            self.outlet.give(notice, bytes);
        }
        let Some(question) = question else {
            self.connection.patience = None;
            self.connection.look_up = Some(after(LOOK_UP));
            self.backoff.reset();
            if let Some(started) = self.started.take() {
                // Whoever connects waits for it.
                let _ = started.send(Ok(()));
            }
            return Ok(());
        };
        // A look-up in between may take as long as it wants.
        self.connection.patience =
            (!self.resume.is_live()).then(|| after(self.shared.options.timeout));
        let question = Message::QueryReq(question);
        let mut data = Vec::new();
        question.encode(&mut data);
        let mut link = self.shared.lock();
        let State::Up(up) = &mut link.state else {
            return Ok(());
        };
        up.begin(question.kind(), &data, false, Some(Waiter::Resume))
            .map(drop)
            .map_err(End::Failed)
    }

    fn acknowledge(&self, conversation: Conversation) -> Result<(), End> {
        let mut link = self.shared.lock();
        let State::Up(up) = &mut link.state else {
            return Ok(());
        };
        let out = &mut up.plain;
        up.chatter
            .reply(conversation, message::EVENTS_ACK, &[], true, out)
            .map_err(|error| End::Failed(error.into()))?;
        up.flush();
        Ok(())
    }

    /// Sends what was asked for, and waits a moment for the server to have read it: a close with unread bytes would take them away.
    fn leave(&mut self, mut stream: &TcpStream) {
        let deadline = Instant::now() + FAREWELL;
        let mut finished = false;
        loop {
            let stuck = {
                let mut link = self.shared.lock();
                let State::Up(up) = &mut link.state else {
                    return;
                };
                up.flush();
                if !up.is_stuck() && !mem::replace(&mut finished, true) {
                    up.finish();
                }
                if up.broken.is_some() || !up.open {
                    return;
                }
                up.is_stuck()
            };
            if finished && !stuck && stream.shutdown(Shutdown::Write).is_err() {
                return;
            }
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, stuck);
            let mut items = [PollFd::from_borrowed_fd(stream.as_fd(), flags)];
            if !matches!(poll_until(&mut items, Some(deadline)), Ok(true)) {
                return;
            }
            loop {
                match stream.read(&mut self.buffer) {
                    Ok(0) => return,
                    Ok(_) if Instant::now() < deadline => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => return,
                }
            }
        }
    }

    fn lost(&self, reason: &dyn std::fmt::Display) -> End {
        End::Failed(EventerError::Disconnected {
            address: self.shared.options.address.clone(),
            reason: reason.to_string(),
        })
    }
}

/// Sends who the client is and what it wants.
fn greet(up: &mut Up, options: &super::ClientOptions) -> Result<Conversation, EventerError> {
    let mut request = InitReq::new(options.name.as_str());
    request.client_token = options
        .token
        .as_ref()
        .map(|token| token.expose().to_owned());
    request.subscriptions = options.subscription.query_types();
    request.server_id = options.server_id;
    request.persisted = options.persisted;
    let mut data = Zeroizing::new(Vec::new());
    let request = Message::InitReq(request);
    request.encode(&mut data);
    up.begin(request.kind(), &data, false, None)
}

/// Takes all whole messages; answers go to who waits for them at once.
fn take_messages(
    up: &mut Up,
    mut hello: Option<Conversation>,
    heard: &mut Vec<Heard>,
) -> Result<(), EventerError> {
    while let Some(received) = up.chatter.next(&mut up.plain)? {
        let conversation = received.conversation;
        let bytes = received.data.len();
        let last = received.last;
        let is_answer = conversation.owner;
        let message = Message::decode(received.kind, received.data)?;
        if let Some(greeting) = hello {
            let Message::InitRes(answer) = message else {
                return Err(unexpected(&message));
            };
            if conversation != greeting {
                return Err(unexpected(&Message::InitRes(answer)));
            }
            match answer {
                Ok(status) => heard.push(Heard::Open(status)),
                Err(text) => {
                    let address = String::new();
                    return Err(EventerError::Refused { address, text });
                }
            }
            up.open = true;
            hello = None;
            continue;
        }
        if !is_answer {
            heard.push(match message {
                Message::StatusNotify(status) => Heard::Status(status),
                Message::EventsNotify(events) => Heard::Events {
                    events,
                    bytes,
                    acknowledge: (!last).then_some(conversation),
                },
                other => return Err(unexpected(&other)),
            });
            continue;
        }
        let fits = match up.waiting.get(&conversation.first) {
            // Whoever asked does not wait any more.
            None => continue,
            Some(Waiter::Caller { kind, .. }) => *kind == message.kind(),
            Some(Waiter::Resume) => matches!(message, Message::QueryRes(_)),
        };
        if !fits {
            return Err(unexpected(&message));
        }
        match (up.waiting.remove(&conversation.first), message) {
            (Some(Waiter::Caller { answer, .. }), message) => {
                // Whoever asked may not wait any more.
                let _ = answer.send(Ok(message));
            }
            (Some(Waiter::Resume), Message::QueryRes(result)) => {
                heard.push(Heard::History { result, bytes });
            }
            _ => {}
        }
    }
    Ok(())
}

fn unexpected(message: &Message) -> EventerError {
    EventerError::Protocol {
        what: message.kind().to_owned(),
        source: "it comes out of turn".into(),
    }
}

/// An error and its causes, as one line.
fn reason(error: &EventerError) -> String {
    let mut text = match error {
        EventerError::Disconnected { reason, .. } => return reason.clone(),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        // A system without randomness still has a clock.
        return crate::time::since_1970().subsec_nanos().wrapping_mul(5);
    }
    u32::from_ne_bytes(bytes)
}

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// How often the ends of the histories are looked up.
const LOOK_UP: Duration = Duration::from_secs(300);

/// How long a client that ends waits for the server.
const FAREWELL: Duration = Duration::from_millis(500);
