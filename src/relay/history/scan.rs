//! A time series read to its end, whatever the limit of one query is.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::{Event, EventId, EventType, Order, QueryTimeseriesParams, Timestamp};
use crate::store::{Backend, StoreError};

/// Behind which event a reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    timestamp: Timestamp,
    id: EventId,
}

impl Cursor {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            timestamp: event.timestamp,
            id: event.id,
        }
    }
}

/// Visits the events of some types in the order of their registration, from a time or behind a cursor; `true` if the visitor
/// broke.
///
/// The event of a cursor may have been removed meanwhile.
pub(super) fn scan(
    backend: &dyn Backend,
    types: Vec<EventType>,
    from: Timestamp,
    mut cursor: Option<Cursor>,
    visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    // With the event of the cursor named, the store need not show what lies before it; without, it answers if that is gone.
    let mut by_name = true;
    loop {
        let mut params = QueryTimeseriesParams::default()
            .event_types(types.iter().cloned())
            .from(cursor.map_or(from, |cursor| cursor.timestamp))
            .order(Order::Ascending);
        let named = cursor.filter(|_| by_name);
        if let Some(cursor) = named {
            params = params.after(cursor.id);
        }
        let before = cursor;
        let mut broke = false;
        let more = backend.visit(&params.into(), &mut |event| {
            let at = Cursor::of(event);
            if cursor.is_some_and(|cursor| at <= cursor) {
                return ControlFlow::Continue(());
            }
            let flow = visit(event);
            if flow.is_break() {
                broke = true;
            } else {
                cursor = Some(at);
            }
            flow
        })?;
        if broke {
            return Ok(true);
        }
        let moved = cursor != before;
        if !moved && named.is_some() {
            by_name = false;
        } else if !more || !moved {
            return Ok(false);
        } else {
            by_name = true;
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}:{}",
            self.timestamp.s(),
            self.timestamp.us(),
            self.id
        )
    }
}

/// A text that no page gave as its cursor.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no cursor of this history")]
pub(super) struct NoCursor(String);

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let read = || {
            let (time, id) = text.split_once(':')?;
            let (s, us) = time.split_once('.')?;
            let us: u32 = us.parse().ok().filter(|us| *us < 1_000_000)?;
            Some(Self {
                timestamp: Timestamp::new(s.parse().ok()?, us),
                id: id.parse().ok()?,
            })
        };
        read().ok_or_else(|| NoCursor(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Callbacks, MemoryBackend};

    #[test]
    fn cursor_reads_back() {
        for (s, us) in [(-5, 1), (0, 0), (i64::MAX, 999_999), (i64::MIN, 7)] {
            let cursor = Cursor {
                timestamp: Timestamp::new(s, us),
                id: EventId::new(1, -2, 3),
            };
            let text = cursor.to_string();
            assert_eq!(text.parse::<Cursor>().ok(), Some(cursor), "{text}");
        }
        for text in ["", ":", "1.2", "1.2:x", "1.1000000:1.2.3", "x.1:1.2.3"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn cursor_whose_event_is_gone_still_has_a_place() {
        let store = MemoryBackend::new(Callbacks::default());
        let event = |instance: i64| {
            Arc::new(Event::new(
                EventId::new(1, 1, instance),
                EventType::from("a"),
                Timestamp::new(instance / 2, 0),
            ))
        };
        store
            .register([1, 2, 4, 5].map(event).to_vec().into())
            .expect("open");
        let gone = Cursor::of(&event(3));
        let mut seen = Vec::new();
        let more = scan(
            &store,
            vec!["a".into()],
            Timestamp::MIN,
            Some(gone),
            &mut |event| {
                seen.push(event.id.instance);
                ControlFlow::Continue(())
            },
        );
        assert!(!more.expect("open"));
        assert_eq!(seen, [4, 5]);
    }
}
