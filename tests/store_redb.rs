//! The durable backend under several threads, and at the bound of its memory.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{
    Binary, Event, EventId, EventType, Events, Order, Payload, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Durability, MemoryStorage, RedbBackend, Storage, StorageFile, StoreConfig,
};

use store_support::FailingStorage;

mod store_support;

#[test]
fn a_reader_sees_every_event_once_whatever_is_flushed_meanwhile() {
    for durability in [Durability::Periodic, Durability::Committed] {
        let config = StoreConfig::default()
            .durability(durability)
            .flush_period(Duration::from_millis(2))
            .timeseries_max_results(usize::MAX);
        let store = open(&MemoryStorage::default(), config);
        let acknowledged = AtomicI64::new(0);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for session in 1..=SESSIONS {
                    store.register(events(session, 5, 10)).unwrap();
                    acknowledged.store(session, Ordering::Release);
                }
            });
            while !writer.is_finished() {
                let before = acknowledged.load(Ordering::Acquire);
                let ascending = QueryTimeseriesParams::default().order(Order::Ascending);
                let series = store.query(&ascending.into()).unwrap();
                assert_whole(&series.events, before);
                let server = store.query(&QueryServerParams::new(1).into()).unwrap();
                assert_whole(&server.events, before.min(4096 / 5));
            }
        });
    }
}

#[test]
fn register_refuses_at_the_bound_and_goes_on_when_the_disk_has_room_again() {
    let disk = FailingStorage::new(MemoryStorage::default(), 400, io::ErrorKind::StorageFull);
    let config = StoreConfig::default()
        .flush_period(Duration::from_millis(20))
        .max_unflushed_bytes(400_000);
    let store = open(&disk, config);
    let (mut session, start) = (0, Instant::now());
    let refused = loop {
        session += 1;
        if let Err(error) = store.register(events(session, 5, 5000)) {
            break error;
        }
        assert!(start.elapsed() < PATIENCE, "never refused");
    };
    assert!(refused.is_full(), "{refused}");
    let text = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(disk.has_failed() && text.contains("400000"), "{text}");
    assert_eq!(
        store.last_event_id(1).unwrap().session,
        session - 1,
        "nothing of the refused call is kept"
    );
    disk.heal();
    store.flush().unwrap();
    store.register(events(session, 5, 5000)).unwrap();
    store.flush().unwrap();
    let ascending = QueryTimeseriesParams::default().order(Order::Ascending);
    assert_whole(
        &store.query(&ascending.into()).unwrap().events,
        session.min(4096 / 5),
    );
}

#[test]
fn a_bound_below_what_is_registered_waits_for_the_disk_and_refuses_nothing() {
    for durability in [Durability::Periodic, Durability::Committed] {
        let config = StoreConfig::default()
            .durability(durability)
            .flush_period(Duration::from_secs(1000))
            .max_unflushed_bytes(100_000);
        let store = open(&MemoryStorage::default(), config);
        for session in 1..=200 {
            store.register(events(session, 5, 1000)).unwrap();
        }
        assert!(store.stats().unwrap().unflushed_bytes <= 100_000);
        let refused = store.register(events(201, 5, 100_000)).unwrap_err();
        assert!(refused.is_full(), "what never fits is refused at once");
        store.flush().unwrap();
        assert_eq!(store.stats().unwrap().events, 1000);
    }
}

#[test]
fn an_event_that_was_taken_is_on_disk_after_close_whenever_it_came() {
    let storage = MemoryStorage::default();
    let place = Arc::new(OnceLock::<Weak<RedbBackend>>::new());
    let late = Arc::new(OnceLock::new());
    let callbacks = {
        let (place, late) = (Arc::clone(&place), Arc::clone(&late));
        // Called after the last flush, before the store is closed.
        Callbacks::default().flushed(move |_| {
            let store = place.get().unwrap().upgrade().unwrap();
            let registered = thread::spawn(move || store.register(events(2, 5, 10)).map(drop));
            let _ = late.set(registered.join().unwrap());
        })
    };
    let config = StoreConfig::default().flush_period(Duration::from_secs(1000));
    let store = RedbBackend::open_in(Arc::new(storage.clone()), config.clone(), callbacks);
    let store = Arc::new(store.unwrap());
    place.set(Arc::downgrade(&store)).unwrap();
    store.register(events(1, 5, 10)).unwrap();
    store.close().unwrap();
    drop(store);
    let taken = match late.get().unwrap() {
        Ok(()) => 10,
        Err(error) => {
            assert!(error.is_closed(), "{error}");
            5
        }
    };
    assert_eq!(open(&storage, config).stats().unwrap().events, taken);
}

#[test]
fn the_last_owner_may_be_a_callback_on_the_thread_of_the_store() {
    let storage = MemoryStorage::default();
    let (send, receive) = mpsc::sync_channel::<Arc<RedbBackend>>(1);
    let receive = Mutex::new(receive);
    let (done, dropped) = mpsc::channel();
    let callbacks = Callbacks::default().flushed(move |_| {
        drop(receive.lock().unwrap().recv());
        done.send(()).unwrap();
    });
    let config = StoreConfig::default().flush_period(Duration::from_millis(1));
    let store = RedbBackend::open_in(Arc::new(storage.clone()), config.clone(), callbacks);
    let store = store.unwrap();
    store.register(events(1, 5, 10)).unwrap();
    send.send(Arc::new(store)).unwrap();
    dropped.recv_timeout(PATIENCE).unwrap();
    let start = Instant::now();
    let again = loop {
        let storage = Arc::new(storage.clone());
        match RedbBackend::open_in(storage, config.clone(), Callbacks::default()) {
            Ok(store) => break store,
            Err(error) => assert!(error.is_in_use() && start.elapsed() < PATIENCE, "{error}"),
        }
    };
    assert_eq!(again.stats().unwrap().events, 5);
}

/// All events of the sessions from 1 on, each once and in order, `at_least` so many sessions.
fn assert_whole(found: &[Arc<Event>], at_least: i64) {
    let expected =
        (1..).flat_map(|session| (1..=5).map(move |instance| EventId::new(1, session, instance)));
    for (event, expected) in found.iter().zip(expected) {
        assert_eq!(event.id, expected);
    }
    assert!(
        found.len() as i64 >= at_least * 5,
        "{} events of {at_least} sessions",
        found.len()
    );
}

fn events(session: i64, count: i64, bytes: usize) -> Events {
    let event = |instance| {
        let event_type = EventType::new(["rig", &format!("{}", instance % 3)]);
        let event = Event::new(
            EventId::new(1, session, instance),
            event_type,
            Timestamp::new(session, 0),
        );
        Arc::new(event.with_payload(Payload::Binary(Binary::new("bytes", vec![7; bytes]))))
    };
    (1..=count).map(event).collect::<Vec<_>>().into()
}

fn open(storage: &(impl Storage + Clone + 'static), config: StoreConfig) -> RedbBackend {
    RedbBackend::open_in(Arc::new(storage.clone()), config, Callbacks::default()).unwrap()
}

const SESSIONS: i64 = 800;
const PATIENCE: Duration = Duration::from_secs(60);
