//! A good client beside connections that send garbage, stop halfway, or say nothing.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::bench::abuse::allow_descriptors;
use crate::cli::bench::measure::{Plan, Samples, median, sleep_until};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::Failure;
use crate::event::{EventType, RegisterEvent};
use crate::eventer::EventerClient;

use super::peer::Peer;

/// How soon a good client is answered meanwhile.
pub(super) fn good_beside(plan: &Plan) -> Result<Vec<Row>, Failure> {
    allow_descriptors(HELD as u64 + 200)?;
    let count = plan.choose(2_000, 10_000);
    let runs = plan.choose(1, plan.runs.min(3));
    let samples = (0..runs)
        .map(|_| run(plan, count))
        .collect::<Result<Vec<_>, Failure>>()?;
    let row = |case, part: f64, target| Row {
        case,
        unit: "ms",
        ours: median(
            samples
                .iter()
                .map(|run| run.micros(part) / 1000.0)
                .collect(),
        ),
        limit: None,
        peer: None,
        runs,
        target,
    };
    Ok(vec![
        row("garbage-good-p99", 0.99, Target::AtMost(20.0)),
        row("garbage-good-longest", 1.0, Target::AtMost(20.0)),
    ])
}

fn run(plan: &Plan, count: usize) -> Result<Samples, Failure> {
    let peer = Peer::ours(plan)?;
    let client = peer.client()?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let abusing = scope.spawn(|| {
            let abused = abuse(peer.address(), count);
            over.store(true, Ordering::Relaxed);
            abused
        });
        let took = good(&client, &over);
        abusing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        took
    })
}

/// A request a millisecond, as a display makes them; a client that never rests would measure the machine.
fn good(client: &EventerClient, over: &AtomicBool) -> Result<Samples, Failure> {
    let event = RegisterEvent::new(EventType::new(["rig", "event", "good"]));
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        client.register(vec![event.clone()])?;
        took.push(begin.elapsed());
        sleep_until(begin + EVERY);
    }
    Ok(Samples::new(took))
}

/// Connects again and again: most send what is no frame, some a part of one, some nothing; some of them stay.
fn abuse(address: &str, count: usize) -> Result<(), Failure> {
    let mut held = Vec::new();
    let mut state = 1_u32;
    for number in 0..count {
        let garbage: Vec<u8> = match number % 4 {
            // A frame of a few bytes that never come.
            0 => vec![1, 200, 0x81],
            1 => Vec::new(),
            _ => (0..number % 200)
                .map(|_| {
                    // Numbers without a pattern that a parser could meet by luck (Numerical Recipes' generator).
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect(),
        };
        let mut stream = TcpStream::connect(address)?;
        // The server may have ended the connection before all is written.
        let _ = stream.write_all(&garbage);
        held.push(stream);
        if held.len() > HELD {
            // A slow one goes on, and goes.
            let mut oldest = held.swap_remove(number % HELD);
            let _ = oldest.write_all(&[0]);
        }
    }
    Ok(())
}

/// Connections that are kept while others come.
const HELD: usize = 500;

const EVERY: Duration = Duration::from_millis(1);
