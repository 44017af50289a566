//! What a power cut may leave: of the writes since the last sync each sector is there or not. The store opens every such image, has
//! every event whose registering returned, each once and in order, and no half of a batch.

use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Json, Order, Payload, QueryLatestParams, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Durability, MemoryStorage, RedbBackend, Storage, StorageFile, StoreConfig,
};

use store_support::{LoggedStorage, Random};

mod store_support;

#[test]
fn committed_events_survive_every_crash() {
    survive(
        StoreConfig::default().durability(Durability::Committed),
        |_, _| (),
        1000,
        11,
    );
}

#[test]
fn committed_events_survive_every_crash_between_flushes() {
    let config = StoreConfig::default().durability(Durability::Committed);
    let flush = |store: &RedbBackend, batch| {
        if batch % 5 == 4 {
            store.flush().unwrap();
        }
    };
    survive(config, flush, 1000, 12);
}

#[test]
fn flushed_events_survive_every_crash() {
    let flush = |store: &RedbBackend, _| store.flush().unwrap();
    let config = StoreConfig::default().durability(Durability::Periodic);
    survive(config, flush, 300, 13);
}

/// Registers batches, each of which is durable once `make_durable` returned, and looks at what crashes leave.
fn survive(
    config: StoreConfig,
    make_durable: impl Fn(&RedbBackend, usize),
    images: usize,
    seed: u64,
) {
    // Flushes are those of the test.
    let config = config.flush_period(Duration::from_secs(3600));
    let storage = LoggedStorage::default();
    let store = open(storage.clone(), &config);
    let batches = batches(seed);
    for (number, batch) in batches.iter().enumerate() {
        store.register(batch.clone().into()).unwrap();
        make_durable(&store, number);
        storage.acknowledge(number as u64 + 1);
    }
    store.close().unwrap();
    let (mut seen, mut ahead) = (0, 0);
    storage.crash_images(images, seed, |image| {
        let store = open(MemoryStorage::with_bytes(image.bytes), &config);
        let found = all_events(&store);
        let mut whole = 0;
        let mut at = 0;
        while at < found.len() {
            at += batches[whole].len();
            whole += 1;
        }
        assert_eq!(at, found.len(), "at {}: half of a batch", image.at);
        let acknowledged = image.acknowledged as usize;
        assert!(
            (acknowledged..=acknowledged + 1).contains(&whole),
            "at {}: {whole} batches, of {acknowledged} acknowledged",
            image.at
        );
        let expected: Vec<_> = batches[..whole].concat();
        assert_eq!(found, expected, "at {}", image.at);
        look(&store, &expected);
        if let Some(next) = batches.get(whole)
            && seen % 10 == 0
        {
            store.register(next.clone().into()).unwrap();
            store.flush().unwrap();
            look(&store, &[&expected[..], next].concat());
        }
        seen += 1;
        ahead += usize::from(whole > acknowledged);
    });
    assert_eq!(seen, images);
    assert!(ahead > 0 && ahead < images / 2, "{ahead} of {images}");
}

/// Every kind of query gives these events and no others.
fn look(store: &RedbBackend, expected: &[Arc<Event>]) {
    let last = expected.last().map_or(EventId::none(1), |event| event.id);
    assert_eq!(store.last_event_id(1).unwrap(), last);
    let ascending = QueryTimeseriesParams::default().order(Order::Ascending);
    let found = store.query(&ascending.clone().into()).unwrap();
    assert_eq!(found.events, expected);
    let of_type = ascending.event_types([EventType::from("rig-1/kind-1")]);
    let found = store.query(&of_type.into()).unwrap();
    let type_1 = |event: &&Arc<Event>| event.event_type == EventType::from("rig-1/kind-1");
    assert!(found.events.iter().eq(expected.iter().filter(type_1)));
    let latest = store.query(&QueryLatestParams::default().into()).unwrap();
    for event in &latest.events {
        let last = expected
            .iter()
            .rfind(|other| other.event_type == event.event_type);
        assert_eq!(Some(event), last);
    }
}

fn all_events(store: &RedbBackend) -> Vec<Arc<Event>> {
    store
        .query(&QueryServerParams::new(1).into())
        .unwrap()
        .events
}

/// Some 500 events of one server in batches of 1 to 20.
fn batches(seed: u64) -> Vec<Vec<Arc<Event>>> {
    let mut random = Random(seed);
    let mut events = (1..).map(|instance| {
        let event_type = EventType::from(&*format!("rig-1/kind-{}", instance % 7));
        let text = format!("\"{}\"", "x".repeat(instance as usize * 37 % 600));
        let time = Timestamp::new(1_700_000_000 + instance / 3, 0);
        let event = Event::new(EventId::new(1, 1, instance), event_type, time)
            .with_source_timestamp((instance % 2 == 0).then_some(time))
            .with_payload(Payload::Json(Json::new(text).unwrap()));
        Arc::new(event)
    });
    let sizes = (0..50).map(|_| 1 + random.below(20));
    sizes
        .map(|size| events.by_ref().take(size).collect())
        .collect()
}

fn open(storage: impl Storage + 'static, config: &StoreConfig) -> RedbBackend {
    RedbBackend::open_in(Arc::new(storage), config.clone(), Callbacks::default()).unwrap()
}
