//! Sorted maps in chunks: many small entries a page, so that an append rewrites one page and a scan reads whole ones.
//!
//! Each map has a prefix. A chunk is one pair of the table `chunks`: its key is the prefix and the first key of the chunk, its value has a
//! checksum, the prefix again and up to 168 entries in ascending order, which fill one page of 8 KiB. The table `counts` has the
//! number of entries of each map. `docs/store-file.md` has the bytes.

use std::ops::{Bound, Range};

use crc32c::crc32c;

use super::database::{Pairs, Snapshot, Table, Value, WriteTx};
use crate::event::Order;
use crate::store::StoreError;

/// The key of an entry; entries are sorted by its bytes, and no two of a map have the same.
pub(super) type EntryKey = [u8; KEY_BYTES];

/// One entry of a sorted map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// What it is sorted by.
    pub(super) key: EntryKey,
    /// The number of its event type.
    pub(super) type_number: u32,
    /// Where the event is.
    pub(super) slot: u64,
}

impl Entry {
    fn to_bytes(self) -> EntryBytes {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..KEY_BYTES].copy_from_slice(&self.key);
        bytes[36..40].copy_from_slice(&self.type_number.to_le_bytes());
        bytes[40..].copy_from_slice(&self.slot.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &EntryBytes) -> Self {
        let [type_0, type_1, type_2, type_3, slot @ ..] = &bytes[KEY_BYTES..] else {
            unreachable!("12 bytes follow the key")
        };
        Self {
            key: *key_of(bytes),
            type_number: u32::from_le_bytes([*type_0, *type_1, *type_2, *type_3]),
            slot: u64::from_le_bytes(slot.try_into().expect("8 bytes are left")),
        }
    }
}

/// What becomes of an entry that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, as it is now.
    Keep,
    /// It goes.
    Remove,
}

/// Changes the sorted maps within one transaction.
#[derive(Debug)]
pub(super) struct ChunkWriter<'a, 'tx> {
    tx: &'a WriteTx<'tx>,
}

impl<'a, 'tx> ChunkWriter<'a, 'tx> {
    pub(super) fn new(tx: &'a WriteTx<'tx>) -> Self {
        Self { tx }
    }

    /// Puts `batch` in, which is sorted by key without doubles; an entry of the same key is replaced. Gives the number of new keys.
    ///
    /// Entries behind the last one of the map are the cheap case: they rewrite the last chunk only.
    pub(super) fn merge(&self, prefix: &[u8], batch: &[Entry]) -> Result<u64, StoreError> {
        debug_assert!(batch.is_sorted_by(|a, b| a.key < b.key));
        let (mut rest, mut added) = (batch, 0);
        while let Some(first) = rest.first() {
            let chunk = match self.last_up_to(prefix, &first.key)? {
                Some(chunk) => Some(chunk),
                None => self.first_from(prefix, None)?,
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
    pub(super) fn remove(&self, prefix: &[u8], keys: &[EntryKey]) -> Result<u64, StoreError> {
        self.modify(prefix, keys, |_| Fate::Remove)
    }

    /// Shows the entries of `keys`, which are sorted, and keeps what `change` makes of them; gives how many there were.
    ///
    /// A key may be the leading part of one; it is to be that of one entry at most. What has no entry is passed over. `change`
    /// may change an entry's key only so far that the order stays.
    pub(super) fn modify(
        &self,
        prefix: &[u8],
        keys: &[impl AsRef<[u8]>],
        mut change: impl FnMut(&mut Entry) -> Fate,
    ) -> Result<u64, StoreError> {
        debug_assert!(keys.is_sorted_by(|a, b| a.as_ref() < b.as_ref()));
        let (mut rest, mut found, mut removed) = (keys, 0, 0);
        while let Some(first) = rest.first() {
            let Some(chunk) = self.last_up_to(prefix, &highest(first.as_ref()))? else {
                rest = &rest[1..];
                continue;
            };
            let end = self.key_after(prefix, &chunk.first)?;
            let here = end.map_or(rest.len(), |end| {
                rest.partition_point(|key| highest(key.as_ref()) < end)
            });
            // The first is always here, for the chunk was looked up for it.
            let (here, later) = rest.split_at(here.max(1));
            rest = later;
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
                && let Some(next) = self.first_from(prefix, Some(&end))?
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
            ..=MAX_ENTRIES => MAX_ENTRIES,
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
        let (from, to) = (table_key(prefix, &LOWEST), table_key(prefix, key));
        let bounds = (Bound::Included(&*from), Bound::Included(&*to));
        let found = self.tx.last(Table::Chunks, bounds)?;
        found
            .map(|(key, value)| Chunk::new(&key, value))
            .transpose()
    }

    fn first_from(
        &self,
        prefix: &[u8],
        key: Option<&EntryKey>,
    ) -> Result<Option<Chunk>, StoreError> {
        let from = table_key(prefix, key.unwrap_or(&LOWEST));
        let to = table_key(prefix, &HIGHEST);
        let bounds = (Bound::Included(&*from), Bound::Included(&*to));
        let found = self.tx.first(Table::Chunks, bounds)?;
        found
            .map(|(key, value)| Chunk::new(&key, value))
            .transpose()
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

/// Reads the sorted maps as they are in a snapshot.
#[derive(Debug, Clone)]
pub(super) struct ChunkReader {
    snapshot: Snapshot,
}

impl ChunkReader {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self {
            snapshot: snapshot.clone(),
        }
    }

    /// The entries whose keys are within the bounds; chunks are read when their turn comes.
    ///
    /// A chunk that is damaged gives one error, and the scan goes on behind it.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        range: (Bound<EntryKey>, Bound<EntryKey>),
        order: Order,
    ) -> Result<Scan, StoreError> {
        let to = match &range.1 {
            Bound::Included(key) => Bound::Included(table_key(prefix, key)),
            Bound::Excluded(key) => Bound::Excluded(table_key(prefix, key)),
            Bound::Unbounded => Bound::Included(table_key(prefix, &HIGHEST)),
        };
        let to = to.as_ref().map(Vec::as_slice);
        let start = table_key(prefix, &LOWEST);
        let (Bound::Included(low) | Bound::Excluded(low)) = &range.0 else {
            let pairs = (self.snapshot).range(Table::Chunks, (Bound::Included(&start), to))?;
            return Ok(Scan::new(pairs, None, range, order));
        };
        // The chunk that holds the lower bound begins before it.
        let low = table_key(prefix, low);
        let up_to_low = (Bound::Included(&*start), Bound::Included(&*low));
        let holder = (self.snapshot).range(Table::Chunks, up_to_low)?.next_back();
        let holder = holder.transpose()?;
        let behind = (Bound::Excluded(&*low), to);
        let pairs = self.snapshot.range(Table::Chunks, behind)?;
        Ok(Scan::new(pairs, holder, range, order))
    }

    /// All entries of a map.
    pub(super) fn all(&self, prefix: &[u8], order: Order) -> Result<Scan, StoreError> {
        self.scan(prefix, (Bound::Unbounded, Bound::Unbounded), order)
    }

    /// The entry with the lowest key.
    pub(super) fn first(&self, prefix: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.all(prefix, Order::Ascending)?.next().transpose()
    }

    /// The entry with the highest key.
    pub(super) fn last(&self, prefix: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.all(prefix, Order::Descending)?.next().transpose()
    }

    /// How many entries a map has, as it was counted when they were written.
    pub(super) fn count(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let key = count_key(prefix);
        let value = self.snapshot.get(Table::Counts, &key)?;
        value.map_or(Ok(0), |value| decode_count(&key, &value))
    }
}

/// The entries of one map within bounds, in order.
#[derive(Debug)]
pub(super) struct Scan {
    pairs: Pairs,
    /// The chunk with the lower bound: the first going up, the last going down.
    holder: Option<(Value, Value)>,
    range: (Bound<EntryKey>, Bound<EntryKey>),
    order: Order,
    chunk: Option<Loaded>,
}

impl Scan {
    fn new(
        pairs: Pairs,
        holder: Option<(Value, Value)>,
        range: (Bound<EntryKey>, Bound<EntryKey>),
        order: Order,
    ) -> Self {
        Self {
            pairs,
            holder,
            range,
            order,
            chunk: None,
        }
    }

    /// The next chunk that has something within the bounds.
    fn advance(&mut self) -> Option<Result<Loaded, StoreError>> {
        let pair = match self.order {
            Order::Ascending => match self.holder.take() {
                Some(pair) => Some(Ok(pair)),
                None => self.pairs.next(),
            },
            Order::Descending => match self.pairs.next_back() {
                Some(pair) => Some(pair),
                None => self.holder.take().map(Ok),
            },
        };
        Some(pair?.and_then(|(key, value)| Loaded::new(&key, value, &self.range)))
    }
}

impl Iterator for Scan {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = self.chunk.as_mut().and_then(|chunk| chunk.next(self.order));
            if let Some(entry) = next {
                return Some(Ok(entry));
            }
            match self.advance()? {
                Ok(chunk) => self.chunk = Some(chunk),
                Err(error) => {
                    self.chunk = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// A checked chunk in the database's own page, and which of its entries are still to come.
#[derive(Debug)]
struct Loaded {
    value: Value,
    start: usize,
    left: Range<usize>,
}

impl Loaded {
    fn new(
        key: &[u8],
        value: Value,
        (from, to): &(Bound<EntryKey>, Bound<EntryKey>),
    ) -> Result<Self, StoreError> {
        let start = check(key, &value)?;
        let (entries, _) = value[start..].as_chunks::<ENTRY_BYTES>();
        let low = match from {
            Bound::Included(from) => entries.partition_point(|entry| key_of(entry) < from),
            Bound::Excluded(from) => entries.partition_point(|entry| key_of(entry) <= from),
            Bound::Unbounded => 0,
        };
        let high = match to {
            Bound::Included(to) => entries.partition_point(|entry| key_of(entry) <= to),
            Bound::Excluded(to) => entries.partition_point(|entry| key_of(entry) < to),
            Bound::Unbounded => entries.len(),
        };
        Ok(Self {
            value,
            start,
            left: low..high,
        })
    }

    fn next(&mut self, order: Order) -> Option<Entry> {
        let at = match order {
            Order::Ascending => self.left.next(),
            Order::Descending => self.left.next_back(),
        }?;
        let (entries, _) = self.value[self.start..].as_chunks::<ENTRY_BYTES>();
        entries.get(at).map(Entry::from_bytes)
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

type EntryBytes = [u8; ENTRY_BYTES];

fn key_of(entry: &EntryBytes) -> &EntryKey {
    entry
        .first_chunk()
        .expect("an entry is longer than its key")
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

fn encode(prefix: &[u8], entries: &[EntryBytes], out: &mut Vec<u8>) {
    out.clear();
    out.extend([0; 4]);
    push_prefix(prefix, out);
    out.extend_from_slice(entries.as_flattened());
    let crc = crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Checks the value of a chunk and that it belongs to its key; gives where its entries start.
fn check(key: &[u8], value: &[u8]) -> Result<usize, StoreError> {
    let Some((crc, body)) = value.split_first_chunk() else {
        return Err(damaged(key, "it is too short"));
    };
    if crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(damaged(key, "its checksum is wrong"));
    }
    let Some((prefix, first)) = split_table_key(key) else {
        return Err(damaged(key, "its key has another length"));
    };
    let Some(entries) = body.strip_prefix(prefix) else {
        return Err(damaged(key, "it belongs to another map"));
    };
    if !entries.starts_with(first) {
        return Err(damaged(key, "it begins with another key"));
    }
    if !entries.len().is_multiple_of(ENTRY_BYTES) {
        return Err(damaged(key, "its last entry is not whole"));
    }
    Ok(4 + prefix.len())
}

fn table_key(prefix: &[u8], key: &EntryKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + prefix.len() + KEY_BYTES);
    push_prefix(prefix, &mut out);
    out.extend_from_slice(key);
    out
}

/// The prefix with its length in front, and the key.
fn split_table_key(key: &[u8]) -> Option<(&[u8], &EntryKey)> {
    let (prefix, first) = key.split_last_chunk()?;
    let (len, rest) = prefix.split_first()?;
    (usize::from(*len) == rest.len()).then_some((prefix, first))
}

/// The length goes first, so that no prefix is the beginning of another.
fn push_prefix(prefix: &[u8], out: &mut Vec<u8>) {
    debug_assert!(prefix.len() <= MAX_PREFIX);
    out.push(prefix.len() as u8);
    out.extend_from_slice(prefix);
}

fn count_key(prefix: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + prefix.len());
    push_prefix(prefix, &mut out);
    out
}

fn encode_count(key: &[u8], count: u64) -> [u8; COUNT_BYTES] {
    let mut out = [0; COUNT_BYTES];
    out[4..].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c(key), &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_count(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let count = value.last_chunk().map(|count| u64::from_le_bytes(*count));
    match count {
        Some(count) if encode_count(key, count) == value => Ok(count),
        _ => Err(damaged(key, "the count of its entries is damaged")),
    }
}

/// The highest key that begins with `part`.
fn highest(part: &[u8]) -> EntryKey {
    let mut key = HIGHEST;
    let len = part.len().min(KEY_BYTES);
    key[..len].copy_from_slice(&part[..len]);
    key
}

fn damaged(key: &[u8], reason: &str) -> StoreError {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError::Damaged {
        what: format!("index chunk {key}"),
        reason: reason.to_owned(),
    }
}

const KEY_BYTES: usize = 36;
const ENTRY_BYTES: usize = 48;
const COUNT_BYTES: usize = 12;
/// Entries of a full chunk: with its key, its head and the page's own 12 bytes it fits 8,192.
const MAX_ENTRIES: usize = 168;
/// Entries of the chunks that a full one is split into at most, so that there is room for more.
const SPLIT_CHUNK: usize = 126;
/// A chunk with fewer entries is joined to the one behind it.
const SMALL_CHUNK: usize = 42;
const MAX_VALUE: usize = 4 + 1 + MAX_PREFIX + MAX_ENTRIES * ENTRY_BYTES;
/// Longest prefix, in bytes.
pub(super) const MAX_PREFIX: usize = 32;
const LOWEST: EntryKey = [0; KEY_BYTES];
const HIGHEST: EntryKey = [0xff; KEY_BYTES];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::redb::database::{Commit, Database, DatabaseOptions, MemoryStorage};

    #[test]
    fn a_chunk_has_these_bytes() {
        let entry = entry(7, 0x0102_0304, 9);
        let mut value = Vec::new();
        encode(b"pp", &[entry.to_bytes()], &mut value);
        let mut expected = vec![0x90, 0x6f, 0x0a, 0xb9, 2, b'p', b'p'];
        expected.extend([0, 0, 0, 7]);
        expected.extend([0; 32]);
        expected.extend([4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value, expected);
        let mut key = vec![2, b'p', b'p', 0, 0, 0, 7];
        key.extend([0; 32]);
        assert_eq!(table_key(b"pp", &entry.key), key);
        assert_eq!(check(&key, &value).unwrap(), 7);
        assert_eq!(
            encode_count(b"\x02pp", 5),
            [0x6a, 0xe4, 0x1c, 0x09, 5, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn a_changed_or_cut_chunk_is_damage() {
        let entries: Vec<_> = (0..3).map(|n| entry(n, 1, 2).to_bytes()).collect();
        let mut value = Vec::new();
        encode(b"p", &entries, &mut value);
        let key = table_key(b"p", key_of(&entries[0]));
        assert!(check(&key, &value).is_ok());
        for bit in 0..value.len() * 8 {
            let mut wrong = value.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&key, &wrong).unwrap_err().is_damage(), "bit {bit}");
        }
        for len in 0..value.len() {
            assert!(check(&key, &value[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..key.len() * 8 {
            let mut wrong = key.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&wrong, &value).is_err(), "bit {bit} of the key");
        }
    }

    #[test]
    fn a_damaged_chunk_is_told_and_the_scan_goes_on_behind_it() {
        let database = database();
        let entries: Vec<_> = (0..500).map(|n| entry(n, 0, u64::from(n))).collect();
        write(&database, |writer| writer.merge(b"p", &entries).map(drop));
        database
            .write(Commit::Fast, |tx| {
                let key = table_key(b"p", &entries[168].key);
                let mut value = tx.get(Table::Chunks, &key)?.unwrap();
                value[1000] ^= 1;
                tx.put(Table::Chunks, &key, &value)
            })
            .unwrap();
        let reader = ChunkReader::new(&database.snapshot().unwrap());
        for order in [Order::Ascending, Order::Descending] {
            let found: Vec<_> = reader.all(b"p", order).unwrap().collect();
            let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
            assert_eq!(good.len(), 500 - 168);
            assert!(bad.len() == 1 && bad[0].as_ref().unwrap_err().is_damage());
        }
    }

    #[test]
    fn appends_fill_chunks_to_the_last_entry() {
        let database = database();
        for batch in 0..40 {
            let entries: Vec<_> = (0..50).map(|n| entry(batch * 50 + n, 0, 0)).collect();
            write(&database, |writer| writer.merge(b"p", &entries).map(drop));
        }
        let snapshot = database.snapshot().unwrap();
        assert_eq!(snapshot.len(Table::Chunks).unwrap(), 2000_u64.div_ceil(168));
        assert_eq!(ChunkReader::new(&snapshot).count(b"p").unwrap(), 2000);
    }

    #[test]
    fn a_removal_from_the_front_leaves_no_small_chunks() {
        let database = database();
        let entries: Vec<_> = (0..2000).map(|n| entry(n, 0, 0)).collect();
        write(&database, |writer| writer.merge(b"p", &entries).map(drop));
        for batch in entries.chunks(30).take(60) {
            let keys: Vec<_> = batch.iter().map(|entry| entry.key).collect();
            write(&database, |writer| writer.remove(b"p", &keys).map(drop));
        }
        let snapshot = database.snapshot().unwrap();
        assert!(snapshot.len(Table::Chunks).unwrap() <= 3);
        let reader = ChunkReader::new(&snapshot);
        assert_eq!(reader.first(b"p").unwrap(), Some(entries[1800]));
        assert_eq!(reader.last(b"p").unwrap(), Some(entries[1999]));
        assert_eq!(reader.count(b"p").unwrap(), 200);
    }

    #[test]
    fn an_entry_is_found_and_changed_by_the_leading_part_of_its_key() {
        let database = database();
        let entries: Vec<_> = (0..1000).map(|n| entry(n, n, u64::from(n))).collect();
        write(&database, |writer| writer.merge(b"s", &entries).map(drop));
        let keys: Vec<_> = (0..1200_u32).map(u32::to_be_bytes).collect();
        let found = database.write(Commit::Fast, |tx| {
            ChunkWriter::new(tx).modify(b"s", &keys, |entry| {
                entry.key[35] = 200;
                if entry.slot % 3 == 0 {
                    return Fate::Remove;
                }
                entry.slot += 1;
                Fate::Keep
            })
        });
        assert_eq!(found.unwrap(), 1000);
        let reader = ChunkReader::new(&database.snapshot().unwrap());
        let found: Result<Vec<_>, _> = reader.all(b"s", Order::Ascending).unwrap().collect();
        let found = found.unwrap();
        assert_eq!(
            (found.len() as u64, 666),
            (reader.count(b"s").unwrap(), found.len())
        );
        assert!(found.iter().all(|entry| entry.key[35] == 200
            && entry.slot == u64::from(entry.type_number) + 1
            && entry.type_number % 3 != 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Merge(u8, Vec<(u16, u32)>),
        Append(u8, u16),
        Remove(u8, Vec<u16>),
        RemoveFrom(u8, u16, u16),
        Modify(u8, Vec<u16>),
        Snapshot,
        Scan(usize, u8, Bound<u16>, Bound<u16>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let map = 0..3_u8;
        let key = 0..2000_u16;
        let bound = prop_oneof![
            Just(Bound::Unbounded),
            key.clone().prop_map(Bound::Included),
            key.clone().prop_map(Bound::Excluded)
        ];
        let step = prop_oneof![
            (map.clone(), vec((key.clone(), any::<u32>()), 0..400))
                .prop_map(|(map, batch)| Step::Merge(map, batch)),
            (map.clone(), 1..400_u16).prop_map(|(map, count)| Step::Append(map, count)),
            (map.clone(), vec(key.clone(), 0..300)).prop_map(|(map, keys)| Step::Remove(map, keys)),
            (map.clone(), key.clone(), 0..600_u16)
                .prop_map(|(map, from, count)| Step::RemoveFrom(map, from, count)),
            (map.clone(), vec(key, 0..300)).prop_map(|(map, keys)| Step::Modify(map, keys)),
            Just(Step::Snapshot),
            (any::<usize>(), map, bound.clone(), bound)
                .prop_map(|(at, map, from, to)| Step::Scan(at, map, from, to)),
        ];
        vec(step, 1..40)
    }

    type Model = [BTreeMap<EntryKey, Entry>; 3];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sorted_maps_are_as_a_btree_map_would_be(steps in steps()) {
            let database = database();
            let mut model = Model::default();
            let mut snapshots = vec![(database.snapshot().unwrap(), model.clone())];
            for step in steps {
                match step {
                    Step::Merge(map, batch) => {
                        let batch: BTreeMap<_, _> = batch.into_iter().map(|(n, with)| {
                            let entry = entry(n.into(), with, u64::from(with) << 20);
                            (entry.key, entry)
                        }).collect();
                        merge(&database, &mut model, map, batch);
                    }
                    Step::Append(map, count) => {
                        let last = model[usize::from(map)].last_key_value().map_or(0, |(key, _)| {
                            u32::from_be_bytes([key[0], key[1], key[2], key[3]])
                        });
                        let batch = (1..=u32::from(count)).map(|n| {
                            let entry = entry(last + n, n, 5);
                            (entry.key, entry)
                        }).collect();
                        merge(&database, &mut model, map, batch);
                    }
                    Step::Remove(map, keys) => remove(&database, &mut model, map, keys),
                    Step::RemoveFrom(map, from, count) => {
                        remove(&database, &mut model, map, (from..from + count).collect());
                    }
                    Step::Modify(map, mut keys) => {
                        keys.sort_unstable();
                        keys.dedup();
                        let keys: Vec<_> = keys.into_iter().map(|n| entry(n.into(), 0, 0).key).collect();
                        let mut found = 0;
                        for key in &keys {
                            if let Some(entry) = model[usize::from(map)].get_mut(key) {
                                entry.slot ^= 0xff;
                                found += 1;
                            }
                        }
                        let modified = database.write(Commit::Fast, |tx| {
                            ChunkWriter::new(tx).modify(&[map], &keys, |entry| {
                                entry.slot ^= 0xff;
                                Fate::Keep
                            })
                        });
                        prop_assert_eq!(modified.unwrap(), found);
                    }
                    Step::Snapshot => snapshots.push((database.snapshot().unwrap(), model.clone())),
                    Step::Scan(at, map, from, to) => {
                        let (snapshot, model) = &snapshots[at % snapshots.len()];
                        scan(snapshot, &model[usize::from(map)], map, from, to)?;
                    }
                }
            }
            snapshots.push((database.snapshot().unwrap(), model));
            for (snapshot, model) in &snapshots {
                for map in 0..3 {
                    scan(snapshot, &model[usize::from(map)], map, Bound::Unbounded, Bound::Unbounded)?;
                }
            }
        }

        #[test]
        fn no_bytes_make_a_chunk_panic(key in vec(any::<u8>(), 0..60), value in vec(any::<u8>(), 0..200)) {
            prop_assert!(check(&key, &value).is_err());
            prop_assert!(decode_count(&key, &value).is_err());
        }
    }

    fn merge(database: &Database, model: &mut Model, map: u8, batch: BTreeMap<EntryKey, Entry>) {
        let entries: Vec<_> = batch.values().copied().collect();
        let model = &mut model[usize::from(map)];
        let before = model.len();
        model.extend(batch);
        let added = database.write(Commit::Fast, |tx| {
            ChunkWriter::new(tx).merge(&[map], &entries)
        });
        assert_eq!(added.unwrap(), (model.len() - before) as u64);
    }

    fn remove(database: &Database, model: &mut Model, map: u8, mut keys: Vec<u16>) {
        keys.sort_unstable();
        keys.dedup();
        let keys: Vec<_> = keys
            .into_iter()
            .map(|n| entry(n.into(), 0, 0).key)
            .collect();
        let model = &mut model[usize::from(map)];
        let gone = keys.iter().filter(|key| model.remove(*key).is_some());
        let gone = gone.count() as u64;
        let removed = database.write(Commit::Fast, |tx| {
            ChunkWriter::new(tx).remove(&[map], &keys)
        });
        assert_eq!(removed.unwrap(), gone);
    }

    fn scan(
        snapshot: &Snapshot,
        model: &BTreeMap<EntryKey, Entry>,
        map: u8,
        from: Bound<u16>,
        to: Bound<u16>,
    ) -> Result<(), TestCaseError> {
        let key = |n: u16| entry(n.into(), 0, 0).key;
        let range = (from.map(key), to.map(key));
        let reader = ChunkReader::new(snapshot);
        let mut expected: Vec<_> = model.values().copied().collect();
        expected.retain(|entry| {
            std::ops::RangeBounds::contains(&(range.0.as_ref(), range.1.as_ref()), &entry.key)
        });
        for order in [Order::Ascending, Order::Descending] {
            let found: Result<Vec<_>, _> = reader.scan(&[map], range, order).unwrap().collect();
            prop_assert_eq!(&found.unwrap(), &expected);
            expected.reverse();
        }
        prop_assert_eq!(reader.count(&[map]).unwrap(), model.len() as u64);
        prop_assert_eq!(
            reader.first(&[map]).unwrap(),
            model.values().next().copied()
        );
        prop_assert_eq!(reader.last(&[map]).unwrap(), model.values().last().copied());
        Ok(())
    }

    fn entry(n: u32, type_number: u32, slot: u64) -> Entry {
        let mut key = LOWEST;
        key[..4].copy_from_slice(&n.to_be_bytes());
        Entry {
            key,
            type_number,
            slot,
        }
    }

    fn database() -> Database {
        let storage = Arc::new(MemoryStorage::default());
        Database::open(storage, DatabaseOptions::default()).unwrap()
    }

    fn write(
        database: &Database,
        work: impl FnOnce(&ChunkWriter<'_, '_>) -> Result<(), StoreError>,
    ) {
        let written = database.write(Commit::Fast, |tx| work(&ChunkWriter::new(tx)));
        written.unwrap();
    }
}
