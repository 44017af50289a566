//! `acqbus simulate`: the simulated client application, with a prompt to publish by hand.

mod memory;
mod prompt;
mod show;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::cli::args;
use crate::cli::discovery;
use crate::cli::editor::{Editor, Terminal, Typed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::screen::Screen;
use crate::cli::signal::Stop;
use crate::cli::simulate::memory::Memory;
use crate::cli::simulate::prompt::Action;
use crate::cli::store::args::Keep;
use crate::rpc::{Announcement, RpcError, RpcOptions};
use crate::simulator::{
    Observation, Script, SimulatedVersion, Simulator, SimulatorError, SimulatorOptions,
};
use crate::zsocket::{Endpoint, ZsocketError};

/// Arguments of `acqbus simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Port of the events; 0 takes any free one
    #[arg(
        long,
        env = "ACQBUS_SUBSCRIBER_PORT",
        default_value_t = 5556,
        value_name = "PORT",
        help_heading = "Bus"
    )]
    subscriber_port: u16,
    /// Port of the commands; 0 takes any free one
    #[arg(
        long,
        env = "ACQBUS_COMMAND_PORT",
        default_value_t = 5557,
        value_name = "PORT",
        help_heading = "Bus"
    )]
    command_port: u16,
    /// Address or interface to listen at; may be repeated
    #[arg(
        long,
        visible_alias = "host",
        env = "ACQBUS_BIND",
        default_value = "127.0.0.1",
        value_name = "ADDRESS",
        value_delimiter = ',',
        help_heading = "Bus"
    )]
    bind: Vec<String>,
    /// Listen at every interface
    #[arg(long, help_heading = "Bus")]
    reachable: bool,
    /// Let in whoever comes, also at addresses that other machines reach
    #[arg(long, help_heading = "Bus")]
    insecure: bool,
    /// Folder of keys (`acqbus keys new`); only their owners are let in
    #[arg(long, env = "ACQBUS_KEYS", value_name = "DIR", help_heading = "Bus")]
    keys: Option<PathBuf>,
    /// Group to be announced in, so that consoles need no address
    #[arg(
        long,
        env = "ACQBUS_GROUP",
        default_value = discovery::GROUP,
        value_name = "NAME",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Discovery"
    )]
    group: String,
    /// Do not announce the rig
    #[arg(long, help_heading = "Discovery")]
    no_announce: bool,
    /// Name of the rig in its heartbeats
    #[arg(
        long,
        env = "ACQBUS_IDENTIFIER",
        default_value = "autotrainer-device",
        value_name = "NAME",
        value_parser = NonEmptyStringValueParser::new()
    )]
    identifier: String,
    /// Seconds between heartbeats
    #[arg(long, env = "ACQBUS_HEARTBEAT_INTERVAL", default_value = "5", value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    heartbeat_interval: Duration,
    /// Events and property changes a second, on average; 0 publishes none by itself
    #[arg(long, env = "ACQBUS_RATE", default_value = "1", value_name = "N", value_parser = rate, allow_negative_numbers = true)]
    rate: f64,
    /// The same seed gives the same stream
    #[arg(
        long,
        env = "ACQBUS_SEED",
        default_value_t = 0,
        value_name = "N",
        allow_negative_numbers = true
    )]
    seed: u64,
    /// Version of auto-trainer-api to speak like
    #[arg(long = "as", env = "ACQBUS_AS", default_value = "0.12.0", value_name = "VERSION", value_parser = version)]
    version: SimulatedVersion,
    /// A timeline with events and faults, as docs/simulator.md describes it
    #[arg(long, env = "ACQBUS_SCRIPT", value_name = "FILE")]
    script: Option<PathBuf>,
    /// Write all that is published into this store, and answer clients that ask what they missed
    #[arg(
        long = "store",
        env = "ACQBUS_STORE",
        value_name = "DIR",
        help_heading = "Store"
    )]
    store: Option<PathBuf>,
    #[command(flatten)]
    keep: Keep,
    /// Server number of the events; whatever else writes into the store at the same time has another one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true, help_heading = "Store")]
    server_id: i64,
    /// No prompt, and standard input is left alone, as always in the background
    #[arg(long)]
    no_input: bool,
    /// End after this many seconds
    #[arg(long, env = "ACQBUS_DURATION", value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// Do not print each event and each command
    #[arg(short, long)]
    quiet: bool,
}

impl Simulate {
    /// Runs the rig until its duration, `quit` or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        if self.subscriber_port == self.command_port && self.command_port != 0 {
            return Err(Failure::usage(format!(
                "--subscriber-port and --command-port are both {}: events and commands need a port each",
                self.command_port
            ))
            .with_hint("another port for one of them, or 0 for any free one"));
        }
        raise_descriptor_limit();
        let mut options = self.options()?;
        let stop = Stop::on_ctrl_c()?;
        let memory = match &self.store {
            Some(dir) => Some(Memory::open(dir, &self.keep, self.server_id)?),
            None => None,
        };
        if let Some(memory) = &memory {
            options = memory.remember(options);
        }
        let (rig, observations) =
            Simulator::start_watched(options, OBSERVATIONS).map_err(explained)?;
        self.say_started(&rig, out)?;
        let input = self.open_input(&rig, out)?;
        let mut session = Session {
            rig: &rig,
            out,
            quiet: self.quiet,
            screen: input.screen,
        };
        let exit = session.follow(&observations, input.lines, &stop);
        // What the prompt had changed at the terminal is put right before more is printed there.
        drop(input.terminal);
        session.screen.end();
        rig.stop();
        // What was recorded is flushed also after a failure.
        let recorded = memory.map_or(Ok(None), |memory| memory.close().map(Some));
        let exit = exit?;
        say_ended(&rig, out)?;
        if let Some(stats) = recorded? {
            memory::tell(&stats, out)?;
        }
        Ok(exit)
    }

    fn options(&self) -> Result<SimulatorOptions, Failure> {
        let mut rpc = RpcOptions::default()
            .identifier(&self.identifier)
            .heartbeat_interval(self.heartbeat_interval)
            .ports(self.subscriber_port, self.command_port)
            .bind(&self.bind)
            .reachable(self.reachable)
            .insecure(self.insecure);
        if let Some(folder) = &self.keys {
            rpc = rpc.keys(folder);
        }
        if !self.no_announce {
            rpc = rpc.announce(Announcement::default().group(&self.group));
        }
        let mut options = SimulatorOptions::default()
            .rpc(rpc)
            .version(self.version)
            .rate(self.rate)
            .seed(self.seed)
            .duration(self.duration);
        if let Some(path) = &self.script {
            options = options.script(Script::read(path, self.version).map_err(explained)?);
        }
        Ok(options)
    }

    fn say_started(&self, rig: &Simulator, out: Output) -> Result<(), Failure> {
        let (events, commands) = match rig.service() {
            // An interface's name is told as its address.
            Some(service) => (
                listed(service.subscriber_endpoints()),
                listed(service.command_endpoints()),
            ),
            None => {
                let ports = (rig.subscriber_port(), rig.command_port());
                (format!("port {}", ports.0), format!("port {}", ports.1))
            }
        };
        if out.is_json() {
            return out.object(&json!({
                "notice": "started",
                "events": events,
                "commands": commands,
                "subscriberPort": rig.subscriber_port(),
                "commandPort": rig.command_port(),
                "identifier": self.identifier,
                "group": (!self.no_announce).then_some(&self.group),
                "version": self.version.as_str(),
                "seed": self.seed,
            }));
        }
        let name = out.paint(Colour::Name, &harmless(&self.identifier));
        out.line(&format!(
            "simulated rig {name}, as {} {}",
            "auto-trainer-api", self.version
        ))?;
        out.line(&format!("events at {events}, commands at {commands}"))
    }

    fn open_input(&self, rig: &Simulator, out: Output) -> Result<Input, Failure> {
        if self.no_input || input::is_in_background() {
            return Ok(Input {
                lines: never(),
                screen: Screen::Streams,
                terminal: None,
            });
        }
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() || out.is_json() {
            let lines = input::lines(|line| line.map(Typed::Line).map_err(Failure::from))?;
            return Ok(Input {
                lines,
                screen: Screen::Streams,
                terminal: None,
            });
        }
        let terminal = Terminal::remember();
        let version = rig.version();
        let complete = Box::new(move |line: &str| prompt::complete(line, version));
        let editor = Editor::open("rig> ", complete, "rig-history", out)?;
        let screen = editor.screen();
        out.line(
            "Type the name of an event to publish it; Tab completes, `help` explains, Ctrl-C ends.",
        )?;
        let (sender, lines) = bounded(0);
        // Not joined: it waits for a person, who may type nothing more.
        thread::Builder::new()
            .name("acqbus-prompt".to_owned())
            .spawn(move || type_lines(editor, &sender))?;
        Ok(Input {
            lines,
            screen,
            terminal,
        })
    }
}

/// Lines from wherever, and where to print meanwhile.
struct Input {
    lines: Receiver<Result<Typed, Failure>>,
    screen: Screen,
    terminal: Option<Terminal>,
}

fn type_lines(mut editor: Editor, sender: &Sender<Result<Typed, Failure>>) {
    loop {
        let typed = editor.line();
        let last = !matches!(typed, Ok(Typed::Line(_)));
        if sender.send(typed).is_err() || last {
            return;
        }
    }
}

/// A rig that runs.
struct Session<'a> {
    rig: &'a Simulator,
    out: Output,
    quiet: bool,
    screen: Screen,
}

impl Session<'_> {
    fn follow(
        &mut self,
        observations: &Receiver<Observation>,
        mut lines: Receiver<Result<Typed, Failure>>,
        stop: &Stop,
    ) -> Result<Exit, Failure> {
        loop {
            select! {
                recv(observations) -> observation => match observation {
                    Ok(observation) => self.show(&observation)?,
                    // The rig has ended: by its duration, or because a restart failed.
                    Err(_) => return self.rig.wait().map(|()| Exit::Done).map_err(explained),
                },
                recv(lines) -> line => match line {
                    Ok(line) => if let Some(exit) = self.take(line?)? { return Ok(exit) },
                    // The end of a pipe is not the end of the rig.
                    Err(_) => lines = never(),
                },
                recv(stop.asked()) -> exit => return Ok(match exit {
                    // What supervises a rig ends it so, and wants to see that it ended well.
                    Ok(Exit::Terminated) => Exit::Done,
                    Ok(exit) => exit,
                    Err(_) => Exit::Interrupted,
                }),
            }
        }
    }

    fn show(&mut self, observation: &Observation) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let version = self.rig.version();
        if self.out.is_json() {
            return self.out.object(&show::object(observation, version));
        }
        let line = show::line(observation, version, self.out);
        self.screen.line(&line, self.out)
    }

    fn take(&mut self, typed: Typed) -> Result<Option<Exit>, Failure> {
        match typed {
            Typed::Interrupt | Typed::Dropped => Ok(Some(Exit::Interrupted)),
            Typed::End => Ok(Some(Exit::Done)),
            Typed::Line(line) => match self.execute(&line) {
                Ok(exit) => Ok(exit),
                Err(failure) if failure.is_quiet() => Err(failure),
                Err(failure) => {
                    self.screen
                        .notice(&self.out.paint(Colour::Bad, &failure.to_string()));
                    Ok(None)
                }
            },
        }
    }

    fn execute(&mut self, line: &str) -> Result<Option<Exit>, Failure> {
        match prompt::parse(line, self.rig.version())? {
            Action::Nothing => {}
            Action::Event(occurrence) => self.rig.publish(occurrence).map_err(explained)?,
            Action::Property(change) => self.rig.publish_property(change).map_err(explained)?,
            Action::Raw { topic, body } => self.rig.publish_raw(topic, body).map_err(explained)?,
            Action::Status => {
                let status = serde_json::to_string(&self.rig.status()).map_err(io::Error::from)?;
                self.screen.line(&status, self.out)?;
            }
            Action::Stats => self
                .screen
                .line(&show::stats(&self.rig.stats()), self.out)?,
            Action::Help => self.screen.line(prompt::HELP, self.out)?,
            Action::Quit => return Ok(Some(Exit::Done)),
        }
        Ok(None)
    }
}

fn say_ended(rig: &Simulator, out: Output) -> Result<(), Failure> {
    let stats = rig.stats();
    if out.is_json() {
        out.object(&show::ended(&stats))
    } else {
        note(&show::stats(&stats));
        Ok(())
    }
}

fn listed(endpoints: &[Endpoint]) -> String {
    let texts: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn explained(error: SimulatorError) -> Failure {
    match error {
        SimulatorError::Rpc(error) => {
            let hint = match &error {
                RpcError::Exposed { .. } => Some(
                    "--keys DIR (`acqbus keys new` makes one), or --insecure to let in whoever comes",
                ),
                RpcError::Keys(_) => Some("acqbus keys new, which makes the folder for --keys"),
                RpcError::Socket(ZsocketError::UnknownInterface { .. }) => Some(
                    "--bind with an address or an interface of this machine (`ip address` lists them)",
                ),
                RpcError::Socket(ZsocketError::AddressNotAvailable { .. }) => {
                    Some("--bind with an address of this machine (`ip address` lists them)")
                }
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
        SimulatorError::Read { path, source } if source.kind() == io::ErrorKind::InvalidData => {
            Failure::new(Exit::BadData, format!("script {path:?} is not UTF-8"))
                .with_hint("docs/simulator.md, which has the format")
        }
        error @ SimulatorError::Read { .. } => {
            Failure::of(Exit::Usage, &error).with_hint("another file for --script")
        }
        error if error.is_bad_data() => {
            Failure::of(Exit::BadData, &error).with_hint("docs/simulator.md, which has the format")
        }
        error => Failure::of(Exit::Failed, &error),
    }
}

/// Each client takes a descriptor or two; the usual soft limit of 1,024 is too low for a rig that is put under load.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::debug!(
            "the limit of descriptors stays at {:?}: {error}",
            limit.current
        );
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=MAX_RATE).contains(&rate) => Ok(rate),
        _ => Err(format!("not a rate from 0 to {MAX_RATE} a second")),
    }
}

fn version(text: &str) -> Result<SimulatedVersion, String> {
    text.parse()
        .map_err(|_| "not a version that can be simulated: 0.12.0 or 0.9.7".to_owned())
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus simulate
  acqbus simulate --rate 20 --seed 7 --no-input --duration 60 --json
  acqbus simulate --as 0.9.7 --subscriber-port 0 --command-port 0
  acqbus simulate --script faults.jsonl
  acqbus simulate --reachable --keys ~/.config/acqbus/keys
  acqbus simulate --rate 20 --store history

At the prompt: the name of an event publishes it, `help` lists the rest.";

const MAX_RATE: f64 = 1_000_000.0;

/// What may wait to be printed; more is counted as missed.
const OBSERVATIONS: usize = 10_000;
