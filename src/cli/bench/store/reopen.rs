//! Opening a store that a killed process has left.

use std::fs;
use std::time::Instant;

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::Failure;
use crate::store::Backend;

use super::shape::{Scratch, config, fill, open};

/// Seconds for a GB of file, copied while the store was open: the database in it was never closed.
pub(super) fn times(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let events = plan.events.unwrap_or(plan.choose(100_000, 1_000_000));
    let dir = Scratch::new(plan)?;
    let source = dir.path().join("source");
    fs::create_dir(&source)?;
    let store = open(&source, config())?;
    fill(&store, 0..events)?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for run in 0..plan.runs {
        let copy = dir.path().join(format!("copy-{run}"));
        fs::create_dir(&copy)?;
        bytes = fs::copy(source.join(DATABASE), copy.join(DATABASE))?;
        // What the copy left to the system is not to be paid for below.
        rustix::fs::sync();
        let start = Instant::now();
        let opened = open(&copy, config())?;
        let gigabytes = bytes as f64 / 1e9;
        times.push(start.elapsed().as_secs_f64() / gigabytes);
        opened.close()?;
        drop(opened);
        fs::remove_dir_all(&copy)?;
    }
    store.close()?;
    let row = |case, unit, ours, target| Row {
        case,
        unit,
        ours,
        limit: None,
        peer: None,
        runs: plan.runs,
        target,
    };
    Ok(vec![
        row(
            "open-after-kill",
            "s/GB",
            median(times),
            Target::AtMost(2.0),
        ),
        row(
            "bytes-an-event",
            "bytes",
            bytes as f64 / events as f64,
            Target::None,
        ),
    ])
}

const DATABASE: &str = "store.redb";
