//! One session: the events of a request, and those that modules answer with, round by round.

use std::sync::Arc;

use crate::event::{Event, EventId, RegisterEvent, Timestamp};
use crate::store::StoreError;
use crate::store::engine::module::{Modules, Source};

/// How much modules may make of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rounds: usize,
    pub(super) events: usize,
}

/// The events of one session in the order in which they are made.
#[derive(Debug)]
pub(super) struct Session {
    server: i64,
    session: i64,
    timestamp: Timestamp,
    events: Vec<Arc<Event>>,
}

impl Session {
    pub(super) fn new(server: i64, session: i64, timestamp: Timestamp) -> Self {
        Self {
            server,
            session,
            timestamp,
            events: Vec::new(),
        }
    }

    pub(super) fn number(&self) -> i64 {
        self.session
    }

    pub(super) fn into_events(self) -> Vec<Arc<Event>> {
        self.events
    }

    /// Makes the next event.
    pub(super) fn add(&mut self, register: RegisterEvent) -> Arc<Event> {
        // As many events do not fit into memory.
        let instance = i64::try_from(self.events.len() + 1).unwrap_or(i64::MAX);
        let id = EventId {
            server: self.server,
            session: self.session,
            instance,
        };
        let event = Arc::new(register.register(id, self.timestamp));
        self.events.push(Arc::clone(&event));
        event
    }

    /// Lets modules answer the events made so far, and each other, until they have nothing to say.
    ///
    /// Source: hat-event 0.9.44, which has no limits.
    pub(super) fn answer(
        &mut self,
        source: Source,
        modules: &mut Modules,
        limits: Limits,
    ) -> Result<(), StoreError> {
        let asked = self.events.len();
        let mut round: Vec<_> = self
            .events
            .iter()
            .map(|event| (source, Arc::clone(event)))
            .collect();
        for rounds in 1.. {
            let answers = self.round(&round, modules, asked.saturating_add(limits.events));
            let made = self.events.len() - asked;
            if made > limits.events {
                return Err(self.endless("events made by modules", made, limits.events));
            }
            if answers.is_empty() {
                return Ok(());
            }
            if rounds > limits.rounds {
                return Err(self.endless("rounds of modules", rounds, limits.rounds));
            }
            round = answers;
        }
        Ok(())
    }

    /// Shows each module the events of a round; stops once there are more events than `most`.
    fn round(
        &mut self,
        round: &[(Source, Arc<Event>)],
        modules: &mut Modules,
        most: usize,
    ) -> Vec<(Source, Arc<Event>)> {
        let mut answers = Vec::new();
        modules.each(|open| {
            for (source, event) in round {
                if self.events.len() > most {
                    return;
                }
                if !open.subscription.matches(&event.event_type) {
                    continue;
                }
                for answer in open.module.process(*source, event) {
                    answers.push((open.source, self.add(answer)));
                }
            }
        });
        answers
    }

    fn endless(&self, what: &'static str, found: usize, limit: usize) -> StoreError {
        StoreError::Loop {
            session: self.session,
            what,
            found,
            limit,
        }
    }
}
