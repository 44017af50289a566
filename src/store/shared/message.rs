//! What goes over `store.sock`: requests and answers, one JSON object a line. Bytes only.

use std::error::Error;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Event, EventId, QueryParams, Subscription, Timestamp};
use crate::store::StoreError;

/// What a guest asks the owner of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    LastEventId(i64),
    LastTimestamp(i64),
    Register(Vec<Arc<Event>>),
    Query(QueryParams),
    Flush {},
    ReserveSessions {
        server: i64,
        last: i64,
    },
    SessionFloor(i64),
    Stats {},
    Check {},
    Follow {
        event_types: Subscription,
        persisted: bool,
    },
}

/// What the owner answers. Several `Events` come before the `Done` of a query, `Damage` before that of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Events(Vec<Arc<Event>>),
    Done { more_follows: bool },
    EventId(EventId),
    Timestamp(Option<Timestamp>),
    Session(i64),
    Stats(Value),
    Damage(Value),
    Checked(Value),
    Following {},
    Lost(u64),
    Error { kind: FaultKind, text: String },
}

/// What kind of error the owner had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The owner closes the store; somebody else may open it.
    Closed,
    /// There is no room.
    Full,
    /// Something in the store is not what was written.
    Damaged,
    /// The query is at fault.
    Query,
    /// The line is no request, or too long.
    Request,
    /// Too many guests are there.
    Busy,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A line that is no message, with what is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("not a message of the store")]
    Json(#[source] serde_json::Error),
    #[error("a message of {bytes} bytes, more than the {limit} that are allowed")]
    TooLong { bytes: usize, limit: usize },
}

impl Answer {
    /// The answer that stands for an error, with all its causes.
    pub(super) fn of_error(error: &StoreError) -> Self {
        let kind = if error.is_closed() {
            FaultKind::Closed
        } else if error.is_full() {
            FaultKind::Full
        } else if error.is_damage() {
            FaultKind::Damaged
        } else if error.is_query() {
            FaultKind::Query
        } else {
            FaultKind::Other
        };
        Self::fault(kind, chain(error))
    }

    pub(super) fn fault(kind: FaultKind, text: impl Into<String>) -> Self {
        Self::Error {
            kind,
            text: text.into(),
        }
    }
}

/// Writes a message with its line feed.
pub(super) fn encode(message: &impl Serialize, line: &mut Vec<u8>) -> Result<(), LineError> {
    let begin = line.len();
    serde_json::to_writer(&mut *line, message).map_err(|error| {
        line.truncate(begin);
        LineError::Json(error)
    })?;
    line.push(b'\n');
    Ok(())
}

/// Reads a message from a line without its line feed; its length is checked before anything else.
pub(super) fn decode<'de, T: Deserialize<'de>>(line: &'de [u8]) -> Result<T, LineError> {
    if line.len() > LINE_LIMIT {
        return Err(LineError::TooLong {
            bytes: line.len(),
            limit: LINE_LIMIT,
        });
    }
    serde_json::from_slice(line).map_err(LineError::Json)
}

/// The text of an error and of its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The longest line: a register call of this many bytes is refused, an answer is cut into lines long before.
pub(super) const LINE_LIMIT: usize = 64 << 20;

/// Events that an answer puts into one line at most.
pub(super) const EVENTS_A_LINE: usize = 256;

/// Bytes of payload from which an answer begins a new line.
pub(super) const BYTES_A_LINE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        EventType, Json, Payload, QueryLatestParams, QueryServerParams, QueryTimeseriesParams,
    };

    fn event() -> Arc<Event> {
        let id = EventId {
            server: 1,
            session: 2,
            instance: 3,
        };
        let payload = Payload::Json(Json::new("{\"x\": 1.50}").unwrap());
        let event = Event::new(id, EventType::new(["a", "b"]), Timestamp::new(4, 5));
        Arc::new(event.with_payload(payload))
    }

    fn requests() -> Vec<(Request, &'static str)> {
        vec![
            (Request::LastEventId(7), r#"{"last_event_id":7}"#),
            (Request::LastTimestamp(7), r#"{"last_timestamp":7}"#),
            (
                Request::Register(vec![event()]),
                r#"{"register":[{"id":[1,2,3],"type":["a","b"],"timestamp":[4,5],"source_timestamp":null,"payload":{"json":{"x": 1.50}}}]}"#,
            ),
            (Request::Flush {}, r#"{"flush":{}}"#),
            (
                Request::ReserveSessions { server: 1, last: 2 },
                r#"{"reserve_sessions":{"server":1,"last":2}}"#,
            ),
            (Request::SessionFloor(1), r#"{"session_floor":1}"#),
            (Request::Stats {}, r#"{"stats":{}}"#),
            (Request::Check {}, r#"{"check":{}}"#),
            (
                Request::Follow {
                    event_types: Subscription::new([EventType::new(["a", "*"])]).unwrap(),
                    persisted: true,
                },
                r#"{"follow":{"event_types":[["a","*"]],"persisted":true}}"#,
            ),
        ]
    }

    fn answers() -> Vec<(Answer, &'static str)> {
        vec![
            (
                Answer::Done { more_follows: true },
                r#"{"done":{"more_follows":true}}"#,
            ),
            (Answer::Timestamp(None), r#"{"timestamp":null}"#),
            (
                Answer::Timestamp(Some(Timestamp::new(-1, 2))),
                r#"{"timestamp":[-1,2]}"#,
            ),
            (Answer::Session(3), r#"{"session":3}"#),
            (Answer::Following {}, r#"{"following":{}}"#),
            (Answer::Lost(3), r#"{"lost":3}"#),
            (
                Answer::fault(FaultKind::Full, "no"),
                r#"{"error":{"kind":"full","text":"no"}}"#,
            ),
            (
                Answer::Events(vec![event()]),
                r#"{"events":[{"id":[1,2,3],"type":["a","b"],"timestamp":[4,5],"source_timestamp":null,"payload":{"json":{"x": 1.50}}}]}"#,
            ),
        ]
    }

    #[test]
    fn lines_are_those_of_the_page() {
        for (request, text) in requests() {
            let mut line = Vec::new();
            encode(&request, &mut line).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), format!("{text}\n"));
            assert_eq!(decode::<Request>(text.as_bytes()).unwrap(), request);
        }
        for (answer, text) in answers() {
            let mut line = Vec::new();
            encode(&answer, &mut line).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), format!("{text}\n"));
            assert_eq!(decode::<Answer>(text.as_bytes()).unwrap(), answer);
        }
    }

    #[test]
    fn queries_come_back_as_they_were() {
        let id = EventId::new(-1, i64::MAX, 0);
        let series = QueryTimeseriesParams::default()
            .event_types([EventType::new(["?", "*"])])
            .from(Timestamp::MIN)
            .max_results(5)
            .after(id);
        for params in [
            QueryParams::from(QueryLatestParams::default()),
            QueryParams::from(series),
            QueryParams::from(QueryServerParams::new(3).persisted(true).after(id)),
        ] {
            let mut line = Vec::new();
            let request = Request::Query(params);
            encode(&request, &mut line).unwrap();
            assert_eq!(decode::<Request>(line.trim_ascii_end()).unwrap(), request);
        }
    }

    #[test]
    fn every_cut_of_a_good_line_is_refused() {
        for (request, text) in requests() {
            for end in 0..text.len() {
                let cut = decode::<Request>(&text.as_bytes()[..end]);
                assert!(cut.is_err(), "{request:?} at {end}");
            }
        }
    }

    #[test]
    fn line_over_the_limit_is_refused_unread() {
        let error = decode::<Request>(&vec![b'{'; LINE_LIMIT + 1]).unwrap_err();
        assert!(matches!(error, LineError::TooLong { .. }), "{error}");
    }

    #[test]
    fn kind_of_a_later_version_is_some_error() {
        let line = br#"{"error":{"kind":"coffee","text":"x"}}"#;
        let answer: Answer = decode(line).unwrap();
        assert_eq!(answer, Answer::fault(FaultKind::Other, "x"));
    }
}
