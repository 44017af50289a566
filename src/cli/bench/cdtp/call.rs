//! What `send_data_record` costs the thread that calls it.

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::Failure;

use super::process::Process;
use super::throughput::receive_by_handler;

/// A new record of one block of 64 bytes and its `send_data_record`, in nanoseconds.
pub(super) fn times(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let records = plan.choose(200_000, 1_000_000);
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        runs.push(run(records)?);
    }
    let of = |at: usize| median(runs.iter().map(|times| times[at]).collect());
    let row = |case, ours, target| Row {
        case,
        unit: "ns",
        ours,
        limit: None,
        peer: None,
        runs: plan.runs,
        target,
    };
    Ok(vec![
        row("send-call-p50", of(0), Target::AtMost(200.0)),
        row("send-call-p99", of(1), Target::None),
    ])
}

fn run(records: usize) -> Result<[f64; 2], Failure> {
    let process = Process::of_this_program(["call".to_owned(), format!("--records={records}")])?;
    receive_by_handler(&process.endpoint()?)?;
    process.figures()
}
