//! What a damaged file still proves: the latest event of a type, and the last one of a server, from the indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, EventId, Order, Timestamp};
use crate::store::StoreError;

use super::chunks::Entry;
use super::keys::{self, NO_SLOT};
use super::reader::Reader;

/// The servers that have an index.
pub(super) fn servers(reader: &Reader) -> Result<Vec<i64>, StoreError> {
    let prefixes = reader.chunks.prefixes(b's', keys::SERVER_PREFIX)?;
    let server = |prefix: &Vec<u8>| prefix[1..].try_into().map(i64::from_be_bytes).ok();
    Ok(prefixes.iter().filter_map(server).collect())
}

/// The latest event of a type whose own entry is damaged; `None` where no event is proven to be it.
///
/// It is in the index of some series, unless limits have taken it out of all: the index of its server says so then. Of one server
/// the latest is that with the highest id, of several the one with the highest time, of these the one that was registered last.
pub(super) fn latest(
    reader: &Reader,
    series: &[u32],
    type_number: u32,
) -> Result<Option<Arc<Event>>, StoreError> {
    or_none(prove_latest(reader, series, type_number))
}

fn prove_latest(
    reader: &Reader,
    series: &[u32],
    type_number: u32,
) -> Result<Option<Arc<Event>>, StoreError> {
    let mut is_elsewhere = false;
    for server in servers(reader)? {
        let is_whole = whole(reader, &keys::server_prefix(server), |entry| {
            is_elsewhere |= entry.type_number == type_number && entry.slot == NO_SLOT;
        })?;
        if is_elsewhere || !is_whole {
            return Ok(None);
        }
    }
    let mut last: BTreeMap<i64, (EventId, u64)> = BTreeMap::new();
    for one in series {
        let prefix = keys::type_prefix(*one, type_number);
        let is_whole = whole(reader, &prefix, |entry| {
            let id = keys::id_of(&entry.key);
            let found = last.entry(id.server).or_insert((id, entry.slot));
            *found = (*found).max((id, entry.slot));
        })?;
        if !is_whole {
            return Ok(None);
        }
    }
    let mut latest: Option<(Timestamp, u64, Arc<Event>)> = None;
    for (id, slot) in last.into_values() {
        let event = reader.event(slot)?;
        if event.id != id || Some(&event.event_type) != reader.types().get(type_number).as_ref() {
            return Ok(None);
        }
        if (latest.as_ref()).is_none_or(|(time, at, _)| (*time, *at) < (event.timestamp, slot)) {
            latest = Some((event.timestamp, slot, event));
        }
    }
    Ok(latest.map(|(_, _, event)| event))
}

/// Shows every entry of an index; false where it has not as many as were counted.
fn whole(reader: &Reader, prefix: &[u8], mut show: impl FnMut(&Entry)) -> Result<bool, StoreError> {
    let mut count = 0;
    for entry in reader.chunks.all(prefix, Order::Ascending)? {
        show(&entry?);
        count += 1;
    }
    Ok(reader.chunks.count(prefix)? == count)
}

/// The last event that the index of a server has; `None` where it has none, or it cannot be read.
pub(super) fn last(
    reader: &Reader,
    server: i64,
) -> Result<Option<(EventId, Timestamp)>, StoreError> {
    let prefix = keys::server_prefix(server);
    let last = or_none(
        (reader.chunks)
            .all(&prefix, Order::Descending)?
            .next()
            .transpose(),
    )?;
    let event = |entry: Entry| or_none(reader.server_event(&entry).map(Some));
    let event = last.map(event).transpose()?.flatten();
    Ok(event.map(|event| (event.id, event.timestamp)))
}

fn or_none<T>(found: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(error) if error.is_damage() => Ok(None),
        found => found,
    }
}
