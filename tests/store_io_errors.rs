//! The disk fails, or is full, at every call of a fixed workload: each failure is a typed error, nothing that was registered is
//! lost, and the store goes on when the disk is well again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{
    Binary, Event, EventId, EventType, Order, Payload, QueryServerParams, QueryTimeseriesParams,
    Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Durability, MemoryStorage, RedbBackend, Storage, StorageFile, StoreConfig,
    StoreError,
};

use store_support::FailingStorage;

mod store_support;

#[test]
fn committed_events_are_kept_through_an_error_of_any_call() {
    every_call_fails(Durability::Committed, io::ErrorKind::Other);
}

#[test]
fn committed_events_are_kept_through_a_full_disk() {
    every_call_fails(Durability::Committed, io::ErrorKind::StorageFull);
}

#[test]
fn periodic_events_are_kept_through_an_error_of_any_call() {
    every_call_fails(Durability::Periodic, io::ErrorKind::Other);
}

#[test]
fn periodic_events_are_kept_through_a_full_disk() {
    every_call_fails(Durability::Periodic, io::ErrorKind::StorageFull);
}

#[test]
fn commit_that_fails_takes_nothing_along_that_a_failed_flush_left_behind() {
    let kind = io::ErrorKind::StorageFull;
    let storage = FailingStorage::new(MemoryStorage::default(), usize::MAX, kind);
    let config = StoreConfig::default()
        .durability(Durability::Committed)
        .flush_period(Duration::from_secs(3600));
    let open = || {
        let storage = Arc::new(storage.clone());
        RedbBackend::open_in(storage, config.clone(), Callbacks::default()).unwrap()
    };
    let store = open();
    store.register(vec![event(1), event(2)].into()).unwrap();
    storage.fail();
    store.flush().unwrap_err();
    storage.heal();
    store.register(vec![event(3), event(4)].into()).unwrap();
    storage.fail();
    store.register(vec![event(5)].into()).unwrap_err();
    storage.heal();
    let expected: Vec<_> = (1..=4).map(event).collect();
    assert_eq!(look(&store).unwrap(), expected);
    store.flush().unwrap();
    assert_eq!(look(&store).unwrap(), expected);
    store.close().unwrap();
    let store = open();
    assert_eq!(look(&store).unwrap(), expected);
    let mut damage = Vec::new();
    store.check(&mut |found| damage.push(found)).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
}

#[test]
fn what_was_refused_is_not_there_after_a_clean_close() {
    let config = StoreConfig::default()
        .durability(Durability::Committed)
        .flush_period(Duration::from_secs(3600));
    for calls in 0.. {
        let kind = io::ErrorKind::StorageFull;
        let storage = FailingStorage::new(MemoryStorage::default(), usize::MAX, kind);
        let open = || {
            let storage = Arc::new(storage.clone());
            RedbBackend::open_in(storage, config.clone(), Callbacks::default()).unwrap()
        };
        let store = open();
        store.register(vec![event(1)].into()).unwrap();
        store.flush().unwrap();
        storage.fail_after(calls);
        let registered = store.register(vec![event(2)].into());
        storage.heal();
        store.close().unwrap();
        drop(store);
        let expected: Vec<_> = (1..=1 + i64::from(registered.is_ok())).map(event).collect();
        assert_eq!(look(&open()).unwrap(), expected, "after {calls} calls");
        if registered.is_ok() {
            assert!(calls > 2);
            return;
        }
    }
}

fn every_call_fails(durability: Durability, kind: io::ErrorKind) {
    // Flushes are those of the workload.
    let config = StoreConfig::default()
        .durability(durability)
        .flush_period(Duration::from_secs(3600));
    let well = FailingStorage::new(MemoryStorage::default(), usize::MAX, kind);
    let calls = run(&well, &config, kind);
    assert!(calls > 50, "{calls} calls");
    let failed = (0..calls).filter(|after| {
        let storage = FailingStorage::new(MemoryStorage::default(), *after, kind);
        run(&storage, &config, kind);
        storage.has_failed()
    });
    // What the thread of the store does beside the workload may take a few calls less.
    assert!(failed.count() > calls * 9 / 10);
}

/// Registers, flushes and queries; after the first error the disk is well again. Gives the number of calls up to closing.
fn run(storage: &FailingStorage, config: &StoreConfig, kind: io::ErrorKind) -> usize {
    let typed = |error: StoreError| {
        assert_eq!(
            error.is_full(),
            kind == io::ErrorKind::StorageFull,
            "{error:?}"
        );
        storage.heal();
    };
    let open = || {
        let storage = Arc::new(storage.clone());
        RedbBackend::open_in(storage, config.clone(), Callbacks::default())
    };
    let store = open().or_else(|error| {
        typed(error);
        open()
    });
    let store = store.unwrap();
    let mut registered: Vec<Arc<Event>> = Vec::new();
    for number in 0..8 {
        let batch: Vec<_> = (1..=10).map(|n| event(number * 10 + n)).collect();
        if let Err(error) = store.register(batch.clone().into()) {
            typed(error);
            store.register(batch.clone().into()).unwrap();
        }
        registered.extend(batch);
        if number % 3 == 2
            && let Err(error) = store.flush()
        {
            typed(error);
            store.flush().unwrap();
        }
        let found = match look(&store) {
            Ok(found) => found,
            Err(error) => {
                typed(error);
                look(&store).unwrap()
            }
        };
        assert_eq!(found, registered);
    }
    if let Err(error) = store.close() {
        typed(error);
    }
    drop(store);
    let (calls, has_failed) = (storage.calls(), storage.has_failed());
    storage.heal();
    let store = open().unwrap();
    let found = look(&store).unwrap();
    if config.durability == Durability::Committed || !has_failed {
        assert_eq!(found, registered);
    } else {
        // Closing may be what failed, and it is told.
        assert!(registered.starts_with(&found));
    }
    calls
}

fn look(store: &RedbBackend) -> Result<Vec<Arc<Event>>, StoreError> {
    let by_time = QueryTimeseriesParams::default().order(Order::Ascending);
    let by_time = store.query(&by_time.into())?.events;
    let by_server = store.query(&QueryServerParams::new(1).into())?.events;
    assert_eq!(by_time, by_server);
    Ok(by_time)
}

fn event(instance: i64) -> Arc<Event> {
    let event_type = EventType::from(&*format!("rig-1/kind-{}", instance % 3));
    let time = Timestamp::new(1_700_000_000 + instance, 0);
    let data = vec![instance as u8; instance as usize * 13 % 300];
    let event = Event::new(EventId::new(1, 1, instance), event_type, time);
    Arc::new(event.with_payload(Payload::Binary(Binary::new("data", data))))
}
