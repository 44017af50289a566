//! What a client is told without asking.

use std::sync::Arc;

use crate::event::{Event, EventId, Status};

/// What a client is told without asking, in the order in which it happens.
///
/// ```text
/// Connected, Events, Status, Events, Disconnected, Connected, Events (missed ones), Resumed, Events, …
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The server has let the client in: the first time, and after each [`Disconnected`](Self::Disconnected).
    Connected {
        /// What the server is doing.
        status: Status,
    },
    /// Events of the subscription. Live ones come as they were registered, one notice for a session; missed ones in pages of the
    /// history, server by server, each in the order of the identities.
    Events(Vec<Arc<Event>>),
    /// The server does something else now.
    Status(Status),
    /// All that was missed while there was no connection has come; live events follow.
    Resumed {
        /// How many events were missed, and have come.
        missed: u64,
    },
    /// The history of a server begins behind the last event that came: what was between may be lost.
    CutShort {
        /// The last event of the server that came, or that was there when the client first connected.
        after: EventId,
        /// The first event that is kept; `None` if there is none.
        first: Option<EventId>,
    },
    /// A server has given identities again that were given before: it lost its latest events, in a crash as a rule. The events that
    /// have these identities now come next. Servers of this crate do not do this.
    WentBack {
        /// The last event of the server that had come.
        after: EventId,
        /// The first identity that is another event now.
        first: EventId,
    },
    /// The connection broke; it is made again unless the options say otherwise.
    Disconnected {
        /// What ended it.
        reason: String,
    },
    /// The server does not let the client in any more; it keeps trying.
    Refused {
        /// The server's words.
        text: String,
    },
}
