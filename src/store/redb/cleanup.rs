//! Removes what the limits of the partitions no longer allow.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::event::{EventId, Order, Timestamp};
use crate::store::StoreError;

use super::blocks::{self, BlockWriter};
use super::chunks::{self, ChunkReader, ChunkWriter, EntryKey, Fate};
use super::database::{Commit, Snapshot, WriteTx};
use super::keys::{self, NO_SLOT};
use super::latest;
use super::memtable::Key;
use super::partitions::{self, Partition};
use super::writer::Writer;

impl Writer {
    /// Removes some of what the limits no longer allow at this time, oldest first; `true` when there is more to remove.
    pub(super) fn cleanup(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        if self
            .partitions
            .iter()
            .all(|partition| partition.limit.is_none())
        {
            return Ok(false);
        }
        let (victims, more) = {
            let snapshot = self.database.snapshot()?;
            select(&snapshot, &self.partitions, now)?
        };
        if victims.is_empty() {
            return Ok(false);
        }
        self.database
            .write(Commit::QuickRepair, |tx| remove(tx, &victims))?;
        Ok(more)
    }
}

/// The entries of one partition that go.
struct Victims {
    partition: u32,
    entries: Vec<chunks::Entry>,
}

fn select(
    snapshot: &Snapshot,
    partitions: &[Partition],
    now: Timestamp,
) -> Result<(Vec<Victims>, bool), StoreError> {
    let chunks = ChunkReader::new(snapshot);
    let mut victims = Vec::new();
    let mut budget = ROUND_ENTRIES;
    for partition in partitions {
        let Some(limit) = &partition.limit else {
            continue;
        };
        let prefix = keys::partition_prefix(partition.id);
        // What is damaged ends no cleanup, neither of this series nor of another.
        let count = match chunks.count(&prefix) {
            Err(error) if error.is_damage() => {
                log::error!("a series is not cleaned up: {error}");
                continue;
            }
            count => count?,
        };
        let average = if limit.size.is_some() {
            blocks::average_bytes(snapshot)? + INDEX_BYTES
        } else {
            1.0
        };
        let excess = partitions::excess(limit, count, average);
        // A time that cannot be expressed is before every event.
        let horizon = limit
            .duration
            .and_then(|duration| now.add(-duration).ok())
            .map(keys::lowest_at);
        let goes = |place: u64, key: &Key| {
            place < excess.removable
                && (place < excess.surplus || horizon.is_some_and(|horizon| *key < horizon))
        };
        let mut entries = Vec::new();
        let mut place = 0;
        for entry in chunks.all(&prefix, Order::Ascending)? {
            let entry = match entry {
                Err(error) if error.is_damage() => {
                    log::error!("the cleanup goes on past it: {error}");
                    continue;
                }
                entry => entry?,
            };
            place += 1;
            if !goes(place - 1, &entry.key) {
                break;
            }
            if budget == 0 {
                push(&mut victims, partition.id, entries);
                return Ok((victims, true));
            }
            budget -= 1;
            entries.push(entry);
        }
        push(&mut victims, partition.id, entries);
    }
    Ok((victims, false))
}

fn push(victims: &mut Vec<Victims>, partition: u32, entries: Vec<chunks::Entry>) {
    if !entries.is_empty() {
        victims.push(Victims { partition, entries });
    }
}

fn remove(tx: &WriteTx<'_>, victims: &[Victims]) -> Result<(), StoreError> {
    let chunks = ChunkWriter::new(tx);
    // How many partitions lose an event, by its id.
    let mut lost: BTreeMap<EventId, u32> = BTreeMap::new();
    let mut stored = HashMap::new();
    for Victims { partition, entries } in victims {
        let all: Vec<EntryKey> = entries.iter().map(|entry| entry.key).collect();
        chunks.remove(&keys::partition_prefix(*partition), &all)?;
        let mut by_type = entries.clone();
        by_type.sort_by_key(|entry| entry.type_number);
        for of_type in by_type.chunk_by(|a, b| a.type_number == b.type_number) {
            let type_number = of_type[0].type_number;
            let of_type: Vec<EntryKey> = of_type.iter().map(|entry| entry.key).collect();
            chunks.remove(&keys::type_prefix(*partition, type_number), &of_type)?;
            if let Entry::Vacant(place) = stored.entry(type_number) {
                place.insert(latest::stored(tx, type_number)?);
            }
        }
        for entry in entries {
            *lost.entry(keys::id_of(&entry.key)).or_default() += 1;
        }
    }
    let lost: Vec<(EventId, u32)> = lost.into_iter().collect();
    let (mut dead, mut only_latest) = (Vec::new(), Vec::new());
    for of_server in lost.chunk_by(|a, b| a.0.server == b.0.server) {
        let server = of_server[0].0.server;
        let ids: Vec<_> = of_server.iter().map(|(id, _)| id.to_bytes()).collect();
        chunks.modify(&keys::server_prefix(server), &ids, |entry| {
            let id = keys::server_key_id(&entry.key);
            let lost = of_server
                .binary_search_by_key(&id, |(id, _)| *id)
                .map_or(0, |at| of_server[at].1);
            let left = keys::references(&entry.key).saturating_sub(lost);
            entry.key = keys::server_key(id, left);
            if left > 0 {
                return Fate::Keep;
            }
            dead.push(entry.slot);
            entry.slot = NO_SLOT;
            if stored
                .get(&entry.type_number)
                .is_some_and(|latest| latest.is_some_and(|latest| latest.id == id))
            {
                only_latest.push(entry.type_number);
                return Fate::Keep;
            }
            Fate::Remove
        })?;
    }
    for type_number in only_latest {
        latest::mark_only_there(tx, type_number)?;
    }
    dead.retain(|slot| *slot != NO_SLOT);
    dead.sort_unstable();
    BlockWriter::new(tx).retire(&dead)
}

/// Entries that one transaction removes at most.
const ROUND_ENTRIES: usize = 16_384;
/// What the indexes take for an entry.
const INDEX_BYTES: f64 = 96.0;
