//! Changing the maps.

use std::ops::{Bound, ControlFlow};

use super::super::database::{Copies, Table, WriteTx};
use super::format::{
    ENTRY_BYTES, Entry, EntryBytes, EntryKey, HIGHEST, LOWEST, MAX_PREFIX, check, count_key,
    damaged, decode_count, encode, encode_count, highest, key_of, split_table_key, table_key,
};
use crate::store::StoreError;

/// What becomes of an entry that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redb) enum Fate {
    /// It stays, as it is now.
    Keep,
    /// It goes.
    Remove,
}

/// Changes the sorted maps within one transaction.
#[derive(Debug)]
pub(in crate::store::redb) struct ChunkWriter<'a, 'tx> {
    tx: &'a WriteTx<'tx>,
}

impl<'a, 'tx> ChunkWriter<'a, 'tx> {
    pub(in crate::store::redb) fn new(tx: &'a WriteTx<'tx>) -> Self {
        Self { tx }
    }

    /// Puts `batch` in, which is sorted by key without doubles; an entry of the same key is replaced. Gives the number of new keys.
    ///
    /// Entries behind the last one of the map are the cheap case: they rewrite the last chunk only.
    pub(in crate::store::redb) fn merge(
        &self,
        prefix: &[u8],
        batch: &[Entry],
    ) -> Result<u64, StoreError> {
        debug_assert!(batch.is_sorted_by(|a, b| a.key < b.key));
        let (mut rest, mut added) = (batch, 0);
        while let Some(first) = rest.first() {
            let chunk = match self.last_up_to(prefix, &first.key)? {
                Some(chunk) => Some(chunk),
                None => self.first(prefix)?,
            };
            let end = match &chunk {
                Some(chunk) => self.key_after(prefix, &chunk.first)?,
                None => None,
            };
            let here = end.map_or(rest.len(), |end| {
                rest.partition_point(|entry| entry.key < end)
            });
            let (here, later) = rest.split_at(here);
            rest = later;
            let old = chunk.as_ref().map(|chunk| &chunk.first);
            let before = chunk.as_ref().map_or(&[][..], Chunk::entries);
            let merged = merged(before, here);
            added += (merged.len() - before.len()) as u64;
            self.store(prefix, old, &merged, end.is_none())?;
        }
        self.add_to_count(prefix, added as i64)?;
        Ok(added)
    }

    /// Takes out the entries of `keys`, which are sorted; gives how many there were.
    pub(in crate::store::redb) fn remove(
        &self,
        prefix: &[u8],
        keys: &[EntryKey],
    ) -> Result<u64, StoreError> {
        self.modify(prefix, keys, |_| Fate::Remove)
    }

    /// Shows the entries of `keys`, which are sorted, and keeps what `change` makes of them; gives how many there were.
    ///
    /// A key may be the leading part of one; it is to be that of one entry at most. What has no entry is passed over, and so is
    /// what belongs into a damaged chunk, which stays as it is. `change` may change an entry's key only so far that the order stays.
    pub(in crate::store::redb) fn modify(
        &self,
        prefix: &[u8],
        keys: &[impl AsRef<[u8]>],
        mut change: impl FnMut(&mut Entry) -> Fate,
    ) -> Result<u64, StoreError> {
        debug_assert!(keys.is_sorted_by(|a, b| a.as_ref() < b.as_ref()));
        let (mut rest, mut found, mut removed) = (keys, 0, 0);
        while let Some(first) = rest.first() {
            let Some((key, value)) = self.find_up_to(prefix, &highest(first.as_ref()))? else {
                rest = &rest[1..];
                continue;
            };
            let chunk = Chunk::new(&key, value);
            let from = split_table_key(&key).map_or(LOWEST, |(_, from)| *from);
            let end = self.key_after(prefix, &from)?;
            let here = end.map_or(rest.len(), |end| {
                rest.partition_point(|key| highest(key.as_ref()) < end)
            });
            // The first is always here, for the chunk was looked up for it.
            let (here, later) = rest.split_at(here.max(1));
            rest = later;
            let chunk = match chunk {
                Err(error) if error.is_damage() => {
                    log::error!("it stays as it is: {error}");
                    continue;
                }
                chunk => chunk?,
            };
            let mut entries = chunk.entries().to_vec();
            let before = found;
            let mut gone = Vec::new();
            for key in here {
                let key = key.as_ref();
                let at = entries.partition_point(|entry| key_of(entry).as_slice() < key);
                let Some(bytes) = entries.get_mut(at).filter(|entry| entry.starts_with(key)) else {
                    continue;
                };
                found += 1;
                let mut entry = Entry::from_bytes(bytes);
                match change(&mut entry) {
                    Fate::Keep => *bytes = entry.to_bytes(),
                    Fate::Remove => gone.push(at),
                }
            }
            if found == before {
                continue;
            }
            removed += gone.len() as i64;
            without(&mut entries, &gone);
            let mut is_last = end.is_none();
            if !gone.is_empty()
                && !entries.is_empty()
                && entries.len() < SMALL_CHUNK
                && let Some(end) = end
                && let Some((key, value)) = self.find_from(prefix, &end)?
                && let Ok(next) = Chunk::new(&key, value)
                && entries.len() + next.entries().len() <= SPLIT_CHUNK
            {
                entries.extend_from_slice(next.entries());
                self.tx
                    .delete(Table::Chunks, &table_key(prefix, &next.first))?;
                is_last = false;
            }
            self.store(prefix, Some(&chunk.first), &entries, is_last)?;
        }
        self.add_to_count(prefix, -removed)?;
        Ok(found)
    }

    /// Shows every entry of all maps whose prefix begins with `kind` and has `len` bytes; damaged chunks are passed over.
    pub(in crate::store::redb) fn each(
        &self,
        kind: u8,
        len: usize,
        mut show: impl FnMut(&Entry),
    ) -> Result<(), StoreError> {
        // A prefix has 32 bytes at most.
        let from = [len as u8, kind];
        let to = [len as u8, kind + 1];
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        self.tx.scan(Table::Chunks, bounds, |key, value| {
            if let Ok(start) = check(key, value) {
                let (entries, _) = value[start..].as_chunks::<ENTRY_BYTES>();
                entries
                    .iter()
                    .map(Entry::from_bytes)
                    .for_each(|entry| show(&entry));
            }
            ControlFlow::Continue(())
        })
    }

    /// Writes `entries` in place of the chunk whose first key was `old`.
    fn store(
        &self,
        prefix: &[u8],
        old: Option<&EntryKey>,
        entries: &[EntryBytes],
        is_last: bool,
    ) -> Result<(), StoreError> {
        if let Some(old) = old
            && entries.first().is_none_or(|entry| key_of(entry) != old)
        {
            self.tx.delete(Table::Chunks, &table_key(prefix, old))?;
        }
        let size = match entries.len() {
            0 => return Ok(()),
            1..=MAX_ENTRIES => MAX_ENTRIES,
            // More come behind it, so there is no need to leave room.
            _ if is_last => MAX_ENTRIES,
            count => count.div_ceil(count.div_ceil(SPLIT_CHUNK)),
        };
        let mut value = Vec::with_capacity(MAX_VALUE);
        for piece in entries.chunks(size) {
            encode(prefix, piece, &mut value);
            let key = table_key(prefix, key_of(&piece[0]));
            self.tx.put(Table::Chunks, &key, &value)?;
        }
        Ok(())
    }

    /// The chunk where `key` belongs, unless it is before the first.
    fn last_up_to(&self, prefix: &[u8], key: &EntryKey) -> Result<Option<Chunk>, StoreError> {
        let found = self.find_up_to(prefix, key)?;
        found
            .map(|(key, value)| Chunk::new(&key, value))
            .transpose()
    }

    /// The first chunk of a map.
    fn first(&self, prefix: &[u8]) -> Result<Option<Chunk>, StoreError> {
        let found = self.find_from(prefix, &LOWEST)?;
        found
            .map(|(key, value)| Chunk::new(&key, value))
            .transpose()
    }

    fn find_up_to(&self, prefix: &[u8], key: &EntryKey) -> Result<Option<Copies>, StoreError> {
        let (from, to) = (table_key(prefix, &LOWEST), table_key(prefix, key));
        let bounds = (Bound::Included(&*from), Bound::Included(&*to));
        self.tx.last(Table::Chunks, bounds)
    }

    fn find_from(&self, prefix: &[u8], key: &EntryKey) -> Result<Option<Copies>, StoreError> {
        let (from, to) = (table_key(prefix, key), table_key(prefix, &HIGHEST));
        let bounds = (Bound::Included(&*from), Bound::Included(&*to));
        self.tx.first(Table::Chunks, bounds)
    }

    /// The first key of the chunk behind the one that begins with `key`.
    fn key_after(&self, prefix: &[u8], key: &EntryKey) -> Result<Option<EntryKey>, StoreError> {
        let (from, to) = (table_key(prefix, key), table_key(prefix, &HIGHEST));
        let bounds = (Bound::Excluded(&*from), Bound::Included(&*to));
        let found = self.tx.first_key(Table::Chunks, bounds)?;
        Ok(found.and_then(|key| split_table_key(&key).map(|(_, first)| *first)))
    }

    fn add_to_count(&self, prefix: &[u8], change: i64) -> Result<(), StoreError> {
        if change == 0 {
            return Ok(());
        }
        let key = count_key(prefix);
        let before = match self.tx.get(Table::Counts, &key)? {
            Some(value) => decode_count(&key, &value)?,
            None => 0,
        };
        let Some(count) = before.checked_add_signed(change) else {
            return Err(damaged(&key, "it counts fewer entries than there are"));
        };
        if count == 0 {
            self.tx.delete(Table::Counts, &key)?;
            return Ok(());
        }
        self.tx.put(Table::Counts, &key, &encode_count(&key, count))
    }
}

/// A checked chunk that is going to be changed.
#[derive(Debug)]
struct Chunk {
    first: EntryKey,
    value: Vec<u8>,
    start: usize,
}

impl Chunk {
    fn new(key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let start = check(key, &value)?;
        let mut chunk = Self {
            first: LOWEST,
            value,
            start,
        };
        if let Some(entry) = chunk.entries().first() {
            chunk.first = *key_of(entry);
        }
        Ok(chunk)
    }

    fn entries(&self) -> &[EntryBytes] {
        self.value[self.start..].as_chunks().0
    }
}

/// Two sorted lists as one; of equal keys the second's entry stays.
fn merged(before: &[EntryBytes], batch: &[Entry]) -> Vec<EntryBytes> {
    let mut out = Vec::with_capacity(before.len() + batch.len());
    let mut before = before.iter().peekable();
    if let (Some(last), Some(first)) = (before.clone().next_back(), batch.first())
        && *key_of(last) < first.key
    {
        out.extend(before.by_ref());
    }
    for entry in batch {
        while let Some(old) = before.next_if(|old| *key_of(old) < entry.key) {
            out.push(*old);
        }
        before.next_if(|old| *key_of(old) == entry.key);
        out.push(entry.to_bytes());
    }
    out.extend(before);
    out
}

/// Takes out the entries at `gone`, which is sorted.
fn without(entries: &mut Vec<EntryBytes>, gone: &[usize]) {
    let (mut at, mut gone) = (0, gone.iter().peekable());
    entries.retain(|_| {
        let stays = gone.next_if(|gone| **gone == at).is_none();
        at += 1;
        stays
    });
}

/// Entries of a full chunk: with its key, its head and the page's own 12 bytes it fits 8,192.
const MAX_ENTRIES: usize = 168;
/// Entries of the chunks that a full one is split into at most, so that there is room for more.
const SPLIT_CHUNK: usize = 126;
/// A chunk with fewer entries is joined to the one behind it.
const SMALL_CHUNK: usize = 42;
const MAX_VALUE: usize = 4 + 1 + MAX_PREFIX + MAX_ENTRIES * ENTRY_BYTES;
