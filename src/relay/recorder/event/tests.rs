use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::EventId;
use crate::rpc::append_extras;

fn numbered(topic: Topic, body: &[u8], place: Option<(u64, u64)>) -> Message {
    let mut message = Message::of(topic, body.to_vec());
    message.epoch = place.map(|(epoch, _)| epoch);
    message.sequence = place.map(|(_, sequence)| sequence);
    message
}

/// As a service publishes it in a dialect.
fn published(topic: Topic, body: &str, dialect: Dialect) -> Message {
    let mut text = dialect.publish_form(body.as_bytes()).into_owned();
    append_extras(&mut text, 7, 3, dialect);
    Message::of(topic, text)
}

fn registered(message: &Message) -> Event {
    event_of("rig-1", message).register(EventId::new(1, 2, 3), Timestamp::new(9, 0))
}

#[test]
fn what_an_engine_says_of_itself_is_no_message() {
    let started = RegisterEvent::new(EventType::from("event/1/engine"))
        .with_payload(Json::from_serialize("STARTED").ok().map(Payload::from));
    let event = started.register(EventId::new(1, 1, 1), Timestamp::new(9, 0));
    assert_eq!(message_of(&event), None);
}

#[test]
fn every_topic_has_its_type_and_time_in_both_dialects() {
    for (topic, body, event_type, when) in [
        (
            Topic::EVENT,
            r#"{"kind": 1331, "when": 1735787045.25, "index": 7, "context": null, "repeat": 0}"#,
            "rig-1/event/sessionStarted",
            Some(Timestamp::new(1_735_787_045, 250_000)),
        ),
        (
            Topic::EVENT,
            r#"{"kind": -4, "when": "x"}"#,
            "rig-1/event/-4",
            None,
        ),
        (Topic::EVENT, r#"{"kind": "x"}"#, "rig-1/event/other", None),
        (
            Topic::EMERGENCY,
            r#"{"kind": 101, "when": 5}"#,
            "rig-1/emergency/emergencyStop",
            Some(Timestamp::new(5, 0)),
        ),
        (
            Topic::PROPERTY_CHANGE,
            r#"{"target": 3, "name": "gain", "newValue": 2, "oldValue": 1}"#,
            "rig-1/propertyChange/gain",
            None,
        ),
        (
            Topic::PROPERTY_CHANGE,
            r#"{"target": 3}"#,
            "rig-1/propertyChange/object",
            None,
        ),
        (
            Topic::COMMAND_RESULT,
            r#"{"result": 100, "data": null, "command": 400, "nonce": 1}"#,
            "rig-1/commandResult/getStatus",
            None,
        ),
        (
            Topic::COMMAND_PROGRESS,
            r#"{"result": 201, "command": 77777, "nonce": 1}"#,
            "rig-1/commandProgress/77777",
            None,
        ),
        (
            Topic::HEARTBEAT,
            r#"{"identifier": "rig-1", "version": "1", "timestamp": 1.5}"#,
            "rig-1/heartbeat/alive",
            Some(Timestamp::new(1, 500_000)),
        ),
        (Topic::ANY, "{}", "rig-1/any/object", None),
        (
            Topic::new(77),
            r#"{"when": 2}"#,
            "rig-1/77/object",
            Some(Timestamp::new(2, 0)),
        ),
    ] {
        for dialect in [Dialect::Plain, Dialect::JsonString] {
            let message = published(topic, body, dialect);
            assert_eq!((message.epoch, message.sequence), (Some(7), Some(3)));
            let event = registered(&message);
            assert_eq!(event.event_type.to_string(), event_type);
            assert_eq!(event.source_timestamp, when, "{body}");
            let json = event.payload.as_ref().and_then(Payload::as_json);
            assert_eq!(
                json.expect("a JSON payload").as_str().as_bytes(),
                message.body
            );
            assert_eq!(message_of(&event), Some(message));
        }
    }
}

#[test]
fn command_of_the_string_dialect_has_its_own_number() {
    let message = published(
        Topic::COMMAND_RESULT,
        r#"{"result": 100, "command": 100, "nonce": 1}"#,
        Dialect::JsonString,
    );
    assert_eq!(
        registered(&message).event_type.to_string(),
        "rig-1/commandResult/startAcquisition"
    );
}

#[test]
fn body_that_does_not_tell_its_place_is_bytes_with_a_kind_that_does() {
    let place = Some((7, 3));
    for (body, form) in [
        (&b"[1]"[..], "value"),
        (b"12", "value"),
        (b"warm", "text"),
        (b"", "text"),
        (b"\xff\x00", "bytes"),
        // The application's own members, of another place.
        (br#"{"epoch": 1, "sequence": 2}"#, "object"),
        (br#"{"a": NaN, "epoch": 7, "sequence": 3}"#, "text"),
    ] {
        let message = numbered(Topic::new(77), body, place);
        let event = registered(&message);
        assert_eq!(event.event_type.to_string(), format!("rig-1/77/{form}"));
        let binary = event.payload.as_ref().and_then(Payload::as_binary);
        assert_eq!(binary.expect("bytes").kind(), "acqbus.message/7/3");
        assert_eq!(message_of(&event), Some(message));
    }
}

#[test]
fn message_of_a_service_that_numbers_nothing_comes_back_without_a_place() {
    for body in [&b"{}"[..], b"warm", b"\xff"] {
        let message = numbered(Topic::EVENT, body, None);
        assert_eq!(message_of(&registered(&message)), Some(message));
    }
}

#[test]
fn events_of_others_are_no_messages() {
    let event = |event_type: &str, payload: Payload| {
        Event::new(
            EventId::new(1, 1, 1),
            event_type.into(),
            Timestamp::new(1, 0),
        )
        .with_payload(payload)
    };
    let json = || Payload::from(Json::new("1").expect("JSON"));
    let binary = |kind: &str| Payload::from(Binary::new(kind, &b"x"[..]));
    assert!(message_of(&event("rig/event/x", json())).is_some());
    for event in [
        event("rig/event", json()),
        event("rig/event/x/y", json()),
        event("rig/nothing/x", json()),
        event("rig/event/x", binary("image")),
        event("rig/event/x", binary("acqbus.message/1")),
        event("rig/event/x", binary("acqbus.message/1/x")),
        event("rig/event/x", binary("acqbus.messages")),
    ] {
        assert_eq!(message_of(&event), None, "{event:?}");
    }
}

#[test]
fn gap_says_what_is_missing() {
    let event = gap_event("rig-1", Topic::EVENT, Some(7), 5, 2);
    assert_eq!(event.event_type.to_string(), "rig-1/gap");
    let json = event.payload.as_ref().and_then(Payload::as_json);
    assert_eq!(
        json.expect("JSON").to_value(),
        json!({"topic": 4001, "name": "event", "epoch": 7, "first": 5, "count": 2})
    );
}

proptest! {
    #[test]
    fn every_message_comes_back_byte_for_byte(
        topic in prop_oneof![
            prop::sample::select(Topic::NAMED.to_vec()), any::<u32>().prop_map(Topic::new)],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            ".{0,30}".prop_map(String::into_bytes),
            (any::<u64>(), any::<u64>()).prop_map(|(epoch, sequence)| {
                format!(r#"{{"a": 1, "epoch": {epoch}, "sequence": {sequence}}}"#).into_bytes()
            }),
        ],
        place in prop::option::of((any::<u64>(), any::<u64>())),
        told: bool,
    ) {
        let place = if told { Message::place_of_body(&body) } else { place };
        let message = numbered(topic, &body, place);
        prop_assert_eq!(message_of(&registered(&message)), Some(message));
    }
}
