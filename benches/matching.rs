//! How long it takes to find who wants an event, and that nothing is allocated for it; the exit code is 1 if either is missed.
//!
//! Each time is the median of rounds over a few thousand event types in changing order, so that no answer comes from the cache of
//! the one before.

use std::alloc::System;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use acqbus::event::{
    EventType, EventTypeCollection, ListCollection, Subscription, TreeCollection,
    matches_query_type,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let events: Vec<EventType> = (0..EVENTS).map(|_| dice.event_type()).collect();
    let mut failed = false;

    let query_types: Vec<EventType> = (0..1000).map(|_| dice.query_type()).collect();
    let subscription = Subscription::new(query_types.clone()).expect("query types");
    failed |= report(
        "Subscription::matches, 1,000 query types",
        Some(100),
        &events,
        |event| usize::from(subscription.matches(event)),
    );
    let exact = Subscription::new((0..1000).map(|_| dice.event_type())).expect("query types");
    failed |= report(
        "Subscription::matches, 1,000 types without `?` and `*`",
        Some(100),
        &events,
        |event| usize::from(exact.matches(event)),
    );
    report(
        "the same, one query type after the other",
        None,
        &events[..100],
        |event| {
            let mut queries = query_types.iter();
            usize::from(queries.any(|query| matches_query_type(event, query)))
        },
    );

    let mut tree = TreeCollection::new();
    let mut list = ListCollection::new();
    for value in 0..10_000_u32 {
        let count = 1 + dice.below(3);
        let query_types = (0..count).map(|_| dice.narrow_query_type());
        let subscription = Subscription::new(query_types).expect("query types");
        tree.add(&subscription, value);
        list.add(&subscription, value);
    }
    failed |= report(
        "TreeCollection::for_each, 10,000 subscriptions",
        Some(300),
        &events,
        |event| count(&tree, event),
    );
    report(
        "ListCollection::for_each, 10,000 subscriptions",
        None,
        &events[..20],
        |event| count(&list, event),
    );
    ExitCode::from(u8::from(failed))
}

/// Prints the time of one answer, what it finds and what it allocates, beside the limit; whether a limit is missed.
fn report(
    name: &str,
    limit: Option<u128>,
    events: &[EventType],
    find: impl Fn(&EventType) -> usize,
) -> bool {
    let found: usize = events.iter().map(&find).sum();
    let region = Region::new(COUNTING);
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for event in events {
                black_box(find(black_box(event)));
            }
            started.elapsed().as_nanos() / events.len() as u128
        })
        .collect();
    let change = region.change();
    // The list of rounds itself is the one.
    let allocations = (change.allocations + change.reallocations).saturating_sub(1);
    rounds.sort_unstable();
    let time = rounds[ROUNDS / 2];
    let is_missed = limit.is_some_and(|limit| time > limit || allocations > 0);
    let verdict = match limit {
        None => String::new(),
        Some(limit) => format!(
            "  limit {limit} ns  {}",
            if is_missed { "FAILED" } else { "met" }
        ),
    };
    println!(
        "{name:<56} {time:>8} ns  {:>5.2} found  {allocations} allocations{verdict}",
        found as f64 / events.len() as f64
    );
    is_missed
}

fn count(collection: &impl EventTypeCollection<u32>, event: &EventType) -> usize {
    let mut found = 0;
    collection.for_each(event, &mut |value| {
        black_box(value);
        found += 1;
    });
    found
}

/// Types as a fleet of rigs has them, by a stream of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn segments(&mut self) -> [String; 3] {
        let topics = ["event", "status", "emergency", "command"];
        let topic = topics[self.below(4) as usize].to_owned();
        [
            format!("rig-{}", self.below(100)),
            topic,
            format!("kind-{}", self.below(40)),
        ]
    }

    fn event_type(&mut self) -> EventType {
        EventType::new(self.segments())
    }

    /// One of ten has `?`, one of ten ends with `*`.
    fn query_type(&mut self) -> EventType {
        let mut segments = self.segments();
        match self.below(10) {
            0 => segments[0] = "?".to_owned(),
            1 => segments[2] = "*".to_owned(),
            _ => {}
        }
        EventType::new(segments)
    }

    /// One of a hundred has `?`, one of a hundred ends with `*`.
    fn narrow_query_type(&mut self) -> EventType {
        let mut segments = self.segments();
        match self.below(100) {
            0 => segments[0] = "?".to_owned(),
            1 => segments[2] = "*".to_owned(),
            _ => {}
        }
        EventType::new(segments)
    }
}

const EVENTS: usize = 4000;

const ROUNDS: usize = 101;
