//! What may be asked of a history, and the answer.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::event::{Event, EventId, EventType, Timestamp};

/// In which direction of time an answer goes; its form is the name in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Order {
    /// The latest first; the default.
    #[default]
    Descending,
    /// The oldest first.
    Ascending,
}

/// Which time a time series is ordered by; its form is the name in capitals.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderBy {
    /// The time of registering; the default.
    #[default]
    Timestamp,
    /// The time that the source gave; events without one are left out.
    SourceTimestamp,
}

/// Asks for the latest event of each type.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueryLatestParams {
    /// Query types; `None`, the default, asks for all, an empty list for none.
    #[serde(default)]
    pub event_types: Option<Vec<EventType>>,
}

impl QueryLatestParams {
    /// Sets the query types.
    #[must_use]
    pub fn event_types(mut self, event_types: impl IntoIterator<Item = EventType>) -> Self {
        self.event_types = Some(event_types.into_iter().collect());
        self
    }
}

/// Asks for a stretch of a time series.
///
/// All four bounds are inclusive and hold whatever the order is by; an event without source timestamp is outside every bound
/// of source timestamps.
///
/// ```
/// use acqbus::event::{EventType, QueryParams, QueryTimeseriesParams, Timestamp};
///
/// let last = QueryTimeseriesParams::default()
///     .event_types([EventType::from("rig-1/*")])
///     .from(Timestamp::new(1_700_000_000, 0))
///     .max_results(100);
/// let text = serde_json::to_string(&QueryParams::from(last))?;
/// assert!(text.starts_with(r#"{"kind":"timeseries","event_types":[["rig-1","*"]],"t_from":[1700000000,0],"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueryTimeseriesParams {
    /// Query types; `None`, the default, asks for all, an empty list for none.
    #[serde(default)]
    pub event_types: Option<Vec<EventType>>,
    /// The first timestamp; `None`, the default, is the beginning.
    #[serde(default)]
    pub t_from: Option<Timestamp>,
    /// The last timestamp; `None`, the default, is the end.
    #[serde(default)]
    pub t_to: Option<Timestamp>,
    /// The first source timestamp; `None` by default.
    #[serde(default)]
    pub source_t_from: Option<Timestamp>,
    /// The last source timestamp; `None` by default.
    #[serde(default)]
    pub source_t_to: Option<Timestamp>,
    /// The direction.
    #[serde(default)]
    pub order: Order,
    /// The time that orders the answer.
    #[serde(default)]
    pub order_by: OrderBy,
    /// The most events to answer; `None`, the default, is the limit of the store. 0 asks only whether there are any; a negative
    /// number is refused by the store.
    #[serde(default)]
    pub max_results: Option<i64>,
    /// The last event that was seen of this answer: it goes on after it. `None` by default.
    #[serde(default)]
    pub last_event_id: Option<EventId>,
}

impl QueryTimeseriesParams {
    /// Sets the query types.
    #[must_use]
    pub fn event_types(mut self, event_types: impl IntoIterator<Item = EventType>) -> Self {
        self.event_types = Some(event_types.into_iter().collect());
        self
    }

    /// Sets the first timestamp.
    #[must_use]
    pub fn from(mut self, timestamp: Timestamp) -> Self {
        self.t_from = Some(timestamp);
        self
    }

    /// Sets the last timestamp.
    #[must_use]
    pub fn to(mut self, timestamp: Timestamp) -> Self {
        self.t_to = Some(timestamp);
        self
    }

    /// Sets the first source timestamp.
    #[must_use]
    pub fn source_from(mut self, timestamp: Timestamp) -> Self {
        self.source_t_from = Some(timestamp);
        self
    }

    /// Sets the last source timestamp.
    #[must_use]
    pub fn source_to(mut self, timestamp: Timestamp) -> Self {
        self.source_t_to = Some(timestamp);
        self
    }

    /// Sets the direction.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets the time that orders the answer.
    #[must_use]
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = order_by;
        self
    }

    /// Sets the most events to answer.
    #[must_use]
    pub fn max_results(mut self, max_results: i64) -> Self {
        self.max_results = Some(max_results);
        self
    }

    /// Goes on after an event of an earlier answer.
    #[must_use]
    pub fn after(mut self, last_event_id: EventId) -> Self {
        self.last_event_id = Some(last_event_id);
        self
    }
}

/// Asks for the events of one server, in the order of their identities.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryServerParams {
    /// The server.
    pub server_id: i64,
    /// Whether only events that are on disk are answered; `false` by default.
    #[serde(default)]
    pub persisted: bool,
    /// The most events to answer; `None`, the default, is the limit of the store. A negative number is refused by the store.
    #[serde(default)]
    pub max_results: Option<i64>,
    /// Only events after this one, which need not exist but is of the same server; `None` by default.
    #[serde(default)]
    pub last_event_id: Option<EventId>,
}

impl QueryServerParams {
    /// Asks for all events of a server.
    #[must_use]
    pub fn new(server_id: i64) -> Self {
        Self {
            server_id,
            persisted: false,
            max_results: None,
            last_event_id: None,
        }
    }

    /// Sets whether only events that are on disk are answered.
    #[must_use]
    pub fn persisted(mut self, persisted: bool) -> Self {
        self.persisted = persisted;
        self
    }

    /// Sets the most events to answer.
    #[must_use]
    pub fn max_results(mut self, max_results: i64) -> Self {
        self.max_results = Some(max_results);
        self
    }

    /// Asks for events after this one only.
    #[must_use]
    pub fn after(mut self, last_event_id: EventId) -> Self {
        self.last_event_id = Some(last_event_id);
        self
    }
}

/// One of the three questions to a history; its form has the kind beside the parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum QueryParams {
    /// The latest event of each type.
    Latest(QueryLatestParams),
    /// A stretch of a time series.
    Timeseries(QueryTimeseriesParams),
    /// The events of one server.
    Server(QueryServerParams),
}

impl From<QueryLatestParams> for QueryParams {
    fn from(params: QueryLatestParams) -> Self {
        Self::Latest(params)
    }
}

impl From<QueryTimeseriesParams> for QueryParams {
    fn from(params: QueryTimeseriesParams) -> Self {
        Self::Timeseries(params)
    }
}

impl From<QueryServerParams> for QueryParams {
    fn from(params: QueryServerParams) -> Self {
        Self::Server(params)
    }
}

impl<'de> Deserialize<'de> for QueryParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        Ok(match form.kind {
            Kind::Latest => Self::Latest(QueryLatestParams {
                event_types: form.event_types,
            }),
            Kind::Timeseries => Self::Timeseries(QueryTimeseriesParams {
                event_types: form.event_types,
                t_from: form.t_from,
                t_to: form.t_to,
                source_t_from: form.source_t_from,
                source_t_to: form.source_t_to,
                order: form.order,
                order_by: form.order_by,
                max_results: form.max_results,
                last_event_id: form.last_event_id,
            }),
            Kind::Server => Self::Server(QueryServerParams {
                server_id: form
                    .server_id
                    .ok_or_else(|| D::Error::missing_field("server_id"))?,
                persisted: form.persisted,
                max_results: form.max_results,
                last_event_id: form.last_event_id,
            }),
        })
    }
}

/// The answer to a query.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QueryResult {
    /// The events, in the order that was asked for.
    pub events: Vec<Arc<Event>>,
    /// Whether there are more behind the last.
    pub more_follows: bool,
}

impl QueryResult {
    /// An answer.
    #[must_use]
    pub fn new(events: Vec<Arc<Event>>, more_follows: bool) -> Self {
        Self {
            events,
            more_follows,
        }
    }
}

/// All members of all kinds: serde's own tagged enums lose numbers with `arbitrary_precision`.
#[derive(Deserialize)]
struct Form {
    kind: Kind,
    #[serde(default)]
    event_types: Option<Vec<EventType>>,
    #[serde(default)]
    t_from: Option<Timestamp>,
    #[serde(default)]
    t_to: Option<Timestamp>,
    #[serde(default)]
    source_t_from: Option<Timestamp>,
    #[serde(default)]
    source_t_to: Option<Timestamp>,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    order_by: OrderBy,
    #[serde(default)]
    max_results: Option<i64>,
    #[serde(default)]
    last_event_id: Option<EventId>,
    #[serde(default)]
    server_id: Option<i64>,
    #[serde(default)]
    persisted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Latest,
    Timeseries,
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_have_every_member_and_read_back() {
        let timeseries = QueryTimeseriesParams::default()
            .event_types([EventType::from("a/*")])
            .from(Timestamp::new(1, 2))
            .source_to(Timestamp::new(-3, 4))
            .order(Order::Ascending)
            .order_by(OrderBy::SourceTimestamp)
            .max_results(-1)
            .after(EventId::new(1, 2, 3));
        let server = QueryServerParams::new(7).persisted(true).max_results(5);
        for (params, form) in [
            (
                QueryLatestParams::default().into(),
                r#"{"kind":"latest","event_types":null}"#,
            ),
            (
                timeseries.into(),
                r#"{"kind":"timeseries","event_types":[["a","*"]],"t_from":[1,2],"t_to":null,"source_t_from":null,"source_t_to":[-3,4],"order":"ASCENDING","order_by":"SOURCE_TIMESTAMP","max_results":-1,"last_event_id":[1,2,3]}"#,
            ),
            (
                server.into(),
                r#"{"kind":"server","server_id":7,"persisted":true,"max_results":5,"last_event_id":null}"#,
            ),
        ] {
            let params: QueryParams = params;
            assert_eq!(serde_json::to_string(&params).unwrap(), form);
            assert_eq!(serde_json::from_str::<QueryParams>(form).unwrap(), params);
            let value: serde_json::Value = serde_json::from_str(form).unwrap();
            assert_eq!(
                serde_json::from_value::<QueryParams>(value).unwrap(),
                params
            );
        }
    }

    #[test]
    fn a_server_query_names_its_server() {
        assert!(serde_json::from_str::<QueryParams>(r#"{"kind":"server"}"#).is_err());
        assert!(serde_json::from_str::<QueryParams>(r#"{"event_types":[]}"#).is_err());
    }
}
