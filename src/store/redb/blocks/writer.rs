//! Writing blocks, and taking out what is no longer in use.

use std::ops::{Bound, ControlFlow, Range};

use super::super::database::{Table, WriteTx};
use super::super::record;
use super::format::{Block, MAX_BYTES, MAX_RECORDS, MAX_SPAN, Packer, block_key};
use super::live::Live;
use crate::event::Event;
use crate::store::StoreError;

/// Changes blocks within one transaction.
#[derive(Debug)]
pub(in crate::store::redb) struct BlockWriter<'a, 'tx> {
    tx: &'a WriteTx<'tx>,
    packer: Packer,
    value: Vec<u8>,
}

impl<'a, 'tx> BlockWriter<'a, 'tx> {
    pub(in crate::store::redb) fn new(tx: &'a WriteTx<'tx>) -> Self {
        Self {
            tx,
            packer: Packer::default(),
            value: Vec::new(),
        }
    }

    /// Writes events, each with the number of its type, into `slot` and those behind it. What was in these slots is replaced where the
    /// same events are written again; else [`truncate`](Self::truncate) comes first.
    ///
    /// # Errors
    /// [`StoreError::Encode`] for an event that is too large, and those of the transaction.
    pub(in crate::store::redb) fn append(
        &mut self,
        slot: u64,
        events: &[(&Event, u32)],
    ) -> Result<(), StoreError> {
        let mut record = Vec::new();
        for (slot, (event, type_number)) in (slot..).zip(events) {
            record.clear();
            record::encode(event, *type_number, &mut record)?;
            if !self.packer.is_empty() && !self.packer.has_room(1, record.len(), slot) {
                self.put()?;
            }
            self.packer.push(slot, &record);
        }
        self.put()
    }

    /// Takes out everything from `slot` on, in use or not.
    ///
    /// # Errors
    /// Those of the transaction.
    pub(in crate::store::redb) fn truncate(&mut self, slot: u64) -> Result<(), StoreError> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        while let Some((key, value)) = self.tx.last(Table::Blocks, all)? {
            let block = Block::check(&key, &value);
            let is_before = *key < block_key(slot)[..];
            if is_before
                && let Ok(block) = block
                && block.slot(block.count().saturating_sub(1)) >= Some(slot)
            {
                let live = self.live(&key, &block)?;
                return self.put_again(&key, &block, |of| of < slot && is_live(&live, &block, of));
            }
            if is_before {
                break;
            }
            self.delete(&key)?;
        }
        Ok(())
    }

    /// Says that the events of these slots, in ascending order, are no longer in use. Blocks without any go; one with few is
    /// written again without the rest.
    ///
    /// # Errors
    /// Those of the transaction.
    pub(in crate::store::redb) fn retire(&mut self, slots: &[u64]) -> Result<(), StoreError> {
        debug_assert!(slots.is_sorted());
        let mut rest = slots;
        while let Some((first, behind)) = rest.split_first() {
            let first_key = block_key(*first);
            let up_to = (Bound::Unbounded, Bound::Included(&first_key[..]));
            let Some((key, value)) = self.tx.last(Table::Blocks, up_to)? else {
                rest = behind;
                continue;
            };
            let Ok(block) = Block::check(&key, &value) else {
                rest = behind;
                continue;
            };
            let base = block.base();
            let mut live = self.live(&key, &block)?;
            let end = base.saturating_add(live.span());
            let here = rest.partition_point(|slot| *slot < end);
            let (here, later) = rest.split_at(here);
            // The first may be none of ours: it is passed over.
            rest = if here.is_empty() { behind } else { later };
            for slot in here {
                live.remove(slot - base);
            }
            self.keep(&key, &block, &live)?;
        }
        Ok(())
    }

    /// Makes few large blocks of many small ones among those that begin within `slots`, without what is no longer in use.
    ///
    /// Blocks that fill pages of their own stay where they are unless there are fewer pages afterwards.
    ///
    /// # Errors
    /// Those of the transaction.
    pub(in crate::store::redb) fn join(&mut self, slots: Range<u64>) -> Result<(), StoreError> {
        let (from, to) = (block_key(slots.start), block_key(slots.end));
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let (mut groups, mut group) = (Vec::new(), Group::default());
        self.tx.scan(Table::Blocks, bounds, |key, value| {
            let block = Block::check(key, value).ok();
            // One that is large, or damaged, stays what it is.
            let block = block.filter(|_| value.len() <= MAX_BYTES / 2);
            if block.is_none_or(|block| !group.has_room(&block, value.len())) {
                groups.push(std::mem::take(&mut group));
            }
            if let Some(block) = block {
                group.push(key, &block, value.len());
            }
            ControlFlow::Continue(())
        })?;
        groups.push(group);
        for group in groups.iter().filter(|group| group.is_worth_it()) {
            self.join_group(group)?;
        }
        Ok(())
    }

    /// Writes one block in place of several.
    fn join_group(&mut self, group: &Group) -> Result<(), StoreError> {
        for key in &group.keys {
            let Some(value) = self.tx.get(Table::Blocks, key)? else {
                continue;
            };
            let block = Block::check(key, &value)?;
            let live = self.live(key, &block)?;
            self.push_all(&block, |slot| is_live(&live, &block, slot));
            self.delete(key)?;
        }
        self.put()
    }

    /// Writes the live slots of a block, and the block where it is worth it.
    fn keep(&mut self, key: &[u8], block: &Block<'_>, live: &Live) -> Result<(), StoreError> {
        let left = live.len();
        if left == 0 {
            return self.delete(key);
        }
        if left <= live.count / THIN {
            return self.put_again(key, block, |slot| is_live(live, block, slot));
        }
        self.tx.put(Table::Live, key, &live.encode(key))
    }

    /// Writes a block again with some of its slots only.
    fn put_again(
        &mut self,
        key: &[u8],
        block: &Block<'_>,
        stays: impl Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        self.push_all(block, stays);
        self.delete(key)?;
        self.put()
    }

    fn push_all(&mut self, block: &Block<'_>, stays: impl Fn(u64) -> bool) {
        for at in 0..block.count() {
            if let (Some(slot), Some(record)) = (block.slot(at), block.record(at))
                && stays(slot)
            {
                self.packer.push(slot, record);
            }
        }
    }

    /// Writes the block that was put together.
    fn put(&mut self) -> Result<(), StoreError> {
        if self.packer.is_empty() {
            return Ok(());
        }
        let key = block_key(self.packer.base());
        self.packer.encode(&mut self.value);
        self.tx.put(Table::Blocks, &key, &self.value)?;
        self.packer.clear();
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), StoreError> {
        self.tx.delete(Table::Blocks, key)?;
        self.tx.delete(Table::Live, key)?;
        Ok(())
    }

    /// What is in use of a block; all of it where that cannot be told.
    fn live(&self, key: &[u8], block: &Block<'_>) -> Result<Live, StoreError> {
        let value = self.tx.get(Table::Live, key)?;
        let live = value.and_then(|value| Live::decode(key, &value));
        Ok(live.unwrap_or_else(|| all_of(block)))
    }
}

/// Blocks that follow each other and fit one.
#[derive(Debug, Default)]
struct Group {
    keys: Vec<Vec<u8>>,
    base: u64,
    count: usize,
    bytes: usize,
    /// Bytes of the pages that they fill.
    pages: usize,
}

impl Group {
    fn has_room(&self, block: &Block<'_>, bytes: usize) -> bool {
        let last = block.slot(block.count().saturating_sub(1));
        let span = last.and_then(|last| last.checked_sub(self.base));
        self.keys.is_empty()
            || self.count + block.count() <= MAX_RECORDS
                && self.bytes + bytes <= MAX_BYTES
                && span.is_some_and(|span| span < MAX_SPAN)
    }

    fn push(&mut self, key: &[u8], block: &Block<'_>, bytes: usize) {
        if self.keys.is_empty() {
            self.base = block.base();
        }
        self.keys.push(key.to_vec());
        self.count += block.count();
        self.bytes += bytes;
        self.pages += page_bytes(bytes);
    }

    fn is_worth_it(&self) -> bool {
        self.keys.len() > 1 && page_bytes(self.bytes) < self.pages
    }
}

/// The engine's page for a value of that size alone.
fn page_bytes(value: usize) -> usize {
    (value + PAGE_HEAD).next_power_of_two().max(PAGE)
}

fn all_of(block: &Block<'_>) -> Live {
    let slots = (0..block.count()).filter_map(|at| block.slot(at));
    let deltas = slots.map(|slot| slot - block.base());
    Live::all(
        deltas
            .filter(|delta| *delta < MAX_SPAN)
            .map(|delta| delta as u32),
    )
}

fn is_live(live: &Live, block: &Block<'_>, slot: u64) -> bool {
    slot.checked_sub(block.base())
        .is_some_and(|delta| live.contains(delta))
}

/// The smallest page of the engine, and what it needs in one beside a value: its key, lengths, kind.
const PAGE: usize = 4096;
const PAGE_HEAD: usize = 32;
/// A block with fewer events in use than this part of it is written again.
const THIN: u32 = 4;
