//! Run files beside a plain sequential write of the same bytes, to the same file system, with and without waiting for the disk.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cdtp::{
    Bor, DataReceiver, DataTransmitter, Eor, ReceiverOptions, Run, RunCondition, RunEvent,
    RunStart, TransmitterOptions,
};
use crate::cli::bench::PATIENCE;
use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::raw::{loopback, silent, spawn};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::relay::{RelayError, RunFileOptions, RunFileWriter};

use super::shape::SENDER;

/// Megabytes of file a second, of blocks of 64 bytes and of 64 KiB.
pub(super) fn rates(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let dir = match &plan.dir {
        Some(dir) => Scratch::new(dir)?,
        None => Scratch::new(&env::temp_dir())?,
    };
    let payload = plan.choose(32 << 20, 256 << 20);
    let mut rows = Vec::new();
    for (block_bytes, cases) in [
        (64, ["disk-64b", "disk-64b-synced"]),
        (64 << 10, ["disk-64k", "disk-64k-synced"]),
    ] {
        let run = Held::receive(block_bytes, payload / block_bytes)?;
        for (case, sync) in cases.into_iter().zip([false, true]) {
            rows.push(row(case, &run, sync, &dir, plan)?);
        }
    }
    Ok(rows)
}

fn row(
    case: &'static str,
    run: &Held,
    sync: bool,
    dir: &Scratch,
    plan: &Plan,
) -> Result<Row, Failure> {
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    // The first file is not timed: it gives the bytes for the plain write.
    let (path, _) = run.write(dir.path(), false)?;
    let bytes = fs::read(&path)?;
    fs::remove_file(&path)?;
    for turn in 0..plan.runs {
        for is_ours in [turn % 2 == 0, turn % 2 == 1] {
            // What the last turn left to the system is not to be paid for in this one.
            rustix::fs::sync();
            let time = if is_ours {
                let (path, time) = run.write(dir.path(), sync)?;
                fs::remove_file(path)?;
                time
            } else {
                plain(&dir.path().join("plain"), &bytes, sync)?
            };
            let rate = bytes.len() as f64 / time.as_secs_f64() / 1e6;
            if is_ours {
                ours.push(rate);
            } else {
                raw.push(rate);
            }
        }
    }
    Ok(Row {
        case,
        unit: "MB/s",
        ours: median(ours),
        limit: Some(median(raw)),
        peer: None,
        runs: plan.runs,
        target: Target::RatioAtLeast(0.9),
    })
}

/// The events of a run, received and kept.
struct Held {
    bor: Bor,
    records: Vec<RunEvent>,
    eor: Eor,
}

impl Held {
    /// Sends a run through a socket to this process.
    fn receive(block_bytes: usize, records: usize) -> Result<Self, Failure> {
        let options = TransmitterOptions::default().timeouts(Some(PATIENCE));
        let transmitter = DataTransmitter::bind(SENDER, &loopback(0)?, options).map_err(failed)?;
        let (receiver, events) =
            DataReceiver::start_with_events(ReceiverOptions::default()).map_err(failed)?;
        receiver
            .add_endpoint(transmitter.endpoint())
            .map_err(failed)?;
        let sending = spawn(move || {
            let run = Run::begin(&transmitter, RunStart::new("bench"))?;
            let block: Vec<u8> = (0..block_bytes).map(|at| at as u8).collect();
            for _ in 0..records {
                run.send_data_record(run.new_data_record().with_block(&block[..]))?;
            }
            run.finish(RunCondition::GOOD).map(drop)
        })?;
        let mut bor = None;
        let mut kept = Vec::with_capacity(records);
        for event in events {
            match event {
                RunEvent::Bor(begin) => bor = Some(*begin),
                RunEvent::Eor(eor) => {
                    sending
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                        .map_err(failed)?;
                    let bor = bor.ok_or_else(|| silent("the begin of a run"))?;
                    return Ok(Self {
                        bor,
                        records: kept,
                        eor: *eor,
                    });
                }
                other => kept.push(other),
            }
        }
        Err(silent("the end of a run"))
    }

    /// Writes the run to a file, and gives its place and the time from making it to its end.
    fn write(&self, dir: &Path, sync: bool) -> Result<(PathBuf, Duration), Failure> {
        let begin = Instant::now();
        let options = RunFileOptions::default().fsync_at_eor(sync);
        let mut file = RunFileWriter::create(dir, &self.bor, &options).map_err(unwritten)?;
        file.write_all(&self.records).map_err(unwritten)?;
        let written = file.finish(&self.eor).map_err(unwritten)?;
        Ok((written.path, begin.elapsed()))
    }
}

/// Writes the bytes as a program would that only wants them on disk, and gives the time for it.
///
/// The same job as ours: as many bytes, from memory that is no warmer (both are larger than the caches), in writes of the same size,
/// to a new file that is closed, or synced, at the end. What ours does beside that is what a receiver has to do.
fn plain(path: &Path, bytes: &[u8], sync: bool) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let mut file = File::create(path)?;
    for chunk in bytes.chunks(1 << 20) {
        file.write_all(chunk)?;
    }
    if sync {
        file.sync_all()?;
    }
    drop(file);
    let time = begin.elapsed();
    fs::remove_file(path)?;
    Ok(time)
}

/// A folder of this process, removed with what is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(format!("acqbus-bench-{}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| Failure::from(error).while_doing(path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left to whoever cleans the folder when the system does not let us.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn failed(error: crate::cdtp::CdtpError) -> Failure {
    Failure::of(Exit::Failed, &error)
}

fn unwritten(error: RelayError) -> Failure {
    Failure::of(Exit::Failed, &error)
}
