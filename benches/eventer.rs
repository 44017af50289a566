//! What the eventer server does a second over loopback, and how soon clients are told; clients and server share the machine.
//!
//! The store is the durable one in a temporary directory. With `memory` as an argument it is the one in memory.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{EventType, Json, RegisterEvent};
use acqbus::eventer::message::Message;
use acqbus::eventer::{EventerServer, Notifier, ServerOptions};
use acqbus::store::{
    Backend, Engine, EngineOptions, MemoryBackend, RedbBackend, Source, StoreConfig,
};

use rig::{RawClient, any};

#[path = "../tests/eventer_support/rig.rs"]
mod rig;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches, too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    let mut report = |what: &str, figure: f64, unit: &str, reached: bool| {
        failed |= !reached;
        let mark = if reached { "" } else { "  MISSED" };
        println!("{what:<58} {figure:>12.1} {unit}{mark}");
    };
    for (clients, batch, least) in [(1, 100, 100e3), (4, 100, 100e3), (1, 1000, 0.0)] {
        let rate = registers(clients, batch) * batch as f64;
        let what = format!("register with response, {clients} clients, batches of {batch}");
        report(&what, rate, "events/s", rate >= least);
    }
    for (clients, least) in [(1, 0.0), (8, 25e3)] {
        let rate = registers(clients, 1);
        let what = format!("register with response, {clients} clients, batches of 1");
        report(&what, rate, "requests/s", rate >= least);
    }
    let times = notifications();
    let mut at = |share: f64, most: f64| {
        let time = times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let what = format!(
            "1,000 subscriptions, an event a ms: told within, p{}",
            share * 100.0
        );
        report(&what, time, "ms", time <= most);
    };
    at(0.5, f64::MAX);
    at(0.99, 5.0);
    at(1.0, f64::MAX);
    let times = flooded();
    let mut at = |share: f64, most: f64| {
        let time = times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let what = format!(
            "10,000 bad connections: a good client served, p{}",
            share * 100.0
        );
        report(&what, time, "ms", time <= most);
    };
    at(0.5, f64::MAX);
    at(0.99, f64::MAX);
    at(1.0, 20.0);
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A server over the store.
struct Served {
    server: EventerServer,
    engine: Engine,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start() -> Self {
        let notifier = Notifier::default();
        let dir = tempfile::tempdir().expect("a directory");
        let backend: Arc<dyn Backend> = if std::env::args().any(|arg| arg == "memory") {
            Arc::new(MemoryBackend::new(notifier.callbacks()))
        } else {
            let config = StoreConfig::default();
            let opened = RedbBackend::open(dir.path(), config, notifier.callbacks());
            Arc::new(opened.expect("a store"))
        };
        let engine = Engine::start(backend, EngineOptions::default()).expect("an engine");
        let options = ServerOptions::default().bind(any()).notifier(notifier);
        let server = EventerServer::start(options, engine.handle()).expect("a server");
        Self {
            server,
            engine,
            _dir: dir,
        }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }
}

/// Requests a second of clients that wait for each answer.
fn registers(clients: usize, batch: usize) -> f64 {
    let served = Served::start();
    let is_over = AtomicBool::new(false);
    let count: u64 = thread::scope(|scope| {
        let work = |client: usize| {
            let mut socket = RawClient::subscribed(served.address(), &client.to_string(), &[]);
            let message =
                Message::RegisterReq((0..batch).map(|place| event(client, place)).collect());
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert!(matches!(
                    socket.ask(&message),
                    Message::RegisterRes(Some(_))
                ));
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || work(client)))
            .collect();
        thread::sleep(ROUND);
        is_over.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client"))
            .sum()
    });
    count as f64 / ROUND.as_secs_f64()
}

/// How long after an event is registered one of many clients has it, sorted.
fn notifications() -> Vec<Duration> {
    let served = Served::start();
    let mut sockets: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let wanted = format!("b/{client}/?");
            RawClient::subscribed(served.address(), &client.to_string(), &[&wanted])
        })
        .collect();
    let mut times = Vec::new();
    let start = Instant::now();
    for number in 0..EVENTS {
        let due = start + Duration::from_millis(number as u64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let client = number * 7919 % CLIENTS;
        let before = Instant::now();
        served
            .engine
            .register(Source::SERVER, vec![event(client, 0)])
            .expect("registered");
        assert_eq!(sockets[client].notified().len(), 1);
        times.push(before.elapsed());
    }
    times.sort();
    times
}

/// How long a good client waits for the answer to a registration while others behave badly, sorted.
fn flooded() -> Vec<Duration> {
    let served = Served::start();
    let mut good = RawClient::subscribed(served.address(), "good", &[]);
    let is_over = AtomicBool::new(false);
    let mut times = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut kept = Vec::new();
            for number in 0..10_000_usize {
                let mut socket = TcpStream::connect(served.address()).expect("a connection");
                // The server may have closed already.
                let _ = match number % 3 {
                    0 => socket.write_all(&[0x5a; 100]),
                    1 => socket.write_all(&[1]),
                    _ => Ok(()),
                };
                kept.push(socket);
                if kept.len() == 3000 {
                    kept.drain(..1500);
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let before = Instant::now();
            good.register(vec![event(0, 0)]).expect("registered");
            times.push(before.elapsed());
            thread::sleep(Duration::from_millis(1));
        }
    });
    times.sort();
    times
}

fn event(client: usize, place: usize) -> RegisterEvent {
    let event_type = EventType::new(["b", &client.to_string(), &place.to_string()]);
    let json = Json::new(r#"{"value": 12.5, "unit": "mV"}"#).expect("JSON");
    RegisterEvent::new(event_type).with_payload(acqbus::event::Payload::Json(json))
}

const ROUND: Duration = Duration::from_secs(3);
const CLIENTS: usize = 1000;
const EVENTS: usize = 10_000;
