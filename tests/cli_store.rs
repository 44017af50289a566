//! `acqbus store` as a user runs it: recording, asking, following, moving, verifying; alone and beside another program.
#![cfg(feature = "cli")]

mod cli_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acqbus::event::{Event, EventId, EventType, Events, Json, Payload, Timestamp};
use acqbus::store::{Backend, OpenOptions, StoreHandle};
use acqbus::zsocket;
use cli_support::{Done, PATIENCE, Program, Running, Service};
use serde_json::Value;

/// Events as a test wants them: server 1, a second apart, of two types.
fn events(numbers: impl IntoIterator<Item = i64>) -> Events {
    let event = |number: i64| {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        let payload = Json::new(format!("{{\"n\": {number}.50}}")).unwrap();
        let id = EventId::new(1, number, 1);
        let event_type = EventType::new(["rig-1", "event", name]);
        let event = Event::new(id, event_type, Timestamp::new(1_700_000_000 + number, 0));
        Arc::new(event.with_payload(Payload::Json(payload)))
    };
    numbers.into_iter().map(event).collect()
}

/// A store `history` in the program's home, with so many events; closed.
fn filled(program: &Program, count: i64) -> PathBuf {
    let dir = program.home().join("history");
    let store = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    store.register(events(1..=count)).unwrap();
    store.close().unwrap();
    dir
}

/// The store `history`, opened by the test.
fn store_of(program: &Program) -> StoreHandle {
    StoreHandle::open(program.home().join("history"), OpenOptions::default()).unwrap()
}

/// `acqbus store` with the store `history`.
fn store(program: &Program, args: &[&str]) -> Done {
    Done::of(command(program, args))
}

fn command(program: &Program, args: &[&str]) -> Command {
    let mut command = program.command(&["store"]);
    command.args(args).env("ACQBUS_STORE", "history");
    command
}

/// The session numbers of the events among lines of JSON.
fn sessions(done: &Done) -> Vec<i64> {
    let lines = done.json();
    let ids = lines.iter().filter_map(|line| line["id"][1].as_i64());
    ids.collect()
}

fn notice<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    lines
        .iter()
        .find(|line| line["notice"] == name)
        .unwrap_or_else(|| panic!("no notice {name} in {lines:?}"))
}

#[test]
fn latest_event_of_each_type_is_told() {
    let program = Program::new();
    filled(&program, 9);
    let done = store(&program, &["query", "latest", "--json"]).code(0);
    assert_eq!(sessions(&done), [8, 9]);
    let done = store(&program, &["query", "latest", "?/event/odd"]).code(0);
    assert_eq!(
        done.out,
        "2023-11-14T22:13:29.000000Z rig-1/event/odd {\"n\": 9.50} 1.9.1\n"
    );
    assert_eq!(done.err, "-- 1 event\n");
}

#[test]
fn stretch_of_time_is_told_in_either_order_and_page_by_page() {
    let program = Program::new();
    filled(&program, 20);
    let query = |args: &[&str]| {
        let mut all = vec!["query", "timeseries", "--json"];
        all.extend(args);
        sessions(&store(&program, &all).code(0))
    };
    assert_eq!(query(&["--max-results", "3"]), [20, 19, 18]);
    assert_eq!(query(&["--max-results=2", "--order=asc"]), [1, 2]);
    let from = [
        "--from",
        "2023-11-14T22:13:25Z",
        "--to=2023-11-14 22:13:27Z",
    ];
    assert_eq!(query(&from), [7, 6, 5]);
    assert_eq!(query(&["rig-1/*", "--after", "1.3.1"]), [2, 1]);
    assert_eq!(query(&["rig-1/event/odd", "--max-results", "2"]), [19, 17]);
    assert_eq!(query(&["--from", "-10m"]), [0_i64; 0]);
    assert_eq!(query(&["--order-by", "source-timestamp"]), [0_i64; 0]);
    let done = store(&program, &["query", "timeseries", "--max-results", "1"]).code(0);
    assert_eq!(
        done.err,
        "-- 1 event, and more follow: --after 1.20.1, or a larger --max-results\n"
    );
}

#[test]
fn answer_that_is_longer_than_a_page_comes_whole() {
    let program = Program::new();
    filled(&program, 5000);
    let many = ["query", "timeseries", "--max-results", "5000", "--json"];
    let done = store(&program, &many).code(0);
    assert_eq!(sessions(&done), (1..=5000).rev().collect::<Vec<_>>());
    assert_eq!(notice(&done.json(), "end")["moreFollows"], false);
}

#[test]
fn reader_that_stands_still_is_not_cut_off_from_a_store_that_somebody_else_has_open() {
    let program = Program::new();
    let dir = program.home().join("history");
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    // More than a pipe and a socket hold.
    let text = format!("\"{}\"", "x".repeat(1 << 10));
    let small = events(1..=5000);
    let large = small.iter().map(|event| {
        let payload = Payload::Json(Json::new(text.as_str()).unwrap());
        Arc::new((**event).clone().with_payload(payload))
    });
    owner.register(large.collect()).unwrap();
    let args = ["query", "server", "--max-results", "5000", "--json"];
    let mut query = Running::start(command(&program, &args));
    assert!(!query.line().is_empty());
    // As at the owner's limit for a guest that takes nothing.
    owner.close().unwrap();
    let done = query.read_to_end().code(0);
    assert_eq!(sessions(&done), (2..=5000).collect::<Vec<_>>());
    assert_eq!(notice(&done.json(), "end")["events"], 5000);
}

#[test]
fn question_ends_at_ctrl_c_with_what_it_has() {
    let program = Program::new();
    filled(&program, 20000);
    let args = ["query", "server", "--max-results", "20000", "--json"];
    let mut query = Running::start(command(&program, &args));
    assert!(!query.line().is_empty());
    query.interrupt();
    let done = query.read_to_end().code(130);
    let end = notice(&done.json(), "end").clone();
    assert_eq!(end["events"], sessions(&done).len() + 1);
    assert_eq!(end["moreFollows"], true);
}

#[test]
fn events_of_a_server_are_told_in_the_order_of_their_ids() {
    let program = Program::new();
    filled(&program, 5);
    let done = store(&program, &["query", "server", "--after=1.2.1", "--json"]).code(0);
    assert_eq!(sessions(&done), [3, 4, 5]);
    let done = store(&program, &["query", "server", "--server-id", "2", "--json"]).code(0);
    assert_eq!(sessions(&done), [0_i64; 0]);
    let wrong = ["query", "server", "--server-id", "2", "--after", "1.2.1"];
    let done = store(&program, &wrong).code(2);
    assert!(done.err.contains("try: --server-id 1"), "{}", done.err);
}

#[test]
fn what_is_wrong_is_told_with_the_next_step() {
    let program = Program::new();
    let done = program.run(&["store", "query", "latest"]).code(2);
    assert!(done.err.contains("--store <DIR>"), "{}", done.err);
    for verb in [
        &["query", "latest"][..],
        &["tail"],
        &["export"],
        &["replay"],
        &["check"],
        &["stats"],
    ] {
        let done = store(&program, verb).code(2);
        assert!(
            done.err.contains("there is no store in \"history\""),
            "{verb:?}: {}",
            done.err
        );
        assert!(done.err.contains("try: acqbus store record"), "{verb:?}");
        assert!(!program.home().join("history").exists(), "{verb:?} made it");
    }
    filled(&program, 1);
    for (args, text) in [
        (&["query", "latest", "a/*/b"][..], "* at the end"),
        (&["query", "timeseries", "--from", "yesterday"], "RFC 3339"),
        (&["query", "timeseries", "--max-results", "-1"], "-1"),
        (
            &["query", "server", "--after", "7"],
            "SERVER.SESSION.INSTANCE",
        ),
        (&["query", "server", "1"], "try: --server-id 1"),
        (&["query", "server", "-7"], "try: --server-id -7"),
        (&["query", "server", "rig-1/*"], "no event types"),
        (&["replay", "--speed", "0"], "max"),
        (&["tail", "--count", "-5"], "-5 is not a number from 1 on"),
        (&["export", "--format", "xml"], "jsonl"),
        (&["import", "nothing.jsonl"], "nothing.jsonl"),
    ] {
        let done = store(&program, args).code(2);
        assert!(done.err.contains(text), "{args:?}: {}", done.err);
        assert_eq!(done.out, "", "{args:?}");
    }
}

#[test]
fn broken_configuration_names_its_key() {
    let program = Program::new();
    fs::write(program.home().join("keep.toml"), "flush_period = \"often\"").unwrap();
    fs::write(program.home().join("events.jsonl"), "").unwrap();
    let import = ["import", "events.jsonl", "--store-config", "keep.toml"];
    let done = store(&program, &import).code(2);
    assert!(
        done.err.contains("keep.toml: flush_period: "),
        "{}",
        done.err
    );
    assert!(!program.home().join("history").exists());
}

#[test]
fn configuration_stays_with_the_store() {
    let program = Program::new();
    let config = "timeseries_max_results = 3\n[[timeseries]]\norder_by = \"TIMESTAMP\"\nsubscriptions = [\"?/event/odd\"]\n[latest]\nsubscriptions = []\n";
    fs::write(program.home().join("keep.toml"), config).unwrap();
    filled(&program, 10);
    let export = store(&program, &["export"]).code(0);
    fs::write(program.home().join("events.jsonl"), export.out).unwrap();
    let import = "import events.jsonl --store-config keep.toml --store copy --json";
    let import: Vec<_> = import.split(' ').collect();
    let done = store(&program, &import).code(0).json();
    let end = notice(&done, "end");
    assert_eq!((&end["events"], &end["refused"]), (&5.into(), &5.into()));
    let again = ["query", "timeseries", "--store", "copy", "--json"];
    assert_eq!(sessions(&store(&program, &again).code(0)), [9, 7, 5]);
}

#[test]
fn export_and_import_give_the_same_events_again() {
    let program = Program::new();
    filled(&program, 2500);
    let done = store(&program, &["export", "--output", "all.jsonl", "--json"]).code(0);
    assert_eq!(notice(&done.json(), "end")["events"], 2500);
    let import = |dir: &str| {
        let done = store(&program, &["import", "all.jsonl", "--store", dir, "--json"]).code(0);
        let end = notice(&done.json(), "end").clone();
        (end["events"].as_i64(), end["present"].as_i64())
    };
    assert_eq!(import("copy"), (Some(2500), Some(0)));
    assert_eq!(import("copy"), (Some(0), Some(2500)), "a second time");
    let text = fs::read_to_string(program.home().join("all.jsonl")).unwrap();
    let copy = store(&program, &["export", "--store", "copy"]).code(0);
    assert_eq!(copy.out, text, "byte for byte");
    assert_eq!(copy.err, "-- 2500 events exported\n");
    let done = store(&program, &["export", "--output", "all.jsonl"]).code(1);
    assert!(done.err.contains("try: another --output"), "{}", done.err);
    let other = ["import", "all.jsonl", "--server-id", "7", "--store", "copy"];
    store(&program, &other).code(0);
    let both = store(&program, &["export", "--store", "copy"]).code(0);
    assert_eq!(both.out.lines().count(), 5000);
    let stretch = ["export", "rig-1/event/odd", "--to", "2023-11-14T22:13:25Z"];
    assert_eq!(sessions(&store(&program, &stretch).code(0)), [1, 3, 5]);
    let csv = store(&program, &["export", "--format", "csv"]).code(0).out;
    let mut lines = csv.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("server,session,instance,")
    );
    assert_eq!(
        lines.next().unwrap(),
        "1,1,1,2023-11-14T22:13:21.000000Z,,rig-1/event/odd,json,\"{\"\"n\"\": 1.50}\""
    );
    assert_eq!(lines.count(), 2499);
}

#[test]
fn damaged_lines_are_told_and_the_others_imported() {
    let program = Program::new();
    filled(&program, 3);
    let good = store(&program, &["export"]).code(0).out;
    let mut lines: Vec<_> = good.lines().collect();
    lines.insert(1, "{\"id\": [1]}");
    lines.insert(2, "");
    lines.insert(3, "{\"notice\":\"end\"}");
    lines.insert(4, "nonsense");
    fs::write(program.home().join("torn.jsonl"), lines.join("\n")).unwrap();
    let import = ["import", "torn.jsonl", "--store", "copy", "--json"];
    let done = store(&program, &import).code(6).json();
    let damaged: Vec<_> = done
        .iter()
        .filter(|line| line["notice"] == "damage")
        .map(|line| line["line"].as_i64().unwrap())
        .collect();
    assert_eq!(damaged, [2, 5]);
    assert_eq!(notice(&done, "end")["events"], 3);
    let again = store(&program, &["import", "torn.jsonl", "--store", "copy"]).code(6);
    assert!(again.err.contains("line 5: "), "{}", again.err);
    assert!(
        again.err.contains(", 2 lines that are no events"),
        "{}",
        again.err
    );
    fs::write(program.home().join("one.jsonl"), "nonsense").unwrap();
    let one = store(&program, &["import", "one.jsonl", "--store", "copy"]).code(6);
    assert!(one.err.contains(", 1 line that is no event"), "{}", one.err);
}

#[test]
fn pipe_that_is_closed_early_is_a_normal_end() {
    let program = Program::new();
    filled(&program, 5000);
    for args in [
        &["export"][..],
        &["export", "--format", "csv"],
        &["query", "timeseries", "--max-results", "5000"],
        &["tail", "-n", "5000"],
    ] {
        let mut running = Running::start(command(&program, args));
        assert!(!running.line().is_empty());
        let done = running.close_output().end();
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.err);
    }
}

#[test]
fn tail_tells_the_last_events_and_those_that_come() {
    let program = Program::new();
    let dir = filled(&program, 5);
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    let args = ["tail", "?/event/odd", "-n", "2", "--count", "4", "--json"];
    let mut tail = Running::start(command(&program, &args));
    for number in [3, 5] {
        let line: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!(line["id"][1], number);
    }
    owner.register(events(6..=9)).unwrap();
    let done = tail.end().code(0);
    assert_eq!(sessions(&done), [7, 9]);
    assert_eq!(notice(&done.json(), "end")["events"], 4);
}

#[test]
fn tail_ends_at_ctrl_c_and_by_its_duration() {
    let program = Program::new();
    filled(&program, 1);
    let mut tail = Running::start(command(&program, &["tail"]));
    tail.line_with("1.1.1");
    tail.interrupt();
    let done = tail.end().code(130);
    assert_eq!(done.err, "-- 1 event, 0 missed\n");
    store(&program, &["tail", "--duration", "0.2"]).code(0);
    store(&program, &["tail", "--duration", "0.2", "--count", "2"]).code(4);
}

#[test]
fn tail_goes_on_when_the_owner_of_the_store_ends() {
    let program = Program::new();
    let dir = filled(&program, 1);
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    let args = ["tail", "-n", "1", "--count", "3", "--json"];
    let mut tail = Running::start(command(&program, &args));
    tail.line_with("[1,1,1]");
    owner.register(events(2..=2)).unwrap();
    drop(owner);
    let next = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    next.register(events(3..=3)).unwrap();
    let done = tail.end().code(0);
    assert_eq!(sessions(&done), [2, 3]);
}

#[test]
fn verbs_work_while_another_program_has_the_store_open() {
    let program = Program::new();
    let dir = filled(&program, 3);
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    owner.register(events(4..=4)).unwrap();
    owner.flush().unwrap();
    let done = store(&program, &["query", "server", "--json"]).code(0);
    assert_eq!(sessions(&done), [1, 2, 3, 4]);
    assert_eq!(sessions(&store(&program, &["export"]).code(0)).len(), 4);
    let stats = store(&program, &["stats", "--json"]).code(0).json();
    assert_eq!(stats[0]["inUse"], true);
    assert_eq!(
        stats[0]["servers"][0]["lastEventId"],
        serde_json::json!([1, 4, 1])
    );
    store(&program, &["check"]).code(0);
    drop(owner);
    let stats = store(&program, &["stats"]).code(0);
    assert!(
        stats.out.contains("store history: 4 events"),
        "{}",
        stats.out
    );
    assert!(!stats.out.contains("in use"), "{}", stats.out);
}

#[test]
fn store_that_cannot_be_reached_is_told() {
    let program = Program::new();
    let dir = filled(&program, 1);
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    // As on a file system without sockets.
    fs::remove_file(dir.join("store.sock")).unwrap();
    let done = store(&program, &["stats"]).code(3);
    assert!(done.err.contains("in use"), "{}", done.err);
    drop(owner);
}

#[test]
fn damage_is_told_and_the_exit_code_is_6() {
    let program = Program::new();
    let dir = filled(&program, 500);
    let done = store(&program, &["check"]).code(0);
    assert!(
        done.out.starts_with("no damage in 500 events"),
        "{}",
        done.out
    );
    let path = dir.join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let at = position(&bytes, b"{\"n\": 250.50}");
    bytes[at + 7] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let done = store(&program, &["check", "--json"]).code(6);
    let lines = done.json();
    assert!(notice(&lines, "damage")["reason"].is_string());
    assert!(notice(&lines, "end")["damaged"].as_u64() > Some(0));
    store(&program, &["check"]).code(6);
}

#[test]
fn store_that_cannot_be_opened_is_salvaged_into_a_new_one() {
    let program = Program::new();
    let dir = filled(&program, 300);
    let path = dir.join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    // The version, with its checksum before it.
    let mut value = crc32c::crc32c(b"version2").to_le_bytes().to_vec();
    value.push(b'2');
    let found = bytes.windows(5).enumerate();
    let places: Vec<_> = found.filter(|(_, window)| *window == value).collect();
    let places: Vec<_> = places.into_iter().map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    let done = store(&program, &["stats"]).code(6);
    assert!(done.err.contains("export --salvage"), "{}", done.err);
    let bytes = fs::read(&path).unwrap();
    let done = store(&program, &["check"]).code(6);
    assert!(done.out.contains("the entry version"), "{}", done.out);
    store(&program, &["export", "--salvage", "--from", "-1h"]).code(2);

    // Of the events none is damaged.
    store(&program, &["export", "--salvage", "-o", "rest.jsonl"]).code(0);
    let rest = fs::read_to_string(program.home().join("rest.jsonl")).unwrap();
    assert_eq!(rest.lines().count(), 300);
    assert!(fs::read(&path).unwrap() == bytes, "it was changed");
    program
        .run(&["store", "import", "rest.jsonl", "--store", "new"])
        .code(0);
    let again = program.run(&["store", "export", "--store", "new"]).code(0);
    assert_eq!(again.out.lines().count(), 300);

    // Or in its place.
    let done = store(&program, &["check", "--repair", "--json"]).code(0);
    let repaired = notice(&done.json(), "repaired").clone();
    assert_eq!(repaired["events"], 300);
    let aside = program
        .home()
        .join(repaired["damagedFile"].as_str().unwrap());
    assert!(fs::read(aside).unwrap() == bytes, "it was changed");
    store(&program, &["check", "--repair"]).code(0);
    let again = store(&program, &["export"]).code(0);
    assert_eq!(again.out.lines().count(), 300);

    fs::write(&path, b"no store at all").unwrap();
    let rest = program.home().join("none.jsonl");
    let salvage = ["export", "--salvage", "-o", "none.jsonl"];
    store(&program, &salvage).code(6);
    assert!(!rest.exists(), "a file that holds nothing was left");
    store(&program, &["export", "-o", "none.jsonl", "--format", "csv"]).code(6);
    assert!(!rest.exists(), "a file that holds nothing was left");
    for verb in [
        &["check"][..],
        &["check", "--repair"],
        &["export", "--salvage"],
    ] {
        let done = store(&program, verb).code(6);
        assert!(done.err.contains("cannot read this file"), "{}", done.err);
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

#[test]
fn bus_is_recorded_until_ctrl_c() {
    let program = Program::new();
    let service = Service::start();
    let mut args = vec!["record".to_owned(), "--json".to_owned()];
    args.extend(service.flags());
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut record = Running::start(command(&program, &args));
    record.line_with("connected");
    service.event(1331);
    let seen = |wanted: &str| {
        let done = store(&program, &["query", "latest", wanted, "--json"]);
        done.code == Some(0) && !sessions(&done).is_empty()
    };
    let deadline = Instant::now() + PATIENCE;
    while !seen("?/event/sessionStarted") {
        assert!(Instant::now() < deadline, "the event was not recorded");
        // Published again: the first one may have been before the subscription.
        service.event(1331);
    }
    let twice = store(&program, &args).code(1);
    assert!(twice.err.contains("--server-id 2"), "{}", twice.err);
    record.interrupt();
    let done = record.end().code(130);
    let lines = done.json();
    assert!(notice(&lines, "end")["messages"].as_u64() > Some(0));
    assert!(
        seen("?/heartbeat/alive"),
        "and what the service says of itself"
    );
}

#[test]
fn recorder_whose_store_is_removed_tells_and_fails() {
    let program = Program::new();
    let service = Service::start();
    let mut args = vec!["record".to_owned()];
    args.extend(service.flags());
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut record = Running::start(command(&program, &args));
    record.line_with("recording");
    let dir = program.home().join("history");
    service.await_subscriptions(1);
    fs::remove_dir_all(&dir).unwrap();
    record.error_line_with("was removed while it was open");
    record.interrupt();
    let done = record.end().code(1);
    assert!(
        done.err.contains("messages are not in the store"),
        "{}",
        done.err
    );
    assert!(!dir.exists(), "it was made again");
}

#[test]
fn recording_nothing_is_told() {
    let program = Program::new();
    let done = store(
        &program,
        &[
            "record",
            "--duration",
            "0.3",
            "--subscriber-port=9",
            "--command-port=9",
        ],
    );
    let done = done.code(3);
    assert!(
        done.err.contains("nothing came from 127.0.0.1:9"),
        "{}",
        done.err
    );
}

#[test]
fn recorded_rig_comes_out_of_a_replay_byte_for_byte() {
    let program = Program::new();
    let rig = "simulate --store history --rate 1000 --seed 3 --duration 2 --no-input --quiet --no-announce --subscriber-port 0 --command-port 0 --json";
    let rig: Vec<_> = rig.split(' ').collect();
    let lines = Done::of(program.command(&rig)).code(0).json();
    let recorded = notice(&lines, "recorded")["messages"].as_u64().unwrap();
    let published = notice(&lines, "ended")["events"].as_u64().unwrap();
    assert!(published > 500, "only {published} events");
    assert!(recorded >= published, "{recorded} of {published}");
    let replay = replayed(&program, "history");
    assert!(replay.len() > 500, "only {} messages", replay.len());
    // Not `assert_eq`, which would print megabytes.
    let export = bodies(&store(&program, &["export"]).code(0).out);
    let differs = replay.iter().zip(&export).find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert_eq!(replay.len(), export.len());
    store(&program, &["export", "--output", "all.jsonl"]).code(0);
    store(&program, &["import", "all.jsonl", "--store", "copy"]).code(0);
    assert!(replayed(&program, "copy") == replay, "the copy differs");
}

#[test]
fn subscriber_that_reads_slowly_gets_the_end_of_a_replay_too() {
    let program = Program::new();
    let dir = program.home().join("history");
    let store = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    // More than the system holds for a connection.
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let event = |number| {
        let event_type = EventType::new(["rig-1", "event", "large"]);
        let id = EventId::new(1, number, 1);
        let event = Event::new(id, event_type, Timestamp::new(number, 0));
        Arc::new(event.with_payload(Payload::Json(Json::new(large.as_str()).unwrap())))
    };
    store.register((1..=64).map(event).collect()).unwrap();
    store.close().unwrap();
    let (mut replay, socket) = replaying(&program, "history", 1);
    // The time is what is tested: longer than a service waits with its messages when it stops.
    std::thread::sleep(Duration::from_secs(2));
    let mut seen = 0;
    while seen < 64 {
        let message = socket.recv_message(10).unwrap().expect("all of them come");
        seen += usize::from(message.frames[1].len() > 1 << 20);
    }
    drop(socket);
    let end: Value = serde_json::from_str(&replay.line()).unwrap();
    assert_eq!(end["messages"], 64);
    replay.end().code(0);
}

#[test]
fn subscriber_that_never_reads_is_told_of_and_ctrl_c_ends_the_replay() {
    let program = Program::new();
    let dir = program.home().join("history");
    let store = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    let large = format!("\"{}\"", "x".repeat(100 << 10));
    let payload = Payload::Json(Json::new(large.as_str()).unwrap());
    let small = events(1..=1500);
    let large = small.iter().map(|event| {
        let event = (**event).clone();
        Arc::new(event.with_payload(payload.clone()))
    });
    store.register(large.collect()).unwrap();
    store.close().unwrap();
    let (mut replay, stuck) = replaying(&program, "history", 1);
    let waiting: Value = serde_json::from_str(&replay.line()).unwrap();
    assert_eq!(waiting["notice"], "waiting");
    let begin = Instant::now();
    replay.interrupt();
    let done = replay.end().code(130);
    assert!(begin.elapsed() < Duration::from_secs(5));
    // Of 150 MB what the subscriber may have ahead was read, and what waits for the publisher.
    let messages = notice(&done.json(), "end")["messages"].as_u64();
    assert!(messages < Some(1000), "{messages:?}");
    drop(stuck);
    // The store was closed well.
    let again = store_of(&program).stats().unwrap();
    assert_eq!(again.events, 1500);
}

/// Topic and body of each message that a replay at full speed brings to a raw subscriber.
fn replayed(program: &Program, dir: &str) -> Vec<(u32, String)> {
    let (mut replay, socket) = replaying(program, dir, 0);
    let end: Value = serde_json::from_str(&replay.line()).unwrap();
    let messages = end["messages"].as_u64().unwrap();
    let mut seen = Vec::new();
    while (seen.len() as u64) < messages {
        let message = socket.recv_message(10).unwrap().expect("all of them came");
        let topic = u32::from_le_bytes(message.frames[0][..].try_into().unwrap());
        // Heartbeats are those of the replay.
        if topic != 1001 {
            seen.push((
                topic,
                String::from_utf8(message.frames[1].to_vec()).unwrap(),
            ));
        }
    }
    replay.end().code(0);
    seen
}

/// A replay at full speed, and a raw subscriber that holds so many messages unread.
fn replaying(program: &Program, dir: &str, recv_hwm: u32) -> (Running, zsocket::Socket) {
    use zsocket::{Context, Endpoint, SocketKind, SocketOptions};
    let args = "replay --speed max --subscriber-port 0 --command-port 0 --json --store";
    let mut args: Vec<_> = args.split(' ').collect();
    args.push(dir);
    let mut replay = Running::start(command(program, &args));
    let started: Value = serde_json::from_str(&replay.line()).unwrap();
    let port = started["subscriberPort"].as_u64().unwrap();
    let options = SocketOptions::default()
        .recv_hwm(recv_hwm)
        .recv_timeout(Some(PATIENCE));
    let socket = Context::new()
        .unwrap()
        .socket(SocketKind::Sub, &options)
        .unwrap();
    socket.subscribe(b"").unwrap();
    let port = u16::try_from(port).unwrap();
    socket
        .connect(&Endpoint::tcp("127.0.0.1", port).unwrap())
        .unwrap();
    (replay, socket)
}

/// The same out of an export: the text of the payload behind `"json":`, to the two braces at the end of the line.
fn bodies(export: &str) -> Vec<(u32, String)> {
    let body = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let topic = match value["type"][1].as_str().unwrap() {
            "event" => 4001,
            "emergency" => 2001,
            "propertyChange" => 5001,
            "commandResult" => 6001,
            _ => return None,
        };
        let begin = line.find("\"json\":").unwrap() + 7;
        Some((topic, line[begin..line.len() - 2].to_owned()))
    };
    export.lines().filter_map(body).collect()
}

#[test]
fn replay_keeps_the_spacing() {
    let program = Program::new();
    let dir = program.home().join("history");
    let store_handle = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    // Four messages in three seconds, at ten times the speed.
    store_handle.register(events(1..=4)).unwrap();
    store_handle.close().unwrap();
    let begin = Instant::now();
    let args = "replay --speed 10 --wait 0 --subscriber-port 0 --command-port 0 --json";
    let args: Vec<_> = args.split(' ').collect();
    let lines = store(&program, &args).code(0).json();
    assert_eq!(notice(&lines, "end")["messages"], 4);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn replay_waits_for_a_subscriber_and_ends_at_ctrl_c() {
    let program = Program::new();
    filled(&program, 2);
    let args = ["replay", "--subscriber-port", "0", "--command-port", "0"];
    let mut replay = Running::start(command(&program, &args));
    replay.line_with("events at port");
    replay.interrupt();
    let done = replay.end().code(130);
    assert!(
        done.err.contains("waiting for a subscriber"),
        "{}",
        done.err
    );
}

#[test]
fn rig_with_a_store_tells_clients_what_they_missed() {
    let program = Program::new();
    let args = "simulate --store history --rate 100 --no-input --quiet --no-announce --subscriber-port 0 --command-port 0";
    let args: Vec<_> = args.split(' ').collect();
    let mut rig = Running::start(program.command(&args));
    rig.line_with("events at");
    let deadline = Instant::now() + PATIENCE;
    while sessions(&store(
        &program,
        &["query", "timeseries", "?/event/*", "--json"],
    ))
    .is_empty()
    {
        assert!(Instant::now() < deadline, "nothing was recorded");
    }
    rig.interrupt();
    let done = rig.end().code(130);
    assert!(done.err.contains("messages recorded"), "{}", done.err);
    store(&program, &["check"]).code(0);
}

#[test]
fn killed_recorder_leaves_a_store_that_opens() {
    let program = Program::new();
    let args = "simulate --store history --rate 500 --no-input --quiet --no-announce --subscriber-port 0 --command-port 0";
    let args: Vec<_> = args.split(' ').collect();
    let mut rig = Running::start(program.command(&args));
    rig.line_with("events at");
    let persisted = [
        "query",
        "server",
        "--persisted",
        "--max-results",
        "1",
        "--json",
    ];
    let deadline = Instant::now() + PATIENCE;
    while sessions(&store(&program, &persisted)).is_empty() {
        assert!(Instant::now() < deadline, "nothing was flushed");
    }
    rig.signal(rustix::process::Signal::KILL);
    rig.end();
    assert!(Path::new(&program.home().join("history/store.sock")).exists());
    assert!(!sessions(&store(&program, &persisted).code(0)).is_empty());
    store(&program, &["check"]).code(0);
    let again = "simulate --store history --rate 100 --duration 0.5 --no-input --quiet --no-announce --subscriber-port 0 --command-port 0";
    let again: Vec<_> = again.split(' ').collect();
    Done::of(program.command(&again)).code(0);
}

#[test]
fn import_that_waits_for_a_line_ends_at_ctrl_c_with_what_it_has() {
    let program = Program::new();
    let dir = filled(&program, 3);
    let export = store(&program, &["export"]).code(0).out;
    let mut import = command(&program, &["import", "-", "--store", "copy", "--json"]);
    let mut import = import
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(b"this is no event\n").unwrap();
    input.write_all(export.as_bytes()).unwrap();
    let mut lines = BufReader::new(import.stdout.take().unwrap()).lines();
    // It reads, so Ctrl-C is its own by now.
    let damaged = lines.next().unwrap().unwrap();
    assert!(damaged.contains("\"damage\""), "{damaged}");
    let id = rustix::process::Pid::from_child(&import);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(import.wait().unwrap().code(), Some(130));
    drop(input);
    assert!(dir.exists());
}

#[test]
fn store_that_is_no_directory_is_told() {
    let program = Program::new();
    fs::write(program.home().join("history"), "text").unwrap();
    let done = store(&program, &["record", "--duration", "1"]).code(2);
    assert!(done.err.contains("try: a directory"), "{}", done.err);
}

#[test]
fn import_reads_standard_input() {
    let program = Program::new();
    filled(&program, 10);
    let mut export = command(&program, &["export"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut import = command(&program, &["import", "-", "--store", "copy", "--json"]);
    import.stdin(export.stdout.take().unwrap());
    let done = Done::of(import).code(0);
    assert!(export.wait().unwrap().success());
    assert_eq!(notice(&done.json(), "end")["events"], 10);
}
