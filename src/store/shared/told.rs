//! Which of the events that come to a follower it was told already, as some that were there. State only.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::event::EventId;

/// By server, the last event that a store had at a moment.
pub(super) type LastIds = HashMap<i64, EventId>;

/// The join of what was there and what comes.
///
/// What comes is followed from a moment between `before` and `until`: an event between them may come again, and one that was
/// registered just before that moment too, for a store shows an event a little earlier than it tells of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    before: LastIds,
    until: LastIds,
    /// In the order in which they were told.
    recent: VecDeque<EventId>,
    ids: HashMap<i64, HashSet<EventId>>,
}

impl Told {
    pub(super) fn new(before: LastIds, until: LastIds) -> Self {
        Self {
            before,
            until,
            ..Self::default()
        }
    }

    /// What was there when what comes was followed already.
    pub(super) const fn until(&self) -> &LastIds {
        &self.until
    }

    /// By server, behind which event what was there may have come, too.
    pub(super) fn between(&self) -> LastIds {
        let servers = self.until.keys();
        let ids = servers.map(|server| {
            let first = EventId::new(*server, i64::MIN, i64::MIN);
            (*server, self.before.get(server).copied().unwrap_or(first))
        });
        ids.collect()
    }

    /// Whether an event belongs to what was there; it comes otherwise.
    pub(super) fn is_past(&self, id: EventId) -> bool {
        self.until.get(&id.server).is_some_and(|until| id <= *until)
    }

    /// An event that was there is told.
    pub(super) fn tell(&mut self, id: EventId) {
        self.ids.entry(id.server).or_default().insert(id);
        self.recent.push_back(id);
        while self.recent.len() > KEPT
            && let Some(oldest) = self.recent.front().copied()
            && self.is_before(oldest)
        {
            self.recent.pop_front();
            if let Some(of_server) = self.ids.get_mut(&oldest.server) {
                of_server.remove(&oldest);
            }
        }
    }

    /// All that was there is told.
    pub(super) fn finish(&mut self) {
        self.recent = VecDeque::new();
    }

    /// Whether an event that comes was not told yet.
    pub(super) fn is_new(&mut self, id: EventId) -> bool {
        if !self.is_past(id) {
            // From here on nothing of this server comes again.
            self.ids.remove(&id.server);
            return true;
        }
        let of_server = self.ids.get_mut(&id.server);
        !of_server.is_some_and(|ids| ids.remove(&id))
    }

    /// Whether an event was there before anything was followed.
    pub(super) fn is_before(&self, id: EventId) -> bool {
        let before = self.before.get(&id.server);
        before.is_some_and(|before| id <= *before)
    }
}

/// Events that are remembered at least: more than any call registers that is on its way at the moment in question.
const KEPT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(session: i64) -> EventId {
        EventId::new(1, session, 1)
    }

    fn told(before: i64, until: i64) -> Told {
        let ids = |session| HashMap::from([(1, id(session))]);
        Told::new(ids(before), ids(until))
    }

    #[test]
    fn event_that_was_not_told_comes_however_old_it_is() {
        let mut told = told(5, 10);
        for session in [4, 6, 8, 10] {
            assert!(told.is_past(id(session)));
            told.tell(id(session));
        }
        told.finish();
        assert!(!told.is_past(id(11)) && !told.is_past(EventId::new(2, 1, 1)));
        let new: Vec<_> = (4..=12)
            .filter(|session| told.is_new(id(*session)))
            .collect();
        // 5, 7 and 9 are of types of which no series is kept.
        assert_eq!(new, [5, 7, 9, 11, 12]);
        assert!(told.ids.is_empty(), "nothing is remembered for ever");
        assert!(told.is_new(EventId::new(2, 1, 1)));
    }

    #[test]
    fn long_past_is_forgotten_but_not_what_may_come_again() {
        let kept = i64::try_from(KEPT).unwrap();
        let mut told = told(kept, 4 * kept);
        (1..=2 * kept).for_each(|session| told.tell(id(session)));
        assert_eq!(told.recent.len(), KEPT);
        (2 * kept + 1..=4 * kept).for_each(|session| told.tell(id(session)));
        // What is behind `before` stays, however much it is.
        assert_eq!(told.recent.len(), 3 * KEPT);
        assert!(!told.is_new(id(kept + 1)) && !told.is_new(id(4 * kept)));
    }
}
