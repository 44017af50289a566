//! The client over real sockets: against our service, and against raw peers that misbehave.

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, CommandResult, Dialect, Notice,
    RemoteClient, Retry, RpcError, Topic,
};
use acqbus::zsocket::{ClientKeys, CurveKeyPair, KeyRing, Role, Socket, SocketKind};
use crossbeam_channel::{bounded, unbounded};
use serde_json::{Value, json};

use common::bus::{
    LIMIT, QUIET, bound, client, client_options, echo, echo_delegate, eventually, free_port,
    heartbeat, launch, options, publish, recv_frames, recv_within, send_frames, until_connected,
};

/// Long enough to connect on a busy machine, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(500);

/// Options for a raw service: the port of its commands, and none that publishes.
fn commands_at(port: u16) -> ClientOptions {
    ClientOptions::default()
        .ports(free_port(), port)
        .timeout(SHORT)
}

fn connect(options: ClientOptions) -> RemoteClient {
    RemoteClient::connect(options).unwrap()
}

/// Sends a reply of SUCCESS to what a ROUTER received.
fn reply_to(router: &Socket, request: &[impl AsRef<[u8]>]) {
    let asked: Value = serde_json::from_slice(request[2].as_ref()).unwrap();
    let body = json!({"nonce": asked["nonce"], "command": asked["command"], "result": 100});
    let body = body.to_string();
    send_frames(router, &[request[0].as_ref(), b"", body.as_bytes()]);
}

// ---- requests ----

#[test]
fn request_is_answered_with_its_data() {
    let service = echo();
    let client = client(&service);
    let response = client
        .request(ApiCommand::GetStatus, &json!({"a_b": [1, "x y"]}))
        .unwrap();
    assert!(response.is_success());
    assert_eq!(response.command(), 400);
    assert_eq!(response.data(), &json!({"aB": [1, "x y"]}));
    let custom = CommandRequest::new(ApiCommand::UserDefined)
        .with_custom_command(5)
        .with_nonce(-77);
    assert_eq!(client.send(&custom).unwrap().nonce().as_i64(), Some(-77));
}

#[test]
fn absent_service_is_told_from_a_silent_one() {
    let absent = connect(commands_at(free_port()).retries(1));
    let started = Instant::now();
    let error = absent.request(ApiCommand::GetStatus, &()).unwrap_err();
    assert!(matches!(error, RpcError::NoService { .. }), "{error}");
    assert!(error.is_connection() && !error.is_timeout());
    assert!(started.elapsed() >= 2 * SHORT);

    let (_silent, number) = bound(SocketKind::Router);
    let client = connect(commands_at(number));
    let error = client.request(ApiCommand::GetStatus, &()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let RpcError::TimedOut { attempts, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(attempts, 3);
}

#[test]
fn lost_request_is_sent_again_over_a_new_socket_under_one_nonce() {
    let (router, number) = bound(SocketKind::Router);
    let client = connect(commands_at(number));
    let asking = thread::spawn(move || client.request(ApiCommand::GetStatus, &1));
    let swallowed = recv_frames(&router);
    let again = recv_frames(&router);
    assert_eq!(&swallowed[2][..], &again[2][..], "the same bytes");
    assert_ne!(&swallowed[0][..], &again[0][..], "another socket");
    reply_to(&router, &again);
    assert!(asking.join().unwrap().unwrap().is_success());
}

#[test]
fn repeat_goes_over_a_new_socket_even_if_several_are_idle() {
    let (router, number) = bound(SocketKind::Router);
    let client = connect(
        commands_at(number)
            .timeout(Duration::from_secs(2))
            .retries(1),
    );
    let mut known = BTreeSet::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.request(ApiCommand::GetStatus, &()).unwrap());
        }
        let requests: Vec<_> = (0..4).map(|_| recv_frames(&router)).collect();
        for request in &requests {
            known.insert(request[0].to_vec());
            reply_to(&router, request);
        }
    });
    assert_eq!(known.len(), 4, "each thread asks over its own");
    let asking = client.clone();
    let asking = thread::spawn(move || asking.request(ApiCommand::GetStatus, &()));
    let first = recv_frames(&router);
    assert!(known.contains(&first[0][..]), "an idle one");
    let again = recv_frames(&router);
    assert!(known.insert(again[0].to_vec()), "a new one");
    assert!(asking.join().unwrap().unwrap_err().is_timeout());
    let asking = thread::spawn(move || client.request(ApiCommand::GetStatus, &()));
    let next = recv_frames(&router);
    assert!(known.insert(next[0].to_vec()), "the idle ones are closed");
    reply_to(&router, &next);
    assert!(asking.join().unwrap().unwrap().is_success());
}

#[test]
fn late_reply_is_not_taken_for_the_next() {
    let (router, number) = bound(SocketKind::Router);
    let client = connect(commands_at(number).retries(0));
    let asking = client.clone();
    let asking = thread::spawn(move || asking.request(ApiCommand::GetStatus, &1));
    let first = recv_frames(&router);
    assert!(asking.join().unwrap().unwrap_err().is_timeout());
    reply_to(&router, &first);
    let asking = thread::spawn(move || client.request(ApiCommand::GetStatus, &2));
    let second = recv_frames(&router);
    reply_to(&router, &second);
    let nonce: Value = serde_json::from_slice(&second[2]).unwrap();
    let response = asking.join().unwrap().unwrap();
    assert_eq!(response.nonce().value(), &nonce["nonce"]);
}

#[test]
fn command_that_may_have_run_is_not_repeated_to_a_foreign_service() {
    let (router, number) = bound(SocketKind::Router);
    for (retry, expected) in [(Retry::WhenSafe, 1), (Retry::Always, 3)] {
        let client = connect(commands_at(number).retry(retry));
        let error = client.request(ApiCommand::EmergencyStop, &()).unwrap_err();
        let RpcError::TimedOut { attempts, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(attempts, expected, "{retry:?}");
        for _ in 0..expected {
            recv_frames(&router);
        }
        assert!(recv_within(&router, QUIET).is_none());
    }
}

#[test]
fn command_is_repeated_to_our_service_and_runs_once() {
    let service = launch(options());
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let (release, released) = bounded::<()>(0);
    service.set_delegate(move |_: &CommandRequest| {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = released.recv_timeout(LIMIT);
        }
        CommandResponse::success().with_data(&"once")
    });
    let client = connect(client_options(&service).timeout(SHORT).retries(100));
    let asking = thread::spawn(move || client.request(ApiCommand::EmergencyStop, &()));
    // The first attempt has timed out once the client asks what kind of service this is.
    eventually("a subscription", || service.stats().subscriptions > 0);
    release.send(()).unwrap();
    let response = asking.join().unwrap().unwrap();
    assert_eq!(response.data(), "once");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(service.stats().repeats > 0);
}

#[test]
fn reply_that_cannot_be_used_is_an_error_of_its_own() {
    let (router, number) = bound(SocketKind::Router);
    for (reply, wrong_nonce) in [
        (&b"\xff"[..], false),
        (b"", false),
        (b"[1]", false),
        (b"{}", false),
        (br#"{"nonce": 1, "result": "x"}"#, false),
        (br#"{"nonce": -5, "result": 100}"#, true),
    ] {
        let client = connect(commands_at(number).timeout(LIMIT));
        let asking = thread::spawn(move || client.request(ApiCommand::GetStatus, &()));
        let request = recv_frames(&router);
        send_frames(&router, &[&request[0][..], b"", reply]);
        let error = asking.join().unwrap().unwrap_err();
        assert!(error.is_bad_data(), "{error}");
        assert_eq!(matches!(error, RpcError::WrongNonce { .. }), wrong_nonce);
    }
}

#[test]
fn replies_of_every_dialect_are_read() {
    for dialect in [Dialect::Plain, Dialect::JsonString] {
        let service = launch(options().dialect(dialect));
        service.set_delegate(echo_delegate);
        let response = client(&service)
            .request(ApiCommand::GetStatus, &json!({"x": -5, "s": "a b-c"}))
            .unwrap();
        assert_eq!(response.data(), &json!({"x": -5, "s": "a b-c"}));
    }
    let (router, number) = bound(SocketKind::Router);
    let client = connect(commands_at(number).timeout(LIMIT));
    let asking = thread::spawn(move || {
        client.send(&CommandRequest::new(ApiCommand::GetStatus).with_nonce(4))
    });
    let request = recv_frames(&router);
    let quoted =
        br#""{\"nonce\":4,\"command\":400,\"result\":400,\"errorMessage\":\"itisbroken\"}""#;
    send_frames(&router, &[&request[0][..], b"", quoted]);
    let response = asking.join().unwrap().unwrap();
    assert_eq!(response.result(), CommandResult::Failed);
    assert_eq!(response.error_message(), Some("itisbroken"));
}

#[test]
fn service_may_start_after_its_client_asked() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let (events, commands) = (free_port(), elsewhere.local_addr().unwrap().port());
    let client = connect(
        ClientOptions::default()
            .ports(events, commands)
            .timeout(LIMIT),
    );
    let asking = thread::spawn(move || client.request(ApiCommand::GetStatus, &1));
    // The client has asked for a connection, and gets none yet.
    drop(elsewhere.accept().unwrap());
    drop(elsewhere);
    let service = launch(options().ports(events, commands));
    service.set_delegate(echo_delegate);
    assert_eq!(asking.join().unwrap().unwrap().data(), &json!(1));
}

#[test]
fn client_outlives_restarts_of_its_service() {
    let mut service = echo();
    let (events, commands) = (service.subscriber_port(), service.command_port());
    let client = connect(
        client_options(&service)
            .timeout(Duration::from_secs(2))
            .retries(5),
    );
    for number in 0..5 {
        let response = client.request(ApiCommand::GetStatus, &number).unwrap();
        assert_eq!(response.data(), &json!(number));
        drop(service);
        service = launch(options().ports(events, commands));
        service.set_delegate(echo_delegate);
    }
    client.request(ApiCommand::GetStatus, &()).unwrap();
}

#[test]
fn many_threads_share_one_client() {
    let service = echo();
    let client = client(&service);
    let nonces = thread::scope(|scope| {
        let threads: Vec<_> = (0..24)
            .map(|thread| {
                let client = client.clone();
                scope.spawn(move || {
                    let ask = |number| {
                        let data = json!([thread, number]);
                        let response = client.request(ApiCommand::GetStatus, &data).unwrap();
                        assert_eq!(response.data(), &data);
                        response.nonce().as_i64().unwrap()
                    };
                    (0..50).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(nonces.len(), 24 * 50, "each request has a nonce of its own");
    assert_eq!(service.stats().commands, 24 * 50);
}

#[test]
fn time_without_end_does_not_panic() {
    let service = launch(options());
    service.set_delegate(|request: &CommandRequest| {
        let (response, pending) = request.defer();
        pending.complete(CommandResult::Success, &1).unwrap();
        response
    });
    let options = client_options(&service)
        .timeout(Duration::MAX)
        .heartbeat_timeout(Some(Duration::MAX));
    let client = connect(options);
    client.request(ApiCommand::GetStatus, &()).unwrap();
    let outcome = client
        .request_and_wait(ApiCommand::GetStatus, &(), Duration::MAX)
        .unwrap();
    assert!(outcome.last().is_success());
    until_connected(&client.subscribe(&[]).unwrap());
}

// ---- results ----

#[test]
fn result_that_is_faster_than_the_reply_is_not_missed() {
    let service = launch(options());
    service.set_delegate(|request: &CommandRequest| {
        let (response, pending) = request.defer();
        pending
            .complete(CommandResult::Success, request.data())
            .unwrap();
        response
    });
    for number in 0..20 {
        let client = client(&service);
        let outcome = client
            .request_and_wait(ApiCommand::UserDefined, &number, LIMIT)
            .unwrap();
        assert_eq!(
            outcome.reply.result(),
            CommandResult::PendingWithNotification
        );
        assert_eq!(outcome.last().data(), &json!(number));
    }
}

#[test]
fn reply_without_a_result_to_come_is_the_outcome() {
    let service = echo();
    let outcome = client(&service)
        .request_and_wait(ApiCommand::GetStatus, &1, LIMIT)
        .unwrap();
    assert!(outcome.result.is_none());
    assert_eq!(outcome.last().data(), &json!(1));
}

#[test]
fn progress_is_told_before_the_result() {
    let service = launch(options());
    service.set_delegate(|request: &CommandRequest| {
        let (response, pending) = request.defer();
        thread::spawn(move || {
            for percent in [10, 50, 90] {
                pending.progress(&json!({"percent": percent})).unwrap();
            }
            pending.complete(CommandResult::Failed, &"late").unwrap();
        });
        response
    });
    let mut seen = Vec::new();
    let outcome = client(&service)
        .send_and_wait(
            &CommandRequest::new(ApiCommand::UserDefined),
            LIMIT,
            |report| seen.push((report.result(), report.data()["percent"].clone())),
        )
        .unwrap();
    let announced = CommandResult::PendingWithNotification;
    let percents = [json!(null), json!(10), json!(50), json!(90)];
    assert_eq!(seen, percents.map(|percent| (announced, percent)));
    assert_eq!(outcome.last().result(), CommandResult::Failed);
    assert_eq!(outcome.last().data(), "late");
}

#[test]
fn results_of_many_threads_reach_their_own() {
    let service = launch(options());
    let (sender, handles) = unbounded();
    service.set_delegate(move |request: &CommandRequest| {
        let (response, pending) = request.defer();
        sender.send((pending, request.data().clone())).unwrap();
        response
    });
    let finisher = thread::spawn(move || {
        let all: Vec<_> = (0..16)
            .map(|_| handles.recv_timeout(LIMIT).unwrap())
            .collect();
        for (pending, data) in all.into_iter().rev() {
            pending.complete(CommandResult::Success, &data).unwrap();
        }
    });
    let client = client(&service);
    thread::scope(|scope| {
        for number in 0..16 {
            let client = client.clone();
            scope.spawn(move || {
                let outcome = client
                    .request_and_wait(ApiCommand::UserDefined, &number, LIMIT)
                    .unwrap();
                assert_eq!(outcome.last().data(), &json!(number));
            });
        }
    });
    finisher.join().unwrap();
}

#[test]
fn result_of_a_service_without_heartbeats_is_not_missed() {
    let (publisher, events) = bound(SocketKind::Pub);
    let (replier, commands) = bound(SocketKind::Rep);
    let fake = thread::spawn(move || {
        for _ in 0..3 {
            let request = recv_frames(&replier);
            let request: Value = serde_json::from_slice(&request[0]).unwrap();
            let nonce = &request["nonce"];
            let result = json!({"result": 100, "data": "old", "command": 99999, "nonce": nonce});
            publish(&publisher, Topic::COMMAND_RESULT, &result.to_string());
            let reply = json!({"nonce": nonce, "command": 99999, "result": 201});
            send_frames(&replier, &[reply.to_string().as_bytes()]);
        }
        // Open until the last client has what it waits for.
        (publisher, replier)
    });
    for _ in 0..3 {
        let client = connect(ClientOptions::default().ports(events, commands));
        let outcome = client
            .request_and_wait(ApiCommand::UserDefined, &(), LIMIT)
            .unwrap();
        assert_eq!(outcome.last().data(), "old");
    }
    fake.join().unwrap();
}

#[test]
fn result_that_does_not_come_is_told_from_a_reply_that_does_not() {
    let service = launch(options());
    let (sender, handles) = unbounded();
    service.set_delegate(move |request: &CommandRequest| {
        let (response, pending) = request.defer();
        sender.send(pending).unwrap();
        response
    });
    let error = client(&service)
        .request_and_wait(ApiCommand::UserDefined, &(), SHORT)
        .unwrap_err();
    assert!(matches!(error, RpcError::NoResult { .. }), "{error}");
    assert!(error.is_timeout());
    drop(handles);
}

#[test]
fn waiting_for_a_result_ends_in_time_whatever_is_silent() {
    let limit = Duration::from_millis(100);
    let (_router, commands) = bound(SocketKind::Router);
    let (_publisher, events) = bound(SocketKind::Pub);
    for (options, absent) in [
        (ClientOptions::default().ports(events, commands), false),
        (ClientOptions::default().ports(free_port(), commands), false),
        (ClientOptions::default().ports(events, free_port()), true),
    ] {
        let started = Instant::now();
        let error = connect(options.timeout(LIMIT))
            .request_and_wait(ApiCommand::UserDefined, &(), limit)
            .unwrap_err();
        assert!(started.elapsed() >= limit, "{error}");
        assert!(started.elapsed() < LIMIT / 4, "{error}");
        assert_eq!(error.is_connection(), absent, "{error}");
    }
}

#[test]
fn result_is_lost_with_a_restart_of_the_service() {
    let (publisher, events) = bound(SocketKind::Xpub);
    let (replier, commands) = bound(SocketKind::Rep);
    let fake = thread::spawn(move || {
        // Results, progress, heartbeats.
        for _ in 0..3 {
            recv_frames(&publisher);
        }
        heartbeat(&publisher, 1, 1, 0);
        let request = recv_frames(&replier);
        let request: Value = serde_json::from_slice(&request[0]).unwrap();
        let reply = json!({"nonce": request["nonce"], "command": 99999, "result": 201});
        send_frames(&replier, &[reply.to_string().as_bytes()]);
        heartbeat(&publisher, 2, 1, 0);
        (publisher, replier)
    });
    let client = connect(
        ClientOptions::default()
            .ports(events, commands)
            .timeout(LIMIT),
    );
    let error = client
        .request_and_wait(ApiCommand::UserDefined, &(), LIMIT)
        .unwrap_err();
    assert!(matches!(error, RpcError::ResultLost { .. }), "{error}");
    fake.join().unwrap();
}

#[test]
fn refusal_is_told_at_once_and_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let ring_at = directory.path().join("keys");
    let mut ring = KeyRing::create(&ring_at).unwrap();
    let ada = ClientKeys::load(ring.add("ada", Role::Operator).unwrap()).unwrap();
    let mut stranger = ada.clone();
    stranger.keys = CurveKeyPair::generate().unwrap();
    let mut misled = ada.clone();
    misled.server = CurveKeyPair::generate().unwrap().public();
    let service = launch(options().keys(&ring_at));
    for (keys, expected) in [
        (None, "wants"), // Which end sees it first is chance, and so is the text.
        (Some(stranger), "does not accept this key"),
        (Some(misled), "public key is perhaps"),
    ] {
        let mut options = client_options(&service);
        options.keys = keys;
        let started = Instant::now();
        let error = connect(options)
            .request(ApiCommand::GetStatus, &())
            .unwrap_err();
        assert!(error.is_refused(), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(started.elapsed() < LIMIT / 2, "{error}");
    }
    let client = connect(client_options(&service).keys(ada));
    client.request(ApiCommand::GetStatus, &()).unwrap();
}

/// Which of the two ends the handshake first is chance, and so is what the client sees of it.
#[test]
fn client_without_a_key_is_refused_however_its_handshake_ends() {
    let directory = tempfile::tempdir().unwrap();
    let ring_at = directory.path().join("keys");
    KeyRing::create(&ring_at).unwrap();
    let service = launch(options().keys(&ring_at));
    for _ in 0..20 {
        let client = connect(client_options(&service).timeout(LIMIT).retries(0));
        let error = client.request(ApiCommand::GetStatus, &()).unwrap_err();
        assert!(error.is_refused(), "{error}");
        assert!(error.to_string().contains("key"), "{error}");
    }
    eventually("the service counts them", || {
        service.stats().refused_handshakes >= 20
    });
}

#[test]
fn swapped_ports_are_told() {
    let service = echo();
    let ports = (service.command_port(), service.subscriber_port());
    let options = ClientOptions::default().ports(ports.0, ports.1);
    for _ in 0..10 {
        let client = connect(options.clone().timeout(LIMIT).retries(0));
        let error = client.request(ApiCommand::GetStatus, &()).unwrap_err();
        assert!(error.is_refused(), "{error}");
        assert!(error.to_string().contains("other port"), "{error}");
    }
    let subscription = connect(options).subscribe(&[]).unwrap();
    let told = subscription.recv_timeout(LIMIT);
    assert!(
        matches!(&told, Some(Notice::Refused { reason }) if reason.contains("other port")),
        "{told:?}"
    );
}

#[test]
fn service_that_dies_in_a_handshake_refuses_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    let dying = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        drop(stream);
    });
    let error = connect(commands_at(number).retries(1))
        .request(ApiCommand::GetStatus, &())
        .unwrap_err();
    assert!(matches!(error, RpcError::NoService { .. }), "{error}");
    dying.join().unwrap();
}

#[test]
fn port_that_speaks_another_protocol_is_no_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(2).flatten() {
            use std::io::Write;
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = connect(commands_at(number).retries(0))
        .request(ApiCommand::GetStatus, &())
        .unwrap_err();
    assert!(error.is_connection() || error.is_refused(), "{error}");
    assert!(!error.to_string().contains("keys"), "{error}");
    drop(std::net::TcpStream::connect(("127.0.0.1", number)));
    drop(std::net::TcpStream::connect(("127.0.0.1", number)));
    server.join().unwrap();
}

#[test]
fn host_that_is_none_is_an_error_of_connect() {
    for host in ["", "a b", "x;y"] {
        let error = RemoteClient::connect(ClientOptions::default().host(host)).unwrap_err();
        assert!(error.is_connection(), "{error}");
    }
}
