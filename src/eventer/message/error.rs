//! What is no message of the eventer.

use crate::eventer::EventerError;
use crate::wire::DecodeError;

/// What is no message of the eventer.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A type that the eventer does not have.
    #[error("`{kind}` is no message of the eventer")]
    Unknown {
        /// The type, cut where it is long.
        kind: String,
    },
    /// Content that is not that of its type.
    #[error("the content of {kind} cannot be read")]
    Content {
        /// The type.
        kind: &'static str,
        /// Where in the content, and why.
        source: DecodeError,
    },
}

impl From<MessageError> for EventerError {
    fn from(error: MessageError) -> Self {
        Self::Protocol {
            what: String::from("a message"),
            source: Box::new(error),
        }
    }
}
