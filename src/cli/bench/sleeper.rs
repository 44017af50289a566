//! Ten subscribers, one of them asleep: what the others lose, and what the sleeper is told.

use std::time::{Duration, Instant};

use crate::cli::exit::Failure;
use crate::rpc::{
    ClientOptions, Notice, RemoteClient, RpcOptions, RpcService, Subscription, Topic,
};

use super::PATIENCE;
use super::measure::{Plan, sleep_until};
use super::publish::SampleEvent;
use super::raw::{silent, spawn};
use super::report::{Row, Target};

/// Events that the nine awake lose, and events that the sleeper neither gets nor is told of.
pub(super) fn losses(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let runs = plan.choose(1, plan.runs.min(3));
    let outcomes = (0..runs)
        .map(|_| nine_and_a_sleeper(EVENTS))
        .collect::<Result<Vec<_>, Failure>>()?;
    let row = |case, figure: fn(&Outcome) -> u64, target| Row {
        case,
        unit: "events",
        // The worst run: a median would hide a loss that happens now and then.
        ours: outcomes.iter().map(figure).max().unwrap_or(0) as f64,
        limit: None,
        peer: None,
        runs,
        target,
    };
    Ok(vec![
        row(
            "sleeper-others-lose",
            |outcome| outcome.others_lost,
            Target::AtMost(0.0),
        ),
        row(
            "sleeper-missed-untold",
            |outcome| EVENTS.abs_diff(outcome.sleeper.received + outcome.sleeper.told),
            Target::AtMost(0.0),
        ),
        row(
            "sleeper-missed-and-told",
            |outcome| outcome.sleeper.told,
            Target::None,
        ),
    ])
}

struct Outcome {
    others_lost: u64,
    sleeper: Account,
}

/// What one subscriber got, and what gaps he was told of.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    received: u64,
    told: u64,
}

fn nine_and_a_sleeper(count: u64) -> Result<Outcome, Failure> {
    let options = RpcOptions::default()
        .any_port()
        // Tells the sleeper what he missed at the end, soon after he wakes.
        .heartbeat_interval(Duration::from_millis(500));
    let service = RpcService::launch(options)?;
    let sleeper = subscribe(&service, 100, 100)?;
    let awake = (0..9)
        .map(|_| {
            let subscription = subscribe(&service, 100_000, 10_000)?;
            Ok(spawn(move || follow(&subscription, count))?)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut event = SampleEvent::new();
    let begin = Instant::now();
    for number in 0..count {
        if number % PER_MILLISECOND == 0 {
            sleep_until(begin + Duration::from_millis(number / PER_MILLISECOND));
        }
        // A number that fits, being below 50,000.
        service.send_event(event.at(number as usize))?;
    }
    let mut others_lost = 0;
    for awake in awake {
        let account = awake
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        others_lost += count.saturating_sub(account.received);
    }
    Ok(Outcome {
        others_lost,
        sleeper: follow(&sleeper, count)?,
    })
}

/// A subscription that the service has answered.
fn subscribe(
    service: &RpcService,
    recv_hwm: u32,
    capacity: usize,
) -> Result<Subscription, Failure> {
    let options = ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .buffers(recv_hwm, capacity);
    let subscription = RemoteClient::connect(options)?.subscribe(&[Topic::EVENT])?;
    loop {
        match subscription.recv_timeout(PATIENCE) {
            Some(Notice::Connected { .. }) => return Ok(subscription),
            Some(_) => {}
            None => return Err(silent("a heartbeat")),
        }
    }
}

/// Reads until every event is accounted for, or nothing says any more about those that are not.
fn follow(subscription: &Subscription, count: u64) -> Result<Account, Failure> {
    let mut account = Account::default();
    let mut news = Instant::now();
    while account.received + account.told < count && news.elapsed() < PATIENCE {
        match subscription.recv_timeout(PATIENCE) {
            Some(Notice::Message(_)) => account.received += 1,
            Some(Notice::Gap {
                topic: Topic::EVENT,
                count,
                ..
            }) => account.told += count,
            Some(_) => continue,
            None => break,
        }
        news = Instant::now();
    }
    Ok(account)
}

const EVENTS: u64 = 50_000;

/// 10,000 a second: far above any rig, and a load that nine readers can follow on a small machine.
const PER_MILLISECOND: u64 = 10;
