//! The error of transports.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What caused an error; shared, because one failure may be that of every event of a batch.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why an event did not arrive, or may not have arrived.
///
/// No text of it has a key, a password or a part of an event. What a server says is cut at 200 characters and has no control
/// characters.
///
/// ```
/// use std::time::Duration;
///
/// use acqbus::transport::{ErrorKind, TransportError};
///
/// let error = TransportError::throttled(Some(Duration::from_secs(3)));
/// assert!(error.is_retryable() && !error.is_refusal());
/// assert_eq!(error.kind(), ErrorKind::Throttled);
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
/// assert_eq!(error.to_string(), "the server asks to wait 3s");
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection, or one that broke.
    #[error("no connection to {endpoint}")]
    Connection {
        /// The other side, without user and password.
        endpoint: String,
        /// What the system says.
        #[source]
        source: Option<Cause>,
    },
    /// Nothing came in time.
    #[error("no {phase} within {limit:?}")]
    Timeout {
        /// What was waited for, as `answer`.
        phase: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The server does not take the key, or the key may not do this.
    #[error("the server refuses the key: {reason}")]
    Authentication {
        /// What the server says.
        reason: String,
    },
    /// The server does not take the event, and never will.
    #[error("the server refuses the event: {reason}")]
    Refused {
        /// What the server says.
        reason: String,
    },
    /// The event, or the batch, is larger than the server takes.
    #[error("{len} bytes are more than the server takes")]
    TooLarge {
        /// Bytes of the event or of the batch.
        len: usize,
    },
    /// The server is busy and says so.
    #[error("the server asks to wait{}", Asked(*delay))]
    Throttled {
        /// How long it asks to wait.
        delay: Option<Duration>,
    },
    /// The server failed.
    #[error("the server failed: {reason}")]
    Server {
        /// What the server says.
        reason: String,
        /// How long it asks to wait.
        delay: Option<Duration>,
    },
    /// What came is no answer of the protocol; the event may have arrived or not.
    #[error("no answer that can be understood: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
        /// What cannot be read.
        #[source]
        source: Option<Cause>,
    },
}

impl TransportError {
    /// No connection to an endpoint, whose text has no user and no password.
    #[must_use]
    pub fn connection(endpoint: impl Into<String>) -> Self {
        Self::Connection {
            endpoint: endpoint.into(),
            source: None,
        }
    }

    /// No connection to an endpoint, for a reason.
    #[must_use]
    pub fn connection_for(
        endpoint: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Connection {
            endpoint: endpoint.into(),
            source: Some(Arc::new(source)),
        }
    }

    /// Nothing came within a time; `phase` is what was waited for, as `answer`.
    #[must_use]
    pub const fn timeout(phase: &'static str, limit: Duration) -> Self {
        Self::Timeout { phase, limit }
    }

    /// The server does not take the key.
    #[must_use]
    pub fn authentication(reason: impl AsRef<str>) -> Self {
        Self::Authentication {
            reason: shown(reason.as_ref()),
        }
    }

    /// The server does not take the event.
    #[must_use]
    pub fn refused(reason: impl AsRef<str>) -> Self {
        Self::Refused {
            reason: shown(reason.as_ref()),
        }
    }

    /// An event or a batch of `len` bytes is too large.
    #[must_use]
    pub const fn too_large(len: usize) -> Self {
        Self::TooLarge { len }
    }

    /// The server asks to wait.
    #[must_use]
    pub const fn throttled(delay: Option<Duration>) -> Self {
        Self::Throttled { delay }
    }

    /// The server failed.
    #[must_use]
    pub fn server(reason: impl AsRef<str>, delay: Option<Duration>) -> Self {
        Self::Server {
            reason: shown(reason.as_ref()),
            delay,
        }
    }

    /// What came cannot be understood.
    #[must_use]
    pub fn protocol(reason: impl AsRef<str>) -> Self {
        Self::Protocol {
            reason: shown(reason.as_ref()),
            source: None,
        }
    }

    /// What came cannot be understood, for a reason.
    #[must_use]
    pub fn protocol_for(
        reason: impl AsRef<str>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Protocol {
            reason: shown(reason.as_ref()),
            source: Some(Arc::new(source)),
        }
    }

    /// What kind of error it is, for counters.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Connection { .. } => ErrorKind::Connection,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Authentication { .. } => ErrorKind::Authentication,
            Self::Refused { .. } => ErrorKind::Refused,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Server { .. } => ErrorKind::Server,
            Self::Protocol { .. } => ErrorKind::Protocol,
        }
    }

    /// Whether the same event may arrive when it is sent again.
    ///
    /// True for all that says nothing about the event: a sending under the same id counts once, whether the first arrived or not.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Connection
            | ErrorKind::Timeout
            | ErrorKind::Throttled
            | ErrorKind::Server
            | ErrorKind::Protocol => true,
            ErrorKind::Authentication | ErrorKind::Refused | ErrorKind::TooLarge => false,
        }
    }

    /// Whether the event itself is what the server does not take, so that it blocks others if it is kept at the front.
    ///
    /// A refused key is none of the event's: with another key it arrives.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self.kind(), ErrorKind::Refused | ErrorKind::TooLarge)
    }

    /// How long the server asks to wait before anything is sent to it again.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { delay } | Self::Server { delay, .. } => *delay,
            _ => None,
        }
    }
}

/// What kind of error a [`TransportError`] is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// No connection.
    Connection,
    /// Nothing came in time.
    Timeout,
    /// The key is refused.
    Authentication,
    /// The event is refused.
    Refused,
    /// The event is too large.
    TooLarge,
    /// The server asks to wait.
    Throttled,
    /// The server failed.
    Server,
    /// No answer that can be understood.
    Protocol,
}

impl ErrorKind {
    /// The name, as `too_large`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Authentication => "authentication",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for ErrorKind {
    /// The name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text of the other side as an error shows it: neither long nor able to move a terminal's cursor.
fn shown(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(SHOWN).map(visible).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The end of the text of a throttled request.
struct Asked(Option<Duration>);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(delay) => write!(f, " {delay:?}"),
            None => Ok(()),
        }
    }
}

/// Characters of a server's text that an error shows.
const SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blames_the_event_is_not_sent_again() {
        let second = Duration::from_secs(1);
        for (error, is_retryable, is_refusal) in [
            (
                TransportError::connection("http://127.0.0.1:9"),
                true,
                false,
            ),
            (TransportError::timeout("answer", second), true, false),
            (TransportError::authentication("no such key"), false, false),
            (TransportError::refused("no source"), false, true),
            (TransportError::too_large(7), false, true),
            (TransportError::throttled(None), true, false),
            (TransportError::server("500", None), true, false),
            (TransportError::protocol("no JSON"), true, false),
        ] {
            assert_eq!(error.is_retryable(), is_retryable, "{error}");
            assert_eq!(error.is_refusal(), is_refusal, "{error}");
            assert_eq!(error.retry_after(), None, "{error}");
        }
        let waits = TransportError::server("503", Some(second));
        assert_eq!(waits.retry_after(), Some(second));
    }

    #[test]
    fn a_text_of_the_server_is_cut_and_harmless() {
        let error = TransportError::refused(format!(" \u{1b}[2J\r\n{}", "x".repeat(300)));
        let text = error.to_string();
        assert!(
            text.starts_with("the server refuses the event: [2J  xxx"),
            "{text}"
        );
        assert!(text.ends_with("..."));
        assert!(text.chars().count() < 240 && !text.chars().any(char::is_control));
    }

    #[test]
    fn a_cause_is_kept_and_not_repeated() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = TransportError::connection_for("http://127.0.0.1:9", cause).clone();
        assert_eq!(error.to_string(), "no connection to http://127.0.0.1:9");
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }
}
