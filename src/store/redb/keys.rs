//! Prefixes of the sorted maps, and arithmetic on their keys.

use crate::event::{EventId, Timestamp};
use crate::store::StoreError;

use super::memtable::Key;

/// All events of a partition, by time and id.
pub(super) fn partition_prefix(partition: u32) -> [u8; 5] {
    let [a, b, c, d] = partition.to_be_bytes();
    [b'p', a, b, c, d]
}

/// The events of one type in a partition, by time and id.
pub(super) fn type_prefix(partition: u32, type_number: u32) -> [u8; 9] {
    let mut prefix = [b't'; 9];
    prefix[1..5].copy_from_slice(&partition.to_be_bytes());
    prefix[5..].copy_from_slice(&type_number.to_be_bytes());
    prefix
}

/// The events of a server, by id.
pub(super) fn server_prefix(server: i64) -> [u8; SERVER_PREFIX] {
    let mut prefix = [b's'; SERVER_PREFIX];
    prefix[1..].copy_from_slice(&server.to_be_bytes());
    prefix
}

/// Bytes of [`server_prefix`].
pub(super) const SERVER_PREFIX: usize = 9;

/// The key of an event in the map of its server: its id, how many partitions have it, zeros.
pub(super) fn server_key(id: EventId, references: u32) -> Key {
    let mut key = [0; 36];
    key[..ID_BYTES].copy_from_slice(&id.to_bytes());
    key[ID_BYTES..ID_BYTES + 4].copy_from_slice(&references.to_be_bytes());
    key
}

/// How many partitions have the event of this key.
pub(super) fn references(key: &Key) -> u32 {
    key[ID_BYTES..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The id of the event of this key in the map of its server.
pub(super) fn server_key_id(key: &Key) -> EventId {
    let (id, _) = key.split_first_chunk().expect("a key is longer than an id");
    EventId::from_bytes(id)
}

/// The sorting time of the event of this key in a partition.
pub(super) fn time_of(key: &Key) -> Timestamp {
    let (time, _) = key
        .split_first_chunk()
        .expect("a key is longer than a timestamp");
    Timestamp::from_bytes(time)
}

/// The id of the event of this key in a partition.
pub(super) fn id_of(key: &Key) -> EventId {
    let (_, id) = key.split_last_chunk().expect("a key is longer than an id");
    EventId::from_bytes(id)
}

/// The first key in the map of a server behind an id.
pub(super) fn behind(id: EventId) -> Key {
    let mut key = [0xff; 36];
    key[..ID_BYTES].copy_from_slice(&id.to_bytes());
    key
}

/// The lowest key of a time in a partition.
pub(super) fn lowest_at(time: Timestamp) -> Key {
    let mut key = [0; 36];
    key[..12].copy_from_slice(&time.to_bytes());
    key
}

/// The highest key of a time in a partition.
pub(super) fn highest_at(time: Timestamp) -> Key {
    let mut key = [0xff; 36];
    key[..12].copy_from_slice(&time.to_bytes());
    key
}

/// The next key, unless there is none.
pub(super) fn successor(key: &Key) -> Option<Key> {
    let mut next = *key;
    for byte in next.iter_mut().rev() {
        let (sum, over) = byte.overflowing_add(1);
        *byte = sum;
        if !over {
            return Some(next);
        }
    }
    None
}

/// The key before, unless there is none.
pub(super) fn predecessor(key: &Key) -> Option<Key> {
    let mut before = *key;
    for byte in before.iter_mut().rev() {
        let (difference, under) = byte.overflowing_sub(1);
        *byte = difference;
        if !under {
            return Some(before);
        }
    }
    None
}

/// The error of an index that leads to another event.
pub(super) fn mismatch(slot: u64, id: EventId) -> StoreError {
    StoreError::Damaged {
        what: format!("slot {slot}"),
        reason: format!("an index leads to it for another event than {id}"),
    }
}

/// The error of an index that leads to a latest event that is not there.
pub(super) fn missing(id: EventId) -> StoreError {
    StoreError::Damaged {
        what: format!("event {id}"),
        reason: "it is in the index of its server and not among the latest events".to_owned(),
    }
}

/// The slot of an event that is in no partition, only in the table of the latest events.
pub(super) const NO_SLOT: u64 = u64::MAX;
const ID_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_server_key_has_its_id_and_its_references() {
        let id = EventId::new(-3, 5, i64::MAX);
        let key = server_key(id, 7);
        assert_eq!((server_key_id(&key), references(&key)), (id, 7));
        assert!(key < behind(id) && behind(id) < server_key(EventId::new(-2, 0, 0), 0));
    }

    #[test]
    fn the_ends_have_no_neighbour() {
        assert_eq!(successor(&[0xff; 36]), None);
        assert_eq!(predecessor(&[0; 36]), None);
    }

    proptest! {
        #[test]
        fn neighbours_are_next_to_each_other(head: [u8; 32], tail: [u8; 4]) {
            let mut key = [0; 36];
            key[..32].copy_from_slice(&head);
            key[32..].copy_from_slice(&tail);
            if let Some(next) = successor(&key) {
                prop_assert!(next > key);
                prop_assert_eq!(predecessor(&next), Some(key));
            }
        }

        #[test]
        fn an_event_is_between_the_ends_of_its_time(s: i64, us in 0..1_000_000_u32, server: i64) {
            let time = Timestamp::new(s, us);
            let key = super::super::memtable::key_of(time, EventId::new(server, 0, -1));
            prop_assert!(lowest_at(time) <= key && key <= highest_at(time));
            prop_assert_eq!(time_of(&key), time);
            prop_assert_eq!(id_of(&key), EventId::new(server, 0, -1));
        }
    }
}
