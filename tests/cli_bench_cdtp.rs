//! `acqbus bench cdtp`: its flags, its lines, its end. What it measures is not for a test.
#![cfg(feature = "cli")]

mod cli_support;

use cli_support::Program;
use serde_json::Value;

#[test]
fn each_case_is_one_object_a_line() {
    let lines = measured(&["64k", "call"]);
    let cases: Vec<_> = lines.iter().map(|line| &line["case"]).collect();
    assert_eq!(cases, ["64k", "send-call-p50", "send-call-p99"]);
    assert_eq!(lines[0]["unit"], "MB/s");
    assert!(lines[0]["limit"].as_f64() > Some(0.0), "{}", lines[0]);
    assert!(lines[0]["ratio"].as_f64() > Some(0.0), "{}", lines[0]);
    assert_eq!(lines[1]["unit"], "ns");
    assert_eq!(lines[1]["limit"], Value::Null, "nothing to compare with");
}

#[test]
fn records_of_an_iterator_are_measured_beside_those_of_a_handler() {
    let lines = measured(&["64b", "64b-alone"]);
    let cases: Vec<_> = lines.iter().map(|line| &line["case"]).collect();
    assert_eq!(cases, ["64b", "64b-iterator", "64b-alone"]);
}

#[test]
fn run_files_are_measured_with_and_without_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--dir={}", dir.path().display());
    let done = Program::new().run(&[
        "bench",
        "cdtp",
        "--quick",
        "--runs=1",
        "--case=disk",
        "--json",
        &flag,
    ]);
    let cases: Vec<_> = lines_of(&done.out)
        .into_iter()
        .map(|line| line["case"].clone())
        .collect();
    assert_eq!(
        cases,
        ["disk-64b", "disk-64b-synced", "disk-64k", "disk-64k-synced"]
    );
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "what was written is removed");
}

#[test]
fn interpreter_without_the_package_is_named() {
    let done = Program::new()
        .run(&["bench", "cdtp", "--quick", "--case=64k", "--python=false"])
        .code(2);
    assert!(done.err.contains("false"), "{}", done.err);
    assert!(done.err.contains("ConstellationDAQ"), "{}", done.err);
}

#[test]
fn the_other_process_is_not_in_the_help() {
    let done = Program::new().run(&["bench", "--help"]).code(0);
    assert!(done.out.contains("cdtp"), "{}", done.out);
    assert!(!done.out.contains("cdtp-peer"), "{}", done.out);
}

/// What a short run of these cases prints.
fn measured(cases: &[&str]) -> Vec<Value> {
    let mut args = vec!["bench", "cdtp", "--quick", "--runs=1", "--json"];
    for case in cases {
        args.extend(["--case", case]);
    }
    let done = Program::new().run(&args);
    // How fast it is is not for a test.
    assert!(matches!(done.code, Some(0 | 1)), "{}", done.err);
    assert_eq!(done.err, "", "no progress without a terminal");
    let lines = lines_of(&done.out);
    for line in &lines {
        let members: Vec<_> = line.as_object().expect("an object").keys().collect();
        let contract = [
            "bench", "case", "unit", "ours", "limit", "ratio", "peer", "runs",
        ];
        assert_eq!(members, contract);
        assert_eq!(line["bench"], "cdtp");
        assert_eq!(line["runs"], 1);
        assert!(line["ours"].as_f64() > Some(0.0), "{line}");
        assert_eq!(line["peer"], Value::Null, "no interpreter is named");
    }
    lines
}

fn lines_of(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect()
}
