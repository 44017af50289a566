//! The bytes of a block: a head with a checksum that says where each slot's record is, then the records, each with its own.

use crc32c::crc32c;

use crate::store::StoreError;

/// A block whose head is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    base: u64,
    /// For each record: its slot counted from the base, and where it starts behind the index.
    index: &'a [IndexBytes],
    records: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks the head of a block, and that it is that of its key.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(super) fn check(key: &[u8], value: &'a [u8]) -> Result<Self, StoreError> {
        let block = Self::parse(value).ok_or_else(|| damaged(key, "it is cut"))?;
        let head = &value[..HEAD_BYTES + block.index.len() * INDEX_BYTES];
        let (crc, head) = head.split_at(4);
        if crc != crc32c(head).to_le_bytes() {
            return Err(damaged(key, "the checksum of its head is wrong"));
        }
        if key != block.base.to_be_bytes() {
            return Err(damaged(key, "it belongs to another slot"));
        }
        Ok(block)
    }

    /// The same for bytes that were checked before; `None` where they are none of a block.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let (_crc, rest) = value.split_first_chunk::<4>()?;
        let (base, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let index_bytes = (u32::from_le_bytes(*count) as usize).checked_mul(INDEX_BYTES)?;
        let (index, records) = rest.split_at_checked(index_bytes)?;
        Some(Self {
            base: u64::from_le_bytes(*base),
            index: index.as_chunks().0,
            records,
        })
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// How many records it has.
    pub(super) fn count(&self) -> usize {
        self.index.len()
    }

    /// The slot of a record.
    pub(super) fn slot(&self, at: usize) -> Option<u64> {
        self.base.checked_add(delta(self.index.get(at)?).into())
    }

    /// Which record has a slot.
    pub(super) fn find(&self, slot: u64) -> Option<usize> {
        let wanted = u32::try_from(slot.checked_sub(self.base)?).ok()?;
        let guess = wanted as usize;
        // Most blocks have no gaps.
        if self
            .index
            .get(guess)
            .is_some_and(|index| delta(index) == wanted)
        {
            return Some(guess);
        }
        (self.index).binary_search_by_key(&wanted, delta).ok()
    }

    /// The bytes from the start of a record on, to the end of the block.
    pub(super) fn record_on(&self, at: usize) -> Option<&'a [u8]> {
        self.records.get(offset(self.index.get(at)?)..)
    }

    /// The bytes of a record.
    pub(super) fn record(&self, at: usize) -> Option<&'a [u8]> {
        let from = self.record_on(at)?;
        let end = match self.index.get(at + 1) {
            Some(next) => offset(next).checked_sub(offset(&self.index[at]))?,
            None => from.len(),
        };
        from.get(..end)
    }
}

/// Puts records together until there are enough for a block.
#[derive(Debug, Default)]
pub(super) struct Packer {
    base: u64,
    index: Vec<IndexBytes>,
    records: Vec<u8>,
}

impl Packer {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.records.clear();
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Whether these records, the last of which has that slot, go into the same block.
    pub(super) fn has_room(&self, count: usize, bytes: usize, last_slot: u64) -> bool {
        let count = self.index.len() + count;
        count <= MAX_RECORDS
            && HEAD_BYTES + count * INDEX_BYTES + self.records.len() + bytes <= MAX_BYTES
            && last_slot
                .checked_sub(self.base)
                .is_some_and(|span| span < MAX_SPAN)
    }

    /// Adds a record behind those that are there.
    pub(super) fn push(&mut self, slot: u64, record: &[u8]) {
        if self.index.is_empty() {
            self.base = slot;
            // For a whole block: it grows in one step.
            self.index.reserve(MAX_RECORDS);
            self.records.reserve(MAX_BYTES);
        }
        // The limit on the span, and on a record, keeps both within 32 bits.
        let mut index = [0; INDEX_BYTES];
        index[..4].copy_from_slice(&((slot - self.base) as u32).to_le_bytes());
        index[4..].copy_from_slice(&(self.records.len() as u32).to_le_bytes());
        self.index.push(index);
        self.records.extend_from_slice(record);
    }

    /// Writes the block.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(HEAD_BYTES + self.index.len() * INDEX_BYTES + self.records.len());
        out.extend([0; 4]);
        out.extend(self.base.to_le_bytes());
        out.extend((self.index.len() as u32).to_le_bytes());
        out.extend_from_slice(self.index.as_flattened());
        let crc = crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.records);
    }
}

type IndexBytes = [u8; INDEX_BYTES];

fn delta(index: &IndexBytes) -> u32 {
    u32::from_le_bytes([index[0], index[1], index[2], index[3]])
}

fn offset(index: &IndexBytes) -> usize {
    u32::from_le_bytes([index[4], index[5], index[6], index[7]]) as usize
}

/// The key of the block that begins with a slot.
pub(super) fn block_key(slot: u64) -> [u8; 8] {
    slot.to_be_bytes()
}

pub(super) fn damaged(key: &[u8], reason: &str) -> StoreError {
    let what = match key.try_into() {
        Ok(key) => format!("block {}", u64::from_be_bytes(key)),
        Err(_) => format!("a block with a key of {} bytes", key.len()),
    };
    StoreError::Damaged {
        what,
        reason: reason.to_owned(),
    }
}

/// Checksum, base, count.
const HEAD_BYTES: usize = 16;
const INDEX_BYTES: usize = 8;
/// With its key and the page's own bytes a block of this size fits 32 KiB.
pub(super) const MAX_BYTES: usize = 32_000;
/// Most records of a block.
pub(super) const MAX_RECORDS: usize = 256;
/// Most slots from the first to the last of a block, which may have gaps.
pub(super) const MAX_SPAN: u64 = 4096;
