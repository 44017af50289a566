//! One suite of what every backend promises, run over each of them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;

use acqbus::event::{
    Event, EventId, EventType, Events, Order, OrderBy, QueryLatestParams, QueryParams,
    QueryServerParams, QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, DummyBackend, Durability, MemoryBackend, MemoryStorage, RedbBackend,
    StoreConfig, StoreError,
};

#[test]
fn memory_backend_keeps_the_contract() {
    suite(|callbacks| Arc::new(MemoryBackend::new(callbacks)));
}

#[test]
fn durable_backend_keeps_the_contract_in_both_modes() {
    for durability in [Durability::Periodic, Durability::Committed] {
        suite(|callbacks| {
            let config = StoreConfig::default().durability(durability);
            let storage = Arc::new(MemoryStorage::default());
            Arc::new(RedbBackend::open_in(storage, config, callbacks).unwrap())
        });
    }
}

#[test]
fn dummy_backend_keeps_what_of_the_contract_needs_no_store() {
    run(WITHOUT_A_STORE, &|callbacks| {
        Arc::new(DummyBackend::new(callbacks))
    });
}

#[test]
fn dummy_backend_keeps_nothing() {
    let store = DummyBackend::new(Callbacks::default());
    let events = events([event(1, 1, 1, "a", 5)]);
    let returned = store.register(Arc::clone(&events)).unwrap();
    assert!(Arc::ptr_eq(&returned, &events));
    assert_eq!(store.last_event_id(1).unwrap(), EventId::none(1));
    assert_eq!(store.last_timestamp(1).unwrap(), None);
    for params in [latest(), timeseries(), server(1)] {
        let result = store.query(&params).unwrap();
        assert!(result.events.is_empty() && !result.more_follows);
    }
}

/// Runs everything over a backend that stores all events by both timestamps, and the latest of every type.
fn suite(make: impl Fn(Callbacks) -> Arc<dyn Backend>) {
    run(WITHOUT_A_STORE, &make);
    run(OF_A_STORE, &make);
}

type Make<'a> = &'a dyn Fn(Callbacks) -> Arc<dyn Backend>;
type Case = (&'static str, fn(Make<'_>));

const WITHOUT_A_STORE: &[Case] = &[
    ("callbacks come in order", callbacks_come_in_order),
    ("panic of a callback", panic_of_a_callback_goes_no_further),
    (
        "callback that registers",
        callback_neither_registers_nor_hangs,
    ),
    ("callback that closes", callback_may_close),
    ("wrong queries are errors", wrong_queries_are_errors),
    ("closed for good", closed_backend_says_so),
    ("reservations", reservation_holds_until_replaced),
];

const OF_A_STORE: &[Case] = &[
    ("input comes back", register_gives_its_input_back),
    ("last of each server", last_event_is_that_of_its_server),
    ("floor", floor_is_not_below_the_last_event),
    ("latest", latest_is_one_event_a_type),
    ("order", timeseries_is_in_order_of_its_timestamp),
    ("bounds", bounds_are_inclusive_and_all_hold),
    ("pages", pages_of_a_timeseries_leave_nothing_out),
    ("after what is not there", nothing_follows_an_unknown_event),
    ("limit 0", limit_of_nothing_tells_whether_anything_matches),
    ("server pages", pages_of_a_server_leave_nothing_out),
    ("visitor", visitor_may_break_query_and_register),
    ("threads", threads_see_what_they_registered),
];

fn run(cases: &[Case], make: Make<'_>) {
    for (name, case) in cases {
        println!("{name}");
        case(make);
    }
}

fn callbacks_come_in_order(make: Make<'_>) {
    type Calls = Vec<(&'static str, Vec<i64>)>;
    let calls = Arc::new(Mutex::new(Calls::new()));
    let call = |name| {
        let calls = Arc::clone(&calls);
        move |events: &Events| {
            let instances = events.iter().map(|event| event.id.instance).collect();
            calls.lock().unwrap().push((name, instances));
        }
    };
    let store = make(
        Callbacks::default()
            .registered(call("registered"))
            .flushed(call("flushed")),
    );
    let one = events([event(1, 1, 1, "a", 1), event(1, 1, 2, "b", 1)]);
    let sessions = [one, events([]), events([event(1, 2, 1, "a", 2)])];
    for (count, session) in sessions.into_iter().enumerate() {
        store.register(session).unwrap();
        let calls = calls.lock().unwrap();
        let registered = calls.iter().filter(|(name, _)| *name == "registered");
        assert_eq!(registered.count(), count + 1, "called before it returns");
    }
    store.flush().unwrap();
    let of = |wanted| -> Vec<Vec<i64>> {
        let calls = calls.lock().unwrap();
        let called = calls.iter().filter(|(name, _)| *name == wanted);
        called.map(|(_, ids)| ids.clone()).collect()
    };
    assert_eq!(of("registered"), [vec![1, 2], vec![], vec![1]]);
    assert_eq!(of("flushed"), of("registered"));
    store.flush().unwrap();
    store.close().unwrap();
    assert_eq!(of("flushed").len(), 3, "told once");
}

fn panic_of_a_callback_goes_no_further(make: Make<'_>) {
    let panics = |_: &Events| panic!("on purpose");
    let store = make(Callbacks::default().registered(panics).flushed(panics));
    for session in 1..=2 {
        let events = events([event(1, session, 1, "a", session)]);
        store.register(events).unwrap();
        store.flush().unwrap();
    }
}

fn callback_neither_registers_nor_hangs(make: Make<'_>) {
    let place = Arc::new(OnceLock::<Weak<dyn Backend>>::new());
    let calls = Arc::new(AtomicUsize::new(0));
    let registers = || {
        let (place, calls) = (Arc::clone(&place), Arc::clone(&calls));
        move |_: &Events| {
            let store = place.get().unwrap().upgrade().unwrap();
            let more = events([event(1, 100, 1, "a", 100)]);
            for refused in [
                store.register(more).unwrap_err(),
                store.flush().unwrap_err(),
            ] {
                assert!(matches!(refused, StoreError::InCallback), "{refused}");
            }
            store.query(&timeseries()).unwrap();
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let store = make(
        Callbacks::default()
            .registered(registers())
            .flushed(registers()),
    );
    place.set(Arc::downgrade(&store)).unwrap();
    for session in 1..=3 {
        store
            .register(events([event(1, session, 1, "a", session)]))
            .unwrap();
    }
    store.flush().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}

fn callback_may_close(make: Make<'_>) {
    let place = Arc::new(OnceLock::<Weak<dyn Backend>>::new());
    let of_callback = Arc::clone(&place);
    let store = make(Callbacks::default().flushed(move |_| {
        // The last owner, perhaps.
        if let Some(store) = of_callback.get().and_then(Weak::upgrade) {
            store.close().unwrap();
        }
    }));
    place.set(Arc::downgrade(&store)).unwrap();
    store.register(events([event(1, 1, 1, "a", 1)])).unwrap();
    let flushed = store.flush();
    assert!(
        flushed.as_ref().err().is_none_or(StoreError::is_closed),
        "{flushed:?}"
    );
    store.close().unwrap();
}

fn wrong_queries_are_errors(make: Make<'_>) {
    let store = make(Callbacks::default());
    let wrong_type = || [EventType::new(["*", "a"])];
    let limit = QueryTimeseriesParams::default().max_results(-1);
    let error = store.query(&limit.into()).unwrap_err();
    assert!(matches!(
        error,
        StoreError::NegativeMaxResults { found: -1 }
    ));
    let limit = QueryServerParams::new(1).max_results(i64::MIN);
    assert!(store.query(&limit.into()).unwrap_err().is_query());
    let other = QueryServerParams::new(1).after(EventId::new(2, 1, 1));
    let error = store.query(&other.into()).unwrap_err();
    assert!(matches!(error, StoreError::OtherServer { server: 1, .. }));
    for params in [
        QueryLatestParams::default()
            .event_types(wrong_type())
            .into(),
        QueryTimeseriesParams::default()
            .event_types(wrong_type())
            .into(),
        QueryTimeseriesParams::default()
            .event_types([EventType::new(["*", "a"]), EventType::new(["*"])])
            .into(),
    ] {
        let error: StoreError = store.query(&params).unwrap_err();
        assert!(error.is_query(), "{error}");
    }
    store.query(&latest()).unwrap();
}

fn closed_backend_says_so(make: Make<'_>) {
    let store = make(Callbacks::default());
    store.register(events([event(1, 1, 1, "a", 1)])).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    let errors = [
        store.last_event_id(1).map(drop),
        store.last_timestamp(1).map(drop),
        store.register(events([])).map(drop),
        store.query(&latest()).map(drop),
        store.query(&timeseries()).map(drop),
        store.query(&server(1)).map(drop),
        store.flush(),
        store.reserve_sessions(1, 5),
        store.session_floor(1).map(drop),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        assert!(error.unwrap_err().is_closed(), "{number}");
    }
}

fn reservation_holds_until_replaced(make: Make<'_>) {
    let store = make(Callbacks::default());
    assert_eq!(store.session_floor(7).unwrap(), 0);
    store.reserve_sessions(7, 65_536).unwrap();
    assert_eq!(store.session_floor(7).unwrap(), 65_536);
    assert_eq!(store.session_floor(8).unwrap(), 0);
    store.reserve_sessions(7, 3).unwrap();
    assert_eq!(store.session_floor(7).unwrap(), 3);
}

fn register_gives_its_input_back(make: Make<'_>) {
    let store = make(Callbacks::default());
    let first = events([event(1, 2, 1, "a", 5), event(1, 2, 2, "b", 5)]);
    let returned = store.register(Arc::clone(&first)).unwrap();
    assert!(Arc::ptr_eq(&returned, &first));
    let found = store.query(&server(1)).unwrap().events;
    assert_eq!(found, first.to_vec());
}

fn last_event_is_that_of_its_server(make: Make<'_>) {
    let store = make(Callbacks::default());
    assert_eq!(store.last_event_id(4).unwrap(), EventId::none(4));
    assert_eq!(store.last_timestamp(4).unwrap(), None);
    store.register(events([event(4, 9, 1, "a", 30)])).unwrap();
    store.register(events([event(5, 2, 3, "a", 20)])).unwrap();
    assert_eq!(store.last_event_id(4).unwrap(), EventId::new(4, 9, 1));
    assert_eq!(store.last_timestamp(4).unwrap(), Some(at(30)));
    assert_eq!(store.last_event_id(5).unwrap(), EventId::new(5, 2, 3));
    assert_eq!(store.last_timestamp(5).unwrap(), Some(at(20)));
}

fn floor_is_not_below_the_last_event(make: Make<'_>) {
    let store = make(Callbacks::default());
    store.reserve_sessions(1, 3).unwrap();
    store.register(events([event(1, 9, 1, "a", 1)])).unwrap();
    assert_eq!(store.session_floor(1).unwrap(), 9);
    store.reserve_sessions(1, 12).unwrap();
    assert_eq!(store.session_floor(1).unwrap(), 12);
    store.reserve_sessions(1, 0).unwrap();
    assert_eq!(store.session_floor(1).unwrap(), 9);
}

fn latest_is_one_event_a_type(make: Make<'_>) {
    let store = make(Callbacks::default());
    store
        .register(events([
            event(1, 1, 1, "a", 10),
            event(1, 1, 2, "a/x", 10),
            event(1, 1, 3, "a", 10),
            event(2, 1, 1, "a/x", 9),
            event(2, 1, 2, "b", 9),
        ]))
        .unwrap();
    let of = |types: Option<&[&str]>| {
        let mut params = QueryLatestParams::default();
        if let Some(types) = types {
            params = params.event_types(types.iter().map(|one| EventType::from(*one)));
        }
        let result = store.query(&params.into()).unwrap();
        assert!(!result.more_follows);
        let mut ids = ids(&result.events);
        ids.sort();
        ids
    };
    let all = [(1, 1, 2), (1, 1, 3), (2, 1, 2)];
    assert_eq!(of(None), all);
    assert_eq!(of(Some(&["*"])), all);
    assert_eq!(of(Some(&["a/*"])), [(1, 1, 2), (1, 1, 3)]);
    assert_eq!(of(Some(&["?/x", "b"])), [(1, 1, 2), (2, 1, 2)]);
    assert_eq!(of(Some(&["a", "a", "none"])), [(1, 1, 3)]);
    assert_eq!(of(Some(&[])), NONE);
}

fn timeseries_is_in_order_of_its_timestamp(make: Make<'_>) {
    let store = mixed(make);
    let of = |order_by, order| {
        let params = QueryTimeseriesParams::default()
            .order_by(order_by)
            .order(order);
        ids(&store.query(&params.into()).unwrap().events)
    };
    let by_time = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 2, 2), (2, 2, 1)];
    assert_eq!(of(OrderBy::Timestamp, Order::Ascending), by_time);
    let turned: Vec<_> = by_time.into_iter().rev().collect();
    assert_eq!(of(OrderBy::Timestamp, Order::Descending), turned);
    let by_source = [(1, 2, 2), (1, 1, 1), (2, 2, 1)];
    assert_eq!(of(OrderBy::SourceTimestamp, Order::Ascending), by_source);
    let turned: Vec<_> = by_source.into_iter().rev().collect();
    assert_eq!(of(OrderBy::SourceTimestamp, Order::Descending), turned);
}

fn bounds_are_inclusive_and_all_hold(make: Make<'_>) {
    let store = mixed(make);
    let of = |params: QueryTimeseriesParams| {
        let params = params.order(Order::Ascending);
        ids(&store.query(&params.into()).unwrap().events)
    };
    let params = QueryTimeseriesParams::default;
    let between = of(params().from(at(10)).to(at(20)));
    assert_eq!(between, [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 2, 2)]);
    assert_eq!(of(params().from(at(21))), [(2, 2, 1)]);
    assert_eq!(of(params().source_from(at(1))), [(1, 1, 1), (2, 2, 1)]);
    assert_eq!(of(params().source_to(at(1)).to(at(10))), NONE);
    let both = of(params()
        .order_by(OrderBy::SourceTimestamp)
        .source_to(at(5))
        .from(at(20)));
    assert_eq!(both, [(1, 2, 2)]);
    assert_eq!(
        of(params().event_types([EventType::from("?/b")])),
        [(1, 2, 1)]
    );
}

fn pages_of_a_timeseries_leave_nothing_out(make: Make<'_>) {
    let store = mixed(make);
    for order in [Order::Ascending, Order::Descending] {
        for order_by in [OrderBy::Timestamp, OrderBy::SourceTimestamp] {
            let whole = QueryTimeseriesParams::default()
                .order(order)
                .order_by(order_by);
            let all = ids(&store.query(&whole.clone().into()).unwrap().events);
            let mut paged = Vec::new();
            let mut params = whole.max_results(2);
            loop {
                let page = store.query(&params.clone().into()).unwrap();
                paged.extend(ids(&page.events));
                if !page.more_follows {
                    break;
                }
                assert_eq!(page.events.len(), 2);
                params = params.after(page.events[1].id);
            }
            assert_eq!(paged, all, "{order:?} {order_by:?}");
        }
    }
}

fn nothing_follows_an_unknown_event(make: Make<'_>) {
    let store = mixed(make);
    let after = |params: QueryTimeseriesParams, id| {
        let params = params.order(Order::Ascending).after(id);
        let result = store.query(&params.into()).unwrap();
        assert!(!result.more_follows);
        ids(&result.events)
    };
    let params = QueryTimeseriesParams::default;
    assert_eq!(after(params(), EventId::new(1, 1, 2)), NONE);
    assert_eq!(after(params().from(at(11)), EventId::new(1, 1, 1)), NONE);
    let by_source = params().order_by(OrderBy::SourceTimestamp);
    assert_eq!(after(by_source, EventId::new(1, 2, 1)), NONE);
    // It need match nothing but the range.
    let others = params().event_types([EventType::from("b")]);
    assert_eq!(after(others, EventId::new(1, 2, 1)), [(2, 2, 1)]);
}

fn limit_of_nothing_tells_whether_anything_matches(make: Make<'_>) {
    let store = mixed(make);
    let more = |params: QueryParams| {
        let result = store.query(&params).unwrap();
        assert!(result.events.is_empty());
        result.more_follows
    };
    let none = QueryTimeseriesParams::default().max_results(0);
    assert!(more(none.clone().into()));
    assert!(!more(none.from(at(1000)).into()));
    assert!(more(QueryServerParams::new(1).max_results(0).into()));
    assert!(!more(QueryServerParams::new(9).max_results(0).into()));
}

fn pages_of_a_server_leave_nothing_out(make: Make<'_>) {
    let store = mixed(make);
    store.flush().unwrap();
    for persisted in [true, false] {
        let params = QueryServerParams::new(1).persisted(persisted);
        let all = store.query(&params.into()).unwrap();
        assert!(!all.more_follows);
        assert_eq!(ids(&all.events), [(1, 1, 1), (1, 2, 1), (1, 2, 2)]);
        let page = store.query(&params.max_results(2).into()).unwrap();
        assert!(page.more_follows);
        assert_eq!(ids(&page.events), [(1, 1, 1), (1, 2, 1)]);
        let after = |id| {
            let params = params.after(id);
            ids(&store.query(&params.into()).unwrap().events)
        };
        // The event need not exist, and nothing comes after the last.
        assert_eq!(after(EventId::new(1, 1, 7)), [(1, 2, 1), (1, 2, 2)]);
        assert_eq!(after(EventId::new(1, 2, 2)), NONE);
        assert_eq!(after(EventId::new(1, 9, 9)), NONE);
    }
}

fn visitor_may_break_query_and_register(make: Make<'_>) {
    let store = mixed(make);
    let mut seen = Vec::new();
    let more = store
        .visit(&server(1), &mut |event| {
            seen.push(event.id);
            // Would wait for ever if the visit held a lock.
            assert!(store.query(&latest()).unwrap().events.len() >= 3);
            let instance = i64::try_from(seen.len()).unwrap();
            store.register(events([event_of(3, 1, instance)])).unwrap();
            match seen.len() {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
        .unwrap();
    assert!(more && seen.len() == 2);
    assert_eq!(store.last_event_id(3).unwrap(), EventId::new(3, 1, 2));
}

fn threads_see_what_they_registered(make: Make<'_>) {
    let store = &make(Callbacks::default());
    thread::scope(|scope| {
        for server in 1..=4 {
            scope.spawn(move || {
                for session in 1..=50 {
                    let sent = events([
                        event(server, session, 1, "a", session),
                        event(server, session, 2, "b", session),
                    ]);
                    store.register(sent).unwrap();
                    let last = EventId::new(server, session - 1, 2);
                    let params = QueryServerParams::new(server).after(last);
                    let found = store.query(&params.into()).unwrap().events;
                    let wanted = [(server, session, 1), (server, session, 2)];
                    assert_eq!(ids(&found), wanted);
                }
            });
        }
    });
    let params = QueryTimeseriesParams::default().max_results(1000);
    assert_eq!(store.query(&params.into()).unwrap().events.len(), 400);
}

const NONE: [(i64, i64, i64); 0] = [];

/// Two servers, equal timestamps, three types; some with a source timestamp.
fn mixed(make: Make<'_>) -> Arc<dyn Backend> {
    let store = make(Callbacks::default());
    let sourced =
        |event: Arc<Event>, time| Arc::new(Event::clone(&event).with_source_timestamp(at(time)));
    for session in [
        events([sourced(event(1, 1, 1, "a", 10), 5)]),
        events([event(2, 1, 1, "a", 10)]),
        events([
            event(1, 2, 1, "a/b", 20),
            sourced(event(1, 2, 2, "a", 20), 0),
        ]),
        events([sourced(event(2, 2, 1, "b", 30), 7)]),
    ] {
        store.register(session).unwrap();
    }
    store
}

fn event(server: i64, session: i64, instance: i64, event_type: &str, time: i64) -> Arc<Event> {
    let id = EventId::new(server, session, instance);
    Arc::new(Event::new(id, event_type.into(), at(time)))
}

fn event_of(server: i64, session: i64, instance: i64) -> Arc<Event> {
    event(server, session, instance, "c", 100)
}

fn events<const N: usize>(events: [Arc<Event>; N]) -> Events {
    events.into()
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 0)
}

fn ids(events: &[Arc<Event>]) -> Vec<(i64, i64, i64)> {
    let id = |event: &Arc<Event>| (event.id.server, event.id.session, event.id.instance);
    events.iter().map(id).collect()
}

fn latest() -> QueryParams {
    QueryLatestParams::default().into()
}

fn timeseries() -> QueryParams {
    QueryTimeseriesParams::default().into()
}

fn server(server: i64) -> QueryParams {
    QueryServerParams::new(server).into()
}
