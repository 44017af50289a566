//! A million records, configurations and queries that somebody damaged: no panic, no hang, and nothing that is more than it says.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use acqbus::event::{
    Event, EventId, EventType, Json, Order, QueryLatestParams, QueryParams, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, MemoryBackend, MemoryStorage, RedbBackend, StoreConfig, fuzz_record,
};

use common::mutate::Dice;

mod common;

#[test]
fn a_million_damaged_inputs_do_no_harm() {
    let started = Instant::now();
    let stores = stores();
    let counts = thread::scope(|scope| {
        let records = [0, 1].map(|seed| scope.spawn(move || damage_records(Dice(seed))));
        let configs = scope.spawn(|| damage_configs(Dice(2)));
        let queries = scope.spawn(|| damage_queries(Dice(3), &stores));
        for thread in records {
            thread.join().expect("no panic");
        }
        let configs = configs.join().expect("no panic");
        (configs, queries.join().expect("no panic"))
    });
    println!(
        "(configurations, queries) still good: {counts:?}, {:?}",
        started.elapsed()
    );
    let (configs, queries) = counts;
    assert!(
        configs > CONFIGS / 200,
        "hardly any configuration is good: {configs}"
    );
    assert!(
        configs < CONFIGS / 2,
        "the damage does hardly any harm: {configs}"
    );
    assert!(
        queries > QUERIES / 100,
        "hardly any query is good: {queries}"
    );
    assert!(
        queries < QUERIES * 9 / 10,
        "the damage does hardly any harm: {queries}"
    );
}

/// Those that are read come out as the same bytes.
fn damage_records(mut dice: Dice) {
    let seeds: Vec<_> = RECORDS.iter().map(|seed| common::unhex(seed)).collect();
    let mut record = Vec::new();
    for _ in 0..RECORDS_EACH {
        let seed = dice.below(seeds.len());
        dice.mutate_with(
            &seeds[seed],
            &[b"\xff\xff\xff\xff", b"\"\\ud800\""],
            &mut record,
        );
        fuzz_record(&record);
    }
}

fn damage_configs(mut dice: Dice) -> u32 {
    let (mut good, mut text) = (0, Vec::new());
    for round in 0..CONFIGS {
        let is_toml = round % 2 == 0;
        let seed = if is_toml { TOML } else { JSON };
        dice.mutate_with(seed.as_bytes(), CONFIG_PIECES, &mut text);
        let text = String::from_utf8_lossy(&text);
        let read = if is_toml {
            StoreConfig::from_toml(&text)
        } else {
            StoreConfig::from_json(&text)
        };
        match read {
            Ok(config) => {
                good += 1;
                assert!(config.partitions().len() <= config.timeseries.len());
            }
            Err(error) => {
                assert!(error.is_configuration(), "{error:?}");
                assert!(error.to_string().len() < 2000, "{error}");
            }
        }
    }
    good
}

fn damage_queries(mut dice: Dice, stores: &[Box<dyn Backend>]) -> u32 {
    let seeds: Vec<_> = queries().iter().map(serde_json::to_vec).collect();
    let (mut good, mut text) = (0, Vec::new());
    for _ in 0..QUERIES {
        let seed = seeds[dice.below(seeds.len())].as_ref().expect("a query");
        dice.mutate_with(seed, QUERY_PIECES, &mut text);
        let Ok(params) = serde_json::from_slice::<QueryParams>(&text) else {
            continue;
        };
        good += 1;
        let answers: Vec<_> = stores.iter().map(|store| ask(&**store, &params)).collect();
        assert_eq!(answers[0], answers[1], "{}", String::from_utf8_lossy(&text));
    }
    good
}

/// The ids and whether more follows; `None` where the query is refused.
fn ask(store: &dyn Backend, params: &QueryParams) -> Option<(Vec<EventId>, bool)> {
    match store.query(params) {
        Ok(result) => {
            let mut ids: Vec<_> = result.events.iter().map(|event| event.id).collect();
            if matches!(params, QueryParams::Latest(_)) {
                ids.sort_unstable();
            }
            Some((ids, result.more_follows))
        }
        Err(error) => {
            assert!(error.is_query(), "{error:?}");
            None
        }
    }
}

/// Two stores with the same events: times and servers at the ends of their ranges among them, half of them flushed.
fn stores() -> [Box<dyn Backend>; 2] {
    let storage = Arc::new(MemoryStorage::default());
    let durable = RedbBackend::open_in(storage, StoreConfig::default(), Callbacks::default());
    let stores: [Box<dyn Backend>; 2] = [
        Box::new(durable.expect("a new store")),
        Box::new(MemoryBackend::new(Callbacks::default())),
    ];
    for store in &stores {
        for (server, times) in [
            (1, [-5, 0, 3, 3, 7, 8]),
            (i64::MIN, [i64::MIN, i64::MIN, -1, 0, 1, i64::MAX]),
            (i64::MAX, [0, 3, 3, 3, i64::MAX, i64::MAX]),
        ] {
            for (session, time) in (i64::MAX - 5..=i64::MAX).zip(times) {
                let id = EventId::new(server, session, i64::MIN);
                let event_type = EventType::from(["a", "a/b", "", "c"][(session % 4) as usize]);
                let event = Event::new(id, event_type, Timestamp::new(time, 999_999))
                    .with_source_timestamp((time < 5).then(|| Timestamp::new(-time.max(-9), 0)))
                    .with_payload(Some(Json::new("1").expect("JSON").into()));
                store.register(vec![Arc::new(event)].into()).expect("room");
            }
            if server != i64::MAX {
                store.flush().expect("room");
            }
        }
    }
    stores
}

fn queries() -> Vec<QueryParams> {
    let types = || Some(vec![EventType::from("a/?"), EventType::from("c/*")]);
    let at = |second| Some(Timestamp::new(second, 5));
    let mut latest = QueryLatestParams::default();
    latest.event_types = types();
    let mut bounds = QueryTimeseriesParams::default().order(Order::Ascending);
    (bounds.t_from, bounds.t_to) = (at(-10), at(10));
    let mut paged = QueryTimeseriesParams::default().max_results(3);
    paged.event_types = types();
    paged.last_event_id = Some(EventId::new(1, i64::MAX, i64::MIN));
    let mut server = QueryServerParams::new(1).max_results(2);
    server.last_event_id = Some(EventId::new(1, i64::MAX - 3, 1));
    vec![latest.into(), bounds.into(), paged.into(), server.into()]
}

const RECORDS_EACH: u32 = 300_000;
const CONFIGS: u32 = 100_000;
const QUERIES: u32 = 300_000;

/// The bodies of three: without payload, JSON with a source timestamp, binary.
const RECORDS: &[&str] = &[
    "07000000800000000000000180000000000000027ffffffffffffffd80000000000000050000000600",
    "07000000800000000000000180000000000000027ffffffffffffffd800000000000000500000006037fffffffffffffff000000007b7d",
    "07000000800000000000000180000000000000027ffffffffffffffd80000000000000050000000604010000006b01ff",
];

const TOML: &str = r#"identifier = "rig-1"
flush_period = 0.5
[latest]
subscriptions = ["*", ["a", "b"]]
[[conditions]]
subscriptions = [["a", "*"]]
condition = { type = "json", data_path = ["v", 0], data_type = "number" }
[[timeseries]]
order_by = "TIMESTAMP"
subscriptions = ["a/*"]
limit = { min_entries = 1, max_entries = 10.5, size = 1e6 }
"#;

const JSON: &str = r#"{"identifier": null, "cleanup_period": 60, "timeseries_max_results": 100,
"conditions": [{"subscriptions": ["a/*"], "condition": {"type": "any", "conditions": []}}],
"latest": {"subscriptions": []}, "durability": "committed",
"timeseries": [{"order_by": "SOURCE_TIMESTAMP", "subscriptions": [["a"]], "limit": {"duration": 60}}]}"#;

const CONFIG_PIECES: &[&[u8]] = &[
    b"-1",
    b"1e999",
    b"inf",
    b"null",
    b"{\"type\": \"all\", \"conditions\": [",
    b"[[[[[[[[[[[[[[[[",
    b"\"*\", \"*/a\"",
    b"18446744073709551616",
];

const QUERY_PIECES: &[&[u8]] = &[
    b"9223372036854775807",
    b"-9223372036854775808",
    b"999999",
    b"4294967295",
    b"null",
    b"[\"*\"]",
    b"\"SOURCE_TIMESTAMP\"",
];
