//! Whole sessions out of pages and notifications. Pure.

use std::mem;
use std::sync::Arc;

use crate::event::{Event, EventId, Events};

/// Puts the events of one server together to sessions, none of them twice: a store takes a session as a whole or not at all.
#[derive(Debug)]
pub(super) struct Sessions {
    /// The last event that was taken.
    last: EventId,
    /// The beginning of a session whose end is on the next page.
    begun: Vec<Arc<Event>>,
    held: Vec<Arc<Event>>,
    /// What was held was more than there is room for; it is asked for once more.
    lost: bool,
}

impl Sessions {
    /// Goes on behind the last event that the store has.
    pub(super) fn after(last: EventId) -> Self {
        Self {
            last,
            begun: Vec::new(),
            held: Vec::new(),
            lost: false,
        }
    }

    /// The event behind which to ask for more.
    pub(super) fn last(&self) -> EventId {
        self.last
    }

    /// Takes a page; gives the sessions that are whole by it.
    pub(super) fn page(&mut self, events: Vec<Arc<Event>>, more_follows: bool) -> Vec<Events> {
        let mut whole = Vec::new();
        for event in events {
            if event.id.server != self.last.server || event.id <= self.last {
                continue;
            }
            self.last = event.id;
            let other = self
                .begun
                .last()
                .is_some_and(|last| last.id.session != event.id.session);
            if other {
                whole.push(mem::take(&mut self.begun).into());
            }
            self.begun.push(event);
        }
        if !more_follows && !self.begun.is_empty() {
            whole.push(mem::take(&mut self.begun).into());
        }
        whole
    }

    /// Keeps what was told while pages were read.
    pub(super) fn hold(&mut self, events: Vec<Arc<Event>>) {
        if self.held.len() + events.len() > HELD {
            self.held = Vec::new();
            self.lost = true;
        } else {
            self.held.extend(events);
        }
    }

    /// The sessions that were told and were on no page, after the last one; `None` if the pages have to be read on.
    pub(super) fn held(&mut self) -> Option<Vec<Events>> {
        let held = mem::take(&mut self.held);
        if mem::take(&mut self.lost) {
            return None;
        }
        Some(self.page(held, false))
    }
}

/// How many events may be held; more are asked for again.
const HELD: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventType, Timestamp};
    use proptest::prelude::*;

    fn event(session: i64, instance: i64) -> Arc<Event> {
        let id = EventId::new(1, session, instance);
        Arc::new(Event::new(
            id,
            EventType::empty(),
            Timestamp::new(session, 0),
        ))
    }

    proptest! {
        #[test]
        fn sessions_come_whole_and_once_however_the_pages_are_cut(
            lengths in proptest::collection::vec(1..5i64, 0..20),
            cuts in proptest::collection::vec(1..6usize, 0..40),
            seen in 0..5i64,
            repeated in 0..10usize,
        ) {
            let all: Vec<_> = (1..).zip(&lengths)
                .flat_map(|(session, length)| (1..=*length).map(move |at| event(session, at)))
                .collect();
            let last = EventId::new(1, seen, 9);
            let mut sessions = Sessions::after(last);
            let mut left = &all[..];
            let mut whole = Vec::new();
            for cut in cuts {
                let (page, rest) = left.split_at(cut.min(left.len()));
                left = rest;
                whole.extend(sessions.page(page.to_vec(), true));
            }
            // Some of the last page were told as well.
            sessions.hold(all[all.len().saturating_sub(repeated)..].to_vec());
            whole.extend(sessions.page(left.to_vec(), false));
            whole.extend(sessions.held().unwrap());
            let expected: Vec<Vec<_>> = (1..).zip(&lengths)
                .filter(|(session, _)| *session > seen)
                .map(|(session, length)| (1..=*length).map(|at| event(session, at)).collect())
                .collect();
            let whole: Vec<Vec<_>> = whole.iter().map(|session| session.to_vec()).collect();
            prop_assert_eq!(whole, expected);
        }
    }

    #[test]
    fn what_is_held_has_a_limit_and_is_asked_for_again() {
        let mut sessions = Sessions::after(EventId::none(1));
        for session in 1..=2 {
            let events = (1..=40_000).map(|instance| event(session, instance));
            sessions.hold(events.collect());
        }
        assert!(sessions.held().is_none());
        sessions.hold(vec![event(3, 1)]);
        assert_eq!(sessions.held().unwrap().len(), 1);
    }

    #[test]
    fn events_of_another_server_are_left_out() {
        let mut sessions = Sessions::after(EventId::none(2));
        assert!(sessions.page(vec![event(1, 1)], false).is_empty());
    }
}
