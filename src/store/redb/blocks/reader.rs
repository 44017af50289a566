//! Reading events by their slots.

use std::ops::Bound;
use std::sync::Arc;

use super::super::database::{Pairs, Snapshot, Table, Value};
use super::super::record::Record;
use super::super::types::TypeNames;
use super::cache::BlockCache;
use super::format::{self, Block, block_key};
use super::live::Live;
use crate::event::Event;
use crate::store::StoreError;

/// Reads events as they are in a snapshot.
#[derive(Debug, Clone)]
pub(in crate::store::redb) struct BlockReader {
    snapshot: Snapshot,
    cache: Arc<BlockCache>,
    types: Arc<TypeNames>,
}

/// An event and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::redb) struct Stored {
    /// Its slot.
    pub(in crate::store::redb) slot: u64,
    /// The number of its type.
    pub(in crate::store::redb) type_number: u32,
    /// The event.
    pub(in crate::store::redb) event: Arc<Event>,
}

impl BlockReader {
    /// Blocks come from the cache where they are in it, and go there where not.
    pub(in crate::store::redb) fn new(
        snapshot: &Snapshot,
        cache: Arc<BlockCache>,
        types: Arc<TypeNames>,
    ) -> Self {
        Self {
            snapshot: snapshot.clone(),
            cache,
            types,
        }
    }

    /// The event of a slot.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it is not there, or not as it was written; those of the snapshot.
    pub(in crate::store::redb) fn event(&self, slot: u64) -> Result<Arc<Event>, StoreError> {
        let decode = |record: &[u8]| stored(&self.types, slot, record).map(|stored| stored.event);
        if let Some(event) = self.cache.read(slot, decode) {
            return event;
        }
        let key = block_key(slot);
        let up_to = (Bound::Unbounded, Bound::Included(&key[..]));
        let pair = self.snapshot.range(Table::Blocks, up_to)?.next_back();
        let (key, value) = pair.ok_or_else(|| missing(slot))??;
        let block = Block::check(&key, &value)?;
        let at = block.find(slot).ok_or_else(|| missing(slot))?;
        let event = decode(block.record_on(at).ok_or_else(|| missing(slot))?);
        self.cache.insert(block.base(), &value);
        event
    }

    /// All events from `slot` on in the order of their slots, those that are no longer in use too; nothing goes to the cache.
    ///
    /// A block or an event that is damaged gives one error, and the walk goes on behind it.
    ///
    /// # Errors
    /// Those of the snapshot.
    pub(in crate::store::redb) fn walk(&self, slot: u64) -> Result<Walk, StoreError> {
        let key = block_key(slot);
        let (up_to, behind) = (Bound::Included(&key[..]), Bound::Excluded(&key[..]));
        let range = |bounds| self.snapshot.range(Table::Blocks, bounds);
        let first = range((Bound::Unbounded, up_to))?.next_back().transpose()?;
        Ok(Walk {
            snapshot: self.snapshot.clone(),
            types: self.types.clone(),
            from: slot,
            at: slot,
            first,
            pairs: range((behind, Bound::Unbounded))?,
            block: None,
            only_in_use: false,
            live: None,
        })
    }

    /// All events as [`walk`](Self::walk) gives them, but for those that are known to be no longer in use.
    ///
    /// # Errors
    /// Those of the snapshot.
    pub(in crate::store::redb) fn walk_in_use(&self) -> Result<Walk, StoreError> {
        Ok(Walk {
            only_in_use: true,
            ..self.walk(0)?
        })
    }
}

/// Looks at what says which events of a block are in use; one that is damaged, or of no block, gives an error.
pub(in crate::store::redb) fn check_live(
    snapshot: &Snapshot,
) -> Result<impl Iterator<Item = Result<(), StoreError>> + use<>, StoreError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let keys = snapshot.clone();
    let live = snapshot.range(Table::Live, all)?;
    Ok(live.map(move |pair| {
        let (key, value) = pair?;
        if Live::decode(&key, &value).is_none() {
            return Err(format::damaged(
                &key,
                "what says which events are in use is damaged",
            ));
        }
        match keys.get(Table::Blocks, &key)? {
            Some(_) => Ok(()),
            None => Err(format::damaged(&key, "it is not there")),
        }
    }))
}

/// Bytes that an event takes in the youngest blocks, on average; 0 where there is none.
pub(in crate::store::redb) fn average_bytes(snapshot: &Snapshot) -> Result<f64, StoreError> {
    let blocks = snapshot.range(Table::Blocks, (Bound::Unbounded, Bound::Unbounded))?;
    let (mut bytes, mut events) = (0, 0);
    for pair in blocks.rev().take(SAMPLED_BLOCKS) {
        let (key, value) = pair?;
        // A damaged one says nothing of the size of others.
        if let Ok(block) = Block::check(&key, &value) {
            bytes += value.len();
            events += block.count();
        }
    }
    Ok(bytes as f64 / events.max(1) as f64)
}

/// Events in the order of their slots.
#[derive(Debug)]
pub(in crate::store::redb) struct Walk {
    snapshot: Snapshot,
    types: Arc<TypeNames>,
    from: u64,
    /// The first slot of the last block that was found.
    at: u64,
    first: Option<(Value, Value)>,
    pairs: Pairs,
    /// A checked block, and which record is next.
    block: Option<(Value, usize)>,
    only_in_use: bool,
    /// Which of its events are in use, where that is asked and known.
    live: Option<Live>,
}

impl Walk {
    fn next_of_block(&mut self) -> Option<Result<Stored, StoreError>> {
        let (value, next) = self.block.as_mut()?;
        let block = Block::parse(value)?;
        loop {
            let at = *next;
            let slot = block.slot(at)?;
            *next += 1;
            let is_dead = (self.live.as_ref())
                .is_some_and(|live| !live.contains(slot.saturating_sub(block.base())));
            if slot >= self.from && !is_dead {
                let record = block.record_on(at).ok_or_else(|| missing(slot));
                return Some(record.and_then(|record| stored(&self.types, slot, record)));
            }
        }
    }
}

impl Walk {
    /// Where the database cannot read its own page: goes on with the first block behind it that can be found.
    fn skip(&mut self) -> Result<(), StoreError> {
        let (mut bad, mut good) = (0, None);
        for step in (0..u64::BITS).map(|bits| 1 << bits) {
            let Some(slot) = self.at.checked_add(step) else {
                break;
            };
            match self.first_from(slot) {
                Ok(found) => {
                    good = Some((step, found));
                    break;
                }
                Err(error) if error.is_damage() => bad = step,
                Err(error) => return Err(error),
            }
        }
        let Some((mut step, mut found)) = good else {
            return Ok(());
        };
        // The page ends somewhere between the two.
        while step - bad > 1 {
            let middle = bad + (step - bad) / 2;
            match self.first_from(self.at + middle) {
                Ok(nearer) => (step, found) = (middle, nearer),
                Err(error) if error.is_damage() => bad = middle,
                Err(error) => return Err(error),
            }
        }
        (self.first, self.pairs) = found;
        Ok(())
    }

    /// The first block from a slot on, and those behind it.
    fn first_from(&self, slot: u64) -> Result<(Option<(Value, Value)>, Pairs), StoreError> {
        let key = block_key(slot);
        let from = (Bound::Included(&key[..]), Bound::Unbounded);
        let mut pairs = self.snapshot.range(Table::Blocks, from)?;
        let first = pairs.next().transpose()?;
        Ok((first, pairs))
    }
}

impl Iterator for Walk {
    type Item = Result<Stored, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.next_of_block() {
                return Some(found);
            }
            self.block = None;
            let pair = match self.first.take() {
                Some(pair) => Ok(pair),
                None => self.pairs.next()?,
            };
            let (key, value) = match pair {
                Ok(pair) => pair,
                Err(error) if error.is_damage() => {
                    return Some(Err(self.skip().err().unwrap_or(error)));
                }
                Err(error) => return Some(Err(error)),
            };
            match Block::check(&key, &value) {
                Ok(block) => {
                    self.at = self.at.max(block.base());
                    if self.only_in_use {
                        let live = self.snapshot.get(Table::Live, &key);
                        let live = live.ok().flatten();
                        self.live = live.and_then(|live| Live::decode(&key, &live));
                    }
                    self.block = Some((value, 0));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn stored(types: &TypeNames, slot: u64, record: &[u8]) -> Result<Stored, StoreError> {
    let (record, _) = Record::decode(record).map_err(|error| damaged(slot, error.to_string()))?;
    let Some(event_type) = types.get(record.type_number) else {
        let reason = format!("it has event type {}, which is none", record.type_number);
        return Err(damaged(slot, reason));
    };
    Ok(Stored {
        slot,
        type_number: record.type_number,
        event: Arc::new(record.to_event(event_type)),
    })
}

fn missing(slot: u64) -> StoreError {
    damaged(slot, "it is not there".to_owned())
}

fn damaged(slot: u64, reason: String) -> StoreError {
    StoreError::Damaged {
        what: format!("the event in slot {slot}"),
        reason,
    }
}

/// Blocks that the average size of an event is taken from.
const SAMPLED_BLOCKS: usize = 64;
