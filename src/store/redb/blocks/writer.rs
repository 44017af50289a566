//! Writing blocks, and taking out what is no longer in use.

use std::ops::{Bound, ControlFlow, Range};

use super::super::database::{Table, WriteTx};
use super::super::record;
use super::format::{Block, MAX_BYTES, MAX_SPAN, Packer, block_key};
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
            let Some((key, value)) = self.tx.last(Table::Live, up_to)? else {
                rest = behind;
                continue;
            };
            let base = slot_of(&key);
            let Some(mut live) = self.live_or_all(&key, &value)? else {
                rest = behind;
                continue;
            };
            let end = base.saturating_add(live.span());
            let here = rest.partition_point(|slot| *slot < end);
            let (here, later) = rest.split_at(here);
            // The first may be none of ours: it is passed over.
            rest = if here.is_empty() { behind } else { later };
            for slot in here {
                live.remove(slot - base);
            }
            self.keep(&key, &live)?;
        }
        Ok(())
    }

    /// Makes few large blocks of many small ones among those that begin within `slots`, without what is no longer in use.
    ///
    /// # Errors
    /// Those of the transaction.
    pub(in crate::store::redb) fn join(&mut self, slots: Range<u64>) -> Result<(), StoreError> {
        let (from, to) = (block_key(slots.start), block_key(slots.end));
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let mut keys = Vec::new();
        self.tx.scan(Table::Live, bounds, |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        let mut joined = Vec::new();
        for key in keys {
            let Some(value) = self.tx.get(Table::Blocks, &key)? else {
                continue;
            };
            let block = match Block::check(&key, &value) {
                Ok(block) if value.len() <= MAX_BYTES / 2 => block,
                // One that is large, or damaged, stays what it is.
                _ => {
                    self.put_joined(&mut joined)?;
                    continue;
                }
            };
            let live = self.live(&key, &block)?;
            let last = block.slot(block.count().saturating_sub(1)).unwrap_or(0);
            if !joined.is_empty() && !self.packer.has_room(block.count(), value.len(), last) {
                self.put_joined(&mut joined)?;
            }
            self.push_all(&block, |slot| is_live(&live, &block, slot));
            joined.push(key);
        }
        self.put_joined(&mut joined)
    }

    /// Writes what was put together in place of the blocks that it came from.
    fn put_joined(&mut self, joined: &mut Vec<Vec<u8>>) -> Result<(), StoreError> {
        if joined.len() < 2 {
            self.packer.clear();
        } else {
            for key in &*joined {
                self.delete(key)?;
            }
            self.put()?;
        }
        joined.clear();
        Ok(())
    }

    /// Writes the live slots of a block, and the block where it is worth it.
    fn keep(&mut self, key: &[u8], live: &Live) -> Result<(), StoreError> {
        let left = live.len();
        if left == 0 {
            return self.delete(key);
        }
        if left <= live.count / THIN
            && let Some(value) = self.tx.get(Table::Blocks, key)?
            && let Ok(block) = Block::check(key, &value)
        {
            return self.put_again(key, &block, |slot| is_live(live, &block, slot));
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
        let live = Live::all(self.packer.deltas());
        self.tx.put(Table::Live, &key, &live.encode(&key))?;
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

    fn live_or_all(&self, key: &[u8], value: &[u8]) -> Result<Option<Live>, StoreError> {
        if let Some(live) = Live::decode(key, value) {
            return Ok(Some(live));
        }
        let Some(value) = self.tx.get(Table::Blocks, key)? else {
            return Ok(None);
        };
        Ok(Block::check(key, &value).ok().map(|block| all_of(&block)))
    }
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

/// Keys of another length than a slot's are none of ours; their checksum tells.
fn slot_of(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

/// A block with fewer events in use than this part of it is written again.
const THIN: u32 = 4;
