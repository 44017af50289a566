//! Which events a durable store takes, and where they go: the rules alone, without a store.
//!
//! Source: hat-event 0.9.44, LMDB backend.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::event::{Event, EventId, EventType, OrderBy, Subscription, Timestamp};
use crate::store::{Conditions, PartitionConfig, StoreConfig};

/// Who may be stored, and where.
#[derive(Debug)]
pub(crate) struct Admission {
    conditions: Conditions,
    latest: Subscription,
    partitions: Vec<PartitionConfig>,
    /// The last stored event of each server.
    servers: HashMap<i64, (EventId, Timestamp)>,
}

/// Where events of a type go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Whether the latest of them is kept.
    pub(crate) latest: bool,
    /// Whether a condition is about them.
    pub(crate) conditional: bool,
    /// The partitions of an event without source timestamp, as indexes into [`StoreConfig::partitions`].
    pub(crate) timed: Arc<[usize]>,
    /// The partitions of an event with one.
    pub(crate) sourced: Arc<[usize]>,
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored.
    Stored {
        /// As the latest of its type, instead of the one that is held.
        latest: bool,
        /// In these partitions, as indexes into [`StoreConfig::partitions`].
        partitions: Arc<[usize]>,
    },
    /// It is left out.
    LeftOut(Reason),
}

/// Why an event is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Its id is not greater than that of the last stored event of its server.
    Id,
    /// It is older than the last stored event of its server.
    Timestamp,
    /// A condition does not hold.
    Condition,
    /// Neither the latest store nor a partition takes it.
    Nowhere,
}

impl Admission {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        Self {
            conditions: Conditions::new(config.conditions.iter().cloned()),
            latest: config.latest.clone(),
            partitions: config.partitions(),
            servers: HashMap::new(),
        }
    }

    /// Says what is stored of a server already.
    pub(crate) fn resume(&mut self, last: EventId, timestamp: Timestamp) {
        self.servers.insert(last.server, (last, timestamp));
    }

    /// The last stored event of a server.
    pub(crate) fn last(&self, server: i64) -> Option<(EventId, Timestamp)> {
        self.servers.get(&server).copied()
    }

    /// Judges the next event, and counts on it as stored when it says so.
    ///
    /// `held` is the event that the latest store holds of its type, `places` where events of its type go.
    pub(crate) fn judge_at(
        &mut self,
        event: &Event,
        held: Option<&Event>,
        places: &Places,
    ) -> Verdict {
        if let Some((last_id, last_timestamp)) = self.last(event.id.server) {
            if event.id <= last_id {
                return Verdict::LeftOut(Reason::Id);
            }
            if event.timestamp < last_timestamp {
                return Verdict::LeftOut(Reason::Timestamp);
            }
        }
        if places.conditional && !self.conditions.passes(event) {
            return Verdict::LeftOut(Reason::Condition);
        }
        let latest = places.latest && held.is_none_or(|held| held.is_before(event));
        let partitions = match event.source_timestamp {
            Some(_) => &places.sourced,
            None => &places.timed,
        };
        if !latest && partitions.is_empty() {
            return Verdict::LeftOut(Reason::Nowhere);
        }
        let last = (event.id, event.timestamp);
        self.servers.insert(event.id.server, last);
        Verdict::Stored {
            latest,
            partitions: Arc::clone(partitions),
        }
    }

    /// Whether an event satisfies the conditions; a query asks again for what was stored under others.
    pub(crate) fn passes(&self, event: &Event) -> bool {
        self.conditions.passes(event)
    }

    /// Where events of a type go; the same for ever, so the caller keeps it.
    pub(crate) fn places(&self, event_type: &EventType) -> Arc<Places> {
        Arc::new(self.find_places(event_type))
    }

    fn find_places(&self, event_type: &EventType) -> Places {
        let (mut timed, mut sourced) = (Vec::new(), Vec::new());
        for (index, partition) in self.partitions.iter().enumerate() {
            if !partition.subscriptions.matches(event_type) {
                continue;
            }
            sourced.push(index);
            if partition.order_by == OrderBy::Timestamp {
                timed.push(index);
            }
        }
        Places {
            latest: self.latest.matches(event_type),
            conditional: self.conditions.concern(event_type),
            timed: timed.into(),
            sourced: sourced.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_that_is_not_newer_than_the_last_of_its_server_is_left_out() {
        let mut admission = admission();
        assert!(is_stored(&mut admission, &event((1, 2, 1), "a", 10)));
        for (id, time, reason) in [
            ((1, 2, 1), 10, Reason::Id),
            ((1, 1, 9), 11, Reason::Id),
            ((1, 2, 2), 9, Reason::Timestamp),
        ] {
            let verdict = judge(&mut admission, &event(id, "a", time), None);
            assert_eq!(verdict, Verdict::LeftOut(reason), "{id:?}");
        }
        assert!(is_stored(&mut admission, &event((1, 2, 2), "a", 10)));
        assert!(
            is_stored(&mut admission, &event((2, 1, 1), "a", 1)),
            "another server"
        );
    }

    #[test]
    fn what_nothing_takes_does_not_move_the_last_id() {
        let mut admission = admission();
        let nowhere = judge(&mut admission, &event((1, 5, 1), "none", 50), None);
        assert_eq!(nowhere, Verdict::LeftOut(Reason::Nowhere));
        assert_eq!(admission.last(1), None);
        assert!(is_stored(&mut admission, &event((1, 1, 1), "a", 1)));
    }

    #[test]
    fn partition_by_source_timestamp_wants_one() {
        let mut admission = admission();
        let plain = event((1, 1, 1), "b", 1);
        assert_eq!(
            judge(&mut admission, &plain, None),
            Verdict::LeftOut(Reason::Nowhere)
        );
        let sourced = plain.with_source_timestamp(Timestamp::new(0, 0));
        let stored = Verdict::Stored {
            latest: false,
            partitions: vec![1].into(),
        };
        assert_eq!(judge(&mut admission, &sourced, None), stored);
    }

    #[test]
    fn older_event_of_another_server_is_not_the_latest() {
        let mut admission = admission();
        let held = event((2, 1, 1), "l", 20);
        let older = judge(&mut admission, &event((1, 1, 1), "l", 19), Some(&held));
        assert_eq!(older, Verdict::LeftOut(Reason::Nowhere));
        let equal = judge(&mut admission, &event((1, 1, 1), "l", 20), Some(&held));
        assert!(matches!(equal, Verdict::Stored { latest: true, .. }));
    }

    #[test]
    fn stored_last_event_counts_after_opening() {
        let mut admission = admission();
        admission.resume(EventId::new(1, 7, 7), Timestamp::new(70, 0));
        let verdict = judge(&mut admission, &event((1, 7, 7), "a", 80), None);
        assert_eq!(verdict, Verdict::LeftOut(Reason::Id));
    }

    /// Latest of `l`, a series of `a` by timestamp and one of `b` by source timestamp.
    fn admission() -> Admission {
        let of = |one: &str| Subscription::new([one.into()]).unwrap();
        let config = StoreConfig::default().latest(of("l")).timeseries([
            PartitionConfig::new(OrderBy::Timestamp, of("a")),
            PartitionConfig::new(OrderBy::SourceTimestamp, of("b")),
        ]);
        Admission::new(&config)
    }

    fn event((server, session, instance): (i64, i64, i64), event_type: &str, time: i64) -> Event {
        let id = EventId::new(server, session, instance);
        Event::new(id, event_type.into(), Timestamp::new(time, 0))
    }

    fn judge(admission: &mut Admission, event: &Event, held: Option<&Event>) -> Verdict {
        let places = admission.places(&event.event_type);
        admission.judge_at(event, held, &places)
    }

    fn is_stored(admission: &mut Admission, event: &Event) -> bool {
        matches!(judge(admission, event, None), Verdict::Stored { .. })
    }
}
