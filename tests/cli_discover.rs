//! Who is there without an address: `acqbus discover`, and a console that finds its rig.
//!
//! Each test has a group of its own, so that none sees the rigs of another.
#![cfg(feature = "cli")]

mod cli_support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use cli_support::{Done, PATIENCE, Program, Running};
use expectrl::{Expect, Session};
use serde_json::Value;

#[test]
fn rigs_and_senders_are_told_as_they_come_and_go() {
    let (program, group) = (Program::new(), group());
    let mut discover = Running::start(program.command(&["discover", "--json", "--group", &group]));
    let rig = Rig::start(&program, &group, &[]);
    let mut told = |notice: &str| {
        let mut services = [(); 2].map(|()| next(&mut discover));
        services.sort_by_key(|line| line["service"].as_str().map(str::to_owned));
        assert!(services.iter().all(|line| line["notice"] == notice));
        assert_eq!(services[0]["service"], "control");
        assert_eq!(services[0]["port"], rig.started["commandPort"]);
        assert_eq!(services[1]["service"], "monitoring");
        assert_eq!(services[1]["port"], rig.started["subscriberPort"]);
        assert_eq!(services[0]["address"], "127.0.0.1");
    };
    told("discovered");
    rig.running.interrupt();
    told("departed");

    let send = ["run", "send", "--json", "--group", &group];
    let mut sender = Running::start(program.command(&send));
    let started: Value = serde_json::from_str(&sender.line()).unwrap();
    let found = next(&mut discover);
    assert_eq!(found["service"], "data");
    assert_eq!(found["port"], started["port"]);
    sender.interrupt();
    assert_eq!(next(&mut discover)["notice"], "departed");
    discover.interrupt();
    discover.end().code(130);
}

#[test]
fn rig_that_dies_without_a_word_is_told_when_it_is_asked_for() {
    let (program, group) = (Program::new(), group());
    let rig = Rig::start(&program, &group, &[]);
    let args = ["discover", "--json", "--group", &group, "--ageing", "1"];
    let args = [&args[..], &["--service", "control"]].concat();
    let mut discover = Running::start(program.command(&args));
    assert_eq!(next(&mut discover)["notice"], "discovered");
    rig.running.signal(rustix::process::Signal::KILL);
    assert_eq!(next(&mut discover)["notice"], "died");
    discover.interrupt();
    discover.end().code(130);
}

#[test]
fn only_the_service_that_is_asked_for_is_told() {
    let (program, group) = (Program::new(), group());
    let _rig = Rig::start(&program, &group, &[]);
    let discover = |service: &str, flags: &[&str]| {
        let args = [
            "discover",
            "--json",
            "--group",
            &group,
            "--service",
            service,
        ];
        program.run(&[&args[..], flags].concat())
    };
    let found = discover("monitoring", &["--count", "1"]).code(0).json();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["service"], "monitoring");
    // Someone is there, but nobody with data.
    let done = discover("data", &["--duration", "0.5"]).code(0);
    assert_eq!(done.out, "");
    assert!(done.err.contains("--interface all"), "{}", done.err);
    let done = discover("data", &["--duration", "0.5", "--count", "1"]).code(4);
    assert!(done.err.contains("0 of 1 services"), "{}", done.err);
}

#[test]
fn people_read_a_line_for_each_service() {
    let (program, group) = (Program::new(), group());
    let rig = Rig::start(&program, &group, &[]);
    let args = ["discover", "--group", &group, "--count", "2"];
    let done = program.run(&args).code(0);
    for (service, port) in [("control", "commandPort"), ("monitoring", "subscriberPort")] {
        let address = format!("127.0.0.1:{}", rig.started[port]);
        let is_told = |line: &str| {
            line.starts_with("discovered") && line.contains(service) && line.contains(&address)
        };
        assert!(done.out.lines().any(is_told), "{}", done.out);
    }
}

#[test]
fn rig_can_stay_unannounced() {
    let (program, group) = (Program::new(), group());
    let rig = Rig::start(&program, &group, &["--no-announce"]);
    assert_eq!(rig.started["group"], Value::Null);
    let args = ["discover", "--group", &group, "--duration", "0.5"];
    let done = program.run(&args).code(0);
    assert_eq!(done.out, "");
}

#[test]
fn wrong_usage_of_discover_is_told() {
    let program = Program::new();
    for (args, code, said) in [
        (
            &["--service", "datta"][..],
            2,
            "control, heartbeat, monitoring or data",
        ),
        (&["--group", ""], 2, "--group"),
        (&["--interface", "no-such"], 3, "`all`"),
        (&["--count", "0"], 2, "--count"),
        (&["--ageing", "0.5"], 2, "too short"),
        (&["--duration", "0"], 2, "too short"),
    ] {
        let done = program.run(&[&["discover"], args].concat()).code(code);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

#[test]
fn console_without_an_address_drives_the_only_rig() {
    let (program, group) = (Program::new(), group());
    let rig = Rig::start(&program, &group, &["--identifier", "rig-7"]);
    let done = piped(program.command(&["console", "--group", &group])).code(0);
    assert!(done.out.contains("SUCCESS"), "{}", done.out);
    let said = format!("one rig is announced: {}", rig.flags());
    assert!(done.err.contains(&said), "{}", done.err);
    assert!(done.err.contains("connected to rig-7"), "{}", done.err);
}

#[test]
fn several_rigs_in_a_pipe_are_an_error_that_lists_them() {
    let (program, group) = (Program::new(), group());
    let rigs = [(); 2].map(|()| Rig::start(&program, &group, &[]));
    let done = piped(program.command(&["console", "--group", &group])).code(2);
    assert_eq!(done.out, "");
    for rig in &rigs {
        assert!(done.err.contains(&rig.flags()), "{}", done.err);
    }
    // The flags of one of them lead there.
    let flags = rigs[1].flags();
    let mut command = program.command(&["console", "--group", &group]);
    command.args(flags.split(' '));
    piped(command).code(0);
}

#[test]
fn person_chooses_among_several_rigs() {
    let (program, group) = (Program::new(), group());
    let _one = Rig::start(&program, &group, &["--identifier", "rig-one"]);
    let _two = Rig::start(&program, &group, &["--identifier", "rig-two"]);
    let mut command = program.command(&["console", "--group", &group]);
    command.env("TERM", "xterm");
    let mut person = Session::spawn(command).unwrap();
    person.set_expect_timeout(Some(PATIENCE));
    person.expect("Which one? [1-2] ").unwrap();
    person.send_line("7").unwrap();
    person.expect("Which one? [1-2] ").unwrap();
    person.send_line("2").unwrap();
    person.expect("connected to rig-").unwrap();
    person.expect("acqbus> ").unwrap();
    person.send("quit\r").unwrap();
    person.expect(expectrl::Eof).unwrap();
}

#[test]
fn address_that_is_given_is_not_looked_for() {
    let (program, group) = (Program::new(), group());
    let announced = Rig::start(&program, &group, &["--identifier", "announced"]);
    let given = Rig::start(
        &program,
        &group,
        &["--no-announce", "--identifier", "given"],
    );
    let ports = given.ports();
    let by_flag = || {
        let mut command = program.command(&["console"]);
        command.args(given.flags().split(' '));
        command
    };
    let by_variable = || {
        let mut command = program.command(&["console"]);
        command
            .env("ACQBUS_SUBSCRIBER_PORT", &ports[0])
            .env("ACQBUS_COMMAND_PORT", &ports[1]);
        command
    };
    let settings = format!(
        "subscriber-port = {}\ncommand-port = {}\n",
        ports[0], ports[1]
    );
    std::fs::write(program.home().join("given.toml"), settings).unwrap();
    let by_file = || program.command(&["console", "--config", "given.toml"]);
    for mut command in [by_flag(), by_variable(), by_file()] {
        command.args(["--group", &group]);
        let done = piped(command).code(0);
        assert!(done.err.contains("connected to given"), "{}", done.err);
        assert!(!done.err.contains("is announced"), "{}", done.err);
    }
    drop(announced);
}

/// A simulated rig of the program, on free ports, that has told them.
struct Rig {
    running: Running,
    started: Value,
}

impl Rig {
    fn start(program: &Program, group: &str, args: &[&str]) -> Self {
        let mut command = program.command(&["simulate", "--no-input", "--json", "--quiet"]);
        command
            .args(["--subscriber-port", "0", "--command-port", "0"])
            .args(["--heartbeat-interval", "0.5", "--rate", "0"])
            .args(["--group", group])
            .args(args);
        let mut running = Running::start(command);
        let started = serde_json::from_str(&running.line_with("started")).unwrap();
        Self { running, started }
    }

    fn ports(&self) -> [String; 2] {
        ["subscriberPort", "commandPort"].map(|port| self.started[port].to_string())
    }

    fn flags(&self) -> String {
        let [subscriber, command] = self.ports();
        format!("--host 127.0.0.1 --subscriber-port {subscriber} --command-port {command}")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.interrupt();
    }
}

/// Sends one command from a pipe, and waits until the rig has been heard.
fn piped(mut command: Command) -> Done {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = b"USER_DEFINED 1 seconds=1\n";
    // A console that refuses to start reads nothing.
    let _ = child.stdin.take().unwrap().write_all(lines);
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The next line of JSON.
#[track_caller]
fn next(running: &mut Running) -> Value {
    let line = running.line();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

fn group() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("cli_discover_{}_{count}", std::process::id())
}
