//! The table of the latest events: an own copy of each, by the number of its type.
//!
//! A value has a checksum over the number and the rest, a byte that says whether the event is nowhere else, and its record.

use std::ops::Bound;
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};

use crate::event::{Event, EventId};
use crate::store::StoreError;

use super::database::{Snapshot, Table, WriteTx};
use super::record::{self, Record};
use super::types::TypeNames;

/// What the table has of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: EventId,
    /// Whether no partition has the event.
    pub(super) is_only_there: bool,
}

/// What the table has of a type, as this transaction sees it; what is damaged there counts as nothing.
pub(super) fn stored(tx: &WriteTx<'_>, type_number: u32) -> Result<Option<Stored>, StoreError> {
    let Some(value) = tx.get(Table::Latest, &type_number.to_be_bytes())? else {
        return Ok(None);
    };
    // One damaged event must not keep all others from being written.
    let stored = decode(type_number, &value).inspect_err(|error| log::error!("{error}"));
    Ok(stored.ok().map(|(is_only_there, record)| Stored {
        id: record.id,
        is_only_there,
    }))
}

/// Whether the table has anything of a type, damaged or not.
pub(super) fn is_there(tx: &WriteTx<'_>, type_number: u32) -> Result<bool, StoreError> {
    let value = tx.get(Table::Latest, &type_number.to_be_bytes())?;
    Ok(value.is_some())
}

/// Sets the latest event of a type.
pub(super) fn write(
    tx: &WriteTx<'_>,
    type_number: u32,
    event: &Event,
    is_only_there: bool,
) -> Result<(), StoreError> {
    let mut value = vec![0; HEAD_BYTES];
    record::encode(event, type_number, &mut value)?;
    put(tx, type_number, is_only_there, value)
}

/// Says of the latest event of a type that no partition has it any more.
pub(super) fn mark_only_there(tx: &WriteTx<'_>, type_number: u32) -> Result<(), StoreError> {
    match tx.get(Table::Latest, &type_number.to_be_bytes())? {
        // A new checksum would make damage look right.
        Some(value) if decode(type_number, &value).is_ok() => put(tx, type_number, true, value),
        _ => Ok(()),
    }
}

/// The latest event of a type.
pub(super) fn read(
    snapshot: &Snapshot,
    type_number: u32,
    types: &TypeNames,
) -> Result<Option<Arc<Event>>, StoreError> {
    let value = snapshot.get(Table::Latest, &type_number.to_be_bytes())?;
    value
        .map(|value| event(type_number, &value, types))
        .transpose()
}

/// A latest event that cannot be read.
#[derive(Debug)]
pub(super) struct Spoilt {
    /// Of this type, if it is the value that is damaged and not the key; `None` where the table itself is.
    pub(super) type_number: Option<u32>,
    pub(super) error: StoreError,
}

/// Every latest event with the number of its type; a damaged one gives an error, and the walk goes on behind it.
pub(super) fn all<'a>(
    snapshot: &Snapshot,
    types: &'a TypeNames,
) -> Result<impl Iterator<Item = Result<(u32, Arc<Event>), Spoilt>> + use<'a>, StoreError> {
    let pairs = snapshot.range(Table::Latest, (Bound::Unbounded, Bound::Unbounded))?;
    let mut last = None;
    Ok(pairs.map(move |pair| {
        let of_table = |error| Spoilt {
            type_number: None,
            error,
        };
        let (key, value) = pair.map_err(of_table)?;
        let type_number = (*key).try_into().map(u32::from_be_bytes);
        let Ok(type_number) = type_number else {
            let error = damaged(&key.escape_ascii(), "its key has another length");
            return Err(of_table(error));
        };
        if last.replace(type_number) >= Some(type_number) {
            return Err(of_table(damaged(&type_number, "its key is out of order")));
        }
        let event = event(type_number, &value, types).map_err(|error| Spoilt {
            type_number: Some(type_number),
            error,
        })?;
        Ok((type_number, event))
    }))
}

fn put(
    tx: &WriteTx<'_>,
    type_number: u32,
    is_only_there: bool,
    mut value: Vec<u8>,
) -> Result<(), StoreError> {
    value[4] = is_only_there.into();
    let crc = checksum(type_number, &value[4..]);
    value[..4].copy_from_slice(&crc.to_le_bytes());
    tx.put(Table::Latest, &type_number.to_be_bytes(), &value)
}

fn event(type_number: u32, value: &[u8], types: &TypeNames) -> Result<Arc<Event>, StoreError> {
    let (_, record) = decode(type_number, value)?;
    let event_type = types
        .get(type_number)
        .ok_or_else(|| damaged(&type_number, "there is no such type"))?;
    Ok(Arc::new(record.to_event(event_type)))
}

fn decode(type_number: u32, value: &[u8]) -> Result<(bool, Record<'_>), StoreError> {
    let Some((crc, rest)) = value.split_first_chunk() else {
        return Err(damaged(&type_number, "it is too short"));
    };
    let (Some((flag, bytes)), true) = (
        rest.split_first(),
        checksum(type_number, rest) == u32::from_le_bytes(*crc),
    ) else {
        return Err(damaged(&type_number, "its checksum is wrong"));
    };
    match Record::decode(bytes) {
        Ok((record, [])) if record.type_number == type_number => Ok((*flag != 0, record)),
        Ok(_) => Err(damaged(&type_number, "it belongs to another type")),
        Err(error) => Err(damaged(&type_number, &error)),
    }
}

fn checksum(type_number: u32, rest: &[u8]) -> u32 {
    crc32c_append(crc32c(&type_number.to_be_bytes()), rest)
}

fn damaged(
    type_number: &dyn std::fmt::Display,
    reason: &(impl std::fmt::Display + ?Sized),
) -> StoreError {
    StoreError::Damaged {
        what: format!("the latest event of type {type_number}"),
        reason: reason.to_string(),
    }
}

/// Checksum and flag.
const HEAD_BYTES: usize = 5;
