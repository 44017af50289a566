//! `acqbus bench`: measures this machine, side by side with raw libzmq in the same run.
//!
//! | file | is |
//! |---|---|
//! | `cdtp/` | run data between two processes, and to disk |
//! | `store/` | the history on disk, beside redb alone |
//! | `eventer/` | the store on the network, beside hat-event's server |
//! | `report` | rows, targets, verdicts; the table and the JSON lines |
//! | `measure` | runs that alternate, percentiles, pinning |
//! | `command` | round trips and commands a second |
//! | `publish` | the call, the throughput, the latency of events |
//! | `sleeper` | ten subscribers, one of them asleep |
//! | `abuse` | good commands beside malformed requests, garbage and half-open connections |
//! | `quiet` | heartbeats beside a slow delegate, an idle service |
//! | `raw` | the same exchanges on bare sockets |
//! | `reference` | the Python service, where an interpreter has it |

mod abuse;
mod cdtp;
mod command;
mod eventer;
mod measure;
mod publish;
mod quiet;
mod raw;
mod reference;
mod report;
mod sleeper;
mod store;

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use crossbeam_channel::{bounded, select};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::cli::signal::Stop;

use self::measure::Plan;
use self::report::Row;

/// Measures this machine.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure commands and events, side by side with raw libzmq
    #[command(after_help = EXAMPLES)]
    Rpc(BenchRpc),
    /// Measure run data between two processes and to disk, side by side with raw libzmq and a plain write
    #[command(after_help = cdtp::EXAMPLES)]
    Cdtp(cdtp::BenchCdtp),
    /// Measure the history on disk, side by side with the engine below it
    #[command(after_help = store::EXAMPLES)]
    Store(store::BenchStore),
    /// Measure the store on the network, side by side with hat-event's server where Python has it
    #[command(after_help = eventer::EXAMPLES)]
    Eventer(eventer::BenchEventer),
    /// The other process of `bench store`
    #[command(hide = true)]
    StorePeer(store::BenchStorePeer),
    /// The other process of `bench cdtp`
    #[command(hide = true)]
    CdtpPeer(cdtp::BenchCdtpPeer),
}

/// How much is measured.
#[derive(Debug, Args)]
struct Amount {
    /// Take seconds, not minutes; the figures scatter more
    #[arg(long)]
    quick: bool,
    /// Measure each case this often and print the median [default: 5, quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
}

impl Amount {
    fn plan(&self, python: Option<PathBuf>) -> Plan {
        Plan {
            runs: self.runs.unwrap_or(if self.quick { 3 } else { 5 }),
            quick: self.quick,
            python,
            dir: None,
            events: None,
        }
    }
}

#[derive(Debug, Args)]
struct BenchRpc {
    #[command(flatten)]
    amount: Amount,
    /// Measure only this; repeat the flag for several
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,
    /// A Python interpreter that has auto-trainer-api, to measure the reference beside ours
    #[arg(long, env = "ACQBUS_BENCH_PYTHON", value_name = "PATH")]
    python: Option<PathBuf>,
}

/// A group of figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Round trip of a command, service and client on one core and on any
    RoundTrip,
    /// Commands a second, one client and 16
    Commands,
    /// The call that publishes an event
    SendEvent,
    /// Events a second to one subscriber, none lost
    Events,
    /// From the call to the subscriber, at 1,000 events a second
    OneWay,
    /// Ten subscribers, one of them asleep
    Sleeper,
    /// Heartbeats while a delegate blocks
    Heartbeat,
    /// Good commands, each after a malformed request
    Malformed,
    /// Good commands beside connections that send garbage or say nothing
    Garbage,
    /// Processor time of an idle service
    Idle,
}

impl Bench {
    /// Measures and prints; ends early on Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        match &self.what {
            What::Rpc(bench) => {
                let plan = bench.amount.plan(bench.python.clone());
                run_cases("rpc", plan, &bench.cases, Case::measure, out)
            }
            What::Cdtp(bench) => bench.run(out),
            What::CdtpPeer(peer) => peer.run(),
            What::Store(bench) => bench.run(out),
            What::Eventer(bench) => bench.run(out),
            What::StorePeer(peer) => peer.run(out),
        }
    }
}

/// Measures the chosen cases, or all where none is, and prints each figure when it is there.
fn run_cases<C>(
    bench: &'static str,
    plan: Plan,
    chosen: &[C],
    measure: fn(C, &Plan) -> Result<Vec<Row>, Failure>,
    out: Output,
) -> Result<Exit, Failure>
where
    C: ValueEnum + Copy + PartialEq + Send + 'static,
{
    let stop = Stop::on_ctrl_c()?;
    let all = C::value_variants().iter().copied();
    let cases: Vec<C> = all
        .filter(|case| chosen.is_empty() || chosen.contains(case))
        .collect();
    let progress = progress(cases.len());
    let steps = start(plan, cases, measure)?;
    report::begin(out)?;
    let mut missed = 0_u32;
    loop {
        let step = select! {
            recv(stop.asked()) -> exit => {
                // The measuring thread, a reference and other processes end with this one.
                progress.finish_and_clear();
                return Ok(exit.unwrap_or(Exit::Interrupted));
            }
            recv(steps) -> step => step,
        };
        match step {
            Ok(Step::Begins(case)) => {
                progress.inc(1);
                progress.set_message(case);
            }
            Ok(Step::Measured(row)) => {
                missed += u32::from(row.is_met() == Some(false));
                progress.suspend(|| report::print(out, bench, &row))?;
            }
            Ok(Step::Failed(failure)) => {
                progress.finish_and_clear();
                return Err(failure);
            }
            Err(_) => break,
        }
    }
    progress.finish_and_clear();
    Ok(if missed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What the measuring thread says.
enum Step {
    Begins(String),
    Measured(Box<Row>),
    Failed(Failure),
}

/// Measures on a thread of its own, so that Ctrl-C works at any time.
fn start<C: ValueEnum + Copy + Send + 'static>(
    plan: Plan,
    cases: Vec<C>,
    measure: fn(C, &Plan) -> Result<Vec<Row>, Failure>,
) -> Result<crossbeam_channel::Receiver<Step>, Failure> {
    let (steps, received) = bounded(16);
    let measure_all = move || {
        for case in cases {
            let name = case
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            // A send fails only when nobody reads any more, after Ctrl-C.
            let _ = steps.send(Step::Begins(name.clone()));
            match measure(case, &plan) {
                Ok(rows) => {
                    for row in rows {
                        let _ = steps.send(Step::Measured(Box::new(row)));
                    }
                }
                Err(failure) => {
                    let _ = steps.send(Step::Failed(failure.while_doing(name)));
                    return;
                }
            }
        }
    };
    thread::Builder::new()
        .name("acqbus-bench".to_owned())
        .spawn(measure_all)?;
    Ok(received)
}

impl Case {
    fn measure(self, plan: &Plan) -> Result<Vec<Row>, Failure> {
        match self {
            Self::RoundTrip => command::round_trips(plan),
            Self::Commands => command::rates(plan),
            Self::SendEvent => publish::calls(plan),
            Self::Events => publish::rates(plan),
            Self::OneWay => publish::latencies(plan),
            Self::Sleeper => sleeper::losses(plan),
            Self::Heartbeat => quiet::heartbeat(plan),
            Self::Malformed => abuse::malformed(plan),
            Self::Garbage => abuse::garbage(plan),
            Self::Idle => quiet::idle(plan),
        }
    }
}

/// Drawn when a case begins, and never between: a ticking bar would be measured too.
fn progress(cases: usize) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(cases as u64);
    if let Ok(style) = ProgressStyle::with_template("[{pos}/{len}] measuring {msg}") {
        bar.set_style(style);
    }
    bar
}

/// How long a peer may take before a measurement fails.
const PATIENCE: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  acqbus bench rpc --quick
  acqbus bench rpc --case round-trip --case events --runs 9
  acqbus bench rpc --json > figures.jsonl

Each figure is the median of several runs, in which acqbus and raw libzmq take turns with the same
frames; losses are those of the worst run. The ratio is ours over raw. The exit code is 1 when a
figure misses its target.";
