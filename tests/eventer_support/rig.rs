//! A client that says exactly what a test wants, and a server for it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acqbus::event::{Event, EventType, QueryParams, QueryResult, RegisterEvent, Status};
use acqbus::eventer::chatter::{Chatter, ChatterOptions, Conversation};
use acqbus::eventer::message::{InitReq, Message};
use acqbus::eventer::{EventerServer, Notifier, ServerOptions};
use acqbus::store::{Engine, EngineOptions, MemoryBackend};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What carries bytes both ways, with a time-out for reading.
pub(crate) trait Carrier: Read + Write + Send {
    fn socket(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// A client that says exactly what a test wants, and answers pings.
pub(crate) struct RawClient {
    carrier: Box<dyn Carrier>,
    chatter: Chatter,
}

/// A message of the server.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) conversation: Conversation,
    pub(crate) last: bool,
    pub(crate) message: Message,
}

impl RawClient {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream))
    }

    pub(crate) fn over(carrier: Box<dyn Carrier>) -> Self {
        Self {
            carrier,
            chatter: Chatter::new(ChatterOptions::default(), Instant::now()),
        }
    }

    /// A client that is welcome.
    pub(crate) fn hello(address: SocketAddr, hello: InitReq) -> Self {
        Self::connect(address).greet(hello)
    }

    /// A client of a name that wants events of these types.
    pub(crate) fn subscribed(address: SocketAddr, name: &str, types: &[&str]) -> Self {
        Self::hello(address, init(name, types))
    }

    pub(crate) fn greet(mut self, hello: InitReq) -> Self {
        let answer = self.ask(&Message::InitReq(hello));
        assert!(matches!(answer, Message::InitRes(Ok(_))), "{answer:?}");
        self
    }

    pub(crate) fn send(&mut self, message: &Message, last: bool) -> Conversation {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut data);
        let conversation = self
            .chatter
            .begin(message.kind(), &data, last, &mut out)
            .unwrap();
        self.send_bytes(&out);
        conversation
    }

    pub(crate) fn reply(&mut self, conversation: Conversation, message: &Message) {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut data);
        self.chatter
            .reply(conversation, message.kind(), &data, true, &mut out)
            .unwrap();
        self.send_bytes(&out);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.carrier.write_all(bytes).unwrap();
        self.carrier.flush().unwrap();
    }

    /// As [`send_bytes`](Self::send_bytes) where the server may close meanwhile.
    pub(crate) fn send_in_vain(&mut self, bytes: &[u8]) {
        let _ = self.carrier.write_all(bytes);
    }

    /// The next message; none once the server has closed.
    pub(crate) fn next(&mut self) -> Option<Said> {
        self.next_within(LIMIT).expect("a message in time")
    }

    /// As [`next`](Self::next); `Err` if nothing comes in time.
    pub(crate) fn next_within(&mut self, timeout: Duration) -> Result<Option<Said>, ()> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut out = Vec::new();
            let said = self.chatter.next(&mut out).unwrap().map(|received| Said {
                conversation: received.conversation,
                last: received.last,
                message: Message::decode(received.kind, received.data).unwrap(),
            });
            if !out.is_empty() {
                // The server may be gone.
                let _ = self.carrier.write_all(&out);
            }
            if let Some(said) = said {
                return Ok(Some(said));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(());
            }
            self.carrier.socket().set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 65536];
            match self.carrier.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.chatter.receive(&buffer[..count], Instant::now()),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => return Ok(None),
                    _ => panic!("{error}"),
                },
            }
        }
    }

    /// Asks, and gives the answer; what else comes meanwhile is lost.
    pub(crate) fn ask(&mut self, message: &Message) -> Message {
        let asked = self.send(message, false);
        loop {
            let said = self.next().expect("an answer, not the end");
            if said.conversation == asked {
                return said.message;
            }
        }
    }

    pub(crate) fn register(&mut self, events: Vec<RegisterEvent>) -> Option<Vec<Arc<Event>>> {
        match self.ask(&Message::RegisterReq(events)) {
            Message::RegisterRes(events) => events,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn query(&mut self, params: impl Into<QueryParams>) -> QueryResult {
        match self.ask(&Message::QueryReq(params.into())) {
            Message::QueryRes(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The next notification of events.
    pub(crate) fn notified(&mut self) -> Vec<Arc<Event>> {
        match self.next().expect("a notification").message {
            Message::EventsNotify(events) => events,
            other => panic!("{other:?}"),
        }
    }

    /// The next notification of a status.
    pub(crate) fn status(&mut self) -> Status {
        match self.next().expect("a status").message {
            Message::StatusNotify(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the server to close.
    pub(crate) fn expect_close(&mut self) {
        while let Some(said) = self.next() {
            drop(said);
        }
    }

    /// Reads until a pong is there; a message before it is wrong.
    pub(crate) fn expect_pong(&mut self) {
        let mut bytes = Vec::new();
        self.carrier.socket().set_read_timeout(Some(LIMIT)).unwrap();
        while !String::from_utf8_lossy(&bytes).contains("HatChatter.Pong") {
            let mut buffer = [0; 256];
            let count = self.carrier.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the server has closed");
            bytes.extend_from_slice(&buffer[..count]);
            self.chatter.receive(&buffer[..count], Instant::now());
        }
        assert_eq!(self.chatter.next(&mut Vec::new()).unwrap(), None);
    }

    /// Waits for the server to close, whatever it says before.
    pub(crate) fn expect_end(&mut self) {
        self.carrier.socket().set_read_timeout(Some(LIMIT)).unwrap();
        let mut buffer = [0; 1024];
        loop {
            match self.carrier.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Counts a message that was sent as bytes.
    pub(crate) fn count_message(&mut self) {
        let first = self.chatter.begin("", &[], true, &mut Vec::new());
        assert!(first.is_ok());
    }

    /// Says that nothing more comes, and goes on reading.
    pub(crate) fn finish(&mut self) {
        self.carrier.socket().shutdown(Shutdown::Write).unwrap();
    }
}

/// A server on any port over a store in memory.
pub(crate) struct Rig {
    pub(crate) server: EventerServer,
    pub(crate) engine: Engine,
    pub(crate) backend: Arc<MemoryBackend>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(ServerOptions::default(), EngineOptions::default())
    }

    pub(crate) fn with(options: ServerOptions, engine: EngineOptions) -> Self {
        let notifier = Notifier::default();
        let backend = Arc::new(MemoryBackend::new(notifier.callbacks()));
        let engine = Engine::start(backend.clone(), engine).unwrap();
        let options = options.bind(any()).notifier(notifier);
        let server = EventerServer::start(options, engine.handle()).unwrap();
        Self {
            server,
            engine,
            backend,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn client(&self, name: &str, types: &[&str]) -> RawClient {
        RawClient::subscribed(self.address(), name, types)
    }
}

/// Any port of this machine.
pub(crate) fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(crate) fn init(name: &str, types: &[&str]) -> InitReq {
    let mut hello = InitReq::new(name);
    hello.subscriptions = types.iter().map(|text| EventType::from(*text)).collect();
    hello
}

pub(crate) fn of(event_type: &str) -> RegisterEvent {
    RegisterEvent::new(event_type.into())
}

/// Types and instances, for comparing.
pub(crate) fn types(events: &[Arc<Event>]) -> Vec<String> {
    let text = |event: &Arc<Event>| event.event_type.to_string();
    events.iter().map(text).collect()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
