//! The durable backend under several threads, and at the bound of its memory.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{
    Binary, Event, EventId, EventType, Events, Order, Payload, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Durability, Limit, MemoryStorage, PartitionConfig, RedbBackend, Storage,
    StorageFile, StoreConfig,
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
fn a_second_close_returns_when_the_store_is_closed() {
    let storage = MemoryStorage::default();
    let (begun, closing) = mpsc::channel();
    let (go_on, waits) = mpsc::channel();
    let waits = Mutex::new(waits);
    let callbacks = Callbacks::default().flushed(move |_| {
        begun.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
    });
    let config = StoreConfig::default().flush_period(Duration::from_secs(1000));
    let store = RedbBackend::open_in(Arc::new(storage.clone()), config.clone(), callbacks);
    let store = store.unwrap();
    store.register(events(1, 5, 10)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| store.close().unwrap());
        closing.recv_timeout(PATIENCE).unwrap();
        let second = scope.spawn(|| {
            store.close().unwrap();
            open(&storage, config).stats().unwrap().events
        });
        go_on.send(()).unwrap();
        assert_eq!(second.join().unwrap(), 5);
    });
}

#[test]
fn events_that_are_left_out_are_held_for_callbacks_within_the_bound() {
    let told = Arc::new(AtomicI64::new(0));
    let callbacks = {
        let told = Arc::clone(&told);
        Callbacks::default().flushed(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        })
    };
    let config = StoreConfig::default()
        .flush_period(Duration::from_secs(1000))
        .max_unflushed_bytes(1_000_000);
    let store = RedbBackend::open_in(Arc::new(MemoryStorage::default()), config, callbacks);
    let store = store.unwrap();
    store.register(events(1, 5, 1000)).unwrap();
    let mut calls = Vec::new();
    for _ in 0..1000 {
        // Not newer than what is stored.
        let call = events(1, 5, 1000);
        calls.push(Arc::downgrade(&call));
        store.register(call).unwrap();
        assert!(store.stats().unwrap().unflushed_bytes <= 1_000_000);
    }
    let held = calls.iter().filter(|call| call.strong_count() > 0).count();
    assert!(held * 5000 <= 1_000_000, "{held} calls are held");
    store.flush().unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 1001);
}

#[test]
fn limit_that_is_no_number_does_not_open_the_store() {
    for wrong in [f64::NAN, -1.0] {
        let limit = Limit {
            max_entries: Some(wrong),
            ..Limit::default()
        };
        let [by_time, by_source] = PartitionConfig::all();
        let config = StoreConfig::default().timeseries([by_time, by_source.limit(limit)]);
        let storage = Arc::new(MemoryStorage::default());
        let error = RedbBackend::open_in(storage, config, Callbacks::default()).unwrap_err();
        let text =
            format!("timeseries[1].limit.max_entries: a number from 0 is wanted, not {wrong}");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_visit_in_progress_ends_with_closed_when_the_store_is_closed() {
    let config = StoreConfig::default().timeseries_max_results(usize::MAX);
    let mut of_visits = Vec::new();
    for params in [
        QueryTimeseriesParams::default().into(),
        QueryServerParams::new(1).into(),
    ] {
        // Nothing is read ahead of the disk.
        let config = config.clone().cache_bytes(0).database_cache_bytes(0);
        let store = open(&MemoryStorage::default(), config);
        for session in 1..=400 {
            store.register(events(session, 10, 500)).unwrap();
        }
        store.flush().unwrap();
        of_visits.push(store.visit(&params, &mut |_| {
            store.close().unwrap();
            ControlFlow::Continue(())
        }));
    }
    for visit in of_visits {
        let error = visit.unwrap_err();
        assert!(error.is_closed(), "{error}");
    }
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
