//! Records and bytes a second between two processes, beside raw PUSH/PULL of the same frames in turns.

use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::cdtp::{DataReceiver, ReceiverOptions, RunEvent};
use crate::cli::bench::PATIENCE;
use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::raw::silent;
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::zsocket::Endpoint;

use super::process::Process;
use super::raw::Puller;
use super::reference;
use super::shape::Shape;

/// Blocks of 64 bytes to a handler, and to an iterator.
pub(super) fn tiny(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let shape = Shape {
        block_bytes: 64,
        records: plan.choose(2_000_000, 10_000_000),
        threshold_kib: 128,
    };
    let mut rows = vec![records_a_second("64b", shape, Target::AtLeast(6e6), plan)?];
    let times = (0..plan.runs)
        .map(|_| ours(shape, receive_by_iterator))
        .collect::<Result<Vec<_>, Failure>>()?;
    let rates = times
        .into_iter()
        .map(|time| per_second(shape.records, time));
    rows.push(Row {
        case: "64b-iterator",
        unit: "1/s",
        ours: median(rates.collect()),
        limit: None,
        peer: None,
        runs: plan.runs,
        target: Target::None,
    });
    Ok(rows)
}

/// Blocks of 1 KiB.
pub(super) fn small(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let shape = Shape {
        block_bytes: 1 << 10,
        records: plan.choose(400_000, 3_000_000),
        threshold_kib: 128,
    };
    // 1.5 GB/s, which is more than bare sockets reach on some machines.
    let target = Target::AtLeastOrRaw(1.5e6);
    Ok(vec![records_a_second("1k", shape, target, plan)?])
}

/// Blocks of 64 bytes, each a message of its own.
pub(super) fn alone(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let shape = Shape {
        block_bytes: 64,
        records: plan.choose(500_000, 3_000_000),
        threshold_kib: 0,
    };
    let target = Target::AtLeast(8e5);
    Ok(vec![records_a_second("64b-alone", shape, target, plan)?])
}

/// Blocks of 64 KiB, two of which are a message.
pub(super) fn large(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let shape = Shape {
        block_bytes: 64 << 10,
        records: plan.choose(10_000, 50_000),
        threshold_kib: 128,
    };
    Ok(vec![megabytes_a_second("64k", shape, plan)?])
}

/// Blocks of 1 MiB, each of which is a message.
pub(super) fn huge(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let shape = Shape {
        block_bytes: 1 << 20,
        records: plan.choose(800, 4_000),
        threshold_kib: 128,
    };
    Ok(vec![megabytes_a_second("1m", shape, plan)?])
}

/// The time of one run from its begin to its end, as the receiver sees it; nothing may be missing.
pub(super) fn ours(
    shape: Shape,
    receive: fn(&Endpoint) -> Result<Received, Failure>,
) -> Result<Duration, Failure> {
    let mut args = vec!["send".to_owned()];
    args.extend(shape.flags());
    let transmitter = Process::of_this_program(args)?;
    let received = receive(&transmitter.endpoint()?)?;
    let whole = (shape.records, shape.payload_bytes(), 0);
    if (received.records, received.bytes, received.missed) != whole {
        let text = format!(
            "{} records and {} bytes came, and {} are missing of {}",
            received.records, received.bytes, received.missed, shape.records
        );
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(received.time)
}

/// What came of one run.
pub(super) struct Received {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) missed: u64,
    time: Duration,
}

/// Counts records and bytes in the handler, which is all that it does.
pub(super) fn receive_by_handler(endpoint: &Endpoint) -> Result<Received, Failure> {
    let (done, ended) = bounded(1);
    let mut counter = Counter::new(done);
    let receiver = DataReceiver::start(ReceiverOptions::default(), move |event| {
        counter.take(&event);
    })
    .map_err(failed)?;
    receiver.add_endpoint(endpoint).map_err(failed)?;
    ended
        .recv_timeout(PATIENCE + PATIENCE)
        .map_err(|_| silent("the end of a run"))
}

/// The same with the events of an iterator.
fn receive_by_iterator(endpoint: &Endpoint) -> Result<Received, Failure> {
    let (receiver, events) =
        DataReceiver::start_with_events(ReceiverOptions::default()).map_err(failed)?;
    receiver.add_endpoint(endpoint).map_err(failed)?;
    let (done, ended) = bounded(1);
    let mut counter = Counter::new(done);
    for event in events {
        counter.take(&event);
        if matches!(event, RunEvent::Eor(_)) {
            break;
        }
    }
    ended.try_recv().map_err(|_| silent("the end of a run"))
}

struct Counter {
    begin: Instant,
    records: u64,
    bytes: u64,
    done: Sender<Received>,
}

impl Counter {
    fn new(done: Sender<Received>) -> Self {
        Self {
            begin: Instant::now(),
            records: 0,
            bytes: 0,
            done,
        }
    }

    #[inline]
    fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Record(record) => {
                self.records += 1;
                self.bytes += record.payload_bytes();
            }
            RunEvent::Bor(_) => self.begin = Instant::now(),
            RunEvent::Eor(eor) => {
                // Nobody waits any more only when the bench has failed.
                let _ = self.done.try_send(Received {
                    records: self.records,
                    bytes: self.bytes,
                    missed: eor.counts.missed,
                    time: self.begin.elapsed(),
                });
            }
            _ => {}
        }
    }
}

/// The same frames from a bare PUSH to a bare PULL.
fn raw(shape: Shape) -> Result<Duration, Failure> {
    let (frame_bytes, frames) = (shape.frame_bytes()?, shape.messages());
    let args = [
        "push".to_owned(),
        format!("--frame-bytes={frame_bytes}"),
        format!("--frames={frames}"),
    ];
    let pusher = Process::of_this_program(args)?;
    Puller::connect(&pusher.endpoint()?)?.pull(frame_bytes, frames)
}

fn records_a_second(
    case: &'static str,
    shape: Shape,
    target: Target,
    plan: &Plan,
) -> Result<Row, Failure> {
    let rate = |time: &Duration| per_second(shape.records, *time);
    row(case, "1/s", shape, target, rate, plan)
}

fn megabytes_a_second(case: &'static str, shape: Shape, plan: &Plan) -> Result<Row, Failure> {
    let rate = |time: &Duration| per_second(shape.payload_bytes(), *time) / 1e6;
    row(case, "MB/s", shape, Target::RatioAtLeast(0.95), rate, plan)
}

fn row(
    case: &'static str,
    unit: &'static str,
    shape: Shape,
    target: Target,
    rate: impl Fn(&Duration) -> f64,
    plan: &Plan,
) -> Result<Row, Failure> {
    let peer = reference::time(plan, shape)?.map(|time| rate(&time));
    let sides = plan.alternate(|| ours(shape, receive_by_handler), || raw(shape))?;
    let (ours, raw) = sides.medians(rate);
    Ok(Row {
        case,
        unit,
        ours,
        limit: Some(raw),
        peer,
        runs: plan.runs,
        target,
    })
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn failed(error: crate::cdtp::CdtpError) -> Failure {
    Failure::of(Exit::Failed, &error)
}
