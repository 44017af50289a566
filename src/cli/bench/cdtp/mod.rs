//! `acqbus bench cdtp`: run data between two processes on loopback, and to disk.
//!
//! | file | is |
//! |---|---|
//! | `shape` | a run to measure: blocks, records, the frames that the transmitter makes of them |
//! | `throughput` | records and bytes a second, beside raw PUSH/PULL of the same frames |
//! | `call` | what `send_data_record` costs the thread that calls it |
//! | `disk` | run files beside a plain write |
//! | `memory` | a transmitter whose peer never reads |
//! | `raw` | the same frames on bare sockets |
//! | `process` | the other process: started, spoken to by lines, ended |
//! | `peer` | what the other process does |
//! | `reference` | ConstellationDAQ at both ends, where an interpreter has it |

mod call;
mod disk;
mod memory;
mod peer;
mod process;
mod raw;
mod reference;
mod shape;
mod throughput;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;

use super::measure::Plan;
use super::report::Row;
use super::{Amount, run_cases};

pub(super) use peer::BenchCdtpPeer;

#[derive(Debug, Args)]
pub(super) struct BenchCdtp {
    #[command(flatten)]
    amount: Amount,
    /// Measure only this; repeat the flag for several
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,
    /// A Python interpreter that has ConstellationDAQ, to measure the reference beside ours
    #[arg(long, env = "ACQBUS_BENCH_PYTHON", value_name = "PATH")]
    python: Option<PathBuf>,
    /// Where run files are written [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A group of figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Blocks of 64 bytes, gathered up to 128 KiB
    #[value(name = "64b")]
    Tiny,
    /// Blocks of 1 KiB, gathered up to 128 KiB
    #[value(name = "1k")]
    Small,
    /// Blocks of 64 KiB, gathered up to 128 KiB
    #[value(name = "64k")]
    Large,
    /// Blocks of 1 MiB
    #[value(name = "1m")]
    Huge,
    /// Blocks of 64 bytes, each a message of its own
    #[value(name = "64b-alone")]
    Alone,
    /// The call that sends a record of 64 bytes
    Call,
    /// Run files beside a plain write of the same bytes
    Disk,
    /// Memory of a transmitter whose peer never reads
    Memory,
}

impl BenchCdtp {
    /// Measures and prints; ends early on Ctrl-C.
    pub(super) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let plan = Plan {
            dir: self.dir.clone(),
            ..self.amount.plan(self.python.clone())
        };
        run_cases("cdtp", plan, &self.cases, Case::measure, out)
    }
}

impl Case {
    fn measure(self, plan: &Plan) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Tiny => throughput::tiny(plan),
            Self::Small => throughput::small(plan),
            Self::Large => throughput::large(plan),
            Self::Huge => throughput::huge(plan),
            Self::Alone => throughput::alone(plan),
            Self::Call => call::times(plan),
            Self::Disk => disk::rates(plan),
            Self::Memory => memory::growth(plan),
        }
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  acqbus bench cdtp --quick
  acqbus bench cdtp --case 64b --case 64k --runs 9
  acqbus bench cdtp --json > figures.jsonl

The program starts itself as the transmitter; run data goes to it over loopback. Each figure is the
median of several runs, in which acqbus takes turns with bare sockets that move the same frames, and
run files with a plain write of the same bytes: the column \"raw\". The ratio is ours over raw. The
exit code is 1 when a figure misses its target.";
