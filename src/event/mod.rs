//! What an event of the history is, and who wants which.
//!
//! An [`Event`] has a type of several segments ([`EventType`]), an identity given by the server that registered it ([`EventId`]),
//! the time of that ([`Timestamp`]) and, where the source knows it, its own time, and a [`Payload`]. Who wants which is a
//! [`Subscription`]; an [`EventTypeCollection`] finds all who want an event. Nothing here waits, reads a clock (but
//! [`Timestamp::now`]) or knows who stores events.
//!
//! Model, matching and forms are those of hat-event 0.9.44; what differs stands in docs/compatibility.md, "History".
//!
//! ```
//! use acqbus::event::{Event, EventId, EventType, Json, Payload, Subscription, Timestamp};
//!
//! let id = EventId { server: 1, session: 1, instance: 1 };
//! let event = Event::new(id, EventType::from("rig-1/event/sessionStarted"), Timestamp::new(1_700_000_000, 0))
//!     .with_payload(Payload::Json(Json::new(r#"{"animal": "M_1"}"#)?));
//!
//! let sessions = Subscription::new(["*/event/sessionStarted"].map(EventType::from));
//! assert!(sessions.is_err(), "`*` stands for all the rest, so it can only be last");
//! let sessions = Subscription::new(["?/event/sessionStarted"].map(EventType::from))?;
//! assert!(sessions.matches(&event.event_type));
//! # Ok::<(), acqbus::event::EventError>(())
//! ```

mod collection;
mod error;
mod event_type;
mod id;
mod json;
mod payload;
mod query;
mod query_type;
mod register;
mod registered;
mod status;
mod subscription;
mod timestamp;
mod trie;

pub use collection::{EventTypeCollection, ListCollection, TreeCollection};
pub use error::EventError;
pub use event_type::{EventType, Segments};
pub use id::EventId;
pub use json::Json;
pub use payload::{Binary, Payload};
pub use query::{
    Order, OrderBy, QueryLatestParams, QueryParams, QueryResult, QueryServerParams,
    QueryTimeseriesParams,
};
pub use query_type::matches_query_type;
pub use register::RegisterEvent;
pub use registered::{Event, Events};
pub use status::Status;
pub use subscription::Subscription;
pub use timestamp::Timestamp;
