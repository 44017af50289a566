//! What an event carries.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::Json;

/// What an event carries; cloning is cheap.
///
/// Its form is `{"json": data}` or `{"binary": {"type": text, "data": hex}}`. Where the data alone would not give the same text
/// again, because it has line ends or starts or ends with white space, a member `text` beside `json` has it, so that an event is
/// one line and reads back equal (*ours*).
///
/// ```
/// use acqbus::event::{Binary, Json, Payload};
///
/// let json = Payload::Json(Json::new(r#"{"x": 1.0}"#)?);
/// assert_eq!(serde_json::to_string(&json)?, r#"{"json":{"x": 1.0}}"#);
/// let binary = Payload::Binary(Binary::new("image", [1, 255]));
/// assert_eq!(serde_json::to_string(&binary)?, r#"{"binary":{"type":"image","data":"01ff"}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A JSON text.
    Json(Json),
    /// Bytes and what they are.
    Binary(Binary),
}

impl Payload {
    /// The JSON text, if it is one.
    #[must_use]
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Binary(_) => None,
        }
    }

    /// The bytes, if it is some.
    #[must_use]
    pub fn as_binary(&self) -> Option<&Binary> {
        match self {
            Self::Binary(binary) => Some(binary),
            Self::Json(_) => None,
        }
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl From<Binary> for Payload {
    fn from(binary: Binary) -> Self {
        Self::Binary(binary)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Json(json) => {
                map.serialize_entry("json", json)?;
                if !json.is_one_line() {
                    map.serialize_entry("text", json.as_str())?;
                }
            }
            Self::Binary(binary) => map.serialize_entry("binary", binary)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        match form {
            Form {
                json: Some(data),
                text,
                binary: None,
            } => {
                let text = text.as_deref().unwrap_or(data.get());
                Json::new(text).map(Self::Json).map_err(D::Error::custom)
            }
            Form {
                json: None,
                text: None,
                binary: Some(binary),
            } => Ok(Self::Binary(binary)),
            _ => Err(D::Error::custom(
                "a payload has either a member `json` or a member `binary`",
            )),
        }
    }
}

/// Bytes that nobody between source and reader looks into, and a text that says what they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Binary {
    kind: Arc<str>,
    data: Arc<[u8]>,
}

impl Binary {
    /// Bytes of some kind.
    #[must_use]
    pub fn new(kind: impl Into<Arc<str>>, data: impl Into<Arc<[u8]>>) -> Self {
        Self {
            kind: kind.into(),
            data: data.into(),
        }
    }

    /// What the bytes are.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binary")
            .field("kind", &self.kind)
            .field("bytes", &self.data.len())
            .finish()
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("data", &hex(self.data()))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = BinaryForm::deserialize(deserializer)?;
        let data = unhex(&form.data)
            .ok_or_else(|| D::Error::custom("the data of a payload are not hexadecimal"))?;
        Ok(Self::new(form.kind, data))
    }
}

#[derive(Deserialize)]
struct Form {
    #[serde(default, deserialize_with = "present")]
    json: Option<Box<RawValue>>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    binary: Option<Binary>,
}

#[derive(Deserialize)]
struct BinaryForm {
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

/// A null that is there, unlike serde's own rule for options.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_form(payload: Payload, form: &str) {
        assert_eq!(serde_json::to_string(&payload).unwrap(), form);
        assert_eq!(serde_json::from_str::<Payload>(form).unwrap(), payload);
    }

    #[test]
    fn a_text_keeps_its_bytes_in_its_form() {
        for text in ["null", "[1,  2]", "1e5", "-0", r#"{"a":1,"a":"\ud83d"}"#] {
            let form = format!(r#"{{"json":{text}}}"#);
            assert_form(Json::new(text).unwrap().into(), &form);
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_text_is() {
        assert_form(
            Json::new(" [\n1]").unwrap().into(),
            r#"{"json":[ 1],"text":" [\n1]"}"#,
        );
        assert_form(
            Json::new("1\r").unwrap().into(),
            r#"{"json":1,"text":"1\r"}"#,
        );
    }

    #[test]
    fn bytes_are_hexadecimal() {
        let form = r#"{"binary":{"type":"","data":"00ff7f"}}"#;
        assert_form(Binary::new("", [0, 255, 127]).into(), form);
    }

    #[test]
    fn other_forms_are_no_payload() {
        for form in [
            "{}",
            r#"{"binary":null}"#,
            r#"{"text":"1"}"#,
            r#"{"json":1,"text":"["}"#,
            r#"{"json":1,"binary":{"type":"","data":""}}"#,
            r#"{"json":1e400}"#,
            r#"{"binary":{"type":"","data":"0"}}"#,
            r#"{"binary":{"type":"","data":"+1"}}"#,
            r#"{"binary":{"type":"","data":"é"}}"#,
        ] {
            assert!(serde_json::from_str::<Payload>(form).is_err(), "{form}");
        }
    }

    #[test]
    fn an_optional_payload_is_null_or_has_a_null() {
        assert_eq!(
            serde_json::from_str::<Option<Payload>>("null").unwrap(),
            None
        );
        let null = serde_json::from_str::<Option<Payload>>(r#"{"json":null}"#).unwrap();
        assert_eq!(null, Some(Json::new("null").unwrap().into()));
    }
}
