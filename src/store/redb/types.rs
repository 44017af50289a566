//! The numbers of event types: in the file, and to read events with.

use std::ops::Bound;

use crc32c::{crc32c, crc32c_append};
use parking_lot::RwLock;

use super::database::{Snapshot, Table, WriteTx};
use crate::event::EventType;
use crate::store::StoreError;

/// The event types by their numbers, from 0; types are added and never change.
#[derive(Debug, Default)]
pub(super) struct TypeNames {
    /// `None` where a damaged file does not say.
    types: RwLock<Vec<Option<EventType>>>,
}

impl TypeNames {
    /// Types in the order of their numbers.
    #[cfg(test)]
    pub(super) fn new(types: Vec<EventType>) -> Self {
        Self {
            types: RwLock::new(types.into_iter().map(Some).collect()),
        }
    }

    /// Adds the type of the next number.
    pub(super) fn push(&self, event_type: EventType) {
        self.types.write().push(Some(event_type));
    }

    /// The type of a number.
    pub(super) fn get(&self, number: u32) -> Option<EventType> {
        self.types.read().get(number as usize).cloned().flatten()
    }

    /// One more than the highest number.
    pub(super) fn count(&self) -> u32 {
        self.types.read().len() as u32
    }
}

/// Writes new event types, of which the first has the number `first`. To write one again does no harm.
///
/// # Errors
/// Those of the transaction.
pub(super) fn write(
    tx: &WriteTx<'_>,
    (first, types): &(u32, Vec<EventType>),
) -> Result<(), StoreError> {
    for (number, event_type) in (*first..).zip(types) {
        let key = number.to_be_bytes();
        tx.put(Table::Types, &key, &encode(number, event_type))?;
    }
    Ok(())
}

/// All event types of the file in the order of their numbers.
///
/// # Errors
/// [`StoreError::Damaged`] where one is missing or is not what was written, for events of that type could not be told.
pub(super) fn read(snapshot: &Snapshot) -> Result<Vec<EventType>, StoreError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let mut types = Vec::new();
    for pair in snapshot.range(Table::Types, all)? {
        let (key, value) = pair?;
        let number = types.len() as u32;
        if *key != number.to_be_bytes() {
            return Err(damaged(number, "it is missing"));
        }
        let event_type = decode(number, &value);
        types.push(event_type.ok_or_else(|| damaged(number, "its checksum is wrong"))?);
    }
    Ok(types)
}

/// The event types of a file that may be damaged: those that are as they were written; the others are told.
///
/// # Errors
/// Those of the snapshot other than damage.
pub(super) fn survey(
    snapshot: &Snapshot,
    tell: &mut dyn FnMut(StoreError),
) -> Result<TypeNames, StoreError> {
    let mut types: Vec<Option<EventType>> = Vec::new();
    let mut told = Vec::new();
    for pair in snapshot.range(Table::Types, (Bound::Unbounded, Bound::Unbounded))? {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(error) if error.is_damage() => {
                tell(error);
                break;
            }
            Err(error) => return Err(error),
        };
        let number = (*key).try_into().map(u32::from_be_bytes);
        let Ok(number) = number else {
            tell(damaged(types.len() as u32, "its key has another length"));
            continue;
        };
        // The checksum is over the number too: one that is right is none that damage made up.
        let Some(event_type) = decode(number, &value) else {
            tell(damaged(number, "its checksum is wrong"));
            told.push(number);
            continue;
        };
        let at = number as usize;
        if types.len() <= at {
            types.resize(at + 1, None);
        }
        types[at] = Some(event_type);
    }
    for (number, event_type) in (0..).zip(&types) {
        if event_type.is_none() && !told.contains(&number) {
            tell(damaged(number, "it is missing"));
        }
    }
    Ok(TypeNames {
        types: RwLock::new(types),
    })
}

/// Checksum over the number and the rest, then each segment with its length in front.
fn encode(number: u32, event_type: &EventType) -> Vec<u8> {
    let mut out = vec![0; 4];
    for segment in event_type.segments() {
        // A segment of 4 GiB does not fit the record of an event, let alone a message.
        out.extend((segment.len() as u32).to_le_bytes());
        out.extend_from_slice(segment.as_bytes());
    }
    let crc = checksum(number, &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(number: u32, value: &[u8]) -> Option<EventType> {
    let (crc, mut rest) = value.split_first_chunk()?;
    if checksum(number, rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let (len, text) = rest.split_first_chunk()?;
        let (segment, behind) = text.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        segments.push(str::from_utf8(segment).ok()?);
        rest = behind;
    }
    Some(EventType::new(segments))
}

fn checksum(number: u32, segments: &[u8]) -> u32 {
    crc32c_append(crc32c(&number.to_be_bytes()), segments)
}

fn damaged(number: u32, reason: &str) -> StoreError {
    StoreError::Damaged {
        what: format!("event type {number}"),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::redb::database::{Commit, Database, DatabaseOptions, MemoryStorage};

    #[test]
    fn a_type_has_these_bytes() {
        let bytes = [0x26, 0xfe, 0x4e, 0x61, 2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0];
        let event_type = EventType::from("ab/");
        assert_eq!(encode(3, &event_type), bytes);
        assert_eq!(decode(3, &bytes), Some(event_type));
        assert_eq!(decode(2, &bytes), None);
    }

    #[test]
    fn a_missing_type_is_damage() {
        let storage = Arc::new(MemoryStorage::default());
        let database = Database::open(storage, DatabaseOptions::default()).unwrap();
        let types: Vec<_> = ["a", "b/c", ""].map(EventType::from).to_vec();
        let put = |new: &(u32, Vec<EventType>)| database.write(Commit::Fast, |tx| write(tx, new));
        put(&(0, types[..1].to_vec())).unwrap();
        put(&(0, types.clone())).unwrap();
        assert_eq!(read(&database.snapshot().unwrap()).unwrap(), types);
        let cut = |tx: &WriteTx<'_>| tx.delete(Table::Types, &1_u32.to_be_bytes());
        assert!(database.write(Commit::Fast, cut).unwrap());
        assert!(read(&database.snapshot().unwrap()).unwrap_err().is_damage());
    }

    #[test]
    fn a_survey_tells_each_damaged_type_and_has_the_others() {
        let storage = Arc::new(MemoryStorage::default());
        let database = Database::open(storage, DatabaseOptions::default()).unwrap();
        let types: Vec<_> = ["a", "b", "c", "d"].map(EventType::from).to_vec();
        database
            .write(Commit::Fast, |tx| {
                write(tx, &(0, types.clone()))?;
                tx.put(Table::Types, &1_u32.to_be_bytes(), b"....spoilt")?;
                tx.delete(Table::Types, &2_u32.to_be_bytes())
            })
            .unwrap();
        let mut told = Vec::new();
        let snapshot = database.snapshot().unwrap();
        let names = survey(&snapshot, &mut |error| told.push(error.to_string())).unwrap();
        let found: Vec<_> = (0..names.count()).map(|number| names.get(number)).collect();
        let expected = [Some(types[0].clone()), None, None, Some(types[3].clone())];
        assert_eq!(found, expected);
        assert_eq!(
            told,
            [
                "event type 1 is damaged: its checksum is wrong",
                "event type 2 is damaged: it is missing"
            ]
        );
    }

    proptest! {
        #[test]
        fn every_type_comes_back_and_no_changed_one(
            segments in vec(any::<String>(), 0..6), number in any::<u32>(), bit in any::<usize>(),
        ) {
            let event_type = EventType::new(&segments);
            let mut bytes = encode(number, &event_type);
            prop_assert_eq!(decode(number, &bytes), Some(event_type));
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(number, &bytes), None);
        }

        #[test]
        fn no_bytes_make_a_type_panic(bytes in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(0, &bytes), None);
        }
    }
}
