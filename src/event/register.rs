//! An event that is to be registered.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventId, EventType, Payload, Timestamp};

/// An event as its source gives it, without identity and time of registering.
///
/// Its form has the members `type`, `source_timestamp` and `payload`; what is absent is null.
///
/// ```
/// use acqbus::event::{EventId, EventType, RegisterEvent, Timestamp};
///
/// let given = RegisterEvent::new(EventType::from("door/open")).with_source_timestamp(Timestamp::new(4, 0));
/// let event = given.register(EventId::new(1, 1, 1), Timestamp::new(5, 0));
/// assert_eq!(event.source_timestamp, Some(Timestamp::new(4, 0)));
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterEvent {
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When it happened, where its source says so.
    #[serde(default)]
    pub source_timestamp: Option<Timestamp>,
    /// What it carries.
    #[serde(default)]
    pub payload: Option<Payload>,
}

impl RegisterEvent {
    /// An event without source timestamp and payload.
    #[must_use]
    pub fn new(event_type: EventType) -> Self {
        Self {
            event_type,
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

    /// The event with the identity and the time that its server gives it.
    #[must_use]
    pub fn register(self, id: EventId, timestamp: Timestamp) -> Event {
        Event::new(id, self.event_type, timestamp)
            .with_source_timestamp(self.source_timestamp)
            .with_payload(self.payload)
    }
}
