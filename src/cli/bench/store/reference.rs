//! hat-event's LMDB backend in a process of its own; measured where an interpreter has it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use parking_lot::Mutex;

use crate::cli::bench::measure::Plan;
use crate::cli::exit::{Exit, Failure};

use super::shape::Scratch;

/// What the reference does in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) register: f64,
    pub(super) latest_one: f64,
    pub(super) latest_all: f64,
    pub(super) series_all: f64,
    pub(super) series_one: f64,
    pub(super) server: f64,
}

/// Runs the reference, once for all cases; `None` where the plan names no interpreter.
pub(super) fn figures(plan: &Plan) -> Result<Option<Figures>, Failure> {
    static TAKEN: Mutex<Option<(PathBuf, Figures)>> = Mutex::new(None);
    let Some(python) = &plan.python else {
        return Ok(None);
    };
    let mut taken = TAKEN.lock();
    if let Some((by, figures)) = &*taken
        && by == python
    {
        return Ok(Some(*figures));
    }
    let dir = Scratch::new(plan)?;
    let done = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(dir.path())
        .args([plan.choose("20000", "200000"), plan.choose("0.3", "2")])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| Failure::from(error).while_doing(python.display()))?;
    let text = String::from_utf8_lossy(&done.stdout);
    let rates: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let [
        register,
        latest_one,
        latest_all,
        series_all,
        series_one,
        server,
    ] = rates[..]
    else {
        let text = format!("{} has no usable hat-event", python.display());
        return Err(Failure::new(Exit::Usage, text)
            .with_hint("pip install hat-event, or leave --python out"));
    };
    let figures = Figures {
        register,
        latest_one,
        latest_all,
        series_all,
        series_one,
        server,
    };
    *taken = Some((python.clone(), figures));
    Ok(Some(figures))
}

const SCRIPT: &str = include_str!("reference.py");
