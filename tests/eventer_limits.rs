//! No client of the eventer server hurts another: slow ones, silent ones, those whose requests take long or fail.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use acqbus::event::{
    Binary, Event, EventId, Events, Payload, QueryLatestParams, QueryParams, QueryServerParams,
    RegisterEvent, Subscription, Timestamp,
};
use acqbus::eventer::chatter::Frame;
use acqbus::eventer::message::{InitReq, Message};
use acqbus::eventer::{EventerServer, Notifier, ServerOptions};
use acqbus::store::{
    Backend, Callbacks, Engine, EngineOptions, MemoryBackend, Module, Source, StoreError,
};
use parking_lot::Mutex;

use rig::{LIMIT, RawClient, Rig, any, of, types, until};

#[path = "eventer_support/rig.rs"]
mod rig;

#[test]
fn client_that_takes_nothing_is_closed_when_too_much_waits_for_it() {
    let options = ServerOptions::default().send_queue(1_000_000);
    let rig = Rig::with(options, EngineOptions::default());
    let mut slow = rig.client("slow", &["big"]);
    let mut watcher = rig.client("watcher", &["big"]);
    let mut source = rig.client("source", &[]);
    let mut sent = 0;
    // What the system keeps for a socket comes on top of the bound.
    while rig.server.stats().slow == 0 {
        sent += 1;
        assert!(sent < 10_000, "the slow client is still there");
        source.register(vec![big(100_000)]).unwrap();
        assert_eq!(watcher.notified().len(), 1);
    }
    slow.expect_close();
    assert_eq!(rig.server.stats().slow, 1);
    let names: Vec<_> = rig.server.clients().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["watcher", "source"]);
    source.register(vec![big(10)]).unwrap();
    assert_eq!(watcher.notified().len(), 1);
}

#[test]
fn client_that_takes_nothing_is_closed_after_its_time() {
    let options = ServerOptions::default()
        .send_queue(1 << 30)
        .send_timeout(Duration::from_millis(200));
    let rig = Rig::with(options, EngineOptions::default());
    let mut slow = rig.client("slow", &["big"]);
    let mut source = rig.client("source", &[]);
    let events: Vec<_> = (0..100).map(|_| big(100_000)).collect();
    source.register(events).unwrap();
    until("the slow client is closed", || rig.server.stats().slow == 1);
    slow.expect_close();
    source.register(vec![of("a")]).unwrap();
}

#[test]
fn client_that_does_not_read_its_answers_waits_with_its_requests() {
    let options = ServerOptions::default().send_queue(100_000);
    let rig = Rig::with(options, EngineOptions::default());
    let mut source = rig.client("source", &[]);
    source.register(vec![big(1_000_000)]).unwrap();
    let mut greedy = rig.client("greedy", &[]);
    let asked: Vec<_> = (0..60)
        .map(|_| {
            greedy.send(
                &Message::QueryReq(QueryLatestParams::default().into()),
                false,
            )
        })
        .collect();
    // A third of the answers fit into what the system keeps for a socket; nothing is lost of the rest.
    for asked in asked {
        let said = greedy.next().unwrap();
        assert_eq!(said.conversation, asked);
    }
    assert_eq!(rig.server.stats().slow, 0);
}

#[test]
fn who_does_not_say_who_it_is_is_closed_after_its_time() {
    let options = ServerOptions::default().hello_timeout(Duration::from_millis(100));
    let rig = Rig::with(options, EngineOptions::default());
    let mut known = rig.client("known", &[]);
    let mut silent = RawClient::connect(rig.address());
    let mut slow = RawClient::connect(rig.address());
    slow.send_bytes(b"\x01");
    silent.expect_close();
    slow.expect_close();
    assert_eq!(rig.server.stats().silent, 2);
    let mut long = RawClient::connect(rig.address());
    // Claims a frame that would be allowed, and sends much of it.
    long.send_in_vain(b"\x04\x00\xff\xff\xff");
    long.send_in_vain(&vec![7; 2_000_000]);
    long.expect_close();
    known.register(vec![of("a")]).unwrap();
}

#[test]
fn limits_without_end_are_limits_like_others() {
    let options = ServerOptions::default()
        .max_connections(usize::MAX)
        .max_pending(usize::MAX)
        .send_queue(usize::MAX)
        .hello_timeout(Duration::MAX)
        .send_timeout(Duration::MAX)
        .ping_after(Duration::MAX)
        .close_after_ping(Duration::MAX);
    let rig = Rig::with(options, EngineOptions::default());
    let mut clients: Vec<_> = (0..4).map(|_| rig.client("one", &["a"])).collect();
    // More than what the system keeps for a socket, so that some waits for it.
    clients[0].register(vec![of("a"), big(10_000_000)]).unwrap();
    for client in &mut clients[1..] {
        assert_eq!(types(&client.notified()), ["a"]);
    }
    let nobody: Events = Vec::new().into();
    let told = (rig.server).notify_acknowledged(&nobody, false, Duration::MAX);
    assert_eq!(told, 0);
}

#[test]
fn newcomer_takes_the_place_of_a_stranger_and_never_that_of_a_client() {
    let options = ServerOptions::default().max_connections(2).threads(1);
    let rig = Rig::with(options, EngineOptions::default());
    let mut stranger = RawClient::connect(rig.address());
    let mut first = rig.client("first", &[]);
    let mut second = rig.client("second", &[]);
    stranger.expect_close();
    let mut third = RawClient::connect(rig.address());
    third.expect_close();
    let stats = rig.server.stats();
    assert_eq!((stats.silent, stats.refused, stats.open), (1, 1, 2));
    first.register(vec![of("a")]).unwrap();
    second.register(vec![of("a")]).unwrap();
    drop(first);
    until("a place is free", || rig.server.stats().open == 1);
    rig.client("fourth", &[]);
}

#[test]
fn full_queue_of_the_engine_makes_clients_wait_and_no_query() {
    let (entering, entered) = channel();
    let (open, opened) = channel();
    let engine = EngineOptions::default()
        .queue_len(2)
        .module(Gate { entering, opened });
    let rig = Rig::with(ServerOptions::default(), engine);
    let mut clients: Vec<_> = (0..4).map(|_| rig.client("registers", &[])).collect();
    let mut asker = rig.client("asks", &[]);
    let mut asked = Vec::new();
    for client in &mut clients {
        for _ in 0..20 {
            let events = vec![of("gate"), of("b")];
            asked.push(client.send(&Message::RegisterReq(events), false));
        }
    }
    entered.recv_timeout(LIMIT).unwrap();
    let before = asker.query(QueryServerParams::new(1)).events.len();
    // One leaves while it waits: its requests are still done.
    let mut left = clients.pop().unwrap();
    left.finish();
    drop(open);
    for client in clients.iter_mut().chain([&mut left]) {
        for asked in &asked[..20] {
            assert_eq!(client.next().unwrap().conversation, *asked);
        }
    }
    assert_eq!(left.next(), None);
    let after = asker.query(QueryServerParams::new(1)).events;
    let registered = types(&after).iter().filter(|it| *it == "gate").count();
    assert_eq!((before < 20, registered), (true, 80));
    until("it is told to be gone", || {
        let gone = asker.query(QueryServerParams::new(1)).events;
        gone.len() > after.len()
            || types(&after)
                .iter()
                .filter(|it| it.contains("eventer"))
                .count()
                > 5
    });
}

#[test]
fn query_that_takes_long_holds_up_nobody_and_pings_are_answered_meanwhile() {
    let backend = Arc::new(Odd::default());
    let (hold, held) = channel();
    *backend.hold.lock() = Some(held);
    let options = ServerOptions::default().bind(any()).query_threads(2);
    let server = EventerServer::listen(options, backend.clone()).unwrap();
    let mut patient = RawClient::subscribed(server.local_addr(), "patient", &[]);
    let mut other = RawClient::subscribed(server.local_addr(), "other", &[]);
    let slow = patient.send(&Message::QueryReq(QueryServerParams::new(1).into()), false);
    until("it is asked", || backend.is_held.load(Ordering::SeqCst));
    let behind = patient.send(
        &Message::QueryReq(QueryLatestParams::default().into()),
        false,
    );
    other.query(QueryLatestParams::default());
    // The pong is the proof: it comes before the answers. Id 9 is none that this client has used.
    let mut ping = Vec::new();
    let frame = Frame {
        id: 9,
        first: 9,
        owner: true,
        token: true,
        last: false,
        kind: "HatChatter.Ping",
        data: &[],
    };
    frame.encode(&mut ping);
    patient.send_bytes(&ping);
    patient.expect_pong();
    drop(hold);
    assert_eq!(patient.next().unwrap().conversation, slow);
    assert_eq!(patient.next().unwrap().conversation, behind);
}

#[test]
fn registration_or_query_that_fails_costs_its_client_only() {
    let backend = Arc::new(Odd::default());
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let options = ServerOptions::default().bind(any());
    let server = EventerServer::start(options, engine.handle()).unwrap();
    let address = server.local_addr();
    let mut other = RawClient::subscribed(address, "other", &[]);
    let mut panics = RawClient::subscribed(address, "panics", &[]);
    let mut fails = RawClient::subscribed(address, "fails", &[]);
    let mut asks = RawClient::subscribed(address, "asks", &[]);
    let odd = QueryServerParams::new(PANIC);
    panics.send(&Message::QueryReq(odd.into()), false);
    panics.expect_close();
    let negative = QueryServerParams::new(1).max_results(-1);
    asks.send(&Message::QueryReq(negative.into()), false);
    asks.expect_close();
    backend.is_full.store(true, Ordering::SeqCst);
    fails.send(&Message::RegisterReq(vec![of("a")]), false);
    fails.expect_close();
    backend.is_full.store(false, Ordering::SeqCst);
    assert_eq!(other.register(vec![of("a")]).unwrap().len(), 1);
    other.query(QueryLatestParams::default());
}

#[test]
fn silent_client_is_pinged_and_closed_when_it_does_not_answer() {
    let options = ServerOptions::default()
        .ping_after(Duration::from_millis(50))
        .close_after_ping(Duration::from_secs(2));
    let rig = Rig::with(options, EngineOptions::default());
    let mut dead = std::net::TcpStream::connect(rig.address()).unwrap();
    let mut hello = Vec::new();
    let mut data = Vec::new();
    Message::InitReq(InitReq::new("dead")).encode(&mut data);
    let frame = Frame {
        id: 1,
        first: 1,
        owner: true,
        token: true,
        last: false,
        kind: "HatEventer.MsgInitReq",
        data: &data,
    };
    frame.encode(&mut hello);
    std::io::Write::write_all(&mut dead, &hello).unwrap();
    let mut live = rig.client("live", &["event/1/eventer/dead"]);
    // Answers pings while it waits.
    assert_eq!(types(&live.notified()), ["event/1/eventer/dead"]);
    dead.set_read_timeout(Some(LIMIT)).unwrap();
    thread::scope(|scope| {
        let said = scope.spawn(|| {
            let mut said = Vec::new();
            std::io::Read::read_to_end(&mut dead, &mut said).unwrap();
            said
        });
        while !said.is_finished() {
            live.register(vec![of("a")]).unwrap();
        }
        let said = said.join().unwrap();
        let text = String::from_utf8_lossy(&said);
        assert_eq!(text.matches("HatChatter.Ping").count(), 1);
    });
    live.register(vec![of("a")]).unwrap();
}

#[test]
fn client_that_goes_is_not_waited_for_to_acknowledge() {
    let rig = Rig::new();
    let mut leaves = rig.client("leaves", &["a"]);
    let mut stays = rig.client("stays", &["a"]);
    let event = Event::new(EventId::new(1, 1, 1), "a".into(), Timestamp::new(0, 0));
    let events: Events = vec![Arc::new(event)].into();
    let server = &rig.server;
    thread::scope(|scope| {
        let acknowledged = scope.spawn(|| server.notify_acknowledged(&events, false, LIMIT));
        assert!(!leaves.next().unwrap().last);
        let said = stays.next().unwrap();
        drop(leaves);
        stays.reply(said.conversation, &Message::EventsAck);
        assert_eq!(acknowledged.join().unwrap(), 1);
    });
    let short = Duration::from_millis(20);
    assert_eq!(server.notify_acknowledged(&events, false, short), 0);
}

#[test]
fn two_servers_may_share_a_notifier_and_an_engine() {
    let rig = Rig::new();
    let notifier = Notifier::default();
    let backend = Arc::new(MemoryBackend::new(notifier.callbacks()));
    let engine = Engine::start(backend, EngineOptions::default()).unwrap();
    let start = || {
        let options = ServerOptions::default()
            .bind(any())
            .notifier(notifier.clone());
        EventerServer::start(options, engine.handle()).unwrap()
    };
    let (one, other) = (start(), start());
    let mut clients =
        [&one, &other].map(|server| RawClient::subscribed(server.local_addr(), "c", &["a"]));
    engine.register(Source::SERVER, vec![of("a")]).unwrap();
    for client in &mut clients {
        assert_eq!(types(&client.notified()), ["a"]);
    }
    other.stop();
    engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(types(&clients[0].notified()), ["a"]);
    drop(rig);
}

#[test]
fn answers_larger_than_a_frame_are_shorter_pages_or_end_the_connection() {
    let options = ServerOptions::default().max_frame(4096);
    let rig = Rig::with(options, EngineOptions::default());
    let events: Vec<_> = (0..10).map(|_| big(1000)).collect();
    rig.engine.register(Source::SERVER, events).unwrap();
    let mut client = rig.client("a", &[]);
    let page = client.query(QueryServerParams::new(1));
    assert!(page.more_follows && page.events.len() < 10);
    let last = page.events.last().unwrap().id;
    let next = client.query(QueryServerParams::new(1).after(last));
    assert_eq!(next.events[0].id.instance, last.instance + 1);
    let mut notified = rig.client("b", &["big"]);
    let events: Vec<_> = (0..10).map(|_| big(1000)).collect();
    rig.engine.register(Source::SERVER, events).unwrap();
    let mut count = 0;
    while count < 10 {
        count += notified.notified().len();
    }
    let event = |name: &str| RegisterEvent::new(name.into()).with_payload(blob(2500));
    rig.engine
        .register(Source::SERVER, vec![event("one"), event("two")])
        .unwrap();
    client.send(
        &Message::QueryReq(QueryLatestParams::default().into()),
        false,
    );
    client.expect_close();
}

/// Holds up the engine at events `gate`, until its other end is dropped.
struct Gate {
    entering: Sender<()>,
    opened: Receiver<()>,
}

impl Module for Gate {
    fn subscription(&self) -> Subscription {
        Subscription::new(["gate".into()]).unwrap()
    }

    fn process(&mut self, _: Source, _: &Event) -> Vec<RegisterEvent> {
        // The test may have seen enough.
        let _ = self.entering.send(());
        let _ = self.opened.recv();
        vec![]
    }
}

/// A store that fails in the way that a test wants.
#[derive(Debug)]
struct Odd {
    inner: MemoryBackend,
    is_full: AtomicBool,
    /// Server queries wait for its other end to be dropped, once.
    hold: Mutex<Option<Receiver<()>>>,
    is_held: AtomicBool,
}

impl Default for Odd {
    fn default() -> Self {
        Self {
            inner: MemoryBackend::new(Callbacks::default()),
            is_full: AtomicBool::new(false),
            hold: Mutex::default(),
            is_held: AtomicBool::new(false),
        }
    }
}

impl Backend for Odd {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.inner.last_event_id(server)
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.inner.last_timestamp(server)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        // CONNECTED and DISCONNECTED are let through.
        if self.is_full.load(Ordering::SeqCst) && events[0].event_type.len() == 1 {
            return Err(StoreError::Io {
                action: "writing",
                path: "store".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        self.inner.register(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        if let QueryParams::Server(params) = params {
            assert_ne!(params.server_id, PANIC, "on purpose");
            if let Some(hold) = self.hold.lock().take() {
                self.is_held.store(true, Ordering::SeqCst);
                let _ = hold.recv();
            }
        }
        self.inner.visit(params, visit)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.inner.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.inner.session_floor(server)
    }
}

fn big(bytes: usize) -> RegisterEvent {
    of("big").with_payload(blob(bytes))
}

fn blob(bytes: usize) -> Payload {
    Payload::Binary(Binary::new("blob", vec![7; bytes]))
}

/// A query of the history of this server panics.
const PANIC: i64 = 666;
