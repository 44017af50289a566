//! `acqbus store replay`: recorded messages on a bus again, byte for byte and with their spacing.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, after, bounded, never, select};
use serde_json::json;

use crate::cli::args;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, note};
use crate::cli::signal::Stop;
use crate::cli::store::args::{Place, Stretch, Types};
use crate::cli::store::progress::Count;
use crate::cli::store::walk::Walk;
use crate::event::{Event, Timestamp};
use crate::relay::recorder;
use crate::rpc::{Overflow, Publisher, RpcError, RpcOptions, RpcService, Topic};

/// Arguments of `acqbus store replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    types: Types,
    #[command(flatten)]
    stretch: Stretch,
    /// How fast: 1 as it was, 10 ten times as fast, max without waiting
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed, allow_negative_numbers = true)]
    speed: Speed,
    /// Begin after so many seconds without a subscriber, too; 0 begins at once [default: when one has come]
    #[arg(long, value_name = "S", value_parser = args::seconds, allow_negative_numbers = true)]
    wait: Option<Duration>,
    /// Only events of this server
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with_all = ["from", "to"]
    )]
    server_id: Option<i64>,
    /// Port of the events; 0 takes any free one
    #[arg(long, env = "ACQBUS_SUBSCRIBER_PORT", default_value_t = args::SUBSCRIBER_PORT, value_name = "PORT", help_heading = "Bus")]
    subscriber_port: u16,
    /// Port of the commands, which nobody answers here; 0 takes any free one
    #[arg(long, env = "ACQBUS_COMMAND_PORT", default_value_t = args::COMMAND_PORT, value_name = "PORT", help_heading = "Bus")]
    command_port: u16,
    /// Address or interface to listen at; may be repeated
    #[arg(
        long,
        env = "ACQBUS_BIND",
        default_value = "127.0.0.1",
        value_name = "ADDRESS",
        value_delimiter = ',',
        help_heading = "Bus"
    )]
    bind: Vec<String>,
    /// Let in whoever comes, also at addresses that other machines reach
    #[arg(long, help_heading = "Bus")]
    insecure: bool,
    /// Name in the heartbeats
    #[arg(
        long,
        env = "ACQBUS_IDENTIFIER",
        default_value = "replay",
        value_name = "NAME",
        help_heading = "Bus"
    )]
    identifier: String,
}

/// How much faster than it was; `None` does not wait at all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Speed(Option<f64>);

impl Replay {
    /// Publishes what is meant, until its end or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let walk = Walk::new(&self.types, &self.stretch, self.server_id)?;
        let stop = Stop::on_ctrl_c()?;
        let store = self.place.open()?;
        let walk = walk.within(&store)?;
        let service = RpcService::launch(self.options()).map_err(explained)?;
        self.say_started(&service, out)?;
        if let Some(exit) = self.wait_for_subscriber(&service, &stop, out) {
            return Ok(exit);
        }
        let progress = Count::start("published", out)?;
        let mut playing = Playing {
            service: &service,
            publisher: service.publisher(),
            pace: Pace::new(self.speed),
            stop: stop.asked().clone(),
            out,
            progress,
            is_told: false,
            published: 0,
            skipped: 0,
            asked: None,
        };
        walk.each(&store, &mut |event| playing.play(event))?;
        // What is queued is delivered, however slowly it is read; the user need not wait for that.
        while service.stats().queue_depth > 0 && playing.pause(Some(LOOK))? {}
        let Playing {
            published,
            skipped,
            asked,
            progress,
            ..
        } = playing;
        let asked = asked.or(stop_behind_the_last(
            service,
            asked.is_some(),
            &stop,
            &progress,
            out,
        )?);
        drop(progress);
        tell_end(published, skipped, out)?;
        Ok(asked.unwrap_or(Exit::Done))
    }

    fn options(&self) -> RpcOptions {
        RpcOptions::default()
            .identifier(&self.identifier)
            .ports(self.subscriber_port, self.command_port)
            .bind(&self.bind)
            .insecure(self.insecure)
            // A subscriber misses nothing at full speed, however slow it is, and the end as little as the rest; it is waited for.
            .send_hwm(HELD)
            .back_pressure(true)
            .queue(QUEUED, QUEUED_BYTES, Overflow::Refuse)
            .linger(DELIVERY)
    }

    fn say_started(&self, service: &RpcService, out: Output) -> Result<(), Failure> {
        let ports = (service.subscriber_port(), service.command_port());
        if out.is_json() {
            return out.object(&json!({
                "notice": "started",
                "subscriberPort": ports.0,
                "commandPort": ports.1,
            }));
        }
        out.line(&format!(
            "events at port {}, commands at port {}",
            ports.0, ports.1
        ))
    }

    /// The exit code if the user had enough of waiting.
    fn wait_for_subscriber(&self, service: &RpcService, stop: &Stop, out: Output) -> Option<Exit> {
        let end = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        if self.wait.is_none() && !out.is_json() {
            note("waiting for a subscriber, such as `acqbus listen` (Ctrl-C ends)");
        }
        let mut pause = LOOK;
        while end.is_none_or(|end| Instant::now() < end) {
            if service.stats().subscriptions > 0 {
                // It subscribes to one topic after the other: what is published now would reach it in part.
                match stop.asked().recv_timeout(SETTLE) {
                    Ok(exit) => return Some(exit),
                    Err(_) => return None,
                }
            }
            if let Some(end) = end {
                pause = LOOK.min(end.saturating_duration_since(Instant::now()));
            }
            // The service counts subscriptions and calls nobody.
            match stop.asked().recv_timeout(pause) {
                Ok(exit) => return Some(exit),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Exit::Interrupted),
            }
        }
        None
    }
}

/// Waits until subscribers have what libzmq holds for them; the exit code if the user had enough of that.
///
/// The service is stopped on a thread that the end of the program ends, for nothing else ends the wait for a subscriber.
fn stop_behind_the_last(
    service: RpcService,
    is_asked: bool,
    stop: &Stop,
    progress: &Count,
    out: Output,
) -> Result<Option<Exit>, Failure> {
    let (stopping, stopped) = bounded::<Infallible>(0);
    thread::Builder::new()
        .name("acqbus-replay-end".to_owned())
        .spawn(move || {
            let _stopping = stopping;
            service.stop();
        })?;
    let mut patience = after(if is_asked { GRACE } else { PATIENCE });
    loop {
        select! {
            recv(stopped) -> _ => return Ok(None),
            recv(stop.asked()) -> exit => return Ok(Some(exit.unwrap_or(Exit::Interrupted))),
            recv(patience) -> _ => {
                if is_asked {
                    return Ok(None);
                }
                patience = never();
                tell_waiting(progress, out)?;
            }
        }
    }
}

/// Says that it is not this program that is slow.
fn tell_waiting(progress: &Count, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({"notice": "waiting", "for": "subscriber"}));
    }
    let text = "-- a subscriber takes nothing; waiting for it (Ctrl-C ends)";
    progress.aside(|| note(&out.paint(Colour::Notice, text)));
    Ok(())
}

/// A replay that goes on.
struct Playing<'a> {
    service: &'a RpcService,
    publisher: Publisher,
    pace: Pace,
    stop: Receiver<Exit>,
    out: Output,
    progress: Count,
    /// Whether the user knows that a subscriber takes nothing.
    is_told: bool,
    published: u64,
    skipped: u64,
    asked: Option<Exit>,
}

impl Playing<'_> {
    fn play(&mut self, event: &Event) -> Result<ControlFlow<()>, Failure> {
        // Heartbeats are those of this service: two kinds would look like a service that starts anew all the time.
        let message = recorder::message_of(event);
        let message = message.filter(|message| message.topic != Topic::HEARTBEAT);
        let Some(message) = message else {
            self.skipped += 1;
            return Ok(ControlFlow::Continue(()));
        };
        let wait = self.pace.wait(event.timestamp, Instant::now());
        if !self.pause(wait)? {
            return Ok(ControlFlow::Break(()));
        }
        loop {
            match self.publisher.send(message.topic, &message.body) {
                Ok(()) => break,
                // The queue is read as fast as subscribers take it.
                Err(RpcError::QueueFull { .. }) => {
                    if !self.pause(Some(LOOK))? {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.published += 1;
        self.progress.set(self.published);
        Ok(ControlFlow::Continue(()))
    }

    /// Whether it goes on after the pause.
    fn pause(&mut self, time: Option<Duration>) -> Result<bool, Failure> {
        let asked = match time {
            Some(time) => {
                let asked = self.stop.recv_timeout(time).ok();
                let held_up = self.service.stats().held_up;
                if held_up.is_zero() {
                    self.is_told = false;
                } else if held_up >= PATIENCE && !std::mem::replace(&mut self.is_told, true) {
                    tell_waiting(&self.progress, self.out)?;
                }
                asked
            }
            None => self.stop.try_recv().ok(),
        };
        self.asked = self.asked.or(asked);
        Ok(self.asked.is_none())
    }
}

/// When each message is due.
#[derive(Debug)]
struct Pace {
    speed: Speed,
    begin: Option<(Timestamp, Instant)>,
}

impl Pace {
    const fn new(speed: Speed) -> Self {
        Self { speed, begin: None }
    }

    /// How long to wait for a message of this time; the first is due at once.
    fn wait(&mut self, timestamp: Timestamp, now: Instant) -> Option<Duration> {
        let speed = self.speed.0?;
        let (first, begin) = *self.begin.get_or_insert((timestamp, now));
        // One that lies before the first, by a clock that was set back, is due at once.
        let since = timestamp.checked_duration_since(first)?;
        let after = Duration::try_from_secs_f64(since.as_secs_f64() / speed).ok()?;
        let wait = begin.checked_add(after)?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

fn tell_end(published: u64, skipped: u64, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({
            "notice": "end",
            "messages": published,
            "skipped": skipped,
        }));
    }
    let mut text = match published {
        1 => "-- 1 message published".to_owned(),
        _ => format!("-- {published} messages published"),
    };
    if skipped > 0 {
        text.push_str(&format!(
            ", {skipped} events left out: heartbeats, and what no message was"
        ));
    }
    note(&out.paint(Colour::Notice, &text));
    Ok(())
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let number = text.trim_end_matches('x').parse::<f64>().ok();
    number
        .filter(|speed| speed.is_finite() && *speed > 0.0)
        .map(|speed| Speed(Some(speed)))
        .ok_or_else(|| "neither a factor above 0, such as 1 or 10, nor max".to_owned())
}

fn explained(error: RpcError) -> Failure {
    let hint = match &error {
        RpcError::Exposed { .. } => Some("--insecure to let in whoever comes"),
        error if error.is_connection() => Some(
            "--subscriber-port 0 --command-port 0, which takes free ports; or end what uses these",
        ),
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Between two looks at what tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// Messages that wait for the publisher: what is read ahead of it.
const QUEUED: usize = 10_000;

/// Their bytes.
const QUEUED_BYTES: usize = 16 << 20;

/// Messages that are held for a subscriber; beyond, all wait for him.
const HELD: u32 = 256;

/// After this long the user is told that a subscriber takes nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// For what is on its way when the user has had enough.
const GRACE: Duration = Duration::from_millis(500);

/// For what is queued behind the last message; it ends when no subscriber is left, and at Ctrl-C.
const DELIVERY: Duration = Duration::from_hours(24);

/// From the first subscription of a subscriber to its last.
const SETTLE: Duration = Duration::from_millis(250);

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store replay --store history --subscriber-port 6556 --command-port 6557
  acqbus store replay 'rig-1/event/*' --from -1h --speed 10 --store history
  acqbus store replay --speed max --wait 0 --store history

It begins when a subscriber has come: `acqbus listen --subscriber-port 6556` in another terminal. The messages are
those that were recorded, byte for byte; heartbeats are its own.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_as_they_came_or_faster() {
        let now = Instant::now();
        let at = |seconds: i64| Timestamp::new(1000 + seconds, 0);
        let mut original = Pace::new(Speed(Some(1.0)));
        assert_eq!(original.wait(at(0), now), None);
        assert_eq!(original.wait(at(2), now), Some(Duration::from_secs(2)));
        let later = now + Duration::from_secs(5);
        assert_eq!(original.wait(at(3), later), None, "late ones go at once");
        assert_eq!(original.wait(at(-10), later), None);
        assert_eq!(original.wait(at(7), later), Some(Duration::from_secs(2)));
        let mut fast = Pace::new(Speed(Some(10.0)));
        assert_eq!(fast.wait(at(0), now), None);
        assert_eq!(fast.wait(at(2), now), Some(Duration::from_millis(200)));
        let mut maximal = Pace::new(Speed(None));
        assert_eq!(maximal.wait(at(0), now), None);
        assert_eq!(maximal.wait(at(1_000_000), now), None);
    }

    #[test]
    fn speed_is_a_factor_or_max() {
        assert_eq!(speed("1"), Ok(Speed(Some(1.0))));
        assert_eq!(speed("10x"), Ok(Speed(Some(10.0))));
        assert_eq!(speed("max"), Ok(Speed(None)));
        for text in ["", "0", "-1", "nan", "inf", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
