//! Events and requests a second, each answered.

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::event::{EventType, Json, Payload, RegisterEvent};
use crate::eventer::EventerClient;

use super::peer::Peer;

/// Batches of 100, by one client with one request at a time, and by 8.
pub(super) fn batches(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let one = Load {
        clients: 1,
        batch: 100,
    };
    let many = Load {
        clients: 8,
        batch: 100,
    };
    Ok(vec![
        measured(plan, "register-100", one, Target::AtLeast(100_000.0))?,
        measured(plan, "register-100-of-8-clients", many, Target::None)?,
    ])
}

/// One event a request, by 8 clients.
pub(super) fn requests(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let one = Load {
        clients: 1,
        batch: 1,
    };
    let many = Load {
        clients: 8,
        batch: 1,
    };
    Ok(vec![
        measured(
            plan,
            "requests-of-8-clients",
            many,
            Target::AtLeast(25_000.0),
        )?,
        measured(plan, "requests-of-1-client", one, Target::None)?,
    ])
}

/// Who registers how much at a time.
#[derive(Clone, Copy)]
struct Load {
    clients: usize,
    batch: u64,
}

fn measured(plan: &Plan, case: &'static str, load: Load, target: Target) -> Result<Row, Failure> {
    let time = plan.choose(Duration::from_secs(1), Duration::from_secs(4));
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for run in 0..plan.runs {
        ours.push(rate(&Peer::ours(plan)?, load, time)?);
        // It is slow enough for its figure to scatter little.
        if run == 0
            && let Some(reference) = Peer::reference(plan)?
        {
            theirs.push(rate(&reference, load, time)?);
        }
    }
    Ok(Row {
        case,
        unit: "1/s",
        ours: median(ours),
        limit: None,
        peer: (!theirs.is_empty()).then(|| median(theirs)),
        runs: plan.runs,
        target,
    })
}

/// Events a second.
fn rate(peer: &Peer, load: Load, time: Duration) -> Result<f64, Failure> {
    let clients = (0..load.clients)
        .map(|_| peer.client())
        .collect::<Result<Vec<_>, _>>()?;
    let batch = batch(load.batch)?;
    let begin = Instant::now();
    let counts: Vec<Result<u64, Failure>> = thread::scope(|scope| {
        let registering = clients.iter().map(|client| {
            let batch = &batch;
            scope.spawn(move || register(client, batch, begin + time))
        });
        let registering: Vec<_> = registering.collect();
        registering
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let took = begin.elapsed();
    let count: u64 = counts.into_iter().sum::<Result<u64, Failure>>()?;
    Ok(count as f64 / took.as_secs_f64())
}

fn register(client: &EventerClient, batch: &[RegisterEvent], end: Instant) -> Result<u64, Failure> {
    let mut count = 0;
    while Instant::now() < end {
        let events = client.register(batch.to_vec())?;
        if events.len() != batch.len() {
            let text = format!("{} of {} events are registered", events.len(), batch.len());
            return Err(Failure::new(Exit::Failed, text));
        }
        count += events.len() as u64;
    }
    Ok(count)
}

/// Small events of as many types.
fn batch(count: u64) -> Result<Vec<RegisterEvent>, Failure> {
    let event = |number| {
        let text = format!(
            r#"{{"kind": 1331, "when": 1700000000.25, "index": {number}, "context": null}}"#
        );
        let payload = Json::new(text).map_err(|error| Failure::of(Exit::Failed, &error))?;
        let event_type = EventType::new(["rig-1", "event", &format!("kind{number:02}")]);
        Ok(RegisterEvent::new(event_type).with_payload(Payload::Json(payload)))
    };
    (0..count).map(event).collect()
}
