//! Rules of the event model that hold for whatever comes.
//!
//! `ACQBUS_EVENT_CASES` is how many cases of each, 300 by default.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use acqbus::event::{
    Binary, Event, EventId, EventType, EventTypeCollection, Json, ListCollection, Order, OrderBy,
    Payload, QueryLatestParams, QueryParams, QueryServerParams, QueryTimeseriesParams,
    RegisterEvent, Subscription, Timestamp, TreeCollection, matches_query_type,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Serialize;
use serde::de::DeserializeOwned;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_subscription_wants_what_one_of_its_query_types_asks_for(query_types in query_types(8)) {
        let subscription = Subscription::new(query_types.clone()).expect("no `*` but the last");
        let sanitised = Subscription::new(subscription.query_types()).expect("query types");
        prop_assert!(subscription.query_types().len() <= query_types.len());
        prop_assert!(subscription.query_types().is_sorted());
        prop_assert_eq!(&sanitised, &subscription);
        for event in small_types() {
            let wanted = query_types.iter().any(|query| matches_query_type(&event, query));
            prop_assert_eq!(subscription.matches(&event), wanted, "{:?}", event);
            prop_assert_eq!(naive(&query_types, &event), wanted, "{:?}", event);
        }
    }

    #[test]
    fn operations_are_those_of_sets_of_types(a in subscription(), b in subscription()) {
        let (union, intersection) = (a.union(&b), a.intersection(&b));
        let mut is_disjoint = true;
        for event in small_types() {
            let (in_a, in_b) = (a.matches(&event), b.matches(&event));
            prop_assert_eq!(union.matches(&event), in_a || in_b, "{:?}", event);
            prop_assert_eq!(intersection.matches(&event), in_a && in_b, "{:?}", event);
            is_disjoint &= !(in_a && in_b);
        }
        prop_assert_eq!(a.is_disjoint(&b), is_disjoint);
        prop_assert_eq!(intersection.is_none(), is_disjoint);
        prop_assert_eq!(b.is_disjoint(&a), is_disjoint);
        prop_assert_eq!(&b.union(&a), &union);
        // The reference errs in one direction only.
        prop_assert!(is_disjoint || !a.is_disjoint_as_reference(&b));
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.intersection(&Subscription::all()), a.clone());
        prop_assert!(a.intersection(&Subscription::none()).is_none());
    }

    #[test]
    fn list_and_tree_give_the_same_values(ops in vec(op(), 0..40)) {
        let mut list = ListCollection::new();
        let mut tree = TreeCollection::new();
        for op in ops {
            match op {
                Op::Add(subscription, value) => {
                    list.add(&subscription, value);
                    tree.add(&subscription, value);
                }
                Op::Remove(value) => {
                    list.remove(&value);
                    tree.remove(&value);
                }
            }
            for event in small_types().into_iter().step_by(7) {
                assert_same_values(&list, &tree, &event)?;
            }
        }
        for event in small_types() {
            assert_same_values(&list, &tree, &event)?;
        }
    }

    #[test]
    fn query_types_of_any_text_are_taken_or_refused(query_types in vec(any_type(), 0..6), events in vec(any_type(), 0..6)) {
        let Ok(subscription) = Subscription::new(query_types.clone()) else {
            prop_assert!(query_types.iter().any(|query| query.segments().rev().skip(1).any(|segment| segment == "*")));
            return Ok(());
        };
        for event in events.iter().chain(&query_types) {
            let _ = matches_query_type(event, event);
            let wanted = subscription.query_types().iter().any(|query| matches_query_type(event, query));
            prop_assert_eq!(subscription.matches(event), wanted);
        }
    }

    #[test]
    fn types_are_their_segments(a in vec(any_segment(), 0..6), b in vec(any_segment(), 0..6)) {
        let (left, right) = (EventType::new(&a), EventType::new(&b));
        prop_assert!(left.segments().eq(&a));
        prop_assert!(left.segments().rev().eq(a.iter().rev()));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!(left == right, a == b);
        prop_assert_eq!(left.to_string(), a.join("/"));
        assert_form(&left)?;
    }

    #[test]
    fn text_of_types_reads_back(text in ".*", segments in vec("[^/]{0,5}", 0..6)) {
        prop_assert_eq!(EventType::from(text.as_str()).to_string(), text);
        let event_type = EventType::new(&segments);
        // Nothing and one empty segment are the same text.
        if segments != [""] {
            prop_assert_eq!(EventType::from(event_type.to_string().as_str()), event_type);
        }
    }

    #[test]
    fn bytes_keep_the_order(a in timestamp(), b in timestamp(), c in id(), d in id()) {
        prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        prop_assert_eq!(Timestamp::from_bytes(&a.to_bytes()), a);
        prop_assert_eq!(c.to_bytes().cmp(&d.to_bytes()), c.cmp(&d));
        prop_assert_eq!(EventId::from_bytes(&c.to_bytes()), c);
        prop_assert_eq!(c.to_string().parse::<EventId>().expect("our text"), c);
        assert_form(&a)?;
        assert_form(&c)?;
    }

    #[test]
    fn other_clocks_give_the_time_back(s in -377_705_023_201_i64..=253_402_207_200, us in 0..1_000_000_u32) {
        let time = Timestamp::new(s, us);
        let date = jiff::Timestamp::try_from(time).expect("a year of the calendar");
        prop_assert_eq!(Timestamp::from(date), time);
        prop_assert_eq!(i128::from(date.as_microsecond()), i128::from(s) * 1_000_000 + i128::from(us));
        let system = SystemTime::try_from(time).expect("a time of the system");
        prop_assert_eq!(Timestamp::from(system), time);
    }

    #[test]
    fn arithmetic_is_exact_or_refused(time in timestamp(), seconds in any::<u64>(), us in 0..1_000_000_u32) {
        let duration = Duration::new(seconds, us * 1000);
        let total = |time: Timestamp| i128::from(time.s()) * 1_000_000 + i128::from(time.us());
        let step = i128::try_from(duration.as_micros()).expect("64 bits of seconds");
        match time.checked_add(duration) {
            Some(later) => {
                prop_assert_eq!(total(later), total(time) + step);
                prop_assert_eq!(later.checked_duration_since(time), Some(duration));
                prop_assert!(later.us() < 1_000_000);
            }
            None => prop_assert!(total(time) + step > total(Timestamp::MAX)),
        }
        match time.checked_sub(duration) {
            Some(earlier) => prop_assert_eq!(total(earlier), total(time) - step),
            None => prop_assert!(total(time) - step < total(Timestamp::MIN)),
        }
    }

    #[test]
    fn floats_are_taken_or_refused(bits in any::<u64>(), time in timestamp()) {
        let seconds = f64::from_bits(bits);
        if let Ok(time) = Timestamp::from_f64(seconds) {
            prop_assert!(time.us() < 1_000_000);
            prop_assert!((time.to_f64() - seconds).abs() <= 1.0 + seconds.abs() * 1e-15);
        }
        if let Ok(sum) = time.add(seconds) {
            prop_assert!(sum.us() < 1_000_000);
        }
        let _ = Timestamp::from_f64(time.to_f64());
    }

    #[test]
    fn events_and_queries_read_back(event in event(), params in params()) {
        assert_form(&event)?;
        assert_form(&params)?;
        let given = RegisterEvent::new(event.event_type.clone())
            .with_source_timestamp(event.source_timestamp)
            .with_payload(event.payload.clone());
        assert_form(&given)?;
        prop_assert_eq!(given.register(event.id, event.timestamp), event);
    }

    #[test]
    fn one_of_two_events_of_a_server_is_before_the_other(a in event(), b in event()) {
        prop_assert!(!a.is_before(&a) && !a.is_after(&a));
        prop_assert!(!(a.is_before(&b) && a.is_after(&b)));
        if a.id.server == b.id.server {
            prop_assert_eq!(a.is_before(&b), b.is_after(&a));
            prop_assert_eq!(a.is_before(&b) || a.is_after(&b), a.id != b.id);
        }
    }

    #[test]
    fn texts_are_json_where_serde_says_so(text in json_text()) {
        let reference = serde_json::from_str::<serde_json::Value>(&text);
        match (Json::new(text.as_str()), reference) {
            (Ok(json), Ok(value)) => prop_assert_eq!(json.to_value(), value),
            // Ours alone: halves of surrogate pairs. Theirs alone: floats that no double holds.
            (Ok(_), Err(error)) => prop_assert!(text.contains("\\u"), "{}: {}", text, error),
            (Err(error), Ok(_)) => prop_assert!(text.contains(['e', 'E']) || text.len() > 300, "{}: {:?}", text, error),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn normal_text_is_ascii_and_stays(text in json_text()) {
        let Ok(json) = Json::new(text) else {
            return Ok(());
        };
        let normal = Json::new(json.normalised()).expect("what we write can be read");
        prop_assert!(normal.as_str().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(normal.normalised(), normal.as_str());
        prop_assert_eq!(same_numbers(normal.to_value()), same_numbers(json.to_value()));
        assert_form(&Payload::from(json))?;
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("ACQBUS_EVENT_CASES").ok();
    let cases = cases.map_or(300, |cases| cases.parse().expect("a number of cases"));
    ProptestConfig {
        failure_persistence: None,
        cases,
        ..ProptestConfig::default()
    }
}

/// What matching means, said in another way: an empty rest, or one step and the rest.
fn naive(query_types: &[EventType], event: &EventType) -> bool {
    fn step(query: &[&str], event: &[&str]) -> bool {
        match (query, event) {
            (["*"], _) | ([], []) => true,
            ([first, query @ ..], [segment, event @ ..]) => {
                ["?", segment].contains(first) && step(query, event)
            }
            _ => false,
        }
    }
    let segments: Vec<&str> = event.segments().collect();
    let mut queries = query_types.iter();
    queries.any(|query| step(&query.segments().collect::<Vec<_>>(), &segments))
}

/// All types of up to four segments, of those that the small query types have, and one that none has.
fn small_types() -> Vec<EventType> {
    let mut types = vec![EventType::empty()];
    let mut start = 0;
    for _ in 0..4 {
        let end = types.len();
        for index in start..end {
            for segment in ["a", "b", "", "z"] {
                types.push(types[index].child(segment));
            }
        }
        start = end;
    }
    types
}

fn assert_same_values(
    list: &ListCollection<u8>,
    tree: &TreeCollection<u8>,
    event: &EventType,
) -> Result<(), TestCaseError> {
    let (listed, found) = (list.get(event), tree.get(event));
    let once: BTreeSet<_> = found.iter().collect();
    prop_assert_eq!(
        once.len(),
        found.len(),
        "a value came twice for {:?}",
        event
    );
    let listed: BTreeSet<_> = listed.iter().collect();
    prop_assert_eq!(listed, once, "{:?}", event);
    Ok(())
}

fn assert_form<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(value).expect("it can be written");
    prop_assert!(!text.contains('\n'));
    let back: T = serde_json::from_str(&text).expect("what we write can be read");
    prop_assert_eq!(&back, value);
    Ok(())
}

/// Floats by their doubles, and the negative zero of the integers as the other one.
fn same_numbers(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.into_iter().map(same_numbers).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, value)| (name, same_numbers(value)))
                    .collect(),
            )
        }
        Value::Number(number) => {
            let text = number.to_string();
            match text.as_str() {
                "-0" => Value::from("0"),
                text if text.contains(['.', 'e', 'E']) => {
                    Value::from(format!("{:?}", text.parse::<f64>()))
                }
                text => Value::from(text),
            }
        }
        other => other,
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add(Subscription, u8),
    Remove(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let add =
        (subscription(), 0..6_u8).prop_map(|(subscription, value)| Op::Add(subscription, value));
    prop_oneof![4 => add, 1 => (0..6_u8).prop_map(Op::Remove)]
}

fn query_types(count: usize) -> impl Strategy<Value = Vec<EventType>> {
    let segment = select(vec!["a", "b", "", "?", "?"]);
    let query = (vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, star)| {
        if star {
            segments.push("*");
        }
        EventType::new(segments)
    });
    vec(query, 0..count)
}

fn subscription() -> impl Strategy<Value = Subscription> {
    query_types(5).prop_map(|query_types| Subscription::new(query_types).expect("query types"))
}

fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("?".to_owned()),
        Just("*".to_owned()),
        ".{0,5}",
        "x{100,200}",
    ]
}

fn any_type() -> impl Strategy<Value = EventType> {
    vec(any_segment(), 0..5).prop_map(EventType::new)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    let s = prop_oneof![any::<i64>(), -2_000_000_000..2_000_000_000_i64];
    let us = prop_oneof![4 => 0..1_000_000_u32, 1 => any::<u32>()];
    (s, us).prop_map(|(s, us)| Timestamp::new(s, us))
}

fn id() -> impl Strategy<Value = EventId> {
    let number = || prop_oneof![any::<i64>(), -2..3_i64];
    (number(), number(), number()).prop_map(|(a, b, c)| EventId::new(a, b, c))
}

fn payload() -> impl Strategy<Value = Payload> {
    let json = json_text().prop_filter_map("no JSON", |text| Json::new(text).ok());
    let binary = (".*", vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Binary::new(kind, data));
    prop_oneof![json.prop_map(Payload::from), binary.prop_map(Payload::from)]
}

fn event() -> impl Strategy<Value = Event> {
    let optional = (option::of(timestamp()), option::of(payload()));
    (id(), any_type(), timestamp(), optional).prop_map(|(id, event_type, timestamp, optional)| {
        Event::new(id, event_type, timestamp)
            .with_source_timestamp(optional.0)
            .with_payload(optional.1)
    })
}

fn params() -> impl Strategy<Value = QueryParams> {
    let types = || option::of(vec(any_type(), 0..3));
    let latest = types().prop_map(|types| {
        let mut params = QueryLatestParams::default();
        params.event_types = types;
        params.into()
    });
    let page = || (option::of(any::<i64>()), option::of(id()));
    let bounds = vec(option::of(timestamp()), 4);
    let orders = (any::<bool>(), any::<bool>());
    let timeseries = (types(), bounds, orders, page()).prop_map(|(types, bounds, orders, page)| {
        let mut params = QueryTimeseriesParams::default();
        params.event_types = types;
        params.t_from = bounds[0];
        params.t_to = bounds[1];
        params.source_t_from = bounds[2];
        params.source_t_to = bounds[3];
        params.order = if orders.0 {
            Order::Ascending
        } else {
            Order::Descending
        };
        params.order_by = if orders.1 {
            OrderBy::Timestamp
        } else {
            OrderBy::SourceTimestamp
        };
        (params.max_results, params.last_event_id) = page;
        params.into()
    });
    let server = (any::<i64>(), any::<bool>(), page()).prop_map(|(server, persisted, page)| {
        let mut params = QueryServerParams::new(server).persisted(persisted);
        (params.max_results, params.last_event_id) = page;
        params.into()
    });
    prop_oneof![latest, timeseries, server]
}

/// Text that is JSON, nearly JSON, or anything.
fn json_text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\n",
        "\r",
        "\t",
        "\"",
        "\\",
        "\\u",
        "\\ud83d",
        "\\ude00",
        "\\n",
        "00e9",
        "\"a\"",
        "\"\"",
        "\"b\":",
        "null",
        "true",
        "false",
        "0",
        "1",
        "-",
        "-0",
        ".5",
        "1e5",
        "E+400",
        "1.5e-7",
        "NaN",
        "Infinity",
        "\u{e9}",
        "\u{1f600}",
        "\u{7f}",
        "\u{feff}",
        "\u{0}",
        "\u{2028}",
    ]);
    let number = prop_oneof![
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        any::<i64>().prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ];
    let string = "([ -!#-\\[\\]-~]|\u{e9}|\u{1f600}|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,8}";
    let string = string.prop_map(|text| format!("\"{text}\""));
    let word = select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let name = prop_oneof![Just("\"a\"".to_owned()), string.clone()];
    let leaf = prop_oneof![number, string, word];
    let space = || select(vec!["", "", " ", "\n", "\t \r"]);
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        let item = (space(), inner, space())
            .prop_map(|(before, item, after)| [before, &item, after].concat());
        let member =
            (name.clone(), item.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    prop_oneof![
        6 => value,
        2 => vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        1 => ".*",
    ]
}
