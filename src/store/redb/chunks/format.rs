//! The bytes of entries, chunks and counts.

use crc32c::{crc32c, crc32c_append};

use crate::store::StoreError;

/// The key of an entry; entries are sorted by its bytes, and no two of a map have the same.
pub(in crate::store::redb) type EntryKey = [u8; KEY_BYTES];

/// One entry of a sorted map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redb) struct Entry {
    /// What it is sorted by.
    pub(in crate::store::redb) key: EntryKey,
    /// The number of its event type.
    pub(in crate::store::redb) type_number: u32,
    /// Where the event is.
    pub(in crate::store::redb) slot: u64,
}

impl Entry {
    pub(super) fn to_bytes(self) -> EntryBytes {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..KEY_BYTES].copy_from_slice(&self.key);
        bytes[36..40].copy_from_slice(&self.type_number.to_le_bytes());
        bytes[40..].copy_from_slice(&self.slot.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &EntryBytes) -> Self {
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

pub(super) type EntryBytes = [u8; ENTRY_BYTES];

pub(super) fn key_of(entry: &EntryBytes) -> &EntryKey {
    entry
        .first_chunk()
        .expect("an entry is longer than its key")
}

pub(super) fn encode(prefix: &[u8], entries: &[EntryBytes], out: &mut Vec<u8>) {
    out.clear();
    out.extend([0; 4]);
    push_prefix(prefix, out);
    out.extend_from_slice(entries.as_flattened());
    let crc = crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Checks the value of a chunk and that it belongs to its key; gives where its entries start.
pub(super) fn check(key: &[u8], value: &[u8]) -> Result<usize, StoreError> {
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

pub(super) fn table_key(prefix: &[u8], key: &EntryKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + prefix.len() + KEY_BYTES);
    push_prefix(prefix, &mut out);
    out.extend_from_slice(key);
    out
}

/// The prefix with its length in front, and the key.
pub(super) fn split_table_key(key: &[u8]) -> Option<(&[u8], &EntryKey)> {
    let (prefix, first) = key.split_last_chunk()?;
    let (len, rest) = prefix.split_first()?;
    (usize::from(*len) == rest.len()).then_some((prefix, first))
}

/// The length goes first, so that no prefix is the beginning of another.
pub(super) fn push_prefix(prefix: &[u8], out: &mut Vec<u8>) {
    debug_assert!(prefix.len() <= MAX_PREFIX);
    out.push(prefix.len() as u8);
    out.extend_from_slice(prefix);
}

pub(super) fn count_key(prefix: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + prefix.len());
    push_prefix(prefix, &mut out);
    out
}

pub(super) fn encode_count(key: &[u8], count: u64) -> [u8; COUNT_BYTES] {
    let mut out = [0; COUNT_BYTES];
    out[4..].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c_append(crc32c(key), &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn decode_count(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let count = value.last_chunk().map(|count| u64::from_le_bytes(*count));
    match count {
        Some(count) if encode_count(key, count) == value => Ok(count),
        _ => Err(damaged(key, "the count of its entries is damaged")),
    }
}

/// The highest key that begins with `part`.
pub(super) fn highest(part: &[u8]) -> EntryKey {
    let mut key = HIGHEST;
    let len = part.len().min(KEY_BYTES);
    key[..len].copy_from_slice(&part[..len]);
    key
}

pub(super) fn damaged(key: &[u8], reason: &str) -> StoreError {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError::Damaged {
        what: format!("index chunk {key}"),
        reason: reason.to_owned(),
    }
}

pub(super) const KEY_BYTES: usize = 36;
pub(super) const ENTRY_BYTES: usize = 48;
pub(super) const COUNT_BYTES: usize = 12;
/// Longest prefix, in bytes.
pub(super) const MAX_PREFIX: usize = 32;
pub(super) const LOWEST: EntryKey = [0; KEY_BYTES];
pub(super) const HIGHEST: EntryKey = [0xff; KEY_BYTES];
