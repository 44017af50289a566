//! A payload of JSON text.

mod normal;
mod read;
mod value;

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::error::EventError;

/// A JSON text that was checked, kept byte for byte; cloning is cheap.
///
/// Two are equal if their texts are. What reads as JSON in Python but cannot be written again (`NaN`, `Infinity`, a float beyond
/// the doubles) is refused at once, as is what nests deeper than 256 levels (*ours*).
///
/// ```
/// use acqbus::event::Json;
///
/// let json = Json::new("{\"x\":1e5 ,\"\u{e9}\":-0}")?;
/// assert_eq!(json.as_str(), "{\"x\":1e5 ,\"\u{e9}\":-0}");
/// assert_eq!(json.normalised(), r#"{"x": 100000.0, "\u00e9": 0}"#);
/// assert_eq!(json.to_value()["x"], 1e5);
/// assert!(Json::new("1e400").is_err());
/// # Ok::<(), acqbus::event::EventError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// Takes a JSON text, with white space around it or not.
    ///
    /// # Errors
    /// [`EventError::Json`] with the place that is not JSON, or not such as can be written again.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, EventError> {
        let text = text.into();
        read::read(&text, &mut |_| ())?;
        Ok(Self(text))
    }

    /// Takes back the text of one that was made before.
    pub(crate) fn from_checked_text(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Writes a value as JSON text; a float that is no number becomes `null`.
    ///
    /// # Errors
    /// [`EventError::Serialize`] for what JSON cannot hold, and [`EventError::Json`] for what [`new`](Self::new) refuses.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, EventError> {
        Self::new(serde_json::to_string(value).map_err(EventError::Serialize)?)
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value; of members with one name the last counts, half a surrogate pair becomes U+FFFD.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut builder = value::Builder::default();
        // It was read before.
        let _ = read::read(&self.0, &mut |token| builder.take(token));
        builder.finish()
    }

    /// The text as hat-event 0.9.44 writes it: its spacing, ASCII only, floats in Python's layout, no name twice.
    #[must_use]
    pub fn normalised(&self) -> String {
        let mut writer = normal::Writer::default();
        // It was read before.
        let _ = read::read(&self.0, &mut |token| writer.take(token));
        writer.finish()
    }

    /// Whether the text comes out equal when it is put into a line of JSON.
    pub(super) fn is_one_line(&self) -> bool {
        let space = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        let bytes = self.0.as_bytes();
        !space(bytes.first())
            && !space(bytes.last())
            && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
    }
}

impl Serialize for Json {
    /// The value that the text stands for; with `serde_json` it is the text itself, on one line.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_one_line() {
            let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(S::Error::custom)?;
            return raw.serialize(serializer);
        }
        let line = self.0.trim_ascii().replace(['\n', '\r'], " ");
        let raw = RawValue::from_string(line).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::new(raw.get()).map_err(D::Error::custom)
    }
}
