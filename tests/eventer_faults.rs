//! Ten thousand connections of garbage, silence and single bytes, while good clients are served.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::QueryServerParams;
use acqbus::eventer::ServerOptions;
use acqbus::eventer::chatter::Frame;
use acqbus::eventer::message::{InitReq, Message};
use acqbus::store::EngineOptions;

use rig::{LIMIT, RawClient, Rig, of, types, until};

#[path = "eventer_support/rig.rs"]
mod rig;

#[test]
fn ten_thousand_bad_connections_cost_good_clients_nothing() {
    let options = ServerOptions::default()
        .max_connections(PLACES)
        .hello_timeout(Duration::from_secs(1));
    let rig = Rig::with(options, EngineOptions::default());
    let address = rig.address();
    let mut good = rig.client("good", &["good"]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            flood(address);
            is_over.store(true, Ordering::SeqCst);
        });
        let mut rounds = 0;
        while !is_over.load(Ordering::SeqCst) || rounds == 0 {
            rounds += 1;
            good.send(&Message::RegisterReq(vec![of("good")]), false);
            assert_eq!(types(&good.notified()), ["good"]);
            let answer = good.next().unwrap().message;
            assert!(matches!(answer, Message::RegisterRes(Some(_))));
            let one = QueryServerParams::new(1).max_results(1);
            assert_eq!(good.query(one).events.len(), 1);
            if rounds % 100 == 1 {
                newcomer(address).register(vec![of("new")]).unwrap();
            }
        }
    });
    let stats = rig.server.stats();
    assert!(stats.connections > CONNECTIONS as u64, "{stats:?}");
    assert!(stats.malformed > 0, "{stats:?}");
    assert_eq!(stats.slow, 0);
    // Whether a silent one stayed long enough hangs on how fast the others came.
    let _silent = TcpStream::connect(address).unwrap();
    until("a silent one is closed", || rig.server.stats().silent > 0);
    until("all are gone but one", || rig.server.stats().open == 1);
    good.register(vec![of("good")]).unwrap();
}

/// Opens bad connections one after the other, and keeps some for a while.
fn flood(address: SocketAddr) {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let mut kept = VecDeque::new();
    for _ in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(address).unwrap();
        let bytes = match dice.roll(6) {
            // Says nothing.
            0 => vec![],
            // A byte now, others later.
            1 => vec![1],
            2 => (0..dice.roll(300)).map(|_| dice.roll(256) as u8).collect(),
            // Claims more than may be.
            3 => b"\x08\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            // A good start, and then anything.
            4 => {
                let mut bytes = hello();
                bytes.extend((0..dice.roll(100)).map(|_| dice.roll(256) as u8));
                bytes
            }
            // Something changed in a good start.
            _ => {
                let mut bytes = hello();
                let place = dice.roll(bytes.len());
                bytes[place] ^= 1 << dice.roll(8);
                bytes
            }
        };
        // The server may have closed already, here and below.
        let _ = socket.write_all(&bytes);
        kept.push_back(socket);
        if kept.len() > KEPT {
            kept.pop_front();
        }
        let place = dice.roll(kept.len());
        let _ = kept[place].write_all(&[dice.roll(256) as u8]);
    }
}

/// A client that tries until it is let in: a place may be taken by another newcomer before it has said who it is.
fn newcomer(address: SocketAddr) -> RawClient {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut client = RawClient::connect(address);
        client.send_in_vain(&hello());
        if let Some(said) = client.next() {
            assert!(matches!(said.message, Message::InitRes(Ok(_))));
            client.count_message();
            return client;
        }
        assert!(Instant::now() < deadline, "never let in");
    }
}

fn hello() -> Vec<u8> {
    let mut data = Vec::new();
    let message = Message::InitReq(InitReq::new("n"));
    message.encode(&mut data);
    let frame = Frame {
        id: 1,
        first: 1,
        owner: true,
        token: true,
        last: false,
        kind: message.kind(),
        data: &data,
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// A small generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const CONNECTIONS: usize = 10_000;

/// Connections that the server has room for.
const PLACES: usize = 200;

/// Bad connections that are open at a time, more than there are places.
const KEPT: usize = 250;
