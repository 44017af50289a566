//! What a damaged entry of the tables `types`, `latest` and `meta` does: what the rest proves is rebuilt, the rest can be got out.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Json, Order, OrderBy, QueryLatestParams, QueryServerParams,
    QueryTimeseriesParams, Subscription, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Damage, Durability, Limit, MemoryStorage, PartitionConfig, RedbBackend,
    StoreConfig, StoreError,
};
use crc32c::{crc32c, crc32c_append};

#[test]
fn damaged_latest_event_is_taken_from_the_indexes() {
    let (storage, events) = filled(&config());
    let before = latest(&open(&storage, &config()).unwrap());
    let last = newest(&events, "rig/1");
    let spoilt = spoil_latest(&storage, last.id);
    assert_eq!(names(&check(&spoilt)), ["the latest event of type 1"]);

    let store = open(&spoilt, &config()).unwrap();
    assert_eq!(latest(&store), before);
    let mut told = Vec::new();
    store.check(&mut |damage| told.push(damage)).unwrap();
    assert_eq!(names(&told), ["the latest event of type 1"]);
    assert!(
        told[0].reason.contains("taken from the indexes"),
        "{told:?}"
    );
    store.close().unwrap();
    assert_eq!(check(&spoilt), [], "it was written again");
    assert_eq!(latest(&open(&spoilt, &config()).unwrap()), before);
}

#[test]
fn damaged_latest_event_that_no_index_has_is_left_out_until_the_next() {
    let config = config().timeseries([]);
    let (storage, events) = filled(&config);
    let before = latest(&open(&storage, &config).unwrap());
    let last = newest(&events, "rig/1");
    let spoilt = spoil_latest(&storage, last.id);

    let store = open(&spoilt, &config).unwrap();
    let mut without = before.clone();
    without.retain(|event| event.id != last.id);
    let all = store.query(&QueryLatestParams::default().into());
    assert!(all.unwrap_err().is_damage());
    let mut params = QueryLatestParams::default();
    params.event_types = Some(["rig/0", "rig/2", "rig/3"].map(EventType::from).to_vec());
    let mut found = store.query(&params.into()).unwrap().events;
    found.sort_by_key(|event| event.id);
    assert_eq!(found, without);
    let mut told = Vec::new();
    store.check(&mut |damage| told.push(damage)).unwrap();
    assert!(
        told.iter()
            .any(|damage| damage.reason.contains("none is given"))
    );

    let next = event(1, 100, 1, "rig/1");
    store.register(vec![Arc::clone(&next)].into()).unwrap();
    store.flush().unwrap();
    without.push(next);
    without.sort_by_key(|event| event.id);
    assert_eq!(latest(&store), without);
    // The index of the servers has the damaged one no longer either.
    for server in [1, 2] {
        let found = store.query(&QueryServerParams::new(server).into());
        let of_server = without.iter().filter(|event| event.id.server == server);
        assert!(found.unwrap().events.iter().eq(of_server));
    }
    store.close().unwrap();
    assert_eq!(check(&spoilt), []);
    assert_eq!(latest(&open(&spoilt, &config).unwrap()), without);
}

#[test]
fn event_that_was_registered_later_and_is_older_is_not_taken_for_the_latest() {
    let storage = MemoryStorage::default();
    let store = open(&storage, &config()).unwrap();
    let latest_of_all = event(1, 10, 1, "rig/1");
    store
        .register(vec![Arc::clone(&latest_of_all)].into())
        .unwrap();
    for session in 2..6 {
        // Earlier by their own time, later in the store.
        let early = event_at(2, session, "rig/1", 5);
        store.register(vec![early].into()).unwrap();
    }
    store.flush().unwrap();
    let found = latest(&store);
    assert_eq!(found, [Arc::clone(&latest_of_all)]);
    store.close().unwrap();
    let spoilt = spoil_latest(&storage, latest_of_all.id);
    assert_eq!(latest(&open(&spoilt, &config()).unwrap()), found);
}

#[test]
fn damaged_last_event_of_a_server_is_rebuilt_and_no_session_comes_again() {
    let (storage, events) = filled(&config());
    let store = open(&storage, &config()).unwrap();
    let last = store.last_event_id(1).unwrap();
    let timestamp = store.last_timestamp(1).unwrap().unwrap();
    assert_eq!(
        last,
        events
            .iter()
            .map(|event| event.id)
            .filter(|id| id.server == 1)
            .max()
            .unwrap()
    );
    store.close().unwrap();
    let key = [&b"last/"[..], &1_i64.to_be_bytes()].concat();
    let value = [&timestamp.to_bytes()[..], &last.to_bytes()].concat();
    let spoilt = spoil(&storage, &key, &value);
    assert_eq!(check(&spoilt).len(), 1);

    let store = open(&spoilt, &config()).unwrap();
    assert_eq!(store.last_event_id(1).unwrap(), last);
    assert_eq!(store.last_timestamp(1).unwrap(), Some(timestamp));
    assert!(store.session_floor(1).unwrap() > last.session + 1_000_000_000);
    let floor = store.session_floor(1).unwrap();
    store.close().unwrap();
    assert_eq!(check(&spoilt), []);
    let store = open(&spoilt, &config()).unwrap();
    assert_eq!(store.session_floor(1).unwrap(), floor, "once");
}

#[test]
fn damaged_sessions_of_a_server_begin_far_beyond_its_last() {
    let (storage, _) = filled(&config());
    let store = open(&storage, &config()).unwrap();
    store.reserve_sessions(1, 70_000).unwrap();
    store.reserve_sessions(7, 500).unwrap();
    store.close().unwrap();
    for (server, last) in [(1_i64, 70_000_i64), (7, 500)] {
        let key = [&b"sessions/"[..], &server.to_be_bytes()].concat();
        let spoilt = spoil(&storage, &key, &last.to_be_bytes());
        let store = open(&spoilt, &config()).unwrap();
        assert!(store.session_floor(server).unwrap() > 1_000_000_000_000);
        // Whose sessions they are is not certain.
        let other = store.session_floor(2).unwrap();
        assert!(other > 1_000_000_000_000, "{other}");
    }
}

#[test]
fn store_with_a_damaged_type_is_not_opened_and_all_other_events_are_salvaged() {
    let (storage, events) = filled(&config());
    let segments = [&3_u32.to_le_bytes()[..], b"rig", &1_u32.to_le_bytes(), b"1"].concat();
    let spoilt = spoil(&storage, &1_u32.to_be_bytes(), &segments);
    assert!(open(&spoilt, &config()).unwrap_err().is_damage());
    assert!(names(&check(&spoilt)).contains(&"event type 1"));

    let (salvaged, told) = salvage(&spoilt).unwrap();
    let others: Vec<_> = events
        .iter()
        .filter(|event| event.event_type != EventType::from("rig/1"))
        .cloned()
        .collect();
    assert_eq!(salvaged, others);
    assert!(
        told.len() > events.len() - others.len(),
        "each of them is told"
    );

    let copy = open(&MemoryStorage::default(), &config()).unwrap();
    copy.register(salvaged.into()).unwrap();
    let all = QueryTimeseriesParams::default().order(Order::Ascending);
    assert_eq!(copy.query(&all.into()).unwrap().events.len(), others.len());
}

#[test]
fn good_copy_among_the_latest_events_stands_in_for_a_damaged_record() {
    let (storage, events) = filled(&config());
    let last = newest(&events, "rig/1");
    let latest_at = find_latest(&storage.to_bytes(), last.id);
    let mut bytes = storage.to_bytes();
    let mut spoilt = 0;
    for at in places_of(&storage.to_bytes(), &last.id.to_bytes()) {
        // The record of a block: the checksum before it is over it, and it is not that of the table `latest`.
        let start = at - 12;
        let body = u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap()) as usize;
        let Some(record) = bytes.get(start + 4..(start + 8).saturating_add(body)) else {
            continue;
        };
        let is_record = crc32c(record).to_le_bytes() == bytes[start..start + 4];
        if is_record && !latest_at.contains(&(start - 5)) {
            bytes[start + 4 + record_middle(body)] ^= 1;
            spoilt += 1;
        }
    }
    assert!(spoilt > 0);
    let spoilt = MemoryStorage::with_bytes(bytes);
    assert!(!check(&spoilt).is_empty());
    let (salvaged, told) = salvage(&spoilt).unwrap();
    assert_eq!(salvaged, events);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn events_that_a_cleanup_has_removed_are_not_salvaged() {
    let limit = Limit {
        max_entries: Some(10.0),
        ..Limit::default()
    };
    let mut config = config();
    for series in &mut config.timeseries {
        series.limit = Some(limit);
    }
    let (storage, _) = filled(&config);
    let store = open(&storage, &config).unwrap();
    store.cleanup(Timestamp::now()).unwrap();
    let mut kept: Vec<_> = Vec::new();
    for server in [1, 2] {
        let found = store.query(&QueryServerParams::new(server).into()).unwrap();
        kept.extend(found.events);
    }
    store.close().unwrap();
    let (mut salvaged, told) = salvage(&storage).unwrap();
    salvaged.sort_by_key(|event| event.id);
    assert_eq!(salvaged, kept);
    assert_eq!(told, []);
}

#[test]
fn cleanup_goes_on_past_a_damaged_chunk() {
    let limit = Limit {
        max_entries: Some(10.0),
        ..Limit::default()
    };
    let of = |one: &str| Subscription::new([one.into()]).unwrap();
    let series = ["rig/0", "rig/1"].map(|one| PartitionConfig::new(OrderBy::Timestamp, of(one)));
    let (storage, _) = filled(&config().timeseries(series.clone()));
    for spoilt_series in [1_u32, 2] {
        // A chunk of the index of the series: a checksum, its prefix, entries.
        let prefix = [&[5, b'p'][..], &spoilt_series.to_be_bytes()].concat();
        let mut bytes = storage.to_bytes();
        let mut spoilt = 0;
        for at in places_of(&storage.to_bytes(), &prefix) {
            let is_chunk = |entries: &usize| {
                let chunk = storage.to_bytes()[at..]
                    .get(..prefix.len() + entries * 48)
                    .map(crc32c);
                chunk.is_some_and(|crc| bytes[at - 4..at] == crc.to_le_bytes())
            };
            if (1..=40).rev().any(|entries| is_chunk(&entries)) {
                bytes[at + 20] ^= 1;
                spoilt += 1;
            }
        }
        assert!(spoilt > 0);
        let spoilt = MemoryStorage::with_bytes(bytes);
        let config = config().timeseries(series.clone().map(|one| one.limit(limit)));
        let store = open(&spoilt, &config).unwrap();
        store.cleanup(Timestamp::now()).unwrap();
        let whole = if spoilt_series == 1 { "rig/1" } else { "rig/0" };
        let params = QueryTimeseriesParams::default().event_types([whole.into()]);
        let found = store.query(&params.into()).unwrap().events;
        assert_eq!(found.len(), 10, "series {spoilt_series} is damaged");
        let mut told = Vec::new();
        store.check(&mut |damage| told.push(damage)).unwrap();
        assert!(!told.is_empty());
    }
}

#[test]
fn store_of_the_version_before_is_opened_and_one_of_a_later_is_not() {
    let of_version = |version: &[u8]| {
        let (storage, _) = filled(&config());
        let value = |version: &[u8]| {
            let crc = crc32c_append(crc32c(b"version"), version).to_le_bytes();
            [&crc, version].concat()
        };
        let mut bytes = storage.to_bytes();
        let places = places_of(&bytes, &value(b"2"));
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + 5].copy_from_slice(&value(version));
        }
        MemoryStorage::with_bytes(bytes)
    };
    let before = of_version(b"1");
    let store = open(&before, &config()).unwrap();
    let all = QueryTimeseriesParams::default();
    assert_eq!(store.query(&all.into()).unwrap().events.len(), 160);
    store.close().unwrap();
    assert_eq!(check(&before), []);
    let error = open(&of_version(b"3"), &config()).unwrap_err();
    assert!(matches!(error, StoreError::Version { .. }), "{error}");
}

#[test]
fn store_on_disk_is_looked_at_without_being_changed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("history");
    let mut ignore = |_| {};
    assert!(
        RedbBackend::check_file(&dir, &mut ignore)
            .unwrap_err()
            .is_not_found()
    );
    assert!(!dir.exists());
    let store = RedbBackend::open(&dir, config(), Callbacks::default()).unwrap();
    store
        .register(vec![event(1, 1, 1, "rig/1")].into())
        .unwrap();
    store.flush().unwrap();
    assert!(
        RedbBackend::check_file(&dir, &mut ignore)
            .unwrap_err()
            .is_in_use()
    );
    // As a killed process leaves it.
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let file = copy.join("store.redb");
    fs::copy(dir.join("store.redb"), &file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let summary = RedbBackend::check_file(&copy, &mut ignore).unwrap();
    assert_eq!((summary.events, summary.damaged), (1, 0));
    let mut show = |_: &Arc<Event>| ControlFlow::Continue(());
    let salvaged = RedbBackend::salvage(&copy, &mut ignore, &mut show);
    assert_eq!(salvaged.unwrap(), 1);
    assert!(fs::read(&file).unwrap() == bytes);

    fs::write(&file, b"something else that is no store").unwrap();
    let error = RedbBackend::check_file(&copy, &mut ignore).unwrap_err();
    assert!(error.is_damage(), "{error}");
}

#[test]
fn repaired_store_has_all_that_is_whole_and_keeps_the_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let file = dir.join("store.redb");
    let config = config().identifier("rig-1");
    let (storage, events) = filled(&config);
    let store = open(&storage, &config).unwrap();
    store.reserve_sessions(1, 5000).unwrap();
    store.close().unwrap();
    let segments = [&3_u32.to_le_bytes()[..], b"rig", &1_u32.to_le_bytes(), b"1"].concat();
    let spoilt = spoil(&storage, &1_u32.to_be_bytes(), &segments).to_bytes();
    let others = || {
        events
            .iter()
            .filter(|event| event.event_type != EventType::from("rig/1"))
    };
    for aside in ["store.redb.damaged", "store.redb.damaged-2"] {
        fs::write(&file, &spoilt).unwrap();
        // As a crash in the middle of another repair leaves it.
        fs::write(dir.join("store.redb.new"), b"something").unwrap();
        let open = || RedbBackend::open(dir, config.clone(), Callbacks::default());
        assert!(open().unwrap_err().is_damage());
        let other = config.clone().identifier("rig-2");
        let error = RedbBackend::repair(dir, other, &mut |_| {}).unwrap_err();
        assert!(matches!(error, StoreError::Identifier { .. }), "{error}");

        let mut told = 0;
        let mut without = config.clone();
        without.identifier = None;
        let before = fs::read(&file).unwrap();
        let repair = RedbBackend::repair(dir, without, &mut |_| told += 1).unwrap();
        assert_eq!(repair.events, others().count() as u64);
        assert_eq!(repair.aside, dir.join(aside));
        assert!(told > 0 && fs::read(&repair.aside).unwrap() == before);
        assert!(!dir.join("store.redb.new").exists());

        let store = open().unwrap();
        let all = QueryTimeseriesParams::default().order(Order::Ascending);
        assert!(store.query(&all.into()).unwrap().events.iter().eq(others()));
        assert_eq!(store.session_floor(1).unwrap(), 5000);
        assert!(store.session_floor(2).unwrap() > 1_000_000_000_000);
        assert!(
            RedbBackend::repair(dir, config.clone(), &mut |_| {})
                .unwrap_err()
                .is_in_use()
        );
        store.close().unwrap();
        let mut ignore = |_| {};
        assert_eq!(
            RedbBackend::check_file(dir, &mut ignore).unwrap().damaged,
            0
        );
    }
}

#[test]
fn store_with_a_damaged_event_behind_the_indexes_is_repaired() {
    let config = config().durability(Durability::Committed);
    let storage = MemoryStorage::default();
    let store = open(&storage, &config).unwrap();
    for session in 1..=3 {
        store
            .register(vec![event(1, session, 1, "rig/1")].into())
            .unwrap();
    }
    // As a killed process leaves it.
    let mut bytes = storage.to_bytes();
    let lost = br#"{"session": 2"#;
    for at in places_of(&storage.to_bytes(), lost) {
        bytes[at + 2] ^= 1;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.redb"), bytes).unwrap();
    let open = || RedbBackend::open(folder.path(), config.clone(), Callbacks::default());
    match open() {
        Err(error) => assert!(error.is_damage(), "{error}"),
        Ok(_) => panic!("it is opened without the lost event"),
    }
    match RedbBackend::repair(folder.path(), config.clone(), &mut |_| {}) {
        Ok(repair) => {
            assert_eq!(repair.events, 2);
            assert_eq!(open().unwrap().stats().unwrap().events, 2);
        }
        // The engine verifies all its pages after a crash in this mode.
        Err(error) => assert!(error.is_damage(), "{error}"),
    }
}

/// 40 sessions of two servers with events of four types, flushed and closed; what was registered, in order.
fn filled(config: &StoreConfig) -> (MemoryStorage, Vec<Arc<Event>>) {
    let storage = MemoryStorage::default();
    let store = open(&storage, config).unwrap();
    let mut events = Vec::new();
    for session in 1..=40 {
        let batch: Vec<_> = (0..4)
            .map(|n| event(1 + session % 2, session, n + 1, &format!("rig/{n}")))
            .collect();
        events.extend(batch.iter().cloned());
        store.register(batch.into()).unwrap();
        if session % 9 == 0 {
            store.flush().unwrap();
        }
    }
    store.close().unwrap();
    (storage, events)
}

fn open(storage: &MemoryStorage, config: &StoreConfig) -> Result<RedbBackend, StoreError> {
    let storage = Arc::new(storage.clone());
    RedbBackend::open_in(storage, config.clone(), Callbacks::default())
}

fn config() -> StoreConfig {
    StoreConfig::default().flush_period(Duration::from_secs(1000))
}

fn event(server: i64, session: i64, instance: i64, event_type: &str) -> Arc<Event> {
    let id = EventId::new(server, session, instance);
    let time = Timestamp::new(1_700_000_000 + session, 0);
    let payload = Json::new(format!(r#"{{"session": {session}, "n": {instance}}}"#)).unwrap();
    let event = Event::new(id, EventType::from(event_type), time);
    Arc::new(event.with_payload(acqbus::event::Payload::Json(payload)))
}

fn event_at(server: i64, session: i64, event_type: &str, second: i64) -> Arc<Event> {
    let id = EventId::new(server, session, 1);
    let time = Timestamp::new(1_700_000_000 + second, 0);
    Arc::new(Event::new(id, EventType::from(event_type), time))
}

fn latest(store: &RedbBackend) -> Vec<Arc<Event>> {
    let mut events = store
        .query(&QueryLatestParams::default().into())
        .unwrap()
        .events;
    events.sort_by_key(|event| event.id);
    events
}

fn newest<'a>(events: &'a [Arc<Event>], event_type: &str) -> &'a Arc<Event> {
    let event_type = EventType::from(event_type);
    let mut of_type = events.iter().filter(|event| event.event_type == event_type);
    of_type.next_back().unwrap()
}

fn check(storage: &MemoryStorage) -> Vec<Damage> {
    let mut told = Vec::new();
    let summary = RedbBackend::check_in(Arc::new(storage.clone()), &mut |damage| {
        // The database's own checksums, beside ours.
        if damage.what != "memory" && damage.what != "the pages of the database" {
            told.push(damage);
        }
    });
    summary.unwrap();
    told
}

fn salvage(storage: &MemoryStorage) -> Result<(Vec<Arc<Event>>, Vec<Damage>), StoreError> {
    let (mut events, mut told) = (Vec::new(), Vec::new());
    let count = RedbBackend::salvage_in(
        Arc::new(storage.clone()),
        &mut |damage| told.push(damage),
        &mut |event| {
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        },
    )?;
    assert_eq!(count, events.len() as u64);
    Ok((events, told))
}

fn names(damages: &[Damage]) -> Vec<&str> {
    damages.iter().map(|damage| &*damage.what).collect()
}

/// Flips a bit in every copy of a value with its checksum, of which old pages may have some.
fn spoil(storage: &MemoryStorage, key: &[u8], value: &[u8]) -> MemoryStorage {
    let crc = crc32c_append(crc32c(key), value).to_le_bytes();
    let mut bytes = storage.to_bytes();
    let places = places_of(&bytes, &[&crc, value].concat());
    assert!(!places.is_empty(), "it is not there");
    for at in places {
        bytes[at] ^= 1;
    }
    MemoryStorage::with_bytes(bytes)
}

/// Flips a bit of what the table `latest` has of this event.
fn spoil_latest(storage: &MemoryStorage, id: EventId) -> MemoryStorage {
    let mut bytes = storage.to_bytes();
    let places = find_latest(&bytes, id);
    assert!(!places.is_empty(), "it is not there");
    for at in places {
        bytes[at + 5 + 60] ^= 1;
    }
    MemoryStorage::with_bytes(bytes)
}

/// Where the values of the table `latest` begin that have this event.
fn find_latest(bytes: &[u8], id: EventId) -> Vec<usize> {
    let is_latest = |start: usize| {
        let body = u32::from_le_bytes(bytes[start + 9..start + 13].try_into().unwrap()) as usize;
        let value = bytes.get(start + 4..(start + 13).saturating_add(body));
        let crc = bytes[start..start + 4]
            .try_into()
            .map(u32::from_le_bytes)
            .unwrap();
        value.is_some_and(|value| {
            (0_u32..8).any(|number| crc32c_append(crc32c(&number.to_be_bytes()), value) == crc)
        })
    };
    let places = places_of(bytes, &id.to_bytes());
    let starts = places.into_iter().map(|at| at - 12 - 5);
    starts.filter(|start| is_latest(*start)).collect()
}

fn places_of(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    let found = windows.filter(|(_, window)| *window == wanted);
    found.map(|(at, _)| at).collect()
}

fn record_middle(body: usize) -> usize {
    body / 2
}
