//! `acqbus listen --since` and `--from-sequence` as a user runs them, against a service that remembers and one that does not.
#![cfg(feature = "cli")]

mod cli_support;

use std::sync::Arc;

use acqbus::relay::BusMemory;
use acqbus::rpc::{RpcOptions, RpcService, Topic};
use acqbus::store::{Callbacks, MemoryBackend};
use cli_support::Program;
use serde_json::{Value, json};

/// A service that remembers five events, with its memory.
fn remembering() -> (RpcService, BusMemory) {
    let memory = BusMemory::open(Arc::new(MemoryBackend::new(Callbacks::default()))).unwrap();
    let options = RpcOptions::default().identifier("rig").any_port();
    let service = RpcService::new(memory.options(options));
    memory.record(&service).unwrap();
    service.start().unwrap();
    for index in 1..=5 {
        let event = json!({"kind": 1101, "when": 5.0, "index": index, "context": null});
        service.send_dict(Topic::EVENT, &event).unwrap();
    }
    (service, memory)
}

fn listen(service: &RpcService, arguments: &[&str]) -> Vec<String> {
    let ports = [
        format!("--subscriber-port={}", service.subscriber_port()),
        format!("--command-port={}", service.command_port()),
    ];
    let words = ["listen", "--topic", "EVENT", "--json"];
    let words = words.iter().chain(arguments).copied();
    words
        .chain(ports.iter().map(String::as_str))
        .map(str::to_owned)
        .collect()
}

fn run(program: &Program, service: &RpcService, arguments: &[&str]) -> Vec<Value> {
    let words = listen(service, arguments);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    program.run(&words).code(0).json()
}

fn indexes(lines: &[Value]) -> Vec<u64> {
    let bodies = lines.iter().filter_map(|line| line.get("body"));
    bodies.map(|body| body["index"].as_u64().unwrap()).collect()
}

fn notices(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line["notice"].as_str())
        .collect()
}

#[test]
fn since_prints_what_was_published_before() {
    let (program, (service, _memory)) = (Program::new(), remembering());
    for since in ["10m", "1970-01-01T00:00:00Z"] {
        let lines = run(&program, &service, &["--since", since, "--count", "5"]);
        assert_eq!(indexes(&lines), [1, 2, 3, 4, 5]);
        assert_eq!(notices(&lines), ["connected", "resumed", "end"]);
    }
}

#[test]
fn from_sequence_prints_that_number_and_what_follows() {
    let (program, (service, _memory)) = (Program::new(), remembering());
    let lines = run(
        &program,
        &service,
        &["--from-sequence", "4", "--count", "2"],
    );
    assert_eq!(indexes(&lines), [4, 5]);
    assert_eq!(notices(&lines), ["connected", "resumed", "end"]);
}

#[test]
fn number_that_lies_ahead_is_told() {
    let (program, (service, _memory)) = (Program::new(), remembering());
    let ahead = ["--from-sequence", "100", "--duration", "2"];
    let lines = run(&program, &service, &ahead);
    assert_eq!(indexes(&lines), [0_u64; 0]);
    assert_eq!(notices(&lines), ["connected", "ahead", "end"]);
    let told = lines.iter().find(|line| line["notice"] == "ahead").unwrap();
    assert_eq!((&told["from"], &told["next"]), (&100.into(), &6.into()));
    // The next one is what is waited for, and nothing to tell of.
    let next = ["--from-sequence", "6", "--duration", "2"];
    let lines = run(&program, &service, &next);
    assert_eq!(notices(&lines), ["connected", "resumed", "end"]);
}

#[test]
fn service_without_history_is_told_of() {
    let program = Program::new();
    let service = RpcService::launch(RpcOptions::default().any_port()).unwrap();
    let lines = run(&program, &service, &["--since", "1h", "--duration", "2"]);
    assert_eq!(notices(&lines), ["connected", "noHistory", "end"]);
}

#[test]
fn times_and_numbers_that_are_none_are_refused() {
    let program = Program::new();
    for (arguments, said) in [
        (&["--since", "10"][..], "10m or 2h"),
        (
            &["--from-sequence", "0", "--topic", "EVENT"],
            "--from-sequence",
        ),
        (
            &["--from-sequence", "-5", "--topic", "EVENT"],
            "-5 is not a number from 1 on",
        ),
        (&["--from-sequence", "3"], "--topic"),
        (
            &["--from-sequence", "3", "--since", "1m", "--topic", "EVENT"],
            "cannot be used with",
        ),
    ] {
        let words: Vec<&str> = ["listen"].iter().chain(arguments).copied().collect();
        let done = program.run(&words).code(2);
        assert!(done.err.contains(said), "{}", done.err);
    }
}
