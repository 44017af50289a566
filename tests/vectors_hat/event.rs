//! The event model, matching and forms.

use std::collections::BTreeSet;

use acqbus::event::{
    Event, EventError, EventId, EventType, EventTypeCollection, Json, ListCollection, Payload,
    RegisterEvent, Subscription, Timestamp, TreeCollection, matches_query_type,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::{items, text, unhex};
use crate::{Difference, Report};

pub(crate) fn run_matches(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("matches", vectors) {
        report.ran();
        let (event, query): (EventType, EventType) = (read(&case["event"]), read(&case["query"]));
        let matches = json!(matches_query_type(&event, &query));
        report.check(&name, &matches, &case["match"]);
    }
}

pub(crate) fn run_subscription(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("subscription", vectors) {
        report.ran();
        let built = Subscription::new(read::<Vec<EventType>>(&case["query_types"]));
        let subscription = match built {
            Ok(subscription) => subscription,
            Err(error) => {
                report.check(&name, error.is_query_type(), case["error"] == "ValueError");
                continue;
            }
        };
        report.check(&name, &form(&subscription), &case["sanitised"]);
        for pair in items(case, "matches") {
            let matches = json!(subscription.matches(&read(&pair[0])));
            report.check(&format!("{name} {}", pair[0]), &matches, &pair[1]);
        }
    }
}

pub(crate) fn run_subscription_pairs(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("subscription_pairs", vectors) {
        report.ran();
        let (a, b): (Subscription, Subscription) = (read(&case["a"]), read(&case["b"]));
        report.check(&name, &form(&a.union(&b)), &case["union"]);
        let intersection = a.intersection(&b);
        check_intersection(&name, [&a, &b, &intersection], report);
        let as_reference = form(&intersection) == case["intersection_default"];
        // Exact ones of the reference may lack a query type that says nothing more.
        if case["intersection_default_exact"] == true && !as_reference {
            let reference: Subscription = read(&case["intersection_default"]);
            check_intersection(&name, [&a, &b, &reference], report);
        }
        if !as_reference {
            report.differs(&name, Difference::ExactIntersection);
        }
        let disjoint = json!(a.is_disjoint(&b));
        report.check(&name, &disjoint, &case["isdisjoint_true"]);
        let as_reference = json!(a.is_disjoint_as_reference(&b));
        report.check(&name, &as_reference, &case["isdisjoint_default"]);
        if disjoint != as_reference {
            report.differs(&name, Difference::ExactDisjoint);
        }
    }
}

pub(crate) fn run_collections(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("collections", vectors) {
        report.ran();
        let mut list = ListCollection::new();
        let mut tree = TreeCollection::new();
        let mut differs = false;
        for (index, op) in items(case, "ops").iter().enumerate() {
            let value = op["value"].as_i64();
            match (text(op, "op"), value) {
                ("add", Some(value)) => {
                    let subscription: Subscription = read(&op["query_types"]);
                    list.add(&subscription, value);
                    tree.add(&subscription, value);
                }
                ("remove", Some(value)) => {
                    list.remove(&value);
                    tree.remove(&value);
                }
                ("get", None) => {
                    let event = read(&op["event"]);
                    let name = format!("{name}, op {index}");
                    report.check(&name, &sorted(list.get(&event)), &op["list"]);
                    report.check(&name, &sorted(tree.get(&event)), &op["list"]);
                    differs |= op["list"] != op["tree_python"];
                }
                other => report.wrong(&name, &format!("unknown op {other:?}")),
            }
        }
        if differs {
            report.differs(&name, Difference::WholeAdd);
        }
    }
}

pub(crate) fn run_timestamp(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("timestamp", vectors) {
        report.ran();
        let timestamp = || read::<Timestamp>(&case["timestamp"]);
        match text(case, "op") {
            "bytes" if case.get("error").is_some() => {
                let numbers = format!(
                    "[{},{}]",
                    case["timestamp_text"][0].as_str().expect("a text"),
                    case["timestamp_text"][1].as_str().expect("a text")
                );
                let refused = serde_json::from_str::<Timestamp>(&numbers).is_err();
                report.check(&name, refused, true);
            }
            "bytes" => {
                let bytes = unhex(text(case, "hex"));
                report.check(&name, timestamp().to_bytes().as_slice(), &bytes);
                let back = bytes.as_slice().try_into().map(Timestamp::from_bytes);
                report.check(&name, back.ok(), Some(timestamp()));
            }
            "from_float" => {
                check_result(
                    &name,
                    Timestamp::from_f64(float(case)),
                    &case["timestamp"],
                    report,
                );
            }
            "to_float" => {
                let bits = timestamp().to_f64().to_bits();
                report.check(&name, bits, float(case).to_bits());
            }
            "add" => {
                let sum = timestamp().add(float(case));
                check_result(&name, sum, &case["result"], report);
            }
            "from_datetime" => {
                let date = date(case);
                let ours = Timestamp::from(date);
                if case["arithmetically_exact"] == true {
                    report.check(&name, ours, timestamp());
                } else {
                    report.check(&name, ours.s(), date.as_microsecond().div_euclid(1_000_000));
                    report.check(&name, ours.us(), timestamp().us());
                    report.differs(&name, Difference::ExactDate);
                }
            }
            "to_datetime" => {
                let ours = jiff::Timestamp::try_from(timestamp()).ok();
                report.check(&name, ours, Some(date(case)));
            }
            other => report.wrong(&name, &format!("unknown op {other}")),
        }
    }
}

pub(crate) fn run_event_order(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("event_order", vectors) {
        report.ran();
        let event = |side: &str| {
            let (id, timestamp): (EventId, Timestamp) =
                (read(&case[side]["id"]), read(&case[side]["timestamp"]));
            Event::new(id, EventType::empty(), timestamp)
        };
        let (a, b) = (event("a"), event("b"));
        for (ours, member) in [
            (a.is_before(&b), "a_lt_b"),
            (a.is_after(&b), "a_gt_b"),
            (b.is_before(&a), "b_lt_a"),
            (b.is_after(&a), "b_gt_a"),
        ] {
            report.check(&format!("{name} {member}"), &json!(ours), &case[member]);
        }
        // The forms of events, which other files have whole.
        for event in [&a, &b] {
            report.check(&name, &read::<Event>(&form(event)), event);
        }
    }
}

pub(crate) fn run_json_payload(vectors: &Value, report: &mut Report) {
    for (name, case) in cases("json_payload", vectors) {
        report.ran();
        let given = text(case, "in");
        let name = format!("{name} {given:?}");
        let json = match Json::new(given) {
            Ok(json) => json,
            Err(error) => {
                report.check(&name, error.is_payload(), true);
                if case.get("encode_error").is_some() {
                    report.differs(&name, Difference::UnwritableJson);
                } else {
                    report.check(&name, case.get("decode_error").is_some(), true);
                }
                continue;
            }
        };
        report.check(&name, json.as_str(), given);
        report.check(&name, &Value::from(json.normalised()), &case["out"]);
        // As part of an event it comes back byte for byte.
        let event = RegisterEvent::new(EventType::empty()).with_payload(Payload::from(json));
        let line = serde_json::to_string(&event).expect("an event can be written");
        report.check(&name, line.lines().count(), 1);
        report.check(&name, serde_json::from_str(&line).ok(), Some(event));
    }
}

fn cases<'a>(file: &'static str, vectors: &'a Value) -> impl Iterator<Item = (String, &'a Value)> {
    let cases = items(vectors, "cases").iter().enumerate();
    cases.map(move |(index, case)| (format!("{file} {index}"), case))
}

#[track_caller]
fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

fn form(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("it can be written")
}

fn sorted(values: Vec<&i64>) -> Value {
    let count = values.len();
    let values: BTreeSet<&i64> = values.into_iter().collect();
    assert_eq!(values.len(), count, "a value came twice");
    json!(values)
}

/// A result of ours against one of the reference, which is absent where it failed.
fn check_result(
    name: &str,
    ours: Result<Timestamp, EventError>,
    reference: &Value,
    report: &mut Report,
) {
    let reference = (!reference.is_null()).then(|| read(reference));
    report.check(name, ours.ok(), reference);
}

/// An intersection against both sides, for all types of their segments and one more that are no longer than the longest query.
fn check_intersection(name: &str, [a, b, common]: [&Subscription; 3], report: &mut Report) {
    let queries = [a.query_types(), b.query_types()].concat();
    let longest = queries.iter().map(EventType::len).max().unwrap_or(0);
    let segments: BTreeSet<String> = queries
        .iter()
        .flat_map(|query| query.segments().map(str::to_owned).collect::<Vec<_>>())
        .chain(["fresh".to_owned()])
        .collect();
    let mut types = vec![EventType::empty()];
    let mut last = types.clone();
    for _ in 0..longest {
        last = last
            .iter()
            .flat_map(|parent| segments.iter().map(|segment| parent.child(segment)))
            .collect();
        types.extend_from_slice(&last);
    }
    for event in types {
        let both = a.matches(&event) && b.matches(&event);
        report.check(&format!("{name} {event}"), common.matches(&event), both);
    }
}

fn float(case: &Value) -> f64 {
    let bits = u64::from_str_radix(text(case, "float_bits"), 16).expect("hexadecimal");
    f64::from_bits(bits)
}

fn date(case: &Value) -> jiff::Timestamp {
    text(case, "datetime").parse().expect("a date")
}
