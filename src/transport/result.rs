//! What became of events that were sent.

use std::time::Duration;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::transport::error::TransportError;
use crate::udm::UdmEvent;

/// What became of one event.
///
/// As JSON it has the members of PhyTrace's `SendResult`: `success`, `event_id`, `timestamp`, `error`, `response_time_ms`,
/// `server_event_id`; those without a value are left out (*ours*).
///
/// ```
/// use acqbus::transport::{SendResult, TransportError};
///
/// let result = SendResult::fail("e1", TransportError::refused("no source"));
/// assert!(!result.is_success());
/// assert_eq!(result.event_id(), "e1");
/// assert!(result.error().unwrap().is_refusal());
/// ```
#[must_use = "an event that was not sent is told here only"]
#[derive(Debug, Clone)]
pub struct SendResult {
    event_id: String,
    timestamp: Timestamp,
    error: Option<TransportError>,
    response_time: Option<Duration>,
    server_event_id: Option<String>,
}

impl SendResult {
    /// The event arrived.
    pub fn ok(
        event_id: impl Into<String>,
        response_time: Option<Duration>,
        server_event_id: Option<String>,
    ) -> Self {
        Self {
            event_id: event_id.into(),
            timestamp: Timestamp::now(),
            error: None,
            response_time,
            server_event_id,
        }
    }

    /// The event did not arrive, as far as is known.
    pub fn fail(event_id: impl Into<String>, error: TransportError) -> Self {
        Self {
            event_id: event_id.into(),
            timestamp: Timestamp::now(),
            error: Some(error),
            response_time: None,
            server_event_id: None,
        }
    }

    /// Sets the time from the request to the answer.
    pub const fn with_response_time(mut self, time: Duration) -> Self {
        self.response_time = Some(time);
        self
    }

    /// Whether the server has the event.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.error.is_none()
    }

    /// The id of the event.
    #[must_use]
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// When the result was made.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Why the event did not arrive; `None` for one that did.
    #[must_use]
    pub const fn error(&self) -> Option<&TransportError> {
        self.error.as_ref()
    }

    /// Why the event did not arrive; `None` for one that did.
    #[must_use]
    pub fn into_error(self) -> Option<TransportError> {
        self.error
    }

    /// The time from the request to the answer, where there was one.
    #[must_use]
    pub const fn response_time(&self) -> Option<Duration> {
        self.response_time
    }

    /// The id that the server gave to the event, if it did.
    #[must_use]
    pub fn server_event_id(&self) -> Option<&str> {
        self.server_event_id.as_deref()
    }
}

impl Serialize for SendResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("SendResult", 6)?;
        members.serialize_field("success", &self.is_success())?;
        members.serialize_field("event_id", &self.event_id)?;
        members.serialize_field("timestamp", &format!("{:.6}", self.timestamp))?;
        match &self.error {
            Some(error) => members.serialize_field("error", &error.to_string())?,
            None => members.skip_field("error")?,
        }
        match self.response_time {
            Some(time) => members.serialize_field("response_time_ms", &milliseconds(time))?,
            None => members.skip_field("response_time_ms")?,
        }
        match &self.server_event_id {
            Some(id) => members.serialize_field("server_event_id", id)?,
            None => members.skip_field("server_event_id")?,
        }
        members.end()
    }
}

/// What became of the events of a batch, in the order in which they were given.
///
/// ```
/// use acqbus::transport::{BatchSendResult, SendResult, TransportError};
///
/// let batch = BatchSendResult::new(vec![
///     SendResult::ok("e1", None, None),
///     SendResult::fail("e2", TransportError::refused("no source")),
/// ]);
/// assert!(!batch.is_success());
/// assert_eq!((batch.total_events(), batch.successful_events(), batch.failed_events()), (2, 1, 1));
/// assert!(BatchSendResult::new(Vec::new()).is_success());
/// ```
#[must_use = "events that were not sent are told here only"]
#[derive(Debug, Clone, Default)]
pub struct BatchSendResult {
    results: Vec<SendResult>,
    batch_id: Option<String>,
    response_time: Option<Duration>,
}

impl BatchSendResult {
    /// The results of all events, in the order in which these were given.
    pub const fn new(results: Vec<SendResult>) -> Self {
        Self {
            results,
            batch_id: None,
            response_time: None,
        }
    }

    /// One failure for all.
    pub fn fail_all(events: &[UdmEvent], error: &TransportError) -> Self {
        let events = events.iter();
        Self::new(
            events
                .map(|event| SendResult::fail(event.event_id(), error.clone()))
                .collect(),
        )
    }

    /// Sets the id under which the batch was sent.
    pub fn with_batch_id(mut self, batch_id: impl Into<String>) -> Self {
        self.batch_id = Some(batch_id.into());
        self
    }

    /// Sets the time from the request to the answer.
    pub const fn with_response_time(mut self, time: Duration) -> Self {
        self.response_time = Some(time);
        self
    }

    /// Whether every event arrived; true for none at all.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.results.iter().all(SendResult::is_success)
    }

    /// How many events there were.
    #[must_use]
    pub const fn total_events(&self) -> usize {
        self.results.len()
    }

    /// How many of them arrived.
    #[must_use]
    pub fn successful_events(&self) -> usize {
        let results = self.results.iter();
        results.filter(|result| result.is_success()).count()
    }

    /// How many of them did not.
    #[must_use]
    pub fn failed_events(&self) -> usize {
        self.total_events() - self.successful_events()
    }

    /// The results, in the order in which the events were given.
    pub fn results(&self) -> &[SendResult] {
        &self.results
    }

    /// The results, in the order in which the events were given.
    pub fn into_results(self) -> Vec<SendResult> {
        self.results
    }

    /// The id under which the batch was sent, if there was one.
    #[must_use]
    pub fn batch_id(&self) -> Option<&str> {
        self.batch_id.as_deref()
    }

    /// The time from the request to the answer, where there was one.
    #[must_use]
    pub const fn response_time(&self) -> Option<Duration> {
        self.response_time
    }
}

impl Serialize for BatchSendResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("BatchSendResult", 7)?;
        members.serialize_field("success", &self.is_success())?;
        members.serialize_field("total_events", &self.total_events())?;
        members.serialize_field("successful_events", &self.successful_events())?;
        members.serialize_field("failed_events", &self.failed_events())?;
        members.serialize_field("results", &self.results)?;
        match &self.batch_id {
            Some(id) => members.serialize_field("batch_id", id)?,
            None => members.skip_field("batch_id")?,
        }
        match self.response_time {
            Some(time) => members.serialize_field("response_time_ms", &milliseconds(time))?,
            None => members.skip_field("response_time_ms")?,
        }
        members.end()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_as_json_have_the_members_of_phytrace() {
        let half = Duration::from_micros(1_500);
        let mut ok = SendResult::ok("e1", Some(half), Some("s1".to_owned()));
        let mut failed = SendResult::fail("e2", TransportError::throttled(None));
        ok.timestamp = Timestamp::UNIX_EPOCH;
        failed.timestamp = Timestamp::UNIX_EPOCH;
        let batch = BatchSendResult::new(vec![ok, failed])
            .with_batch_id("b1")
            .with_response_time(half);
        assert_eq!(
            serde_json::to_value(&batch).unwrap(),
            json!({
                "success": false,
                "total_events": 2,
                "successful_events": 1,
                "failed_events": 1,
                "results": [
                    {
                        "success": true,
                        "event_id": "e1",
                        "timestamp": "1970-01-01T00:00:00.000000Z",
                        "response_time_ms": 1.5,
                        "server_event_id": "s1",
                    },
                    {
                        "success": false,
                        "event_id": "e2",
                        "timestamp": "1970-01-01T00:00:00.000000Z",
                        "error": "the server asks to wait",
                    },
                ],
                "batch_id": "b1",
                "response_time_ms": 1.5,
            })
        );
    }
}
