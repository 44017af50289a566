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

/// In committed mode at batches of 100, in turns with redb that commits the same bytes. Events a second have the flush of the
/// indexes in them, as in periodic mode; commits a second are what each call waits for.
pub(super) fn committed(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let calls = batches(0..plan.choose(200, 2_000) * BATCH)?;
    let ours = || {
        let dir = Scratch::new(plan)?;
        let store = open(dir.path(), config().durability(Durability::Committed))?;
        let commits = seconds(&calls, |events| {
            store.register(Events::clone(events))?;
            Ok(())
        })?;
        let start = Instant::now();
        store.flush()?;
        let flush = start.elapsed().as_secs_f64();
        store.close()?;
        Ok((commits, flush))
    };
    let raw = || {
        let dir = Scratch::new(plan)?;
        let store = RawStore::create(dir.path())?;
        let mut number = 0;
        let commits = seconds(&calls, |events| {
            number += 1;
            store.commit(number, &vec![b'x'; block_bytes(events)])
        })?;
        Ok((commits, 0.0))
    };
    let sides = plan.alternate(ours, raw)?;
    let count = calls.len() as f64;
    let (commits, raw_commits) = sides.medians(|(commits, _)| count / commits);
    let (flushed, _) = sides.medians(|(commits, flush)| count / (commits + flush));
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
            flushed * BATCH as f64,
            None,
            Target::AtLeast(20_000.0),
        ),
        row(
            "committed-commits",
            commits,
            Some(raw_commits),
            Target::RatioAtLeast(0.95),
        ),
        row(FLUSHED, flushed, Some(raw_commits), Target::None),
    ])
}

/// How long the calls took.
fn seconds(
    calls: &[Events],
    mut register: impl FnMut(&Events) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    // What the last turn left to the system is not to be paid for in this one.
    rustix::fs::sync();
    let start = Instant::now();
    for events in calls {
        register(events)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// The bytes of the block that a call of ours commits, as `docs/store-file.md` has them: a block's head of 16; for each event
/// where it is (8), checksum, length and number of the type (12), id (24), timestamp (12), flags (1), and the payload.
///
/// Raw redb is given as many, so that the two differ by what ours does with them, not by how much is written. The indexes
/// are not among them: ours writes these later and from all calls together, which [`FLUSHED`] has in it.
fn block_bytes(events: &Events) -> usize {
    let of = |event: &Event| match &event.payload {
        Some(Payload::Json(json)) => json.as_str().len(),
        _ => 0,
    };
    let events = events.iter().map(|event| 8 + 12 + 24 + 12 + 1 + of(event));
    16 + events.sum::<usize>()
}

/// The same calls with the flush that writes the indexes.
const FLUSHED: &str = "committed-flushed";
