//! What a store holds, in numbers.

use serde::{Deserialize, Serialize};

use crate::event::{EventId, Order, OrderBy, Subscription, Timestamp};
use crate::store::StoreError;

use super::core::Core;
use super::keys;

/// What a [`RedbBackend`](super::RedbBackend) holds, in numbers.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStats {
    /// Events on disk that some series or the latest store has.
    pub events: u64,
    /// Events that were registered and are not in the indexes on disk.
    pub unflushed: u64,
    /// About how many bytes of memory these take.
    pub unflushed_bytes: usize,
    /// Event types that the store has ever seen.
    pub types: u64,
    /// Event types that have a latest event.
    pub latest: u64,
    /// The configured series, in their order.
    pub partitions: Vec<PartitionStats>,
    /// The servers that ever had an event, by their number.
    pub servers: Vec<ServerStats>,
    /// Size of the file, with its free pages.
    pub file_bytes: u64,
    /// The lowest timestamp of the series that are sorted by it, of what is on disk.
    pub oldest: Option<Timestamp>,
    /// The highest one.
    pub newest: Option<Timestamp>,
}

/// What one series holds.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStats {
    /// The timestamp that sorts it.
    pub order_by: OrderBy,
    /// The event types that it takes.
    pub subscriptions: Subscription,
    /// Events on disk.
    pub events: u64,
    /// The lowest sorting timestamp on disk.
    pub oldest: Option<Timestamp>,
    /// The highest sorting timestamp on disk.
    pub newest: Option<Timestamp>,
}

/// What the store has of one server.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStats {
    /// Its number.
    pub server: i64,
    /// Events on disk.
    pub events: u64,
    /// The last one that was stored, flushed or not.
    pub last_event_id: EventId,
    /// When that was registered.
    pub last_timestamp: Timestamp,
}

pub(super) fn stats(core: &Core) -> Result<StoreStats, StoreError> {
    let (snapshot, mut stats, last) = {
        let state = core.open_state()?;
        let frozen = state
            .frozen
            .as_deref()
            .map_or(0, |frozen| frozen.rows().len());
        let stats = StoreStats {
            events: 0,
            unflushed: (state.active.rows().len() + frozen) as u64,
            unflushed_bytes: state.unflushed_bytes(),
            types: state.catalog.len() as u64,
            latest: state.ledger.all_latest().count() as u64,
            partitions: Vec::new(),
            servers: Vec::new(),
            file_bytes: 0,
            oldest: None,
            newest: None,
        };
        let last: Vec<_> = state.ledger.servers().collect();
        (state.snapshot.clone(), stats, last)
    };
    let reader = core.reader(snapshot)?;
    for (partition, configured) in core.partitions.iter().zip(core.config.partitions()) {
        let prefix = keys::partition_prefix(partition.id);
        let end = |order| {
            let entry = reader.chunks.all(&prefix, order)?.next().transpose()?;
            Ok::<_, StoreError>(entry.map(|entry| keys::time_of(&entry.key)))
        };
        let of_partition = PartitionStats {
            order_by: partition.order_by,
            subscriptions: configured.subscriptions,
            events: reader.chunks.count(&prefix)?,
            oldest: end(Order::Ascending)?,
            newest: end(Order::Descending)?,
        };
        if partition.order_by == OrderBy::Timestamp {
            let ends = [stats.oldest, of_partition.oldest];
            stats.oldest = ends.into_iter().flatten().min();
            stats.newest = stats.newest.max(of_partition.newest);
        }
        stats.partitions.push(of_partition);
    }
    for (last_event_id, last_timestamp) in last {
        let server = last_event_id.server;
        let events = reader.chunks.count(&keys::server_prefix(server))?;
        stats.events += events;
        stats.servers.push(ServerStats {
            server,
            events,
            last_event_id,
            last_timestamp,
        });
    }
    stats.servers.sort_by_key(|server| server.server);
    stats.file_bytes = core.database.file_bytes()?;
    Ok(stats)
}
