//! Our server against what the reference's sent: recorded conversations, its reactions to odd bytes, and whom it told what.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;

use acqbus::event::{
    Event, EventId, EventType, Events, QueryParams, QueryResult, Status, Timestamp,
};
use acqbus::eventer::chatter::Frame;
use acqbus::eventer::message::{InitReq, Message};
use acqbus::eventer::{EventerServer, Notifier, ServerOptions, Token};
use acqbus::store::{Backend, Callbacks, Engine, EngineOptions, MemoryBackend, StoreError};
use serde_json::Value;

use crate::Report;
use crate::common::{items, text, unhex};
use crate::frames::payload;
use crate::rig::{LIMIT, RawClient, any};

/// Every connection of the recorded conversations with our server at the other end, byte by byte.
pub(crate) fn run_exchanges(vectors: &Value, report: &mut Report) {
    for case in items(vectors, "cases") {
        report.ran();
        match text(case, "name") {
            "full_server" => full_server(case, report),
            "scripted_server" => scripted_server(case, report),
            "ping" => ping(case, report),
            other => report.wrong(other, "a conversation that this test does not know"),
        }
    }
}

/// Odd bytes; each case has a server and a connection of its own.
pub(crate) fn run_server_behaviour(vectors: &Value, report: &mut Report) {
    for case in items(vectors, "cases") {
        report.ran();
        let name = text(case, "name");
        let served = Served::start(7, Some("secret"));
        let mut line = Line::connect(served.server.local_addr());
        let mut is_closed = false;
        let mut received = 0;
        for step in items(case, "steps") {
            line.send(&unhex(text(step, "send")));
            for frame in items(step, "receive") {
                report.check(name, line.frame(), Some(unhex(text(frame, "frame"))));
                received += 1;
            }
            let closes = |key: &str| step[key].as_bool() == Some(true);
            if closes("closed") || closes("closed_within_1s") {
                report.check(name, line.frame(), None);
                is_closed = true;
            }
        }
        if !is_closed {
            // The next it says is the answer to this: nothing was left over, and the connection is open.
            let mut ping = Vec::new();
            frame(1, "HatChatter.Ping", false).encode(&mut ping);
            line.send(&ping);
            let mut pong = Vec::new();
            let answer = Frame {
                first: 1,
                owner: false,
                ..frame(received + 1, "HatChatter.Pong", true)
            };
            answer.encode(&mut pong);
            report.check(name, line.frame(), Some(pong));
        }
        if case["server_open_after"].as_bool() == Some(true) {
            RawClient::hello(served.server.local_addr(), InitReq::new("after"));
        }
    }
}

/// Whom events are told.
pub(crate) fn run_notify(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("notify {number}");
        let notifier = Notifier::default();
        let options = ServerOptions::default()
            .bind(any())
            .notifier(notifier.clone());
        let backend = Arc::new(MemoryBackend::new(Callbacks::default()));
        let server = EventerServer::listen(options, backend).unwrap();
        let mut clients: Vec<_> = items(case, "clients")
            .iter()
            .map(|client| {
                let mut hello = InitReq::new("n");
                hello.subscriptions = read(&client["subscriptions"]);
                hello.server_id = client["server_id"].as_i64();
                hello.persisted = client["persisted"].as_bool() == Some(true);
                RawClient::hello(server.local_addr(), hello)
            })
            .collect();
        for notify in items(case, "notify") {
            let events: Events = items(notify, "events")
                .iter()
                .map(|event| {
                    let (id, event_type): (EventId, EventType) = read(event);
                    Arc::new(Event::new(id, event_type, Timestamp::new(0, 0)))
                })
                .collect();
            match notify["persisted"].as_bool() {
                Some(true) => notifier.flushed(&events),
                _ => notifier.registered(&events),
            }
            let received: Vec<Vec<Vec<EventId>>> = read(&notify["received"]);
            let ours: Vec<_> = clients.iter_mut().map(told).collect();
            report.check(&name, ours, received);
        }
    }
}

/// What a client was told before it asked for nothing.
fn told(client: &mut RawClient) -> Vec<Vec<EventId>> {
    let nothing = acqbus::event::QueryLatestParams::default().event_types([]);
    let asked = client.send(&Message::QueryReq(nothing.into()), false);
    let mut told = Vec::new();
    loop {
        let said = client.next().expect("an answer");
        match said.message {
            Message::EventsNotify(events) => {
                told.push(events.iter().map(|event| event.id).collect());
            }
            _ if said.conversation == asked => return told,
            other => panic!("{other:?}"),
        }
    }
}

fn full_server(case: &Value, report: &mut Report) {
    let served = Served::start(7, Some("secret"));
    let connections = items(case, "connections");
    let mut plays: Vec<_> = connections
        .iter()
        .map(|connection| Play::start(connection, served.server.local_addr()))
        .collect();
    let (a, b, c) = (0, 1, 2);
    // Who speaks or is spoken to, for how many frames, in the order of the recorded sessions.
    for (who, frames) in [
        (a, 2),
        (b, 2),
        (a, 1),
        (c, 2),
        (a, 1),
        (a, 3),
        (b, 1),
        (a, 2),
        (b, 1),
        (c, 2),
        (a, 1),
        (b, 1),
        (a, 8),
        (c, 8),
        (b, 2),
    ] {
        plays[who].go_on(frames, report);
    }
    plays[b].leave();
    plays[a].go_on(1, report);
    plays[c].leave();
    plays[a].go_on(1, report);
    served.server.set_status(Status::Stopping);
    plays[a].go_on(1, report);
    served.engine.close().unwrap();
    plays[a].go_on(1, report);
    served.server.set_status(Status::Standby);
    plays[a].go_on(1, report);
    served.server.stop();
    report.check("full_server", plays[a].line.frame(), None);
    for play in plays {
        play.finish(report);
    }
}

/// A program that is a server of its own kind; it registers while STANDBY, which our server leaves undone.
fn scripted_server(case: &Value, report: &mut Report) {
    let connection = &items(case, "connections")[0];
    let answers = items(connection, "frames").iter().filter_map(|frame| {
        match decode(&unhex(text(frame, "frame"))) {
            Message::QueryRes(result) => Some(result),
            _ => None,
        }
    });
    let backend = Arc::new(Scripted {
        answers: Mutex::new(answers.collect()),
    });
    let notifier = Notifier::default();
    let options = ServerOptions::default()
        .bind(any())
        .notifier(notifier.clone());
    let server = EventerServer::listen(options, backend).unwrap();
    let mut play = Play::start(connection, server.local_addr());
    play.go_on(2, report);
    for status in [
        Status::Starting,
        Status::Operational,
        Status::Stopping,
        Status::Standby,
    ] {
        server.set_status(status);
        play.go_on(1, report);
    }
    play.go_on(3, report);
    play.registers_in_vain = true;
    play.go_on(4, report);
    let Message::EventsNotify(events) = decode(&play.peek()) else {
        panic!("the recorded notification");
    };
    notifier.registered(&events.into());
    play.go_on(1, report);
    let Message::EventsNotify(events) = decode(&play.peek()) else {
        panic!("the recorded notification");
    };
    let events: Events = events.into();
    thread::scope(|scope| {
        let acknowledged = scope.spawn(|| server.notify_acknowledged(&events, false, LIMIT));
        play.go_on(2, report);
        report.check("scripted_server", acknowledged.join().unwrap(), 1);
    });
    play.go_on(8, report);
    play.finish(report);
}

fn ping(case: &Value, report: &mut Report) {
    let connection = &items(case, "connections")[0];
    let backend = Arc::new(MemoryBackend::new(Callbacks::default()));
    let server = EventerServer::listen(ServerOptions::default().bind(any()), backend).unwrap();
    let mut play = Play::start(connection, server.local_addr());
    play.go_on(8, report);
    play.finish(report);
}

/// A recorded connection, played to our server.
struct Play<'a> {
    name: &'a str,
    line: Line,
    frames: VecDeque<&'a Value>,
    /// Whether registrations are answered by a failure.
    registers_in_vain: bool,
}

impl<'a> Play<'a> {
    fn start(connection: &'a Value, address: SocketAddr) -> Self {
        Self {
            name: text(connection, "client_name"),
            line: Line::connect(address),
            frames: items(connection, "frames").iter().collect(),
            registers_in_vain: false,
        }
    }

    fn peek(&self) -> Vec<u8> {
        unhex(text(self.frames[0], "frame"))
    }

    /// Sends and expects the next frames.
    fn go_on(&mut self, count: usize, report: &mut Report) {
        for recorded in self.frames.drain(..count) {
            let bytes = unhex(text(recorded, "frame"));
            if text(recorded, "dir") == "c2s" {
                self.line.send(&bytes);
                continue;
            }
            let Some(ours) = self.line.frame() else {
                return report.wrong(self.name, &format!("closed before {recorded}"));
            };
            let theirs = Frame::decode(payload(&bytes)).unwrap();
            match decode_any(&bytes) {
                // Of the latest events no order is told.
                Some(Message::QueryRes(_)) if sorted(&ours) == sorted(&bytes) => {
                    report.check(self.name, ours.len(), bytes.len());
                }
                Some(Message::RegisterRes(Some(_))) if self.registers_in_vain => {
                    let failure = Frame {
                        data: b"\x81",
                        ..theirs
                    };
                    report.check(self.name, Frame::decode(payload(&ours)), Ok(failure));
                }
                _ => report.check(self.name, ours, bytes),
            }
        }
    }

    fn leave(&mut self) {
        self.line.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    fn finish(self, report: &mut Report) {
        report.check(self.name, self.frames.len(), 0);
    }
}

/// Whole frames over a socket.
struct Line {
    socket: TcpStream,
}

impl Line {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next frame; none at the end.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0];
        match self.socket.read_exact(&mut frame) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let mut more = |count: usize, frame: &mut Vec<u8>| {
            let start = frame.len();
            frame.resize(start + count, 0);
            self.socket.read_exact(&mut frame[start..]).unwrap();
        };
        more(usize::from(frame[0]), &mut frame);
        let len = frame[1..]
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        more(len, &mut frame);
        Some(frame)
    }
}

/// Our server as it was set up for the recordings.
struct Served {
    server: EventerServer,
    engine: Engine,
}

impl Served {
    fn start(server_id: i64, token: Option<&str>) -> Self {
        let notifier = Notifier::default();
        let backend = Arc::new(MemoryBackend::new(notifier.callbacks()));
        // The store has read the clock once.
        let mut us = 1000;
        let engine = EngineOptions::default().server(server_id).clock(move || {
            us += 1000;
            Timestamp::new(1_700_000_000, us)
        });
        let engine = Engine::start(backend, engine).unwrap();
        let options = ServerOptions::default()
            .bind(any())
            .notifier(notifier)
            .token(token.map(Token::new))
            // H43: as the reference.
            .allow_without_token(true);
        let server = EventerServer::start(options, engine.handle()).unwrap();
        Self { server, engine }
    }
}

/// Gives recorded answers, and keeps nothing.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<VecDeque<QueryResult>>,
}

impl Backend for Scripted {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        Ok(EventId::new(server, 0, 0))
    }

    fn last_timestamp(&self, _: i64) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        Ok(events)
    }

    fn visit(
        &self,
        _: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap();
        for event in &answer.events {
            if visit(event).is_break() {
                return Ok(true);
            }
        }
        Ok(answer.more_follows)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn reserve_sessions(&self, _: i64, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn session_floor(&self, _: i64) -> Result<i64, StoreError> {
        Ok(0)
    }
}

fn frame(id: i64, kind: &str, last: bool) -> Frame<'_> {
    Frame {
        id,
        first: id,
        owner: true,
        token: true,
        last,
        kind,
        data: &[],
    }
}

fn decode(bytes: &[u8]) -> Message {
    decode_any(bytes).expect("a message of the eventer")
}

/// The message of a frame, unless it is one of chatter's own.
fn decode_any(bytes: &[u8]) -> Option<Message> {
    let frame = Frame::decode(payload(bytes)).unwrap();
    Message::decode(frame.kind, frame.data).ok()
}

/// The answer to a query without its order.
fn sorted(bytes: &[u8]) -> Option<(i64, i64, Vec<Arc<Event>>, bool)> {
    let frame = Frame::decode(payload(bytes)).unwrap();
    let Some(Message::QueryRes(mut result)) = decode_any(bytes) else {
        return None;
    };
    result.events.sort_by_key(|event| event.id);
    Some((frame.id, frame.first, result.events, result.more_follows))
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value.clone()).expect("a recorded value")
}
