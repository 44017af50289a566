//! `acqbus bench eventer`: its flags, its lines, its end. What it measures is not for a test.
#![cfg(feature = "cli")]

mod cli_support;

use cli_support::Program;
use serde_json::Value;

#[test]
fn every_case_has_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", "eventer", "--quick", "--runs=1", "--json"];
    let flag = format!("--dir={}", dir.path().display());
    let done = Program::new().run(&[&args[..], &[&flag]].concat());
    assert!(matches!(done.code, Some(0 | 1)), "{}", done.err);
    let lines = done.json();
    let cases: Vec<_> = lines
        .iter()
        .map(|line| line["case"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        cases,
        [
            "register-100",
            "register-100-of-8-clients",
            "requests-of-8-clients",
            "requests-of-1-client",
            "notify-1000-clients-p50",
            "notify-1000-clients-p99",
            "notify-1000-clients-lost",
            "garbage-good-p99",
            "garbage-good-longest",
        ]
    );
    for line in &lines {
        assert_eq!(line["bench"], "eventer");
        assert_eq!(line["peer"], Value::Null, "no interpreter is named");
    }
    assert_eq!(lines[6]["ours"], 0.0, "none is lost");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "what was written is removed");
}

#[test]
fn interpreter_without_the_package_is_named() {
    let args = ["bench", "eventer", "--quick", "--case=requests"];
    let done = Program::new()
        .run(&[&args[..], &["--python=false"]].concat())
        .code(2);
    assert!(done.err.contains("hat-event"), "{}", done.err);
}
