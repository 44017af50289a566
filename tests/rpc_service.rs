//! The service over real sockets: its life, and what it publishes.

mod common;

use std::cell::Cell;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    CommandRequest, CommandResponse, Dialect, Event, EventKind, Message, Overflow, RpcError,
    RpcService, Topic,
};
use acqbus::zsocket::{SocketKind, ZsocketError};
use crossbeam_channel::bounded;
use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::{Value, json};

use common::bus::{
    LIMIT, ask, connected, echo, echo_delegate, eventually, follow, in_time, launch, options, raw,
    raw_options, recv_frames, recv_message, recv_published, subscriber,
};

fn body(message: &Message) -> Value {
    message.json(64).unwrap()
}

fn heartbeat_of(service: &RpcService) -> Message {
    recv_message(&connected_subscriber(service))
}

fn connected_subscriber(service: &RpcService) -> acqbus::zsocket::Socket {
    let socket = connected(SocketKind::Sub, service.subscriber_port());
    socket.subscribe(b"").unwrap();
    socket
}

// ---- life ----

#[test]
fn port_in_use_is_an_error_of_start_that_names_the_endpoint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (subscriber, command) in [(port, 0), (0, port)] {
        let service = RpcService::new(options().ports(subscriber, command));
        let error = service.start().unwrap_err();
        assert!(error.is_connection(), "{error}");
        let RpcError::Socket(ZsocketError::AddressInUse { endpoint }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(endpoint.to_string(), format!("tcp://127.0.0.1:{port}"));
        assert_eq!((service.subscriber_port(), service.epoch()), (0, None));
    }
}

#[test]
fn failed_start_releases_the_other_port_and_can_be_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let service = RpcService::new(options().ports(free, port));
    assert!(service.start().is_err());
    TcpListener::bind(("127.0.0.1", free)).expect("the event port is free again");
    drop(taken);
    service.start().unwrap();
    assert_eq!(
        (service.subscriber_port(), service.command_port()),
        (free, port)
    );
    heartbeat_of(&service);
}

#[test]
fn service_is_started_once_and_never_again() {
    let service = echo();
    assert!(matches!(service.start(), Err(RpcError::AlreadyStarted)));
    service.stop();
    service.stop();
    let error = service.start().unwrap_err();
    assert!(error.is_closed(), "{error}");
    let unused = RpcService::new(options());
    unused.stop();
    assert!(unused.start().unwrap_err().is_closed());
}

#[test]
fn sends_before_the_start_and_after_the_stop_are_errors() {
    let service = RpcService::new(options());
    let publisher = service.publisher();
    let send = || publisher.send_event(&Event::now(EventKind::TunnelEnter));
    assert!(matches!(send(), Err(RpcError::NotStarted)));
    let emergency = publisher.send_event(&Event::now(EventKind::EmergencyStop));
    assert!(matches!(emergency, Err(RpcError::NotStarted)));
    service.start().unwrap();
    send().unwrap();
    service.stop();
    assert!(send().unwrap_err().is_closed());
    assert!(
        service
            .send_string(Topic::EVENT, "x")
            .unwrap_err()
            .is_closed()
    );
}

#[test]
fn drop_stops_and_the_ports_are_free() {
    let service = echo();
    let (events, commands) = (service.subscriber_port(), service.command_port());
    let publisher = service.publisher();
    drop(service);
    assert!(
        publisher
            .send_string(Topic::EVENT, "x")
            .unwrap_err()
            .is_closed()
    );
    let again = launch(options().ports(events, commands));
    assert_eq!(again.subscriber_port(), events);
}

#[test]
fn stop_delivers_what_is_queued() {
    let service = launch(options().linger(LIMIT));
    let socket = subscriber(&service, &[Topic::EVENT]);
    for number in 0..5_000 {
        service
            .send_dict(Topic::EVENT, &json!({"kind": 1101, "number": number}))
            .unwrap();
    }
    in_time("the stop", move || service.stop());
    for number in 0..5_000 {
        assert_eq!(body(&recv_published(&socket))["number"], number);
    }
}

#[test]
fn stop_waits_no_longer_than_the_linger_for_a_subscriber_that_sleeps() {
    let service = launch(options().linger(Duration::from_millis(200)).send_hwm(0));
    let sleeper = raw(SocketKind::Sub, &raw_options().recv_hwm(1));
    follow(&sleeper, &service, &[Topic::EVENT]);
    for _ in 0..200 {
        service.send(Topic::EVENT, vec![b'x'; 100_000]).unwrap();
    }
    let started = Instant::now();
    in_time("the stop", move || service.stop());
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(sleeper);
}

#[test]
fn delegate_may_stop_its_own_service() {
    let service = Arc::new(launch(options()));
    let (done, stopped) = bounded(1);
    let handle = Arc::downgrade(&service);
    service.set_delegate(move |_: &CommandRequest| {
        handle.upgrade().unwrap().stop();
        done.send(()).unwrap();
        CommandResponse::success()
    });
    let requester = connected(SocketKind::Req, service.command_port());
    requester.send_bytes(b"{\"command\": 400}", false).unwrap();
    stopped.recv_timeout(LIMIT).expect("no deadlock");
    in_time("the drop", move || drop(service));
}

#[test]
fn disabled_service_opens_nothing_and_takes_everything() {
    let service = launch(options().enable(false));
    assert_eq!((service.subscriber_port(), service.command_port()), (0, 0));
    assert_eq!(service.epoch(), None);
    service
        .send_event(&Event::now(EventKind::TunnelEnter))
        .unwrap();
    service
        .send_event(&Event::now(EventKind::EmergencyStop))
        .unwrap();
    service.set_delegate(echo_delegate);
    assert_eq!(service.stats().published, 0);
    assert!(matches!(service.start(), Err(RpcError::AlreadyStarted)));
    service.stop();
    assert!(
        service
            .send_string(Topic::EVENT, "x")
            .unwrap_err()
            .is_closed()
    );
}

#[test]
fn address_off_the_loopback_wants_keys() {
    for exposed in [
        options().bind(["0.0.0.0"]),
        options().reachable(true),
        options().bind(["127.0.0.1", "192.0.2.1"]),
    ] {
        let error = RpcService::new(exposed).start().unwrap_err();
        assert!(matches!(error, RpcError::Exposed { .. }), "{error}");
        assert!(error.is_refused());
    }
    let service = launch(options().reachable(true).insecure(true));
    service.set_delegate(echo_delegate);
    let requester = connected(SocketKind::Req, service.command_port());
    assert_eq!(ask(&requester, r#"{"command": 400}"#)["result"], 100);
}

#[test]
fn interface_name_binds_its_addresses() {
    let service = launch(options().bind(["lo"]));
    let hosts: Vec<_> = service
        .command_endpoints()
        .iter()
        .map(|endpoint| endpoint.host().unwrap().to_owned())
        .collect();
    assert_eq!(hosts[0], "127.0.0.1");
    heartbeat_of(&service);
    let unknown = RpcService::new(options().bind(["nosuchif0"]));
    assert!(unknown.start().is_err());
    let none = RpcService::new(options().bind([""; 0]));
    assert!(matches!(none.start(), Err(RpcError::NoAddress)));
}

#[test]
fn extreme_options_do_no_harm() {
    let service = launch(
        options()
            .heartbeat_interval(Duration::MAX)
            .handshake_timeout(Duration::MAX)
            .max_command_bytes(usize::MAX)
            .max_depth(usize::MAX)
            .queue(0, usize::MAX, Overflow::Refuse)
            .once(0, Duration::MAX)
            .command_hwm(0),
    );
    service.set_delegate(echo_delegate);
    heartbeat_of(&service);
    let requester = connected(SocketKind::Req, service.command_port());
    let deep = format!(
        r#"{{"command": 400, "data": {}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    ask(&requester, deep);
    assert_eq!(ask(&requester, r#"{"command": 400}"#)["result"], 100);
}

// ---- publishing ----

#[test]
fn late_subscriber_gets_a_heartbeat_at_once() {
    let service = launch(options().heartbeat_interval(Duration::from_secs(3600)));
    let tap = service.tap(10);
    service
        .send_event(&Event::now(EventKind::TunnelEnter))
        .unwrap();
    // The event is out before anybody subscribes.
    while tap.recv_timeout(LIMIT).expect("the event").topic != Topic::EVENT {}
    for _ in 0..3 {
        let message = heartbeat_of(&service);
        assert_eq!(message.topic, Topic::HEARTBEAT);
        let heartbeat = message.heartbeat().unwrap();
        assert_eq!(heartbeat.identifier, "rig");
        assert_eq!(heartbeat.epoch, service.epoch());
        assert_eq!(heartbeat.sequences.unwrap().get(&4001), Some(&1));
    }
}

#[test]
fn emergency_goes_out_first_on_its_topic_and_then_as_an_event() {
    let service = launch(options());
    let socket = subscriber(&service, &[Topic::EVENT, Topic::EMERGENCY]);
    service
        .send_event(&Event::now(EventKind::EmergencyStop).with_context(json!({"reason": "A_b"})))
        .unwrap();
    service.send_event_dict(&json!({"kind": 102.0})).unwrap();
    service
        .send_dict(Topic::EVENT, &json!({"kind": 101}))
        .unwrap();
    service.send_event_dict(&json!({"kind": "101"})).unwrap();
    let mut seen = Vec::new();
    for _ in 0..7 {
        let message = recv_published(&socket);
        seen.push((
            message.topic,
            message.sequence,
            body(&message)["kind"].clone(),
        ));
    }
    let emergency = |sequence, kind: Value| (Topic::EMERGENCY, Some(sequence), kind);
    let event = |sequence, kind: Value| (Topic::EVENT, Some(sequence), kind);
    let expected = [
        emergency(1, json!(101)),
        event(1, json!(101)),
        emergency(2, json!(102.0)),
        event(2, json!(102.0)),
        emergency(3, json!(101)),
        event(3, json!(101)),
        event(4, json!("101")),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn direct_message_on_emergency_is_not_doubled() {
    let service = launch(options());
    let socket = subscriber(&service, &[Topic::EVENT, Topic::EMERGENCY]);
    service
        .send_dict(Topic::EMERGENCY, &json!({"kind": 101}))
        .unwrap();
    service.send_string(Topic::EVENT, "end").unwrap();
    assert_eq!(recv_published(&socket).topic, Topic::EMERGENCY);
    assert_eq!(recv_published(&socket).body, b"end");
}

#[test]
fn extras_are_added_unless_turned_off_or_taken() {
    for extras in [true, false] {
        let service = launch(options().extras(extras));
        let socket = subscriber(&service, &[Topic::EVENT]);
        let own = json!({"epoch": "mine", "kind": 1});
        service.send_event_dict(&json!({"kind": 1101})).unwrap();
        service.send_event_dict(&own).unwrap();
        service.send_event_dict(&json!([1, 2])).unwrap();
        service.send_string(Topic::EVENT, "raw").unwrap();
        let first = recv_published(&socket);
        let epoch = service.epoch().unwrap();
        if extras {
            assert_eq!((first.epoch, first.sequence), (Some(epoch), Some(1)));
            assert_eq!(
                body(&first),
                json!({"kind": 1101, "epoch": epoch, "sequence": 1})
            );
        } else {
            assert_eq!(first.body, br#"{"kind": 1101}"#);
        }
        assert_eq!(body(&recv_published(&socket)), own);
        assert_eq!(recv_published(&socket).body, b"[1, 2]");
        assert_eq!(recv_published(&socket).body, b"raw");
        if extras {
            service.send_event_dict(&json!({})).unwrap();
            assert_eq!(recv_published(&socket).sequence, Some(5), "raw ones count");
        }
    }
}

#[test]
fn string_dialect_publishes_json_in_a_string() {
    let service = launch(options().dialect(Dialect::JsonString));
    service.set_delegate(echo_delegate);
    let socket = subscriber(&service, &[Topic::EVENT]);
    service
        .send_event_dict(&json!({"animal_id": "M 1\"\\", "x": -5}))
        .unwrap();
    let message = recv_published(&socket);
    let epoch = service.epoch().unwrap();
    let text: String = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        text,
        format!(r#"{{"animalId":"M 1\"\\","x":-5,"epoch":{epoch},"sequence":1}}"#)
    );
    assert_eq!(message.sequence, Some(1));
    assert_eq!(body(&message)["animalId"], "M 1\"\\");
    let requester = connected(SocketKind::Req, service.command_port());
    let reply = ask(
        &requester,
        r#"{"command": 400, "nonce": -3, "data": "a-b c"}"#,
    );
    assert_eq!(
        (&reply["nonce"], &reply["data"]),
        (&json!(-3), &json!("a-b c"))
    );
}

#[test]
fn serialisation_error_comes_to_the_caller_and_nothing_is_published() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it is broken"))
        }
    }
    let service = launch(options());
    let socket = subscriber(&service, &[Topic::EVENT]);
    let error = service
        .send_event(&Event::now(EventKind::TunnelEnter).with_context(Broken))
        .unwrap_err();
    assert!(error.to_string().contains("it is broken"), "{error}");
    assert!(service.send_event_dict(&Broken).is_err());
    assert!(service.send_dict(Topic::new(7), &Broken).is_err());
    service.send_string(Topic::EVENT, "next").unwrap();
    assert_eq!(recv_published(&socket).body, b"next");
}

#[test]
fn later_changes_of_the_callers_value_change_nothing() {
    struct Counted(Cell<u32>);
    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("value", self.0.get())])
        }
    }
    let service = launch(options());
    let socket = subscriber(&service, &[Topic::EVENT]);
    let value = Counted(Cell::new(1));
    for next in 2..50 {
        service.send_event_dict(&value).unwrap();
        value.0.set(next);
    }
    for expected in 1..49 {
        assert_eq!(body(&recv_published(&socket))["value"], expected);
    }
}

#[test]
fn full_queue_is_told_and_drops_are_gaps() {
    let service = launch(options().queue(10, 1000, Overflow::Refuse));
    let error = service.send(Topic::EVENT, [0; 1001]).unwrap_err();
    assert!(
        matches!(error, RpcError::QueueFull { bytes: 1001, .. }),
        "{error}"
    );
    assert_eq!(service.stats().refused, 1);

    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let service = launch(options().queue(4, 1 << 20, overflow));
        let tap = service.tap(100_000);
        for number in 0..20_000 {
            service
                .send_dict(Topic::new(7), &json!({"n": number}))
                .unwrap();
        }
        service.stop();
        let messages: Vec<_> = tap.iter().filter(|m| m.topic == Topic::new(7)).collect();
        for message in &messages {
            let number = body(message)["n"].as_u64().unwrap();
            assert_eq!(message.sequence, Some(number + 1), "{overflow:?}");
        }
        assert_eq!(messages.len() as u64 + service.stats().dropped, 20_000);
    }
}

#[test]
fn slow_subscriber_holds_up_publishing_where_that_is_wanted() {
    let options = options()
        .send_hwm(4)
        .queue(20, 1 << 30, Overflow::Refuse)
        .back_pressure(true);
    let service = launch(options.linger(Duration::from_millis(200)));
    let slow = raw(SocketKind::Sub, &raw_options().recv_hwm(1));
    follow(&slow, &service, &[Topic::EVENT]);
    let mut body = vec![b'x'; 1 << 20];
    // More than the system holds for a connection.
    let mut publish = |number: u32| {
        body[..4].copy_from_slice(&number.to_le_bytes());
        match service.send(Topic::EVENT, &body) {
            Ok(()) => true,
            Err(RpcError::QueueFull { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let mut number = 0;
    eventually("it is held up", || {
        number += u32::from(publish(number));
        let stats = service.stats();
        stats.held_up > Duration::ZERO && stats.queue_depth >= 20
    });
    let held = service.stats();
    assert!(held.published < 200 && held.queue_depth >= 20, "{held:?}");
    for number in 0..u32::try_from(held.published).unwrap() {
        let message = recv_published(&slow);
        assert_eq!(message.body[..4], number.to_le_bytes());
    }
    eventually("publishing goes on", || {
        service.stats().published > held.published
    });
    // Who never reads again is not waited for longer than the linger.
    for number in 0..200 {
        if !publish(number) {
            break;
        }
    }
    let started = Instant::now();
    let service = in_time("the stop", move || {
        service.stop();
        service
    });
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(service.stats().held_up, Duration::ZERO);
    drop(slow);
}

#[test]
fn subscriber_that_goes_lets_publishing_go_on() {
    let options = options().send_hwm(4).back_pressure(true);
    let service = launch(options.queue(10, 1 << 30, Overflow::Refuse));
    let stuck = raw(SocketKind::Sub, &raw_options().recv_hwm(1));
    follow(&stuck, &service, &[Topic::EVENT]);
    eventually("it is held up", || {
        // Full is what it is to become.
        let _ = service.send(Topic::EVENT, vec![b'x'; 1 << 20]);
        service.stats().held_up > Duration::ZERO
    });
    drop(stuck);
    eventually("the queue is empty", || service.stats().queue_depth == 0);
    let other = subscriber(&service, &[Topic::EVENT]);
    service.send(Topic::EVENT, b"on").unwrap();
    assert_eq!(recv_published(&other).body, b"on");
}

#[test]
fn tap_sees_everything_in_order_and_counts_what_it_missed() {
    let service = launch(options());
    let all = service.tap(10_000);
    let slow = service.tap(4);
    for number in 0..1000 {
        service
            .send_dict(Topic::EVENT, &json!({"n": number}))
            .unwrap();
    }
    service.stop();
    let passed: Vec<_> = all.iter().collect();
    let events: Vec<_> = passed.iter().filter(|m| m.topic == Topic::EVENT).collect();
    assert_eq!(events.len(), 1000);
    for (number, message) in events.iter().enumerate() {
        assert_eq!(message.sequence, Some(number as u64 + 1));
        assert_eq!(message.epoch, service.epoch());
        assert_eq!(body(message)["n"], number);
    }
    let kept = slow.iter().count() as u64;
    assert_eq!(kept, 4);
    assert_eq!(all.lost(), 0);
    assert_eq!(slow.lost(), service.stats().tap_lost);
    assert_eq!(kept + slow.lost(), passed.len() as u64);
    assert_eq!(slow.recv(), None, "the tap ends with the service");
}

#[test]
fn heartbeats_and_events_go_on_while_a_delegate_blocks() {
    let service = launch(options().heartbeat_interval(Duration::from_millis(20)));
    let (release, released) = bounded::<()>(0);
    let (entered, in_delegate) = bounded(1);
    service.set_delegate(move |_: &CommandRequest| {
        entered.send(()).unwrap();
        let _ = released.recv_timeout(LIMIT);
        CommandResponse::success()
    });
    let requester = connected(SocketKind::Req, service.command_port());
    requester.send_bytes(br#"{"command": 400}"#, false).unwrap();
    in_delegate.recv_timeout(LIMIT).unwrap();
    let socket = subscriber(&service, &[Topic::EVENT]);
    service.send_string(Topic::EVENT, "meanwhile").unwrap();
    assert_eq!(recv_published(&socket).body, b"meanwhile");
    let mut busy = 0.0;
    for _ in 0..5 {
        let heartbeat = recv_message(&socket).heartbeat().unwrap();
        let now = heartbeat.delegate_busy.unwrap();
        assert!(now > busy);
        busy = now;
    }
    assert!(service.stats().delegate_busy > Duration::ZERO);
    release.send(()).unwrap();
    let reply: Value = serde_json::from_slice(&recv_frames(&requester)[0]).unwrap();
    assert_eq!(reply["result"], 100);
    eventually("the delegate is idle", || {
        service.stats().delegate_busy.is_zero()
    });
}

#[test]
fn only_subscriptions_are_counted() {
    let service = launch(options());
    let socket = subscriber(&service, &[Topic::EVENT]);
    socket.unsubscribe(&Topic::EVENT.to_bytes()).unwrap();
    socket.subscribe(&Topic::new(9).to_bytes()).unwrap();
    eventually("three subscriptions", || service.stats().subscriptions == 3);
    drop(socket);
    let again = subscriber(&service, &[]);
    assert_eq!(
        service.stats().subscriptions,
        4,
        "an end is no subscription"
    );
    drop(again);
}
