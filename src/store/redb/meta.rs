//! What the store knows about itself: the table `meta`, each value with a checksum of its key and itself.

use std::ops::Bound;

use crate::event::{EventId, OrderBy, Timestamp};
use crate::store::{PartitionConfig, StoreError};

use super::database::{Snapshot, Table, WriteTx};

/// One fact about the store, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// Version of the file, as text.
    Version,
    /// What the store belongs to, as text.
    Identifier,
    /// The slot from which on blocks are not in the indexes; 8 bytes.
    Indexed,
    /// Last id and timestamp of a server; 36 bytes.
    Last(i64),
    /// Sessions of a server that may have been handed out; 8 bytes.
    Sessions(i64),
    /// What a partition is, as JSON.
    Partition(u32),
}

impl Fact {
    fn key(self) -> Vec<u8> {
        match self {
            Self::Version => b"version".to_vec(),
            Self::Identifier => b"identifier".to_vec(),
            Self::Indexed => b"indexed".to_vec(),
            Self::Last(server) => [LAST, &server.to_be_bytes()].concat(),
            Self::Sessions(server) => [SESSIONS, &server.to_be_bytes()].concat(),
            Self::Partition(id) => [PARTITION, &id.to_be_bytes()].concat(),
        }
    }

    /// Whether a damaged value says that it belongs to another key, so that it may be the key that is damaged.
    fn contradicts(self, value: &[u8]) -> bool {
        match self {
            Self::Last(server) => {
                let last = value.get(4..).map(last_from_bytes);
                !matches!(last, Some(Ok((id, _))) if id.server == server)
            }
            _ => false,
        }
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let server = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
        if let Some(rest) = key.strip_prefix(LAST) {
            return server(rest).map(Self::Last);
        }
        if let Some(rest) = key.strip_prefix(SESSIONS) {
            return server(rest).map(Self::Sessions);
        }
        if let Some(rest) = key.strip_prefix(PARTITION) {
            return rest
                .try_into()
                .map(u32::from_be_bytes)
                .map(Self::Partition)
                .ok();
        }
        [Self::Version, Self::Identifier, Self::Indexed]
            .into_iter()
            .find(|fact| fact.key() == key)
    }
}

/// Writes a fact.
pub(super) fn put(tx: &WriteTx<'_>, fact: Fact, value: &[u8]) -> Result<(), StoreError> {
    let key = fact.key();
    let mut bytes = Vec::with_capacity(4 + value.len());
    bytes.extend_from_slice(&checksum(&key, value).to_le_bytes());
    bytes.extend_from_slice(value);
    tx.put(Table::Meta, &key, &bytes)
}

/// A value that is text.
pub(super) fn text(fact: Fact, value: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(value).map_err(|_| damaged(&fact.key(), "it is no text"))
}

/// A value that is a number.
pub(super) fn number(fact: Fact, value: &[u8]) -> Result<u64, StoreError> {
    let number = value.try_into().map(u64::from_be_bytes);
    number.map_err(|_| damaged(&fact.key(), "it is no number of 8 bytes"))
}

/// An entry that is not what was written.
#[derive(Debug)]
pub(super) struct Spoilt {
    /// What its key says; `None` where it says nothing, or the table itself is damaged.
    pub(super) fact: Option<Fact>,
    pub(super) error: StoreError,
}

/// Every fact, one after the other; a damaged one gives an error, and the walk goes on behind it.
pub(super) fn all(
    snapshot: &Snapshot,
) -> Result<impl Iterator<Item = Result<(Fact, Vec<u8>), Spoilt>> + use<>, StoreError> {
    let pairs = snapshot.range(Table::Meta, (Bound::Unbounded, Bound::Unbounded))?;
    let mut last = Vec::new();
    Ok(pairs.map(move |pair| {
        let of_table = |error| Spoilt { fact: None, error };
        let (key, value) = pair.map_err(of_table)?;
        if *last >= *key {
            return Err(of_table(damaged(&key, "its key is out of order")));
        }
        last = key.to_vec();
        let fact = Fact::parse(&key);
        let fact = fact.ok_or_else(|| of_table(damaged(&key, "its key is none of ours")))?;
        let value = checked(&key, &value).map_err(|error| Spoilt {
            fact: Some(fact).filter(|fact| !fact.contradicts(&value)),
            error,
        })?;
        Ok((fact, value.to_vec()))
    }))
}

/// The bytes of a last event.
pub(super) fn last_to_bytes(id: EventId, timestamp: Timestamp) -> [u8; 36] {
    super::memtable::key_of(timestamp, id)
}

/// The last event that bytes tell of.
pub(super) fn last_from_bytes(bytes: &[u8]) -> Result<(EventId, Timestamp), StoreError> {
    let parts = bytes.split_first_chunk::<12>().and_then(|(time, id)| {
        let id: &[u8; 24] = id.try_into().ok()?;
        Some((EventId::from_bytes(id), Timestamp::from_bytes(time)))
    });
    parts.ok_or_else(|| damaged(LAST, "it has not 36 bytes"))
}

/// What a partition is, whatever its limit: the same text means the same partition.
pub(super) fn identity(partition: &PartitionConfig) -> String {
    let types: Vec<Vec<String>> = partition
        .subscriptions
        .query_types()
        .iter()
        .map(|query_type| query_type.segments().map(str::to_owned).collect())
        .collect();
    let order_by = match partition.order_by {
        OrderBy::Timestamp => "TIMESTAMP",
        OrderBy::SourceTimestamp => "SOURCE_TIMESTAMP",
    };
    serde_json::json!({ "order_by": order_by, "subscriptions": types }).to_string()
}

/// What sorts the partition that was written as [`identity`].
pub(super) fn order_of(fact: Fact, value: Vec<u8>) -> Result<OrderBy, StoreError> {
    let identity: Option<serde_json::Value> = serde_json::from_slice(&value).ok();
    match identity
        .as_ref()
        .and_then(|identity| identity["order_by"].as_str())
    {
        Some("TIMESTAMP") => Ok(OrderBy::Timestamp),
        Some("SOURCE_TIMESTAMP") => Ok(OrderBy::SourceTimestamp),
        _ => Err(damaged(&fact.key(), "it is no partition")),
    }
}

fn checked<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    match value.split_first_chunk() {
        Some((crc, value)) if u32::from_le_bytes(*crc) == checksum(key, value) => Ok(value),
        _ => Err(damaged(key, "its checksum is wrong")),
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn damaged(key: &[u8], reason: &str) -> StoreError {
    StoreError::Damaged {
        what: format!("the entry {} of the table meta", key.escape_ascii()),
        reason: reason.to_owned(),
    }
}

const LAST: &[u8] = b"last/";
const SESSIONS: &[u8] = b"sessions/";
const PARTITION: &[u8] = b"partition/";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{EventType, Subscription};
    use crate::store::redb::database::{Commit, Database, DatabaseOptions, MemoryStorage};

    #[test]
    fn facts_come_back_and_a_changed_one_is_damage() {
        let database = Database::open(
            Arc::new(MemoryStorage::default()),
            DatabaseOptions::default(),
        );
        let database = database.unwrap();
        let facts = [
            Fact::Version,
            Fact::Identifier,
            Fact::Indexed,
            Fact::Last(-1),
            Fact::Sessions(7),
            Fact::Partition(2),
        ];
        let put_all = |tx: &WriteTx<'_>| {
            facts
                .iter()
                .try_for_each(|fact| put(tx, *fact, b"12345678"))
        };
        database.write(Commit::Fast, put_all).unwrap();
        let read = || -> Vec<_> { all(&database.snapshot().unwrap()).unwrap().collect() };
        let mut found: Vec<_> = read().into_iter().map(|fact| fact.unwrap()).collect();
        assert!(found.iter().all(|(_, value)| value == b"12345678"));
        assert!(
            facts
                .iter()
                .all(|fact| found.iter().any(|(found, _)| found == fact))
        );
        found.clear();
        let spoil =
            |tx: &WriteTx<'_>| tx.put(Table::Meta, &Fact::Sessions(7).key(), b"....12345679");
        database.write(Commit::Fast, spoil).unwrap();
        let errors: Vec<_> = read().into_iter().filter_map(Result::err).collect();
        assert!(errors.len() == 1 && errors[0].error.is_damage());
        assert_eq!(errors[0].fact, Some(Fact::Sessions(7)));
    }

    #[test]
    fn the_identity_of_a_partition_is_its_order_and_its_sanitised_types() {
        let series = |types: &[&str]| {
            let types = types.iter().map(|one| EventType::from(*one));
            PartitionConfig::new(OrderBy::SourceTimestamp, Subscription::new(types).unwrap())
        };
        let one = identity(&series(&["b", "a/*"]));
        assert_eq!(
            one,
            r#"{"order_by":"SOURCE_TIMESTAMP","subscriptions":[["a","*"],["b"]]}"#
        );
        assert_eq!(one, identity(&series(&["a/*", "a/x", "b"])));
        assert_eq!(
            order_of(Fact::Partition(1), one.into_bytes()).unwrap(),
            OrderBy::SourceTimestamp
        );
        assert!(
            order_of(Fact::Partition(1), b"{}".to_vec())
                .unwrap_err()
                .is_damage()
        );
    }

    #[test]
    fn a_last_event_comes_back_from_its_bytes() {
        let (id, timestamp) = (EventId::new(1, -2, 3), Timestamp::new(-4, 5));
        let bytes = last_to_bytes(id, timestamp);
        assert_eq!(last_from_bytes(&bytes).unwrap(), (id, timestamp));
        assert!(last_from_bytes(&bytes[1..]).unwrap_err().is_damage());
    }
}
