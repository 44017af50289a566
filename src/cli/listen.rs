//! `acqbus listen`: prints what the bus publishes, and what was lost on the way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use crossbeam_channel::{Receiver, after, never, select};
use serde_json::{Value, json};

use crate::cli::args::{self, Bus};
use crate::cli::bus;
use crate::cli::exit::{Exit, Failure};
use crate::cli::kinds::{KindFilter, Numbering};
use crate::cli::names;
use crate::cli::print::{Colour, Output, counted, harmless, note};
use crate::cli::show::Seen;
use crate::cli::signal::Stop;
use crate::cli::since::since;
use crate::rpc::{HistoryStart, Notice, Topic};

/// Arguments of `acqbus listen`.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    bus: Bus,
    /// Only this topic: its name, the start of it, or a number; may be repeated [default: all]
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    topic: Vec<Topic>,
    /// Only events of this kind, a name or a number; may be repeated
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<KindFilter>,
    /// Begin with what was published since then, from a service with a history: 30s, 10m, 2h or 1d ago, or a time
    /// such as 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = begin, allow_hyphen_values = true)]
    since: Option<SystemTime>,
    /// Begin with this sequence number of each --topic, of the present start of the service, from its history
    #[arg(long, value_name = "N", value_parser = args::from_one, allow_negative_numbers = true, requires = "topic", conflicts_with = "since")]
    from_sequence: Option<u64>,
    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = args::from_one, allow_negative_numbers = true)]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
}

impl Listen {
    /// Prints messages until the count, the duration or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let topics = self.topics()?;
        let stop = Stop::on_ctrl_c()?;
        let client = bus::client(&self.bus, CONNECT_TIMEOUT, 0)?;
        let subscription = match self.start() {
            Some(start) => client.subscribe_from(&topics, start)?,
            None => client.subscribe(&topics)?,
        };
        let mut session = Session::new(out, self.kind.clone());
        let end = self.duration.map_or_else(never, after);
        // Someone who waits wants to know why nothing comes.
        let mut silence: Receiver<Instant> = after(SILENCE);
        let ended = loop {
            select! {
                recv(subscription.notices()) -> notice => match notice {
                    Ok(notice) => session.take(notice)?,
                    Err(_) => break Ended::Closed,
                },
                recv(stop.asked()) -> exit => break Ended::Asked(exit.unwrap_or(Exit::Interrupted)),
                recv(end) -> _ => break Ended::Time,
                recv(silence) -> _ => {
                    silence = never();
                    session.still_nothing(&self.bus);
                },
            }
            if self.count.is_some_and(|count| session.messages >= count) {
                break Ended::Count;
            }
        };
        session.summary(subscription.malformed())?;
        self.exit(&session, ended)
    }

    fn start(&self) -> Option<HistoryStart> {
        let since = self.since.map(HistoryStart::Since);
        since.or(self.from_sequence.map(HistoryStart::Sequence))
    }

    fn topics(&self) -> Result<Vec<Topic>, Failure> {
        let of_events = |topic: &Topic| matches!(*topic, Topic::EVENT | Topic::EMERGENCY);
        if !self.kind.is_empty()
            && let Some(other) = self.topic.iter().find(|topic| !of_events(topic))
        {
            return Err(Failure::usage(format!(
                "messages of {other} have no kind: --kind is for EVENT and EMERGENCY"
            ))
            .with_hint("--kind without --topic"));
        }
        // Kinds are of events; their emergency copies would count twice.
        let only_events = self.topic.is_empty() && !self.kind.is_empty();
        Ok(if only_events {
            vec![Topic::EVENT]
        } else {
            self.topic.clone()
        })
    }

    fn exit(&self, session: &Session, ended: Ended) -> Result<Exit, Failure> {
        match ended {
            Ended::Count => Ok(Exit::Done),
            Ended::Asked(exit) => Ok(exit),
            Ended::Closed => Err(Failure::new(Exit::Failed, "the subscription has ended")),
            Ended::Time if !session.linked => Err(Failure::new(
                Exit::Connection,
                format!(
                    "no service at {}:{}",
                    self.bus.host, self.bus.subscriber_port
                ),
            )
            .with_hint(
                "`acqbus simulate` in another terminal, or the right --host and --subscriber-port",
            )),
            Ended::Time => match self.count {
                Some(count) => Err(Failure::new(
                    Exit::TimedOut,
                    format!("{} of {count} messages came in time", session.messages),
                )
                .with_hint("a longer --duration, or another --topic or --kind")),
                None => Ok(Exit::Done),
            },
        }
    }
}

enum Ended {
    Count,
    Time,
    Asked(Exit),
    Closed,
}

/// What has come so far.
struct Session {
    out: Output,
    kinds: Vec<KindFilter>,
    numbering: Numbering,
    started: Instant,
    linked: bool,
    messages: u64,
    lost: BTreeMap<Topic, u64>,
}

impl Session {
    fn new(out: Output, kinds: Vec<KindFilter>) -> Self {
        Self {
            out,
            kinds,
            numbering: Numbering::default(),
            started: Instant::now(),
            linked: false,
            messages: 0,
            lost: BTreeMap::new(),
        }
    }

    fn take(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Message(message) => {
                self.linked = true;
                self.numbering.learn(&message);
                self.show(&Seen::new(message))
            }
            other => self.tell(other),
        }
    }

    fn show(&mut self, seen: &Seen) -> Result<(), Failure> {
        let wanted = |kind| {
            self.kinds
                .iter()
                .any(|filter| filter.matches(kind, self.numbering))
        };
        if !self.kinds.is_empty() && !seen.kind().is_some_and(wanted) {
            return Ok(());
        }
        self.messages += 1;
        if self.out.is_json() {
            self.out.object(&seen.object(self.numbering))
        } else {
            self.out.line(&seen.line(self.numbering, self.out))
        }
    }

    /// Says what became of the connection.
    fn tell(&mut self, notice: Notice) -> Result<(), Failure> {
        match &notice {
            Notice::Gap { topic, count, .. } => *self.lost.entry(*topic).or_default() += count,
            Notice::Connected { version, .. } => {
                self.linked = true;
                self.numbering = Numbering::of_version(version);
            }
            Notice::Linked => self.linked = true,
            Notice::Refused { reason } => {
                return Err(
                    Failure::new(Exit::Refused, format!("the service refuses: {reason}"))
                        .with_hint("--key FILE with a key that the service knows"),
                );
            }
            _ => {}
        }
        let Some((object, text)) = describe(&notice) else {
            return Ok(());
        };
        if self.out.is_json() {
            self.out.object(&object)
        } else {
            note(&self.out.paint(Colour::Notice, &format!("-- {text}")));
            Ok(())
        }
    }

    fn still_nothing(&self, bus: &Bus) {
        if !self.linked {
            note(&format!(
                "acqbus: no service at {}:{} yet; waiting (Ctrl-C ends)",
                bus.host, bus.subscriber_port
            ));
        }
    }

    fn summary(&self, malformed: u64) -> Result<(), Failure> {
        let lost: u64 = self.lost.values().sum();
        let seconds = self.started.elapsed().as_secs_f64();
        if self.out.is_json() {
            let by_topic: BTreeMap<_, _> = self
                .lost
                .iter()
                .map(|(topic, count)| (topic.to_string(), count))
                .collect();
            return self.out.object(&json!({
                "notice": "end",
                "seconds": (seconds * 1000.0).round() / 1000.0,
                "messages": self.messages,
                "lost": lost,
                "lostByTopic": by_topic,
                "malformed": malformed,
            }));
        }
        let mut text = format!(
            "-- {} in {seconds:.1} s, {lost} lost",
            counted(self.messages, "message")
        );
        for (topic, count) in &self.lost {
            text.push_str(&format!(", {count} of {topic}"));
        }
        if malformed > 0 {
            text.push_str(&format!(", {malformed} could not be read"));
        }
        note(&text);
        Ok(())
    }
}

/// A notice other than a message as an object and as words; `None` for one that needs none.
pub(crate) fn describe(notice: &Notice) -> Option<(Value, String)> {
    Some(match notice {
        Notice::Gap {
            topic,
            first,
            count,
        } => (
            json!({"notice": "gap", "topic": topic.to_string(), "number": topic.number(), "first": first, "count": count}),
            match count {
                1 => format!("1 message of {topic} is missing, number {first}"),
                _ => format!("{count} messages of {topic} are missing, from number {first} on"),
            },
        ),
        Notice::Connected {
            identifier,
            version,
            epoch,
        } => (
            json!({"notice": "connected", "identifier": identifier, "version": version, "epoch": epoch}),
            format!(
                "connected to {} (version {})",
                harmless(identifier),
                harmless(version)
            ),
        ),
        Notice::HeartbeatLost { silent_for } => (
            json!({"notice": "heartbeatLost", "silentFor": silent_for.as_secs_f64()}),
            format!("no heartbeat for {:.1} s", silent_for.as_secs_f64()),
        ),
        Notice::Restarted { epoch } => (
            json!({"notice": "restarted", "epoch": epoch}),
            "the service was started anew; what was pending there is lost".to_owned(),
        ),
        Notice::Disconnected => (
            json!({"notice": "disconnected"}),
            "the connection is broken; trying again".to_owned(),
        ),
        Notice::Refused { reason } => (
            json!({"notice": "refused", "reason": reason}),
            format!("the service refuses: {}", harmless(reason)),
        ),
        Notice::Resumed => (
            json!({"notice": "resumed"}),
            "the history is whole from there on".to_owned(),
        ),
        Notice::Ahead { topic, from, next } => (
            json!({"notice": "ahead", "topic": topic.to_string(), "number": topic.number(), "from": from, "next": next}),
            format!("number {from} of {topic} lies ahead: the next message there is number {next}"),
        ),
        Notice::CutShort { topic, at } => (
            json!({"notice": "cutShort", "topic": topic.to_string(), "number": topic.number(), "at": at}),
            format!("the history of {topic} is cut short: it begins with number {at}"),
        ),
        Notice::OtherEpoch { epoch } => (
            json!({"notice": "otherEpoch", "epoch": epoch}),
            "the service was started anew; its history begins with its first message".to_owned(),
        ),
        Notice::NoHistory { reason } => (
            json!({"notice": "noHistory", "reason": reason}),
            format!(
                "there is no history, only what is published now: {}",
                harmless(reason)
            ),
        ),
        _ => return None,
    })
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus listen
  acqbus listen --topic EVENT --kind sessionStarted --count 10 --json
  acqbus listen --topic HEARTBEAT --duration 12
  acqbus listen --since 10m --topic EVENT
  acqbus listen --json | jq 'select(.topic) | .body'

Gaps and the state of the connection go to standard error, or with --json into the stream as
{\"notice\": \"gap\", ...}. With --count and --duration both, too few messages in time is exit code 4.
With --since and --from-sequence what the service has kept comes first, and a notice says whether that
is whole: resumed, ahead, cutShort, otherEpoch or noHistory.";

/// So long ago may have the sign that it has for the verbs of the store: `-10m`.
fn begin(text: &str) -> Result<SystemTime, String> {
    let text = text.trim();
    since(text.strip_prefix('-').unwrap_or(text))
}

fn topic(text: &str) -> Result<Topic, String> {
    names::topic(text).map_err(|failure| failure.to_string())
}

fn kind(text: &str) -> Result<KindFilter, String> {
    KindFilter::parse(text).map_err(|failure| failure.to_string())
}

/// After this long without a service the user is told.
const SILENCE: Duration = Duration::from_secs(2);

/// Not used for asking; a client wants one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_now_is_written_with_and_without_its_sign() {
        for text in ["10m", "-10m", "2026-11-21T09:00:00Z"] {
            assert!(begin(text).is_ok(), "{text}");
        }
        for text in ["--10m", "-", "-10", "yesterday"] {
            assert!(begin(text).is_err(), "{text}");
        }
    }
}
