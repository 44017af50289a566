//! `acqbus bench store`: the history on disk, beside the engine below it and the reference.
//!
//! | file | is |
//! |---|---|
//! | `shape` | the events that are measured with, and a folder for them |
//! | `register` | events a second into the store: periodic, and committed beside raw redb |
//! | `query` | answers a second, at so many events |
//! | `matching` | subscriptions and collections |
//! | `reopen` | opening a file that was left by a killed process |
//! | `memory` | what a full scan takes |
//! | `raw` | redb alone, committing the same bytes |
//! | `peer` | the other process of `memory` |
//! | `reference` | hat-event's backend, where an interpreter has it |

mod matching;
mod memory;
mod peer;
mod query;
mod raw;
mod reference;
mod register;
mod reopen;
mod shape;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;

use super::measure::Plan;
use super::report::Row;
use super::{Amount, run_cases};

pub(super) use peer::BenchStorePeer;
pub(super) use shape::Scratch;

#[derive(Debug, Args)]
pub(super) struct BenchStore {
    #[command(flatten)]
    amount: Amount,
    /// Measure only this; repeat the flag for several
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,
    /// Events in the store when it is asked; more than 1,000,000 are measured at 1,000,000 first [default: 1000000, quick: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    events: Option<u64>,
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
    /// Events a second into the store, the flush included
    Register,
    /// The same with every call on disk when it returns, beside raw redb
    Committed,
    /// Answers a second: latest, time series, server
    Query,
    /// Whether an event is wanted, and by whom
    Matching,
    /// Opening the file of a killed process
    Open,
    /// What a full scan takes above the caches
    Memory,
}

impl BenchStore {
    /// Measures and prints; ends early on Ctrl-C.
    pub(super) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let plan = Plan {
            dir: self.dir.clone(),
            events: self.events,
            ..self.amount.plan(self.python.clone())
        };
        run_cases("store", plan, &self.cases, Case::measure, out)
    }
}

impl Case {
    fn measure(self, plan: &Plan) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Register => register::periodic(plan),
            Self::Committed => register::committed(plan),
            Self::Query => query::rates(plan),
            Self::Matching => matching::times(plan),
            Self::Open => reopen::times(plan),
            Self::Memory => memory::scan(plan),
        }
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  acqbus bench store --quick
  acqbus bench store --case register --case committed --runs 9
  acqbus bench store --case query --events 10000000
  acqbus bench store --json > figures.jsonl

Each figure is the median of several runs. The column \"raw\" is redb alone, committing the same bytes in turns
with ours; for queries of more than 1,000,000 events it is the figure at 1,000,000. The exit code is 1 when a
figure misses its target.";
