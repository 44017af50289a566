//! Commands: how long one takes, and how many go in a second.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::exit::Failure;
use crate::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, RemoteClient, RpcOptions,
    RpcService, encode_request,
};

use super::PATIENCE;
use super::measure::{CAN_PIN, Pinning, Plan, Samples, time_each};
use super::raw::{Replier, Requester, loopback};
use super::reference::Reference;
use super::report::{Row, Target};

/// Round trips on an idle service: median and 99th percentile, on one core and unpinned.
pub(super) fn round_trips(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let peer = reference_round_trip(plan)?;
    let count = plan.choose(3_000, 10_000);
    let frames = Frames::capture()?;
    let mut rows = Vec::new();
    for (pinning, p50, p99) in [
        (
            Pinning::OneCore,
            "round-trip-p50-one-core",
            "round-trip-p99-one-core",
        ),
        (Pinning::Free, "round-trip-p50", "round-trip-p99"),
    ] {
        if pinning == Pinning::OneCore && !CAN_PIN {
            continue;
        }
        let sides = plan.alternate(
            || pinning.run(|| our_round_trips(count)),
            || pinning.run(|| frames.raw_round_trips(count)),
        )?;
        for (case, part, most) in [(p50, 0.5, 1.3), (p99, 0.99, 2.0)] {
            let (ours, raw) = sides.medians(|samples| samples.micros(part));
            rows.push(Row {
                case,
                unit: "us",
                ours,
                limit: Some(raw),
                peer: peer.as_ref().map(|samples| samples.micros(part)),
                runs: plan.runs,
                target: Target::RatioAtMost(most),
            });
        }
    }
    Ok(rows)
}

/// Commands a second, of one client and of 16 at once.
pub(super) fn rates(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let peer = reference_rate(plan)?;
    let time = plan.choose(Duration::from_millis(500), Duration::from_secs(2));
    let frames = Frames::capture()?;
    let mut rows = Vec::new();
    for (case, clients, peer) in [
        ("commands-1-client", 1, peer),
        ("commands-16-clients", 16, None),
    ] {
        let sides = plan.alternate(
            || our_rate(clients, time),
            || frames.raw_rate(clients, time),
        )?;
        let (ours, raw) = sides.medians(|rate| *rate);
        rows.push(Row {
            case,
            unit: "1/s",
            ours,
            limit: Some(raw),
            peer,
            runs: plan.runs,
            target: Target::RatioAtLeast(0.75),
        });
    }
    Ok(rows)
}

/// What our client and our service say to each other, for the raw sockets to say the same.
struct Frames {
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Frames {
    fn capture() -> Result<Self, Failure> {
        let service = service()?;
        let client = client(&service)?;
        // A nonce as long as the client's own.
        let request = CommandRequest::new(ApiCommand::GetStatus).with_nonce((1_i64 << 52) - 1);
        let request = encode_request(&request, Some(client.client_id()));
        let reply = Requester::connect(&loopback(service.command_port())?)?
            .ask(&request)?
            .to_vec();
        Ok(Self { request, reply })
    }

    fn raw_round_trips(&self, count: usize) -> Result<Samples, Failure> {
        let replier = Replier::start(self.reply.clone())?;
        let mut requester = Requester::connect(replier.endpoint())?;
        let mut ask = || requester.ask(&self.request).map(drop);
        time_each(WARM_UP, &mut ask)?;
        time_each(count, ask)
    }

    fn raw_rate(&self, clients: usize, time: Duration) -> Result<f64, Failure> {
        let replier = Replier::start(self.reply.clone())?;
        let asks = (0..clients)
            .map(|_| {
                let mut requester = Requester::connect(replier.endpoint())?;
                Ok(move || requester.ask(&self.request).map(drop))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        rate(asks, time)
    }
}

fn our_round_trips(count: usize) -> Result<Samples, Failure> {
    let service = service()?;
    let client = client(&service)?;
    let ask = || Ok(client.request(ApiCommand::GetStatus, &()).map(drop)?);
    time_each(WARM_UP, ask)?;
    time_each(count, ask)
}

fn our_rate(clients: usize, time: Duration) -> Result<f64, Failure> {
    let service = service()?;
    let asks = (0..clients)
        .map(|_| {
            let client = client(&service)?;
            Ok(move || Ok(client.request(ApiCommand::GetStatus, &()).map(drop)?))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    rate(asks, time)
}

/// Calls each of these on a thread of its own for a time, and gives the calls a second of all together.
fn rate(
    asks: Vec<impl FnMut() -> Result<(), Failure> + Send>,
    time: Duration,
) -> Result<f64, Failure> {
    let over = AtomicBool::new(false);
    let start = Barrier::new(asks.len() + 1);
    thread::scope(|scope| {
        let (start, over) = (&start, &over);
        let asking: Vec<_> = asks
            .into_iter()
            .map(|mut ask| {
                scope.spawn(move || {
                    let warm = (0..WARM_UP / 50).try_for_each(|_| ask());
                    // Everybody gets here, whatever happened: the others wait.
                    start.wait();
                    let mut count = 0_u64;
                    warm?;
                    while !over.load(Ordering::Relaxed) {
                        ask()?;
                        count += 1;
                    }
                    Ok::<_, Failure>(count)
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let elapsed = begin.elapsed();
        let mut total = 0;
        for asking in asking {
            total += asking
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(total as f64 / elapsed.as_secs_f64())
    })
}

fn service() -> Result<RpcService, Failure> {
    let service = RpcService::launch(RpcOptions::default().any_port())?;
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    Ok(service)
}

fn client(service: &RpcService) -> Result<RemoteClient, Failure> {
    let options = ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .timeout(PATIENCE)
        .retries(0);
    Ok(RemoteClient::connect(options)?)
}

fn reference_round_trip(plan: &Plan) -> Result<Option<Samples>, Failure> {
    let Some(reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    let mut requester = Requester::connect(reference.commands())?;
    let mut ask = || requester.ask(REFERENCE_REQUEST).map(drop);
    time_each(3, &mut ask)?;
    time_each(plan.choose(20, 100), ask).map(Some)
}

fn reference_rate(plan: &Plan) -> Result<Option<f64>, Failure> {
    let Some(reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    let mut requester = Requester::connect(reference.commands())?;
    let ask = move || requester.ask(REFERENCE_REQUEST).map(drop);
    rate(
        vec![ask],
        plan.choose(Duration::from_secs(1), Duration::from_secs(4)),
    )
    .map(Some)
}

/// Round trips before the first that counts.
const WARM_UP: usize = 500;

const REFERENCE_REQUEST: &[u8] = br#"{"command": 400, "nonce": 1}"#;
