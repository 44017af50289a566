//! What the bytes of the eventer cost for each event, in time and allocations; the exit code is 1 if a bound is missed.
//!
//! Each time is the median of rounds over batches of 100 events with a type of three segments and a small JSON payload.

use std::alloc::System;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use acqbus::event::{EventId, EventType, Json, RegisterEvent, Timestamp};
use acqbus::eventer::chatter::{Chatter, ChatterOptions};
use acqbus::eventer::message::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let given: Vec<_> = (0..EVENTS).map(register_event).collect();
    let events = given.iter().enumerate().map(|(index, given)| {
        let id = EventId::new(1, 1_000_000, index as i64 + 1);
        Arc::new(
            given
                .clone()
                .register(id, Timestamp::new(1_700_000_000, 123_456)),
        )
    });
    let events: Vec<_> = events.collect();
    let [request, response] = [
        Message::RegisterReq(given),
        Message::RegisterRes(Some(events)),
    ];
    let (mut data, mut stream) = (Vec::new(), Vec::new());
    let mut failed = false;
    // An event has its type, its text and the place that is shared; the list has one more.
    for (message, allocations) in [(&request, 2), (&response, 3)] {
        let kind = message.kind();
        failed |= report(&format!("{kind}: written"), 0, || {
            data.clear();
            message.encode(&mut data);
        });
        failed |= report(&format!("{kind}: read"), allocations * EVENTS + 1, || {
            drop(black_box(Message::decode(kind, &data)));
        });
        let now = Instant::now();
        let [mut sender, mut receiver] =
            [(); 2].map(|()| Chatter::new(ChatterOptions::default(), now));
        failed |= report(&format!("{kind}: framed, and taken again"), 0, || {
            stream.clear();
            let _ = sender.begin(kind, &data, true, &mut stream);
            receiver.receive(&stream, now);
            let _ = black_box(receiver.next(&mut Vec::new()));
        });
    }
    ExitCode::from(u8::from(failed))
}

/// Whether a bound is missed.
fn report(what: &str, allocations: usize, mut round: impl FnMut()) -> bool {
    round();
    let region = Region::new(COUNTING);
    round();
    let change = region.change();
    let made = change.allocations + change.reallocations;
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            round();
            started.elapsed().as_nanos() as usize / EVENTS
        })
        .collect();
    times.sort_unstable();
    let median = times[ROUNDS / 2];
    println!("{what}: {median} ns an event, {made} allocations for {EVENTS} events");
    let is_missed = made > allocations || median > BOUND_NS;
    if is_missed {
        println!("  FAILED: at most {BOUND_NS} ns and {allocations} allocations");
    }
    is_missed
}

fn register_event(number: usize) -> RegisterEvent {
    let event_type = EventType::new(["rig-1", "temperature", &format!("sensor{}", number % 10)]);
    let payload = Json::new(format!(r#"{{"value": {number}.25, "unit": "K"}}"#));
    RegisterEvent::new(event_type)
        .with_source_timestamp(Timestamp::new(1_700_000_000, number as u32))
        .with_payload(payload.ok().map(Into::into))
}

const EVENTS: usize = 100;
const ROUNDS: usize = 2001;

/// The most time for one event in one of the rows.
const BOUND_NS: usize = 500;
