//! `acqbus bench rpc`: its flags, its lines, its end. What it measures is not for a test.
#![cfg(feature = "cli")]

mod cli_support;

use cli_support::Program;
use serde_json::Value;

#[test]
fn each_case_is_one_object_a_line() {
    let done = Program::new().run(&[
        "bench",
        "rpc",
        "--quick",
        "--runs=1",
        "--case=send-event",
        "--json",
    ]);
    let lines: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect();
    let cases: Vec<_> = lines.iter().map(|line| &line["case"]).collect();
    assert_eq!(cases, ["send-event-call-p50", "send-event-call-p99"]);
    // How long a call takes is not for a test; that the exit code says it is.
    let is_over = |at: usize, target| lines[at]["ours"].as_f64() > Some(target);
    let missed = is_over(0, 1.0) || is_over(1, 10.0);
    assert_eq!(done.code, Some(i32::from(missed)), "{}", done.out);
    for line in lines {
        let members: Vec<_> = line.as_object().expect("an object").keys().collect();
        let contract = [
            "bench", "case", "unit", "ours", "limit", "ratio", "peer", "runs",
        ];
        assert_eq!(members, contract);
        assert_eq!(line["bench"], "rpc");
        assert_eq!(line["runs"], 1);
        assert!(line["ours"].as_f64() > Some(0.0), "{line}");
        assert_eq!(line["peer"], Value::Null, "no interpreter is named");
    }
    assert_eq!(done.err, "", "no progress without a terminal");
}

#[test]
fn unknown_case_is_wrong_usage() {
    let done = Program::new()
        .run(&["bench", "rpc", "--case", "coffee"])
        .code(2);
    assert!(done.err.contains("round-trip"), "{}", done.err);
}

#[test]
fn interpreter_without_the_package_is_named() {
    let done = Program::new()
        .run(&[
            "bench",
            "rpc",
            "--quick",
            "--case=send-event",
            "--python=false",
        ])
        .code(2);
    assert!(done.err.contains("false"), "{}", done.err);
    assert!(done.err.contains("auto-trainer-api"), "{}", done.err);
}
