//! What a follower is told of that which is there: read in pieces, in the order of time.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::event::{
    Event, EventId, EventType, Order, QueryServerParams, QueryTimeseriesParams, Subscription,
    Timestamp,
};
use crate::store::{Backend, StoreError};

use super::queue;
use super::told::Told;

/// What is read, and who may end it.
pub(super) struct Past<'a> {
    pub(super) store: &'a dyn Backend,
    pub(super) wanted: &'a Subscription,
    pub(super) persisted: bool,
    /// Whether nobody wants it any more.
    pub(super) is_over: &'a dyn Fn() -> bool,
}

/// Takes an event; a break ends the reading.
type Tell<'a> = dyn FnMut(Arc<Event>) -> ControlFlow<()> + 'a;

impl Past<'_> {
    /// So many of the newest events of the time series; the oldest of them first. Then what came until it was followed.
    pub(super) fn last(
        &self,
        count: usize,
        told: &mut Told,
        newest: Timestamp,
        tell: &mut Tell<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        if self.last_of_series(count, told, newest, tell)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.after(&told.between(), told, tell)
    }

    fn last_of_series(
        &self,
        count: usize,
        told: &mut Told,
        newest: Timestamp,
        tell: &mut Tell<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let Some(first) = self.first_of_last(count, told)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut at = place(&first);
        told.tell(first.id);
        if tell(first).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // With the event named, the store need not show what lies before it; without, it answers if that has been removed.
        let mut by_name = true;
        loop {
            let mut params = QueryTimeseriesParams::default()
                .order(Order::Ascending)
                .from(at.0)
                .max_results(PAGE);
            params.event_types = types(self.wanted);
            params.last_event_id = by_name.then_some(at.1);
            let (before, mut piece, mut is_end) = (at, Piece::default(), false);
            let more = self.store.visit(&params.into(), &mut |event| {
                if place(event) <= at {
                    return ControlFlow::Continue(());
                }
                is_end = event.timestamp > newest;
                if is_end || piece.is_full() || (self.is_over)() {
                    return ControlFlow::Break(());
                }
                at = place(event);
                if told.is_before(event.id) {
                    piece.push(event);
                }
                ControlFlow::Continue(())
            })?;
            for event in piece.events {
                told.tell(event.id);
                if tell(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if (self.is_over)() {
                return Ok(ControlFlow::Break(()));
            }
            let has_moved = at != before;
            if !has_moved && by_name && !is_end {
                by_name = false;
            } else if is_end || !more || !has_moved {
                return Ok(ControlFlow::Continue(()));
            } else {
                by_name = true;
            }
        }
    }

    /// The oldest of the newest events; nothing is held of those behind it.
    fn first_of_last(&self, count: usize, told: &Told) -> Result<Option<Arc<Event>>, StoreError> {
        let (mut left, mut first) = (count, None);
        let mut params = QueryTimeseriesParams::default().order(Order::Descending);
        params.event_types = types(self.wanted);
        while left > 0 {
            let mut last = None;
            let more = self.store.visit(&params.clone().into(), &mut |event| {
                if left == 0 || (self.is_over)() {
                    return ControlFlow::Break(());
                }
                last = Some(place(event));
                if told.is_before(event.id) {
                    left -= 1;
                    first = Some(Arc::clone(event));
                }
                ControlFlow::Continue(())
            })?;
            let Some((timestamp, id)) = last.filter(|_| more && !(self.is_over)()) else {
                break;
            };
            params.t_to = Some(timestamp);
            params.last_event_id = Some(id);
        }
        Ok(first)
    }

    /// All events of some servers, behind these ids and up to what the store had.
    pub(super) fn after(
        &self,
        ids: &HashMap<i64, EventId>,
        told: &mut Told,
        tell: &mut Tell<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut cursors = Vec::new();
        for (server, after) in ids {
            if let Some(until) = told.until().get(server).filter(|until| *until > after) {
                let mut cursor = Cursor::new(*after, *until);
                cursor.fill(self)?;
                cursors.push(cursor);
            }
        }
        loop {
            let filled = cursors.iter_mut();
            let filled = filled.filter(|cursor| !cursor.page.is_empty());
            let Some(cursor) = filled.min_by_key(|cursor| cursor.page.front().map(|e| place(e)))
            else {
                return Ok(ControlFlow::Continue(()));
            };
            let Some(event) = cursor.page.pop_front() else {
                return Ok(ControlFlow::Continue(()));
            };
            told.tell(event.id);
            if tell(event).is_break() || (self.is_over)() {
                return Ok(ControlFlow::Break(()));
            }
            cursor.fill(self)?;
        }
    }
}

/// How far one server was read.
struct Cursor {
    after: EventId,
    until: EventId,
    page: VecDeque<Arc<Event>>,
    more_follows: bool,
}

impl Cursor {
    const fn new(after: EventId, until: EventId) -> Self {
        Self {
            after,
            until,
            page: VecDeque::new(),
            more_follows: true,
        }
    }

    /// Reads on when what was read is used up.
    fn fill(&mut self, past: &Past<'_>) -> Result<(), StoreError> {
        while self.page.is_empty() && self.more_follows {
            let params = QueryServerParams::new(self.after.server)
                .persisted(past.persisted)
                .max_results(PAGE)
                .after(self.after);
            let (before, mut piece, mut is_end) = (self.after, Piece::default(), false);
            let more = past.store.visit(&params.into(), &mut |event| {
                is_end = event.id > self.until;
                if is_end || piece.is_full() || (past.is_over)() {
                    return ControlFlow::Break(());
                }
                self.after = event.id;
                if past.wanted.matches(&event.event_type) {
                    piece.push(event);
                }
                ControlFlow::Continue(())
            })?;
            self.more_follows = more && !is_end && self.after != before;
            self.page = piece.events.into();
        }
        Ok(())
    }
}

/// Events that are held at a time.
#[derive(Default)]
struct Piece {
    events: Vec<Arc<Event>>,
    bytes: usize,
}

impl Piece {
    const fn is_full(&self) -> bool {
        self.bytes >= BYTES
    }

    fn push(&mut self, event: &Arc<Event>) {
        self.bytes += queue::size(event);
        self.events.push(Arc::clone(event));
    }
}

/// Where an event stands in the order of time.
fn place(event: &Event) -> (Timestamp, EventId) {
    (event.timestamp, event.id)
}

/// The parameter of a query that stands for a subscription; all where it is all.
fn types(subscription: &Subscription) -> Option<Vec<EventType>> {
    (!subscription.is_all()).then(|| subscription.query_types())
}

/// Events that are read at a time.
const PAGE: i64 = 1000;

/// Their bytes, but for the last one.
const BYTES: usize = 4 << 20;
