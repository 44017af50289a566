//! What the tests of the program share: a service to talk to, and the program with a clean environment.
// Each test file uses a part of it, and none exports it.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::{ApiCommand, RpcOptions, RpcService, Stats};
use acqbus::simulator::{Observation, SimulatedVersion, Simulator, SimulatorOptions};
use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything that is waited for comes in this time, or the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between the heartbeats of a rig under test.
const HEARTBEATS: Duration = Duration::from_millis(500);

/// A simulated rig on free ports to which nothing happens by itself.
pub struct Service {
    rig: Simulator,
    observed: Receiver<Observation>,
    seen: Mutex<Vec<ApiCommand>>,
}

impl Service {
    /// Starts with the default options.
    pub fn start() -> Self {
        Self::with_options(RpcOptions::default())
    }

    /// Starts with these options, on free ports.
    pub fn with_options(options: RpcOptions) -> Self {
        Self::simulating(SimulatorOptions::default().rpc(options))
    }

    /// Starts a rig of 0.9.7.
    pub fn of_0_9_7() -> Self {
        Self::simulating(SimulatorOptions::default().version(SimulatedVersion::V0_9_7))
    }

    fn simulating(options: SimulatorOptions) -> Self {
        let rpc = options
            .rpc
            .clone()
            .any_port()
            .heartbeat_interval(HEARTBEATS);
        let (rig, observed) = Simulator::start_watched(options.rpc(rpc).rate(0.0), 1024).unwrap();
        Self {
            rig,
            observed,
            seen: Mutex::default(),
        }
    }

    /// The library's handle.
    pub fn rpc(&self) -> Arc<RpcService> {
        self.rig.service().expect("no script stops it")
    }

    /// The flags that lead the program here.
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--subscriber-port={}", self.rig.subscriber_port()),
            format!("--command-port={}", self.rig.command_port()),
        ]
    }

    /// The commands that have arrived.
    pub fn commands(&self) -> Vec<ApiCommand> {
        let mut seen = self.seen.lock();
        for observation in self.observed.try_iter() {
            if let Observation::Command { request, .. } = observation {
                seen.push(request.command());
            }
        }
        seen.clone()
    }

    /// Publishes an event.
    pub fn event(&self, kind: i64) {
        let event =
            json!({"kind": kind, "when": 45296.789, "index": 1, "context": {"session_id": "s1"}});
        self.rpc().send_event_dict(&event).unwrap();
    }

    /// Waits until this many subscriptions have arrived, and a heartbeat has gone out to them.
    pub fn await_subscriptions(&self, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        let wait = |what: &str, is_over: &dyn Fn(Stats) -> bool| {
            while !is_over(self.rpc().stats()) {
                assert!(Instant::now() < deadline, "no {what} in time");
                thread::yield_now();
            }
        };
        wait("subscription", &|stats| stats.subscriptions >= count);
        let before = self.rpc().stats().published;
        wait("heartbeat", &|stats| stats.published > before);
    }
}

/// The program with a home folder of its own and no settings.
pub struct Program {
    home: TempDir,
}

impl Program {
    /// A new home.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The folder that is home and working folder.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A command to be run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acqbus"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ACQBUS_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.home())
            .env("HOME", self.home())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args))
    }

    /// Runs a client verb against a service.
    pub fn run_at(&self, service: &Service, args: &[&str]) -> Done {
        let mut command = self.command(args);
        command.args(service.flags());
        Done::of(command)
    }

    /// Starts a client verb against a service.
    pub fn start_at(&self, service: &Service, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.args(service.flags());
        Running::start(command)
    }
}

/// What a run of the program has left.
#[derive(Debug)]
pub struct Done {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the program ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "out: {}\nerr: {}",
            self.out,
            self.err
        );
        self
    }

    /// Standard output as one JSON value for each line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.out.lines().map(parse).collect()
    }
}

/// The program while it runs; killed when dropped.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a command with piped streams.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line of standard output; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Lines until one holds the text.
    #[track_caller]
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the output ended before `{text}`");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Lines of standard error until one holds the text; the others are gone then.
    #[track_caller]
    pub fn error_line_with(&mut self, text: &str) {
        // Byte by byte, so that the rest is left for the end.
        let stderr = self.child.stderr.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while stderr.read(&mut byte).unwrap() == 1 {
            if byte != *b"\n" {
                line.extend(byte);
                continue;
            }
            if String::from_utf8_lossy(&line).contains(text) {
                return;
            }
            line.clear();
        }
        panic!("standard error ended before `{text}`");
    }

    /// Sends Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Closes the reading end of standard output.
    pub fn close_output(self) -> Ending {
        let Self { child, out } = self;
        drop(out);
        Ending { child }
    }

    /// Reads standard output to its end, then waits for the end: for a program that may wait for its reader.
    pub fn read_to_end(mut self) -> Done {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut done = self.end();
        done.out.insert_str(0, &out);
        done
    }

    /// Waits for the end; gives the rest of standard output and standard error.
    pub fn end(mut self) -> Done {
        let mut out = String::new();
        let status = await_end(&mut self.child);
        self.out.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        Done {
            code: status.code(),
            out,
            err,
        }
    }
}

/// A program whose output nobody reads.
pub struct Ending {
    child: Child,
}

impl Ending {
    /// Waits for the end.
    pub fn end(mut self) -> Done {
        let status = await_end(&mut self.child);
        let mut err = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        Done {
            code: status.code(),
            out: String::new(),
            err,
        }
    }
}

/// Waits for the end; a program that takes too long is killed, and has no exit code then.
fn await_end(child: &mut Child) -> ExitStatus {
    let id = rustix::process::Pid::from_child(child);
    let (ended, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        });
        let status = child.wait().unwrap();
        drop(ended);
        status
    })
}
