//! What one server registered while nobody listened.

use std::sync::Arc;

use crate::event::{Event, EventId, QueryResult, QueryServerParams};
use crate::eventer::Notice;

use super::head::middle;
use super::{LAST_INSTANCE, Position};

/// Reads what came behind a position, and notices a history that was cut or that went back.
///
/// Identities of a server grow, and so do its timestamps: what has a greater identity or a later timestamp than the last event
/// that was seen is new. A server that lost its latest events gives their identities again, and only the timestamps tell; where
/// it does, the first of them is looked for by halves.
#[derive(Debug)]
pub(super) struct Gap {
    /// Where the stream stood.
    origin: Position,
    /// Where it stands now.
    position: Position,
    persisted: bool,
    phase: Phase,
    went_back: bool,
}

#[derive(Debug)]
enum Phase {
    /// Is the last event that was seen still there?
    Find,
    /// What is the first event that is there?
    Oldest,
    /// The events of session `low` are old, and nothing new is in the sessions behind `high` that were seen.
    Halve { low: i64, high: i64 },
    /// All that comes behind this one is read.
    Read { after: EventId },
}

/// What an answer brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) notice: Option<Notice>,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) done: bool,
}

impl Gap {
    pub(super) fn new(origin: Position, persisted: bool) -> Self {
        let phase = if origin.is_none() {
            Phase::Read { after: origin.id }
        } else {
            Phase::Find
        };
        Self {
            origin,
            position: origin,
            persisted,
            phase,
            went_back: false,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn question(&self) -> QueryServerParams {
        let id = self.origin.id;
        let params = QueryServerParams::new(id.server).persisted(self.persisted);
        match self.phase {
            Phase::Find => {
                let before = EventId::new(id.server, id.session, id.instance.saturating_sub(1));
                params.after(before)
            }
            Phase::Oldest => params.max_results(1).after(EventId::none(id.server)),
            Phase::Halve { low, high } => params
                .max_results(1)
                .after(self.behind_session(middle(low, high))),
            Phase::Read { after } => params.after(after),
        }
    }

    pub(super) fn answered(&mut self, result: QueryResult) -> Found {
        let first = result.events.first().map(|event| Position::of(event));
        match self.phase {
            Phase::Find if first == Some(self.origin) => self.read(result),
            Phase::Find => {
                self.phase = Phase::Oldest;
                Found::default()
            }
            Phase::Oldest => self.begins_with(first),
            Phase::Halve { low, high } => {
                let middle = middle(low, high);
                match first {
                    Some(first) if self.is_old(first) && first.id.session > middle => {
                        self.halve(first.id.session, high)
                    }
                    _ => self.halve(low, middle),
                }
                Found::default()
            }
            Phase::Read { .. } => self.read(result),
        }
    }

    /// The last event that was seen is not there any more; the history begins with this one.
    fn begins_with(&mut self, oldest: Option<Position>) -> Found {
        let seen = self.origin.id;
        let cut = |first| Notice::CutShort { after: seen, first };
        match oldest {
            None => Found {
                notice: Some(cut(None)),
                done: true,
                ..Found::default()
            },
            Some(oldest) if oldest.id > seen => {
                self.phase = Phase::Read { after: seen };
                Found {
                    notice: (!follows(seen, oldest.id)).then(|| cut(Some(oldest.id))),
                    ..Found::default()
                }
            }
            Some(oldest) if self.is_old(oldest) => {
                self.halve(oldest.id.session, seen.session);
                Found::default()
            }
            Some(_) => {
                let after = EventId::none(seen.server);
                self.phase = Phase::Read { after };
                Found::default()
            }
        }
    }

    fn halve(&mut self, low: i64, high: i64) {
        self.phase = if high.saturating_sub(low) <= 1 {
            let after = self.behind_session(low.saturating_sub(1));
            Phase::Read { after }
        } else {
            Phase::Halve { low, high }
        };
    }

    /// Takes a page; what was seen before is left out.
    fn read(&mut self, result: QueryResult) -> Found {
        let mut found = Found::default();
        let QueryResult {
            mut events,
            more_follows,
        } = result;
        let last = events.last().map(|event| Position::of(event));
        let asked = match self.phase {
            Phase::Read { after } => after,
            _ => EventId::none(self.origin.id.server),
        };
        events.retain(|event| self.origin.precedes(event));
        if let Some(event) = events.first()
            && event.id <= self.origin.id
            && !self.went_back
        {
            self.went_back = true;
            found.notice = Some(Notice::WentBack {
                after: self.origin.id,
                first: event.id,
            });
        }
        if let Some(event) = events.last() {
            self.position = Position::of(event);
        }
        found.events = events;
        match last {
            // Only forward: a server that answers anything must not keep us asking.
            Some(last) if more_follows && last.id > asked => {
                self.phase = Phase::Read { after: last.id };
            }
            _ => found.done = true,
        }
        found
    }

    fn is_old(&self, position: Position) -> bool {
        position.id <= self.origin.id && position.timestamp <= self.origin.timestamp
    }

    fn behind_session(&self, session: i64) -> EventId {
        EventId::new(self.origin.id.server, session, LAST_INSTANCE)
    }
}

/// Whether nothing can be between the two.
fn follows(before: EventId, id: EventId) -> bool {
    let of_session =
        id.session == before.session && id.instance.checked_sub(1) == Some(before.instance);
    let next_session = id.session.checked_sub(1) == Some(before.session) && id.instance == 1;
    of_session || next_session
}
