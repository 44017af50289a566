//! ConstellationDAQ at both ends, in two processes of its own; measured where an interpreter has it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::bench::measure::Plan;
use crate::cli::exit::{Exit, Failure};

use super::process::Process;
use super::shape::Shape;

/// The time that the reference would take for the run, from a shorter one of the same shape; `None` where the plan names no
/// interpreter.
pub(super) fn time(plan: &Plan, shape: Shape) -> Result<Option<Duration>, Failure> {
    let Some(python) = &plan.python else {
        return Ok(None);
    };
    let records = (shape.records / 40).clamp(1, 200_000);
    let transmitter = start(
        python,
        &[
            "send".to_owned(),
            shape.block_bytes.to_string(),
            records.to_string(),
            shape.threshold_kib.to_string(),
        ],
    )?;
    let unusable = |_| {
        let text = format!("{} has no usable ConstellationDAQ", python.display());
        Failure::new(Exit::Usage, text)
            .with_hint("pip install ConstellationDAQ, or leave --python out")
    };
    let [port] = transmitter.figures::<1, u16>().map_err(unusable)?;
    let receiver = start(python, &["receive".to_owned(), port.to_string()])?;
    let [received, seconds] = receiver.figures::<2, f64>()?;
    if received as u64 != records {
        let text = format!("the reference received {received} of {records} records");
        return Err(Failure::new(Exit::Failed, text));
    }
    let time = seconds * (shape.records as f64) / (records as f64);
    Ok(Some(Duration::try_from_secs_f64(time).unwrap_or_default()))
}

fn start(python: &Path, args: &[String]) -> Result<Process, Failure> {
    let mut command = Command::new(python);
    command
        .args(["-c", SCRIPT])
        .args(args)
        .stderr(Stdio::null());
    Process::start(command, format!("{}", python.display()))
}

const SCRIPT: &str = include_str!("reference.py");
