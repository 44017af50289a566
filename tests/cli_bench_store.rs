//! `acqbus bench store`: its flags, its lines, its end. What it measures is not for a test.
#![cfg(feature = "cli")]

mod cli_support;

use cli_support::Program;
use serde_json::Value;

#[test]
fn matching_is_measured_without_a_store() {
    let lines = measured(&["--case=matching"]);
    assert_eq!(
        cases(&lines),
        ["matches-1000-types", "tree-10000-subscriptions"]
    );
    for line in &lines {
        assert_eq!(line["bench"], "store");
        assert_eq!(line["unit"], "ns");
        assert_eq!(line["peer"], Value::Null, "no interpreter is named");
    }
}

#[test]
fn small_store_is_asked_opened_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--dir={}", dir.path().display());
    let lines = measured(&[
        "--events=2000",
        "--case=query",
        "--case=open",
        "--case=memory",
        &flag,
    ]);
    let mut expected = vec![
        "latest-one-type",
        "latest-100-types",
        "series-last-100",
        "series-one-type-100",
        "server-page-100",
        "open-after-kill",
        "open-after-kill-committed",
        "bytes-an-event",
    ];
    if cfg!(target_os = "linux") {
        expected.push("scan-above-caches");
    }
    assert_eq!(cases(&lines), expected);
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "what was written is removed");
}

#[test]
fn interpreter_without_the_package_is_named() {
    let done = Program::new()
        .run(&[
            "bench",
            "store",
            "--quick",
            "--events=1000",
            "--case=query",
            "--python=false",
        ])
        .code(2);
    assert!(done.err.contains("hat-event"), "{}", done.err);
}

fn cases(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["case"].as_str().expect("a name"))
        .collect()
}

/// One object a line, whether targets are met or not.
fn measured(args: &[&str]) -> Vec<Value> {
    let mut all = vec!["bench", "store", "--quick", "--runs=1", "--json"];
    all.extend(args);
    let done = Program::new().run(&all);
    assert!(matches!(done.code, Some(0 | 1)), "{}", done.err);
    done.json()
}
