//! The answers to the three kinds of queries, from the memory part and the disk together.

use std::ops::{Bound, ControlFlow, RangeInclusive};
use std::sync::Arc;

use crate::event::{
    Event, EventId, EventType, Order, OrderBy, QueryLatestParams, QueryParams, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use crate::store::StoreError;

use super::catalog::Wanted;
use super::core::Core;
use super::keys;
use super::ledger::Ledger;
use super::memtable::{self, Key, Memtable, Run};
use super::merge::{self, Found, Merge, Place, Source};
use super::reader::Reader;

/// Shows the events of an answer one by one; `true` when more match.
pub(super) fn visit(
    core: &Core,
    params: &QueryParams,
    visit: Visit<'_>,
) -> Result<bool, StoreError> {
    let visited = match params {
        QueryParams::Latest(params) => Ok(latest(core, params)?
            .iter()
            .any(|event| visit(event).is_break())),
        QueryParams::Timeseries(params) => timeseries(core, params, visit),
        QueryParams::Server(params) => server(core, params, visit),
    };
    match visited {
        // Its pages are gone; that is no fault of the disk or the file.
        Err(StoreError::Io { .. } | StoreError::Database { .. } | StoreError::Damaged { .. })
            if core.state.lock().closed =>
        {
            Err(StoreError::Closed)
        }
        visited => visited,
    }
}

type Visit<'a> = &'a mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>;

/// The latest events that a query asks for.
pub(super) fn latest(
    core: &Core,
    params: &QueryLatestParams,
) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut state = core.open_state()?;
    let types = params.event_types.as_ref();
    let Some(types) = types.filter(|types| !types.iter().any(is_all)) else {
        return all_latest(&state.ledger);
    };
    if types.iter().any(is_wild) {
        let wanted = state.catalog.wanted(&params.event_types)?;
        let Some(numbers) = wanted.numbers else {
            return all_latest(&state.ledger);
        };
        return of_types(&state.ledger, &numbers.list);
    }
    let known = types
        .iter()
        .filter_map(|event_type| state.catalog.find(event_type));
    let mut numbers: Vec<u32> = known.collect();
    numbers.sort_unstable();
    numbers.dedup();
    of_types(&state.ledger, &numbers)
}

fn all_latest(ledger: &Ledger) -> Result<Vec<Arc<Event>>, StoreError> {
    ledger.check(None)?;
    Ok(ledger.all_latest().cloned().collect())
}

fn of_types(ledger: &Ledger, numbers: &[u32]) -> Result<Vec<Arc<Event>>, StoreError> {
    ledger.check(Some(numbers))?;
    let mut events = Vec::with_capacity(numbers.len());
    let latest = numbers.iter().filter_map(|number| ledger.latest(*number));
    events.extend(latest.cloned());
    Ok(events)
}

fn timeseries(
    core: &Core,
    params: &QueryTimeseriesParams,
    visit: Visit<'_>,
) -> Result<bool, StoreError> {
    let limit = limit(params.max_results, core.config.timeseries_max_results)?;
    let mut state = core.open_state()?;
    let wanted = state.catalog.wanted(&params.event_types)?;
    let Some(partition) = wanted.partition(params.order_by) else {
        return Ok(false);
    };
    let type_count = state.catalog.len();
    let frozen = state.frozen.clone();
    let mut runs = state.active.runs(partition);
    let position = params.last_event_id.map(|id| {
        let memtables = [Some(&state.active), frozen.as_deref()];
        (
            id,
            memtables
                .into_iter()
                .flatten()
                .find_map(|memtable| position_in(memtable, partition, params.order_by, id)),
        )
    });
    let snapshot = state.snapshot.clone();
    drop(state);
    if let Some(frozen) = frozen {
        runs.extend(frozen.runs(partition));
    }
    let reader = core.reader(snapshot)?;
    let series = Series {
        core,
        params,
        wanted,
        partition,
        type_count,
        reader: &reader,
    };
    series.visit(runs, position, limit, visit)
}

/// A query of one partition.
struct Series<'a> {
    core: &'a Core,
    params: &'a QueryTimeseriesParams,
    wanted: Wanted,
    partition: usize,
    type_count: usize,
    reader: &'a Reader,
}

impl Series<'_> {
    fn visit(
        &self,
        runs: Vec<Arc<Run>>,
        position: Option<(EventId, Option<Key>)>,
        limit: usize,
        visit: Visit<'_>,
    ) -> Result<bool, StoreError> {
        let Some(mut range) = self.range() else {
            return Ok(false);
        };
        if let Some((id, in_memory)) = position {
            let position = match in_memory {
                Some(key) => Some(key),
                None => self.position_on_disk(id)?,
            };
            let Some(key) = position.filter(|key| range.contains(key)) else {
                return Ok(false);
            };
            let behind = match self.params.order {
                Order::Ascending => keys::successor(&key).map(|next| next..=*range.end()),
                Order::Descending => keys::predecessor(&key).map(|before| *range.start()..=before),
            };
            let Some(behind) = behind else {
                return Ok(false);
            };
            range = behind;
        }
        if range.is_empty()
            || self
                .wanted
                .numbers
                .as_ref()
                .is_some_and(|numbers| numbers.list.is_empty())
        {
            return Ok(false);
        }
        let order = self.params.order;
        let mut sources: Vec<Source<'_>> = Vec::with_capacity(runs.len() + 1);
        for run in runs {
            sources.push(merge::run_source(
                run,
                range.clone(),
                order,
                self.wanted.clone(),
            ));
        }
        self.add_disk_sources(&range, &mut sources)?;
        let mut left = limit;
        for found in Merge::new(order, sources)? {
            let Some(event) = self.event(found?)? else {
                continue;
            };
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            if visit(&event).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The type indexes where the types are few, or few of all; the index of the partition otherwise.
    fn add_disk_sources<'s>(
        &'s self,
        range: &RangeInclusive<Key>,
        sources: &mut Vec<Source<'s>>,
    ) -> Result<(), StoreError> {
        let order = self.params.order;
        let id = self.core.partitions[self.partition].id;
        let bounds = (
            Bound::Included(*range.start()),
            Bound::Included(*range.end()),
        );
        let found = |entry: Result<super::chunks::Entry, StoreError>| {
            let entry = entry?;
            Ok(Found {
                key: entry.key,
                place: Place::Disk(entry.slot),
            })
        };
        let numbers = self
            .wanted
            .numbers
            .as_deref()
            .filter(|numbers| numbers.list.len() < self.type_count);
        match numbers {
            Some(numbers)
                if numbers.list.len() <= FEW_TYPES
                    || numbers.list.len() <= MANY_TYPES
                        && numbers.list.len() * 4 <= self.type_count =>
            {
                for number in &numbers.list {
                    let scan =
                        self.reader
                            .chunks
                            .scan(&keys::type_prefix(id, *number), bounds, order)?;
                    sources.push(Box::new(scan.map(found)));
                }
            }
            Some(_) => {
                let scan = self
                    .reader
                    .chunks
                    .scan(&keys::partition_prefix(id), bounds, order)?;
                let wanted = scan.filter(|entry| {
                    entry
                        .as_ref()
                        .map_or(true, |entry| self.wanted.contains(entry.type_number))
                });
                sources.push(Box::new(wanted.map(found)));
            }
            None => {
                let scan = self
                    .reader
                    .chunks
                    .scan(&keys::partition_prefix(id), bounds, order)?;
                sources.push(Box::new(scan.map(found)));
            }
        }
        Ok(())
    }

    /// The event of an entry, unless it is not part of the answer.
    fn event(&self, found: Found) -> Result<Option<Arc<Event>>, StoreError> {
        let event = match found.place {
            Place::Memory(event) => event,
            Place::Disk(slot) => {
                let event = self.reader.event(slot)?;
                if memtable::series_key(&event, self.params.order_by) != Some(found.key) {
                    return Err(keys::mismatch(slot, event.id));
                }
                if !self.core.config.conditions.is_empty() && !self.core.conditions.passes(&event) {
                    return Ok(None);
                }
                event
            }
        };
        let params = self.params;
        let holds = within(Some(event.timestamp), params.t_from, params.t_to)
            && within(
                event.source_timestamp,
                params.source_t_from,
                params.source_t_to,
            );
        Ok(holds.then_some(event))
    }

    /// The keys that the bounds of the sorting timestamp allow.
    fn range(&self) -> Option<RangeInclusive<Key>> {
        let params = self.params;
        let (from, to) = match params.order_by {
            OrderBy::Timestamp => (params.t_from, params.t_to),
            OrderBy::SourceTimestamp => (params.source_t_from, params.source_t_to),
        };
        let range = keys::lowest_at(from.unwrap_or(Timestamp::MIN))
            ..=keys::highest_at(to.unwrap_or(Timestamp::MAX));
        (!range.is_empty()).then_some(range)
    }

    /// The key of an event of the partition on disk.
    fn position_on_disk(&self, id: EventId) -> Result<Option<Key>, StoreError> {
        let Some(slot) = self.reader.slot(id)? else {
            return Ok(None);
        };
        let event = self.reader.event(slot)?;
        if event.id != id {
            return Err(keys::mismatch(slot, event.id));
        }
        // One that the conditions no longer let through is not there, as with hat-event 0.9.44.
        let key = memtable::series_key(&event, self.params.order_by);
        let Some(key) = key.filter(|_| self.core.conditions.passes(&event)) else {
            return Ok(None);
        };
        let prefix = keys::partition_prefix(self.core.partitions[self.partition].id);
        let only = (Bound::Included(key), Bound::Included(key));
        let entry = self
            .reader
            .chunks
            .scan(&prefix, only, Order::Ascending)?
            .next()
            .transpose()?;
        Ok(entry.map(|entry| entry.key))
    }
}

fn server(core: &Core, params: &QueryServerParams, visit: Visit<'_>) -> Result<bool, StoreError> {
    let mut left = limit(params.max_results, SERVER_MAX_RESULTS)?;
    let after = params.last_event_id;
    if let Some(last) = after.filter(|last| last.server != params.server_id) {
        return Err(StoreError::OtherServer {
            server: params.server_id,
            last,
        });
    }
    let state = core.open_state()?;
    let memtables = [state.frozen.as_deref(), Some(&state.active)];
    let in_memory: Vec<Arc<Event>> = memtables
        .into_iter()
        .flatten()
        .flat_map(|memtable| {
            memtable
                .server_rows(params.server_id, after)
                .filter(|(index, row)| {
                    (!params.persisted || *index < memtable.durable())
                        && (!row.partitions.is_empty()
                            || row.latest && state.is_latest(row.type_number, row.event.id))
                })
        })
        .take(left + 1)
        .map(|(_, row)| Arc::clone(&row.event))
        .collect();
    let snapshot = state.snapshot.clone();
    drop(state);
    let reader = core.reader(snapshot)?;
    let mut last = after;
    let mut on_disk = || -> Result<bool, StoreError> {
        for event in reader.server_events(params.server_id, after)? {
            let event = event?;
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            last = Some(event.id);
            if visit(&event).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if on_disk()? {
        return Ok(true);
    }
    for event in in_memory
        .iter()
        .filter(|event| last.is_none_or(|last| event.id > last))
    {
        if left == 0 {
            return Ok(true);
        }
        left -= 1;
        if visit(event).is_break() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn position_in(
    memtable: &Memtable,
    partition: usize,
    order_by: OrderBy,
    id: EventId,
) -> Option<Key> {
    let row = memtable.find(id)?;
    let in_partition = row.partitions.contains(&partition);
    in_partition.then(|| memtable::series_key(&row.event, order_by))?
}

fn limit(max_results: Option<i64>, limit: usize) -> Result<usize, StoreError> {
    match max_results {
        None => Ok(limit),
        Some(found) if found < 0 => Err(StoreError::NegativeMaxResults { found }),
        Some(found) => Ok(usize::try_from(found).map_or(limit, |found| found.min(limit))),
    }
}

fn within(time: Option<Timestamp>, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    if from.is_none() && to.is_none() {
        return true;
    }
    time.is_some_and(|time| from.is_none_or(|from| time >= from) && to.is_none_or(|to| time <= to))
}

fn is_wild(query_type: &EventType) -> bool {
    query_type
        .segments()
        .any(|segment| segment == "?" || segment == "*")
}

fn is_all(query_type: &EventType) -> bool {
    query_type.len() == 1 && query_type.segment(0) == Some("*")
}

/// Events of a server query at most, as hat-event 0.9.44.
const SERVER_MAX_RESULTS: usize = 4096;
/// So many type indexes are merged however many types there are.
const FEW_TYPES: usize = 64;
/// No more are merged however many there are: each holds a page of 8 KiB.
const MANY_TYPES: usize = 2048;
