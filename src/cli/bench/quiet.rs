//! What must not happen: heartbeats that wait for a delegate, processor time of a service that has nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::exit::Failure;
use crate::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, RemoteClient, RpcOptions,
    RpcService, Topic,
};

use super::PATIENCE;
use super::measure::{Plan, median};
use super::raw::{Requester, Subscriber, loopback, spawn};
use super::reference::Reference;
use super::report::{Row, Target};

/// The largest deviation of a heartbeat from its interval while a delegate blocks.
pub(super) fn heartbeat(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let blocked = plan.choose(Duration::from_secs(2), Duration::from_secs(8));
    let runs = plan.choose(1, plan.runs.min(3));
    let jitters = (0..runs)
        .map(|_| our_jitter(blocked))
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(vec![Row {
        case: "heartbeat-jitter",
        unit: "ms",
        ours: median(jitters),
        limit: None,
        peer: reference_jitter(plan, blocked)?,
        runs,
        target: Target::AtMost(10.0),
    }])
}

/// Processor time of this process while an idle service lives in it, in percent of one core.
pub(super) fn idle(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let time = plan.choose(Duration::from_secs(5), Duration::from_secs(60));
    let service = RpcService::launch(RpcOptions::default().any_port())?;
    // The start itself is not idle.
    thread::sleep(Duration::from_millis(200));
    let before = processor_time();
    thread::sleep(time);
    let used = processor_time().saturating_sub(before);
    drop(service);
    Ok(vec![Row {
        case: "idle-cpu",
        unit: "%",
        ours: used.as_secs_f64() / time.as_secs_f64() * 100.0,
        limit: None,
        peer: None,
        runs: 1,
        target: Target::AtMost(0.1),
    }])
}

fn our_jitter(blocked: Duration) -> Result<f64, Failure> {
    const INTERVAL: Duration = Duration::from_millis(100);
    let options = RpcOptions::default()
        .any_port()
        .heartbeat_interval(INTERVAL);
    let service = RpcService::launch(options)?;
    service.set_delegate(move |_: &CommandRequest| {
        thread::sleep(blocked);
        CommandResponse::success()
    });
    let mut subscriber =
        Subscriber::connect(&loopback(service.subscriber_port())?, &[Topic::HEARTBEAT])?;
    // The answer to the subscription is beside the schedule, the next is on it.
    subscriber.recv()?;
    subscriber.recv()?;
    let last = Instant::now();
    let options = ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .timeout(blocked + PATIENCE)
        .retries(0);
    let client = RemoteClient::connect(options)?;
    let asking = spawn(move || client.request(ApiCommand::GetStatus, &()).map(drop))?;
    let jitter = largest_deviation(&mut subscriber, last, INTERVAL, blocked)?;
    asking
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(jitter)
}

/// How far, in milliseconds, the distances between heartbeats are from their interval at most.
///
/// `last` is when the one before came: a delegate that stops heartbeats shows in the first that comes after it.
fn largest_deviation(
    subscriber: &mut Subscriber,
    mut last: Instant,
    interval: Duration,
    time: Duration,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut largest = Duration::ZERO;
    while begin.elapsed() < time {
        subscriber.recv()?;
        let now = Instant::now();
        largest = largest.max((now - last).abs_diff(interval));
        last = now;
    }
    Ok(largest.as_secs_f64() * 1000.0)
}

fn reference_jitter(plan: &Plan, blocked: Duration) -> Result<Option<f64>, Failure> {
    let Some(reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    let mut subscriber = Subscriber::connect(reference.events(), &[Topic::HEARTBEAT])?;
    subscriber.recv()?;
    let last = Instant::now();
    let mut requester = Requester::connect(reference.commands())?;
    let request = format!(
        r#"{{"command": 400, "nonce": 1, "data": {}}}"#,
        blocked.as_secs_f64()
    );
    let asking = spawn(move || requester.ask(request.as_bytes()).map(drop))?;
    let interval = Duration::from_secs(1);
    let jitter = largest_deviation(&mut subscriber, last, interval, blocked + interval)?;
    asking
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Some(jitter))
}

/// User and system time of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
