//! Subscriptions over real sockets: gaps, restarts, silence, and publishers that misbehave.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use acqbus::rpc::{ClientOptions, EventKind, Notice, RemoteClient, Subscription, Topic};
use acqbus::zsocket::{Socket, SocketKind};
use serde_json::json;

use common::bus::{
    LIMIT, bound, client, client_options, eventually, free_port, heartbeat, in_time, launch,
    options, publish, recv_frames, send_frames, until, until_connected,
};

fn connect(options: ClientOptions) -> RemoteClient {
    RemoteClient::connect(options).unwrap()
}

fn event(publisher: &Socket, epoch: u64, sequence: u64) {
    let body = format!(r#"{{"kind": 1101, "epoch": {epoch}, "sequence": {sequence}}}"#);
    publish(publisher, Topic::EVENT, &body);
}

/// A raw publisher that one subscription of a client has reached; with its client.
fn followed(topics: &[Topic]) -> (Socket, Subscription) {
    let (publisher, number) = bound(SocketKind::Xpub);
    let client = connect(ClientOptions::default().ports(number, free_port()));
    let subscription = client.subscribe(topics).unwrap();
    // One message for each topic, and heartbeats.
    let count = if topics.is_empty() {
        1
    } else {
        topics.len() + 1
    };
    for _ in 0..count {
        assert_eq!(recv_frames(&publisher)[0][0], 1);
    }
    (publisher, subscription)
}

fn next(subscription: &Subscription) -> Notice {
    loop {
        let notice = subscription.recv_timeout(LIMIT).expect("a notice in time");
        if notice != Notice::Linked {
            return notice;
        }
    }
}

#[test]
fn only_wanted_topics_are_handed_on() {
    let (publisher, subscription) = followed(&[Topic::PROPERTY_CHANGE]);
    heartbeat(&publisher, 9, 1, 0);
    publish(&publisher, Topic::EVENT, "unwanted");
    publish(&publisher, Topic::PROPERTY_CHANGE, "wanted");
    heartbeat(&publisher, 9, 2, 1);
    publish(&publisher, Topic::PROPERTY_CHANGE, "the end");
    assert!(matches!(next(&subscription), Notice::Connected { .. }));
    for expected in ["wanted", "the end"] {
        let Notice::Message(message) = next(&subscription) else {
            panic!("a message, and no heartbeat");
        };
        assert_eq!(message.body, expected.as_bytes());
    }
}

#[test]
fn skipped_numbers_are_reported_before_the_message_that_shows_them() {
    let (publisher, subscription) = followed(&[Topic::EVENT]);
    heartbeat(&publisher, 9, 1, 4);
    event(&publisher, 9, 5);
    event(&publisher, 9, 8);
    heartbeat(&publisher, 9, 2, 10);
    let gap = |first, count| Notice::Gap {
        topic: Topic::EVENT,
        first,
        count,
    };
    assert!(matches!(
        next(&subscription),
        Notice::Connected { epoch: Some(9), .. }
    ));
    assert!(matches!(next(&subscription), Notice::Message(message) if message.sequence == Some(5)));
    assert_eq!(next(&subscription), gap(6, 2));
    assert!(matches!(next(&subscription), Notice::Message(message) if message.sequence == Some(8)));
    assert_eq!(next(&subscription), gap(9, 2));
}

#[test]
fn sleeping_subscriber_is_told_the_exact_gap_and_others_lose_nothing() {
    const EVENTS: u64 = 6_000;
    let often = Duration::from_millis(500);
    let service = launch(options().send_hwm(200).heartbeat_interval(often));
    let client = client(&service);
    let sleeping = connect(client_options(&service).buffers(10, 1));
    let sleeper = sleeping.subscribe(&[Topic::EVENT]).unwrap();
    let reader = client.subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&sleeper);
    until_connected(&reader);
    let filler = "x".repeat(4_000);
    for number in 1..=EVENTS {
        service
            .send_dict(Topic::EVENT, &json!({"n": number, "filler": filler}))
            .unwrap();
        if number % 100 == 0 {
            for expected in number - 99..=number {
                let Notice::Message(message) = next(&reader) else {
                    panic!("the reader lost something");
                };
                assert_eq!(message.sequence, Some(expected));
            }
        }
    }
    let mut heard = BTreeSet::new();
    let mut missed = 0;
    let mut told = BTreeSet::new();
    while heard.len() + told.len() < EVENTS as usize {
        match sleeper
            .recv_timeout(LIMIT)
            .expect("every event is accounted for")
        {
            Notice::Message(message) => {
                let number = message.sequence.unwrap();
                assert_eq!(message.json(64).unwrap()["n"], number);
                assert!(heard.insert(number));
            }
            Notice::Gap {
                topic,
                first,
                count,
            } => {
                assert_eq!(topic, Topic::EVENT);
                missed += count;
                told.extend(first..first + count);
            }
            other => panic!("a sleeper hears of losses only: {other:?}"),
        }
    }
    assert_eq!(missed, told.len() as u64, "no number is told twice");
    assert!(missed > 0, "the sleeper was meant to lose some");
    assert!(heard.is_disjoint(&told));
    assert_eq!(heard.union(&told).count() as u64, EVENTS);
}

#[test]
fn reader_that_is_behind_takes_no_service_for_silent() {
    const EVENTS: u64 = 4_000;
    let service = launch(options().heartbeat_interval(Duration::from_millis(100)));
    let patient = client_options(&service).heartbeat_timeout(Some(LIMIT));
    let clock = connect(patient).subscribe(&[Topic::HEARTBEAT]).unwrap();
    let slow = connect(client_options(&service).buffers(10, 1));
    let slow = slow.subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&slow);
    let beats = |count| {
        for _ in 0..count {
            until(&clock, |notice| {
                matches!(notice, Notice::Message(_)).then_some(())
            });
        }
    };
    let filler = "x".repeat(2_000);
    for number in 1..=EVENTS {
        service
            .send_dict(Topic::EVENT, &json!({"n": number, "filler": filler}))
            .unwrap();
    }
    // Longer than the three intervals after which silence is told.
    beats(10);
    for expected in 1..=EVENTS {
        match slow.recv_timeout(LIMIT).expect("every event") {
            Notice::Message(message) => assert_eq!(message.sequence, Some(expected)),
            other => panic!("at {expected}: {other:?}"),
        }
        if expected == EVENTS / 2 {
            beats(5);
        }
    }
}

#[test]
fn members_of_the_application_are_not_taken_for_the_services() {
    let service = launch(options());
    let subscription = client(&service).subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&subscription);
    for body in [
        json!({"kind": 1}),
        json!({"kind": 2, "epoch": 7, "sequence": 9}),
        json!({"kind": 3}),
    ] {
        service.send_dict(Topic::EVENT, &body).unwrap();
        let Notice::Message(message) = next(&subscription) else {
            panic!("no restart and no gap");
        };
        assert_eq!(message.json(8).unwrap()["kind"], body["kind"]);
    }
}

#[test]
fn silence_and_its_end_are_reported() {
    let (publisher, number) = bound(SocketKind::Xpub);
    let options = ClientOptions::default()
        .ports(number, free_port())
        .heartbeat_timeout(Some(Duration::from_millis(60)));
    let subscription = connect(options).subscribe(&[Topic::EVENT]).unwrap();
    recv_frames(&publisher);
    recv_frames(&publisher);
    for sequence in 1..=2 {
        heartbeat(&publisher, 1, sequence, 0);
        assert!(matches!(next(&subscription), Notice::Connected { .. }));
        let Notice::HeartbeatLost { silent_for } = next(&subscription) else {
            panic!("silence is reported");
        };
        assert!(silent_for >= Duration::from_millis(60));
    }
}

#[test]
fn restart_is_reported_with_its_epoch_and_what_came_before_as_a_gap() {
    let service = launch(options());
    let (events, commands) = (service.subscriber_port(), service.command_port());
    let first = service.epoch();
    let subscription = client(&service).subscribe(&[Topic::EVENT]).unwrap();
    let connected = |notice: &Notice| match notice {
        Notice::Connected { epoch, .. } => Some(*epoch),
        _ => None,
    };
    assert_eq!(until(&subscription, connected), first);
    drop(service);
    assert_eq!(next(&subscription), Notice::Disconnected);
    let service = launch(options().ports(events, commands));
    service
        .send_string(Topic::EVENT, "before the subscriber is back")
        .unwrap();
    let epoch = service.epoch().unwrap();
    assert_ne!(Some(epoch), first);
    let mut states = Vec::new();
    let mut heard = Vec::new();
    let mut missed = 0;
    while heard.last().is_none_or(|body| body != b"after") {
        match next(&subscription) {
            Notice::Message(message) => heard.push(message.body),
            Notice::Gap { count, .. } => missed += count,
            state => {
                if matches!(state, Notice::Connected { .. }) {
                    service.send_string(Topic::EVENT, "after").unwrap();
                }
                states.push(state);
            }
        }
    }
    assert_eq!(states[0], Notice::Restarted { epoch });
    assert!(matches!(states[1], Notice::Connected { epoch: Some(new), .. } if new == epoch));
    // A subscriber that is back early hears it; else it is told what it missed.
    let first = &b"before the subscriber is back"[..];
    assert_eq!(missed, u64::from(heard[0] != first), "{heard:?}");
}

#[test]
fn malformed_messages_are_counted_and_skipped() {
    let (publisher, subscription) = followed(&[]);
    let topic = Topic::EVENT.to_bytes();
    send_frames(&publisher, &[&topic[..]]);
    send_frames(&publisher, &[&topic[..], b"{}", b"{}"]);
    send_frames(&publisher, &[&topic[..3], b"{}"]);
    send_frames(&publisher, &[&b""[..], b""]);
    send_frames(&publisher, &[&b"12345"[..], b"{}"]);
    let many: Vec<&[u8]> = vec![&topic; 100];
    send_frames(&publisher, &many);
    publish(&publisher, Topic::HEARTBEAT, "not a heartbeat");
    publish(&publisher, Topic::EVENT, "good");
    assert!(
        matches!(next(&subscription), Notice::Message(message) if message.topic == Topic::HEARTBEAT)
    );
    assert!(matches!(next(&subscription), Notice::Message(message) if message.body == b"good"));
    assert_eq!(subscription.malformed(), 6);
}

#[test]
fn events_of_every_dialect_are_read() {
    let (publisher, subscription) = followed(&[Topic::EVENT]);
    for body in [
        r#"{"kind": 1101, "when": 1.5, "index": 3, "context": {"a": 1}}"#,
        r#""{\"kind\":1101,\"when\":1.5,\"index\":3,\"context\":{\"a\":1}}""#,
    ] {
        publish(&publisher, Topic::EVENT, body);
        let Notice::Message(message) = next(&subscription) else {
            panic!("a message");
        };
        let event = message.event().unwrap();
        assert_eq!(event.kind, EventKind::TunnelEnter);
        assert_eq!(event.context, Some(json!({"a": 1})));
        assert_eq!(message.sequence, None);
    }
}

#[test]
fn subscription_that_nobody_reads_ends_at_once() {
    let service = launch(options());
    let options = client_options(&service).buffers(10, 1);
    let subscription = connect(options).subscribe(&[]).unwrap();
    until_connected(&subscription);
    for _ in 0..1000 {
        service.send_string(Topic::EVENT, "unread").unwrap();
    }
    in_time("dropping a full subscription", move || drop(subscription));
}

#[test]
fn client_may_go_before_its_subscription() {
    let service = launch(options());
    let client = client(&service);
    let subscription = client.subscribe(&[Topic::EVENT]).unwrap();
    drop(client);
    until_connected(&subscription);
    service.send_string(Topic::EVENT, "x").unwrap();
    until(&subscription, |notice| {
        matches!(notice, Notice::Message(_)).then_some(())
    });
}

#[test]
fn subscription_ends_even_while_its_full_queue_is_held() {
    let service = launch(options());
    let options = client_options(&service).buffers(10, 1);
    let subscription = connect(options).subscribe(&[]).unwrap();
    until_connected(&subscription);
    for _ in 0..1000 {
        service.send_string(Topic::EVENT, "unread").unwrap();
    }
    let held = subscription.notices().clone();
    eventually("the queue is full", || {
        held.is_full() && service.stats().queue_depth == 0
    });
    in_time("dropping a subscription whose queue is held", move || {
        drop(subscription)
    });
    assert!(held.iter().count() <= 2, "what was queued, then the end");
}
