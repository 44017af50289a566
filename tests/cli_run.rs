//! `acqbus run`: runs from one program to another, into files and out of them again.
#![cfg(feature = "cli")]

mod cli_support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    DataRecord, DataTransmitter, MessageKind, Run, RunCondition, RunStart, Tags,
    TransmitterOptions, encode_message,
};
use acqbus::zsocket::{Context, Endpoint, Socket, SocketKind, SocketOptions};
use cli_support::{Done, PATIENCE, Program, Running};
use expectrl::{Expect, Session};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn generated_run_arrives_whole() {
    let program = Program::new();
    let flags = ["--records", "5000", "--block-size", "100", "--blocks", "3"];
    let (sent, received) = moved(&program, &[&flags[..], &["--seed", "7"]].concat(), &[]);
    for line in [&sent, &received] {
        assert_eq!(line["records"], 5000);
        assert_eq!(line["bytes"], 1_500_000);
        assert_eq!(line["missed"], 0);
        assert_eq!(line["sha256"], sha256(&splitmix64(7, 1_500_000)));
    }
}

#[test]
fn begin_and_end_are_told_with_their_tags() {
    let program = Program::new();
    let tags = ["--tag", "gain=2.5", "--tag", r#"lens={"mm":[8,12]}"#];
    let sender = Sending::start(
        &program,
        &[&tags[..], &["--run-id", "night_7", "--records", "3"]].concat(),
    );
    let lines = sender.received_by(&program, &["--json"]).code(0).json();
    let notices: Vec<_> = lines.iter().map(|line| line["notice"].clone()).collect();
    assert_eq!(notices, ["started", "bor", "eor", "totals"]);
    assert_eq!(lines[1]["sender"], "Camera.Top");
    assert_eq!(lines[1]["runId"], "night_7");
    assert_eq!(lines[1]["userTags"]["gain"], 2.5);
    assert_eq!(lines[1]["userTags"]["lens"]["mm"][1], 12);
    assert_eq!(lines[2]["runId"], "night_7");
    assert_eq!(lines[2]["condition"], "GOOD");
    assert_eq!(lines[2]["metadata"]["data_records"], 3);
    assert_eq!(lines[2]["sha256"], lines[3]["sha256"]);
    let sent = sender.end().code(0).json();
    assert_eq!(sent[0]["runId"], "night_7");
    assert_eq!(sent[1]["condition"], "GOOD");
}

#[test]
fn sender_is_found_by_group_and_name() {
    let program = Program::new();
    let group = group();
    let flags = ["run", "receive", "--json", "--group", &group, "--name"];
    let wanted = [&flags[..], &["Camera.Right"]].concat();
    let receiver = Running::start(program.command(&wanted));
    let send = |name: &str, records: &str| {
        let flags = ["run", "send", "--json", "--group", &group, "--name", name];
        let args = [&flags[..], &["--records", records]].concat();
        Running::start(program.command(&args))
    };
    let left = send("Camera.Left", "5");
    let right = send("Camera.Right", "9");
    let lines = receiver.end().code(0).json();
    assert_eq!(lines.last().unwrap()["records"], 9);
    right.end().code(0);
    left.interrupt();
    left.end().code(130);
}

#[test]
fn standard_input_arrives_byte_for_byte() {
    let program = Program::new();
    let bytes = splitmix64(1, 100_001);
    let receiver_and = |args: &[&str]| {
        let mut command = program.command(&SEND);
        command.args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut started = String::new();
        out.read_line(&mut started).unwrap();
        let port = port_in(&started);
        let received = Done::of(program.command(&receive_at(port, &["--json"])));
        assert!(child.wait().unwrap().success());
        received.code(0).json().pop().unwrap()
    };
    for args in [&["--stdin"][..], &["--file", "-", "--block-size", "4096"]] {
        let totals = receiver_and(args);
        assert_eq!(totals["bytes"], 100_001);
        assert_eq!(totals["sha256"], sha256(&bytes), "{args:?}");
    }
}

#[test]
fn file_is_sent_again_as_it_was() {
    let program = Program::new();
    let flags = [
        "--records",
        "300",
        "--block-size",
        "5000",
        "--tag",
        "gain=3",
    ];
    let (sent, _) = moved(
        &program,
        &[&flags[..], &["--run-id", "r1"]].concat(),
        &["--output", "runs", "--fsync"],
    );
    let file = only_file(&program, "runs");
    let name = file.to_str().unwrap();
    let inspected = program.run(&["run", "inspect", "--json", name]).code(0);
    let inspected = &inspected.json()[0];
    assert_eq!(inspected["ending"], "complete");
    assert_eq!(inspected["records"], 300);
    assert_eq!(inspected["condition"], "GOOD");
    assert_eq!(inspected["userTags"]["gain"], 3);
    assert_eq!(inspected["runId"], "r1");
    let checked = ["run", "inspect", "--check", "--json", name];
    let checked = &program.run(&checked).code(0).json()[0];
    assert_eq!(checked["sha256"], sent["sha256"]);

    for speed in ["maximal", "original"] {
        let again = ["--file", name, "--speed", speed];
        let (sent_again, received) = moved(&program, &again, &["--output", speed]);
        for line in [sent_again, received] {
            assert_eq!(line["sha256"], sent["sha256"], "{speed}");
            assert_eq!(line["records"], 300);
        }
        let copy = only_file(&program, speed);
        let inspected = ["run", "inspect", "--json", copy.to_str().unwrap()];
        let inspected = &program.run(&inspected).code(0).json()[0];
        assert_eq!(inspected["userTags"]["gain"], 3);
        assert_eq!(inspected["runId"], "r1");
        assert_eq!(inspected["sender"], "Camera.Top");
    }
}

#[test]
fn torn_file_is_told_and_its_records_are_sent() {
    let program = Program::new();
    let flags = ["--records", "100", "--block-size", "1000"];
    moved(&program, &flags, &["--output", "runs"]);
    let file = only_file(&program, "runs");
    let len = file.metadata().unwrap().len();
    let torn = OpenOptions::new().write(true).open(&file).unwrap();
    torn.set_len(len / 2).unwrap();
    let name = file.to_str().unwrap();
    let done = program.run(&["run", "inspect", "--json", name]).code(6);
    let inspected = &done.json()[0];
    assert_eq!(inspected["ending"], "torn");
    let tail = &inspected["tail"];
    let end = tail["offset"].as_u64().unwrap() + tail["bytes"].as_u64().unwrap();
    assert_eq!(end, len / 2);
    let records = inspected["records"].as_u64().unwrap();
    assert!((1..100).contains(&records), "{records}");

    let sender = Sending::start(&program, &["--file", name]);
    let received = sender.received_by(&program, &["--json"]).code(1).json();
    assert_eq!(received.last().unwrap()["records"], records);
    assert_eq!(received[2]["condition"], "INCOMPLETE|ABORTED");
    let done = sender.end().code(6);
    assert!(done.err.contains("run inspect --check"), "{}", done.err);
    let (sent, received) = (done.json().pop(), received.last());
    assert_eq!(sent.unwrap()["sha256"], received.unwrap()["sha256"]);
}

#[test]
fn taken_name_of_a_file_is_treated_as_asked() {
    let program = Program::new();
    let run = ["--records", "2", "--run-id", "r1"];
    let receive = |flags: &[&str]| {
        let sender = Sending::start(&program, &run);
        let done = sender.received_by(&program, &[&["--output", "runs"], flags].concat());
        drop(sender);
        (
            done,
            fs::read_dir(program.home().join("runs")).unwrap().count(),
        )
    };
    let (done, files) = receive(&[]);
    assert_eq!((done.code(0).code, files), (Some(0), 1));
    let (done, files) = receive(&["--conflict", "overwrite"]);
    assert_eq!((done.code(0).code, files), (Some(0), 1));
    let (done, files) = receive(&[]);
    assert_eq!((done.code(0).code, files), (Some(0), 2));
    let (done, _) = receive(&["--conflict", "error"]);
    let done = done.code(1);
    assert!(done.err.contains("--conflict rename"), "{}", done.err);
}

#[test]
fn ctrl_c_ends_the_run_as_interrupted() {
    let program = Program::new();
    let mut sender = Sending::start(&program, &["--rate", "200", "--duration", "600"]);
    let receiver = sender.start_receiver(&program, &["--json"]);
    sender.running.line_with("\"bor\"");
    sender.running.interrupt();
    let sent = sender.end().code(130).json();
    assert_eq!(sent[0]["condition"], "INTERRUPTED");
    // The run is whole, as far as it goes.
    let received = receiver.end().code(0).json();
    assert_eq!(received[2]["condition"], "INTERRUPTED");
    assert_eq!(received[3]["sha256"], sent[1]["sha256"]);
    assert_eq!(received[3]["records"], sent[1]["records"]);
}

#[test]
fn ctrl_c_at_the_receiver_leaves_totals_and_a_readable_file() {
    let program = Program::new();
    let mut sender = Sending::start(
        &program,
        &["--rate", "500", "--duration", "600", "--timeout", "1"],
    );
    let flags = ["--json", "--output", "runs", "--timeout", "0.2"];
    let mut receiver = sender.start_receiver(&program, &flags);
    receiver.line_with("\"bor\"");
    sender.running.line_with("\"bor\"");
    receiver.interrupt();
    let lines = receiver.end().code(130).json();
    assert_eq!(lines[0]["condition"], "ABORTED");
    assert_eq!(lines[0]["substitute"], true);
    assert_eq!(lines[1]["notice"], "totals");
    let file = only_file(&program, "runs");
    let args = [
        "run",
        "inspect",
        "--check",
        "--json",
        file.to_str().unwrap(),
    ];
    let inspected = &program.run(&args).code(1).json()[0];
    assert_eq!(inspected["sha256"], lines[1]["sha256"]);
    // Nobody takes the data any more: that is told once, and the end of the run is not waited for.
    let done = sender.end().code(4);
    assert!(done.err.contains("--timeout"), "{}", done.err);
    let times = done.err.matches("no receiver took").count();
    assert_eq!(times, 1, "{}", done.err);
    let totals = done.json().pop().unwrap();
    assert_eq!(
        (&totals["runs"], &totals["unfinished"]),
        (&0.into(), &1.into())
    );
    assert!(totals["missed"].as_u64() > Some(0), "{totals}");
    assert_eq!(totals["severalReceivers"], false);
}

#[test]
fn run_that_several_receivers_shared_is_told() {
    let program = Program::new();
    let mut sender = Sending::start(&program, &["--rate", "1000", "--duration", "600"]);
    let endpoint = Endpoint::tcp("127.0.0.1", sender.port).unwrap();
    let context = Context::new().unwrap();
    let receivers = [(); 2].map(|()| {
        let options = SocketOptions::default().recv_timeout(Some(PATIENCE));
        let receiver = context.socket(SocketKind::Pull, &options).unwrap();
        receiver.connect(&endpoint).unwrap();
        receiver
    });
    sender.running.line_with("\"bor\"");
    for receiver in &receivers {
        assert!(receiver.recv_message(1).unwrap().is_some());
    }
    sender.running.interrupt();
    let done = sender.end().code(130);
    assert!(
        done.err.contains("several receivers shared the run"),
        "{}",
        done.err
    );
    let lines = done.json();
    assert_eq!(lines[0]["condition"], "TAINTED|INTERRUPTED");
    assert_eq!(lines[0]["severalReceivers"], true);
    assert_eq!(lines[1]["severalReceivers"], true);
}

#[test]
fn second_ctrl_c_ends_at_once() {
    let program = Program::new();
    let mut command = program.command(&SEND);
    command.args([
        "--duration",
        "600",
        "--timeout",
        "600",
        "--block-size",
        "64KiB",
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    // A receiver that takes the begin, and then nothing more.
    let context = Context::new().unwrap();
    let options = SocketOptions::default().recv_hwm(1);
    let receiver = context.socket(SocketKind::Pull, &options).unwrap();
    let endpoint = Endpoint::tcp("127.0.0.1", port_in(&line)).unwrap();
    receiver.connect(&endpoint).unwrap();
    line.clear();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("\"bor\""), "{line}");
    let id = rustix::process::Pid::from_child(&child);
    let interrupt = || rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    await_rest(child.id(), "(acqbus-");
    interrupt();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(errors.any(|line| line.unwrap().contains("again ends at once")));
    await_rest(child.id(), "(acqbus-stop)");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Waits until a program has a thread of this name and all its threads sleep, twice in a row: its data go nowhere.
fn await_rest(process: u32, thread: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut rested = 0;
    while rested < 2 {
        assert!(Instant::now() < deadline, "it is busy, or gone");
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let stats: Vec<String> = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("stat")).ok())
            .collect();
        let rests = stats.iter().any(|stat| stat.contains(thread))
            && stats.iter().all(|stat| stat.contains(") S "));
        rested = if rests { rested + 1 } else { 0 };
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn missing_records_are_a_failure_that_is_counted() {
    let program = Program::new();
    let transmitter = transmitter();
    let receiver = start_receiver(&program, transmitter.port(), &["--json"]);
    let run = Run::begin(&transmitter, RunStart::new("gaps")).unwrap();
    for number in 1..=10 {
        let record = run.new_data_record().with_block(b"abc");
        if number % 5 != 0 {
            run.send_data_record(record).unwrap();
        }
    }
    run.finish(RunCondition::GOOD).unwrap();
    let lines = receiver.end().code(1).json();
    let of = |notice: &str| {
        let found = lines.iter().filter(|line| line["notice"] == notice);
        found.collect::<Vec<_>>()
    };
    assert_eq!(of("lost").len(), 2, "{lines:?}");
    assert_eq!(of("lost")[0]["first"], 5);
    assert_eq!(of("eor")[0]["condition"], "INCOMPLETE");
    assert_eq!(of("totals")[0]["missed"], 2);
    assert_eq!(of("totals")[0]["records"], 8);
}

#[test]
fn gaps_larger_than_numbers_can_tell_are_counted_as_the_largest() {
    let program = Program::new();
    let (push, port) = push();
    let receiver = start_receiver(&program, port, &["--json", "--count", "2"]);
    let none = Tags::new();
    let encoding = acqbus::cdtp::Encoding::Compact;
    for sender in ["A.a", "B.b"] {
        let bor = acqbus::cdtp::encode_bor(sender, &none, &none, encoding).unwrap();
        push.send(bor.into(), false).unwrap();
    }
    for sender in ["A.a", "B.b"] {
        let last = [DataRecord::new(u64::MAX).with_block(b"abc")];
        let data = encode_message(sender, MessageKind::Data, &last, encoding).unwrap();
        let eor = acqbus::cdtp::encode_eor(sender, &none, &none, encoding).unwrap();
        push.send(data.into(), false).unwrap();
        push.send(eor.into(), false).unwrap();
    }
    let lines = receiver.end().code(1).json();
    let totals = lines.last().unwrap();
    assert_eq!(totals["missed"], u64::MAX, "{lines:?}");
    assert_eq!(totals["runs"], 2);
}

#[test]
fn run_that_cannot_be_written_leaves_those_of_others_alone() {
    let program = Program::new();
    let taken = Sending::start(&program, &["--records", "2", "--run-id", "r"]);
    fs::create_dir(program.home().join("runs")).unwrap();
    fs::write(program.home().join("runs/r@Camera.Top.acqrun"), "taken").unwrap();
    let other = ["--records", "3", "--run-id", "r", "--name", "Camera.Side"];
    let other = Sending::start(&program, &other);
    let address = format!("127.0.0.1:{}", other.port);
    let flags = ["--json", "--output", "runs", "--conflict", "error"];
    let done = taken.received_by(&program, &[&flags[..], &["--connect", &address]].concat());
    let done = done.code(1);
    assert!(done.err.contains("--conflict rename"), "{}", done.err);
    let lines = done.json();
    assert!(lines.iter().any(|line| line["notice"] == "unwritten"));
    assert_eq!(lines.last().unwrap()["records"], 5, "{lines:?}");
    assert!(program.home().join("runs/r@Camera.Side.acqrun").exists());
}

#[test]
fn run_whose_sender_is_silent_is_told() {
    let program = Program::new();
    let transmitter = transmitter();
    let address = format!("127.0.0.1:{}", transmitter.port());
    let args = ["run", "receive", "--connect", &address, "--duration", "10"];
    let receiver = thread::scope(|scope| {
        let receiver = scope.spawn(|| program.run(&args));
        transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
        receiver.join().unwrap()
    });
    let done = receiver.code(1);
    assert!(done.err.contains("may be gone"), "{}", done.err);
}

#[test]
fn silence_longer_than_idle_gives_4_within_a_run_and_before_one() {
    let program = Program::new();
    let transmitter = transmitter();
    let address = format!("127.0.0.1:{}", transmitter.port());
    let receive = ["run", "receive", "--json", "--connect", &address];
    let args = [&receive[..], &["--idle", "0.4"]].concat();
    let done = program.run(&args).code(4);
    assert!(done.err.contains("no run from"), "{}", done.err);
    assert!(done.err.contains("within 0.4 s"), "{}", done.err);
    let mut receiver = Running::start(program.command(&args));
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    receiver.line_with("\"bor\"");
    let done = receiver.end().code(4);
    let text = "nothing came in 1 open run within 0.4 s";
    assert_eq!(done.err.matches(text).count(), 1, "{}", done.err);
    let lines = done.json();
    assert_eq!(lines[0]["condition"], "ABORTED");
    assert_eq!(lines[1]["runs"], 1);
}

#[test]
fn sender_that_starts_anew_is_received_to_its_end() {
    let program = Program::new();
    let transmitter = transmitter();
    let receiver = start_receiver(&program, transmitter.port(), &["--json"]);
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    let run = Run::begin(&transmitter, RunStart::new("anew")).unwrap();
    run.send_data_record(run.new_data_record().with_block(b"abc"))
        .unwrap();
    run.finish(RunCondition::GOOD).unwrap();
    let lines = receiver.end().code(1).json();
    let ends: Vec<_> = lines.iter().filter(|l| l["notice"] == "eor").collect();
    assert_eq!(ends[0]["substitute"], true);
    assert_eq!(ends[1]["condition"], "GOOD");
    assert_eq!(ends[1]["records"], 1);
    assert_eq!(lines.last().unwrap()["runs"], 2);
}

#[test]
fn unusable_message_is_bad_data_and_the_run_goes_on() {
    let program = Program::new();
    let (push, port) = push();
    let receiver = start_receiver(&program, port, &["--json"]);
    let none = Tags::new();
    let encoding = acqbus::cdtp::Encoding::Compact;
    let bor = acqbus::cdtp::encode_bor("A.b", &none, &none, encoding).unwrap();
    let eor = acqbus::cdtp::encode_eor("A.b", &none, &none, encoding).unwrap();
    for bytes in [bor, b"nonsense".to_vec(), eor] {
        push.send(bytes.into(), false).unwrap();
    }
    let lines = receiver.end().code(6).json();
    assert_eq!(lines[2]["notice"], "fault");
    assert_eq!(lines[3]["condition"], "TAINTED");
    assert_eq!(lines[4]["faults"], 1);
}

#[test]
fn several_senders_are_received_side_by_side() {
    let program = Program::new();
    let one = Sending::start(&program, &["--records", "2000", "--seed", "1"]);
    let two = Sending::start(
        &program,
        &["--records", "1000", "--seed", "2", "--name", "Camera.Side"],
    );
    let address = format!("127.0.0.1:{}", two.port);
    let flags = ["--json", "--output", "runs", "--connect", &address];
    let lines = one.received_by(&program, &flags).code(0).json();
    let ends: Vec<_> = lines.iter().filter(|l| l["notice"] == "eor").collect();
    assert_eq!(ends.len(), 2);
    for end in ends {
        let (seed, bytes) = match end["sender"].as_str() {
            Some("Camera.Top") => (1, 2_048_000),
            Some("Camera.Side") => (2, 1_024_000),
            other => panic!("{other:?}"),
        };
        assert_eq!(end["sha256"], sha256(&splitmix64(seed, bytes)));
    }
    let totals = lines.last().unwrap();
    assert_eq!(totals["records"], 3000);
    assert_eq!(totals["runs"], 2);
    one.end().code(0);
    two.end().code(0);
    assert_eq!(
        fs::read_dir(program.home().join("runs")).unwrap().count(),
        2
    );
}

#[test]
fn runs_follow_one_another() {
    let program = Program::new();
    let flags = ["--records", "10", "--count", "3", "--run-id", "r"];
    let sender = Sending::start(&program, &flags);
    let lines = sender.received_by(&program, &["--json", "--runs", "3"]);
    let lines = lines.code(0).json();
    let ids: Vec<_> = lines.iter().filter(|l| l["notice"] == "eor").collect();
    let ids: Vec<_> = ids.iter().map(|line| line["runId"].clone()).collect();
    assert_eq!(ids, ["r-1", "r-2", "r-3"]);
    let bytes = splitmix64(0, 10_240).repeat(3);
    assert_eq!(lines.last().unwrap()["sha256"], sha256(&bytes));
    let sent = sender.end().code(0).json();
    assert_eq!(sent.last().unwrap()["sha256"], sha256(&bytes));
    assert_eq!(sent.last().unwrap()["runs"], 3);
}

#[test]
fn duration_ends_a_run_as_good() {
    let program = Program::new();
    let (sent, received) = moved(&program, &["--duration", "0.2", "--rate", "1000"], &[]);
    assert!(sent["records"].as_u64().unwrap() > 0);
    assert_eq!(sent["sha256"], received["sha256"]);
}

#[test]
fn nothing_is_hashed_when_nobody_wants_it() {
    let program = Program::new();
    let (sent, received) = moved(&program, &["--no-hash"], &["--no-hash"]);
    assert_eq!(sent["sha256"], Value::Null);
    assert_eq!(received["sha256"], Value::Null);
    assert_eq!(received["bytes"], 1_024_000);
}

#[test]
fn nobody_at_the_other_end_gives_4() {
    let program = Program::new();
    let send = [&SEND[..], &["--timeout", "0.2"]].concat();
    let done = program.run(&send).code(4);
    assert!(done.err.contains("acqbus run receive"), "{}", done.err);
    let absent = format!("127.0.0.1:{}", free_port());
    let receive = ["run", "receive", "--connect", &absent];
    for (flags, said) in [
        (&["--timeout", "0.2"][..], "acqbus run send"),
        (&["--duration", "0.2"], "acqbus run send"),
        (&["--duration", "0.2", "--count", "2"], "0 of 2 runs"),
    ] {
        let done = program.run(&[&receive[..], flags].concat()).code(4);
        assert!(done.err.contains(said), "{flags:?}: {}", done.err);
        assert!(done.err.contains("0 records"), "{flags:?}: {}", done.err);
    }
    let group = group();
    let alone = ["run", "receive", "--group", &group, "--timeout", "0.2"];
    let done = program.run(&alone).code(4);
    assert!(done.err.contains("--interface all"), "{}", done.err);
}

#[test]
fn wrong_usage_is_told_with_the_next_step() {
    let program = Program::new();
    fs::write(program.home().join("raw"), b"no run file").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, said) in [
        (&["send", "--bind", &taken][..], 3, "free port"),
        (&["send", "--bind", "0.0.0.0:0"], 5, "--insecure"),
        (&["send", "--bind", "127.0.0.1:x"], 2, "HOST:PORT"),
        (&["send", "--name", "Camera"], 2, "--name Camera.Top"),
        (&["send", "--run-id", "a b"], 2, "--run-id night_7"),
        (&["send", "--tag", "gain"], 2, "key=value"),
        (&["send", "--tag", "gain={"], 2, "--tag"),
        (&["send", "--block-size", "3GiB"], 2, "1024 MiB"),
        (
            &["send", "--block-size", "1GiB", "--blocks", "2"],
            2,
            "smaller",
        ),
        (&["send", "--rate", "0"], 2, "--rate"),
        (&["send", "--stdin", "--count", "2"], 2, "--records"),
        (&["send", "--stdin", "--block-size", "0"], 2, "--block-size"),
        (&["send", "--stdin", "--records", "2"], 2, "--records"),
        (&["send", "--file", "absent"], 2, "absent"),
        (&["send", "--file", "raw"], 6, "--stdin < raw"),
        (&["send", "--file", "raw", "--tag", "a=1"], 2, "--tag"),
        (
            &["send", "--file", "raw", "--block-size", "5"],
            2,
            "--block-size",
        ),
        (&["send", "--file", "raw", "--seed", "5"], 2, "--seed"),
        (&["send", "--speed", "original"], 2, "--rate"),
        (&["send", "--stdin", "--seed", "5"], 2, "--seed"),
        (&["receive", "--connect", "127.0.0.1"], 2, "port is missing"),
        (&["receive", "--connect", "127.0.0.1:0"], 2, "port 0"),
        (
            &["receive", "--connect", "127.0.0.1:5", "--name", "A.b"],
            2,
            "--name",
        ),
        (&["receive", "--interface", "no-such"], 3, "`all`"),
        (&["receive", "--conflict", "ask"], 2, "rename"),
        (&["receive", "--name", "Camera"], 2, "--name Camera.Top"),
        (&["receive", "--output", "raw"], 2, "no folder"),
        (&["receive", "--output", "raw/sub"], 2, "no folder"),
        (&["inspect", "absent"], 2, "absent"),
        (&["inspect", "."], 2, "the path of a run file"),
        (&["inspect", "raw"], 6, "not a run file"),
        (&["inspect"], 2, "<FILE>"),
    ] {
        let done = program.run(&[&["run"], args].concat()).code(code);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
    // Before anything is bound, announced or told.
    let done = program.run(&["run", "send", "--run-id", "a/b"]).code(2);
    assert!(done.out.is_empty(), "{}", done.out);
}

#[test]
fn person_at_a_terminal_sees_the_progress() {
    let program = Program::new();
    let sender = Sending::start(&program, &["--rate", "100", "--duration", "600"]);
    let command = program.command(&receive_at(sender.port, &[]));
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    session.expect("begins a run").unwrap();
    session.expect("records/s").unwrap();
    session.expect("0 missed").unwrap();
    sender.running.interrupt();
    session.expect("INTERRUPTED").unwrap();
    session.expect("sha256").unwrap();
    sender.end().code(130);
}

/// Sends and receives a run; the last lines of both.
fn moved(program: &Program, send: &[&str], receive: &[&str]) -> (Value, Value) {
    let sender = Sending::start(program, send);
    let received = sender.received_by(program, &[&["--json"], receive].concat());
    let received = received.code(0).json().pop().unwrap();
    let sent = sender.end().code(0).json().pop().unwrap();
    assert_eq!(sent["notice"], "totals");
    assert_eq!(received["notice"], "totals");
    (sent, received)
}

/// A sender that has told its port; not announced.
struct Sending {
    running: Running,
    port: u16,
}

impl Sending {
    fn start(program: &Program, args: &[&str]) -> Self {
        let mut command = program.command(&SEND);
        command.args(args);
        let is_named = args.iter().any(|arg| ["--name", "--file"].contains(arg));
        if !is_named {
            command.args(["--name", "Camera.Top"]);
        }
        let mut running = Running::start(command);
        let port = port_in(&running.line_with("started"));
        Self { running, port }
    }

    fn received_by(&self, program: &Program, args: &[&str]) -> Done {
        program.run(&receive_at(self.port, args))
    }

    fn start_receiver(&self, program: &Program, args: &[&str]) -> Running {
        start_receiver(program, self.port, args)
    }

    fn end(self) -> Done {
        self.running.end()
    }
}

fn start_receiver(program: &Program, port: u16, args: &[&str]) -> Running {
    Running::start(program.command(&receive_at(port, args)))
}

fn receive_at<'a>(port: u16, args: &[&'a str]) -> Vec<&'a str> {
    // Some dozen bytes for each receiver that a test starts.
    let address: &str = Box::leak(format!("127.0.0.1:{port}").into_boxed_str());
    [&["run", "receive", "--connect", address], args].concat()
}

fn port_in(line: &str) -> u16 {
    let started: Value = serde_json::from_str(line).unwrap();
    let port = started["port"].as_u64();
    port.and_then(|port| port.try_into().ok()).unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn transmitter() -> DataTransmitter {
    let endpoint = Endpoint::tcp("127.0.0.1", 0).unwrap();
    let options = TransmitterOptions::default()
        .timeouts(Some(PATIENCE))
        .linger(Duration::from_secs(5));
    DataTransmitter::bind("Camera.Top", &endpoint, options).unwrap()
}

/// A socket that sends any bytes, and its port.
fn push() -> (Socket, u16) {
    let push = Context::new()
        .unwrap()
        .socket(SocketKind::Push, &SocketOptions::default())
        .unwrap();
    let endpoint = push.bind(&Endpoint::tcp("127.0.0.1", 0).unwrap()).unwrap();
    (push, endpoint.port().unwrap())
}

/// A group that no other test has.
fn group() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("cli_run_{}_{count}", std::process::id())
}

fn only_file(program: &Program, folder: &str) -> PathBuf {
    let files = fs::read_dir(program.home().join(folder)).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else {
        panic!("not one file: {files:?}");
    };
    file.clone()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `--seed` promises, made another way.
fn splitmix64(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

const SEND: [&str; 4] = ["run", "send", "--json", "--no-announce"];
