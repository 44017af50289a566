//! The content of messages, good and bad.

use acqbus::event::{
    Event, EventType, Payload, QueryParams, QueryResult, RegisterEvent, Status, Timestamp,
};
use acqbus::eventer::message::{InitReq, Message, MessageError};
use acqbus::eventer::sbs::Writer;
use acqbus::wire::DecodeError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::{items, text, unhex};
use crate::{Difference, Report};

pub(crate) fn run_sbs_messages(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("sbs_messages {number} {case}");
        let (message, frame) = within(text(case, "type"), Some(&case["value"]));
        let message = message.expect("it has a value");
        let bytes = unhex(text(case, "hex"));
        let data = frame.around(&bytes);
        let mut written = Vec::new();
        message.encode(&mut written);
        report.check(&name, &written, &data);
        report.check(&name, message.kind(), frame.kind);
        report.check(&name, Message::decode(frame.kind, &data), Ok(message));
        for end in 0..data.len() {
            if Message::decode(frame.kind, &data[..end]).is_ok() {
                report.wrong(&name, &format!("its first {end} bytes are read"));
            }
        }
    }
}

pub(crate) fn run_sbs_malformed(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("sbs_malformed {number} {case}");
        let (_, frame) = within(text(case, "type"), None);
        let data = frame.around(&unhex(text(case, "hex")));
        match Message::decode(frame.kind, &data) {
            Ok(ours) => {
                let (message, _) = within(text(case, "type"), case.get("value"));
                report.check(&name, Some(ours), message);
            }
            Err(error) if case["ok"] == true && is_of_microseconds(&error) => {
                report.check(&name, has_odd_microseconds(&case["value"]), true);
                report.differs(&name, Difference::OddMicroseconds);
            }
            Err(error) if case["ok"] == true => report.wrong(&name, &format!("{error:?}")),
            Err(_) => {}
        }
    }
}

/// As a payload of an event that somebody registers.
pub(crate) fn run_json_payload(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("json_payload {number} {case}");
        let given = text(case, "in");
        let (_, frame) = within("EventPayload", None);
        let mut payload = vec![0x81];
        Writer::new(&mut payload).string(given);
        let data = frame.around(&payload);
        match Message::decode(frame.kind, &data) {
            Ok(message) => {
                let mut written = Vec::new();
                message.encode(&mut written);
                report.check(&name, written, data);
                let Message::RegisterReq(events) = &message else {
                    panic!("{message:?}");
                };
                let json = events[0].payload.as_ref().and_then(Payload::as_json);
                let normalised = json.map(|json| json.normalised().into());
                report.check(&name, normalised.as_ref(), case.get("out"));
            }
            Err(_) if case.get("encode_error").is_some() => {
                report.differs(&name, Difference::UnwritableJson);
            }
            Err(_) => report.check(&name, case.get("decode_error").is_some(), true),
        }
    }
}

fn is_of_microseconds(error: &MessageError) -> bool {
    let MessageError::Content { source, .. } = error else {
        return false;
    };
    matches!(
        source,
        DecodeError::Rule {
            what: "the microseconds",
            ..
        }
    )
}

/// Whether there is a pair of numbers whose second is no number of 32 bits.
fn has_odd_microseconds(value: &Value) -> bool {
    match value {
        Value::Array(items) => match &items[..] {
            [Value::Number(_), Value::Number(us)] => {
                us.as_u64().is_none_or(|us| u32::try_from(us).is_err())
            }
            _ => items.iter().any(has_odd_microseconds),
        },
        Value::Object(members) => members.values().any(has_odd_microseconds),
        _ => false,
    }
}

/// The smallest message that a part of one fits in.
struct Frame {
    kind: &'static str,
    before: &'static [u8],
    after: &'static [u8],
}

impl Frame {
    fn around(&self, part: &[u8]) -> Vec<u8> {
        [self.before, part, self.after].concat()
    }
}

/// The message that a recorded value is, or is put into, and what is around it there.
fn within(kind: &str, value: Option<&Value>) -> (Option<Message>, Frame) {
    let frame = |kind, before, after| Frame {
        kind,
        before,
        after,
    };
    match kind {
        "Status" | "MsgStatusNotify" => (
            value.map(|value| Message::StatusNotify(read(value))),
            frame("HatEventer.MsgStatusNotify", b"", b""),
        ),
        "MsgInitReq" => (
            value.map(|value| Message::InitReq(read::<InitForm>(value).into())),
            frame("HatEventer.MsgInitReq", b"", b""),
        ),
        "MsgInitRes" => (
            value.map(|value| Message::InitRes(read_init_res(value))),
            frame("HatEventer.MsgInitRes", b"", b""),
        ),
        "MsgEventsAck" => (
            value.map(|_| Message::EventsAck),
            frame("HatEventer.MsgEventsAck", b"", b""),
        ),
        "MsgEventsNotify" => (
            value.map(|value| Message::EventsNotify(read(value))),
            frame("HatEventer.MsgEventsNotify", b"", b""),
        ),
        "MsgRegisterReq" => (
            value.map(|value| Message::RegisterReq(read(value))),
            frame("HatEventer.MsgRegisterReq", b"", b""),
        ),
        "MsgRegisterRes" => (
            value.map(|value| Message::RegisterRes(value.get("events").map(read))),
            frame("HatEventer.MsgRegisterRes", b"", b""),
        ),
        "MsgQueryReq" | "QueryParams" => (
            value.map(|value| Message::QueryReq(read::<QueryParams>(value))),
            frame("HatEventer.MsgQueryReq", b"", b""),
        ),
        "MsgQueryRes" | "QueryResult" => (
            value.map(|value| Message::QueryRes(read::<QueryResult>(value))),
            frame("HatEventer.MsgQueryRes", b"", b""),
        ),
        "Event" => (
            value.map(|value| notify(read(value))),
            frame("HatEventer.MsgEventsNotify", b"\x81", b""),
        ),
        "EventId" => (
            value.map(|value| notify(Event::new(read(value), EventType::empty(), ZERO))),
            frame(
                "HatEventer.MsgEventsNotify",
                b"\x81",
                b"\x80\x80\x80\x80\x80",
            ),
        ),
        "RegisterEvent" => (
            value.map(|value| Message::RegisterReq(vec![read(value)])),
            frame("HatEventer.MsgRegisterReq", b"\x81", b""),
        ),
        "Timestamp" => (
            value.map(|value| {
                register(|event| event.with_source_timestamp(read::<Timestamp>(value)))
            }),
            frame("HatEventer.MsgRegisterReq", b"\x81\x80\x81", b"\x80"),
        ),
        "EventPayload" => (
            value.map(|value| register(|event| event.with_payload(read::<Payload>(value)))),
            frame("HatEventer.MsgRegisterReq", b"\x81\x80\x80\x81", b""),
        ),
        _ => panic!("{kind} is no type of the recording"),
    }
}

fn notify(event: Event) -> Message {
    Message::EventsNotify(vec![event.into()])
}

fn register(with: impl FnOnce(RegisterEvent) -> RegisterEvent) -> Message {
    Message::RegisterReq(vec![with(RegisterEvent::new(EventType::empty()))])
}

fn read_init_res(value: &Value) -> Result<Status, String> {
    match value.get("success") {
        Some(status) => Ok(read(status)),
        None => Err(text(value, "error").to_owned()),
    }
}

#[derive(Deserialize)]
struct InitForm {
    client_name: String,
    client_token: Option<String>,
    subscriptions: Vec<EventType>,
    server_id: Option<i64>,
    persisted: bool,
}

impl From<InitForm> for InitReq {
    fn from(form: InitForm) -> Self {
        let mut request = Self::new(form.client_name);
        request.client_token = form.client_token;
        request.subscriptions = form.subscriptions;
        request.server_id = form.server_id;
        request.persisted = form.persisted;
        request
    }
}

#[track_caller]
fn read<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{error}: {value}"))
}

const ZERO: Timestamp = Timestamp::new(0, 0);
