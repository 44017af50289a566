//! Registered events that the indexes on disk do not have yet.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashMap as FastMap;
use parking_lot::Mutex;

use crate::event::{Event, EventId, OrderBy, Payload, Timestamp};

/// Sort key of an event in a partition: 12 bytes of time, 24 bytes of id, in the order of both.
pub(super) type Key = [u8; KEY_BYTES];

/// The events between two flushes, in registration order, and their order in every partition as far as a query asked for it.
///
/// The active one changes under the lock of the backend; a frozen one is shared as an `Arc` while a flush writes it.
#[derive(Debug)]
pub(super) struct Memtable {
    rows: Vec<Row>,
    servers: FastMap<i64, Vec<u32>>,
    orders: Vec<OrderBy>,
    series: Vec<Mutex<Runs>>,
    bytes: usize,
    /// The slot of the first row, where rows are written one by one before the flush; rows before `durable` are written.
    first_slot: u64,
    durable: usize,
}

/// One registered event.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) event: Arc<Event>,
    pub(super) type_number: u32,
    /// The configured partitions that hold it, by their index.
    pub(super) partitions: Arc<[usize]>,
    /// Whether it became the latest of its type when it was registered.
    pub(super) latest: bool,
}

/// One event in the order of a partition.
#[derive(Clone, Debug)]
pub(super) struct SeriesRow {
    pub(super) key: Key,
    pub(super) type_number: u32,
    /// Its place in registration order.
    pub(super) row: u32,
    pub(super) event: Arc<Event>,
}

/// Rows in ascending order of their keys.
pub(super) type Run = Vec<SeriesRow>;

/// The rows of one partition as sorted runs, each long or at least twice as long as the next: few to merge, and no row moves often.
#[derive(Debug, Default)]
struct Runs {
    sealed: usize,
    runs: Vec<Arc<Run>>,
}

impl Memtable {
    /// An empty one; `orders` has one member for each configured partition.
    pub(super) fn new(orders: &[OrderBy], first_slot: u64) -> Self {
        Self {
            rows: Vec::new(),
            servers: FastMap::new(),
            orders: orders.to_vec(),
            series: orders.iter().map(|_| Mutex::default()).collect(),
            bytes: 0,
            first_slot,
            durable: 0,
        }
    }

    pub(super) fn push(&mut self, row: Row) {
        let index = self.rows.len() as u32;
        self.bytes += weight(&row.event);
        self.servers
            .entry(row.event.id.server)
            .or_default()
            .push(index);
        self.rows.push(row);
        // So that a query never has many to sort, which it does under the lock.
        if self.rows.len().is_multiple_of(SEALED_ROWS) {
            for partition in 0..self.series.len() {
                let mut runs = self.series[partition].lock();
                self.seal(partition, &mut runs);
            }
        }
    }

    pub(super) fn push_all(&mut self, rows: Vec<Row>) {
        self.rows.reserve(rows.len());
        for row in rows {
            self.push(row);
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About how much memory the rows hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_slot(&self) -> u64 {
        self.first_slot
    }

    /// How many rows, from the first, are on disk without being indexed.
    pub(super) fn durable(&self) -> usize {
        self.durable
    }

    pub(super) fn set_durable(&mut self, rows: usize) {
        self.durable = rows;
    }

    /// The rows of a partition as sorted runs; sorts what was registered since the last call.
    pub(super) fn runs(&self, partition: usize) -> Vec<Arc<Run>> {
        let mut runs = self.series[partition].lock();
        self.seal(partition, &mut runs);
        runs.runs.clone()
    }

    /// All rows of a partition in ascending order.
    pub(super) fn sorted(&self, partition: usize) -> Arc<Run> {
        let mut runs = self.series[partition].lock();
        self.seal(partition, &mut runs);
        if runs.runs.len() > 1 {
            let all = join(std::mem::take(&mut runs.runs));
            runs.runs.push(Arc::new(all));
        }
        runs.runs.first().cloned().unwrap_or_default()
    }

    /// The servers that have rows.
    pub(super) fn servers(&self) -> impl Iterator<Item = i64> {
        self.servers.keys().copied()
    }

    /// The rows of a server in order of their ids, those after `after` only; with their row numbers.
    pub(super) fn server_rows(
        &self,
        server: i64,
        after: Option<EventId>,
    ) -> impl DoubleEndedIterator<Item = (usize, &Row)> {
        let indexes = self.servers.get(&server).map_or(&[][..], Vec::as_slice);
        let start = after.map_or(0, |after| {
            indexes.partition_point(|index| self.rows[*index as usize].event.id <= after)
        });
        indexes[start..]
            .iter()
            .map(|index| (*index as usize, &self.rows[*index as usize]))
    }

    /// The row of an event.
    pub(super) fn find(&self, id: EventId) -> Option<&Row> {
        let indexes = self.servers.get(&id.server)?;
        let found = indexes
            .binary_search_by(|index| self.rows[*index as usize].event.id.cmp(&id))
            .ok()?;
        Some(&self.rows[indexes[found] as usize])
    }

    /// The last row of each type that became the latest of its type.
    pub(super) fn latest(&self) -> HashMap<u32, usize> {
        let latest = self.rows.iter().enumerate().filter(|(_, row)| row.latest);
        latest
            .map(|(index, row)| (row.type_number, index))
            .collect()
    }

    fn seal(&self, partition: usize, runs: &mut Runs) {
        if runs.sealed == self.rows.len() {
            return;
        }
        let order_by = self.orders[partition];
        let rows = (runs.sealed as u32..)
            .zip(&self.rows[runs.sealed..])
            .filter_map(|(index, row)| {
                row.partitions.contains(&partition).then_some(())?;
                Some(SeriesRow {
                    key: series_key(&row.event, order_by)?,
                    type_number: row.type_number,
                    row: index,
                    event: Arc::clone(&row.event),
                })
            });
        let mut run: Run = rows.collect();
        runs.sealed = self.rows.len();
        if run.is_empty() {
            return;
        }
        // Nearly sorted as a rule, which the stable sort makes use of.
        run.sort_by_key(|row| row.key);
        runs.runs.push(Arc::new(run));
        while let [.., before, last] = &runs.runs[..]
            && before.len() < 2 * last.len()
            && before.len() + last.len() <= MAX_RUN
        {
            let two = runs.runs.split_off(runs.runs.len() - 2);
            runs.runs.push(Arc::new(join(two)));
        }
    }
}

/// The key of an event in a partition; `None` where the partition orders by the source timestamp and the event has none.
pub(super) fn series_key(event: &Event, order_by: OrderBy) -> Option<Key> {
    let time = match order_by {
        OrderBy::Timestamp => event.timestamp,
        OrderBy::SourceTimestamp => event.source_timestamp?,
    };
    Some(key_of(time, event.id))
}

/// The key of a time and an id.
pub(super) fn key_of(time: Timestamp, id: EventId) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..TIME_BYTES].copy_from_slice(&time.to_bytes());
    key[TIME_BYTES..].copy_from_slice(&id.to_bytes());
    key
}

/// About how much memory an event holds, with its place in the memory part.
pub(super) fn weight(event: &Event) -> usize {
    let payload = match &event.payload {
        None => 0,
        Some(Payload::Json(json)) => json.as_str().len(),
        Some(Payload::Binary(binary)) => binary.kind().len() + binary.data().len(),
    };
    payload + ROW_BYTES
}

/// Several runs as one; of equal keys the earlier run's comes first.
fn join(runs: Vec<Arc<Run>>) -> Run {
    let mut joined = Run::with_capacity(runs.iter().map(|run| run.len()).sum());
    let mut in_order = true;
    for run in runs {
        let ends = joined.last().zip(run.first());
        in_order &= ends.is_none_or(|(before, next)| before.key <= next.key);
        match Arc::try_unwrap(run) {
            Ok(mut run) => joined.append(&mut run),
            Err(run) => joined.extend_from_slice(&run),
        }
    }
    if !in_order {
        // Finds the runs, and merges them.
        joined.sort_by_key(|row| row.key);
    }
    joined
}

/// Rows of the longest run that is made before a flush asks for all: longer ones cost who registers more than who queries.
const MAX_RUN: usize = 32_768;
/// Rows that are sorted together while they are registered.
const SEALED_ROWS: usize = 4096;
const TIME_BYTES: usize = 12;
const KEY_BYTES: usize = 36;
/// The event, its row, and its rows in two partitions.
const ROW_BYTES: usize = 400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::EventType;

    #[test]
    fn a_partition_has_what_it_took_and_no_event_without_its_time() {
        let mut memtable = Memtable::new(&ORDERS, 0);
        memtable.push(row(1, 5, Some(9), &[0, 1]));
        memtable.push(row(2, 6, None, &[0]));
        memtable.push(row(3, 7, Some(1), &[1]));
        assert_eq!(ids(&memtable.sorted(0)), [1, 2]);
        assert_eq!(ids(&memtable.sorted(1)), [3, 1]);
    }

    #[test]
    fn the_rows_of_a_server_follow_an_id() {
        let mut memtable = Memtable::new(&ORDERS, 0);
        for instance in [2, 4, 6] {
            memtable.push(row(instance, 0, None, &[0]));
        }
        let after = |instance| {
            let rows = memtable.server_rows(1, Some(EventId::new(1, 0, instance)));
            rows.map(|(_, row)| row.event.id.instance)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (after(1), after(4), after(6)),
            (vec![2, 4, 6], vec![6], vec![])
        );
        assert!(memtable.find(EventId::new(1, 0, 4)).is_some());
        assert!(memtable.find(EventId::new(1, 0, 5)).is_none());
        assert_eq!(memtable.server_rows(2, None).count(), 0);
    }

    proptest! {
        /// Asked now and then, it has few runs, and all rows in order.
        #[test]
        fn runs_are_sorted_and_few(times in prop::collection::vec((0..50_i64, any::<bool>()), 0..300)) {
            let mut memtable = Memtable::new(&ORDERS, 0);
            let mut keys = Vec::new();
            for (instance, (time, asks)) in (1..).zip(times) {
                let row = row(instance, time, None, &[0]);
                keys.extend(series_key(&row.event, OrderBy::Timestamp));
                memtable.push(row);
                if asks {
                    let runs = memtable.runs(0);
                    prop_assert!(runs.len() <= 10);
                    prop_assert!(runs.iter().all(|run| run.is_sorted_by_key(|row| row.key)));
                    let count: usize = runs.iter().map(|run| run.len()).sum();
                    prop_assert_eq!(count, keys.len());
                }
            }
            keys.sort_unstable();
            let sorted: Vec<_> = memtable.sorted(0).iter().map(|row| row.key).collect();
            prop_assert_eq!(sorted, keys);
        }
    }

    fn row(instance: i64, time: i64, source: Option<i64>, partitions: &[usize]) -> Row {
        let id = EventId::new(1, 0, instance);
        let event = Event::new(id, EventType::from("a"), Timestamp::new(time, 0));
        let source = source.map(|source| Timestamp::new(source, 0));
        Row {
            event: Arc::new(event.with_source_timestamp(source)),
            type_number: 0,
            partitions: partitions.into(),
            latest: true,
        }
    }

    fn ids(run: &Run) -> Vec<i64> {
        run.iter().map(|row| row.event.id.instance).collect()
    }

    const ORDERS: [OrderBy; 2] = [OrderBy::Timestamp, OrderBy::SourceTimestamp];
}
