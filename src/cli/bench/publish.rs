//! Events: what the call costs, how many go in a second, how soon they arrive.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::rpc::{
    ClientOptions, Event, EventKind, Notice, Overflow, RemoteClient, RpcError, RpcOptions,
    RpcService, Topic,
};
use crate::zsocket::Endpoint;

use super::PATIENCE;
use super::measure::{Plan, Samples, median, sleep_until, time_each};
use super::raw::{Publisher, Subscriber, loopback, silent, spawn};
use super::reference::Reference;
use super::report::{Row, Target};

/// The call that publishes one event of 200 bytes to one subscriber.
pub(super) fn calls(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let peer = reference_call(plan)?;
    let count = plan.choose(20_000, 50_000);
    let body = captured_body()?;
    let sides = plan.alternate(
        || call_times(&mut OurSource::start()?, count),
        || call_times(&mut RawSource::start(&body)?, count),
    )?;
    let rows = [
        ("send-event-call-p50", 0.5, 1.0, 0),
        ("send-event-call-p99", 0.99, 10.0, 1),
    ];
    Ok(rows
        .into_iter()
        .map(|(case, part, most, at)| {
            let (ours, raw) = sides.medians(|samples| samples.micros(part));
            Row {
                case,
                unit: "us",
                ours,
                limit: Some(raw),
                peer: peer.map(|times| times[at]),
                runs: plan.runs,
                target: Target::AtMost(most),
            }
        })
        .collect())
}

/// Events a second from the first call to the last arrival, none lost: to a bare subscriber, and to one of ours.
pub(super) fn rates(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let peer = reference_events(plan)?;
    let count = plan.choose(300_000, 1_000_000);
    let body = captured_body()?;
    let sides = plan.alternate(
        || throughput(&mut OurSource::start()?, count),
        || throughput(&mut RawSource::start(&body)?, count),
    )?;
    let (ours, raw) = sides.medians(|rate| *rate);
    let to_ours = (0..plan.runs)
        .map(|_| throughput_to_subscription(count))
        .collect::<Result<Vec<_>, Failure>>()?;
    let row = |case, ours, target| Row {
        case,
        unit: "1/s",
        ours,
        limit: Some(raw),
        peer,
        runs: plan.runs,
        target,
    };
    Ok(vec![
        row("events", ours, Target::RatioAtLeast(0.6)),
        row("events-to-our-subscription", median(to_ours), Target::None),
    ])
}

/// From the call to the arrival at a bare subscriber, at 1,000 events a second.
pub(super) fn latencies(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let peer = reference_latency(plan)?;
    let count = plan.choose(1_000, 3_000);
    let body = captured_body()?;
    let sides = plan.alternate(
        || one_way(&mut OurSource::start()?, count),
        || one_way(&mut RawSource::start(&body)?, count),
    )?;
    let rows = [
        ("one-way-p50", 0.5, Target::RatioAtMost(1.3)),
        ("one-way-p99", 0.99, Target::None),
    ];
    Ok(rows
        .into_iter()
        .map(|(case, part, target)| {
            let (ours, raw) = sides.medians(|samples| samples.micros(part));
            Row {
                case,
                unit: "us",
                ours,
                limit: Some(raw),
                peer: peer.as_ref().map(|samples| samples.micros(part)),
                runs: plan.runs,
                target,
            }
        })
        .collect())
}

/// An event whose JSON text has 200 bytes, whatever its index.
pub(super) struct SampleEvent(Event<SampleContext>);

#[derive(Serialize)]
pub(super) struct SampleContext {
    session_id: &'static str,
    trial_id: i64,
    batch_id: Option<&'static str>,
    location: &'static str,
}

impl SampleEvent {
    pub(super) fn new() -> Self {
        let context = SampleContext {
            session_id: "S20250102_001",
            trial_id: 42,
            batch_id: None,
            location: "/data/20250102/session_001/tri",
        };
        let event = Event::new(EventKind::TrialStarted, 1_735_787_045.5, FIRST_INDEX);
        Self(event.with_context(context))
    }

    /// The event with this number.
    pub(super) fn at(&mut self, number: usize) -> &Event<SampleContext> {
        // Below 2^63 for any number that is counted to.
        self.0.index = FIRST_INDEX + number as i64;
        &self.0
    }
}

/// Publishes numbered events, and probes on a topic of their own.
trait Source {
    fn endpoint(&self) -> Result<Endpoint, Failure>;
    fn send(&mut self, number: usize) -> Result<(), Failure>;
    fn probe(&mut self) -> Result<(), Failure>;
}

struct OurSource {
    service: RpcService,
    event: SampleEvent,
}

impl OurSource {
    fn start() -> Result<Self, Failure> {
        let defaults = RpcOptions::default();
        let (messages, bytes) = (defaults.queue_messages, defaults.queue_bytes);
        let options = defaults
            .any_port()
            .send_hwm(0)
            .queue(messages, bytes, Overflow::Refuse);
        Ok(Self {
            service: RpcService::launch(options)?,
            event: SampleEvent::new(),
        })
    }
}

impl Source for OurSource {
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        loopback(self.service.subscriber_port())
    }

    fn send(&mut self, number: usize) -> Result<(), Failure> {
        let event = self.event.at(number);
        loop {
            match self.service.send_event(event) {
                // None may be lost: wait as a caller would who must not lose one.
                Err(RpcError::QueueFull { .. }) => thread::sleep(Duration::from_millis(1)),
                other => return Ok(other?),
            }
        }
    }

    fn probe(&mut self) -> Result<(), Failure> {
        Ok(self.service.send(PROBE, b"")?)
    }
}

struct RawSource<'a> {
    publisher: Publisher,
    body: &'a [u8],
}

impl<'a> RawSource<'a> {
    fn start(body: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self {
            publisher: Publisher::bind()?,
            body,
        })
    }
}

impl Source for RawSource<'_> {
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        Ok(self.publisher.endpoint().clone())
    }

    fn send(&mut self, _: usize) -> Result<(), Failure> {
        self.publisher.send(Topic::EVENT, self.body)
    }

    fn probe(&mut self) -> Result<(), Failure> {
        self.publisher.send(PROBE, b"")
    }
}

/// Receives so many events on a thread of its own, from the time when it is subscribed for certain.
struct Sink<T> {
    thread: thread::JoinHandle<Result<T, Failure>>,
}

impl<T: Send + 'static> Sink<T> {
    /// `take` sees each event as it arrives, `end` gives what it made of them.
    fn open(
        source: &mut impl Source,
        count: usize,
        mut take: impl FnMut() + Send + 'static,
        end: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, Failure>
    where
        T: Send,
    {
        // In this order on the wire, so that who hears a probe hears events.
        let mut subscriber = Subscriber::connect(&source.endpoint()?, &[Topic::EVENT, PROBE])?;
        let (heard, probed) = mpsc::channel();
        let event = Topic::EVENT.to_bytes();
        let thread = spawn(move || {
            let mut received = 0;
            let mut told = false;
            while received < count {
                let (topic, _) = subscriber.recv()?;
                if topic == event {
                    take();
                    received += 1;
                } else if !told {
                    told = true;
                    let _ = heard.send(());
                }
            }
            Ok(end())
        })?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            source.probe()?;
            match probed.recv_timeout(Duration::from_millis(2)) {
                Ok(()) => return Ok(Self { thread }),
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(silent("a probe")),
            }
        }
    }

    fn join(self) -> Result<T, Failure> {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn call_times(source: &mut impl Source, count: usize) -> Result<Samples, Failure> {
    let sink = Sink::open(source, count, || {}, || {})?;
    let mut number = 0;
    let samples = time_each(count, || {
        number += 1;
        source.send(number)
    })?;
    sink.join()?;
    Ok(samples)
}

fn throughput(source: &mut impl Source, count: usize) -> Result<f64, Failure> {
    let sink = Sink::open(source, count, || {}, Instant::now)?;
    let begin = Instant::now();
    for number in 0..count {
        source.send(number)?;
    }
    Ok(per_second(count, sink.join()? - begin))
}

fn one_way(source: &mut impl Source, count: usize) -> Result<Samples, Failure> {
    let (arrived, arrivals) = mpsc::channel();
    let sink = Sink::open(
        source,
        count,
        move || {
            let _ = arrived.send(Instant::now());
        },
        || {},
    )?;
    let mut due = Instant::now() + Duration::from_millis(5);
    let mut sent = Vec::with_capacity(count);
    for number in 0..count {
        sleep_until(due);
        due += Duration::from_millis(1);
        sent.push(Instant::now());
        source.send(number)?;
    }
    sink.join()?;
    let took = sent
        .into_iter()
        .zip(arrivals)
        .map(|(sent, arrived)| arrived - sent);
    Ok(Samples::new(took.collect()))
}

/// The same with a subscription of ours as receiver, which also checks every sequence number.
fn throughput_to_subscription(count: usize) -> Result<f64, Failure> {
    let mut source = OurSource::start()?;
    let options = ClientOptions::default()
        .ports(
            source.service.subscriber_port(),
            source.service.command_port(),
        )
        .buffers(0, 100_000);
    let subscription = RemoteClient::connect(options)?.subscribe(&[Topic::EVENT])?;
    // A heartbeat that answers the subscription.
    while !matches!(
        subscription
            .recv_timeout(PATIENCE)
            .ok_or_else(|| silent("a heartbeat"))?,
        Notice::Connected { .. }
    ) {}
    let sink = spawn(move || {
        let mut received = 0;
        while received < count {
            match subscription.recv_timeout(PATIENCE) {
                Some(Notice::Message(_)) => received += 1,
                Some(Notice::Gap { count, .. }) => {
                    let text = format!("{count} events were lost");
                    return Err(Failure::new(Exit::Failed, text));
                }
                Some(_) => {}
                None => return Err(silent("an event")),
            }
        }
        Ok(Instant::now())
    })?;
    let begin = Instant::now();
    for number in 0..count {
        source.send(number)?;
    }
    let end = sink
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(per_second(count, end - begin))
}

/// The body that our service puts on the wire, for the raw socket to send the same.
fn captured_body() -> Result<Vec<u8>, Failure> {
    let mut source = OurSource::start()?;
    let mut subscriber = Subscriber::connect(&source.endpoint()?, &[Topic::EVENT])?;
    subscriber.patience(Duration::from_millis(20))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        source.send(0)?;
        match subscriber.recv() {
            Ok((_, body)) => return Ok(body.to_vec()),
            Err(_) if Instant::now() < deadline => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn reference_call(plan: &Plan) -> Result<Option<[f64; 2]>, Failure> {
    let Some(mut reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    reference.order(&format!("call {}", plan.choose(1_000, 4_000)))?;
    let answer = reference.answer()?;
    let mut times = answer.split(' ').filter_map(|text| text.parse().ok());
    Ok(times.next().zip(times.next()).map(<[f64; 2]>::from))
}

/// What arrives a second of a burst; the reference drops beyond 1,000 that wait, so all need not arrive.
fn reference_events(plan: &Plan) -> Result<Option<f64>, Failure> {
    let Some(mut reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    let mut subscriber = subscribed(&reference)?;
    reference.order(&format!("burst {}", plan.choose(10_000, 30_000)))?;
    subscriber.recv()?;
    let begin = Instant::now();
    subscriber.patience(Duration::from_secs(1))?;
    let mut count = 0;
    let mut end = begin;
    while subscriber.recv().is_ok() {
        count += 1;
        end = Instant::now();
    }
    Ok(Some(per_second(count, end - begin)))
}

fn reference_latency(plan: &Plan) -> Result<Option<Samples>, Failure> {
    let Some(mut reference) = Reference::start(plan)? else {
        return Ok(None);
    };
    let mut subscriber = subscribed(&reference)?;
    let count = plan.choose(500, 2_000);
    reference.order(&format!("paced {count}"))?;
    let mut took = Vec::with_capacity(count);
    while took.len() < count {
        let (_, body) = subscriber.recv()?;
        let now = monotonic_now();
        let event: IndexOnly =
            serde_json::from_slice(body).map_err(|error| Failure::of(Exit::BadData, &error))?;
        took.push(now.saturating_sub(Duration::from_nanos(event.index)));
    }
    Ok(Some(Samples::new(took)))
}

#[derive(serde::Deserialize)]
struct IndexOnly {
    index: u64,
}

/// A subscriber that has heard the reference.
fn subscribed(reference: &Reference) -> Result<Subscriber, Failure> {
    let mut heartbeats = Subscriber::connect(reference.events(), &[Topic::HEARTBEAT])?;
    let subscriber = Subscriber::connect(reference.events(), &[Topic::EVENT])?;
    // One to connect by, and one more: by then the other subscription has arrived, too.
    heartbeats.recv()?;
    heartbeats.recv()?;
    Ok(subscriber)
}

/// The clock that the reference stamps its events with.
fn monotonic_now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Not one that a subscriber of events gets.
const PROBE: Topic = Topic::PROPERTY_CHANGE;

/// Nineteen digits, as the clock of a machine that has been up for years.
const FIRST_INDEX: i64 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_event_has_200_bytes() {
        let mut event = SampleEvent::new();
        for number in [0, 1, 999_999_999] {
            let mut text = Vec::new();
            crate::rpc::json::to_camel_json(event.at(number), &mut text).expect("serialisable");
            assert_eq!(text.len(), 200, "{}", String::from_utf8_lossy(&text));
        }
    }
}
