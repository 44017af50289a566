//! Two servers of which one follows the other, and takes over when it has gone.

mod eventer_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{Event, EventType, Payload, Status, Subscription};
use acqbus::eventer::{
    ClientOptions, EventerClient, EventerError, EventerServer, Notice, Notifier, ServerOptions,
    Standby, StandbyOptions, SyncOptions, SyncState, Synchronizer,
};
use acqbus::store::{Engine, EngineOptions, RedbBackend, Source};
use crossbeam_channel::unbounded;
use eventer_support::node::{Disk, Node, events_of};
use eventer_support::rig::any;
use eventer_support::{PATIENCE, events, to_register, until};

/// How a client reaches a server of these tests.
fn client(address: impl ToString) -> ClientOptions {
    ClientOptions::new(address.to_string())
        .backoff(Duration::from_millis(1), Duration::from_millis(20))
}

/// Server 2 follows server 1.
fn follow(node: &Node, backend: &Arc<RedbBackend>) -> Synchronizer {
    let options = SyncOptions::new(client(node.address()), 2, 1);
    Synchronizer::start(options, backend.clone(), None).unwrap()
}

/// The states up to the one that all is here; how much was missing.
#[track_caller]
fn synced(sync: &Synchronizer) -> (Vec<SyncState>, u64) {
    let mut before = Vec::new();
    loop {
        match sync
            .states()
            .recv_timeout(PATIENCE)
            .expect("it is synced in time")
        {
            SyncState::Synced { count } => return (before, count),
            state => before.push(state),
        }
    }
}

#[track_caller]
fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the second store has what the first one has of server 1.
#[track_caller]
fn wait_for_all(first: &RedbBackend, second: &RedbBackend) -> Vec<Arc<Event>> {
    wait("the second store has all", || {
        events_of(first, 1) == events_of(second, 1)
    });
    events_of(second, 1)
}

#[test]
fn store_gets_what_the_other_has_and_then_what_comes_session_by_session() {
    let node = Disk::new(1).run(any());
    // Sessions across the ends of pages of 4,096.
    for _ in 0..30 {
        node.register("a/b", 300);
    }
    node.engine.flush().unwrap();
    let (told, sessions) = unbounded();
    let notifier = Notifier::default();
    let disk = Disk::new(2);
    let callbacks = notifier.callbacks().registered(move |events| {
        told.send(events.len()).unwrap();
    });
    let backend = Arc::new(disk.open_with(callbacks));
    let sync = follow(&node, &backend);
    let (before, count) = synced(&sync);
    assert_eq!(before, [SyncState::Connected, SyncState::Syncing]);
    assert!(count > 9000, "{count}");
    assert_eq!(sync.state(), SyncState::Synced { count });
    assert_eq!(sync.remote_status(), Some(Status::Operational));
    for count in 1..=100 {
        node.register("c", count);
    }
    let events = wait_for_all(&node.backend, &backend);
    assert_eq!(
        events
            .iter()
            .filter(|event| event.event_type == EventType::from("c"))
            .count(),
        5050
    );
    sync.stop();
    let lengths: Vec<_> = sessions.try_iter().filter(|length| *length > 1).collect();
    let expected: Vec<_> = [300; 30].into_iter().chain(2..=100).collect();
    assert_eq!(lengths, expected, "every session came as a whole");
    node.stop();
}

#[test]
fn states_are_registered_at_the_other_server_and_at_an_own_engine() {
    let node = Disk::new(1).run(any());
    node.register("a", 1);
    node.engine.flush().unwrap();
    let backend = Disk::new(2).open(&Notifier::default());
    let engine = Engine::start(backend.clone(), EngineOptions::default().server(2)).unwrap();
    let options = SyncOptions::new(client(node.address()), 2, 1).name("event/second");
    let sync = Synchronizer::start(options, backend.clone(), Some(engine.handle())).unwrap();
    let (_, count) = synced(&sync);
    let wanted = EventType::from("event/2/synced/1");
    let told = |backend: &RedbBackend, server| -> Vec<String> {
        let events = events_of(backend, server);
        let events = events.iter().filter(|event| event.event_type == wanted);
        let payload = |event: &Arc<Event>| match &event.payload {
            Some(Payload::Json(json)) => json.as_str().replace(' ', ""),
            other => panic!("{other:?}"),
        };
        events.map(payload).collect()
    };
    let expected = [
        r#"{"state":"CONNECTED"}"#.to_owned(),
        r#"{"state":"SYNCING"}"#.to_owned(),
        format!(r#"{{"state":"SYNCED","count":{count}}}"#),
    ];
    wait("both servers have the three events", || {
        told(&backend, 2).len() == 3 && told(&node.backend, 1).len() == 3
    });
    assert_eq!(told(&backend, 2), expected);
    assert_eq!(told(&node.backend, 1), expected);
    let greeted = EventType::new(["event", "1", "eventer", "event/second"]);
    assert!(
        events_of(&*node.backend, 1)
            .iter()
            .any(|event| event.event_type == greeted)
    );
    sync.stop();
    engine.close().unwrap();
    node.stop();
}

#[test]
fn following_goes_on_across_restarts_of_the_other_server() {
    let disk = Disk::new(1);
    let mut node = disk.run(any());
    let address = node.address();
    let backend = Disk::new(2).open(&Notifier::default());
    let sync = follow(&node, &backend);
    synced(&sync);
    for _ in 0..5 {
        node.register("a", 3);
        node.stop();
        wait("the break is seen", || sync.remote_status().is_none());
        node = disk.run(address);
        node.register("b", 2);
        wait_for_all(&node.backend, &backend);
    }
    let events = events_of(&*backend, 1);
    let count = |name: &str| {
        let name = EventType::from(name);
        events
            .iter()
            .filter(|event| event.event_type == name)
            .count()
    };
    assert_eq!((count("a"), count("b")), (15, 10));
    sync.stop();
    node.stop();
}

#[test]
fn other_server_need_not_be_there_at_the_start_and_stopping_waits_for_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let backend = Disk::new(2).open(&Notifier::default());
    let options = SyncOptions::new(client(address), 2, 1);
    let sync = Synchronizer::start(options, backend.clone(), None).unwrap();
    assert_eq!(sync.state(), SyncState::Disconnected);
    let node = Disk::new(1).run(address);
    let (before, _) = synced(&sync);
    assert_eq!(before[0], SyncState::Connected);
    sync.stop();
    assert_eq!(sync.state(), SyncState::Disconnected);
    node.stop();
}

#[test]
fn server_cannot_follow_itself() {
    let backend = Disk::new(2).open(&Notifier::default());
    let options = SyncOptions::new(ClientOptions::default(), 2, 2);
    let error = Synchronizer::start(options, backend, None).unwrap_err();
    assert!(matches!(error, EventerError::Option { .. }), "{error}");
}

/// A server that stands by at an address for another one.
fn stand_by(disk: &Disk, at: std::net::SocketAddr, other: std::net::SocketAddr) -> Standby {
    let notifier = Notifier::default();
    let backend = disk.open(&notifier);
    let server = ServerOptions::default().bind(at).notifier(notifier);
    let sync = SyncOptions::new(client(other), disk.server_id, 3 - disk.server_id);
    let options = StandbyOptions::new(server, sync).take_over_after(Duration::from_millis(200));
    Standby::start(options, backend).unwrap()
}

#[test]
fn standby_answers_and_takes_over_when_the_other_has_gone_and_keeps_it() {
    let (first_disk, second_disk) = (Disk::new(1), Disk::new(2));
    let node = first_disk.run(any());
    let address = node.address();
    node.register("a", 5);
    let standby = stand_by(&second_disk, any(), address);
    let options = client(standby.local_addr()).subscription(Subscription::all());
    let user = EventerClient::connect(options).unwrap();
    assert_eq!(user.status(), Status::Standby);
    let error = user.register(vec![to_register("b")]).unwrap_err();
    assert!(
        matches!(error, EventerError::NotRegistered { .. }),
        "{error}"
    );
    wait("all is synced", || {
        matches!(standby.sync_state(), SyncState::Synced { .. })
    });
    let seen = node.register("a", 2);
    let notices = until(
        &user,
        |notice| matches!(notice, Notice::Events(events) if *events == seen),
    );
    assert!(!events(&notices).is_empty());
    assert!(standby.engine().is_none());

    node.stop();
    until(&user, |notice| {
        *notice == Notice::Status(Status::Operational)
    });
    assert_eq!(standby.status(), Status::Operational);
    let registered = user.register(vec![to_register("b")]).unwrap();
    assert_eq!(registered[0].id.server, 2);
    assert_eq!(standby.engine().unwrap().server(), 2);

    // The first comes back to stand by, and gets what it missed.
    let back = stand_by(&first_disk, address, standby.local_addr());
    let watcher = EventerClient::connect(client(address)).unwrap();
    let mine = |client: &EventerClient| -> Vec<Arc<Event>> {
        let params = acqbus::event::QueryServerParams::new(2);
        client.pages(params).map(Result::unwrap).collect()
    };
    wait("the first has the events of the second", || {
        mine(&watcher).contains(&registered[0])
    });
    assert_eq!(back.status(), Status::Standby);
    assert_eq!(standby.status(), Status::Operational);
    drop((user, watcher));
    standby.stop().unwrap();
    wait("the first takes over in its turn", || {
        back.status() == Status::Operational
    });
    back.stop().unwrap();
    back.stop().unwrap();
}

#[test]
fn of_two_that_start_at_once_the_one_with_the_smaller_id_takes_over() {
    // The first one's address is known before it is there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let second = stand_by(&Disk::new(2), any(), address);
    let first = stand_by(&Disk::new(1), address, second.local_addr());
    let both = AtomicBool::new(false);
    wait("one takes over", || {
        both.fetch_or(second.status() == Status::Operational, Ordering::Relaxed);
        first.status() == Status::Operational
    });
    wait("the second sees it", || {
        both.fetch_or(second.status() == Status::Operational, Ordering::Relaxed);
        second.synchronizer().remote_status() == Some(Status::Operational)
    });
    assert!(!both.load(Ordering::Relaxed), "both have taken over");
    first.stop().unwrap();
    second.stop().unwrap();
}

#[test]
fn server_goes_on_with_another_store_and_may_be_the_last_that_holds_the_first() {
    let notifier = Notifier::default();
    let first = Disk::new(1).open(&notifier);
    // It is told durable events when it is dropped, by the server that holds it.
    let options = ServerOptions::default().bind(([127, 0, 0, 1], 0).into());
    let options = options.notifier(notifier.clone());
    let server = EventerServer::listen(options, first.clone()).unwrap();
    drop(first);
    for number in 2..20 {
        let second = Disk::new(number).open(&notifier);
        let engine = EngineOptions::default().server(number);
        let engine = Engine::start(second, engine).unwrap();
        for _ in 0..10 {
            engine
                .register(Source::SERVER, vec![to_register("a")])
                .unwrap();
        }
        server.set_engine(Some(engine.handle()));
        engine.close().unwrap();
    }
    assert_eq!(server.status(), Status::Operational);
}
