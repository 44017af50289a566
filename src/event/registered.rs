//! An event, and which of two came first.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventId, EventType, Payload, Timestamp};

/// What one call of register hands over, shared by all who see it.
pub type Events = Arc<[Arc<Event>]>;

/// A registered event.
///
/// Its form has the members `id`, `type`, `timestamp`, `source_timestamp` and `payload`; what is absent is null.
///
/// ```
/// use acqbus::event::{Event, EventId, EventType, Timestamp};
///
/// let event = Event::new(EventId::new(1, 1, 1), EventType::from("a/b"), Timestamp::new(5, 0));
/// let text = r#"{"id":[1,1,1],"type":["a","b"],"timestamp":[5,0],"source_timestamp":null,"payload":null}"#;
/// assert_eq!(serde_json::to_string(&event)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its identity.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When the server registered it.
    pub timestamp: Timestamp,
    /// When it happened, where its source says so.
    #[serde(default)]
    pub source_timestamp: Option<Timestamp>,
    /// What it carries.
    #[serde(default)]
    pub payload: Option<Payload>,
}

impl Event {
    /// An event without source timestamp and payload.
    #[must_use]
    pub fn new(id: EventId, event_type: EventType, timestamp: Timestamp) -> Self {
        Self {
            id,
            event_type,
            timestamp,
            source_timestamp: None,
            payload: None,
        }
    }

    /// Sets when it happened; `None` where that is not known.
    #[must_use]
    pub fn with_source_timestamp(mut self, timestamp: impl Into<Option<Timestamp>>) -> Self {
        self.source_timestamp = timestamp.into();
        self
    }

    /// Sets what it carries; `None` for nothing.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Option<Payload>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Whether this event comes before another one in natural order, where `self` was registered first.
    ///
    /// Events of one server are ordered by identity, those of two servers by timestamp; where these are equal, the one that was
    /// registered first comes first. The answer is not that of an order among all events, so nothing can be sorted by it.
    /// Source: hat-event 0.9.44, `<`.
    #[must_use]
    pub fn is_before(&self, later_registered: &Self) -> bool {
        if self.id.server == later_registered.id.server {
            return self.id < later_registered.id;
        }
        self.timestamp <= later_registered.timestamp
    }

    /// Whether this event comes after another one in natural order, where `self` was registered first.
    ///
    /// Not the opposite of [`is_before`](Self::is_before): an event is neither before nor after itself.
    /// Source: hat-event 0.9.44, `>`.
    #[must_use]
    pub fn is_after(&self, later_registered: &Self) -> bool {
        if self.id.server == later_registered.id.server {
            return self.id > later_registered.id;
        }
        self.timestamp > later_registered.timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(server: i64, session: i64, second: i64) -> Event {
        let id = EventId::new(server, session, 1);
        Event::new(id, EventType::empty(), Timestamp::new(second, 0))
    }

    #[test]
    fn events_of_one_server_are_ordered_by_identity() {
        let (first, second) = (event(1, 1, 9), event(1, 2, 3));
        assert!(first.is_before(&second) && !first.is_after(&second));
        assert!(!second.is_before(&first) && second.is_after(&first));
        assert!(!first.is_before(&first) && !first.is_after(&first));
    }

    #[test]
    fn events_of_two_servers_are_ordered_by_time_then_by_registering() {
        let (early, late) = (event(2, 9, 3), event(1, 1, 9));
        assert!(early.is_before(&late) && late.is_after(&early));
        let other = event(3, 1, 3);
        assert!(early.is_before(&other) && other.is_before(&early));
        assert!(!early.is_after(&other) && !other.is_after(&early));
    }
}
