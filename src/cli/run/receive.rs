//! `acqbus run receive`: takes runs from any number of senders, into files or counted.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use crossbeam_channel::{Receiver, after, never, select};
use serde_json::json;

use crate::cdtp::{CdtpError, DataReceiver, ReceiverOptions};
use crate::chirp::{ChirpEvent, ChirpId, ChirpManager, ServiceId};
use crate::cli::args;
use crate::cli::discovery::Discovery;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Output, counted, note};
use crate::cli::run::idle::Idle;
use crate::cli::run::take::{Taken, Taking};
use crate::cli::signal::Stop;
use crate::relay::{self, RunFileOptions, RunRecorder};
use crate::zsocket::Endpoint;

/// Arguments of `acqbus run receive`.
#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// A sender, as HOST:PORT; may be repeated [default: those that CHIRP announces]
    #[arg(long, value_name = "HOST:PORT", value_parser = args::connect_endpoint)]
    connect: Vec<Endpoint>,
    /// Only the announced sender of this name; may be repeated [default: all]
    #[arg(long, value_name = "TYPE.NAME")]
    name: Vec<String>,
    #[command(flatten)]
    discovery: Discovery,
    /// Write a file for each run into this folder, which is made if it is missing
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    output: Option<PathBuf>,
    /// What becomes of a run whose file name is taken
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHAT",
        help_heading = "Files"
    )]
    conflict: Conflict,
    /// Wait at the end of each run until the disk has its file
    #[arg(long, help_heading = "Files")]
    fsync: bool,
    /// End once this many runs have ended and none is open; 0: until Ctrl-C
    /// [default: one for each --connect or --name, or 1]
    #[arg(
        long,
        visible_alias = "runs",
        value_name = "N",
        allow_negative_numbers = true
    )]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// End with exit code 4 when nothing has come for this many seconds, in an open run or while one
    /// is awaited [default: no limit]
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    idle: Option<Duration>,
    /// Seconds to wait for the first run [default: no limit], and at the end for those still open [default: 2]
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Do not compute the SHA-256 of the blocks, for data faster than a core hashes
    #[arg(long)]
    no_hash: bool,
}

/// What becomes of a run whose file name is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Conflict {
    /// It gets a name with a number
    #[default]
    Rename,
    /// It is an error
    Error,
    /// It replaces the old file
    Overwrite,
}

impl Receive {
    /// Takes runs until enough have ended, the duration or Ctrl-C, and prints the totals.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        self.check()?;
        let stop = Stop::on_ctrl_c()?;
        let recorder = self.recorder()?;
        let (receiver, events) = DataReceiver::start_with_events(self.options())?;
        for endpoint in &self.connect {
            receiver.add_endpoint(endpoint)?;
        }
        let manager = match self.connect.as_slice() {
            [] => Some(self.discovery.join(None)?),
            _ => None,
        };
        self.say_started(out)?;
        let taking = Taking::start(events, recorder, !self.no_hash, out)?;
        let ended = self.follow(&receiver, manager.as_ref(), &taking, &stop, out);
        if matches!(ended, Ok(Ended::Asked(_))) {
            stop.end_at_the_next();
        }
        let stopped = self.stop(&receiver, taking.course().open());
        drop(receiver);
        let taken = taking.finish()?;
        taken.totals.print(out)?;
        let exit = self.exit(ended?, &taken);
        stopped?;
        match taken.unwritten {
            Some(failure) => Err(failure),
            None => exit,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if !self.connect.is_empty() && !self.name.is_empty() {
            return Err(Failure::usage(
                "--name chooses among announced senders, and --connect asks for none of them",
            )
            .with_hint("one of the two"));
        }
        let is_whole = |name: &String| {
            name.split_once('.')
                .is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty())
        };
        if let Some(name) = self.name.iter().find(|name| !is_whole(name)) {
            return Err(
                Failure::usage(format!("{name:?} can be no sender: names are Type.name"))
                    .with_hint("--name Camera.Top"),
            );
        }
        Ok(())
    }

    fn options(&self) -> ReceiverOptions {
        let options = ReceiverOptions::default()
            .eor_timeout(self.last_wait())
            .drain_timeout(Some(LAST_WAIT));
        if self.name.is_empty() {
            options
        } else {
            options.senders(&self.name)
        }
    }

    /// How long the ends of open runs are waited for: no longer than anything is.
    fn last_wait(&self) -> Duration {
        let wait = self.timeout.unwrap_or(LAST_WAIT);
        self.idle.map_or(wait, |idle| idle.min(wait))
    }

    fn recorder(&self) -> Result<Option<RunRecorder>, Failure> {
        let Some(folder) = &self.output else {
            return Ok(None);
        };
        std::fs::create_dir_all(folder).map_err(|error| {
            let failure = match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    Failure::usage("there is a file of this name, and no folder")
                }
                _ => Failure::of(Exit::Failed, &error),
            };
            failure
                .while_doing(format!("--output {}", folder.display()))
                .with_hint("a folder that can be written")
        })?;
        let options = RunFileOptions::default()
            .conflict(match self.conflict {
                Conflict::Rename => relay::Conflict::Rename,
                Conflict::Error => relay::Conflict::Error,
                Conflict::Overwrite => relay::Conflict::Overwrite,
            })
            .fsync_at_eor(self.fsync);
        Ok(Some(RunRecorder::new(folder, options)?))
    }

    /// How many runs are to end; `None` for as many as come.
    fn wanted(&self) -> Option<u64> {
        match self.count {
            Some(0) => None,
            Some(count) => Some(count),
            None => Some(self.connect.len().max(self.name.len()).max(1) as u64),
        }
    }

    fn follow(
        &self,
        receiver: &DataReceiver,
        manager: Option<&ChirpManager>,
        taking: &Taking,
        stop: &Stop,
        out: Output,
    ) -> Result<Ended, Failure> {
        let found = match manager {
            Some(manager) => {
                let found = manager.subscribe();
                manager.request(ServiceId::Data)?;
                found
            }
            None => never(),
        };
        let end = self.duration.map_or_else(never, after);
        let mut first = self.timeout.map_or_else(never, after);
        // Someone who waits wants to know why nothing comes.
        let mut silence: Receiver<Instant> = after(SILENCE);
        let course = taking.course();
        let mut still = never();
        let (mut records, mut is_still) = (0, false);
        let mut idle = Idle::new(self.idle, Instant::now());
        let mut look = idle.next_look();
        loop {
            select! {
                recv(taking.changes()) -> change => {
                    (first, silence) = (never(), never());
                    idle.came(Instant::now());
                    still = if course.open() > 0 { after(STILL) } else { never() };
                    (records, is_still) = (taking.records(), false);
                    // The events end before their time when the receiver has failed.
                    if change.is_err() || course.has_failed() {
                        return Ok(Ended::Failed);
                    }
                    let wanted = self.wanted();
                    if course.open() == 0 && wanted.is_some_and(|wanted| course.finished() >= wanted) {
                        return Ok(Ended::Count);
                    }
                },
                recv(found) -> event => if let Ok(event) = event {
                    self.found(receiver, &event, out)?;
                } else {
                    return Err(Failure::new(Exit::Failed, "the discovery has ended"));
                },
                recv(stop.asked()) -> exit => return Ok(Ended::Asked(exit.unwrap_or(Exit::Interrupted))),
                recv(end) -> _ => return Ok(Ended::Time),
                recv(first) -> _ => return Ok(Ended::NoRun),
                recv(look) -> _ => {
                    let is_awaited = course.open() > 0 || course.begun() == 0 || self.wanted().is_some();
                    if !is_awaited {
                        idle.came(Instant::now());
                    }
                    if idle.is_over(taking.records(), Instant::now()) {
                        return Ok(Ended::Idle { open: course.open() });
                    }
                    look = idle.next_look();
                }
                recv(still) -> _ => {
                    let now = taking.records();
                    still = after(STILL);
                    if now == records && !is_still {
                        note(&format!(
                            "acqbus: {} and nothing for {} s: its sender may be gone; waiting (Ctrl-C ends)",
                            counted(course.open(), "open run"),
                            STILL.as_secs()
                        ));
                    }
                    // Told once, until something comes again.
                    is_still = now == records;
                    records = now;
                },
                recv(silence) -> _ => {
                    silence = never();
                    note(&format!("acqbus: no run from {} yet; waiting (Ctrl-C ends)", self.place()));
                },
            }
        }
    }

    /// An announced sender has come or gone. The receiver leaves out those that are not wanted.
    fn found(
        &self,
        receiver: &DataReceiver,
        event: &ChirpEvent,
        out: Output,
    ) -> Result<(), Failure> {
        let service = event.service();
        let name = self
            .name
            .iter()
            .find(|name| ChirpId::of(name) == service.host);
        if service.service != ServiceId::Data || (name.is_none() && !self.name.is_empty()) {
            return Ok(());
        }
        let notice = if event.is_discovered() {
            receiver.add_sender(service)?;
            "discovered"
        } else {
            receiver.remove_sender(service);
            "departed"
        };
        if out.is_json() {
            return out.object(&json!({
                "notice": notice,
                "sender": name,
                "address": service.address.to_string(),
                "port": service.port,
                "host": service.host.to_string(),
            }));
        }
        let whose = name.map_or_else(String::new, |name| format!(" of {name}"));
        log::info!("sender at {}{whose} {notice}", service.socket_address());
        Ok(())
    }

    /// Lets open runs end, for as long as they may.
    fn stop(&self, receiver: &DataReceiver, open: u64) -> Result<(), Failure> {
        if open > 0 {
            let seconds = self.last_wait().as_secs_f64();
            let runs = counted(open, "open run");
            note(&format!(
                "acqbus: {runs}: waiting up to {seconds} s for an end"
            ));
        }
        match receiver.stop_receiving() {
            // Who has not ended is told by the substitutes, too.
            Err(error @ CdtpError::EorTimeout { .. }) => log::info!("{error}"),
            outcome => outcome?,
        }
        Ok(())
    }

    fn exit(&self, ended: Ended, taken: &Taken) -> Result<Exit, Failure> {
        let runs = taken.totals.runs;
        let idle = self.idle.unwrap_or_default().as_secs_f64();
        let within = format!(" within {idle} s");
        match ended {
            Ended::Asked(exit) => return Ok(exit),
            Ended::NoRun => {
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("no run from {} in time", self.place()),
                )
                .with_hint(self.hint()));
            }
            Ended::Idle { open: 0 } if runs == 0 => {
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("no run from {}{within}", self.place()),
                )
                .with_hint(self.hint()));
            }
            Ended::Idle { open } => {
                let what = match open {
                    0 => format!("no further run after {}", counted(runs, "run")),
                    _ => format!("nothing came in {}", counted(open, "open run")),
                };
                return Err(Failure::new(Exit::TimedOut, format!("{what}{within}"))
                    .with_hint("the sender: it may be gone, or be slower than --idle allows"));
            }
            Ended::Time if self.count.is_some_and(|count| runs < count) => {
                let wanted = self.count.unwrap_or_default();
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("{runs} of {wanted} runs have ended in time"),
                )
                .with_hint("a longer --duration"));
            }
            Ended::Time if runs == 0 => {
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("no run from {} in time", self.place()),
                )
                .with_hint(self.hint()));
            }
            Ended::Count | Ended::Time | Ended::Failed => {}
        }
        Ok(if taken.totals.faults > 0 {
            Exit::BadData
        } else if taken.has_broken_run {
            Exit::Failed
        } else {
            Exit::Done
        })
    }

    fn say_started(&self, out: Output) -> Result<(), Failure> {
        if out.is_json() {
            let connect: Vec<_> = self.connect.iter().map(ToString::to_string).collect();
            let group = self.connect.is_empty().then_some(&self.discovery.group);
            return out.object(&json!({
                "notice": "started",
                "connect": connect,
                "group": group,
                "names": self.name,
                "output": self.output,
            }));
        }
        note(&format!("-- receiving from {}", self.place()));
        Ok(())
    }

    fn place(&self) -> String {
        if !self.connect.is_empty() {
            let texts: Vec<_> = self.connect.iter().map(ToString::to_string).collect();
            return texts.join(", ");
        }
        let group = &self.discovery.group;
        match self.name.as_slice() {
            [] => format!("any sender in group {group:?}"),
            names => format!("{} in group {group:?}", names.join(", ")),
        }
    }

    fn hint(&self) -> &'static str {
        if self.connect.is_empty() {
            self.discovery.hint()
        } else {
            "`acqbus run send` there, or the right --connect; a run that began before is not joined"
        }
    }
}

/// Why it ended.
enum Ended {
    Count,
    Time,
    NoRun,
    /// Nothing has come for too long, in so many open runs.
    Idle {
        open: u64,
    },
    Asked(Exit),
    Failed,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus run receive
  acqbus run receive --connect 127.0.0.1:40123 --output runs
  acqbus run receive --group edda --interface all --name Camera.Top --name Digitizer.One --count 0
  acqbus run receive --idle 30 --output runs
  acqbus run receive --json | tail -1 | jq -r .sha256

Without --connect, all senders of the group are received that CHIRP announces. A sender that has a
receiver already must not get a second one, since both would lose data: choose by --name. For the
satellites of a Constellation give their --group, and --interface all unless they are on this
machine; their controller begins and ends the runs.

--json prints a line for each begin (bor) and end (eor) of a run, for missing records (lost),
unusable messages (fault) and what is in no file (unwritten), of these at most 20 between two
others, and last the totals. The SHA-256 there is of all blocks in the order in which they came;
with several senders at once that order changes, and the one of each eor does not.

The exit code is 1 when a run is INCOMPLETE, ABORTED or not in its file, 6 when a message could not
be used, 4 when no run has begun in time or nothing came for --idle seconds, and 130 on Ctrl-C; the
totals are printed all the same.";

/// After this long without a run the user is told.
const SILENCE: Duration = Duration::from_secs(2);

/// An open run that gives nothing for this long is told.
const STILL: Duration = Duration::from_secs(5);

/// For what has arrived, and for the ends of open runs.
const LAST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::Parser;
    use crossbeam_channel::bounded;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        receive: Receive,
    }

    #[test]
    fn receiver_that_ends_by_itself_ends_the_verb() {
        let program = ["receive", "--connect", "127.0.0.1:1", "--duration", "20"];
        let receive = Program::parse_from(program).receive;
        let (receiver, events) = DataReceiver::start_with_events(receive.options()).unwrap();
        let out = Output::new(false);
        let taking = Taking::start(events, None, false, out).unwrap();
        receiver.stop_receiving().unwrap();
        let (_ask, asked) = bounded(1);
        let stop = Stop::relayed(asked);
        let ended = receive.follow(&receiver, None, &taking, &stop, out);
        assert!(matches!(ended, Ok(Ended::Failed)));
    }
}
