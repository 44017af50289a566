//! The two ways in which a service of this family writes its JSON.

use std::borrow::Cow;

use crate::rpc::json;

/// How the bodies of a service are written.
///
/// Section 2.1 of `docs/wire.md` shows both.
/// Clients read both without being told; a service writes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Plain JSON objects, as auto-trainer-api 0.9.14 and later.
    #[default]
    Plain,
    /// Published bodies are JSON strings that hold JSON text, replies are compact, as 0.9.7.
    ///
    /// The reference damages values on the way (white space, dashes and minus signs vanish); we do not.
    JsonString,
}

impl Dialect {
    /// A published body in this dialect, from JSON text as [`json::to_camel_json`] writes it.
    ///
    /// # Examples
    /// ```
    /// use acqbus::rpc::Dialect;
    ///
    /// let text = br#"{"kind": 101}"#;
    /// assert_eq!(&*Dialect::Plain.publish_form(text), text);
    /// assert_eq!(&*Dialect::JsonString.publish_form(text), br#""{\"kind\":101}""#);
    /// ```
    pub fn publish_form(self, text: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(text),
            Self::JsonString => {
                let text = json::compact(text);
                let mut quoted = Vec::with_capacity(text.len() + text.len() / 4 + 2);
                quoted.push(b'"');
                for byte in text {
                    // Everything outside ASCII and every control character is already escaped.
                    if matches!(byte, b'"' | b'\\') {
                        quoted.push(b'\\');
                    }
                    quoted.push(byte);
                }
                quoted.push(b'"');
                Cow::Owned(quoted)
            }
        }
    }
}
