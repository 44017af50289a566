//! Whether one query type covers an event type.

use crate::event::EventType;

/// Whether an event type is one that a query type asks for.
///
/// The segment `?` stands for any one segment, `*` as the last segment for all the rest, also none; other segments are equal.
/// A `*` before the last segment is a segment as any other here, and refused by [`Subscription::new`](crate::event::Subscription::new).
///
/// ```
/// use acqbus::event::{EventType, matches_query_type};
///
/// let status = EventType::from("rig-1/status");
/// assert!(matches_query_type(&status, &EventType::from("rig-1/*")));
/// assert!(matches_query_type(&status, &EventType::from("?/status/*")));
/// assert!(!matches_query_type(&status, &EventType::from("rig-1")));
/// ```
#[must_use]
pub fn matches_query_type(event_type: &EventType, query_type: &EventType) -> bool {
    let mut queries = query_type.segments();
    let mut segments = event_type.segments();
    while let Some(query) = queries.next() {
        if query == "*" && queries.len() == 0 {
            return true;
        }
        let Some(segment) = segments.next() else {
            return false;
        };
        if query != "?" && query != segment {
            return false;
        }
    }
    segments.len() == 0
}
