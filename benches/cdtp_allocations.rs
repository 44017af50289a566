//! Proves that run data allocates nothing per record once it flows, on either side; the exit code is 1 if it does.
//!
//! Transmitter and receiver are both in this process, so that one count is that of both. It counts what Rust allocates: libzmq
//! takes memory of its own for each message that comes.

use std::alloc::System;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    DataReceiver, DataTransmitter, ReceiverOptions, Run, RunCondition, RunEvent, RunStart,
    TransmitterOptions,
};
use acqbus::zsocket::Endpoint;
use crossbeam_channel::{Receiver, Sender, bounded};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for threshold_kib in [128, 0] {
        for listener in [Listener::Callback, Listener::Iterator] {
            let (allocations, bytes) = measure(threshold_kib, listener);
            let verdict = if allocations > ALLOWED {
                "FAILED"
            } else {
                "met"
            };
            failed |= allocations > ALLOWED;
            println!(
                "{BLOCK_BYTES} B, threshold {threshold_kib:>3} KiB, {listener:<8}: {allocations} allocations of {bytes} bytes \
                 in {RECORDS} records  {verdict}"
            );
        }
    }
    ExitCode::from(u8::from(failed))
}

/// How the receiver tells what has come.
#[derive(Clone, Copy, Debug)]
enum Listener {
    Callback,
    Iterator,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Callback => "callback",
            Self::Iterator => "iterator",
        })
    }
}

/// Sends one run, and counts what is allocated on all threads from one record of it to another.
fn measure(threshold_kib: u32, listener: Listener) -> (usize, usize) {
    let options = TransmitterOptions::default().payload_threshold_kib(threshold_kib);
    let any = Endpoint::tcp("127.0.0.1", 0).expect("an address");
    let transmitter = DataTransmitter::bind("Bench.Allocations", &any, options).expect("a port");
    let marks = Marks::new();
    let warm = marks.warm.1.clone();
    let over = marks.over.1.clone();
    let full = marks.full.0.clone();
    let receiver = listen(listener, transmitter.endpoint(), marks);
    let sending = thread::spawn(move || {
        let run = Run::begin(&transmitter, RunStart::new("bench")).expect("a receiver");
        let block = [0x5a; BLOCK_BYTES];
        let mut sent = 0;
        // The listener does not listen yet: the backlog grows to the longest there can be.
        let mut last = Instant::now();
        while last.elapsed() < STUCK {
            if transmitter.can_send_record() {
                let record = run.new_data_record().with_block(&block[..]);
                run.send_data_record(record).expect("taken");
                sent += 1;
                last = Instant::now();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        full.send(sent).expect("waited for");
        for _ in 0..WARM_UP + RECORDS + TAIL {
            let record = run.new_data_record().with_block(&block[..]);
            run.send_data_record(record).expect("taken");
        }
        run.finish(RunCondition::GOOD).expect("taken");
    });
    warm.recv().expect("the records come");
    let region = Region::new(COUNTING);
    over.recv().expect("the records come");
    let change = region.change();
    sending.join().expect("no panic");
    drop(receiver);
    (
        change.allocations + change.reallocations,
        change.bytes_allocated,
    )
}

/// Told to the listener: it may listen. Told by it: by then all is warm; by then it is over.
struct Marks {
    /// With the records that wait.
    full: (Sender<usize>, Receiver<usize>),
    backlog: usize,
    warm: (Sender<()>, Receiver<()>),
    over: (Sender<()>, Receiver<()>),
    records: usize,
}

impl Marks {
    fn new() -> Self {
        Self {
            full: bounded(1),
            backlog: 0,
            warm: bounded(1),
            over: bounded(1),
            records: 0,
        }
    }

    fn take(&mut self, event: &RunEvent) {
        if let RunEvent::Record(record) = event {
            assert_eq!(record.payload_bytes(), BLOCK_BYTES as u64);
            if self.records == 0 {
                self.backlog = self.full.1.recv().expect("the queue is full at last");
            }
            self.records += 1;
            if self.records == self.backlog + WARM_UP {
                self.warm.0.send(()).expect("waited for");
            } else if self.records == self.backlog + WARM_UP + RECORDS {
                self.over.0.send(()).expect("waited for");
            }
        }
    }
}

/// Listens until the value is dropped, or the run is over.
fn listen(listener: Listener, endpoint: &Endpoint, mut marks: Marks) -> DataReceiver {
    let options = ReceiverOptions::default();
    let receiver = match listener {
        Listener::Callback => DataReceiver::start(options, move |event| marks.take(&event)),
        Listener::Iterator => DataReceiver::start_with_events(options).map(|(receiver, events)| {
            thread::spawn(move || {
                for event in events {
                    marks.take(&event);
                }
            });
            receiver
        }),
    };
    let receiver = receiver.expect("threads and descriptors are left");
    receiver.add_endpoint(endpoint).expect("an address");
    receiver
}

const BLOCK_BYTES: usize = 64;

/// Records before the first that counts.
const WARM_UP: usize = 1_000_000;

/// Records that count.
const RECORDS: usize = 2_000_000;

/// Records after the last that counts, so that its end is not measured.
const TAIL: usize = 100_000;

/// The queue was full for so long: nothing moves any more.
const STUCK: Duration = Duration::from_millis(500);

/// Of all records together, for 976 messages or more; up to 49 were seen, of about 100 bytes each.
const ALLOWED: usize = 100;
