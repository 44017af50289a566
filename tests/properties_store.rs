//! Properties of a store: it answers as a model that takes no short cut, and no configuration makes it panic.

use std::sync::Arc;

use acqbus::event::{
    Event, EventId, EventType, Order, OrderBy, QueryLatestParams, QueryParams, QueryServerParams,
    QueryTimeseriesParams, Timestamp, matches_query_type,
};
use acqbus::store::{
    Backend, Callbacks, MemoryBackend, MemoryStorage, RedbBackend, StoreConfig, StoreError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn memory_answers_as_the_model(
        sessions in prop::collection::vec(sessions(), 0..12),
        queries in prop::collection::vec(queries(), 1..12),
    ) {
        let store = MemoryBackend::new(Callbacks::default());
        answers_as_the_model(&store, sessions, &queries)?;
    }

    #[test]
    fn durable_store_answers_as_the_model(
        sessions in prop::collection::vec(sessions(), 0..8),
        queries in prop::collection::vec(queries(), 1..12),
    ) {
        let storage = Arc::new(MemoryStorage::default());
        let config = StoreConfig::default();
        let store = RedbBackend::open_in(storage, config, Callbacks::default()).unwrap();
        answers_as_the_model(&store, sessions, &queries)?;
    }

    #[test]
    fn any_text_is_no_configuration_or_one(text in ".{0,200}") {
        check_refusal(StoreConfig::from_toml(&text))?;
        check_refusal(StoreConfig::from_json(&text))?;
    }

    #[test]
    fn any_json_is_no_configuration_or_one(data in json_values()) {
        check_refusal(StoreConfig::from_json(&data.to_string()))?;
    }

    #[test]
    fn wrong_value_of_a_key_is_told_with_the_key(
        place in prop::sample::select(PLACES),
        data in json_values(),
    ) {
        let mut config = whole_config();
        *config.pointer_mut(place.0).unwrap() = data;
        if let Err(error) = StoreConfig::from_json(&config.to_string()) {
            let text = error.to_string();
            prop_assert!(text.starts_with(place.1), "{}: {}", place.1, text);
        }
    }

    #[test]
    fn unknown_key_is_told_with_its_place(
        table in prop::sample::select(TABLES),
        key in "[a-z]{1,12}_x",
    ) {
        let mut config = whole_config();
        let members = config.pointer_mut(table.0).unwrap().as_object_mut().unwrap();
        members.insert(key.clone(), json!(1));
        let error = StoreConfig::from_json(&config.to_string()).unwrap_err();
        let place = format!("{}{key}: unknown key", table.1);
        prop_assert!(error.to_string().starts_with(&place), "{}", error);
    }
}

#[test]
fn whole_config_is_one() {
    StoreConfig::from_json(&whole_config().to_string()).unwrap();
}

/// Keys as pointers into the whole configuration, and as errors name them.
const PLACES: &[(&str, &str)] = &[
    ("/identifier", "identifier"),
    ("/flush_period", "flush_period"),
    ("/cleanup_period", "cleanup_period"),
    ("/conditions", "conditions"),
    ("/conditions/0", "conditions[0]"),
    ("/conditions/0/subscriptions", "conditions[0].subscriptions"),
    ("/conditions/0/condition", "conditions[0].condition"),
    (
        "/conditions/0/condition/conditions/0/data_path",
        "conditions[0].condition.conditions[0].data_path",
    ),
    (
        "/conditions/0/condition/conditions/0/data_type",
        "conditions[0].condition.conditions[0].data_type",
    ),
    ("/latest", "latest"),
    ("/latest/subscriptions/0", "latest.subscriptions"),
    ("/timeseries", "timeseries"),
    ("/timeseries/0/order_by", "timeseries[0].order_by"),
    ("/timeseries/0/subscriptions", "timeseries[0].subscriptions"),
    ("/timeseries/0/limit", "timeseries[0].limit"),
    ("/timeseries/0/limit/size", "timeseries[0].limit.size"),
    ("/timeseries_max_results", "timeseries_max_results"),
    ("/durability", "durability"),
    ("/reference_partitions", "reference_partitions"),
    ("/cache_bytes", "cache_bytes"),
    ("/database_cache_bytes", "database_cache_bytes"),
    ("/max_unflushed_bytes", "max_unflushed_bytes"),
];

const TABLES: &[(&str, &str)] = &[
    ("", ""),
    ("/latest", "latest."),
    ("/timeseries/0", "timeseries[0]."),
    ("/timeseries/0/limit", "timeseries[0].limit."),
    ("/conditions/0", "conditions[0]."),
    ("/conditions/0/condition", "conditions[0].condition."),
];

fn whole_config() -> Value {
    json!({
        "db_path": "events.db",
        "identifier": "rig-1",
        "flush_period": 0.5,
        "cleanup_period": 60,
        "conditions": [{
            "subscriptions": [["a", "*"]],
            "condition": {"type": "any", "conditions": [
                {"type": "json", "data_path": ["v", 0], "data_type": "number"},
            ]},
        }],
        "latest": {"subscriptions": [["*"]]},
        "timeseries": [{
            "order_by": "TIMESTAMP",
            "subscriptions": [["a"], "b/c"],
            "limit": {"min_entries": 1, "max_entries": 10.5, "duration": 60, "size": 1e6},
        }],
        "timeseries_max_results": 100,
        "durability": "committed",
        "reference_partitions": true,
        "cache_bytes": 1000,
        "database_cache_bytes": 1000,
        "max_unflushed_bytes": 1000,
    })
}

/// A refusal says where: which key, or that it is no TOML or JSON at all.
fn check_refusal(result: Result<StoreConfig, StoreError>) -> Result<(), TestCaseError> {
    let Err(error) = result else {
        return Ok(());
    };
    prop_assert!(error.is_configuration());
    prop_assert!(error.to_string().len() < 1000);
    Ok(())
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..9).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(
            &[
                "*",
                "?",
                "a",
                "a/*",
                "*/a",
                "TIMESTAMP",
                "number",
                "all",
                ""
            ][..]
        )
        .prop_map(Value::from),
        "\\PC{0,60}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(&["subscriptions", "condition", "type", "limit", "order_by"][..])
                .prop_map(str::to_owned),
            "\\PC{0,60}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The events of one register call: server, and of each the type, a step of the server's time, and a source timestamp.
type Session = (i64, Vec<(EventType, i64, Option<i64>)>);

fn sessions() -> impl Strategy<Value = Session> {
    let event = (event_types(), 0..3_i64, prop::option::of(0..6_i64));
    (1..4_i64, prop::collection::vec(event, 0..5))
}

fn event_types() -> impl Strategy<Value = EventType> {
    let segment = prop::sample::select(&["a", "b", ""][..]);
    prop::collection::vec(segment, 0..4).prop_map(EventType::new)
}

fn query_types() -> impl Strategy<Value = Option<Vec<EventType>>> {
    let segment = prop::sample::select(&["a", "b", "", "?"][..]);
    let query_type =
        (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, star)| {
            segments.extend(star.then_some("*"));
            EventType::new(segments)
        });
    prop::option::of(prop::collection::vec(query_type, 0..4))
}

fn queries() -> impl Strategy<Value = QueryParams> {
    let latest = query_types().prop_map(|event_types| {
        let mut params = QueryLatestParams::default();
        params.event_types = event_types;
        params.into()
    });
    let time = || prop::option::of((0..8_i64).prop_map(at));
    let id = || {
        prop::option::of((1..4_i64, 1..6_i64, 1..4_i64).prop_map(|(a, b, c)| EventId::new(a, b, c)))
    };
    let limit = || prop::option::of(0..6_i64);
    let bounds = (time(), time(), time(), time());
    let orders = (any::<bool>(), any::<bool>());
    let timeseries = (query_types(), bounds, orders, limit(), id()).prop_map(
        |(event_types, bounds, (ascending, by_source), max_results, last_event_id)| {
            let mut params = QueryTimeseriesParams::default();
            params.event_types = event_types;
            (params.t_from, params.t_to) = (bounds.0, bounds.1);
            (params.source_t_from, params.source_t_to) = (bounds.2, bounds.3);
            if ascending {
                params.order = Order::Ascending;
            }
            if by_source {
                params.order_by = OrderBy::SourceTimestamp;
            }
            params.max_results = max_results;
            params.last_event_id = last_event_id;
            params.into()
        },
    );
    let server = (1..5_i64, any::<bool>(), limit(), id()).prop_map(
        |(server, persisted, max_results, last)| {
            let mut params = QueryServerParams::new(server).persisted(persisted);
            params.max_results = max_results;
            params.last_event_id = last.map(|last| EventId { server, ..last });
            params.into()
        },
    );
    prop_oneof![1 => latest, 3 => timeseries, 1 => server]
}

/// Registers sessions with ids and timestamps that grow, asking everything after each; what is persisted, after a flush.
fn answers_as_the_model(
    store: &dyn Backend,
    sessions: Vec<Session>,
    queries: &[QueryParams],
) -> Result<(), TestCaseError> {
    let mut model: Vec<Arc<Event>> = Vec::new();
    let mut times = [0; 5];
    for (number, (server, events)) in (1..).zip(sessions) {
        let mut session = Vec::new();
        for (instance, (event_type, step, source)) in (1..).zip(events) {
            let time = &mut times[usize::try_from(server).unwrap()];
            *time += step;
            let id = EventId::new(server, number, instance);
            let event = Event::new(id, event_type, at(*time)).with_source_timestamp(source.map(at));
            session.push(Arc::new(event));
        }
        model.extend(session.iter().cloned());
        store.register(session.into()).unwrap();
        let is_flushed = number % 2 == 0;
        if is_flushed {
            store.flush().unwrap();
        }
        for params in queries {
            if matches!(params, QueryParams::Server(params) if params.persisted && !is_flushed) {
                continue;
            }
            let result = store.query(params).unwrap();
            let mut ours = (result.events, result.more_follows);
            let mut wanted = answer(&model, params);
            if matches!(params, QueryParams::Latest(_)) {
                ours.0.sort_by_key(|event| event.id);
                wanted.0.sort_by_key(|event| event.id);
            }
            prop_assert_eq!(ours, wanted, "{:?}", params);
        }
    }
    Ok(())
}

fn answer(model: &[Arc<Event>], params: &QueryParams) -> (Vec<Arc<Event>>, bool) {
    match params {
        QueryParams::Latest(params) => {
            let mut found: Vec<Arc<Event>> = Vec::new();
            for event in model
                .iter()
                .filter(|one| has_type(one, &params.event_types))
            {
                match found
                    .iter_mut()
                    .find(|one| one.event_type == event.event_type)
                {
                    Some(held) if held.is_before(event) => *held = Arc::clone(event),
                    Some(_) => {}
                    None => found.push(Arc::clone(event)),
                }
            }
            (found, false)
        }
        QueryParams::Timeseries(params) => {
            let is_by_time = params.order_by == OrderBy::Timestamp;
            let (from, to) = match is_by_time {
                true => (params.t_from, params.t_to),
                false => (params.source_t_from, params.source_t_to),
            };
            let key = |event: &Event| match is_by_time {
                true => Some(event.timestamp),
                false => event.source_timestamp,
            };
            let mut found: Vec<_> = model
                .iter()
                .filter(|event| key(event).is_some_and(|key| is_in(key, from, to)))
                .collect();
            found.sort_by_key(|event| (key(event), event.id));
            if params.order == Order::Descending {
                found.reverse();
            }
            if let Some(last) = params.last_event_id {
                let place = found.iter().position(|event| event.id == last);
                found.drain(..place.map_or(found.len(), |place| place + 1));
            }
            let has_bounds = params.source_t_from.is_some() || params.source_t_to.is_some();
            found.retain(|event| {
                has_type(event, &params.event_types)
                    && is_in(event.timestamp, params.t_from, params.t_to)
                    && event.source_timestamp.map_or(!has_bounds, |time| {
                        is_in(time, params.source_t_from, params.source_t_to)
                    })
            });
            limited(found, params.max_results)
        }
        QueryParams::Server(params) => {
            let is_wanted = |id: EventId| {
                id.server == params.server_id && params.last_event_id.is_none_or(|last| last < id)
            };
            let mut found: Vec<_> = model.iter().filter(|event| is_wanted(event.id)).collect();
            found.sort_by_key(|event| event.id);
            limited(found, params.max_results)
        }
    }
}

fn has_type(event: &Event, types: &Option<Vec<EventType>>) -> bool {
    types.as_ref().is_none_or(|types| {
        let mut types = types.iter();
        types.any(|one| matches_query_type(&event.event_type, one))
    })
}

fn is_in(time: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to)
}

fn limited(found: Vec<&Arc<Event>>, limit: Option<i64>) -> (Vec<Arc<Event>>, bool) {
    let limit = limit.map_or(usize::MAX, |limit| limit.try_into().unwrap());
    let shown = found.iter().take(limit).map(|event| Arc::clone(event));
    (shown.collect(), found.len() > limit)
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 0)
}
