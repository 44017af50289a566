//! The transactions: a commit, a flush, a round of the cleanup.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{EventId, EventType, Timestamp};
use crate::store::StoreError;

use super::blocks::BlockWriter;
use super::chunks::{ChunkWriter, Entry, Fate};
use super::database::{Commit, Database, WriteTx};
use super::keys::{self, NO_SLOT};
use super::latest;
use super::memtable::{Memtable, Row};
use super::meta::{self, Fact};
use super::partitions::Partition;
use super::types;

/// Writes to the database; the thread of the store has the only one.
///
/// Every transaction can be repeated when its outcome is in doubt: what it writes is the same then.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: Arc<Database>,
    pub(super) partitions: Vec<Partition>,
    /// The slot of the next event that a flush gives one.
    next_slot: u64,
    /// A commit failed, and may have left blocks from this slot on.
    torn: Option<u64>,
}

/// Event types that are to be written, and the number of the first.
pub(super) type NewTypes = (u32, Vec<EventType>);

impl Writer {
    pub(super) fn new(database: Arc<Database>, partitions: Vec<Partition>, next_slot: u64) -> Self {
        Self {
            database,
            partitions,
            next_slot,
            torn: None,
        }
    }

    /// Makes events durable without indexes, from this slot on.
    pub(super) fn commit(
        &mut self,
        rows: &[Row],
        slot: u64,
        types: &NewTypes,
    ) -> Result<(), StoreError> {
        let torn = self.torn;
        let written = self.database.write(Commit::Fast, |tx| {
            types::write(tx, types)?;
            let mut blocks = BlockWriter::new(tx);
            if let Some(torn) = torn {
                blocks.truncate(torn)?;
            }
            let events: Vec<_> = rows
                .iter()
                .map(|row| (&*row.event, row.type_number))
                .collect();
            blocks.append(slot, &events)
        });
        self.torn = written.is_err().then_some(slot);
        written
    }

    /// Takes out what a commit may have left that failed: its callers were told that nothing of it is kept.
    pub(super) fn take_back(&mut self) -> Result<(), StoreError> {
        let Some(torn) = self.torn else {
            return Ok(());
        };
        self.database
            .write(Commit::Fast, |tx| BlockWriter::new(tx).truncate(torn))?;
        self.torn = None;
        Ok(())
    }

    /// Writes a memory part with its indexes.
    pub(super) fn flush(
        &mut self,
        memtable: &Memtable,
        types: &NewTypes,
    ) -> Result<(), StoreError> {
        let slots = Slots::new(memtable, self.next_slot);
        let (partitions, torn) = (&self.partitions, self.torn);
        self.database.write(Commit::QuickRepair, |tx| {
            types::write(tx, types)?;
            write_blocks(tx, memtable, &slots, torn)?;
            let chunks = ChunkWriter::new(tx);
            for (index, partition) in partitions.iter().enumerate() {
                write_partition(&chunks, memtable, index, partition.id, &slots)?;
            }
            let latest = memtable.latest();
            write_servers(&chunks, memtable, &latest, &slots)?;
            write_latest(tx, &chunks, memtable, &latest)?;
            for (id, timestamp) in last_events(memtable) {
                meta::put(
                    tx,
                    Fact::Last(id.server),
                    &meta::last_to_bytes(id, timestamp),
                )?;
            }
            meta::put(tx, Fact::Indexed, &slots.next.to_be_bytes())
        })?;
        self.next_slot = slots.next;
        self.torn = None;
        Ok(())
    }
}

/// The slot of every row of a memory part.
struct Slots {
    rows: Vec<u64>,
    next: u64,
}

impl Slots {
    fn new(memtable: &Memtable, next_slot: u64) -> Self {
        let count = memtable.rows().len();
        if memtable.durable() == count {
            let first = memtable.first_slot();
            return Self {
                rows: (first..).take(count).collect(),
                next: first + count as u64,
            };
        }
        let mut next = next_slot;
        let rows = memtable.rows().iter().map(|row| {
            if row.partitions.is_empty() {
                return NO_SLOT;
            }
            next += 1;
            next - 1
        });
        let rows = rows.collect();
        Self { rows, next }
    }

    fn of(&self, row: u32) -> u64 {
        self.rows.get(row as usize).copied().unwrap_or(NO_SLOT)
    }
}

/// The events that some partition has; those that are on disk already die there when none has them.
fn write_blocks(
    tx: &WriteTx<'_>,
    memtable: &Memtable,
    slots: &Slots,
    torn: Option<u64>,
) -> Result<(), StoreError> {
    let mut blocks = BlockWriter::new(tx);
    // Commits may have succeeded since these rows were: what is behind the rows is not all torn.
    if let Some(torn) = torn {
        blocks.truncate(torn)?;
    }
    let rows = memtable.rows();
    if memtable.durable() == rows.len() {
        let without = rows
            .iter()
            .zip(&slots.rows)
            .filter(|(row, _)| row.partitions.is_empty());
        let dead: Vec<u64> = without.map(|(_, slot)| *slot).collect();
        blocks.retire(&dead)?;
        // One block for each commit until now.
        return blocks.join(memtable.first_slot()..slots.next);
    }
    let kept = rows
        .iter()
        .zip(&slots.rows)
        .filter(|(row, _)| !row.partitions.is_empty());
    let events: Vec<_> = kept
        .map(|(row, _)| (&*row.event, row.type_number))
        .collect();
    blocks.append(slots.next - events.len() as u64, &events)
}

fn write_partition(
    chunks: &ChunkWriter<'_, '_>,
    memtable: &Memtable,
    index: usize,
    id: u32,
    slots: &Slots,
) -> Result<(), StoreError> {
    let run = memtable.sorted(index);
    let mut entries: Vec<Entry> = run
        .iter()
        .map(|row| Entry {
            key: row.key,
            type_number: row.type_number,
            slot: slots.of(row.row),
        })
        .collect();
    chunks.merge(&keys::partition_prefix(id), &entries)?;
    // Stable, so that the entries of a type stay in their order.
    entries.sort_by_key(|entry| entry.type_number);
    for of_type in entries.chunk_by(|a, b| a.type_number == b.type_number) {
        chunks.merge(&keys::type_prefix(id, of_type[0].type_number), of_type)?;
    }
    Ok(())
}

fn write_servers(
    chunks: &ChunkWriter<'_, '_>,
    memtable: &Memtable,
    latest: &HashMap<u32, usize>,
    slots: &Slots,
) -> Result<(), StoreError> {
    for server in memtable.servers() {
        let entries: Vec<Entry> = memtable
            .server_rows(server, None)
            .filter(|(index, row)| {
                !row.partitions.is_empty() || latest.get(&row.type_number) == Some(index)
            })
            .map(|(index, row)| Entry {
                key: keys::server_key(row.event.id, row.partitions.len() as u32),
                type_number: row.type_number,
                slot: if row.partitions.is_empty() {
                    NO_SLOT
                } else {
                    slots.of(index as u32)
                },
            })
            .collect();
        chunks.merge(&keys::server_prefix(server), &entries)?;
    }
    Ok(())
}

/// The latest events; one that is superseded and in no partition is gone for good.
fn write_latest(
    tx: &WriteTx<'_>,
    chunks: &ChunkWriter<'_, '_>,
    memtable: &Memtable,
    latest: &HashMap<u32, usize>,
) -> Result<(), StoreError> {
    let mut superseded: Vec<EventId> = Vec::new();
    let mut lost: Vec<u32> = Vec::new();
    for (type_number, row) in latest {
        let row = &memtable.rows()[*row];
        match latest::stored(tx, *type_number)? {
            Some(before) if before.is_only_there && before.id != row.event.id => {
                superseded.push(before.id);
            }
            Some(_) => {}
            // Damaged: which event it was only the indexes of the servers say.
            None if latest::is_there(tx, *type_number)? => lost.push(*type_number),
            None => {}
        }
        latest::write(tx, *type_number, &row.event, row.partitions.is_empty())?;
    }
    if !lost.is_empty() {
        chunks.each(b's', keys::SERVER_PREFIX, |entry| {
            let id = keys::server_key_id(&entry.key);
            let is_new = latest
                .get(&entry.type_number)
                .is_some_and(|row| memtable.rows()[*row].event.id == id);
            if entry.slot == NO_SLOT && lost.contains(&entry.type_number) && !is_new {
                superseded.push(id);
            }
        })?;
    }
    superseded.sort_unstable();
    for of_server in superseded.chunk_by(|a, b| a.server == b.server) {
        let ids: Vec<_> = of_server.iter().map(|id| id.to_bytes()).collect();
        chunks.modify(&keys::server_prefix(of_server[0].server), &ids, |entry| {
            if keys::references(&entry.key) == 0 {
                Fate::Remove
            } else {
                Fate::Keep
            }
        })?;
    }
    Ok(())
}

fn last_events(memtable: &Memtable) -> Vec<(EventId, Timestamp)> {
    let servers = memtable.servers();
    let last = servers.filter_map(|server| memtable.server_rows(server, None).next_back());
    last.map(|(_, row)| (row.event.id, row.event.timestamp))
        .collect()
}
