//! Whether an event is wanted, and by whom.

use std::hint::black_box;
use std::time::Instant;

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::event::{EventType, EventTypeCollection, Subscription, TreeCollection};

/// Nanoseconds of `Subscription::matches` at 1,000 query types, and of the tree at 10,000 subscriptions.
pub(super) fn times(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let failed = |error| Failure::of(Exit::Failed, &error);
    let subscription = Subscription::new((0..1_000).map(query_type)).map_err(failed)?;
    let mut tree = TreeCollection::new();
    for number in 0..10_000_u32 {
        let wanted = Subscription::new([query_type(number)]).map_err(failed)?;
        tree.add(&wanted, number);
    }
    // Of 10 events 9 are of a type that somebody wants.
    let events: Vec<_> = (0..1_000)
        .map(|number| match number % 10 {
            9 => EventType::new(["nobody", "wants", "this"]),
            _ => event_type(number * 7 % 1_000),
        })
        .collect();
    let wanted = events.iter().filter(|event| subscription.matches(event));
    if wanted.count() < 800 {
        return Err(Failure::new(Exit::Failed, "too few events are wanted"));
    }
    let rounds = plan.choose(200, 2_000);
    let row = |case, ours, least| Row {
        case,
        unit: "ns",
        ours,
        limit: None,
        peer: None,
        runs: plan.runs,
        target: Target::AtMost(least),
    };
    let matches = nanoseconds(plan, rounds, &events, |event| {
        black_box(subscription.matches(event));
    });
    let found = nanoseconds(plan, rounds, &events, |event| {
        tree.for_each(event, &mut |value| {
            black_box(value);
        });
    });
    Ok(vec![
        row("matches-1000-types", matches, 100.0),
        row("tree-10000-subscriptions", found, 300.0),
    ])
}

fn nanoseconds(
    plan: &Plan,
    rounds: u32,
    events: &[EventType],
    mut call: impl FnMut(&EventType),
) -> f64 {
    let mut times = Vec::new();
    for _ in 0..plan.runs {
        let start = Instant::now();
        for _ in 0..rounds {
            for event in events {
                call(black_box(event));
            }
        }
        let calls = f64::from(rounds) * events.len() as f64;
        times.push(start.elapsed().as_nanos() as f64 / calls);
    }
    median(times)
}

/// Most name one type, some all kinds of a topic of a rig, some one kind of every rig.
fn query_type(number: u32) -> EventType {
    let rig = format!("rig-{}", number / 20);
    let kind = format!("kind{number:04}");
    match number % 20 {
        18 => EventType::new([rig.as_str(), "property", "*"]),
        19 => EventType::new(["?", "event", kind.as_str()]),
        _ => EventType::new([rig.as_str(), "event", kind.as_str()]),
    }
}

fn event_type(number: u32) -> EventType {
    let rig = format!("rig-{}", number / 20);
    let kind = format!("kind{number:04}");
    let topic = if number % 20 == 18 {
        "property"
    } else {
        "event"
    };
    EventType::new([rig.as_str(), topic, kind.as_str()])
}
