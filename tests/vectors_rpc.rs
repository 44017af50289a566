//! The bytes of the control plane against those of the real peers.
//!
//! The vectors are in `tests/vectors/rpc`, or in `$ACQBUS_VECTORS/rpc` where that variable is set; a file may be
//! absent there. Every case of every file found is run: key rewriting, JSON text, published bodies, commands and
//! malformed requests. Enumerations and typed contexts are `vectors_rpc_kinds.rs`. The Socket.IO bridge
//! (`bridge-0.12.0.json`) is no wire of ours.

mod common;

use std::collections::HashMap;

use acqbus::rpc::answer::{Answered, RequestLimits, answer};
use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandResponse, CommandResult, Dialect, Event, EventKind,
    Heartbeat, Message, Nonce, Response, Topic, case, decode_request, encode_command_result, json,
};
use acqbus::wire::DecodeError;
use common::tagged::{Tagged, has_tag};
use common::{items, report, text, unhex};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What we answer otherwise on purpose. Each is a rule of its own in this file, and applies to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Requests that cannot be used get the reply of 0.12.0 with a text that says why, in either dialect.
    SaysWhatWasWrong,
    /// NONE is answered SUCCESS with its nonce, as its documentation promises.
    AliveIsSuccess,
    /// Extra frames are refused without asking the delegate; every peer dies of them.
    OneFrameOnly,
    /// Text in a request stays as it is; the peers rewrite it before they parse (no spaces, small letters).
    TextKept,
    /// Requests that are JSON only after that rewriting, or have their `command` only then, are refused.
    StrictReading,
    /// Nesting beyond 64 levels and requests beyond 1 MiB are refused; the peers set no limit but Python's.
    Limits,
    /// A lone surrogate, which Rust's strings cannot hold, becomes U+FFFD.
    LoneSurrogate,
    /// Values that only Python lets a program write (a set as result, an answer that is no response).
    NotATypeOfOurs,
    /// 0.9.7 writes bare NaN, loses or doubles keys that become equal, and cannot write dates.
    OldFault,
}

type Report = report::Report<Difference>;

#[test]
fn every_vector_is_answered_as_the_peers_do() {
    report::replay("rpc", &FILES);
}

const FILES: [report::File<Difference>; 8] = [
    ("humps.json", run_humps),
    ("json.json", run_json),
    ("publish-0.12.0.json", |file, report| {
        run_publish(file, Dialect::Plain, report)
    }),
    ("publish-0.9.7.json", |file, report| {
        run_publish(file, Dialect::JsonString, report)
    }),
    ("commands-0.12.0.json", |file, report| {
        run_commands(file, Dialect::Plain, report)
    }),
    ("commands-0.9.7.json", |file, report| {
        run_commands(file, Dialect::JsonString, report)
    }),
    ("malformed-0.12.0.json", |file, report| {
        run_malformed(file, Dialect::Plain, report)
    }),
    ("malformed-0.9.7.json", |file, report| {
        run_malformed(file, Dialect::JsonString, report)
    }),
];

fn run_humps(file: &Value, report: &mut Report) {
    for list in ["keys", "texts"] {
        for case in items(file, list) {
            report.ran += 1;
            let key = text(case, "in");
            report.check(
                &format!("camelize {key:?}"),
                &*case::camelize(key),
                text(case, "camelize"),
            );
            report.check(
                &format!("decamelize {key:?}"),
                &*case::decamelize(key),
                text(case, "decamelize"),
            );
        }
    }
    for case in items(file, "objects") {
        report.ran += 1;
        let value = &case["in"];
        let name = format!("object {value}");
        let ours = if value.is_array() || value.is_object() || value.is_i64() {
            camel(value)
        } else {
            // Given nothing but a scalar, pyhumps takes it for a key.
            let text = camel(&HashMap::from([(Key(value), 0)]));
            text[1..text.len() - 4].to_vec()
        };
        report.text(&name, &ours, text(case, "camelize").as_bytes());
    }
}

fn run_json(file: &Value, report: &mut Report) {
    for case in items(file, "floats") {
        report.ran += 1;
        let bits = u64::from_str_radix(text(case, "bits"), 16).expect("bits");
        let float = f64::from_bits(bits);
        if float.is_finite() {
            report.text(
                text(case, "bits"),
                &camel(&float),
                text(case, "text").as_bytes(),
            );
        } else {
            report.text(text(case, "bits"), &camel(&float), b"null");
        }
    }
    for case in items(file, "strings") {
        report.ran += 1;
        let string = String::from_utf8(unhex(text(case, "utf8_hex"))).expect("UTF-8");
        let written = text(case, "text").as_bytes();
        report.text(text(case, "utf8_hex"), &camel(&string), written);
        let read = json::parse(written, 1).expect("JSON");
        report.check(text(case, "utf8_hex"), read.as_str(), Some(string.as_str()));
    }
}

fn run_publish(file: &Value, dialect: Dialect, report: &mut Report) {
    for case in items(file, "cases") {
        report.ran += 1;
        let name = text(case, "name");
        let frames: Vec<Vec<Vec<u8>>> = items(case, "frames")
            .iter()
            .map(|message| {
                let frames = message.as_array().expect("frames");
                frames
                    .iter()
                    .map(|frame| unhex(frame.as_str().expect("hex")))
                    .collect()
            })
            .collect();
        let body = match (published(case, dialect), frames.is_empty()) {
            (Err(_), true) => continue,
            (Ok(_), true)
                if dialect == Dialect::JsonString && has_tag(&case["message"], "$date") =>
            {
                report.differs(name, Difference::OldFault);
                continue;
            }
            (Ok(body), false) => body,
            (ours, _) => {
                report.wrong.push(format!(
                    "{name}: ours {ours:?}, peers {} messages",
                    frames.len()
                ));
                continue;
            }
        };
        let topics: Vec<Topic> = frames
            .iter()
            .map(|frames| Topic::from_frame(&frames[0]).expect("a topic"))
            .collect();
        report.check(name, topics, expected_topics(case));
        for frames in &frames {
            let message = Message::from_frames(frames).expect("two frames");
            report.check(name, (message.epoch, message.sequence), (None, None));
            compare_published(name, case, dialect, &body, &message, report);
        }
    }
}

/// Our body for a case, without extras.
fn published(case: &Value, dialect: Dialect) -> Result<Vec<u8>, acqbus::rpc::RpcError> {
    let message = &case["message"];
    let mut body = Vec::new();
    match text(case, "api") {
        "send" => return Ok(unhex(text(case, "message"))),
        "send_string" => return Ok(text(case, "message").as_bytes().to_vec()),
        "heartbeat" => {
            let mut heartbeat = Heartbeat::default();
            heartbeat.identifier = text(case, "identifier").to_owned();
            heartbeat.version = if dialect == Dialect::Plain {
                "0.12.0"
            } else {
                "0.9.7"
            }
            .to_owned();
            heartbeat.timestamp = case["timestamp"].as_f64().expect("seconds");
            json::to_camel_json(&heartbeat, &mut body)?;
        }
        "send_command_result" => {
            let nonce = Nonce::new(message.get("nonce").cloned().unwrap_or(Value::from(-1)));
            let number = message["command"].as_i64().unwrap_or(0);
            let command =
                ApiCommand::from_number(number, dialect).expect("a command of the dialect");
            json::to_camel_json(&Tagged(&message["data"]), &mut body)?;
            body.clear();
            let response = response(message).expect("a response");
            encode_command_result(command, &nonce, &response, dialect, &mut body);
        }
        "send_event" => {
            let kind = EventKind::from(message["kind"].as_i64().expect("a kind"));
            let when = &message["when"];
            let when = when
                .get("$datetime")
                .unwrap_or(when)
                .as_f64()
                .expect("seconds");
            let index = message["index"].as_i64().expect("an index");
            let context = Some(Tagged(&message["context"])).filter(|context| !context.0.is_null());
            let repeat = message["repeat"]
                .as_u64()
                .and_then(|repeat| u32::try_from(repeat).ok());
            let mut event = Event::new(kind, when, index);
            event.repeat = repeat;
            match context {
                Some(context) => json::to_camel_json(&event.with_context(context), &mut body)?,
                None => json::to_camel_json(&event, &mut body)?,
            };
        }
        _ => {
            json::to_camel_json(&Tagged(message), &mut body)?;
        }
    }
    Ok(dialect.publish_form(&body).into_owned())
}

fn expected_topics(case: &Value) -> Vec<Topic> {
    let topic = match text(case, "api") {
        "heartbeat" => Topic::HEARTBEAT,
        "send_command_result" => Topic::COMMAND_RESULT,
        "send_event" | "send_event_dict" => Topic::EVENT,
        _ => Topic::new(
            case["topic"]
                .as_u64()
                .and_then(|topic| topic.try_into().ok())
                .expect("a topic"),
        ),
    };
    let kind = case["message"].get("kind").and_then(Value::as_f64);
    let emergency = topic == Topic::EVENT && matches!(kind, Some(101.0 | 102.0));
    if emergency {
        vec![Topic::EMERGENCY, topic]
    } else {
        vec![topic]
    }
}

fn compare_published(
    name: &str,
    case: &Value,
    dialect: Dialect,
    body: &[u8],
    message: &Message,
    report: &mut Report,
) {
    let api = text(case, "api");
    if has_tag(&case["message"], "$str") {
        report.differs(name, Difference::LoneSurrogate);
        if dialect == Dialect::Plain {
            report.text(name, body, &without_surrogates(&message.body));
        }
    } else if dialect == Dialect::Plain || matches!(api, "send" | "send_string") {
        report.text(name, body, &message.body);
    } else if ["$float", "$dict"]
        .iter()
        .any(|tag| has_tag(&case["message"], tag))
        || doubles_a_key(&case["message"])
    {
        report.differs(name, Difference::OldFault);
    } else {
        // Our text with the damage that 0.9.7 does must be that of 0.9.7, apart from the first letters of keys.
        report.check(name, without_damage(body), without_damage(&message.body));
        if api == "send_dict" {
            let mut text = Vec::new();
            json::to_json(&Tagged(&case["message"]), &mut text).expect("serialisable");
            let text = String::from_utf8(text).expect("ASCII");
            let damaged = case::camelize(&text).into_owned();
            report.text(
                name,
                &Dialect::JsonString.publish_form(damaged.as_bytes()),
                &message.body,
            );
        }
    }
}

/// What is left of a text when everything is gone that 0.9.7 removes or changes.
fn without_damage(text: &[u8]) -> String {
    let kept = text
        .iter()
        .filter(|byte| !matches!(byte, b' ' | b'-' | b'_'));
    String::from_utf8_lossy(&kept.map(u8::to_ascii_lowercase).collect::<Vec<_>>()).into_owned()
}

/// Whether two keys of one object become equal, of which 0.9.7 writes both.
fn doubles_a_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(doubles_a_key),
        Value::Object(members) => {
            let mut keys: Vec<_> = members.keys().map(|key| case::camelize(key)).collect();
            keys.sort();
            keys.windows(2).any(|pair| pair[0] == pair[1]) || members.values().any(doubles_a_key)
        }
        _ => false,
    }
}

fn run_commands(file: &Value, dialect: Dialect, report: &mut Report) {
    for case in items(file, "cases") {
        report.ran += 1;
        let name = text(case, "name");
        let frame = unhex(text(case, "request_hex"));
        let delegate = &case["delegate"];
        let Some(response) = response(delegate) else {
            report.differs(name, Difference::NotATypeOfOurs);
            continue;
        };
        let mut seen = None;
        let delegate =
            delegate
                .get("none_registered")
                .is_none()
                .then_some(|request: &mut CommandRequest| {
                    seen = Some(request.clone());
                    response
                });
        let mut reply = Vec::new();
        let answered = answer(
            &[&frame],
            RequestLimits::default(),
            dialect,
            delegate,
            &mut reply,
        );
        let saw = &case["delegate_saw"];
        if let (Some(seen), false) = (&seen, saw.is_null()) {
            compare_seen(name, saw, seen, dialect, report);
        }
        let peers = case["reply_hex"].as_str().map(unhex);
        let asked = decode_request(&frame, 64, dialect).ok();
        let reply = Reply {
            name,
            case,
            frame: &frame,
            dialect,
            answered,
            reply: &reply,
            peers,
            asked,
        };
        reply.compare(report);
    }
}

/// The response of a delegate; `None` if our types have no such response.
fn response(delegate: &Value) -> Option<CommandResponse> {
    if let Some(raised) = delegate.get("raise") {
        return Some(CommandResponse::exception(raised.as_str()?));
    }
    if delegate.get("return").is_some() {
        return None;
    }
    if delegate.get("none_registered").is_some() {
        return Some(CommandResponse::success());
    }
    let result = delegate.get("result").map_or(Some(0), Value::as_i64)?;
    let code = delegate.get("error_code").map_or(Some(0), Value::as_i64)?;
    let response = CommandResponse::new(CommandResult::from_number(result)).with_error_code(code);
    let response = match delegate.get("error_message") {
        None | Some(Value::Null) => response,
        Some(message) => response.with_error_message(message.as_str()?),
    };
    Some(match delegate.get("data") {
        None => response,
        Some(data) => response.with_data(&Tagged(data)),
    })
}

/// The peers rewrite the request as text, so strings and keys of theirs are compared without case, `_` and spaces.
fn compare_seen(
    name: &str,
    saw: &Value,
    seen: &CommandRequest,
    dialect: Dialect,
    report: &mut Report,
) {
    let number = seen.command().number_in(dialect);
    report.check(name, Some(number), saw["command"].as_i64());
    for (ours, peers) in [
        (seen.custom_command_value(), &saw["custom_command"]),
        (seen.nonce().value(), &saw["nonce"]),
        (seen.data(), &saw["data"]),
    ] {
        if !peers.to_string().contains("$inf") {
            report.check(name, rewritten(ours), rewritten(peers));
        }
    }
}

fn rewritten(value: &Value) -> String {
    let mut text = Vec::new();
    json::to_json(value, &mut text).expect("serialisable");
    let value: Value = serde_json::from_slice(&text).expect("JSON");
    let text = value.to_string().to_lowercase();
    let gone = [
        "\\n", "\\t", "\\r", "\\f", "\\u000b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
    ];
    let text = gone
        .iter()
        .fold(text, |text, escape| text.replace(escape, ""));
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .collect()
}

/// One reply of ours beside the peer's.
struct Reply<'a> {
    name: &'a str,
    case: &'a Value,
    frame: &'a [u8],
    dialect: Dialect,
    answered: Answered,
    reply: &'a [u8],
    peers: Option<Vec<u8>>,
    asked: Option<CommandRequest>,
}

impl Reply<'_> {
    fn compare(&self, report: &mut Report) {
        let name = self.name;
        let read = Response::decode(self.reply, 250).expect("our reply is a reply");
        if let Answered::Unusable(_) = self.answered {
            self.compare_unusable(&read, report);
            return;
        }
        let asked = self.asked.as_ref().expect("a usable request");
        if !self.rewritten_is_usable() {
            report.differs(name, Difference::TextKept);
            return;
        }
        let Some(peers) = &self.peers else {
            report.wrong.push(format!(
                "{name}: the peer has no reply to a request that we use"
            ));
            return;
        };
        if self.answered == Answered::Alive {
            report.check(
                name,
                (read.result(), read.nonce()),
                (CommandResult::Success, asked.nonce()),
            );
            report.differs(name, Difference::AliveIsSuccess);
        } else if self.dialect == Dialect::JsonString {
            self.compare_old(&read, peers, report);
        } else if self.reply != peers && self.reply == without_surrogates(peers) {
            report.differs(name, Difference::LoneSurrogate);
        } else if self.reply != peers && self.but_for_nonce(asked) == *peers {
            report.differs(name, Difference::TextKept);
        } else {
            report.text(name, self.reply, peers);
        }
    }

    /// Our reply under the nonce that the peer made of it.
    fn but_for_nonce(&self, asked: &CommandRequest) -> Vec<u8> {
        let nonce = match self.case.get("delegate_saw") {
            Some(Value::Object(saw)) => &saw["nonce"],
            _ => asked.nonce().value(),
        };
        let mut own = Vec::new();
        json::to_json(asked.nonce().value(), &mut own).expect("serialisable");
        let mut rewritten = Vec::new();
        json::to_camel_json(nonce, &mut rewritten).expect("serialisable");
        let own = String::from_utf8(own).expect("ASCII");
        let rewritten = String::from_utf8(rewritten).expect("ASCII");
        let reply = std::str::from_utf8(self.reply).expect("ASCII");
        reply.replacen(&own, &rewritten, 1).into_bytes()
    }

    /// 0.9.7 rewrites its reply as text, and cannot write a UUID or a time in it.
    fn compare_old(&self, read: &Response, peers: &[u8], report: &mut Report) {
        let data = &self.case["delegate"]["data"];
        let faults = ["$float", "$dict", "$uuid", "$datetime", "$date"];
        if faults.iter().any(|tag| has_tag(data, tag)) || doubles_a_key(data) {
            report.differs(self.name, Difference::OldFault);
            return;
        }
        if read.nonce().value().to_string().contains('\u{fffd}') {
            report.differs(self.name, Difference::LoneSurrogate);
            return;
        }
        let ours = match &self.asked {
            Some(asked) if self.reply != peers => self.but_for_nonce(asked),
            _ => self.reply.to_vec(),
        };
        report.check(self.name, without_damage(&ours), without_damage(peers));
        report.check(self.name, self.reply.to_vec(), json::compact(self.reply));
    }

    fn compare_unusable(&self, read: &Response, report: &mut Report) {
        let name = self.name;
        assert!(
            read.error_message()
                .is_some_and(|message| !message.is_empty()),
            "{name}: no reason"
        );
        let mut message = Vec::new();
        json::write_string(read.error_message().unwrap_or_default(), &mut message);
        let ours = String::from_utf8_lossy(self.reply);
        let ours = ours.replace(&*String::from_utf8_lossy(&message), "null");
        let expected = r#"{"nonce": 0, "command": 0, "result": 0, "data": null, "errorKind": 0, "errorCode": 0, "errorMessage": null}"#;
        let compact = String::from_utf8(json::compact(expected.as_bytes())).expect("ASCII");
        let ours_expected = if self.dialect == Dialect::Plain {
            expected
        } else {
            &compact
        };
        report.check(name, &*ours, ours_expected);
        let difference = match (&self.answered, &self.peers) {
            (Answered::Unusable(DecodeError::FrameCount { .. }), _) => Difference::OneFrameOnly,
            (Answered::Unusable(DecodeError::Depth { .. } | DecodeError::Size { .. }), _) => {
                Difference::Limits
            }
            (_, Some(peers)) if peers != expected.as_bytes() => {
                assert!(
                    self.rewritten_is_usable(),
                    "{name}: the peer uses it as it stands"
                );
                Difference::StrictReading
            }
            _ => Difference::SaysWhatWasWrong,
        };
        report.differs(name, difference);
    }

    /// Whether the peers, which rewrite the text of a request before they parse it, can use it.
    fn rewritten_is_usable(&self) -> bool {
        let text = std::str::from_utf8(self.frame).unwrap_or_default();
        decode_request(case::decamelize(text).as_bytes(), 250, self.dialect).is_ok()
    }
}

fn run_malformed(file: &Value, dialect: Dialect, report: &mut Report) {
    for case in items(file, "cases") {
        report.ran += 1;
        let name = text(case, "name");
        let frames: Vec<Vec<u8>> = match case["request_frames_hex"].as_array() {
            Some(frames) => frames
                .iter()
                .map(|frame| unhex(frame.as_str().expect("hex")))
                .collect(),
            None => {
                let repeat = &case["request_repeat"];
                let count = repeat[1].as_u64().expect("a count") as usize;
                vec![unhex(repeat[0].as_str().expect("hex")).repeat(count)]
            }
        };
        let mut called = Vec::new();
        let mut reply = Vec::new();
        let delegate = |request: &mut CommandRequest| {
            called.push(Value::from(request.command().number_in(dialect)));
            CommandResponse::success()
        };
        let answered = answer(
            &frames,
            RequestLimits::default(),
            dialect,
            Some(delegate),
            &mut reply,
        );
        let unusable = matches!(answered, Answered::Unusable(_));
        if frames.len() == 1 && !unusable {
            report.check(name, called.as_slice(), items(case, "delegate_called"));
        } else {
            report.check(name, called.as_slice(), &[]);
        }
        let peers = case["reply_hex"].as_str().map(unhex);
        let asked = decode_request(&frames[0], 64, dialect).ok();
        let reply = Reply {
            name,
            case,
            frame: &frames[0],
            dialect,
            answered,
            reply: &reply,
            peers,
            asked,
        };
        reply.compare(report);
    }
}

/// The text with U+FFFD in place of each lone surrogate.
fn without_surrogates(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let value = json::parse(text, 250).expect("JSON");
    json::to_json(&value, &mut out).expect("serialisable");
    out
}

/// A JSON scalar as a key of a map.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a>(&'a Value);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_f64() {
            Some(float) => serializer.serialize_f64(float),
            None => self.0.serialize(serializer),
        }
    }
}

fn camel<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    json::to_camel_json(value, &mut out).expect("serialisable");
    out
}
