//! The name of a sender.

use std::fmt;
use std::sync::Arc;

use crate::cdtp::error::CdtpError;

/// The name that a sender writes into its messages, `Type.name`; cloning is cheap.
///
/// What we send under is checked; a name that comes in may be any text, as both references take it.
/// Source: CDTP2, "canonical name".
///
/// ```
/// use acqbus::cdtp::SenderName;
///
/// let name = SenderName::new("Camera.left_eye")?;
/// assert_eq!(name.as_str(), "Camera.left_eye");
/// assert!(SenderName::new("Camera").is_err());
/// # Ok::<(), acqbus::cdtp::CdtpError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderName(Arc<str>);

impl SenderName {
    /// Takes a name to send under: two words of letters, digits and `_`, joined by a dot.
    ///
    /// Letters beyond ASCII are allowed, as in Python; a C++ satellite would not start under such a name, and finds the other's
    /// CHIRP identifier only if no capital is among them.
    ///
    /// # Errors
    /// [`CdtpError::Name`] for another form, or beyond 255 bytes (*ours*).
    pub fn new(name: &str) -> Result<Self, CdtpError> {
        let word =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
        let rule = match name.split_once('.') {
            _ if name.len() > LIMIT => "it has more than 255 bytes",
            Some((kind, own)) if word(kind) && word(own) => return Ok(Self(name.into())),
            _ => "it must be two words of letters, digits and `_`, joined by a dot",
        };
        let name = name.chars().take(SHOWN).collect();
        Err(CdtpError::Name { name, rule })
    }

    /// Takes a name that came in, whatever it is.
    #[must_use]
    pub fn received(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SenderName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for SenderName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Longest name to send under, in bytes.
const LIMIT: usize = 255;

/// Characters of a refused name that its error shows.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_with_a_dot_are_a_name() {
        for name in ["Sputnik.One", "a.b", "Rig_7.2", "Kamera.\u{e4}u\u{df}en"] {
            assert_eq!(SenderName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_texts_are_no_names_to_send_under_but_may_come_in() {
        let long = format!("a.{}", "b".repeat(254));
        for name in ["", ".", "a", "a.", ".b", "a.b.c", "a b.c", "a.b-c", &long] {
            assert!(SenderName::new(name).is_err(), "{name}");
            assert_eq!(SenderName::received(name).as_str(), name);
        }
    }
}
