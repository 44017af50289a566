//! Which events of a block are in use: a bit for each slot from its base on.

use crc32c::{crc32c, crc32c_append};

/// The slots of a block that are in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Live {
    /// Records of the block, in use or not.
    pub(super) count: u32,
    bits: Vec<u8>,
}

impl Live {
    /// All of these, as counted from the base in ascending order.
    pub(super) fn all(deltas: impl Iterator<Item = u32>) -> Self {
        let mut live = Self::default();
        for delta in deltas {
            let byte = delta as usize / 8;
            if live.bits.len() <= byte {
                live.bits.resize(byte + 1, 0);
            }
            live.bits[byte] |= 1 << (delta % 8);
            live.count += 1;
        }
        live
    }

    /// Slots from the base to behind the last that is in use. What is behind may be those of another block.
    pub(super) fn span(&self) -> u64 {
        let last = self.bits.iter().rposition(|byte| *byte != 0);
        last.map_or(0, |last| {
            (last as u64 + 1) * 8 - u64::from(self.bits[last].leading_zeros())
        })
    }

    pub(super) fn contains(&self, delta: u64) -> bool {
        let byte = usize::try_from(delta / 8).ok();
        let byte = byte.and_then(|byte| self.bits.get(byte));
        byte.is_some_and(|byte| byte & (1 << (delta % 8)) != 0)
    }

    pub(super) fn remove(&mut self, delta: u64) {
        let byte = usize::try_from(delta / 8).ok();
        if let Some(byte) = byte.and_then(|byte| self.bits.get_mut(byte)) {
            *byte &= !(1 << (delta % 8));
        }
    }

    /// How many are in use.
    pub(super) fn len(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend(self.count.to_le_bytes());
        out.extend_from_slice(&self.bits);
        let crc = checksum(key, &out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` where it is not what was written.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (crc, rest) = value.split_first_chunk()?;
        if checksum(key, rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (count, bits) = rest.split_first_chunk()?;
        Some(Self {
            count: u32::from_le_bytes(*count),
            bits: bits.to_vec(),
        })
    }
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    crc32c_append(crc32c(key), rest)
}
