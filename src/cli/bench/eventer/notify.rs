//! From registering to being told.

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::bench::PATIENCE;
use crate::cli::bench::abuse::allow_descriptors;
use crate::cli::bench::measure::{Plan, Samples, median, sleep_until};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::event::{EventType, Json, Payload, RegisterEvent};

use super::peer::Peer;
use super::subscribers::Subscribers;

/// 1,000 clients that want different events, one event a millisecond.
pub(super) fn latencies(plan: &Plan) -> Result<Vec<Row>, Failure> {
    allow_descriptors(CLIENTS as u64 + 200)?;
    let runs = plan.choose(1, plan.runs.min(3));
    let ours: Vec<_> = (0..runs)
        .map(|_| run(&Peer::ours(plan)?, plan))
        .collect::<Result<_, _>>()?;
    let theirs = match Peer::reference(plan)? {
        Some(reference) => Some(run(&reference, plan)?),
        None => None,
    };
    let row = |case, part: f64, target| Row {
        case,
        unit: "ms",
        ours: median(ours.iter().map(|run| run.millis(part)).collect()),
        limit: None,
        peer: theirs.as_ref().map(|run| run.millis(part)),
        runs,
        target,
    };
    let lost = ours.iter().map(|run| run.lost).max().unwrap_or(0);
    Ok(vec![
        row("notify-1000-clients-p50", 0.5, Target::None),
        row("notify-1000-clients-p99", 0.99, Target::AtMost(5.0)),
        Row {
            case: "notify-1000-clients-lost",
            unit: "events",
            ours: lost as f64,
            limit: None,
            peer: theirs.as_ref().map(|run| run.lost as f64),
            runs,
            target: Target::AtMost(0.0),
        },
    ])
}

struct Run {
    samples: Samples,
    lost: u64,
}

impl Run {
    fn millis(&self, part: f64) -> f64 {
        self.samples.micros(part) / 1000.0
    }
}

fn run(peer: &Peer, plan: &Plan) -> Result<Run, Failure> {
    let clock = Instant::now();
    let subscribers = Subscribers::connect(peer.address(), CLIENTS, event_type, clock)?;
    let client = peer.client()?;
    let count: u64 = plan.choose(3_000, 10_000);
    let begin = Instant::now();
    for number in 0..count {
        sleep_until(begin + EVERY * u32::try_from(number).unwrap_or(u32::MAX));
        let sent = clock.elapsed().as_nanos().to_string();
        let payload = Json::new(sent).map_err(|error| Failure::of(Exit::Failed, &error))?;
        // In an order that is not that of the clients.
        let wanted = usize::try_from(number * 37).unwrap_or(0) % CLIENTS;
        let event = RegisterEvent::new(event_type(wanted)).with_payload(Payload::Json(payload));
        client.register_unanswered(vec![event])?;
    }
    let end = Instant::now() + PATIENCE;
    while subscribers.told() < count && Instant::now() < end {
        thread::sleep(EVERY);
    }
    let took = subscribers.end()?;
    Ok(Run {
        lost: count.saturating_sub(took.len() as u64),
        samples: Samples::new(took),
    })
}

fn event_type(number: usize) -> EventType {
    EventType::new(["rig", "event", &format!("kind{number:04}")])
}

const CLIENTS: usize = 1_000;

const EVERY: Duration = Duration::from_millis(1);
