//! Blocks that were read lately, with heads that were checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::format::Block;

/// Blocks that were read lately, shared by all readers of a store.
///
/// A slot has one event for ever, so what is here is right for every snapshot that has the slot: a block that was joined or
/// thinned out since has the same events for the same slots.
pub(in crate::store::redb) struct BlockCache {
    limit: usize,
    blocks: RwLock<Blocks>,
}

#[derive(Default)]
struct Blocks {
    by_base: BTreeMap<u64, Cached>,
    bytes: usize,
    /// Where the search for one to drop goes on.
    hand: u64,
}

struct Cached {
    value: Box<[u8]>,
    /// Read since the hand was here last.
    was_used: AtomicBool,
}

impl BlockCache {
    /// Keeps blocks of this many bytes at most; 0 keeps none.
    pub(in crate::store::redb) fn new(limit: usize) -> Self {
        Self {
            limit,
            blocks: RwLock::default(),
        }
    }

    /// Bytes that are held.
    pub(in crate::store::redb) fn bytes(&self) -> usize {
        self.blocks.read().bytes
    }

    /// Shows the record of a slot, from its start on, if the block is here.
    pub(super) fn read<T>(&self, slot: u64, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let blocks = self.blocks.read();
        let (_, cached) = blocks.by_base.range(..=slot).next_back()?;
        let block = Block::parse(&cached.value)?;
        let record = block.record_on(block.find(slot)?)?;
        if !cached.was_used.load(Ordering::Relaxed) {
            cached.was_used.store(true, Ordering::Relaxed);
        }
        Some(look(record))
    }

    /// Keeps a block whose head was checked, and drops others for it.
    pub(super) fn insert(&self, base: u64, value: &[u8]) {
        let size = cost(value);
        if size > self.limit / 8 {
            return;
        }
        let cached = Cached {
            value: value.into(),
            was_used: AtomicBool::new(false),
        };
        let mut blocks = self.blocks.write();
        if let Some(before) = blocks.by_base.remove(&base) {
            blocks.bytes -= cost(&before.value);
        }
        while blocks.bytes + size > self.limit && blocks.drop_one() {}
        blocks.by_base.insert(base, cached);
        blocks.bytes += size;
    }
}

impl Blocks {
    /// Drops the next one that was not used since it was passed.
    fn drop_one(&mut self) -> bool {
        loop {
            let from_hand = self.by_base.range(self.hand..).next();
            let Some((base, cached)) = from_hand.or_else(|| self.by_base.iter().next()) else {
                return false;
            };
            let base = *base;
            let stays = cached.was_used.swap(false, Ordering::Relaxed);
            self.hand = base.wrapping_add(1);
            if !stays {
                let dropped = self.by_base.remove(&base);
                self.bytes -= dropped.map_or(0, |dropped| cost(&dropped.value));
                return true;
            }
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache")
            .field("limit", &self.limit)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// With what the map and the allocator need beside the bytes, about.
fn cost(value: &[u8]) -> usize {
    value.len() + 64
}

#[cfg(test)]
mod tests {
    use super::super::format::Packer;
    use super::*;

    #[test]
    fn the_cache_keeps_to_its_limit_and_keeps_what_is_used() {
        let cache = BlockCache::new(10_000);
        for base in 0..100 {
            cache.insert(base, &block(base));
            assert!(cache.read(0, |_| ()).is_some(), "dropped at {base}");
            assert!(cache.bytes() <= 10_000);
        }
        assert!(cache.read(1, |_| ()).is_none());
        assert!(
            cache
                .read(99, |record| assert_eq!(record, [99; 900]))
                .is_some()
        );
    }

    #[test]
    fn a_block_over_an_eighth_of_the_limit_is_not_kept() {
        let cache = BlockCache::new(1000);
        cache.insert(0, &block(0));
        assert_eq!(cache.bytes(), 0);
    }

    fn block(base: u64) -> Vec<u8> {
        let (mut packer, mut out) = (Packer::default(), Vec::new());
        packer.push(base, &[base as u8; 900]);
        packer.encode(&mut out);
        out
    }
}
