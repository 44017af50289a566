//! `acqbus send` and `acqbus listen` as a user runs them, against a service of this library.
#![cfg(feature = "cli")]

mod cli_support;

use acqbus::rpc::{ApiCommand, Topic};
use cli_support::{Done, Program, Running, Service};
use serde_json::{Value, json};

#[test]
fn send_prints_the_reply_object_as_one_line() {
    let (program, service) = (Program::new(), Service::start());
    let done = program
        .run_at(&service, &["send", "GET_STATUS", "--json", "--nonce", "12"])
        .code(0);
    let mut replies = done.json();
    assert_eq!(replies.len(), 1, "{}", done.out);
    assert_eq!(replies[0]["data"].take()["applicationMode"], 0);
    assert_eq!(
        replies[0],
        json!({
            "nonce": 12, "command": 400, "result": 100, "data": null,
            "errorKind": 0, "errorCode": 0, "errorMessage": null
        })
    );
    assert_eq!(done.err, "");
}

#[test]
fn send_understands_prefix_number_and_dashes() {
    let (program, service) = (Program::new(), Service::start());
    for command in ["get-status", "get_s", "400"] {
        let done = program.run_at(&service, &["send", command]).code(0);
        assert!(
            done.out.contains("GET_STATUS") && done.out.contains("SUCCESS"),
            "{}",
            done.out
        );
    }
    assert_eq!(service.commands(), [ApiCommand::GetStatus; 3]);
}

#[test]
fn send_waits_for_the_result() {
    let (program, service) = (Program::new(), Service::start());
    let args = [
        "send",
        "USER_DEFINED",
        "--custom-command",
        "1",
        "--data",
        r#"{"seconds":0.2}"#,
        "--wait",
        "--json",
    ];
    let lines = program.run_at(&service, &args).code(0).json();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["result"], 201);
    assert_eq!(lines[1]["result"], 100);
    assert_eq!(lines[0]["nonce"], lines[1]["nonce"]);
    assert_eq!(lines[1]["command"], 99999);
}

#[test]
fn send_gives_1_when_the_peer_says_no() {
    let (program, service) = (Program::new(), Service::start());
    for (args, result) in [
        (&["send", "user", "--custom-command", "4"][..], 400),
        (&["send", "user", "--custom-command", "2"], 500),
        (&["send", "user", "--custom-command", "55"], 0),
        (
            &["send", "SET_TRAINING_MODE", "--data", r#"{"mode":0}"#],
            9999,
        ),
    ] {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        let done = program.run_at(&service, &args).code(1);
        assert_eq!(done.json()[0]["result"], result, "{args:?}");
    }
    let args = ["send", "user", "--custom-command", "10", "--wait"];
    let done = program.run_at(&service, &args).code(1);
    assert!(done.out.contains("FAILED (code 17)"), "{}", done.out);
}

#[test]
fn pending_without_wait_is_done() {
    let (program, service) = (Program::new(), Service::start());
    for number in ["1", "9"] {
        program
            .run_at(&service, &["send", "user", "--custom-command", number])
            .code(0);
    }
    // Nothing is announced, so there is nothing to wait for.
    program
        .run_at(
            &service,
            &["send", "user", "--custom-command", "9", "--wait"],
        )
        .code(0);
}

#[test]
fn send_gives_3_when_there_is_no_service() {
    let program = Program::new();
    let ports = free_ports();
    let done = program
        .run(&[
            "send",
            "GET_STATUS",
            "--timeout",
            "0.5",
            &ports[0],
            &ports[1],
        ])
        .code(3);
    assert_eq!(done.out, "");
    assert!(
        done.err.contains("no service at") && done.err.contains("acqbus simulate"),
        "{}",
        done.err
    );
}

#[test]
fn send_gives_4_when_no_answer_comes_in_time() {
    let (program, service) = (Program::new(), Service::start());
    let slow = [
        "send",
        "user",
        "--custom-command",
        "3",
        "--data",
        r#"{"seconds": 2}"#,
        "--timeout",
        "0.3",
    ];
    let done = program.run_at(&service, &slow).code(4);
    assert!(done.err.contains("--timeout"), "{}", done.err);
    let never = [
        "send",
        "user",
        "--custom-command",
        "1",
        "--data",
        r#"{"seconds": 600}"#,
        "--wait",
        "--timeout",
        "3",
    ];
    program.run_at(&service, &never).code(4);
}

#[test]
fn send_refuses_wrong_usage_before_it_connects() {
    let program = Program::new();
    for (args, said) in [
        (&["send", "GET_STAUTS"][..], "try: GET_STATUS"),
        (&["send", "emergency"], "EMERGENCY_STOP or EMERGENCY_RESUME"),
        (&["send", "31"], "USER_DEFINED --custom-command 31"),
        (&["send", "GET_STATUS", "--data", "{bad"], "not JSON"),
        (
            &["send", "GET_STATUS", "--data", "@absent.json"],
            "absent.json",
        ),
        (&["send", "GET_STATUS", "--timeout", "0"], "too short"),
        (&["send", "GET_STATUS", "--timeout", "soon"], "seconds"),
        (&["send", "GET_STATUS", "--command-port", "70000"], "70000"),
        (&["send"], "<COMMAND>"),
    ] {
        let done = program.run(args).code(2);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
        assert_eq!(done.out, "", "{args:?}");
    }
}

#[test]
fn data_come_from_a_file_too() {
    let (program, service) = (Program::new(), Service::start());
    std::fs::write(
        program.home().join("data.json"),
        r#"{"animalId": "M_1", "weight": 21.50}"#,
    )
    .unwrap();
    let args = [
        "send",
        "user",
        "--custom-command",
        "7",
        "--data",
        "@data.json",
        "--json",
    ];
    let done = program.run_at(&service, &args).code(0);
    assert_eq!(
        done.json()[0]["data"],
        json!({"animalId": "M_1", "weight": 21.50})
    );
    assert!(done.out.contains("21.5"), "{}", done.out);

    std::fs::write(program.home().join("data.json"), "{bad").unwrap();
    program.run_at(&service, &args).code(6);
}

#[test]
fn interrupted_send_gives_130() {
    let (program, service) = (Program::new(), Service::start());
    let running = program.start_at(
        &service,
        &[
            "send",
            "user",
            "--custom-command",
            "1",
            "--data",
            r#"{"seconds":600}"#,
            "--wait",
            "--json",
        ],
    );
    let deadline = std::time::Instant::now() + cli_support::PATIENCE;
    while service.commands().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    running.interrupt();
    let done = running.end().code(130);
    assert_eq!(done.err, "");
}

#[test]
fn listen_prints_messages_until_the_count() {
    let (program, service) = (Program::new(), Service::start());
    let mut running = program.start_at(
        &service,
        &[
            "listen",
            "--topic",
            "EVENT",
            "--kind",
            "sessionStarted",
            "--count",
            "2",
            "--json",
        ],
    );
    running.line_with("connected");
    for kind in [1332, 1331, 1301, 1331, 1331] {
        service.event(kind);
    }
    let first: Value = serde_json::from_str(&running.line_with("EVENT")).unwrap();
    assert_eq!(first["topic"], "EVENT");
    assert_eq!(first["number"], 4001);
    assert_eq!(first["kind"], "sessionStarted");
    assert_eq!(first["sequence"], 2);
    assert_eq!(first["body"]["context"]["sessionId"], "s1");
    let rest = running.end().code(0).json();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!(rest[0]["sequence"], 4);
    assert_eq!(rest[1]["notice"], "end");
    assert_eq!(rest[1]["messages"], 2);
    assert_eq!(rest[1]["lost"], 0);
}

#[test]
fn listen_keeps_the_connection_out_of_the_text() {
    let (program, service) = (Program::new(), Service::start());
    let mut running = program.start_at(&service, &["listen", "--topic", "4001", "--count", "1"]);
    service.await_subscriptions(2);
    service.event(1331);
    assert_eq!(
        running.line(),
        "12:34:56.789 EVENT sessionStarted {\"sessionId\":\"s1\"}\n"
    );
    let done = running.end().code(0);
    assert_eq!(done.out, "");
    assert!(
        done.err.contains("connected to autotrainer-device"),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("1 message in") && done.err.contains("0 lost"),
        "{}",
        done.err
    );
}

#[test]
fn version_of_the_service_decides_what_a_kind_is_called() {
    let service = Service::of_0_9_7();
    let program = Program::new();
    let mut running = program.start_at(
        &service,
        &[
            "listen",
            "--kind",
            "sessionStarted",
            "--count",
            "1",
            "--json",
        ],
    );
    running.line_with("connected");
    service.event(1331);
    service.event(1302);
    let line: Value = serde_json::from_str(&running.line_with("EVENT")).unwrap();
    assert_eq!(line["kind"], "sessionStarted");
    assert_eq!(line["body"]["kind"], 1302);
    running.end().code(0);
}

#[test]
fn listen_ends_with_the_duration() {
    let (program, service) = (Program::new(), Service::start());
    let done = program
        .run_at(&service, &["listen", "--duration", "0.5", "--json"])
        .code(0);
    assert_eq!(done.json().last().unwrap()["notice"], "end");
    let too_few = [
        "listen",
        "--topic",
        "EVENT",
        "--count",
        "3",
        "--duration",
        "0.5",
    ];
    let done = program.run_at(&service, &too_few).code(4);
    assert!(done.err.contains("0 of 3 messages"), "{}", done.err);
}

#[test]
fn listen_gives_3_when_there_was_never_a_service() {
    let program = Program::new();
    let ports = free_ports();
    let done = program
        .run(&["listen", "--duration", "0.3", &ports[0], &ports[1]])
        .code(3);
    assert!(done.err.contains("no service at"), "{}", done.err);
}

#[test]
fn interrupted_listen_says_what_was_lost_and_gives_130() {
    let (program, service) = (Program::new(), Service::start());
    let mut running = program.start_at(&service, &["listen", "--json"]);
    running.line_with("connected");
    running.interrupt();
    let done = running.end().code(130);
    assert!(done.out.contains(r#""notice":"end""#), "{}", done.out);
}

#[test]
fn closed_pipe_ends_listen_quietly() {
    let (program, service) = (Program::new(), Service::start());
    let mut running = program.start_at(&service, &["listen", "--topic", "EVENT", "--json"]);
    running.line_with("connected");
    service.event(1331);
    running.line_with("EVENT");
    let ending = running.close_output();
    // The first write fills nothing: it fails at once, since nobody reads.
    service.event(1331);
    let done = ending.end().code(0);
    assert_eq!(done.err, "");
}

#[test]
fn listen_refuses_unknown_names() {
    let program = Program::new();
    for (args, said) in [
        (&["listen", "--topic", "EVNT"][..], "EVENT"),
        (&["listen", "--kind", "sesionStarted"], "sessionStarted"),
        (&["listen", "--count", "0"], "--count"),
    ] {
        let done = program.run(args).code(2);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

#[test]
fn raw_bodies_are_printed_too() {
    let (program, service) = (Program::new(), Service::start());
    let mut running = program.start_at(
        &service,
        &["listen", "--topic", "77", "--count", "2", "--json"],
    );
    running.line_with("connected");
    service.rpc().send(Topic::new(77), b"{not json").unwrap();
    service.rpc().send(Topic::new(77), b"\xff\x00").unwrap();
    let text: Value = serde_json::from_str(&running.line_with("77")).unwrap();
    assert_eq!(text["text"], "{not json");
    let bytes: Value = serde_json::from_str(&running.line_with("77")).unwrap();
    assert_eq!(bytes["hex"], "ff00");
    running.end().code(0);
}

#[test]
fn environment_and_file_set_what_flags_do() {
    let (program, service) = (Program::new(), Service::start());
    let (events, commands) = (
        service.rpc().subscriber_port(),
        service.rpc().command_port(),
    );

    let mut command = program.command(&["send", "GET_STATUS"]);
    command.env("ACQBUS_SUBSCRIBER_PORT", events.to_string());
    command.env("ACQBUS_COMMAND_PORT", commands.to_string());
    Done::of(command).code(0);

    let settings = format!("json = true\nsubscriber-port = {events}\ncommand-port = {commands}\n");
    std::fs::write(program.home().join("acqbus.toml"), settings).unwrap();
    let done = program.run(&["send", "GET_STATUS"]).code(0);
    assert_eq!(done.json()[0]["result"], 100);

    // The environment is over the file.
    let mut command = program.command(&["send", "GET_STATUS", "--timeout", "0.3"]);
    command.env("ACQBUS_COMMAND_PORT", "1");
    Done::of(command).code(3);
}

/// Flags for ports at which nobody listens.
fn free_ports() -> [String; 2] {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, b) = (free(), free());
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    [
        format!("--subscriber-port={}", port(&a)),
        format!("--command-port={}", port(&b)),
    ]
}

#[test]
fn closed_pipe_ends_send_quietly() {
    // A reader that goes away before the reply is a quiet end, too.
    let (program, service) = (Program::new(), Service::start());
    let args = [
        "send",
        "user",
        "--custom-command",
        "3",
        "--data",
        r#"{"seconds":0.3}"#,
    ];
    let mut command = program.command(&args);
    command.args(service.flags());
    let done = Running::start(command).close_output().end().code(0);
    assert_eq!(done.err, "");
}

#[test]
fn verbose_client_says_where_it_goes() {
    let (program, service) = (Program::new(), Service::start());
    for args in [
        &["send", "GET_STATUS", "-v"][..],
        &["listen", "--topic", "HEARTBEAT", "--count", "1", "-v"],
    ] {
        let done = program.run_at(&service, args).code(0);
        assert!(
            done.err.contains("info: connected to tcp://127.0.0.1:"),
            "{args:?}: {}",
            done.err
        );
    }
}

#[test]
fn host_is_a_host_only_and_numbers_are_in_range() {
    let program = Program::new();
    for host in ["127.0.0.1:5557", "tcp://rig-7", "", "a b"] {
        let done = program.run(&["send", "GET_STATUS", "--host", host]).code(2);
        let said = "only the host; the port is --command-port";
        assert!(done.err.contains(said), "{host}: {}", done.err);
    }
    for args in [
        &["send", "GET_STATUS", "--timeout", "-1"][..],
        &["send", "GET_STATUS", "--retries", "-1"],
        &["console", "--timeout", "-1"],
        &["listen", "--count", "-1"],
        &["listen", "--duration", "-1"],
        &["simulate", "--seed", "-1"],
        &["simulate", "--duration", "-1"],
    ] {
        let done = program.run(args).code(2);
        assert!(done.err.contains("'-1'"), "{args:?}: {}", done.err);
    }
}

#[test]
fn help_of_send_lists_the_commands() {
    let help = Program::new().run(&["send", "--help"]).code(0).out;
    for said in ["GET_STATUS", "EMERGENCY_STOP", "USER_DEFINED", "camelCase"] {
        assert!(help.contains(said), "{said}: {help}");
    }
}

#[test]
fn data_that_a_service_cannot_take_are_told() {
    let (program, service) = (Program::new(), Service::start());
    let done = program
        .run_at(&service, &["send", "GET_STATUS", "--data", "[1, 1e999]"])
        .code(2);
    assert!(done.err.contains("too large"), "{}", done.err);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let done = program
        .run_at(&service, &["send", "GET_STATUS", "--data", &deep])
        .code(6);
    assert!(
        done.err.contains("GET_STATUS: the service cannot use"),
        "{}",
        done.err
    );
    assert_eq!(done.out, "");
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    std::fs::write(program.home().join("large.json"), large).unwrap();
    let args = [
        "send",
        "GET_STATUS",
        "--data",
        "@large.json",
        "--timeout",
        "1",
    ];
    let done = program.run_at(&service, &args).code(4);
    assert!(done.err.contains("1 MiB"), "{}", done.err);
}

#[test]
fn topics_and_kinds_that_do_not_fit_are_refused() {
    let program = Program::new();
    let done = program.run(&["listen", "--topic", "E"]).code(2);
    assert!(
        done.err.contains("EVENT or EMERGENCY") || done.err.contains("EMERGENCY or EVENT"),
        "{}",
        done.err
    );
    let args = ["listen", "--topic", "HEARTBEAT", "--kind", "sessionStarted"];
    let done = program.run(&args).code(2);
    assert!(done.err.contains("HEARTBEAT have no kind"), "{}", done.err);
}
