//! What queries see of the last event of every server and the latest of every type.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::event::{Event, EventId, Timestamp};
use crate::store::StoreError;

use super::memtable::Row;

/// The last stored event of every server, and the latest event of every type by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    servers: HashMap<i64, (EventId, Timestamp)>,
    latest: Vec<Option<Arc<Event>>>,
    /// Types whose latest event on disk is not what was written, and how that shows.
    damaged: BTreeMap<u32, String>,
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

    /// Says that what the latest event of a type was cannot be told, until there is a new one.
    pub(super) fn set_damaged(&mut self, type_number: u32, reason: String) {
        self.damaged.insert(type_number, reason);
    }

    /// An error where the latest event of one of these types is damaged; `None` stands for all types.
    pub(super) fn check(&self, type_numbers: Option<&[u32]>) -> Result<(), StoreError> {
        let mut damaged = self.damaged.iter();
        let found = damaged.find(|(damaged, _)| {
            type_numbers.is_none_or(|numbers| numbers.binary_search(damaged).is_ok())
        });
        let Some((type_number, reason)) = found else {
            return Ok(());
        };
        Err(StoreError::Damaged {
            what: format!("the latest event of type {type_number}"),
            reason: reason.clone(),
        })
    }

    pub(super) fn set_latest(&mut self, type_number: u32, event: Arc<Event>) {
        let index = type_number as usize;
        if self.latest.len() <= index {
            self.latest.resize(index + 1, None);
        }
        self.latest[index] = Some(event);
        self.damaged.remove(&type_number);
    }

    /// Takes in an event that is stored.
    pub(super) fn apply(&mut self, row: &Row) {
        self.set_last(row.event.id, row.event.timestamp);
        self.apply_latest(row);
    }

    /// Takes in an event that is stored as the latest of its type, and leaves the last of its server.
    pub(super) fn apply_latest(&mut self, row: &Row) {
        if row.latest {
            self.set_latest(row.type_number, Arc::clone(&row.event));
        }
    }

    /// Takes in events that are stored, in their order.
    pub(super) fn apply_all(&mut self, rows: &[Row]) {
        for (at, row) in rows.iter().enumerate() {
            self.apply_latest(row);
            let server = row.event.id.server;
            let next = rows.get(at + 1);
            // One look-up for all that follow each other.
            if next.is_none_or(|next| next.event.id.server != server) {
                self.set_last(row.event.id, row.event.timestamp);
            }
        }
    }
}
