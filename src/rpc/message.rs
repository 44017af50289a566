//! Published messages: the two frames that a subscriber gets.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::rpc::dialect::Dialect;
use crate::rpc::event::Event;
use crate::rpc::json;
use crate::rpc::response::Response;
use crate::rpc::topic::Topic;
use crate::wire::DecodeError;

/// One published message.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub topic: Topic,
    /// The second frame as it came.
    pub body: Vec<u8>,
    /// The start of the service that it belongs to, if the service is one of ours (*ours*).
    ///
    /// An object of an application can end in members of these names, too: only a heartbeat's epoch is proof.
    pub epoch: Option<u64>,
    /// Its place among the messages of its topic, if the service is one of ours (*ours*).
    pub sequence: Option<u64>,
}

impl Message {
    /// Takes the two frames of a message.
    ///
    /// The body need not be JSON: some peers publish raw bytes. Epoch and sequence are read where a service of ours
    /// puts them, at the very end of the body, without parsing the rest.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless the topic frame has exactly 4 bytes.
    pub fn decode(topic: &[u8], body: impl Into<Vec<u8>>) -> Result<Self, DecodeError> {
        Ok(Self::of(Topic::from_frame(topic)?, body.into()))
    }

    /// The same for a topic that is known.
    pub(crate) fn of(topic: Topic, body: Vec<u8>) -> Self {
        let extras = read_extras(&body);
        Self {
            topic,
            body,
            epoch: extras.map(|(epoch, _)| epoch),
            sequence: extras.map(|(_, sequence)| sequence),
        }
    }

    /// Epoch and sequence that a body tells in its last members.
    pub(crate) fn place_of_body(body: &[u8]) -> Option<(u64, u64)> {
        read_extras(body)
    }

    /// A message as this service publishes it, for those who listen within the process.
    pub(crate) fn published(topic: Topic, body: &[u8], epoch: u64, sequence: u64) -> Self {
        Self {
            topic,
            body: body.to_vec(),
            epoch: Some(epoch),
            sequence: Some(sequence),
        }
    }

    /// Takes all the frames of a message, of which there must be two.
    ///
    /// # Errors
    /// [`DecodeError::FrameCount`] otherwise (0.9.8 to 0.9.13 glue messages together after a fault of theirs), and as
    /// [`Message::decode`].
    pub fn from_frames(frames: &[impl AsRef<[u8]>]) -> Result<Self, DecodeError> {
        match frames {
            [topic, body] => Self::decode(topic.as_ref(), body.as_ref()),
            _ => Err(DecodeError::FrameCount {
                what: "the message",
                expected: 2,
                found: frames.len(),
            }),
        }
    }

    /// Parses the body, whatever the dialect: if it is a string, the text in that string is parsed again.
    ///
    /// A string that holds no JSON stays a string.
    ///
    /// # Errors
    /// A [`DecodeError`] when the body is not JSON, or nests deeper than `depth_limit`.
    pub fn json(&self, depth_limit: usize) -> Result<Value, DecodeError> {
        match json::parse(&self.body, depth_limit)? {
            Value::String(text) => match json::parse(text.as_bytes(), depth_limit) {
                Err(error @ (DecodeError::Depth { .. } | DecodeError::Digits { .. })) => Err(error),
                Err(_) => Ok(Value::String(text)),
                Ok(value) => Ok(value),
            },
            value => Ok(value),
        }
    }

    /// The event, if the topic is EVENT or EMERGENCY and the body is one.
    pub fn event(&self) -> Option<Event> {
        if !matches!(self.topic, Topic::EVENT | Topic::EMERGENCY) {
            return None;
        }
        Event::from_json(self.json(DEPTH).ok()?)
    }

    /// The heartbeat, if the topic is HEARTBEAT and the body is one.
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        if self.topic != Topic::HEARTBEAT {
            return None;
        }
        Heartbeat::from_json(&self.json(DEPTH).ok()?)
    }

    /// The outcome of a command, or how far it is, if the message tells that.
    ///
    /// `None` unless the topic is COMMAND_RESULT or COMMAND_PROGRESS and the body is as section 4.6 of `docs/wire.md` says.
    pub fn command_result(&self) -> Option<Response> {
        if !matches!(self.topic, Topic::COMMAND_RESULT | Topic::COMMAND_PROGRESS) {
            return None;
        }
        Response::decode(&self.body, DEPTH).ok()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("body", &String::from_utf8_lossy(&self.body))
            .field("epoch", &self.epoch)
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// The body of a heartbeat; the members from `epoch` on are *ours* and absent from other services.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The name of the service.
    pub identifier: String,
    /// The version of the service.
    pub version: String,
    /// When it was sent, in seconds since 1970.
    pub timestamp: f64,
    /// The start of the service that it belongs to; [`append_extras`] writes it as a last member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Its place among the heartbeats; [`append_extras`] writes it as a last member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The last sequence of each topic, by the number of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequences: Option<BTreeMap<u32, u64>>,
    /// Time between regular heartbeats, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// Messages that wait to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u64>,
    /// Messages lost since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// How long the delegate has been at its current command, in seconds; 0 when idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate_busy: Option<f64>,
}

impl Heartbeat {
    /// Reads a heartbeat; members of ours that are absent or of another type are left out.
    fn from_json(body: &Value) -> Option<Self> {
        let whole = |name: &str| body.get(name).and_then(Value::as_u64);
        let sequences = body.get("sequences").and_then(Value::as_object);
        Some(Self {
            identifier: body.get("identifier")?.as_str()?.to_owned(),
            version: body.get("version")?.as_str()?.to_owned(),
            timestamp: body.get("timestamp")?.as_f64()?,
            epoch: whole("epoch"),
            sequence: whole("sequence"),
            sequences: sequences.map(|members| {
                let topics = members.iter().filter_map(|(topic, sequence)| {
                    Some((topic.parse().ok()?, sequence.as_u64()?))
                });
                topics.collect()
            }),
            interval: body.get("interval").and_then(Value::as_f64),
            queue_depth: whole("queueDepth"),
            dropped: whole("dropped"),
            delegate_busy: body.get("delegateBusy").and_then(Value::as_f64),
        })
    }
}

/// Adds `epoch` and `sequence` as the last members of a body that is an object (*ours*).
///
/// Section 7 of `docs/wire.md` says what they are for.
/// In the string dialect the body is a JSON string already and the members go inside. A body that does not end as an
/// object of the dialect stays as it is.
///
/// # Examples
/// ```
/// use acqbus::rpc::{Dialect, append_extras};
///
/// let mut body = br#"{"kind": 101}"#.to_vec();
/// append_extras(&mut body, 7, 1, Dialect::Plain);
/// assert_eq!(body, br#"{"kind": 101, "epoch": 7, "sequence": 1}"#);
/// ```
pub fn append_extras(body: &mut Vec<u8>, epoch: u64, sequence: u64, dialect: Dialect) {
    let form = Form::of(dialect);
    let Some(open) = body.strip_suffix(form.close).map(<[u8]>::len) else {
        return;
    };
    body.truncate(open);
    if body.trim_ascii_end().last() != Some(&b'{') {
        body.extend_from_slice(form.separator);
    }
    body.extend_from_slice(form.epoch);
    body.extend_from_slice(itoa::Buffer::new().format(epoch).as_bytes());
    body.extend_from_slice(form.separator);
    body.extend_from_slice(form.sequence);
    body.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    body.extend_from_slice(form.close);
}

/// How the extras are written in a dialect.
struct Form {
    close: &'static [u8],
    separator: &'static [u8],
    open: &'static [u8],
    epoch: &'static [u8],
    sequence: &'static [u8],
}

impl Form {
    const PLAIN: Self = Self {
        close: b"}",
        separator: b", ",
        open: b"{",
        epoch: b"\"epoch\": ",
        sequence: b"\"sequence\": ",
    };
    const JSON_STRING: Self = Self {
        close: b"}\"",
        separator: b",",
        open: b"\"{",
        epoch: b"\\\"epoch\\\":",
        sequence: b"\\\"sequence\\\":",
    };

    const fn of(dialect: Dialect) -> &'static Self {
        match dialect {
            Dialect::Plain => &Self::PLAIN,
            Dialect::JsonString => &Self::JSON_STRING,
        }
    }

    /// Reads the extras from the end of a body.
    ///
    /// In JSON what closes the text closes the top level, so the members right before it are the top level's. A quote
    /// inside a text has a backslash before it and does not look like one of these.
    fn read(&self, body: &[u8]) -> Option<(u64, u64)> {
        let (rest, sequence) = self.last_member(body.strip_suffix(self.close)?, self.sequence)?;
        let rest = rest.strip_suffix(self.separator)?;
        let (rest, epoch) = self.last_member(rest, self.epoch)?;
        (rest == self.open || rest.ends_with(self.separator)).then_some((epoch, sequence))
    }

    fn last_member<'a>(&self, text: &'a [u8], key: &[u8]) -> Option<(&'a [u8], u64)> {
        let digits = text
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (rest, digits) = text.split_at(text.len() - digits);
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((rest.strip_suffix(key)?, number))
    }
}

fn read_extras(body: &[u8]) -> Option<(u64, u64)> {
    match body.last()? {
        b'}' => Form::PLAIN.read(body),
        b'"' => Form::JSON_STRING.read(body),
        _ => None,
    }
}

/// A heartbeat tells the last sequence of at most so many topics; an application uses a handful.
pub(crate) const MAX_REPORTED_TOPICS: usize = 64;

/// How deep the typed readers follow a body; the peers' own bodies have six levels.
const DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BODIES: [&str; 4] = [
        "{}",
        r#"{"kind": 101}"#,
        r#"{"a": "}\"", "b": {"c": []}}"#,
        r#"{"text": "\\"}"#,
    ];

    fn message(topic: Topic, body: &str) -> Message {
        Message::decode(&topic.to_bytes(), body).expect("a topic of 4 bytes")
    }

    #[test]
    fn extras_are_the_last_members_in_either_dialect() {
        for (dialect, body, extended) in [
            (Dialect::Plain, "{}", r#"{"epoch": 7, "sequence": 1}"#),
            (
                Dialect::Plain,
                r#"{"a": 1}"#,
                r#"{"a": 1, "epoch": 7, "sequence": 1}"#,
            ),
            (
                Dialect::JsonString,
                "{}",
                r#""{\"epoch\":7,\"sequence\":1}""#,
            ),
            (
                Dialect::JsonString,
                r#"{"a": 1}"#,
                r#""{\"a\":1,\"epoch\":7,\"sequence\":1}""#,
            ),
        ] {
            let mut text = dialect.publish_form(body.as_bytes()).into_owned();
            append_extras(&mut text, 7, 1, dialect);
            assert_eq!(String::from_utf8_lossy(&text), extended);
        }
    }

    #[test]
    fn extras_read_back_and_the_body_stays_json() {
        for dialect in [Dialect::Plain, Dialect::JsonString] {
            for body in BODIES {
                let mut text = dialect.publish_form(body.as_bytes()).into_owned();
                append_extras(&mut text, u64::MAX, 12, dialect);
                let read = Message::decode(&Topic::EVENT.to_bytes(), text).expect("a message");
                assert_eq!((read.epoch, read.sequence), (Some(u64::MAX), Some(12)));
                let mut expected: Value = serde_json::from_str(body).expect("JSON");
                expected["epoch"] = json!(u64::MAX);
                expected["sequence"] = json!(12);
                assert_eq!(read.json(8), Ok(expected));
            }
        }
    }

    #[test]
    fn what_only_looks_like_extras_is_not_read() {
        for body in [
            r#"{"a": ", \"epoch\": 1, \"sequence\": 2}"}"#,
            r#"{"epoch": 1, "sequence": 2, "a": 3}"#,
            r#"{"epoch": 1, "sequence": -2}"#,
            r#"{"epoch": 1.5, "sequence": 2}"#,
            r#"{"epoch": 18446744073709551616, "sequence": 2}"#,
            r#"{"sequence": 2}"#,
            r#"{"aepoch": 1, "sequence": 2}"#,
            r#"{"a\"epoch": 1, "sequence": 2}"#,
            r#""{\"a\\\"epoch\":1,\"sequence\":2}""#,
            "",
            "}",
            "\"",
            ", \"sequence\": 2}",
        ] {
            let read = message(Topic::EVENT, body);
            assert_eq!((read.epoch, read.sequence), (None, None), "{body}");
        }
    }

    #[test]
    fn body_that_is_no_object_takes_no_extras() {
        for body in ["[1]", "\"}\"", "", "raw bytes"] {
            let mut text = body.as_bytes().to_vec();
            append_extras(&mut text, 1, 2, Dialect::Plain);
            assert_eq!(text, body.as_bytes());
        }
    }

    #[test]
    fn bodies_of_both_dialects_are_read() {
        for body in [r#"{"kind": 101}"#, r#""{\"kind\":101}""#] {
            assert_eq!(
                message(Topic::EVENT, body).json(8),
                Ok(json!({"kind": 101}))
            );
        }
        assert_eq!(message(Topic::EVENT, "\"A_B\"").json(8), Ok(json!("A_B")));
        assert!(message(Topic::EVENT, "A_B").json(8).is_err());
        assert!(message(Topic::EVENT, "\"[[[]]]\"").json(2).is_err());
    }

    #[test]
    fn heartbeats_of_old_and_new_services_are_read() {
        let old = r#"{"identifier": "rig", "version": "0.12.0", "timestamp": 1795175999.5}"#;
        let read = message(Topic::HEARTBEAT, old)
            .heartbeat()
            .expect("a heartbeat");
        assert_eq!(
            (read.identifier.as_str(), read.timestamp),
            ("rig", 1_795_175_999.5)
        );
        assert_eq!((read.epoch, &read.sequences), (None, &None));
        assert_eq!(message(Topic::EVENT, old).heartbeat(), None);
        assert_eq!(message(Topic::HEARTBEAT, "{}").heartbeat(), None);

        let ours = Heartbeat {
            identifier: "rig-01".to_owned(),
            version: "1".to_owned(),
            timestamp: 1.5,
            sequences: Some(BTreeMap::from([(1001, 3), (4001, 9)])),
            queue_depth: Some(4),
            dropped: Some(0),
            delegate_busy: Some(0.25),
            ..Heartbeat::default()
        };
        let mut body = Vec::new();
        json::to_camel_json(&ours, &mut body).expect("serialisable");
        assert_eq!(
            String::from_utf8_lossy(&body),
            r#"{"identifier": "rig-01", "version": "1", "timestamp": 1.5, "sequences": {"1001": 3, "4001": 9}, "queueDepth": 4, "dropped": 0, "delegateBusy": 0.25}"#
        );
        append_extras(&mut body, 7, 3, Dialect::Plain);
        let read = Message::decode(&Topic::HEARTBEAT.to_bytes(), body).expect("a message");
        let expected = Heartbeat {
            epoch: Some(7),
            sequence: Some(3),
            ..ours
        };
        assert_eq!(read.heartbeat(), Some(expected));
    }

    #[test]
    fn message_has_two_frames_and_a_whole_topic() {
        let topic = Topic::EVENT.to_bytes();
        assert!(Message::from_frames(&[&topic[..], b"{}"]).is_ok());
        assert!(Message::from_frames(&[&topic[..]]).is_err());
        assert!(Message::from_frames(&[&topic[..], b"{}", &topic[..]]).is_err());
        for length in 0..4 {
            assert!(Message::decode(&topic[..length], "{}").is_err());
        }
    }
}
