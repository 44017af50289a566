//! What a full scan takes in memory, above the caches.

use std::ffi::OsStr;
use std::process::Command;

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::store::Backend;

use super::shape::{Scratch, config, fill, open};

/// Bytes that a process takes at most while it reads every event, beyond what it had before it opened the store and the caches.
pub(super) fn scan(plan: &Plan) -> Result<Vec<Row>, Failure> {
    if !cfg!(target_os = "linux") {
        // The system says elsewhere how much a process has.
        return Ok(Vec::new());
    }
    let events = plan.events.unwrap_or(plan.choose(100_000, 1_000_000));
    let dir = Scratch::new(plan)?;
    let store = open(dir.path(), config())?;
    fill(&store, 0..events)?;
    store.close()?;
    drop(store);
    let caches = config().cache_bytes + config().database_cache_bytes;
    let runs = plan.choose(1, plan.runs.min(3));
    let mut grown = Vec::new();
    for _ in 0..runs {
        let [before, peak, seen] = scanned(dir.path().as_os_str())?;
        if seen != events {
            let text = format!("a scan saw {seen} of {events} events");
            return Err(Failure::new(Exit::Failed, text));
        }
        let above = peak as f64 - before as f64 - caches as f64;
        grown.push(above.max(0.0));
    }
    Ok(vec![Row {
        case: "scan-above-caches",
        unit: "bytes",
        ours: median(grown),
        limit: None,
        peer: None,
        runs,
        target: Target::AtMost((64_u32 << 20).into()),
    }])
}

/// What the other process says.
fn scanned(dir: &OsStr) -> Result<[u64; 3], Failure> {
    let done = Command::new(std::env::current_exe()?)
        .args(["bench", "store-peer"])
        .arg(dir)
        .output()?;
    let text = String::from_utf8_lossy(&done.stdout);
    let figures: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    figures.try_into().map_err(|_| {
        let told = String::from_utf8_lossy(&done.stderr);
        Failure::new(
            Exit::Failed,
            format!("the other process says `{text}` {told}"),
        )
    })
}
