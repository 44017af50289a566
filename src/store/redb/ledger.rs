//! What queries see of the last event of every server and the latest of every type.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Event, EventId, Timestamp};

use super::memtable::Row;

/// The last stored event of every server, and the latest event of every type by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    servers: HashMap<i64, (EventId, Timestamp)>,
    latest: Vec<Option<Arc<Event>>>,
}

impl Ledger {
    pub(super) fn last(&self, server: i64) -> Option<(EventId, Timestamp)> {
        self.servers.get(&server).copied()
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = (EventId, Timestamp)> {
        self.servers.values().copied()
    }

    pub(super) fn set_last(&mut self, id: EventId, timestamp: Timestamp) {
        self.servers.insert(id.server, (id, timestamp));
    }

    pub(super) fn latest(&self, type_number: u32) -> Option<&Arc<Event>> {
        self.latest.get(type_number as usize)?.as_ref()
    }

    pub(super) fn all_latest(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.latest.iter().flatten()
    }

    pub(super) fn set_latest(&mut self, type_number: u32, event: Arc<Event>) {
        let index = type_number as usize;
        if self.latest.len() <= index {
            self.latest.resize(index + 1, None);
        }
        self.latest[index] = Some(event);
    }

    /// Takes in an event that is stored.
    pub(super) fn apply(&mut self, row: &Row) {
        self.set_last(row.event.id, row.event.timestamp);
        if row.latest {
            self.set_latest(row.type_number, Arc::clone(&row.event));
        }
    }
}
