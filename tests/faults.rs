//! What peers and delegates can do to a service, seeded: it goes on, and gives back what it took.
//!
//! Each test has the process to itself, since some count its descriptors, threads and memory. The figures that they print
//! (`--nocapture`) are for the reader; what is asserted is that every good request is answered, within a deadline.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, CommandResult, PendingCommand,
    RemoteClient, Retry, RpcService, Topic,
};
use acqbus::zsocket::{Socket, SocketKind};
use serde_json::{Value, json};

use common::bus::{
    LIMIT, ask, client, client_options, connected, echo, echo_delegate, eventually, free_port,
    launch, options, recv_frames, recv_message, recv_published, send_frames, subscriber,
};
use common::mutate::Dice;
use common::zmtp::{ends, greeting, peer_over_tcp, tcp};

/// Of a hundred good requests one may take longer, whatever else happens; on a machine that runs other things too.
const SLOW: Duration = Duration::from_millis(250);

/// The longest that a good request may take.
const LONGEST: Duration = Duration::from_secs(10);

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    guard
}

// ---- what the process holds ----

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of the service, the client and libzmq; the test harness has others, which come and go.
fn bus_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("acqbus") || name.starts_with("ZMQbg"))
        .count()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Times of good requests.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn good_request(&mut self, requester: &Socket, nonce: u64) {
        self.time(|| {
            let reply = ask(
                requester,
                format!(r#"{{"command": 400, "nonce": {nonce}}}"#),
            );
            assert_eq!(
                (&reply["nonce"], &reply["result"]),
                (&json!(nonce), &json!(100))
            );
        });
    }

    fn time(&mut self, good: impl FnOnce()) {
        let started = Instant::now();
        good();
        let took = started.elapsed();
        assert!(took < LONGEST, "something good took {took:?}");
        self.0.push(took);
    }

    /// Prints the times; fails when more than one in a hundred was slow.
    fn report(mut self, what: &str) {
        self.0.sort();
        let slow = self.0.iter().filter(|took| **took > SLOW).count();
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize];
        eprintln!(
            "{what}: {} times good, p50 {:?}, p99 {:?}, longest {:?}",
            self.0.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
        let count = self.0.len();
        assert!(
            slow <= count.div_ceil(100),
            "{what}: {slow} of {count} took longer than {SLOW:?}"
        );
    }
}

// ---- malformed requests ----

/// A request that no service can use.
fn unusable(dice: &mut Dice) -> Vec<u8> {
    let nested = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!(r#"{{"command": 400, "data": {open}1{close}}}"#).into_bytes()
    };
    let good = &br#"{"command": 400, "nonce": 5, "data": {"a": [1, 2.5e3, "x"]}}"#[..];
    match dice.below(16) {
        0 => Vec::new(),
        1 => b" \t\r\n".to_vec(),
        2 => (0..1 + dice.below(40))
            .map(|_| 0x80 | dice.roll() as u8)
            .collect(),
        3 => good[..1 + dice.below(good.len() - 1)].to_vec(),
        4 => [
            b"[1, 2]".to_vec(),
            b"5".to_vec(),
            b"null".to_vec(),
            b"\"x\"".to_vec(),
        ][dice.below(4)]
        .clone(),
        5 => br#"{"nonce": 5}"#.to_vec(),
        6 => [
            br#"{"command": []}"#.to_vec(),
            br#"{"command": {"a": 400}}"#.to_vec(),
        ][dice.below(2)]
        .clone(),
        7 => nested("[", "]", 64 + dice.below(1000)),
        8 => nested(r#"{"a":"#, "}", 64 + dice.below(1000)),
        9 => format!(r#"{{"command": 400, "nonce": {}}}"#, "9".repeat(4301)).into_bytes(),
        10 => [b"\xef\xbb\xbf", good].concat(),
        11 => [good, &[b'x', b'}', b'{', 0][dice.below(4)..][..1]].concat(),
        12 => br#"{"command": NaN}"#.to_vec(),
        13 => br#"{'command': 400}"#.to_vec(),
        14 => b"{\"command\": 400, \"data\": \"\n\"}".to_vec(),
        _ => br#"{"command": 400,}"#.to_vec(),
    }
}

/// A request of odd but legal shape, and what its reply says of command and result.
fn odd(dice: &mut Dice) -> (Vec<u8>, i64, i64) {
    let (text, command, result) = [
        (r#"{"command": 300, "command": 400}"#, 400, 100),
        (r#"{"command": 400.0}"#, 400, 100),
        (r#"{"command": 4e2}"#, 400, 100),
        (r#"{"command": "400"}"#, 99999, 100),
        (r#"{"command": null}"#, 99999, 100),
        (r#"{"command": true}"#, 99999, 100),
        (r#"{"command": false}"#, 0, 100),
        (r#"{"command": 123456789012345678901234567890}"#, 99999, 100),
        (
            r#"{"command": 400, "nonce": {"a": []}, "customCommand": [1]}"#,
            400,
            100,
        ),
        (
            r#"{"command": 400, "data": 1, "data": 2, "unknown": {}}"#,
            400,
            100,
        ),
        (" \n{\"command\": 400}\n ", 400, 100),
    ][dice.below(11)];
    (text.as_bytes().to_vec(), command, result)
}

fn assert_unusable(reply: &Value, request: &[u8]) {
    let shown = String::from_utf8_lossy(&request[..request.len().min(80)]);
    assert_eq!(
        (&reply["nonce"], &reply["command"], &reply["result"]),
        (&json!(0), &json!(0), &json!(0)),
        "{shown}"
    );
    let why = reply["errorMessage"].as_str().unwrap_or_default();
    assert!(!why.is_empty(), "{shown}");
}

#[test]
fn good_request_is_answered_after_each_of_20_000_malformed_ones() {
    let _alone = alone();
    const LIMIT_BYTES: usize = 256 << 10;
    let service = launch(options().max_command_bytes(LIMIT_BYTES));
    service.set_delegate(echo_delegate);
    let bad = connected(SocketKind::Req, service.command_port());
    let good = connected(SocketKind::Req, service.command_port());
    let sized = |size: usize| {
        let empty = r#"{"command": 400, "data": ""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(size - empty.len())))
    };
    let mut dice = Dice(2);
    let mut times = Times::default();
    let mut mutated = Vec::new();
    for number in 0..20_000u64 {
        match number % 400 {
            0 => {
                let depth = 100_000;
                let request = format!(r#"{{"command": 400, "data": {}"#, "[".repeat(depth));
                assert_unusable(&ask(&bad, &request), request.as_bytes());
            }
            1 => {
                for (size, result) in [(-1, 100), (0, 100), (1, 0)] {
                    let size = LIMIT_BYTES.checked_add_signed(size).unwrap();
                    assert_eq!(ask(&bad, sized(size))["result"], result, "{size}");
                }
            }
            case if case % 4 == 0 => {
                let frames: Vec<Vec<u8>> =
                    (0..2 + dice.below(63)).map(|_| odd(&mut dice).0).collect();
                send_frames(&bad, &frames);
                let reply: Value = serde_json::from_slice(&recv_frames(&bad)[0]).unwrap();
                assert_unusable(&reply, &frames[0]);
            }
            case if case % 4 == 1 => {
                let (request, command, result) = odd(&mut dice);
                let reply = ask(&bad, &request);
                let shown = String::from_utf8_lossy(&request);
                assert_eq!(
                    (&reply["command"], &reply["result"]),
                    (&json!(command), &json!(result)),
                    "{shown}"
                );
            }
            case if case % 4 == 2 => {
                let request = odd(&mut dice).0;
                dice.mutate(&request, &mut mutated);
                // It may still be a good one; an answer it gets either way.
                let reply = ask(&bad, &mutated);
                assert_eq!(reply.as_object().unwrap().len(), 7);
            }
            _ => {
                let request = unusable(&mut dice);
                assert_unusable(&ask(&bad, &request), &request);
            }
        }
        times.good_request(&good, number + 1);
    }
    assert!(service.stats().unusable > 10_000);
    times.report("after malformed requests");
}

#[test]
fn requests_without_envelopes_and_frames_without_end_leave_others_served() {
    let _alone = alone();
    let service = echo();
    let dealer = connected(SocketKind::Dealer, service.command_port());
    let good = connected(SocketKind::Req, service.command_port());
    let mut dice = Dice(3);
    let mut times = Times::default();
    for number in 0..1_000 {
        let frames: Vec<Vec<u8>> = (0..1 + dice.below(200))
            .map(|_| vec![b'x'; dice.below(3)])
            .collect();
        send_frames(&dealer, &frames);
        times.good_request(&good, number + 1);
    }
    let stats = service.stats();
    eventually("each message is accounted for", || {
        let stats = service.stats();
        stats.without_envelope + stats.unusable >= 1_000
    });
    assert!(stats.without_envelope > 0);
    times.report("beside messages without envelopes");
}

// ---- connections that misbehave ----

#[test]
fn frame_of_128_mib_ends_its_connection_and_takes_no_memory() {
    let _alone = alone();
    const SIZE: u64 = 128 << 20;
    let service = echo();
    let good = connected(SocketKind::Req, service.command_port());
    let mut times = Times::default();
    times.good_request(&good, 1);
    let before = resident_bytes();
    let mut most = before;
    for round in 0..3 {
        let mut stream = peer_over_tcp(b"REQ", service.command_port());
        // The delimiter, then a long frame.
        stream.write_all(&[1, 0, 2]).unwrap();
        stream.write_all(&SIZE.to_be_bytes()).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while sent < SIZE && stream.write_all(&chunk).is_ok() {
            sent += chunk.len() as u64;
            most = most.max(resident_bytes());
        }
        assert!(sent < SIZE, "the connection was kept");
        assert!(ends(stream));
        times.good_request(&good, round + 2);
    }
    let grown = most.saturating_sub(before);
    eprintln!("memory grew by {} KiB at most", grown / 1024);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
    assert_eq!(service.stats().commands, 4);
}

/// libzmq walks a subscription byte by byte on the stack: without a limit, 1 MiB of it would end the process.
#[test]
fn subscription_of_1_mib_ends_its_connection_and_nothing_else() {
    let _alone = alone();
    let service = launch(options());
    let good = subscriber(&service, &[Topic::EVENT]);
    for prefix in [1 << 20, 64 << 20] {
        let mut stream = peer_over_tcp(b"SUB", service.subscriber_port());
        stream.write_all(&[2]).unwrap();
        stream
            .write_all(&(prefix as u64 + 1).to_be_bytes())
            .unwrap();
        stream.write_all(&[1]).unwrap();
        // The service may have ended the connection before all is written.
        let _ = stream.write_all(&vec![7; prefix]);
        assert!(ends(stream), "the connection was kept");
        service.send_string(Topic::EVENT, "good").unwrap();
        assert_eq!(recv_published(&good).body, b"good");
    }
}

#[test]
fn flood_of_subscriptions_holds_no_event_up() {
    let _alone = alone();
    let service = launch(options());
    let good = subscriber(&service, &[Topic::EVENT]);
    let port = service.subscriber_port();
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let flood = thread::spawn(move || {
        let socket = connected(SocketKind::Sub, port);
        let mut count = 0u32;
        while !stop.load(Ordering::Relaxed) {
            socket.subscribe(&count.to_be_bytes()).unwrap();
            socket.unsubscribe(&count.to_be_bytes()).unwrap();
            count += 1;
        }
        count
    });
    let mut times = Times::default();
    for _ in 0..300 {
        times.time(|| {
            service.send_string(Topic::EVENT, "good").unwrap();
            assert_eq!(recv_published(&good).body, b"good");
        });
    }
    stopping.store(true, Ordering::Relaxed);
    let count = flood.join().unwrap();
    assert!(count > 1_000, "only {count} subscriptions");
    times.report("beside a flood of subscriptions");
}

/// Asks all the time on a thread of its own, until told to stop.
struct GoodClient {
    stopping: Arc<AtomicBool>,
    thread: thread::JoinHandle<Times>,
}

impl GoodClient {
    fn start(port: u16) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            let requester = connected(SocketKind::Req, port);
            let mut times = Times::default();
            while !stop.load(Ordering::Relaxed) {
                let nonce = times.0.len() as u64 + 1;
                times.good_request(&requester, nonce);
            }
            times
        });
        Self { stopping, thread }
    }

    fn end(self) -> Times {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn garbage_connections_leave_a_good_client_served_and_no_descriptor() {
    let _alone = alone();
    let service = launch(options().handshake_timeout(Duration::from_millis(300)));
    service.set_delegate(echo_delegate);
    let warm = connected(SocketKind::Req, service.command_port());
    ask(&warm, r#"{"command": 400}"#);
    let before = descriptors();
    let good = GoodClient::start(service.command_port());
    let mut dice = Dice(4);
    let ports = [service.command_port(), service.subscriber_port()];
    for number in 0..10_000 {
        let mut stream = tcp(ports[number % 2]);
        let mut garbage: Vec<u8> = (0..dice.below(200)).map(|_| dice.roll() as u8).collect();
        if dice.below(2) == 0 {
            // A good begin, so that the garbage is read as what follows it.
            garbage.splice(0..0, greeting(b"NULL").into_iter().take(1 + dice.below(64)));
        }
        // The service may have ended the connection before all is written.
        let _ = stream.write_all(&garbage);
    }
    let times = good.end();
    eventually("all descriptors are given back", || descriptors() <= before);
    times.report("beside garbage connections");
    ask(&warm, r#"{"command": 400}"#);
}

#[test]
fn half_open_connections_end_by_themselves_and_leave_no_descriptor() {
    let _alone = alone();
    let service = launch(options().handshake_timeout(Duration::from_millis(500)));
    service.set_delegate(echo_delegate);
    let warm = connected(SocketKind::Req, service.command_port());
    ask(&warm, r#"{"command": 400}"#);
    let before = descriptors();
    let good = GoodClient::start(service.command_port());
    let ports = [service.command_port(), service.subscriber_port()];
    let held: Vec<TcpStream> = (0..1_000usize)
        .map(|number| {
            let mut stream = tcp(ports[number % 2]);
            stream.write_all(&greeting(b"NULL")[..number % 65]).unwrap();
            stream
        })
        .collect();
    assert!(descriptors() >= before + 1_000);
    for stream in held {
        assert!(
            ends(stream),
            "the service ends it after the handshake's limit"
        );
    }
    let times = good.end();
    eventually("all descriptors are given back", || descriptors() <= before);
    times.report("beside half-open connections");
}

// ---- services that die ----

struct Simulated(Child);

impl Simulated {
    fn start(events: u16, commands: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_acqbus"))
            .args(["simulate", "--no-input", "--quiet", "--rate", "0"])
            .args(["--subscriber-port", &events.to_string()])
            .args(["--command-port", &commands.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// As a power cut does it.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the delegate of the service is in a call, as its heartbeats tell.
fn until_busy(events: u16) {
    let socket = connected(SocketKind::Sub, events);
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "the command was not received");
        socket.subscribe(&Topic::HEARTBEAT.to_bytes()).unwrap();
        let heartbeat = recv_message(&socket).heartbeat().unwrap();
        if heartbeat.delegate_busy > Some(0.0) {
            return;
        }
        socket.unsubscribe(&Topic::HEARTBEAT.to_bytes()).unwrap();
    }
}

/// The client that waits for the lost reply is the one that gets the answer, from the same call.
#[test]
fn client_is_back_after_each_of_300_services_killed_between_receive_and_send() {
    let _alone = alone();
    const TIMEOUT: Duration = Duration::from_millis(300);
    let rounds = AtomicU32::new(300);
    let longest = AtomicU64::new(0);
    let kill_and_ask_on = || {
        let (events, commands) = (free_port(), free_port());
        let at_ports = ClientOptions::default()
            .ports(events, commands)
            // Which commands may be repeated is tested elsewhere.
            .retry(Retry::Always);
        let patient = RemoteClient::connect(at_ports.clone().timeout(LIMIT)).unwrap();
        let at_ports = at_ports.timeout(TIMEOUT);
        let attempts = at_ports.retries + 1;
        let client = RemoteClient::connect(at_ports).unwrap();
        let block = CommandRequest::new(ApiCommand::UserDefined)
            .with_custom_command(3)
            .with_data(&json!({"seconds": 60}))
            .unwrap();
        while take_one(&rounds) {
            let doomed = Simulated::start(events, commands);
            assert!(
                patient
                    .request(ApiCommand::GetStatus, &())
                    .unwrap()
                    .is_success()
            );
            let started = Instant::now();
            let asking = thread::spawn({
                let (client, block) = (client.clone(), block.clone());
                move || client.send(&block)
            });
            until_busy(events);
            doomed.kill();
            let successor = launch(options().ports(events, commands));
            successor.set_delegate(echo_delegate);
            let response = asking.join().unwrap().unwrap();
            let took = started.elapsed();
            // The one that was killed would have answered after a minute, and without data.
            assert_eq!(response.data(), &json!({"seconds": 60}));
            assert!(took < TIMEOUT * (attempts + 1), "{took:?}");
            longest.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
            let next = client.request(ApiCommand::GetStatus, &7).unwrap();
            assert_eq!(
                next.data(),
                &json!(7),
                "nothing of the lost request is left"
            );
            assert_eq!(successor.stats().commands, 2, "neither was repeated again");
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(kill_and_ask_on);
        }
    });
    let longest = longest.into_inner();
    eprintln!("answered within {longest} ms, the lost attempt of {TIMEOUT:?} included");
}

/// Whether one was left to take.
fn take_one(left: &AtomicU32) -> bool {
    left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

#[test]
fn thousand_starts_and_stops_leave_nothing_behind() {
    let _alone = alone();
    let cycle = |number: u32| {
        let service = echo();
        let tap = service.tap(4);
        if number.is_multiple_of(10) {
            let client = client(&service);
            assert!(client.request(ApiCommand::GetStatus, &number).is_ok());
            let _subscription = client.subscribe(&[Topic::EVENT]).unwrap();
        }
        service.send_string(Topic::EVENT, "x").unwrap();
        if number.is_multiple_of(2) {
            service.stop();
        }
        drop(service);
        drop(tap);
    };
    cycle(0);
    let before = (descriptors(), bus_threads());
    let memory = resident_bytes();
    for number in 0..1_000 {
        cycle(number);
    }
    eventually("descriptors and threads are given back", || {
        (descriptors(), bus_threads()) <= before
    });
    let grown = resident_bytes().saturating_sub(memory);
    eprintln!("memory grew by {} KiB in 1,000 cycles", grown / 1024);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
}

#[test]
fn failed_starts_leave_nothing_behind() {
    let _alone = alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fail = || {
        let service = RpcService::new(options().ports(0, port));
        assert!(service.start().is_err());
    };
    fail();
    let before = (descriptors(), bus_threads());
    (0..200).for_each(|_| fail());
    eventually("descriptors and threads are given back", || {
        (descriptors(), bus_threads()) <= before
    });
}

// ---- delegates that misbehave ----

#[test]
fn delegates_that_panic_block_answer_twice_or_never_leave_every_request_answered() {
    let _alone = alone();
    const REQUESTS: u64 = 500;
    let service = launch(options());
    let kept: Arc<Mutex<Vec<PendingCommand>>> = Arc::default();
    let keep = Arc::clone(&kept);
    service.set_delegate(move |request: &CommandRequest| {
        match request.custom_command() {
            // A panic without the noise of its hook.
            Some(0) => std::panic::resume_unwind(Box::new("on purpose")),
            Some(1) => {
                thread::sleep(Duration::from_millis(2));
                CommandResponse::success()
            }
            Some(2) => {
                let (response, pending) = request.defer();
                pending.complete(CommandResult::Success, &1).unwrap();
                assert!(pending.complete(CommandResult::Failed, &2).is_err());
                response
            }
            Some(3) => {
                let (response, pending) = request.defer();
                keep.lock()
                    .unwrap()
                    .push(pending.with_deadline(Duration::from_millis(20)));
                response
            }
            Some(4) => {
                let (response, pending) = request.defer();
                std::mem::forget(pending.with_deadline(Duration::from_millis(1)));
                response
            }
            // Says that a result follows, and forgets it: the handle's drop tells.
            Some(5) => request.defer().0,
            // Two results are owed for one command.
            Some(6) => {
                let (response, _one) = request.defer();
                let _other = request.defer();
                response
            }
            _ => CommandResponse::success(),
        }
    });
    let results = subscriber(&service, &[Topic::COMMAND_RESULT]);
    let replies = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for seed in 0..4 {
            let (service, replies) = (&service, &replies);
            scope.spawn(move || {
                let client = RemoteClient::connect(client_options(service).retries(0)).unwrap();
                let mut dice = Dice(seed);
                for number in 0..REQUESTS {
                    let custom = dice.below(8) as i64;
                    let nonce = (seed * REQUESTS + number) as i64 + 1;
                    let request = CommandRequest::new(ApiCommand::UserDefined)
                        .with_custom_command(custom)
                        .with_nonce(nonce);
                    let response = client.send(&request).unwrap();
                    let expected = match custom {
                        0 => CommandResult::Exception,
                        2..=6 => CommandResult::PendingWithNotification,
                        _ => CommandResult::Success,
                    };
                    assert_eq!(response.result(), expected, "{custom}");
                    replies.lock().unwrap().insert(nonce, custom);
                }
            });
        }
    });
    let mut owed: BTreeMap<i64, Vec<CommandResult>> = BTreeMap::new();
    let mut count = 0;
    for (&nonce, &custom) in replies.lock().unwrap().iter() {
        let results = match custom {
            2 => vec![CommandResult::Success],
            3..=5 => vec![CommandResult::Failed],
            6 => vec![CommandResult::Failed; 2],
            _ => continue,
        };
        count += results.len();
        owed.insert(nonce, results);
    }
    let mut came: BTreeMap<i64, Vec<CommandResult>> = BTreeMap::new();
    for _ in 0..count {
        let result = recv_published(&results).command_result().unwrap();
        let nonce = result.nonce().as_i64().unwrap();
        came.entry(nonce).or_default().push(result.result());
    }
    assert_eq!(came, owed, "one result for each that was promised");
    assert!(service.pending_commands().is_empty());
    for late in kept.lock().unwrap().drain(..) {
        assert!(late.complete(CommandResult::Success, &()).is_err());
    }
    assert_eq!(service.stats().send_failures, 0);
}
