//! Properties of the control plane's codecs, and damage that they must survive.

mod common;

use std::time::Instant;

use acqbus::rpc::answer::{RequestLimits, answer};
use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandResponse, CommandResult, Dialect, Message, Nonce, Response,
    Topic, append_extras, case, decode_request, encode_reply, encode_request, json,
};
use common::mutate::Dice;
use common::{items, unhex, vectors};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON value: odd keys, any integer, any finite float, nested a little.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| if float.is_finite() {
            Value::from(float)
        } else {
            Value::Null
        }),
        "\\PC{0,8}".prop_map(Value::from),
        "[1-9][0-9]{20,40}".prop_map(|digits| json::parse(digits.as_bytes(), 0).expect("digits")),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let key = prop_oneof![
            "[a-z]{1,4}(_[a-z0-9]{1,3}){0,2}",
            "[A-Za-z0-9_ -]{0,6}",
            "\\PC{0,4}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn dialects() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Plain), Just(Dialect::JsonString)]
}

fn commands() -> impl Strategy<Value = ApiCommand> {
    prop::sample::select(ApiCommand::all(Dialect::Plain))
}

fn camelized(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(camelized).collect(),
        Value::Object(members) => {
            let mut out = Map::new();
            for (key, value) in members {
                out.insert(case::camelize(key).into_owned(), camelized(value));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

/// The value as it reads after being written: a float's exponent may be spelled otherwise.
fn reread(value: &Value) -> Value {
    let mut text = Vec::new();
    json::to_json(value, &mut text).expect("serialisable");
    json::parse(&text, 64).expect("our text is JSON")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn written_values_read_back_with_camel_case_keys(value in values()) {
        let mut text = b"before".to_vec();
        json::to_camel_json(&value, &mut text).expect("serialisable");
        prop_assert!(text.is_ascii() && text.starts_with(b"before"));
        let read = json::parse(&text[6..], 64).expect("our text is JSON");
        prop_assert_eq!(&read, &reread(&camelized(&value)));
        let compact = json::compact(&text[6..]);
        prop_assert_eq!(json::parse(&compact, 64), Ok(read));
    }

    #[test]
    fn our_reader_agrees_with_serde_json(value in values()) {
        let text = serde_json::to_vec_pretty(&value).expect("serialisable");
        let theirs: Value = serde_json::from_slice(&text).expect("JSON");
        prop_assert_eq!(json::parse(&text, 64), Ok(theirs));
    }

    #[test]
    fn lower_words_survive_camel_case_and_back(words in prop::collection::vec("[a-z]{2,6}", 1..5)) {
        let key = words.join("_");
        let camel = case::camelize(&key).into_owned();
        prop_assert_eq!(case::camelize(&camel), &*camel);
        prop_assert_eq!(case::decamelize(&camel), key);
    }

    #[test]
    fn any_key_is_rewritten_without_harm(key in any::<String>()) {
        let camel = case::camelize(&key);
        let snake = case::decamelize(&key);
        prop_assert!(camel.len() <= 4 * key.len() && snake.len() <= 5 * key.len());
    }

    #[test]
    fn requests_read_back(
        command in commands(),
        custom in values(),
        nonce in values(),
        data in values(),
        cut in any::<prop::sample::Index>(),
    ) {
        let request = CommandRequest::new(command)
            .with_custom_command(custom)
            .with_nonce(Nonce::new(nonce))
            .with_data(&data)
            .expect("serialisable");
        let frame = encode_request(&request, None);
        let read = decode_request(&frame, 64, Dialect::Plain).expect("usable");
        prop_assert_eq!(read.command(), command);
        prop_assert_eq!(read.custom_command_value(), &reread(request.custom_command_value()));
        prop_assert_eq!(read.nonce(), request.nonce());
        prop_assert_eq!(read.data(), request.data());
        let length = cut.index(frame.len());
        prop_assert!(decode_request(&frame[..length], 64, Dialect::Plain).is_err());
    }

    #[test]
    fn replies_read_back(
        command in commands(),
        dialect in dialects(),
        nonce in values(),
        data in values(),
        result in any::<i64>(),
        code in any::<i64>(),
        message in prop::option::of(any::<String>()),
        cut in any::<prop::sample::Index>(),
    ) {
        let nonce = Nonce::new(nonce);
        let mut response = CommandResponse::new(CommandResult::from_number(result))
            .with_data(&data)
            .with_error_code(code);
        if let Some(message) = &message {
            response = response.with_error_message(message.clone());
        }
        let mut frame = Vec::new();
        encode_reply(&nonce, command, &response, dialect, &mut frame);
        let read = Response::decode(&frame, 64).expect("a reply");
        prop_assert_eq!(read.nonce(), &nonce);
        prop_assert_eq!(read.command(), command.number_in(dialect));
        prop_assert_eq!(read.result().number(), result);
        prop_assert_eq!(read.data(), &reread(&camelized(&data)));
        prop_assert_eq!(read.error_code(), code);
        prop_assert_eq!(read.error_message(), message.as_deref());
        let length = cut.index(frame.len());
        prop_assert!(Response::decode(&frame[..length], 64).is_err());
    }

    #[test]
    fn extras_read_back_from_any_object(
        members in prop::collection::vec(("[a-z]{1,6}\"?", values()), 0..4),
        dialect in dialects(),
        epoch in any::<u64>(),
        sequence in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut value = Value::Object(members.into_iter().collect());
        let mut text = Vec::new();
        let shape = json::to_camel_json(&value, &mut text).expect("serialisable");
        prop_assume!(!shape.reserved);
        let mut body = dialect.publish_form(&text).into_owned();
        append_extras(&mut body, epoch, sequence, dialect);
        let read = Message::decode(&Topic::EVENT.to_bytes(), body.clone()).expect("a message");
        prop_assert_eq!((read.epoch, read.sequence), (Some(epoch), Some(sequence)));
        value["epoch"] = epoch.into();
        value["sequence"] = sequence.into();
        prop_assert_eq!(read.json(64), Ok(reread(&camelized(&value))));
        let length = cut.index(body.len());
        let cut = Message::decode(&Topic::EVENT.to_bytes(), &body[..length]).expect("a topic");
        prop_assert!(cut.json(64).is_err());
        prop_assert_eq!(cut.sequence, None);
    }
}

#[test]
fn a_million_damaged_frames_do_no_harm() {
    const THREADS: u64 = 4;
    const FRAMES: u32 = 1_000_000;
    let started = Instant::now();
    let requests = seeds(
        &["commands-0.12.0.json", "commands-0.9.7.json"],
        "request_hex",
        REQUEST,
    );
    let bodies = seeds(
        &["publish-0.12.0.json", "publish-0.9.7.json"],
        "frames",
        BODY,
    );
    let (requests, bodies) = (&requests, &bodies);
    let (usable, marked) = std::thread::scope(|scope| {
        let share = |seed| move || damage(requests, bodies, Dice(seed), FRAMES / THREADS as u32);
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(share(seed))).collect();
        let counts = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    });
    println!(
        "{usable} requests still usable, {marked} messages still marked, {:?}",
        started.elapsed()
    );
    assert!(
        usable > FRAMES / 100,
        "the damage leaves hardly any request usable: {usable}"
    );
    assert!(
        marked > FRAMES / 100,
        "the damage leaves hardly any message marked: {marked}"
    );
}

/// Gives damaged requests to the service's answer and damaged bodies to the client's readers; counts those that
/// are still requests, and still marked with a sequence.
fn damage(requests: &[Vec<u8>], bodies: &[Vec<u8>], mut dice: Dice, frames: u32) -> (u32, u32) {
    let (mut usable, mut marked) = (0, 0);
    let (mut frame, mut reply) = (Vec::new(), Vec::new());
    for round in 0..frames {
        let dialect = if round % 4 < 2 {
            Dialect::Plain
        } else {
            Dialect::JsonString
        };
        if round % 2 == 0 {
            let seed = dice.below(requests.len());
            dice.mutate(&requests[seed], &mut frame);
            reply.clear();
            let delegate = |request: &mut CommandRequest| {
                usable += 1;
                CommandResponse::success().with_data(request.data())
            };
            answer(
                &[&frame],
                RequestLimits::default(),
                dialect,
                Some(delegate),
                &mut reply,
            );
            // Whatever came, the client gets a reply that it can read; reading every one would take too long.
            if round % 16 == 0 {
                Response::decode(&reply, 200).expect("our reply is a reply");
            }
        } else {
            let seed = dice.below(bodies.len());
            dice.mutate(&bodies[seed], &mut frame);
            let topic = if round % 8 < 4 {
                Topic::EVENT
            } else {
                Topic::COMMAND_RESULT
            };
            let message = Message::decode(&topic.to_bytes(), frame.as_slice()).expect("a topic");
            marked += u32::from(message.sequence.is_some());
            let _event = message.event();
            let _result = message.command_result();
        }
    }
    (usable, marked)
}

#[test]
fn deep_and_long_requests_are_refused_at_once() {
    let called = std::cell::Cell::new(0);
    let delegate = |_: &mut CommandRequest| {
        called.set(called.get() + 1);
        CommandResponse::success()
    };
    let limits = RequestLimits::default();
    let data = |size: usize| {
        let envelope = br#"{"command":400,"data":""}"#.len();
        format!(
            r#"{{"command":400,"data":"{}"}}"#,
            "x".repeat(size - envelope)
        )
    };
    let nested = |levels: usize| {
        format!(
            r#"{{"command":400,"data":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    for (frame, is_usable) in [
        (data(limits.bytes), true),
        (data(limits.bytes + 1), false),
        (nested(limits.depth - 1), true),
        (nested(limits.depth), false),
        (nested(100_000), false),
        ("[".repeat(100_000), false),
        (r#"{"a":"#.repeat(100_000), false),
        ("9".repeat(100_000), false),
    ] {
        called.set(0);
        let mut reply = Vec::new();
        answer(
            &[&frame],
            limits,
            Dialect::Plain,
            Some(delegate),
            &mut reply,
        );
        assert_eq!(called.get(), i32::from(is_usable), "{} bytes", frame.len());
        Response::decode(&reply, 64).expect("our reply is a reply");
    }
}

#[test]
fn requests_of_many_frames_are_refused_as_one() {
    for frames in 2..=64 {
        let good = br#"{"command": 400, "nonce": 1}"#;
        let mut reply = Vec::new();
        let delegate = |_: &mut CommandRequest| -> CommandResponse { panic!("must not be asked") };
        answer(
            &vec![good; frames],
            RequestLimits::default(),
            Dialect::Plain,
            Some(delegate),
            &mut reply,
        );
        let read = Response::decode(&reply, 64).expect("a reply");
        let said = format!("request has {frames} frames, not 1");
        assert_eq!(read.error_message(), Some(said.as_str()));
    }
}

/// Frames of the vectors, at most 400 bytes long, and one of ours.
fn seeds(files: &[&str], member: &str, ours: &[u8]) -> Vec<Vec<u8>> {
    let found = files.iter().filter_map(|file| vectors(file));
    let mut seeds: Vec<Vec<u8>> = vec![ours.to_vec()];
    for file in found {
        for case in items(&file, "cases") {
            let hex = match member {
                "frames" => case["frames"][0][1].as_str(),
                _ => case[member].as_str(),
            };
            let mut frame = unhex(hex.unwrap_or_default());
            if member == "frames" {
                let dialect = if frame.starts_with(b"\"") {
                    Dialect::JsonString
                } else {
                    Dialect::Plain
                };
                append_extras(&mut frame, 1_795_175_999, 77, dialect);
            }
            seeds.extend((1..400).contains(&frame.len()).then_some(frame));
        }
    }
    seeds
}

const REQUEST: &[u8] = br#"{"command": 400, "nonce": 7, "data": {"a_b": [1, {"c": "d"}]}}"#;
const BODY: &[u8] = br#"{"kind": 101, "when": 1.5, "index": 2, "epoch": 3, "sequence": 4}"#;
