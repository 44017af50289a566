//! What the other process does: it binds, says at which port, works, and says what it measured.

use std::io::{Read, stdin};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::cdtp::{CdtpError, DataTransmitter, Run, RunCondition, RunStart, TransmitterOptions};
use crate::cli::bench::PATIENCE;
use crate::cli::bench::measure::{Samples, time_each};
use crate::cli::bench::raw::{loopback, spawn};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;

use super::memory::resident_bytes;
use super::raw::Pusher;
use super::shape::{SENDER, Shape};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct BenchCdtpPeer {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Send a run
    Send(Shape),
    /// Send frames on a bare socket
    Push {
        #[arg(long)]
        frame_bytes: usize,
        #[arg(long)]
        frames: u64,
    },
    /// Send records of 64 bytes at a moderate rate, each timed
    Call {
        #[arg(long)]
        records: usize,
    },
    /// Send to nobody who reads, and see what it takes
    Fill {
        /// How long to go on once nothing fits in any more
        #[arg(long)]
        millis: u64,
    },
}

impl BenchCdtpPeer {
    /// Works until it is done; ends at once when its standard input does.
    pub(in crate::cli::bench) fn run(&self) -> Result<Exit, Failure> {
        spawn(|| {
            let _ = stdin().read_to_end(&mut Vec::new());
            // Whoever started this process is gone.
            process::exit(i32::from(Exit::Done.code()));
        })?;
        match self.job {
            Job::Send(shape) => send(shape)?,
            Job::Push {
                frame_bytes,
                frames,
            } => {
                let pusher = Pusher::bind()?;
                say(&[f64::from(pusher.endpoint().port().unwrap_or(0))])?;
                pusher.push(frame_bytes, frames)?;
            }
            Job::Call { records } => call(records)?,
            Job::Fill { millis } => fill(Duration::from_millis(millis))?,
        }
        Ok(Exit::Done)
    }
}

fn send(shape: Shape) -> Result<(), Failure> {
    let transmitter = bind(shape.threshold_kib)?;
    let run = begin(&transmitter)?;
    let block = vec![0x5a; shape.block_bytes];
    for _ in 0..shape.records {
        let record = run.new_data_record().with_block(&block[..]);
        run.send_data_record(record).map_err(failed)?;
    }
    finish(run)
}

/// Times each call, from the new record on, in bursts that the receiver keeps up with.
fn call(records: usize) -> Result<(), Failure> {
    let transmitter = bind(128)?;
    let run = begin(&transmitter)?;
    let block = [0x5a; 64];
    let once = || {
        let record = run.new_data_record().with_block(&block[..]);
        run.send_data_record(record).map_err(failed)
    };
    let mut samples = Vec::with_capacity(records);
    for _ in 0..BURST * 4 {
        once()?;
    }
    while samples.len() < records {
        thread::sleep(Duration::from_millis(2));
        let burst = time_each(BURST, once)?;
        samples.extend(burst.into_durations());
    }
    let samples = Samples::new(samples);
    say(&[samples.micros(0.5) * 1e3, samples.micros(0.99) * 1e3])?;
    finish(run)
}

/// Says the memory of this process when nothing fits in any more, and the growth of it while it is tried on and on.
fn fill(time: Duration) -> Result<(), Failure> {
    let transmitter = bind(128)?;
    let before = resident_bytes()?;
    let run = begin(&transmitter)?;
    let block = vec![0x5a; 64 << 10];
    let offer = || {
        let record = transmitter.new_data_record().with_block(&block[..]);
        match transmitter.try_send_data_record(record) {
            Ok(()) => Ok(true),
            Err(refused) if matches!(refused.error(), CdtpError::QueueFull { .. }) => Ok(false),
            Err(refused) => Err(Failure::of(Exit::Failed, refused.error())),
        }
    };
    // Full for good: libzmq and the peer's system have taken what they take.
    let mut last = Instant::now();
    while last.elapsed() < SETTLED {
        if offer()? {
            last = Instant::now();
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let full = resident_bytes()?;
    let end = Instant::now() + time;
    let mut refused = 0_u64;
    while Instant::now() < end {
        refused += u64::from(!offer()?);
    }
    let grown = resident_bytes()?.saturating_sub(full);
    say(&[
        full.saturating_sub(before) as f64,
        grown as f64,
        refused as f64,
    ])?;
    // Nobody will ever take what waits, and the process that asked ends this one.
    thread::sleep(PATIENCE);
    drop(run);
    Ok(())
}

fn bind(threshold_kib: u32) -> Result<DataTransmitter, Failure> {
    let options = TransmitterOptions::default()
        .timeouts(Some(PATIENCE))
        .payload_threshold_kib(threshold_kib);
    let transmitter = DataTransmitter::bind(SENDER, &loopback(0)?, options).map_err(failed)?;
    say(&[f64::from(transmitter.port())])?;
    Ok(transmitter)
}

fn begin(transmitter: &DataTransmitter) -> Result<Run<&DataTransmitter>, Failure> {
    Run::begin(transmitter, RunStart::new("bench")).map_err(failed)
}

fn finish(run: Run<&DataTransmitter>) -> Result<(), Failure> {
    run.finish(RunCondition::GOOD).map(drop).map_err(failed)
}

/// A line of figures.
fn say(figures: &[f64]) -> Result<(), Failure> {
    let words: Vec<_> = figures.iter().map(f64::to_string).collect();
    Output::new(false).line(&words.join(" "))
}

fn failed(error: CdtpError) -> Failure {
    Failure::of(Exit::Failed, &error)
}

/// Records sent without a pause when the call is timed; fewer than the queue holds.
const BURST: usize = 4096;

/// Nothing fitted in for so long.
const SETTLED: Duration = Duration::from_millis(500);
