//! Reading one state of the disk.

use std::ops::Bound;
use std::sync::Arc;

use crate::event::{Event, EventId, Order};
use crate::store::StoreError;

use super::blocks::{BlockCache, BlockReader, Stored};
use super::chunks::{ChunkReader, Entry};
use super::database::Snapshot;
use super::keys::{self, NO_SLOT};
use super::latest;
use super::memtable::Key;
use super::types::TypeNames;

/// The indexes and the events as of one snapshot.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) chunks: ChunkReader,
    blocks: BlockReader,
    snapshot: Snapshot,
    types: Arc<TypeNames>,
}

impl Reader {
    pub(super) fn new(snapshot: Snapshot, cache: &Arc<BlockCache>, types: &Arc<TypeNames>) -> Self {
        Self {
            chunks: ChunkReader::new(&snapshot),
            blocks: BlockReader::new(&snapshot, Arc::clone(cache), Arc::clone(types)),
            types: Arc::clone(types),
            snapshot,
        }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(super) fn types(&self) -> &TypeNames {
        &self.types
    }

    /// Every event of the file, in use or not.
    pub(super) fn walk(
        &self,
    ) -> Result<impl Iterator<Item = Result<Stored, StoreError>> + use<>, StoreError> {
        self.blocks.walk(0)
    }

    /// Every event of the file that is in use, or may be where nothing says so.
    pub(super) fn walk_in_use(
        &self,
    ) -> Result<impl Iterator<Item = Result<Stored, StoreError>> + use<>, StoreError> {
        self.blocks.walk_in_use()
    }

    /// The event in a slot.
    pub(super) fn event(&self, slot: u64) -> Result<Arc<Event>, StoreError> {
        self.blocks.event(slot)
    }

    /// The slot of an event that some partition has.
    pub(super) fn slot(&self, id: EventId) -> Result<Option<u64>, StoreError> {
        let range = (
            Bound::Included(keys::server_key(id, 0)),
            Bound::Included(keys::behind(id)),
        );
        let entry = self
            .chunks
            .scan(&keys::server_prefix(id.server), range, Order::Ascending)?
            .next()
            .transpose()?;
        Ok(entry
            .map(|entry| entry.slot)
            .filter(|slot| *slot != NO_SLOT))
    }

    /// The events of a server behind an id, in their order.
    pub(super) fn server_events(
        &self,
        server: i64,
        after: Option<EventId>,
    ) -> Result<impl Iterator<Item = Result<Arc<Event>, StoreError>>, StoreError> {
        let from: Bound<Key> = after.map_or(Bound::Unbounded, |after| {
            Bound::Excluded(keys::behind(after))
        });
        let entries = self.chunks.scan(
            &keys::server_prefix(server),
            (from, Bound::Unbounded),
            Order::Ascending,
        )?;
        Ok(entries.map(|entry| self.server_event(&entry?)))
    }

    /// The event of an entry in the map of its server.
    pub(super) fn server_event(&self, entry: &Entry) -> Result<Arc<Event>, StoreError> {
        let id = keys::server_key_id(&entry.key);
        let event = if entry.slot == NO_SLOT {
            let latest = latest::read(&self.snapshot, entry.type_number, &self.types)?;
            latest.ok_or_else(|| keys::missing(id))?
        } else {
            self.blocks.event(entry.slot)?
        };
        if event.id != id {
            return Err(keys::mismatch(entry.slot, event.id));
        }
        Ok(event)
    }
}
