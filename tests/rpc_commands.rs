//! Commands over real sockets: what a service answers, pending commands, one effect for one request.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandRequestDelegate, CommandResponse, CommandResult,
    PendingCommand, RpcError, RpcOptions, RpcService, Topic,
};
use acqbus::zsocket::SocketKind;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::{Value, json};

use common::bus::{
    LIMIT, ask, connected, echo, echo_delegate, in_time, launch, options, recv_frames,
    recv_published, send_frames, subscriber,
};

// ---- commands ----

#[test]
fn reply_has_seven_members_in_order() {
    let service = echo();
    let requester = connected(SocketKind::Req, service.command_port());
    requester
        .send_bytes(
            br#"{"command": 400, "nonce": 7, "data": {"a_b": 1}}"#,
            false,
        )
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&recv_frames(&requester)[0]),
        r#"{"nonce": 7, "command": 400, "result": 100, "data": {"aB": 1}, "errorKind": 0, "errorCode": 0, "errorMessage": null}"#
    );
}

#[test]
fn delegate_is_replaced_at_run_time() {
    let service = launch(options());
    let requester = connected(SocketKind::Req, service.command_port());
    let get = || {
        let reply = ask(&requester, r#"{"command": 400, "nonce": 3}"#);
        assert_eq!(
            (&reply["nonce"], &reply["command"]),
            (&json!(3), &json!(400))
        );
        (reply["result"].clone(), reply["data"].clone())
    };
    assert_eq!(get(), (json!(9999), json!(null)), "none is registered");
    for number in 0..3 {
        service
            .set_delegate(move |_: &CommandRequest| CommandResponse::success().with_data(&number));
        assert_eq!(get(), (json!(100), json!(number)));
    }
    service.clear_delegate();
    assert_eq!(get(), (json!(9999), json!(null)));
}

#[test]
fn end_of_a_replaced_delegate_may_use_the_service() {
    struct Ending(std::sync::Weak<RpcService>, Sender<()>);
    impl CommandRequestDelegate for Ending {
        fn handle(
            &self,
            _: &CommandRequest,
        ) -> Result<CommandResponse, Box<dyn std::error::Error + Send + Sync>> {
            Ok(CommandResponse::success())
        }
    }
    impl Drop for Ending {
        fn drop(&mut self) {
            if let Some(service) = self.0.upgrade() {
                service.clear_delegate();
            }
            let _ = self.1.send(());
        }
    }
    let service = Arc::new(launch(options()));
    let (ended, end) = unbounded();
    service.set_delegate(Ending(Arc::downgrade(&service), ended));
    let thread = Arc::clone(&service);
    in_time("replacing a delegate", move || {
        thread.set_delegate(echo_delegate);
    });
    end.recv_timeout(LIMIT).unwrap();
}

#[test]
fn stopped_service_lets_its_delegate_go() {
    let service = Arc::new(launch(options()));
    let held = Arc::clone(&service);
    service.set_delegate(move |_: &CommandRequest| {
        CommandResponse::success().with_data(&held.command_port())
    });
    let requester = connected(SocketKind::Req, service.command_port());
    assert_eq!(
        ask(&requester, r#"{"command": 400}"#)["data"],
        service.command_port()
    );
    service.stop();
    assert_eq!(
        Arc::strong_count(&service),
        1,
        "the delegate kept its service"
    );
}

#[test]
fn panics_and_errors_of_the_delegate_are_exceptions() {
    struct Failing;
    #[derive(Debug)]
    struct Unspeakable;
    impl std::fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("even the text of the error panics")
        }
    }
    impl std::error::Error for Unspeakable {}
    #[derive(Debug, thiserror::Error)]
    #[error("the motor does not turn")]
    struct Above(#[source] std::io::Error);
    impl CommandRequestDelegate for Failing {
        fn handle(
            &self,
            request: &CommandRequest,
        ) -> Result<CommandResponse, Box<dyn std::error::Error + Send + Sync>> {
            match request.custom_command() {
                Some(1) => panic!("on purpose"),
                Some(2) => panic!("number {}", 2),
                Some(3) => Err("an error".into()),
                Some(4) => Err(Box::new(Unspeakable)),
                Some(5) => std::panic::panic_any(5),
                Some(6) => Err(Box::new(Above(std::io::Error::other("the cable is out")))),
                Some(7) => Ok(CommandResponse::success().with_data(&request.data_as::<[u8; 2]>()?)),
                _ => Ok(CommandResponse::success()),
            }
        }
    }
    let service = launch(options());
    service.set_delegate(Failing);
    let requester = connected(SocketKind::Req, service.command_port());
    for (custom, text) in [
        (1, "on purpose"),
        (2, "number 2"),
        (3, "an error"),
        (4, "even the text of the error panics"),
        (5, "the delegate panicked"),
        (6, "the motor does not turn: the cable is out"),
        (
            7,
            "the data is not of the wanted type: invalid type: null, expected an array of length 2",
        ),
    ] {
        let request = json!({"command": 99999, "customCommand": custom, "nonce": custom});
        let reply = ask(&requester, request.to_string());
        assert_eq!(
            reply,
            json!({"nonce": custom, "command": 99999, "result": 500, "data": null,
                   "errorKind": 0, "errorCode": 0, "errorMessage": text})
        );
    }
    assert_eq!(ask(&requester, r#"{"command": 400}"#)["result"], 100);
    assert_eq!(service.stats().exceptions, 7);
}

#[test]
fn data_that_cannot_be_written_is_a_system_error() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it is broken"))
        }
    }
    let service = launch(options());
    service.set_delegate(|_: &CommandRequest| {
        CommandResponse::success()
            .with_data(&Broken)
            .with_error_code(42)
            .with_error_message("mine")
    });
    let requester = connected(SocketKind::Req, service.command_port());
    let reply = ask(&requester, r#"{"command": 400, "nonce": 1}"#);
    assert_eq!(
        (&reply["result"], &reply["data"]),
        (&json!(100), &json!(null))
    );
    assert_eq!(
        (&reply["errorKind"], &reply["errorCode"]),
        (&json!(1), &json!(0))
    );
    assert_ne!(reply["errorMessage"], "mine");
}

#[test]
fn none_is_answered_by_the_service_with_its_nonce() {
    let service = launch(options());
    let requester = connected(SocketKind::Req, service.command_port());
    for _ in 0..2 {
        let reply = ask(&requester, r#"{"command": 0, "nonce": 12}"#);
        assert_eq!(
            (&reply["result"], &reply["nonce"]),
            (&json!(100), &json!(12))
        );
        service.set_delegate(|_: &CommandRequest| panic!("NONE is not for the delegate"));
    }
}

#[test]
fn request_of_several_frames_is_refused_and_no_command_runs() {
    let service = launch(options());
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    service.set_delegate(move |_: &CommandRequest| {
        counted.fetch_add(1, Ordering::Relaxed);
        CommandResponse::success()
    });
    let requester = connected(SocketKind::Req, service.command_port());
    let good = &br#"{"command": 400, "nonce": 5}"#[..];
    for count in [2usize, 3, 62, 63, 64, 65, 200] {
        let frames: Vec<&[u8]> = vec![good; count];
        send_frames(&requester, &frames);
        let reply: Value = serde_json::from_slice(&recv_frames(&requester)[0]).unwrap();
        assert_eq!((&reply["nonce"], &reply["result"]), (&json!(0), &json!(0)));
        let why = reply["errorMessage"].as_str().unwrap();
        assert!(why.contains("frames"), "{why}");
        assert_eq!(calls.load(Ordering::Relaxed), 0, "{count} frames");
    }
    assert_eq!(service.stats().unusable, 7);
    assert_eq!(ask(&requester, good)["result"], 100);
}

#[test]
fn request_up_to_the_limit_is_answered_and_one_byte_more_is_not() {
    let service = launch(options().max_command_bytes(1000));
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    let requester = connected(SocketKind::Req, service.command_port());
    let sized = |size: usize| {
        let empty = r#"{"command": 400, "data": ""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(size - empty.len())))
    };
    for (size, result) in [(999, 100), (1000, 100), (1001, 0), (1000, 100), (60_000, 0)] {
        let request = sized(size);
        assert_eq!(request.len(), size);
        let reply = ask(&requester, request);
        assert_eq!(reply["result"], result, "{size} bytes");
        if result == 0 {
            let why = reply["errorMessage"].as_str().unwrap();
            assert!(why.contains("1000"), "{why}");
        }
    }
}

#[test]
fn request_up_to_the_depth_is_answered_and_one_level_more_is_not() {
    let service = launch(options().max_depth(8));
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    let requester = connected(SocketKind::Req, service.command_port());
    for (depth, result) in [(7, 100), (8, 0), (7, 100)] {
        let request = format!(
            r#"{{"command": 400, "data": {}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert_eq!(ask(&requester, request)["result"], result, "{depth} arrays");
    }
}

#[test]
fn pipelined_requests_of_a_dealer_are_answered_in_order() {
    let service = echo();
    let dealer = connected(SocketKind::Dealer, service.command_port());
    for nonce in 0..500 {
        let request = format!(r#"{{"command": 400, "nonce": {nonce}}}"#);
        send_frames(&dealer, &[b"", request.as_bytes()]);
    }
    for nonce in 0..500 {
        let frames = recv_frames(&dealer);
        assert_eq!(frames.len(), 2);
        assert!(frames[0].is_empty());
        let reply: Value = serde_json::from_slice(&frames[1]).unwrap();
        assert_eq!(reply["nonce"], nonce);
    }
}

#[test]
fn longer_envelope_comes_back_as_it_was() {
    let service = echo();
    let dealer = connected(SocketKind::Dealer, service.command_port());
    send_frames(
        &dealer,
        &[&b"hop 1"[..], b"hop 2", b"", br#"{"command": 400}"#],
    );
    let frames = recv_frames(&dealer);
    assert_eq!(frames.len(), 4);
    assert_eq!(
        (&frames[0][..], &frames[1][..]),
        (&b"hop 1"[..], &b"hop 2"[..])
    );
    assert!(frames[2].is_empty());
}

#[test]
fn request_without_an_envelope_is_dropped_and_counted() {
    let service = echo();
    let dealer = connected(SocketKind::Dealer, service.command_port());
    send_frames(&dealer, &[br#"{"command": 400}"#]);
    send_frames(&dealer, &[&b"a"[..], b"b", b"c"]);
    send_frames(&dealer, &[&b""[..], br#"{"command": 400, "nonce": 9}"#]);
    let frames = recv_frames(&dealer);
    let reply: Value = serde_json::from_slice(&frames[1]).unwrap();
    assert_eq!(reply["nonce"], 9, "the only one that is answered");
    assert_eq!(service.stats().without_envelope, 2);
}

// ---- pending commands ----

/// A service whose delegate hands out each command as pending.
fn deferring(options: RpcOptions) -> (RpcService, Receiver<PendingCommand>) {
    let service = launch(options);
    let (sender, handles) = unbounded();
    service.set_delegate(move |request: &CommandRequest| {
        let (response, pending) = request.defer();
        sender.send(pending).unwrap();
        response
    });
    (service, handles)
}

#[test]
fn pending_command_reports_progress_and_ends_once() {
    let (service, handles) = deferring(options());
    let socket = subscriber(&service, &[Topic::COMMAND_RESULT, Topic::COMMAND_PROGRESS]);
    let requester = connected(SocketKind::Req, service.command_port());
    let request = r#"{"command": 99999, "customCommand": 1, "nonce": 31}"#;
    assert_eq!(ask(&requester, request)["result"], 201);
    let pending = handles.recv_timeout(LIMIT).unwrap();
    let listed = service.pending_commands();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].command, ApiCommand::UserDefined);
    assert_eq!(listed[0].custom_command, Some(1));
    assert_eq!(listed[0].nonce.as_i64(), Some(31));
    assert_eq!((listed[0].remaining, &listed[0].user), (None, &None));
    assert_eq!(service.stats().pending, 1);

    pending.progress(&json!({"percent_done": 50})).unwrap();
    pending.complete(CommandResult::Failed, &"done").unwrap();
    for outcome in [
        pending.complete(CommandResult::Success, &"again"),
        pending.progress(&1),
        pending.finish(&CommandResponse::success()),
    ] {
        assert!(matches!(outcome, Err(RpcError::Finished)), "{outcome:?}");
    }
    drop(pending);
    let progress = recv_published(&socket);
    assert_eq!(progress.topic, Topic::COMMAND_PROGRESS);
    let response = progress.command_result().unwrap();
    assert_eq!(response.nonce().as_i64(), Some(31));
    assert_eq!(response.data(), &json!({"percentDone": 50}));
    let result = recv_published(&socket);
    assert_eq!(result.topic, Topic::COMMAND_RESULT);
    let response = result.command_result().unwrap();
    assert_eq!(response.result(), CommandResult::Failed);
    assert_eq!(
        (response.command(), response.data()),
        (99999, &json!("done"))
    );
    assert!(service.pending_commands().is_empty());
    service.send_string(Topic::COMMAND_RESULT, "end").unwrap();
    assert_eq!(recv_published(&socket).body, b"end", "one result only");
}

#[test]
fn command_dropped_unfinished_fails() {
    let (service, handles) = deferring(options());
    let socket = subscriber(&service, &[Topic::COMMAND_RESULT]);
    let requester = connected(SocketKind::Req, service.command_port());
    assert_eq!(
        ask(&requester, r#"{"command": 400, "nonce": 1}"#)["result"],
        201
    );
    drop(handles.recv_timeout(LIMIT).unwrap());
    let result = recv_published(&socket).command_result().unwrap();
    assert_eq!(result.result(), CommandResult::Failed);
    assert_eq!(result.nonce().as_i64(), Some(1));
    assert!(service.pending_commands().is_empty());
}

#[test]
fn deadline_ends_a_command_whose_owner_is_stuck() {
    let (service, handles) = deferring(options());
    let socket = subscriber(&service, &[Topic::COMMAND_RESULT]);
    let requester = connected(SocketKind::Req, service.command_port());
    assert_eq!(
        ask(&requester, r#"{"command": 400, "nonce": 1}"#)["result"],
        201
    );
    let stuck = handles.recv_timeout(LIMIT).unwrap();
    let stuck = stuck.with_deadline(Duration::from_secs(3600));
    assert!(service.pending_commands()[0].remaining.is_some());
    let stuck = stuck.with_deadline(Duration::from_millis(30));
    let result = recv_published(&socket).command_result().unwrap();
    assert_eq!(result.result(), CommandResult::Failed);
    assert!(result.error_message().unwrap().contains("deadline"));
    let late = stuck.complete(CommandResult::Success, &());
    assert!(matches!(late, Err(RpcError::Finished)), "{late:?}");
}

#[test]
fn stop_fails_what_is_pending() {
    let (service, handles) = deferring(options());
    let socket = subscriber(&service, &[Topic::COMMAND_RESULT]);
    let requester = connected(SocketKind::Req, service.command_port());
    assert_eq!(
        ask(&requester, r#"{"command": 400, "nonce": 1}"#)["result"],
        201
    );
    let pending = handles.recv_timeout(LIMIT).unwrap();
    service.stop();
    let result = recv_published(&socket).command_result().unwrap();
    assert_eq!(result.result(), CommandResult::Failed);
    assert!(result.error_message().unwrap().contains("stopped"));
    assert!(pending.complete(CommandResult::Success, &()).is_err());
}

#[test]
fn command_past_the_limit_is_not_open_and_is_told_so() {
    let (service, handles) = deferring(options().max_pending(1));
    let requester = connected(SocketKind::Req, service.command_port());
    let request = r#"{"command": 99999, "nonce": 1}"#;
    assert_eq!(ask(&requester, request)["result"], 201);
    let first = handles.recv_timeout(LIMIT).unwrap();
    assert!(first.is_open());
    assert_eq!(ask(&requester, request)["result"], 9999);
    let second = handles.recv_timeout(LIMIT).unwrap();
    assert!(!second.is_open());
    first.complete(CommandResult::Success, &()).unwrap();
    assert!(!first.is_open());
    let (response, pending) = CommandRequest::new(ApiCommand::GetStatus).defer();
    assert_eq!(
        response.result(),
        CommandResult::PendingWithNotification,
        "no service, no limit"
    );
    assert!(!pending.is_open());
}

/// The second of two stops once closed the queue while the first still waited for the delegate, and the results that were
/// owed were lost.
#[test]
fn second_stop_waits_for_the_first_and_takes_nothing_from_it() {
    let service = Arc::new(RpcService::new(options()));
    let (entered, has_entered) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let kept = Mutex::new(Vec::new());
    service.set_delegate(move |request: &CommandRequest| {
        let (response, pending) = request.defer();
        kept.lock().unwrap().push(pending);
        entered.send(()).unwrap();
        let _ = released.recv_timeout(LIMIT);
        response
    });
    service.start().unwrap();
    let tap = service.tap(100);
    let requester = connected(SocketKind::Req, service.command_port());
    requester
        .send_bytes(br#"{"command": 99999, "nonce": 5}"#, false)
        .unwrap();
    has_entered.recv_timeout(LIMIT).unwrap();

    let stops: Vec<_> = (0..2)
        .map(|_| {
            let service = Arc::clone(&service);
            std::thread::spawn(move || service.stop())
        })
        .collect();
    let asked = Arc::clone(&service);
    in_time("the first stop has begun", move || {
        while !matches!(asked.start(), Err(RpcError::Stopped)) {
            std::thread::yield_now();
        }
    });
    assert!(
        stops.iter().all(|stop| !stop.is_finished()),
        "the delegate is at work"
    );
    release.send(()).unwrap();
    for stop in stops {
        stop.join().unwrap();
    }
    let results = tap
        .iter()
        .filter(|message| message.topic == Topic::COMMAND_RESULT);
    assert_eq!(results.count(), 1);
}

#[test]
fn application_may_keep_its_own_books() {
    let service = launch(options());
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    service.set_delegate(move |request: &CommandRequest| {
        *keep.lock().unwrap() = Some(request.clone());
        CommandResponse::new(CommandResult::PendingWithNotification)
    });
    let socket = subscriber(&service, &[Topic::COMMAND_RESULT]);
    let requester = connected(SocketKind::Req, service.command_port());
    ask(&requester, r#"{"command": 400, "nonce": "odd"}"#);
    let request = kept.lock().unwrap().take().unwrap();
    service
        .send_command_result(&request, &CommandResponse::success().with_data(&1))
        .unwrap();
    let message = recv_published(&socket);
    let epoch = service.epoch().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&message.body),
        format!(
            r#"{{"result": 100, "data": 1, "errorCode": 0, "errorMessage": null, "command": 400, "nonce": "odd", "epoch": {epoch}, "sequence": 1}}"#
        )
    );
}

// ---- one effect ----

fn counting(service: &RpcService) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    service.set_delegate(move |_: &CommandRequest| {
        CommandResponse::success().with_data(&counted.fetch_add(1, Ordering::Relaxed))
    });
    calls
}

#[test]
fn repeated_request_of_a_client_is_answered_from_memory() {
    let service = launch(options());
    let calls = counting(&service);
    let request = r#"{"command": 200, "nonce": 1, "clientId": "a"}"#;
    for _ in 0..5 {
        let requester = connected(SocketKind::Req, service.command_port());
        assert_eq!(ask(&requester, request)["data"], 0);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(service.stats().repeats, 4);
    let requester = connected(SocketKind::Req, service.command_port());
    let other_client = request.replace("\"a\"", "\"b\"");
    assert_eq!(ask(&requester, other_client)["data"], 1);
    let other_nonce = request.replace("\"nonce\": 1", "\"nonce\": 2");
    assert_eq!(ask(&requester, other_nonce)["data"], 2);
}

#[test]
fn nonce_used_for_another_request_is_refused() {
    let service = launch(options());
    let calls = counting(&service);
    let requester = connected(SocketKind::Req, service.command_port());
    ask(
        &requester,
        r#"{"command": 200, "nonce": 1, "clientId": "a"}"#,
    );
    let reply = ask(
        &requester,
        r#"{"command": 210, "nonce": 1, "clientId": "a"}"#,
    );
    assert_eq!(
        (&reply["result"], &reply["errorCode"]),
        (&json!(400), &json!(409))
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(service.stats().conflicts, 1);
}

#[test]
fn requests_without_a_client_identity_run_each_time() {
    let service = launch(options());
    let calls = counting(&service);
    let requester = connected(SocketKind::Req, service.command_port());
    for id in ["", r#", "clientId": null"#, r#", "clientId": 5"#] {
        for _ in 0..2 {
            ask(&requester, format!(r#"{{"command": 200, "nonce": 1{id}}}"#));
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}

#[test]
fn memory_of_answers_ends_with_its_window() {
    let service = launch(options().once(2, Duration::from_secs(60)));
    let calls = counting(&service);
    let requester = connected(SocketKind::Req, service.command_port());
    for nonce in [1, 2, 3, 3, 1] {
        let request = format!(r#"{{"command": 200, "nonce": {nonce}, "clientId": "a"}}"#);
        ask(&requester, request);
    }
    assert_eq!(
        calls.load(Ordering::Relaxed),
        4,
        "3 is remembered, 1 is not"
    );
}

#[test]
fn reply_to_a_client_that_is_gone_harms_nobody() {
    let (service, handles) = {
        let service = launch(options());
        let (entered, handles) = unbounded();
        let (release, released) = bounded::<()>(0);
        service.set_delegate(move |request: &CommandRequest| {
            if request.nonce().as_i64() == Some(1) {
                entered.send(release.clone()).unwrap();
                let _ = released.recv_timeout(LIMIT);
            }
            CommandResponse::success()
        });
        (service, handles)
    };
    let gone = connected(SocketKind::Req, service.command_port());
    gone.send_bytes(br#"{"command": 400, "nonce": 1}"#, false)
        .unwrap();
    let release = handles.recv_timeout(LIMIT).unwrap();
    drop(gone);
    release.send(()).unwrap();
    let next = connected(SocketKind::Req, service.command_port());
    assert_eq!(ask(&next, r#"{"command": 400, "nonce": 2}"#)["nonce"], 2);
}
