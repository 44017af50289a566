//! Memory of a transmitter whose peer is connected and never reads.

use std::fs;

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};

use super::process::Process;
use super::raw::Puller;

/// What is held when nothing fits in any more, and how it grows while the caller tries on.
pub(super) fn growth(plan: &Plan) -> Result<Vec<Row>, Failure> {
    if !cfg!(target_os = "linux") {
        // The system says elsewhere how much a process has.
        return Ok(Vec::new());
    }
    let millis = plan.choose(1_000, 5_000);
    let runs = plan.choose(1, plan.runs.min(3));
    let mut held = Vec::new();
    let mut grown = Vec::new();
    for _ in 0..runs {
        let process = Process::of_this_program(["fill".to_owned(), format!("--millis={millis}")])?;
        let _peer = Puller::reluctant(&process.endpoint()?)?;
        let [full, growth, _refused] = process.figures()?;
        held.push(full);
        grown.push(growth);
    }
    let row = |case, ours, target| Row {
        case,
        unit: "bytes",
        ours,
        limit: None,
        peer: None,
        runs,
        target,
    };
    Ok(vec![
        row("never-read-held", median(held), Target::None),
        row("never-read-grows", median(grown), Target::AtMost(PAGES)),
    ])
}

/// Bytes of memory that this process occupies.
pub(super) fn resident_bytes() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| Failure::new(Exit::Failed, "the system does not say the memory in use"))
}

/// Growth that is none: pages that the allocator and the stacks touch for the first time.
const PAGES: f64 = (1 << 20) as f64;
