//! An event as one line of JSON, exact: what comes back is what went in, byte for byte.

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{Binary, Event, EventId, EventType, Json, Payload, Timestamp};

/// An event in the form of the golden vectors, on one line whatever its payload is.
///
/// The form is `{"id", "type", "timestamp", "source_timestamp", "payload"}`; a payload is `null`, `{"json": data}` with the
/// text of the data as it is, or `{"binary": {"type", "data": hex}}`. JSON text that spans several lines, or begins or ends
/// with white space, is `{"text": "…"}` instead, the text as a string (*ours*).
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, EventType, Json, Payload, Timestamp};
/// use acqbus::store::EventLine;
///
/// let event = Event::new(EventId { server: 1, session: 2, instance: 3 }, EventType::new(["a"]), Timestamp::new(5, 6))
///     .with_payload(Payload::Json(Json::new("{\"x\":\n1}")?));
/// let line = serde_json::to_string(&EventLine::from(event.clone()))?;
/// assert!(!line.contains('\n'));
/// let read: EventLine = serde_json::from_str(&line)?;
/// assert_eq!(*read.0, event);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EventLine(pub Arc<Event>);

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        Self(Arc::new(event))
    }
}

impl From<Arc<Event>> for EventLine {
    fn from(event: Arc<Event>) -> Self {
        Self(event)
    }
}

impl Serialize for EventLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = &*self.0;
        let mut line = serializer.serialize_struct("Event", 5)?;
        line.serialize_field("id", &event.id)?;
        line.serialize_field("type", &event.event_type)?;
        line.serialize_field("timestamp", &event.timestamp)?;
        line.serialize_field("source_timestamp", &event.source_timestamp)?;
        line.serialize_field("payload", &event.payload.as_ref().map(PayloadLine))?;
        line.end()
    }
}

impl<'de> Deserialize<'de> for EventLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = ReadLine::deserialize(deserializer)?;
        let mut event = Event::new(line.id, line.event_type, line.timestamp);
        if let Some(timestamp) = line.source_timestamp {
            event = event.with_source_timestamp(timestamp);
        }
        if let Some(payload) = line.payload {
            event = event.with_payload(payload.payload().map_err(D::Error::custom)?);
        }
        Ok(Self::from(event))
    }
}

struct PayloadLine<'a>(&'a Payload);

impl Serialize for PayloadLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Payload::Json(json) if !is_kept(json.as_str()) => {
                map.serialize_entry("text", json.as_str())?;
            }
            Payload::Json(json) => {
                let raw: &RawValue = serde_json::from_str(json.as_str()).map_err(|error| {
                    S::Error::custom(format!("the payload is no JSON: {error}"))
                })?;
                map.serialize_entry("json", raw)?;
            }
            Payload::Binary(binary) => map.serialize_entry(
                "binary",
                &BinaryLine {
                    kind: binary.kind().to_owned(),
                    data: hex(binary.data()),
                },
            )?,
        }
        map.end()
    }
}

/// Whether JSON text comes back as it is from within a line: white space around it is that of the line.
fn is_kept(text: &str) -> bool {
    !text.contains(['\n', '\r']) && text.trim_ascii() == text
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    timestamp: Timestamp,
    #[serde(default)]
    source_timestamp: Option<Timestamp>,
    #[serde(default)]
    payload: Option<ReadPayload>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadPayload {
    #[serde(default, deserialize_with = "present")]
    json: Option<Box<RawValue>>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    binary: Option<BinaryLine>,
}

/// A member that may be `null` and is there all the same.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryLine {
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

impl ReadPayload {
    fn payload(self) -> Result<Payload, String> {
        match (self.text, self.json, self.binary) {
            // The text is exact; data beside it only helps to read.
            (Some(text), _, None) => json(&text),
            (None, Some(raw), None) => json(raw.get()),
            (None, None, Some(binary)) => {
                let data = unhex(&binary.data).ok_or("the data are not pairs of hex digits")?;
                Ok(Payload::Binary(Binary::new(binary.kind, data)))
            }
            _ => Err("a payload is one of `json`, `text` and `binary`".to_owned()),
        }
    }
}

fn json(text: &str) -> Result<Payload, String> {
    Json::new(text)
        .map(Payload::Json)
        .map_err(|error| error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let id = EventId {
            server: 1,
            session: 2,
            instance: 3,
        };
        Event::new(id, EventType::new(["rig", "é/"]), Timestamp::new(-5, 6))
    }

    fn there_and_back(event: Event) -> String {
        let line = serde_json::to_string(&EventLine::from(event.clone())).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let read: EventLine = serde_json::from_str(&line).unwrap();
        assert_eq!(*read.0, event, "{line}");
        line
    }

    #[test]
    fn form_is_that_of_the_vectors() {
        assert_eq!(
            there_and_back(event()),
            r#"{"id":[1,2,3],"type":["rig","é/"],"timestamp":[-5,6],"source_timestamp":null,"payload":null}"#
        );
        let binary = Payload::Binary(Binary::new("raw", vec![0, 0xab]));
        let line = there_and_back(
            event()
                .with_source_timestamp(Timestamp::new(1, 2))
                .with_payload(binary),
        );
        assert!(line.ends_with(
            r#""source_timestamp":[1,2],"payload":{"binary":{"type":"raw","data":"00ab"}}}"#
        ));
    }

    #[test]
    fn text_of_a_payload_is_kept_byte_for_byte() {
        for text in [
            "null",
            " {\"b\" : 1.50,\t\"a\": 1e3, \"a\": 123456789012345678901234567890}",
            "\"\\u00e9\\n é\"",
            "[1.0, -0.0, 1E5]",
            "{\n  \"a\": 1\r\n}",
        ] {
            there_and_back(event().with_payload(Payload::Json(Json::new(text).unwrap())));
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let good = serde_json::to_string(&EventLine::from(event())).unwrap();
        for bad in [
            good.replace("null}", r#"{"json":1,"binary":{"type":"","data":""}}}"#),
            good.replace("null}", r#"{"binary":{"type":"","data":"abc"}}}"#),
            good.replace("null}", r#"{"binary":{"type":"","data":"zz"}}}"#),
            good.replace("null}", "{}}"),
            good.replace("\"type\"", "\"tipe\""),
            good.replace("[1,2,3]", "[1,2]"),
            good.replace("[-5,6]", "[-5,-6]"),
            good[..good.len() - 1].to_owned(),
        ] {
            assert!(serde_json::from_str::<EventLine>(&bad).is_err(), "{bad}");
        }
    }
}
