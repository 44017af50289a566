#![no_main]

use std::sync::{Arc, LazyLock};

use acqbus::event::{Event, EventId, EventType, QueryParams, Timestamp};
use acqbus::store::{Backend, Callbacks, MemoryBackend, MemoryStorage, RedbBackend, StoreConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for read in [StoreConfig::from_toml(text), StoreConfig::from_json(text)] {
        match read {
            Ok(config) => assert!(config.partitions().len() <= config.timeseries.len()),
            Err(error) => assert!(error.is_configuration(), "{error:?}"),
        }
    }
    if let Ok(params) = serde_json::from_str::<QueryParams>(text) {
        let (durable, memory) = &*STORES;
        assert_eq!(ask(durable, &params), ask(memory, &params));
    }
});

static STORES: LazyLock<(RedbBackend, MemoryBackend)> = LazyLock::new(|| {
    let storage = Arc::new(MemoryStorage::default());
    let durable = RedbBackend::open_in(storage, StoreConfig::default(), Callbacks::default());
    let stores = (
        durable.expect("a new store"),
        MemoryBackend::new(Callbacks::default()),
    );
    for (instance, time) in (1..).zip([i64::MIN, 0, 0, 5, i64::MAX]) {
        let id = EventId::new(1, 1, instance);
        let event_type = EventType::from(["a", "a/b"][(instance % 2) as usize]);
        let event = Arc::new(Event::new(id, event_type, Timestamp::new(time, 0)));
        stores
            .0
            .register(vec![Arc::clone(&event)].into())
            .expect("room");
        stores.1.register(vec![event].into()).expect("room");
    }
    stores
});

/// The ids and whether more follows; `None` where the query is refused.
fn ask(store: &dyn Backend, params: &QueryParams) -> Option<(Vec<EventId>, bool)> {
    let result = store
        .query(params)
        .map_err(|error| assert!(error.is_query(), "{error:?}"))
        .ok()?;
    let mut ids: Vec<_> = result.events.iter().map(|event| event.id).collect();
    if matches!(params, QueryParams::Latest(_)) {
        ids.sort_unstable();
    }
    Some((ids, result.more_follows))
}
