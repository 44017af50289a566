//! What networks, peers, disks and people do to a run: ends that are killed, peers that do not read, garbage, cuts, full disks.
//!
//! Everything here goes over real sockets, and ends or fails within a deadline. What happens to messages and bytes without a
//! socket is in `cdtp_simulated_runs.rs`, `properties_*.rs` and `vectors_constellation.rs`, and the network between two machines
//! in `cdtp_network.rs`.
#![cfg(feature = "cli")]

mod cli_support;
mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use acqbus::cdtp::{
    CdtpError, DataReceiver, DataTransmitter, DecodeLimits, Eor, FaultKind, ReceiveThreads,
    ReceiverOptions, Run, RunCondition, RunEvent, RunEvents, RunStart, TransmitterOptions,
};
use acqbus::relay::{Ending, Recorded, RunFileEntry, RunFileOptions, RunFileReader, RunRecorder};
use cli_support::{Program, Running};
use common::bus::{LIMIT, QUIET, eventually, free_port, in_time, port};
use common::mutate::Dice;
use common::zmtp::{greeting, peer_over_tcp, shake_hands};
use serde_json::Value;

fn transmitter(options: TransmitterOptions) -> DataTransmitter {
    let options = options.linger(Duration::from_millis(500));
    DataTransmitter::bind("Camera.Top", &port(0), options).unwrap()
}

/// Each record a message of its own, none waits longer than a test does.
fn one_by_one() -> TransmitterOptions {
    TransmitterOptions::default()
        .timeouts(Some(LIMIT))
        .payload_threshold_kib(0)
}

/// Gives up soon once its receiver is gone.
fn impatient() -> TransmitterOptions {
    let soon = Some(Duration::from_millis(500));
    one_by_one().data_timeout(soon).eor_timeout(soon)
}

fn receiver_of(port_number: u16, options: ReceiverOptions) -> (DataReceiver, RunEvents) {
    let (receiver, events) = DataReceiver::start_with_events(options).unwrap();
    receiver.add_endpoint(&port(port_number)).unwrap();
    (receiver, events)
}

#[track_caller]
fn next(events: &mut RunEvents) -> RunEvent {
    events.recv_timeout(LIMIT).expect("an event came in time")
}

#[track_caller]
fn next_bor(events: &mut RunEvents) {
    let event = next(events);
    assert!(matches!(event, RunEvent::Bor(_)), "{event:?}");
}

// ---- ends that are killed ----

/// A process that does not outlive the test, however that ends.
struct Process(Child);

impl Process {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `acqbus run …`, whose words nobody reads.
fn start(program: &Program, args: &[&str]) -> Process {
    let mut command = program.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Process(command.spawn().unwrap())
}

/// Reads a file of a run to its end: the numbers in it, how it ends, what its end of run says.
fn content(path: &Path) -> (Vec<u64>, Ending, Option<(bool, RunCondition)>) {
    let mut reader = RunFileReader::open(path).unwrap();
    let (mut numbers, mut end) = (Vec::new(), None);
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            RunFileEntry::Record(record) => numbers.push(record.view.sequence()),
            RunFileEntry::Eor(eor) => {
                end = Some((eor.substitute, eor.run_metadata().condition.unwrap()));
            }
            RunFileEntry::Damage(damage) => panic!("{damage}"),
            _ => {}
        }
    }
    (numbers, reader.ending().unwrap(), end)
}

fn only_file(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(paths.len() <= 1, "{paths:?}");
    paths.into_iter().next()
}

/// Sends records until `enough`, far apart enough that a debug build does not drown in them.
fn send_until(run: &Run<&DataTransmitter>, mut enough: impl FnMut() -> bool) {
    eventually("enough records", || {
        let record = run.new_data_record().with_block(&[7; 2000]);
        run.send_data_record(record).unwrap();
        enough()
    });
}

#[test]
fn receiver_that_is_killed_leaves_its_file_and_the_next_one_says_what_it_has_not_seen() {
    let program = Program::new();
    let transmitter = transmitter(one_by_one());
    let address = format!("127.0.0.1:{}", transmitter.port());
    let receive = ["run", "receive", "--connect", &address, "--duration", "30"];

    let before = start(&program, &[&receive[..], &["--output", "runs"]].concat());
    let run = Run::begin(&transmitter, RunStart::new("first")).unwrap();
    let folder = program.home().join("runs");
    send_until(&run, || {
        // It is empty until the first records are written.
        let begun = only_file(&folder).filter(|file| RunFileReader::open(file).is_ok());
        begun.is_some_and(|file| content(&file).0.len() > 20)
    });
    before.kill();
    let file = only_file(&folder).unwrap();
    assert_eq!(file.extension().unwrap(), "part");
    let (numbers, ending, end) = content(&file);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(
        matches!(ending, Ending::Unfinished | Ending::Torn(_)),
        "{ending}"
    );
    assert_eq!(end, None);

    let mut after = Running::start(program.command(&[&receive[..], &["--json"]].concat()));
    let (heard, fault) = mpsc::channel();
    let reading = thread::spawn(move || {
        heard.send(after.line_with("\"fault\"")).unwrap();
        after.end()
    });
    let mut told = None;
    send_until(&run, || {
        told = fault.try_recv().ok();
        told.is_some()
    });
    let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
    assert_eq!(told["sender"], "Camera.Top", "{told}");
    // That its end has no begin is one more.
    run.finish(RunCondition::GOOD).unwrap();

    let next_run = Run::begin(&transmitter, RunStart::new("second")).unwrap();
    for _ in 0..50 {
        let record = next_run.new_data_record().with_block(b"whole");
        next_run.send_data_record(record).unwrap();
    }
    next_run.finish(RunCondition::GOOD).unwrap();
    let lines = reading.join().unwrap().code(6).json();
    let ends: Vec<_> = lines
        .iter()
        .filter(|line| line["notice"] == "eor")
        .collect();
    assert_eq!(ends.len(), 1, "{lines:?}");
    assert_eq!(ends[0]["runId"], "second");
    assert_eq!(ends[0]["condition"], "GOOD");
    let totals = lines.last().unwrap();
    let counts = ["records", "missed", "runs"].map(|count| totals[count].as_u64());
    assert_eq!(counts, [Some(50), Some(0), Some(1)], "{totals}");
    assert!(totals["faults"].as_u64() >= Some(2), "{totals}");
}

#[test]
fn sender_that_is_killed_gets_a_substitute_when_it_is_back_and_when_the_receiver_stops() {
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let number = free_port();
    let address = format!("127.0.0.1:{number}");
    let start = |flags: &[&str]| {
        let send = ["run", "send", "--name", "Camera.Top", "--no-announce"];
        let flags = [&send[..], &["--bind", &address, "--timeout", "30"], flags].concat();
        start(&program, &flags)
    };
    let endless = ["--rate", "2000", "--duration", "600", "--run-id", "r"];
    let options = ReceiverOptions::default().eor_timeout(QUIET);
    let (receiver, mut events) = receiver_of(number, options);
    let mut recorder = RunRecorder::new(folder.path(), RunFileOptions::default()).unwrap();
    let mut written = Vec::new();
    let mut take = |events: &mut RunEvents| {
        let event = next(events);
        if let Some(Recorded::Finished(run)) = recorder.write(&event).unwrap() {
            written.push(run.path);
        }
        event
    };

    let first = start(&endless);
    assert!(matches!(take(&mut events), RunEvent::Bor(bor) if !bor.restarted));
    for number in 1..=200 {
        assert!(
            matches!(take(&mut events), RunEvent::Record(record) if record.sequence() == number)
        );
    }
    first.kill();
    let second = start(&["--records", "50", "--run-id", "r"]);
    let mut received = 200;
    let eor = loop {
        match take(&mut events) {
            RunEvent::Record(_) => received += 1,
            RunEvent::Substitute(eor) => break eor,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(eor.condition, RunCondition::ABORTED);
    assert_eq!((eor.counts.records, eor.counts.missed), (received, 0));
    assert!(matches!(take(&mut events), RunEvent::Bor(bor) if bor.restarted));
    for number in 1..=50 {
        assert!(
            matches!(take(&mut events), RunEvent::Record(record) if record.sequence() == number)
        );
    }
    assert!(matches!(take(&mut events), RunEvent::Eor(eor) if eor.condition == RunCondition::GOOD));
    drop(second);

    let third = start(&endless);
    assert!(matches!(take(&mut events), RunEvent::Bor(bor) if !bor.restarted));
    assert!(matches!(take(&mut events), RunEvent::Record(record) if record.sequence() == 1));
    third.kill();
    receiver.request_stop();
    let mut last = 1;
    let eor = loop {
        match take(&mut events) {
            RunEvent::Record(_) => last += 1,
            RunEvent::Substitute(eor) => break eor,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(eor.condition, RunCondition::ABORTED);
    let error = in_time("the receiver stops", move || receiver.stop_receiving()).unwrap_err();
    assert!(
        matches!(&error, CdtpError::EorTimeout { senders, .. } if senders == &["Camera.Top"]),
        "{error}"
    );

    let aborted = Some((true, RunCondition::ABORTED));
    let good = Some((false, RunCondition::GOOD));
    let expected = [(received, aborted), (50, good), (last, aborted)];
    assert_eq!(written.len(), expected.len());
    for (path, (records, end)) in written.iter().zip(expected) {
        let numbers = (1..=records).collect();
        assert_eq!(content(path), (numbers, Ending::Complete, end), "{path:?}");
    }
}

// ---- a peer that does not read ----

const CHILD: &str = "ACQBUS_TEST_CDTP_FAULTS_CHILD";

/// Whether this is the process of its own that a test runs in; starts that, and waits for it, when it is not.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    let mut process = Process(command.stdout(Stdio::null()).spawn().unwrap());
    let mut status = None;
    eventually(test, || {
        status = process.0.try_wait().unwrap();
        status.is_some()
    });
    assert!(
        status.unwrap().success(),
        "what it said is on standard error"
    );
    false
}

/// The most memory that this process ever had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[test]
fn peer_that_never_reads_is_told_and_costs_bounded_memory() {
    const MIB: usize = 1 << 20;
    if !is_alone("peer_that_never_reads_is_told_and_costs_bounded_memory") {
        return;
    }
    let (tell, told) = mpsc::channel();
    let bounds = |options: TransmitterOptions| {
        options
            .queue_bytes(8 * MIB)
            .in_flight_bytes(8 * MIB)
            .send_hwm(0)
    };
    let patient = transmitter(bounds(TransmitterOptions::default()));
    let hasty = bounds(TransmitterOptions::default())
        .timeouts(Some(Duration::from_millis(500)))
        .on_failure(move |error| tell.send(error.to_string()).unwrap());
    let hasty = transmitter(hasty);
    let _peers = [&patient, &hasty].map(|end| peer_over_tcp(b"PULL", end.port()));
    let block = vec![7; 64 << 10];
    let before = peak_bytes();

    // Two gigabytes are offered, and refused once the bounds are reached.
    let run = Run::begin(&patient, RunStart::new("r")).unwrap();
    let mut taken = 0;
    for _ in 0..(2 << 30) / block.len() {
        let record = run.new_data_record().with_block(&block);
        match patient.try_send_data_record(record) {
            Ok(()) => taken += block.len(),
            Err(refused) => assert!(refused.is_full()),
        }
    }
    // The kernel's buffers of a loopback connection come on top.
    assert!((8 * MIB..64 * MIB).contains(&taken), "{taken} bytes taken");
    let record = run.new_data_record().with_block(&block);
    let refused = patient.send_data_record_timeout(record, QUIET).unwrap_err();
    assert!(refused.is_full());
    // Whoever would rather wait is released by the end of the transmitter.
    thread::scope(|scope| {
        let (done, waits) = mpsc::channel();
        let (run, block) = (&run, &block);
        let waiting = scope.spawn(move || {
            let sent = run.send_data_record(run.new_data_record().with_block(block));
            done.send(()).unwrap();
            sent
        });
        assert!(waits.recv_timeout(QUIET).is_err(), "there was no room");
        patient.close();
        waits.recv_timeout(LIMIT).expect("the wait has ended");
        waiting.join().unwrap().unwrap_err();
    });

    // With a time-out the run fails instead, is told once, and refuses the rest.
    let run = Run::begin(&hasty, RunStart::new("r")).unwrap();
    let error = (0..(2 << 30) / block.len())
        .find_map(|_| {
            let record = run.new_data_record().with_block(&block);
            run.send_data_record(record).err()
        })
        .expect("2 GiB are not taken");
    assert!(error.is_timeout(), "{error}");
    let told = told.recv_timeout(LIMIT).unwrap();
    assert_eq!(told, "no receiver took the DATA message within 0.5 s");
    let error = run.finish(RunCondition::GOOD).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(hasty.stats().records_lost > 0);

    let grown = (peak_bytes() - before) / MIB as u64;
    // Two transmitters with 16 MiB each.
    assert!(grown < 64, "{grown} MiB");
}

// ---- peers that are none ----

/// Something that listens where the receiver expects a sender, and counts the connections that it has spoilt.
struct Hostile {
    port: u16,
    met: Arc<AtomicU64>,
}

impl Hostile {
    /// Treats each connection, one after the other; a stream that is given back is kept open.
    fn start(treat: impl Fn(TcpStream, u64) -> Option<TcpStream> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let met = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&met);
        // Ends with the test program.
        thread::spawn(move || {
            let mut kept = Vec::new();
            for (stream, seed) in listener.incoming().zip(0..) {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                kept.extend(treat(stream, seed));
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, met }
    }

    fn met(&self) -> u64 {
        self.met.load(Ordering::SeqCst)
    }
}

/// What the sender of this kind writes to a receiver, which may have closed the connection by then.
fn write(mut stream: TcpStream, bytes: &[u8]) -> TcpStream {
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn garbage_half_open_connections_and_frames_without_measure_do_not_disturb_a_run() {
    const FRAME_LIMIT: usize = 1 << 20;
    const NONSENSE: u64 = 100;
    let pushing =
        |mut stream: TcpStream| shake_hands(&mut stream, b"PUSH").is_ok().then_some(stream);
    let peers = [
        Hostile::start(|stream, seed| {
            let mut dice = Dice(seed);
            let noise: Vec<_> = (0..20_000).map(|_| dice.roll() as u8).collect();
            write(stream, &noise);
            None
        }),
        Hostile::start(|stream, _| {
            write(
                stream,
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            );
            None
        }),
        Hostile::start(|stream, seed| {
            // Cut at another place each time.
            write(stream, &greeting(b"NULL")[..(seed % 64) as usize]);
            None
        }),
        // A frame of nearly 2^63 bytes.
        Hostile::start(move |stream, _| {
            pushing(stream).map(|stream| write(stream, b"\x02\x7f\xff\xff\xff\xff\xff\xff\xff"))
        }),
        Hostile::start(move |stream, _| {
            let size = (FRAME_LIMIT as u64 + 1).to_be_bytes();
            pushing(stream).map(|stream| write(stream, &[&[2][..], &size].concat()))
        }),
        // Silence from the beginning, within the greeting, within a frame.
        Hostile::start(|stream, _| Some(stream)),
        Hostile::start(|stream, _| Some(write(stream, &greeting(b"NULL")[..11]))),
        Hostile::start(move |stream, _| {
            pushing(stream).map(|stream| write(stream, b"\x02\0\0\0\0\0\x01\0\0half"))
        }),
        // Frames that are no messages.
        Hostile::start(move |stream, seed| {
            let mut dice = Dice(seed);
            let mut frames = Vec::new();
            for _ in 0..NONSENSE {
                let size = 1 + dice.below(100);
                frames.extend([0, size as u8]);
                frames.extend((0..size).map(|_| dice.roll() as u8));
            }
            pushing(stream).map(|stream| write(stream, &frames))
        }),
    ];

    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let transmitter = transmitter(one_by_one());
        let limits = DecodeLimits::default().frame_bytes(FRAME_LIMIT);
        let options = ReceiverOptions::default().limits(limits).threads(threads);
        let goals = peers.each_ref().map(|peer| peer.met() + 1);
        let (receiver, mut events) = receiver_of(transmitter.port(), options);
        for peer in &peers {
            receiver.add_endpoint(&port(peer.port)).unwrap();
        }
        let records = thread::scope(|scope| {
            scope.spawn(|| {
                let run = Run::begin(&transmitter, RunStart::new("good")).unwrap();
                let mut sent = 0;
                send_until(&run, || {
                    sent += 1;
                    sent >= 100
                        && peers
                            .iter()
                            .zip(goals)
                            .all(|(peer, goal)| peer.met() >= goal)
                });
                run.finish(RunCondition::GOOD).unwrap();
            });
            let (mut records, mut faults) = (0, 0);
            let mut end = None;
            while end.is_none() || faults < NONSENSE {
                match next(&mut events) {
                    RunEvent::Bor(_) => {}
                    RunEvent::Record(record) => {
                        records += 1;
                        assert_eq!(record.sequence(), records);
                    }
                    RunEvent::Fault(fault) => {
                        assert!(!fault.marked, "{fault:?}");
                        match fault.kind {
                            FaultKind::Undecodable(_) => faults += 1,
                            FaultKind::CutOff => {}
                            other => panic!("{other}"),
                        }
                    }
                    RunEvent::Eor(eor) => end = Some(eor),
                    other => panic!("{other:?}"),
                }
            }
            let end = end.unwrap();
            assert_eq!(end.condition, RunCondition::GOOD);
            assert_eq!((end.counts.records, end.counts.missed), (records, 0));
            records
        });
        assert_eq!(receiver.stats().records, records);
        in_time("the receiver stops", move || receiver.stop_receiving()).unwrap();
    }
}

#[test]
fn sender_of_a_frame_over_the_limit_is_cut_off_and_connected_again_within_the_run() {
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let transmitter = transmitter(one_by_one());
        let limits = DecodeLimits::default().frame_bytes(100_000);
        let options = ReceiverOptions::default().limits(limits).threads(threads);
        let (receiver, mut events) = receiver_of(transmitter.port(), options);
        let run = Run::begin(&transmitter, RunStart::new("r")).unwrap();
        next_bor(&mut events);
        let send = |size| {
            let record = run.new_data_record().with_block(vec![1; size]);
            run.send_data_record(record).unwrap();
        };
        send(90_000);
        assert!(matches!(next(&mut events), RunEvent::Record(record) if record.sequence() == 1));
        send(110_000);
        let RunEvent::Fault(fault) = next(&mut events) else {
            panic!("nothing is told");
        };
        assert_eq!((&fault.kind, fault.marked), (&FaultKind::CutOff, true));
        assert_eq!(fault.sender.as_ref().unwrap().as_str(), "Camera.Top");
        let mut records = 1;
        let mut lost = None;
        eventually("the gap is told", || {
            send(100);
            while let Ok(event) = events.recv_timeout(Duration::from_millis(5)) {
                match event {
                    RunEvent::Record(_) => records += 1,
                    RunEvent::Lost(gap) => lost = Some(gap),
                    other => panic!("{other:?}"),
                }
            }
            lost.is_some()
        });
        assert_eq!(lost.unwrap().first, 2);
        let summary = run.finish(RunCondition::GOOD).unwrap();
        let Account { numbers, eor, .. } = account(&mut events);
        assert_eq!(
            eor.condition,
            RunCondition::INCOMPLETE | RunCondition::TAINTED
        );
        assert_eq!(eor.counts.records, records + numbers.len() as u64);
        assert_eq!(
            Some(eor.counts.records + eor.counts.missed),
            summary.metadata.data_records
        );
        assert_eq!(eor.counts.faults, 1);
        in_time("the receiver stops", move || receiver.stop_receiving()).unwrap();
    }
}

#[test]
fn sender_behind_a_port_that_was_somebody_elses_is_connected_when_it_is_there() {
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let options = ReceiverOptions::default().threads(threads);
        let (receiver, mut events) = receiver_of(number, options);
        // Where READY is due comes a command that there is not.
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&greeting(b"NULL")).unwrap();
        stream.write_all(&[4, 3, 9, b'x', b'y']).unwrap();
        let RunEvent::Fault(fault) = next(&mut events) else {
            panic!("nothing is told");
        };
        assert_eq!((&fault.kind, fault.marked), (&FaultKind::CutOff, false));
        assert_eq!(receiver.stats().faults, 1);
        assert!(!receiver.add_endpoint(&port(number)).unwrap(), "it is kept");
        drop((stream, listener));

        let transmitter = eventually_bound(number);
        let run = Run::begin(&transmitter, RunStart::new("r")).unwrap();
        run.send_data_record(run.new_data_record().with_block(b"block"))
            .unwrap();
        run.finish(RunCondition::GOOD).unwrap();
        next_bor(&mut events);
        let Account { numbers, eor, .. } = account(&mut events);
        assert_eq!((numbers.len(), eor.condition), (1, RunCondition::GOOD));
        in_time("the receiver stops", move || receiver.stop_receiving()).unwrap();
    }
}

/// A transmitter on a port that another socket has just left.
fn eventually_bound(number: u16) -> DataTransmitter {
    let mut bound = None;
    eventually("the port is free", || {
        let options = one_by_one().linger(Duration::from_millis(500));
        bound = DataTransmitter::bind("Camera.Top", &port(number), options).ok();
        bound.is_some()
    });
    bound.unwrap()
}

/// What came until the end of a run.
struct Account {
    lost: u64,
    numbers: BTreeSet<u64>,
    eor: Box<Eor>,
}

/// Takes events to the end of the run.
fn account(events: &mut RunEvents) -> Account {
    let mut lost = 0;
    let mut numbers = BTreeSet::new();
    loop {
        match next(events) {
            RunEvent::Record(record) => assert!(numbers.insert(record.sequence())),
            RunEvent::Lost(gap) => lost += gap.count,
            RunEvent::Eor(eor) => return Account { lost, numbers, eor },
            other => panic!("{other:?}"),
        }
    }
}

// ---- a connection that breaks ----

/// A way from a receiver to a sender that can be cut.
struct Proxy {
    port: u16,
    /// Both ends of each connection.
    links: Arc<Mutex<Vec<[TcpStream; 2]>>>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let links = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicU64::new(0));
        let (kept, counter) = (Arc::clone(&links), Arc::clone(&connections));
        // Ends with the test program.
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let far = TcpStream::connect(("127.0.0.1", target)).unwrap();
                let clone = |stream: &TcpStream| stream.try_clone().unwrap();
                kept.lock().unwrap().push([clone(&near), clone(&far)]);
                let (there, here) = (clone(&near), clone(&far));
                thread::spawn(move || carry(there, here));
                thread::spawn(move || carry(far, near));
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            port,
            links,
            connections,
        }
    }

    /// Severs the connection that there is.
    fn cut(&self) {
        let links = std::mem::take(&mut *self.links.lock().unwrap());
        assert_eq!(links.len(), 1, "one receiver, one connection");
        for end in links.iter().flatten() {
            // One that has broken already is cut.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn forty_severed_connections_leave_a_run_that_adds_up() {
    const CUTS: u64 = 40;
    let transmitter = transmitter(one_by_one());
    let proxy = Proxy::start(transmitter.port());
    let (receiver, mut events) = receiver_of(proxy.port, ReceiverOptions::default());
    let enough = AtomicBool::new(false);
    let (summary, account, lost) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let run = Run::begin(&transmitter, RunStart::new("r")).unwrap();
            while !enough.load(Ordering::SeqCst) {
                let record = run.new_data_record().with_block(&[7; 3000]);
                run.send_data_record(record).unwrap();
            }
            run.finish(RunCondition::GOOD).unwrap()
        });
        next_bor(&mut events);
        let mut seen = BTreeSet::new();
        let mut lost = 0;
        for cut in 0..=CUTS {
            // A receiver that is not read does not look at its connection either, as then its buffers are full.
            let goal = seen.len() + 200;
            while seen.len() < goal || proxy.connections.load(Ordering::SeqCst) <= cut {
                match next(&mut events) {
                    RunEvent::Record(record) => assert!(seen.insert(record.sequence())),
                    RunEvent::Lost(gap) => lost += gap.count,
                    other => panic!("{other:?}"),
                }
            }
            if cut < CUTS {
                proxy.cut();
            }
        }
        enough.store(true, Ordering::SeqCst);
        let mut account = account(&mut events);
        account.numbers.append(&mut seen);
        (sending.join().unwrap(), account, lost)
    });
    let Account {
        lost: more,
        numbers,
        eor,
    } = account;
    let drawn = summary.metadata.data_records.unwrap();
    let missing = drawn - numbers.len() as u64;
    assert!(missing > 0, "no cut met anything on its way");
    assert_eq!(eor.counts.records, numbers.len() as u64);
    assert_eq!(eor.counts.missed, missing);
    assert_eq!(lost + more, missing);
    assert_eq!(
        (eor.counts.late, eor.counts.duplicates, eor.counts.faults),
        (0, 0, 0)
    );
    assert_eq!(eor.condition, RunCondition::INCOMPLETE);
    assert_eq!(proxy.connections.load(Ordering::SeqCst), CUTS + 1);
    let stats = receiver.stats();
    assert_eq!((stats.records, stats.missed), (eor.counts.records, missing));
    in_time("the receiver stops", move || receiver.stop_receiving()).unwrap();
}

// ---- code of the user that panics ----

#[test]
fn handler_that_panics_in_a_run_leaves_its_senders_free() {
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let transmitters = ["Camera.Top", "Camera.Side"].map(|name| {
            let options = one_by_one().linger(Duration::ZERO);
            DataTransmitter::bind(name, &port(0), options).unwrap()
        });
        let options = ReceiverOptions::default().threads(threads);
        let receiver = DataReceiver::start(options, |event| {
            assert!(
                !matches!(&event, RunEvent::Record(record) if record.sequence() == 3),
                "as handlers do"
            );
        })
        .unwrap();
        let runs = transmitters.each_ref().map(|transmitter| {
            receiver.add_endpoint(transmitter.endpoint()).unwrap();
            Run::begin(transmitter, RunStart::new("r")).unwrap()
        });
        for _ in 0..5 {
            let record = runs[0].new_data_record().with_block(b"block");
            runs[0].send_data_record(record).unwrap();
        }
        let error = in_time("the receiver stops", move || receiver.stop_receiving()).unwrap_err();
        assert!(matches!(error, CdtpError::HandlerPanicked), "{error}");

        // Both end these runs, and send others to the next receiver.
        let (receiver, mut events) =
            DataReceiver::start_with_events(ReceiverOptions::default()).unwrap();
        for transmitter in &transmitters {
            receiver.add_endpoint(transmitter.endpoint()).unwrap();
        }
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let senders = transmitters.each_ref().into_iter().zip(runs);
            let senders = senders.map(|(transmitter, run)| {
                let enough = &enough;
                scope.spawn(move || {
                    run.finish(RunCondition::GOOD).unwrap();
                    // The first of them may still go the way of the spoilt run.
                    while !enough.load(Ordering::SeqCst) {
                        let run = Run::begin(transmitter, RunStart::new("next")).unwrap();
                        run.finish(RunCondition::GOOD).unwrap();
                    }
                })
            });
            let senders: Vec<_> = senders.collect();
            let mut ended = BTreeSet::new();
            while ended.len() < transmitters.len() {
                match next(&mut events) {
                    RunEvent::Eor(eor) => ended.insert(eor.sender),
                    RunEvent::Fault(_) | RunEvent::Bor(_) => false,
                    other => panic!("{other:?}"),
                };
            }
            enough.store(true, Ordering::SeqCst);
            // Their last runs want to be read.
            while !senders.iter().all(|sender| sender.is_finished()) {
                let _ = events.recv_timeout(Duration::from_millis(5));
            }
        });
    }
}

// ---- a disk that is full ----

/// The disk is a file system of 2 MiB in the memory, in a namespace that ends with the shell.
#[cfg(target_os = "linux")]
#[test]
fn receiver_with_a_full_disk_says_so_ends_and_leaves_what_was_written() {
    let program = Program::new();
    let transmitter = transmitter(impatient());
    let folder = program.home().join("disk");
    std::fs::create_dir(&folder).unwrap();
    let script = r#"
        mount -t tmpfs -o size=2m none disk && echo mounted || exit 99
        "$0" run receive --connect "127.0.0.1:$1" --output disk --duration 30 --json
        echo "code $?"
        exec "$0" run inspect --check --json disk/*.part
    "#;
    let mut command = program.command(&[]);
    let binary = command.get_program().to_owned();
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    shell.arg(binary).arg(transmitter.port().to_string());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    command = shell;
    command.current_dir(program.home());
    let receiving = Running::start(command);
    let reading = thread::spawn(move || receiving.end());
    let run = Run::begin(&transmitter, RunStart::new("r"))
        .expect("this test needs `unshare` and the right to make namespaces");
    let block = vec![7; 10_000];
    eventually("nobody takes the data any more", || {
        let record = run.new_data_record().with_block(&block);
        run.send_data_record(record).is_err()
    });
    assert!(run.finish(RunCondition::GOOD).is_err());
    let done = reading.join().unwrap();
    let (before, inspected) = done.out.split_once("code 1\n").expect(&done.out);
    assert!(before.contains("\"bor\""), "{before}");
    assert!(done.err.contains("No space left on device"), "{}", done.err);
    assert!(done.err.contains(".part"), "{}", done.err);
    let inspected: Value = serde_json::from_str(inspected).expect(inspected);
    let records = inspected["records"].as_u64().unwrap();
    assert!((50..210).contains(&records), "{inspected}");
    assert_eq!(inspected["missed"], 0, "{inspected}");
}
