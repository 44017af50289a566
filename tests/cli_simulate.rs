//! `acqbus simulate` as a user runs it, and the other verbs against it.
#![cfg(feature = "cli")]

mod cli_support;

use std::io::Write;
use std::process::Stdio;

use cli_support::{Done, PATIENCE, Program, Running};
use expectrl::{Eof, Expect, Session};
use serde_json::{Value, json};

#[test]
fn rig_says_where_it_is_and_ends_with_its_duration() {
    let program = Program::new();
    let args = [
        "simulate",
        "--no-input",
        "--duration",
        "1",
        "--rate",
        "20",
        "--json",
    ];
    let lines = program.run(&free(&args)).code(0).json();
    assert_eq!(lines[0]["notice"], "started");
    assert_ne!(lines[0]["subscriberPort"], 0);
    assert_eq!(lines[0]["version"], "0.12.0");
    let last = lines.last().unwrap();
    assert_eq!(last["notice"], "ended");
    assert!(last["events"].as_u64().unwrap() >= 5, "{last}");
}

#[test]
fn people_are_told_both_endpoints() {
    let program = Program::new();
    let done = program
        .run(&free(&["simulate", "--no-input", "--duration", "0.3"]))
        .code(0);
    assert!(
        done.out.contains("events at tcp://127.0.0.1:"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("commands at tcp://127.0.0.1:"),
        "{}",
        done.out
    );
    assert!(done.err.contains("0 commands"), "{}", done.err);
}

#[test]
fn same_seed_gives_the_same_stream() {
    let program = Program::new();
    let stream = |seed: &str| -> Vec<Value> {
        let args = [
            "simulate",
            "--no-input",
            "--rate",
            "200",
            "--seed",
            seed,
            "--json",
        ];
        let mut rig = Running::start(program.command(&free(&args)));
        rig.line_with("started");
        let mut events = Vec::new();
        while events.len() < 50 {
            events.push(serde_json::from_str(&rig.line_with("notice")).unwrap());
        }
        rig.interrupt();
        rig.end().code(130);
        events
    };
    assert_eq!(stream("7"), stream("7"));
    assert_ne!(stream("7"), stream("8"));
}

#[test]
fn every_verb_works_against_the_rig() {
    let program = Program::new();
    let rig = Rig::start(&program, &["--rate", "50"]);
    let reply = rig
        .run(&program, &["send", "GET_STATUS", "--json"])
        .code(0)
        .json();
    assert_eq!(reply[0]["result"], 100);
    assert!(
        reply[0]["data"]["applicationMode"].is_number(),
        "{}",
        reply[0]
    );
    let wait = [
        "send",
        "USER_DEFINED",
        "--custom-command",
        "1",
        "--data",
        r#"{"seconds":0.2}"#,
        "--wait",
        "--json",
    ];
    let lines = rig.run(&program, &wait).code(0).json();
    assert_eq!(
        (lines[0]["result"].clone(), lines[1]["result"].clone()),
        (json!(201), json!(100))
    );
    rig.run(&program, &["send", "user", "--custom-command", "4"])
        .code(1);
    rig.run(&program, &["listen", "--topic", "EVENT", "--count", "3"])
        .code(0);
    rig.end();
}

#[test]
fn old_version_speaks_the_old_dialect() {
    let program = Program::new();
    let rig = Rig::start(&program, &["--as", "0.9.7", "--rate", "50"]);
    let reply = rig
        .run(&program, &["send", "GET_STATUS", "--json"])
        .code(0)
        .json();
    assert!(reply[0]["data"]["appStatus"].is_number(), "{}", reply[0]);
    rig.run(&program, &["send", "100"]).code(0);
    let lines = rig
        .run(
            &program,
            &["listen", "--topic", "EVENT", "--count", "2", "--json"],
        )
        .code(0)
        .json();
    let event = lines.iter().find(|line| line["topic"] == "EVENT").unwrap();
    assert!(event["body"]["kind"].is_number(), "{event}");
    rig.end();
}

#[test]
fn interrupted_rig_stops_cleanly_with_130() {
    let program = Program::new();
    let mut rig = Running::start(program.command(&free(&["simulate", "--no-input", "--json"])));
    rig.line_with("started");
    rig.interrupt();
    let done = rig.end().code(130);
    assert!(done.out.contains(r#""notice":"ended""#), "{}", done.out);
    assert_eq!(done.err, "");
}

#[test]
fn closed_pipe_ends_the_rig_quietly() {
    let program = Program::new();
    let args = ["simulate", "--no-input", "--rate", "100", "--json"];
    let mut rig = Running::start(program.command(&free(&args)));
    rig.line_with("started");
    let done = rig.close_output().end().code(0);
    assert_eq!(done.err, "");
}

#[test]
fn lines_of_a_pipe_are_published() {
    let program = Program::new();
    let mut command = program.command(&free(&["simulate", "--rate", "0", "--json"]));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = "sessionStarted sessionId=s1\nproperty name=gate\nraw 77 hello\nnonsense\nquit\n";
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    let notices: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let published = |notice: &str| {
        notices
            .iter()
            .filter(|line| line["notice"] == notice)
            .collect::<Vec<_>>()
    };
    assert!(
        published("event")
            .iter()
            .any(|event| event["context"] == json!({"sessionId": "s1"})),
        "{out}"
    );
    assert_eq!(published("property")[0]["change"], json!({"name": "gate"}));
    assert_eq!(published("raw")[0]["body"], "hello");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no kind of event")
    );
}

#[test]
fn person_at_the_prompt_publishes_by_hand() {
    let program = Program::new();
    let mut command = program.command(&free(&["simulate", "--rate", "0"]));
    command.env("TERM", "xterm");
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    session.expect("rig> ").unwrap();
    session.send("sessionSt\t sessionId=s9\r").unwrap();
    session
        .expect(r#"event sessionStarted {"sessionId":"s9"}"#)
        .unwrap();
    session.send("sesionStarted\r").unwrap();
    session.expect("try: sessionStarted").unwrap();
    session.send("quit\r").unwrap();
    session.expect(Eof).unwrap();
}

#[test]
fn rig_that_cannot_start_says_why() {
    let program = Program::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    std::fs::write(
        program.home().join("bad.jsonl"),
        "{\"at\": 1, \"event\": \"brewed\"}\n",
    )
    .unwrap();
    for (args, code, said) in [
        (
            &[
                "simulate",
                "--subscriber-port",
                &port,
                "--command-port",
                "0",
            ][..],
            3,
            "--subscriber-port 0",
        ),
        (
            &[
                "simulate",
                "--reachable",
                "--subscriber-port",
                "0",
                "--command-port",
                "0",
            ],
            5,
            "--insecure",
        ),
        (&["simulate", "--keys", "absent"], 5, "acqbus keys new"),
        (
            &["simulate", "--bind", "no-such-interface"],
            3,
            "no-such-interface",
        ),
        (&["simulate", "--script", "absent.jsonl"], 2, "absent.jsonl"),
        (&["simulate", "--script", "bad.jsonl"], 6, "line 1"),
        (&["simulate", "--as", "0.13.0"], 2, "0.9.7"),
        (&["simulate", "--rate", "-1"], 2, "--rate"),
        (&["simulate", "--seed", "x"], 2, "--seed"),
    ] {
        let done = program
            .run(
                &args
                    .iter()
                    .copied()
                    .chain(["--no-input"])
                    .collect::<Vec<_>>(),
            )
            .code(code);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

/// The arguments with free ports.
fn free<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter()
        .copied()
        .chain(["--subscriber-port", "0", "--command-port", "0"])
        .collect()
}

/// A rig that runs until its test is over.
struct Rig {
    running: Running,
    ports: [String; 2],
}

impl Rig {
    fn start(program: &Program, args: &[&str]) -> Self {
        let args: Vec<_> = ["simulate", "--no-input", "--json", "--quiet"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let mut running = Running::start(program.command(&free(&args)));
        let started: Value = serde_json::from_str(&running.line_with("started")).unwrap();
        let ports = [
            format!("--subscriber-port={}", started["subscriberPort"]),
            format!("--command-port={}", started["commandPort"]),
        ];
        Self { running, ports }
    }

    fn run(&self, program: &Program, args: &[&str]) -> Done {
        let mut command = program.command(args);
        command.args(&self.ports);
        Done::of(command)
    }

    fn end(self) {
        self.running.interrupt();
        self.running.end().code(130);
    }
}

#[test]
fn terminated_rig_ends_well_and_other_verbs_say_which_signal() {
    use rustix::process::Signal;
    let program = Program::new();
    for (signal, code) in [(Signal::TERM, 0), (Signal::HUP, 129)] {
        let mut rig = Running::start(program.command(&free(&["simulate", "--no-input", "--json"])));
        rig.line_with("started");
        rig.signal(signal);
        let done = rig.end().code(code);
        assert!(done.out.contains(r#""notice":"ended""#), "{}", done.out);
    }
    let rig = Rig::start(&program, &["--rate", "50"]);
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut command = program.command(&["listen", "--json"]);
        command.args(&rig.ports);
        let mut listener = Running::start(command);
        listener.line_with("EVENT");
        listener.signal(signal);
        listener.end().code(code);
    }
    rig.end();
}

#[test]
fn what_cannot_be_bound_is_told_with_what_can() {
    let program = Program::new();
    std::fs::write(program.home().join("bad.jsonl"), b"\xff\n").unwrap();
    for (args, code, said) in [
        (&["simulate", "--bind", "nosuch0"][..], 3, "`ip address`"),
        (
            &[
                "simulate",
                "--subscriber-port",
                "5999",
                "--command-port",
                "5999",
            ],
            2,
            "both 5999",
        ),
        (&["simulate", "--script", "bad.jsonl"], 6, "not UTF-8"),
        (&["simulate", "--identifier", ""], 2, "--identifier"),
    ] {
        let done = program.run(args).code(code);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

#[test]
fn every_endpoint_is_told() {
    let program = Program::new();
    let args = [
        "simulate",
        "--no-input",
        "--duration",
        "0.2",
        "--bind",
        "127.0.0.1,127.0.0.2",
        "--identifier",
        "a\u{1b}[2J",
    ];
    let done = program.run(&free(&args)).code(0);
    assert_eq!(
        done.out.matches("tcp://127.0.0.2:").count(),
        2,
        "{}",
        done.out
    );
    assert!(!done.out.contains('\u{1b}'), "{}", done.out);
}
