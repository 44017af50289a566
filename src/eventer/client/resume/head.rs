//! Where the history of one server ends, found with few questions.

use crate::event::{EventId, QueryResult, QueryServerParams};

use super::{LAST_INSTANCE, Position};

/// Looks for the last event of a server, by doubled steps and then by halves: a history may be long.
#[derive(Debug)]
pub(super) struct Head {
    /// The last event known so far.
    position: Position,
    persisted: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Is there anything behind what is known?
    Any,
    /// Is there anything behind a session so much later?
    Leap { step: i64 },
    /// Nothing is behind this session.
    Halve { high: i64 },
    /// At most two sessions are left; they are read.
    Read,
}

impl Head {
    pub(super) fn new(start: Position, persisted: bool) -> Self {
        Self {
            position: start,
            persisted,
            phase: Phase::Any,
        }
    }

    pub(super) fn question(&self) -> QueryServerParams {
        let id = self.position.id;
        let behind = |session| EventId::new(id.server, session, LAST_INSTANCE);
        let after = match &self.phase {
            Phase::Any | Phase::Read => id,
            Phase::Leap { step } => behind(id.session.saturating_add(*step)),
            Phase::Halve { high } => behind(middle(id.session, *high)),
        };
        let params = QueryServerParams::new(id.server)
            .persisted(self.persisted)
            .after(after);
        match self.phase {
            Phase::Read => params,
            _ => params.max_results(1),
        }
    }

    /// Takes the answer; gives the end of the history once that is known.
    pub(super) fn answered(&mut self, result: &QueryResult) -> Option<Position> {
        let asked = self.position.id.session;
        let newest = result.events.last().map(|event| Position::of(event));
        // Only forward: a server that answers anything must not keep us asking.
        let newest = newest.filter(|newest| newest.id > self.position.id);
        if let Some(newest) = newest {
            self.position = newest;
        }
        let found = newest.is_some();
        self.phase = match &self.phase {
            Phase::Any if found && result.more_follows => Phase::Leap { step: 1 },
            Phase::Any => return Some(self.position),
            Phase::Read if found && result.more_follows => Phase::Read,
            Phase::Read => return Some(self.position),
            Phase::Leap { step } if found => Phase::Leap {
                step: step.saturating_mul(2),
            },
            Phase::Leap { step } => self.halve(asked.saturating_add(*step)),
            Phase::Halve { high } if found => self.halve(*high),
            Phase::Halve { high } => self.halve(middle(asked, *high)),
        };
        None
    }

    fn halve(&self, high: i64) -> Phase {
        if high.saturating_sub(self.position.id.session) <= 1 {
            Phase::Read
        } else {
            Phase::Halve { high }
        }
    }
}

/// Between the two, and never the higher one unless they are neighbours.
pub(super) fn middle(low: i64, high: i64) -> i64 {
    low.midpoint(high)
}
