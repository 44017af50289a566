//! Events a second into the store.

use std::time::{Duration, Instant};

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::Failure;
use crate::event::{Event, Events, Payload};
use crate::store::{Backend, Durability};

use super::raw::RawStore;
use super::reference;
use super::shape::{AT_ONCE, BATCH, Scratch, batches, config, open};

/// In periodic mode: the calls and the last flush are timed, making the events is not.
pub(super) fn periodic(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let events = plan.choose(100_000, 1_000_000);
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        let dir = Scratch::new(plan)?;
        let store = open(dir.path(), config())?;
        let (mut time, mut begin) = (Duration::ZERO, 0);
        while begin < events {
            let end = (begin + AT_ONCE).min(events);
            let calls = batches(begin..end)?;
            let start = Instant::now();
            for events in calls {
                store.register(events)?;
            }
            time += start.elapsed();
            begin = end;
        }
        let start = Instant::now();
        store.flush()?;
        time += start.elapsed();
        store.close()?;
        rates.push(events as f64 / time.as_secs_f64());
    }
    let peer = reference::figures(plan)?.map(|figures| figures.register);
    Ok(vec![Row {
        case: "register",
        unit: "1/s",
        ours: median(rates),
        limit: None,
        peer,
        runs: plan.runs,
        target: Target::AtLeast(300_000.0),
    }])
}

/// In committed mode at batches of 100, in turns with redb that commits the same bytes.
pub(super) fn committed(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let calls = batches(0..plan.choose(200, 2_000) * BATCH)?;
    let ours = || {
        let dir = Scratch::new(plan)?;
        let store = open(dir.path(), config().durability(Durability::Committed))?;
        let rate = rate(&calls, |events| {
            store.register(Events::clone(events))?;
            Ok(())
        })?;
        store.close()?;
        Ok(rate)
    };
    let raw = || {
        let dir = Scratch::new(plan)?;
        let store = RawStore::create(dir.path())?;
        let mut number = 0;
        rate(&calls, |events| {
            number += 1;
            store.commit(number, &vec![b'x'; bytes(events)])
        })
    };
    let sides = plan.alternate(ours, raw)?;
    let (commits, raw_commits) = sides.medians(|rate| *rate);
    let row = |case, ours, limit, target| Row {
        case,
        unit: "1/s",
        ours,
        limit,
        peer: None,
        runs: plan.runs,
        target,
    };
    Ok(vec![
        row(
            "committed-events",
            commits * BATCH as f64,
            None,
            Target::AtLeast(20_000.0),
        ),
        row(
            "committed-commits",
            commits,
            Some(raw_commits),
            Target::RatioAtLeast(0.95),
        ),
    ])
}

/// Calls a second.
fn rate(
    calls: &[Events],
    mut register: impl FnMut(&Events) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    // What the last turn left to the system is not to be paid for in this one.
    rustix::fs::sync();
    let start = Instant::now();
    for events in calls {
        register(events)?;
    }
    Ok(calls.len() as f64 / start.elapsed().as_secs_f64())
}

/// The bytes that a store cannot do without: id, timestamp, number of the type, payload, length and checksum.
fn bytes(events: &Events) -> usize {
    let of = |event: &Event| match &event.payload {
        Some(Payload::Json(json)) => json.as_str().len(),
        _ => 0,
    };
    events.iter().map(|event| 24 + 12 + 4 + 8 + of(event)).sum()
}
