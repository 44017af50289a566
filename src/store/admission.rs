//! Which events a durable store takes, and where they go: the rules alone, without a store.
//!
//! Source: hat-event 0.9.44, LMDB backend.

use std::collections::HashMap;
use std::sync::Arc;

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
    places: HashMap<EventType, Arc<Places>>,
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
            places: HashMap::new(),
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

    /// The last stored event of every server.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (EventId, Timestamp)> {
        self.servers.values().copied()
    }

    /// Judges the next event, and counts on it as stored when it says so.
    ///
    /// `held` is the event that the latest store holds of its type.
    pub(crate) fn judge(&mut self, event: &Event, held: Option<&Event>) -> Verdict {
        let places = self.places(&event.event_type);
        self.judge_at(event, held, &places)
    }

    /// As [`judge`](Self::judge), for a caller that keeps the places of each type itself.
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

    /// Where events of a type go. Types are remembered up to a number, all forgotten beyond it.
    pub(crate) fn places(&mut self, event_type: &EventType) -> Arc<Places> {
        if let Some(places) = self.places.get(event_type) {
            return Arc::clone(places);
        }
        let places = Arc::new(self.find_places(event_type));
        if self.places.len() >= REMEMBERED_TYPES {
            self.places.clear();
        }
        self.places.insert(event_type.clone(), Arc::clone(&places));
        places
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

/// As many as hat-event's `timeseries_event_type_cache_size`.
const REMEMBERED_TYPES: usize = 262_144;
