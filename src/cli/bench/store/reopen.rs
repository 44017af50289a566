//! Opening a store that a killed process has left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::Failure;
use crate::event::Events;
use crate::store::{Backend, Durability, RedbBackend, StoreConfig};

use super::shape::{AT_ONCE, Scratch, batches, config, fill, open};

/// Seconds for a GB of file, copied while the store was open: the database in it was never closed.
///
/// In periodic mode the last transaction notes which pages are free. In committed mode it is a commit, after which the engine
/// reads the whole file, and the events behind the last flush are taken into the indexes.
pub(super) fn times(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let events = plan.events.unwrap_or(plan.choose(100_000, 1_000_000));
    let periodic = reopened(plan, &config(), |store| fill(store, 0..events))?;
    let no_flush = Duration::from_secs(3600);
    let committed = config()
        .durability(Durability::Committed)
        .flush_period(no_flush);
    let committed = reopened(plan, &committed, |store| {
        let mut begin = 0;
        while begin < events {
            // What comes in the last call stays out of the indexes.
            store.flush()?;
            let end = (begin + AT_ONCE).min(events);
            let calls = batches(begin..end)?;
            let call: Events = calls.iter().flat_map(|call| call.iter().cloned()).collect();
            store.register(call)?;
            begin = end;
        }
        Ok(())
    })?;
    let row = |case, unit, ours, target| Row {
        case,
        unit,
        ours,
        limit: None,
        peer: None,
        runs: plan.runs,
        target,
    };
    let bytes_an_event = periodic.bytes as f64 / events as f64;
    Ok(vec![
        row(
            "open-after-kill",
            "s/GB",
            periodic.seconds_a_gigabyte,
            Target::AtMost(2.0),
        ),
        row(
            "open-after-kill-committed",
            "s/GB",
            committed.seconds_a_gigabyte,
            Target::AtMost(2.0),
        ),
        row("bytes-an-event", "bytes", bytes_an_event, Target::None),
    ])
}

struct Reopened {
    seconds_a_gigabyte: f64,
    bytes: u64,
}

/// Fills a store and opens copies of its file.
fn reopened(
    plan: &Plan,
    config: &StoreConfig,
    fill: impl FnOnce(&RedbBackend) -> Result<(), Failure>,
) -> Result<Reopened, Failure> {
    let dir = Scratch::new(plan)?;
    let source = dir.path().join("source");
    fs::create_dir(&source)?;
    let store = open(&source, config.clone())?;
    fill(&store)?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for run in 0..plan.runs {
        let copy = dir.path().join(format!("copy-{run}"));
        let time;
        (time, bytes) = open_copy(&source, &copy, config)?;
        times.push(time / (bytes as f64 / 1e9));
    }
    store.close()?;
    Ok(Reopened {
        seconds_a_gigabyte: median(times),
        bytes,
    })
}

/// How long it takes, and how large the file is.
fn open_copy(source: &Path, copy: &Path, config: &StoreConfig) -> Result<(f64, u64), Failure> {
    fs::create_dir(copy)?;
    let bytes = fs::copy(source.join(DATABASE), copy.join(DATABASE))?;
    // What the copy left to the system is not to be paid for below.
    rustix::fs::sync();
    let start = Instant::now();
    let opened = open(copy, config.clone())?;
    let time = start.elapsed().as_secs_f64();
    opened.close()?;
    drop(opened);
    fs::remove_dir_all(copy)?;
    Ok((time, bytes))
}

const DATABASE: &str = "store.redb";
