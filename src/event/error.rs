//! The error of the event model.

use crate::event::{EventType, Timestamp};
use crate::wire::DecodeError;

/// What is no event, or no part of one.
///
/// ```
/// use acqbus::event::{EventType, Subscription};
///
/// let error = Subscription::new([EventType::from("rig-1/*/error")]).unwrap_err();
/// assert!(error.is_query_type());
/// assert_eq!(error.to_string(), "`rig-1/*/error` is no query type: `*` may only be its last segment");
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A query type with `*` before its last segment.
    #[error(
        "`{}` is no query type: `*` may only be its last segment",
        cut(query_type)
    )]
    QueryType {
        /// The query type.
        query_type: EventType,
    },
    /// Text of a payload that is not JSON, or not JSON that can be written again.
    #[error("the payload is no JSON")]
    Json(#[from] DecodeError),
    /// A value that cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// A number of seconds that no timestamp holds.
    #[error("{seconds} s is no time that a timestamp holds")]
    Seconds {
        /// Seconds since 1970, or to add.
        seconds: f64,
    },
    /// A timestamp that another clock cannot hold.
    #[error("{} s and {} us since 1970 is no time of {clock}", timestamp.s(), timestamp.us())]
    Clock {
        /// The timestamp.
        timestamp: Timestamp,
        /// The clock that cannot hold it.
        clock: &'static str,
    },
    /// Text that is no identity of an event.
    #[error("`{text}` is no identity of an event as 1.2.3 is one: server, session, instance")]
    EventId {
        /// The text, cut where it is long.
        text: String,
    },
}

impl EventError {
    /// Whether a query type is wrong.
    #[must_use]
    pub fn is_query_type(&self) -> bool {
        matches!(self, Self::QueryType { .. })
    }

    /// Whether a payload is wrong.
    #[must_use]
    pub fn is_payload(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Serialize(_))
    }

    /// Whether a time is out of range.
    #[must_use]
    pub fn is_time(&self) -> bool {
        matches!(self, Self::Seconds { .. } | Self::Clock { .. })
    }
}

/// A text that an error shows, cut where it is long.
pub(super) fn cut(text: impl ToString) -> String {
    let text = text.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Characters of a refused text that its error shows.
const SHOWN: usize = 80;
