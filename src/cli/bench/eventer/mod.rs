//! `acqbus bench eventer`: the store on the network, beside the reference's server in the same run.
//!
//! | file | is |
//! |---|---|
//! | `peer` | a server in a process of its own: ours, or the reference where an interpreter has it |
//! | `register` | events and requests a second, each answered |
//! | `notify` | 1,000 clients that want different events, one event a millisecond |
//! | `subscribers` | these clients, on one thread |
//! | `abuse` | a good client beside garbage and connections that say nothing |

mod abuse;
mod notify;
mod peer;
mod register;
mod subscribers;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;

use super::measure::Plan;
use super::report::Row;
use super::{Amount, run_cases};

#[derive(Debug, Args)]
pub(super) struct BenchEventer {
    #[command(flatten)]
    amount: Amount,
    /// Measure only this; repeat the flag for several
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,
    /// A Python interpreter that has hat-event, to measure the reference beside ours
    #[arg(long, env = "ACQBUS_BENCH_PYTHON", value_name = "PATH")]
    python: Option<PathBuf>,
    /// Where stores are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A group of figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Events a second, registered in batches of 100, each batch answered
    Register,
    /// Requests a second of 8 clients, each of one event and answered
    Requests,
    /// From registering to being told: 1,000 clients, 1,000 subscriptions, one event a millisecond
    Notify,
    /// Requests of a good client beside connections that send garbage or say nothing
    Garbage,
}

impl BenchEventer {
    /// Measures and prints; ends early on Ctrl-C.
    pub(super) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let plan = Plan {
            dir: self.dir.clone(),
            ..self.amount.plan(self.python.clone())
        };
        run_cases("eventer", plan, &self.cases, Case::measure, out)
    }
}

impl Case {
    fn measure(self, plan: &Plan) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Register => register::batches(plan),
            Self::Requests => register::requests(plan),
            Self::Notify => notify::latencies(plan),
            Self::Garbage => abuse::good_beside(plan),
        }
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  acqbus bench eventer --quick
  acqbus bench eventer --case register --case requests --runs 9
  acqbus bench eventer --python venv/bin/python --json > figures.jsonl

Each figure is the median of several runs over loopback; losses are those of the worst run. The server is a process
of its own with a durable store, and so is that of the reference, which the same clients ask. The exit code is 1
when a figure misses its target.";
