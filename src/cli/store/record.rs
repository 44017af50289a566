//! `acqbus store record`: writes a bus into a store, until Ctrl-C.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, after, never, select, tick};
use serde_json::json;

use crate::cli::args::{self, Bus};
use crate::cli::bus;
use crate::cli::exit::{Exit, Failure};
use crate::cli::listen::describe;
use crate::cli::names;
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::signal::Stop;
use crate::cli::store::args::{Keep, Place};
use crate::cli::store::progress::Count;
use crate::cli::store::target::Target;
use crate::relay::{BusRecorder, BusRecorderOptions, BusRecorderStats, RelayError};
use crate::rpc::{Notice, Topic, chain};

/// Arguments of `acqbus store record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    bus: Bus,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keep: Keep,
    /// Server number of the events; whatever else writes into the store at the same time has another one; a server has its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true, help_heading = "Store")]
    server_id: i64,
    /// Only this topic: its name, the start of it, or a number; may be repeated [default: all]
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
}

impl Record {
    /// Records until the duration or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let topics: Vec<Topic> = self
            .topic
            .iter()
            .map(|topic| names::topic(topic))
            .collect::<Result<_, _>>()?;
        let stop = Stop::on_ctrl_c()?;
        let client = bus::client(&self.bus, CONNECT_TIMEOUT, 0)?;
        let target = Target::open(&self.place, &self.keep, self.server_id)?;
        let options = BusRecorderOptions::default()
            .topics(topics)
            .on_error(|error| {
                note(&format!(
                    "acqbus: the store takes nothing: {}",
                    chain(error)
                ));
            });
        let recorder = BusRecorder::follow(&client, target.registrar(), options)?;
        self.say_started(&target, out)?;
        // The recorder keeps to itself what becomes of the connection.
        let connection = client.subscribe(&[Topic::HEARTBEAT])?;
        let exit = {
            let progress = Count::start("recorded", out)?;
            let mut session = Session {
                out,
                recorder: &recorder,
                progress: &progress,
            };
            session.follow(connection.notices(), &stop, self)?
        };
        recorder.stop();
        let stats = recorder.stats();
        let closed = target.close();
        tell_end(&stats, out)?;
        let exit = self.exit(&stats, exit)?;
        closed?;
        Ok(exit)
    }

    fn say_started(&self, target: &Target, out: Output) -> Result<(), Failure> {
        let (host, port) = (&self.bus.host, self.bus.subscriber_port);
        if out.is_json() {
            let mut object = json!({"notice": "started", "host": host, "subscriberPort": port});
            target.describe(&mut object);
            return out.object(&object);
        }
        let text = format!("recording {host}:{port} into {target}, until Ctrl-C");
        out.line(&text)
    }

    fn exit(&self, stats: &BusRecorderStats, exit: Exit) -> Result<Exit, Failure> {
        if stats.lost + stats.given_up > 0 {
            let text = format!(
                "{} messages are not in the store",
                stats.lost + stats.given_up
            );
            return Err(match &stats.error {
                Some(error) => Failure::new(Exit::Failed, format!("{text}: {}", chain(&**error)))
                    .with_hint(match &**error {
                        RelayError::Eventer(_) => {
                            "a server that stays reachable, or --store DIR here"
                        }
                        error if error.is_store_removed() => {
                            "again, with a --store that stays where it is"
                        }
                        _ => "room on the disk",
                    }),
                None => Failure::new(
                    Exit::Failed,
                    format!("{text}: no heartbeat said whose messages they are"),
                )
                .with_hint("a longer --duration; heartbeats come every few seconds"),
            });
        }
        if exit == Exit::Done && stats.recorded == 0 {
            let text = format!(
                "nothing came from {}:{}",
                self.bus.host, self.bus.subscriber_port
            );
            return Err(Failure::new(Exit::Connection, text).with_hint(
                "`acqbus simulate` in another terminal, or the right --host and --subscriber-port",
            ));
        }
        Ok(exit)
    }
}

/// A recording that goes on.
struct Session<'a> {
    out: Output,
    recorder: &'a BusRecorder,
    progress: &'a Count,
}

impl Session<'_> {
    fn follow(
        &mut self,
        notices: &Receiver<Notice>,
        stop: &Stop,
        verb: &Record,
    ) -> Result<Exit, Failure> {
        let end = verb.duration.map_or_else(never, after);
        let mut silence: Receiver<Instant> = after(SILENCE);
        // Only a person sees how far it is.
        let is_watched = !self.out.is_json() && stderr().is_terminal();
        let ticks = if is_watched { tick(BETWEEN) } else { never() };
        loop {
            select! {
                recv(notices) -> notice => match notice {
                    Ok(notice) => self.tell(&notice)?,
                    Err(_) => return Err(Failure::new(Exit::Failed, "the subscription has ended")),
                },
                recv(stop.asked()) -> exit => return Ok(exit.unwrap_or(Exit::Interrupted)),
                recv(end) -> _ => return Ok(Exit::Done),
                recv(ticks) -> _ => self.progress.set(self.recorder.stats().recorded),
                recv(silence) -> _ => {
                    silence = never();
                    if self.recorder.stats().recorded == 0 {
                        let bus = &verb.bus;
                        self.progress.aside(|| note(&format!(
                            "acqbus: no service at {}:{} yet; waiting (Ctrl-C ends)",
                            bus.host, bus.subscriber_port
                        )));
                    }
                },
            }
        }
    }

    /// Says what became of the connection.
    fn tell(&self, notice: &Notice) -> Result<(), Failure> {
        if let Notice::Refused { reason } = notice {
            return Err(Failure::new(
                Exit::Refused,
                format!("the service refuses: {}", harmless(reason)),
            )
            .with_hint("--key FILE with a key that the service knows"));
        }
        // What is missing is in the store, and told at the end.
        if matches!(notice, Notice::Gap { .. }) {
            return Ok(());
        }
        let Some((object, text)) = describe(notice) else {
            return Ok(());
        };
        if self.out.is_json() {
            return self.out.object(&object);
        }
        let text = self.out.paint(Colour::Notice, &format!("-- {text}"));
        self.progress.aside(|| note(&text));
        Ok(())
    }
}

fn tell_end(stats: &BusRecorderStats, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({
            "notice": "end",
            "messages": stats.recorded,
            "bytes": stats.bytes,
            "gaps": stats.gaps,
            "lost": stats.lost,
            "givenUp": stats.given_up,
        }));
    }
    let mut text = match stats.recorded {
        1 => "-- 1 message recorded".to_owned(),
        count => format!("-- {count} messages recorded"),
    };
    if stats.gaps > 0 {
        text.push_str(&format!(
            ", with {} where the bus lost some",
            match stats.gaps {
                1 => "1 place".to_owned(),
                count => format!("{count} places"),
            }
        ));
    }
    note(&out.paint(Colour::Notice, &text));
    Ok(())
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store record --store history
  acqbus store record --host rig-7 --topic EVENT --duration 3600 --store history
  acqbus store record --store-config keep-a-week.toml --store history
  acqbus store record --host rig-7 --server history-server

Each message becomes an event of type IDENTIFIER/TOPIC/KIND, such as rig-1/event/sessionStarted; what the bus
lost becomes an event IDENTIFIER/gap. The other verbs of `acqbus store` work meanwhile.";

/// After this long without a service the user is told.
const SILENCE: Duration = Duration::from_secs(2);

/// Not used for asking; a client wants one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two looks at how far it is.
const BETWEEN: Duration = Duration::from_millis(250);
