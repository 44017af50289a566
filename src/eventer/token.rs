//! What a client shows to a server to be let in.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a client shows to a server to be let in; any text, also the empty one.
///
/// It is erased from memory when the last copy goes, and `Debug` does not show it. On the wire it is plain text: beyond a
/// trusted network it wants TLS. Source: hat-event 0.9.44, `clientToken`.
///
/// # Examples
/// ```
/// use acqbus::eventer::Token;
///
/// let token = Token::new("secret");
/// assert!(token.is("secret") && !token.is("Secret"));
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// ```
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token of its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Whether this is the text of the token, in a time that says nothing about it but its length.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The text, for the message that carries it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
