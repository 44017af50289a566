//! A run between two machines, which are network namespaces, over a cable that is pulled again and again.
//!
//! What breaks connections is in `cdtp_faults.rs`; here they live on, and nothing may be lost.
#![cfg(target_os = "linux")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    DataReceiver, DataTransmitter, NoEvent, ReceiverOptions, Record, Run, RunCondition, RunEvent,
    RunEvents, RunStart, TransmitterOptions,
};
use acqbus::zsocket::Endpoint;
use common::bus::{LIMIT, QUIET};
use common::machine::Machine;
use common::mutate::Dice;
use sha2::{Digest, Sha256};

#[test]
fn run_loses_nothing_over_forty_cuts_between_two_machines() {
    let machines = [Machine::new(), Machine::new()];
    machines[0].cable_to(&machines[1]);
    let transmitter = machines[0].run(|| {
        let options = TransmitterOptions::default()
            .timeouts(Some(LIMIT))
            .payload_threshold_kib(4)
            .flush_interval(Duration::from_millis(5))
            .insecure(true);
        let any = Endpoint::tcp("10.99.0.1", 0).unwrap();
        DataTransmitter::bind("Camera.Top", &any, options).unwrap()
    });
    let endpoint = transmitter.endpoint().clone();
    let (receiver, mut events) = machines[1].run(move || {
        let options = ReceiverOptions::default();
        let (receiver, events) = DataReceiver::start_with_events(options).unwrap();
        receiver.add_endpoint(&endpoint).unwrap();
        (receiver, events)
    });

    let enough = AtomicBool::new(false);
    let mut taken = Taken::default();
    let (sent, hash, eor) = thread::scope(|scope| {
        let sending = scope.spawn(|| send_until(&transmitter, &enough));
        assert!(matches!(next(&mut events), RunEvent::Bor(_)));
        for _ in 0..CUTS {
            // The cut meets a run that is under way, and lasts until nothing is left that had come through.
            taken.add_records(&mut events, 20);
            machines[0].ip("link set cable down");
            taken.add_until_quiet(&mut events);
            machines[0].ip("link set cable up");
        }
        taken.add_records(&mut events, 20);
        enough.store(true, Ordering::SeqCst);
        let eor = loop {
            match next(&mut events) {
                RunEvent::Record(record) => taken.add(&record),
                RunEvent::Eor(eor) => break eor,
                other => panic!("{other:?}"),
            }
        };
        let (sent, hash) = sending.join().unwrap();
        (sent, hash, eor)
    });
    assert_eq!(taken.records, sent);
    assert_eq!(taken.hash.finalize().to_vec(), hash, "the blocks differ");
    assert_eq!(eor.condition, RunCondition::GOOD);
    assert_eq!((eor.counts.records, eor.counts.missed), (sent, 0));
    receiver.stop_receiving().unwrap();
}

/// Sends a run of about a thousand records a second; gives how many there were, and the checksum of their blocks.
fn send_until(transmitter: &DataTransmitter, enough: &AtomicBool) -> (u64, Vec<u8>) {
    let run = Run::begin(transmitter, RunStart::new("r")).unwrap();
    let (mut dice, mut hash) = (Dice(40), Sha256::new());
    while !enough.load(Ordering::SeqCst) {
        let size = dice.below(2000);
        let block: Vec<_> = (0..size).map(|_| dice.roll() as u8).collect();
        hash.update(&block);
        let record = run.new_data_record().with_block(block);
        run.send_data_record(record).unwrap();
        // The rate, not a wait for anything.
        thread::sleep(Duration::from_millis(1));
    }
    let summary = run.finish(RunCondition::GOOD).unwrap();
    (summary.records, hash.finalize().to_vec())
}

/// What has come.
#[derive(Default)]
struct Taken {
    records: u64,
    hash: Sha256,
}

impl Taken {
    fn add(&mut self, record: &Record) {
        self.records += 1;
        assert_eq!(record.sequence(), self.records);
        record.blocks().for_each(|block| self.hash.update(block));
    }

    fn add_records(&mut self, events: &mut RunEvents, count: u64) {
        for _ in 0..count {
            match next(events) {
                RunEvent::Record(record) => self.add(&record),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes records until none comes for a while, which ends only when the cable does not carry any more.
    fn add_until_quiet(&mut self, events: &mut RunEvents) {
        let deadline = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < deadline, "the cut does not cut");
            match events.recv_timeout(QUIET) {
                Ok(RunEvent::Record(record)) => self.add(&record),
                Ok(other) => panic!("{other:?}"),
                Err(NoEvent::TimedOut) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[track_caller]
fn next(events: &mut RunEvents) -> RunEvent {
    events.recv_timeout(LIMIT).expect("an event came in time")
}

const CUTS: u32 = 40;
