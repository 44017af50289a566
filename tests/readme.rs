//! The README does what it says: its commands are run in their order, as a reader would type them.
//!
//! Each line of a fenced `sh` block is one command, run by bash in an empty folder with the scripts and the program in it.
//! A comment says what is out of the ordinary: `# until Ctrl-C` for what runs until it is interrupted, `# exit code N` for
//! what does not end with 0. A rig that runs until Ctrl-C serves the commands behind it, until the next one starts. What is
//! there `# until the run ends` is started beside the next command, and must have ended behind it. `# without an address` is
//! for a client that must find the rig.
//!
//! Put in place of the real things: `cargo`, which would build all anew, it is noted that it was called; and for `0.0.0.0` and the
//! machine `history.lan` this one at a free port, where `acqbus store serve` listens until the end of the page.
//! The Rust of the README is compiled and run by `cargo test --doc`.
#![cfg(feature = "cli")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandResponse, Dialect, RpcOptions, RpcService, Topic,
    decode_request,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[test]
fn every_command_does_what_it_says() {
    let place = Place::new();
    let commands = commands();
    assert!(commands.len() > 20, "only {} commands", commands.len());
    let mut rig: Option<Rig> = None;
    let mut beside = None;
    let mut server: Option<Server> = None;
    for command in &commands {
        say(&format!("README: {}", command.text));
        if command.is_rig() {
            if let Some(rig) = rig.take() {
                rig.interrupt();
            }
            rig = Some(Rig::start(&place, command));
        } else if command.is_server() {
            assert!(server.is_none(), "one server is enough");
            server = Some(Server::start(&place, command));
        } else if command.until_run_ends {
            let process = start(place.bash(&format!("exec {}", command.text)));
            beside = Some((process, &command.text));
        } else {
            let rig = rig.as_ref().expect("the first command starts a rig");
            run(&place, rig, command, server.as_ref());
            if let Some((process, text)) = beside.take() {
                let (status, out) = finish(process, text);
                assert_eq!(status.code(), Some(0), "{text}\n{out}");
            }
        }
    }
    assert!(beside.is_none(), "nothing follows what waits for a run");
    rig.expect("there is one").interrupt();
    let server = server.expect("a store is served");
    let (status, _) = interrupt(server.process, &server.text);
    assert_eq!(status.code(), Some(130), "{}", server.text);

    let cargo = fs::read_to_string(place.path().join("cargo.log")).expect("cargo was called");
    for call in ["build --release", "install --path .", "test"] {
        assert!(cargo.lines().any(|line| line == call), "{call}: {cargo}");
    }
}

#[test]
fn settings_are_known_to_the_program() {
    let settings = blocks("toml")
        .into_iter()
        .find(|block| block.contains("[simulate]"))
        .expect("an acqbus.toml");
    let place = Place::new();
    fs::write(place.path().join("acqbus.toml"), &settings).expect("a file of ours");
    let done = place.bash("acqbus man send > /dev/null").output();
    let done = done.expect("bash can be started");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn python_client_asks_and_hears() {
    let [code] = &blocks("python")[..] else {
        panic!("not one block of Python");
    };
    assert!(code.lines().count() <= 10, "more than ten lines");
    // What can be seen without an interpreter: that the bytes it sends mean what it says.
    let request = between(code, "send_json(", ")");
    let request = decode_request(request.as_bytes(), 8, Dialect::Plain).expect("a request");
    assert_eq!(request.command(), ApiCommand::GetStatus);
    assert!(code.contains(&format!("\"<I\", {}", Topic::HEARTBEAT.number())));

    let Some(python) = python_with_zmq() else {
        say(
            "README: the Python client was read but not run: no Python with pyzmq is here. \
             `scripts/interop` makes one, or set ACQBUS_PYTHON.",
        );
        return;
    };
    let options = RpcOptions::default().identifier("rig-7").any_port();
    let service = RpcService::launch(options).expect("free ports");
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    let mut command = Command::new(&python);
    command.arg("-c").arg(code);
    with_ports(
        &mut command,
        (service.subscriber_port(), service.command_port()),
    );
    let (status, out) = finish(start(command), "the Python client");
    assert!(status.success(), "{}: {status}", python.display());
    assert_eq!(out, "reply 100\nheartbeat rig-7\n");
}

#[test]
fn pages_that_are_linked_exist() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(top.join("docs")).expect("docs/ is there");
    let pages = pages.map(|entry| entry.expect("docs/ can be read").path());
    let mut links = 0;
    for page in pages.chain([top.join("README.md"), top.join("CHANGELOG.md")]) {
        let text = fs::read_to_string(&page).expect("a page");
        let folder = page.parent().expect("a file is in a folder");
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                let is_there = folder.join(target).exists();
                assert!(is_there, "{} links to {target}", page.display());
                links += 1;
            }
        }
    }
    assert!(links > 5, "only {links} links were found");
}

#[test]
fn files_that_are_named_exist() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = ["tests/", "scripts/", "examples/", "src/", "docs/", "fuzz/"];
    let named = README.split('`').skip(1).step_by(2);
    let mut files = 0;
    for file in named.filter(|name| roots.iter().any(|root| name.starts_with(root))) {
        // `tests/cli_*.rs` stands for all whose name begins so.
        let (start, pattern) = file.split_once('*').unwrap_or((file, ""));
        let (folder, prefix) = start.rsplit_once('/').expect("a folder");
        let is_there = if pattern.is_empty() {
            top.join(file).exists()
        } else {
            let entries = fs::read_dir(top.join(folder)).expect("a folder of ours");
            let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.any(|name| name.starts_with(prefix))
        };
        assert!(is_there, "the README names {file}");
        files += 1;
    }
    assert!(files > 10, "only {files} files were found");
}

/// One line of a `sh` block.
#[derive(Debug)]
struct Line {
    text: String,
    exit_code: i32,
    until_interrupted: bool,
    until_run_ends: bool,
    without_address: bool,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (text, comment) = line.split_once(" # ").unwrap_or((line, ""));
        let exit_code = comment.split_once("exit code ").map_or(0, |(_, code)| {
            let digits: String = code.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number behind `exit code`")
        });
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(Self {
            text,
            exit_code,
            until_interrupted: comment.contains("until Ctrl-C"),
            until_run_ends: comment.contains("until the run ends"),
            without_address: comment.contains("without an address"),
        })
    }

    fn serves(&self) -> bool {
        self.text.starts_with("scripts/run") || self.text.starts_with("acqbus simulate")
    }

    fn is_server(&self) -> bool {
        self.text.starts_with("acqbus store serve") && self.until_interrupted
    }

    fn is_rig(&self) -> bool {
        self.serves() && self.until_interrupted
    }
}

/// A folder as it is after the first build, for the README's commands to be typed in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let program = env!("CARGO_BIN_EXE_acqbus");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        for folder in ["bin", "target/release"] {
            fs::create_dir_all(place.path().join(folder)).expect("a folder of ours");
        }
        for (from, to) in [
            (Path::new(program), "bin/acqbus"),
            (Path::new(program), "target/release/acqbus"),
            (&scripts, "scripts"),
        ] {
            symlink(from, place.path().join(to)).expect("a folder of ours");
        }
        let cargo = place.path().join("bin/cargo");
        let log = place.path().join("cargo.log");
        let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\n", log.display());
        fs::write(&cargo, script).expect("a folder of ours");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a file of ours");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// bash with a command, a home of its own, and the program on its path.
    fn bash(&self, text: &str) -> Command {
        let mut command = Command::new("bash");
        let variables = env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_string_lossy().starts_with("ACQBUS_")) {
            command.env_remove(name);
        }
        let mut path = self.path().join("bin").into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        command
            .args(["-c", text])
            .current_dir(self.path())
            .env("PATH", path)
            .env("HOME", self.path())
            .env("NO_COLOR", "1")
            // Other rigs on this machine are not those of this page.
            .env("ACQBUS_GROUP", format!("readme_{}", std::process::id()))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("RUST_LOG");
        command
    }
}

/// A rig that runs until Ctrl-C.
struct Rig {
    child: Process,
    text: String,
    ports: (u16, u16),
}

impl Rig {
    /// Starts it at free ports and waits until it tells them.
    fn start(place: &Place, command: &Line) -> Self {
        let mut bash = place.bash(&format!("exec {}", command.text));
        with_ports(&mut bash, (0, 0));
        let child = start(bash);
        let deadline = Instant::now() + DEADLINE;
        let ports = loop {
            match child.line(deadline) {
                Some(line) if line.starts_with("events at ") => break ports_in(&line),
                Some(_) => {}
                None => panic!("`{}` told no ports within {DEADLINE:?}", command.text),
            }
        };
        Self {
            child,
            text: command.text.clone(),
            ports,
        }
    }

    fn interrupt(self) {
        let (status, _) = interrupt(self.child, &self.text);
        assert!(
            [Some(0), Some(130)].contains(&status.code()),
            "{}: {status}",
            self.text
        );
    }
}

/// A store that is served until the end of the page.
struct Server {
    process: Process,
    text: String,
    address: String,
}

impl Server {
    fn start(place: &Place, command: &Line) -> Self {
        let text = command.text.replace("0.0.0.0", "127.0.0.1:0");
        let process = start(place.bash(&format!("exec {text}")));
        let line = process.line(Instant::now() + DEADLINE);
        let line = line.unwrap_or_else(|| panic!("`{text}` said nothing within {DEADLINE:?}"));
        let address = between(&line, " at ", " as ").to_owned();
        Self {
            process,
            text,
            address,
        }
    }
}

/// Runs a command against the rig; it must end as it says.
fn run(place: &Place, rig: &Rig, command: &Line, server: Option<&Server>) {
    let address = server.map_or("history.lan", |server| &server.address);
    let text = &command.text.replace("history.lan", address);
    let exec = if command.until_interrupted {
        "exec "
    } else {
        ""
    };
    let mut bash = place.bash(&format!("{exec}{text}"));
    // A second rig on this machine takes other ports.
    let ports = if command.serves() { (0, 0) } else { rig.ports };
    if !command.without_address {
        with_ports(&mut bash, ports);
    }
    let mut process = start(bash);
    if command.until_interrupted {
        let first = process.line(Instant::now() + DEADLINE);
        assert!(first.is_some(), "`{text}` said nothing within {DEADLINE:?}");
        let (status, _) = interrupt(process, text);
        assert_eq!(status.code(), Some(130), "{text}");
    } else {
        drop(process.child.stdin.take());
        let (status, out) = finish(process, text);
        assert_eq!(status.code(), Some(command.exit_code), "{text}\n{out}");
    }
}

/// A running child, its output read by a thread.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// The next line of its output; `None` after its end or the deadline.
    fn line(&self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        let _ = self.child.kill();
    }
}

fn start(mut command: Command) -> Process {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the command can be started");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // Read to the end, also when nobody listens, so that the child never waits for room.
        for line in out.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    Process { child, lines }
}

/// Waits for the end of a process and gives what is left of its standard output.
fn finish(mut process: Process, name: &str) -> (ExitStatus, String) {
    let deadline = Instant::now() + DEADLINE;
    let mut out = String::new();
    while let Some(line) = process.line(deadline) {
        out.push_str(&line);
        out.push('\n');
    }
    assert!(
        Instant::now() < deadline,
        "`{name}` did not end within {DEADLINE:?}"
    );
    let status = process.child.wait().expect("a child of ours");
    (status, out)
}

fn interrupt(process: Process, name: &str) -> (ExitStatus, String) {
    let id = i32::try_from(process.child.id())
        .ok()
        .and_then(Pid::from_raw);
    kill_process(id.expect("a process number"), Signal::INT).expect("it still runs");
    finish(process, name)
}

fn with_ports(command: &mut Command, (subscriber, command_port): (u16, u16)) {
    command
        .env("ACQBUS_SUBSCRIBER_PORT", subscriber.to_string())
        .env("ACQBUS_COMMAND_PORT", command_port.to_string());
}

/// The ports in `events at tcp://127.0.0.1:5556, commands at tcp://127.0.0.1:5557`.
fn ports_in(line: &str) -> (u16, u16) {
    let mut ports = line.split(", commands at ").map(|endpoint| {
        let port = endpoint.rsplit(':').next().unwrap_or_default();
        port.trim().parse().expect("a port")
    });
    let mut port = || ports.next().expect("two endpoints");
    (port(), port())
}

fn python_with_zmq() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_acqbus")).ancestors().nth(2);
    let of_interop = target.map(|target| target.join("interop/v0.12.0/bin/python"));
    let given = env::var_os("ACQBUS_PYTHON").map(PathBuf::from);
    let candidates = [given, of_interop, Some(PathBuf::from("python3"))];
    candidates.into_iter().flatten().find(|python| {
        let probe = Command::new(python)
            .args(["-c", "import zmq"])
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|status| status.success())
    })
}

fn commands() -> Vec<Line> {
    blocks("sh")
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(Line::parse)
        .collect()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README
        .split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = text.split_once(open).expect("the opening");
    rest.split_once(close).expect("the closing").0
}

/// Says something also when the test passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

const README: &str = include_str!("../README.md");

/// Far more than any of the commands needs.
const DEADLINE: Duration = Duration::from_secs(60);
