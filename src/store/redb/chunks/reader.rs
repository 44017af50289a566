//! Reading the maps.

use std::ops::{Bound, Range};

use super::super::database::{Pairs, Snapshot, Table, Value};
use super::format::{
    ENTRY_BYTES, Entry, EntryKey, HIGHEST, LOWEST, check, count_key, decode_count, key_of,
    table_key,
};
use crate::event::Order;
use crate::store::StoreError;

/// Reads the sorted maps as they are in a snapshot.
#[derive(Debug, Clone)]
pub(in crate::store::redb) struct ChunkReader {
    snapshot: Snapshot,
}

impl ChunkReader {
    pub(in crate::store::redb) fn new(snapshot: &Snapshot) -> Self {
        Self {
            snapshot: snapshot.clone(),
        }
    }

    /// The entries whose keys are within the bounds; chunks are read when their turn comes.
    ///
    /// A chunk that is damaged gives one error, and the scan goes on behind it.
    pub(in crate::store::redb) fn scan(
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
    pub(in crate::store::redb) fn all(
        &self,
        prefix: &[u8],
        order: Order,
    ) -> Result<Scan, StoreError> {
        self.scan(prefix, (Bound::Unbounded, Bound::Unbounded), order)
    }

    /// The entry with the lowest key.
    #[cfg(test)]
    pub(in crate::store::redb) fn first(&self, prefix: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.all(prefix, Order::Ascending)?.next().transpose()
    }

    /// The entry with the highest key.
    #[cfg(test)]
    pub(in crate::store::redb) fn last(&self, prefix: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.all(prefix, Order::Descending)?.next().transpose()
    }

    /// The prefixes of all maps whose prefix begins with a byte and has that many bytes.
    ///
    /// # Errors
    /// Those of the snapshot.
    pub(in crate::store::redb) fn prefixes(
        &self,
        kind: u8,
        len: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut from = vec![len as u8, kind];
        loop {
            let bounds = (Bound::Included(&*from), Bound::Unbounded);
            let Some(pair) = self.snapshot.range(Table::Chunks, bounds)?.next() else {
                return Ok(found);
            };
            let (key, _) = pair?;
            let Some(prefix) = key.get(1..=len).filter(|prefix| {
                usize::from(key[0]) == len && prefix[0] == kind && **prefix >= from[1..]
            }) else {
                return Ok(found);
            };
            found.push(prefix.to_vec());
            from.truncate(1);
            from.extend_from_slice(prefix);
            from.extend(HIGHEST);
            from.push(0);
        }
    }

    /// How many entries a map has, as it was counted when they were written.
    pub(in crate::store::redb) fn count(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let key = count_key(prefix);
        let value = self.snapshot.get(Table::Counts, &key)?;
        value.map_or(Ok(0), |value| decode_count(&key, &value))
    }
}

/// The entries of one map within bounds, in order.
#[derive(Debug)]
pub(in crate::store::redb) struct Scan {
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
