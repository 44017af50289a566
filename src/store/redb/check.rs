//! Looks at every byte of ours, and whether the indexes and the events agree.

use std::fmt;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Order, OrderBy};
use crate::store::StoreError;

use super::blocks;
use super::chunks::Entry;
use super::core::Core;
use super::database::{Database, Snapshot};
use super::keys::{self, NO_SLOT};
use super::latest;
use super::memtable::{self, Key};
use super::meta::{self, Fact};
use super::reader::Reader;
use super::rebuild;
use super::types;

/// One thing in a store that is not what was written.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Which part of the store, as exactly as can be told.
    pub what: String,
    /// How it shows.
    pub reason: String,
}

impl Damage {
    /// What an error tells that is damage; `None` for another one.
    pub(super) fn of(error: StoreError) -> Option<Self> {
        match error {
            StoreError::Damaged { what, reason } => Some(Self { what, reason }),
            _ => None,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

/// What a check looked at.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckSummary {
    /// Events that were read and found right, of those in use and not.
    pub events: u64,
    /// Entries of indexes that were compared with their events.
    pub entries: u64,
    /// Latest events that were found right.
    pub latest: u64,
    /// Things that are not what was written; each was reported.
    pub damaged: u64,
}

/// Checks everything, and reports what is wrong one by one.
pub(super) fn check(
    core: &Core,
    goes_on: &dyn Fn() -> bool,
    report: &mut dyn FnMut(Damage),
) -> Result<CheckSummary, StoreError> {
    let snapshot = core.open_state()?.snapshot.clone();
    let reader = core.reader(snapshot)?;
    let mut summary = look(&reader, goes_on, report)?;
    drop(reader);
    for found in &core.found_at_open {
        damage(&mut summary, report, &found.what, &found.reason);
    }
    integrity(&core.database, &mut summary, report)?;
    Ok(summary)
}

/// Checks what is ours.
pub(super) fn look(
    reader: &Reader,
    goes_on: &dyn Fn() -> bool,
    report: &mut dyn FnMut(Damage),
) -> Result<CheckSummary, StoreError> {
    let mut check = Check {
        reader,
        goes_on,
        report,
        summary: CheckSummary::default(),
    };
    check.everything()?;
    Ok(check.summary)
}

/// Checks the pages of the database. To be done last, for it opens the file anew and may put it right.
pub(super) fn integrity(
    database: &Database,
    summary: &mut CheckSummary,
    report: &mut dyn FnMut(Damage),
) -> Result<(), StoreError> {
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => damage(
            summary,
            report,
            "the pages of the database",
            "some were not right, and are now",
        ),
        Err(StoreError::Damaged { what, reason }) => damage(summary, report, &what, &reason),
        Err(error) => return Err(error),
    }
    Ok(())
}

struct Check<'a> {
    reader: &'a Reader,
    goes_on: &'a dyn Fn() -> bool,
    report: &'a mut dyn FnMut(Damage),
    summary: CheckSummary,
}

/// A series on disk, configured or not.
struct Series {
    id: u32,
    order_by: OrderBy,
}

impl Check<'_> {
    fn everything(&mut self) -> Result<(), StoreError> {
        let snapshot = self.reader.snapshot().clone();
        let (series, servers) = self.facts(&snapshot)?;
        let mut of_types = Vec::new();
        types::survey(&snapshot, &mut |error| of_types.push(error))?;
        for error in of_types {
            self.damaged(error)?;
        }
        for found in self.reader.walk()? {
            self.judge(found.map(drop), |summary| summary.events += 1)?;
        }
        for found in blocks::check_live(&snapshot)? {
            self.judge(found, |_| ())?;
        }
        for one in &series {
            self.or_damaged(|check| check.series(one))?;
        }
        for server in servers {
            self.or_damaged(|check| check.server(server, &series))?;
        }
        for found in latest::all(&snapshot, self.reader.types())? {
            let found = found.map_err(|spoilt| spoilt.error);
            let agrees = found.and_then(|(_, event)| self.latest(&event));
            self.judge(agrees, |summary| summary.latest += 1)?;
        }
        Ok(())
    }

    fn facts(&mut self, snapshot: &Snapshot) -> Result<(Vec<Series>, Vec<i64>), StoreError> {
        let (mut series, mut servers) = (Vec::new(), Vec::new());
        for fact in meta::all(snapshot)? {
            match fact {
                Ok((Fact::Last(server), _)) => servers.push(server),
                Ok((fact @ Fact::Partition(id), value)) => match meta::order_of(fact, value) {
                    Ok(order_by) => series.push(Series { id, order_by }),
                    Err(error) => self.damaged(error)?,
                },
                Ok(_) => {}
                Err(spoilt) => self.damaged(spoilt.error)?,
            }
        }
        // A damaged fact hides no server.
        match rebuild::servers(self.reader) {
            Ok(indexed) => servers.extend(indexed),
            Err(error) => self.damaged(error)?,
        }
        servers.sort_unstable();
        servers.dedup();
        Ok((series, servers))
    }

    /// The index of a series and those of its types have the same entries, and each leads to its event.
    fn series(&mut self, series: &Series) -> Result<(), StoreError> {
        let prefix = keys::partition_prefix(series.id);
        let reader = self.reader;
        let all = self.index(
            &format!("the index of series {}", series.id),
            &prefix,
            |entry| leads_to_event(reader, entry, series.order_by),
        )?;
        let mut of_types = 0;
        for type_number in 0..reader.types().count() {
            let what = format!("the index of type {type_number} in series {}", series.id);
            of_types += self.index(&what, &keys::type_prefix(series.id, type_number), |entry| {
                if entry.type_number != type_number {
                    return Err(disagrees(entry, "it is of another type"));
                }
                match find(reader, &prefix, &entry.key)? {
                    Some(same) if same == *entry => Ok(()),
                    _ => Err(disagrees(
                        entry,
                        "the index of the series has it not, or otherwise",
                    )),
                }
            })?;
        }
        if all != of_types {
            let reason = format!("it has {all} entries, and those of its types {of_types}");
            damage(
                &mut self.summary,
                self.report,
                &format!("the index of series {}", series.id),
                &reason,
            );
        }
        Ok(())
    }

    /// The index of a server leads to its events, and counts the series that have them.
    fn server(&mut self, server: i64, series: &[Series]) -> Result<(), StoreError> {
        let reader = self.reader;
        let prefix = keys::server_prefix(server);
        self.index(&format!("the index of server {server}"), &prefix, |entry| {
            let event = reader.server_event(entry)?;
            let mut references = 0;
            for one in series {
                let Some(key) = memtable::series_key(&event, one.order_by) else {
                    continue;
                };
                references +=
                    u32::from(find(reader, &keys::partition_prefix(one.id), &key)?.is_some());
            }
            if references != keys::references(&entry.key)
                || (references == 0) != (entry.slot == NO_SLOT)
            {
                return Err(disagrees(
                    entry,
                    &format!("{references} series have the event"),
                ));
            }
            Ok(())
        })?;
        Ok(())
    }

    fn latest(&self, event: &Event) -> Result<(), StoreError> {
        let from = keys::server_key(event.id, 0);
        let range = (
            Bound::Included(from),
            Bound::Included(keys::behind(event.id)),
        );
        let prefix = keys::server_prefix(event.id.server);
        match self
            .reader
            .chunks
            .scan(&prefix, range, Order::Ascending)?
            .next()
        {
            Some(found) => found.map(drop),
            None => Err(keys::missing(event.id)),
        }
    }

    /// Looks at every entry of an index; gives how many there are.
    fn index(
        &mut self,
        what: &str,
        prefix: &[u8],
        agrees: impl Fn(&Entry) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut last: Option<Key> = None;
        for entry in self.reader.chunks.all(prefix, Order::Ascending)? {
            let agreed = entry.and_then(|entry| {
                count += 1;
                if last
                    .replace(entry.key)
                    .is_some_and(|last| last >= entry.key)
                {
                    return Err(disagrees(&entry, "it is out of order"));
                }
                agrees(&entry)
            });
            self.judge(agreed, |summary| summary.entries += 1)?;
        }
        match self.reader.chunks.count(prefix) {
            Ok(counted) if counted == count => {}
            Ok(counted) => {
                let reason = format!("it has {count} entries, and {counted} were counted");
                damage(&mut self.summary, self.report, what, &reason);
            }
            Err(error) => self.damaged(error)?,
        }
        Ok(count)
    }

    /// Where a part cannot be looked at, the next one can.
    fn or_damaged(
        &mut self,
        look: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match look(self) {
            Err(error) => self.damaged(error),
            Ok(()) => Ok(()),
        }
    }

    fn judge(
        &mut self,
        found: Result<(), StoreError>,
        right: impl FnOnce(&mut CheckSummary),
    ) -> Result<(), StoreError> {
        if !(self.goes_on)() {
            return Err(StoreError::Closed);
        }
        match found {
            Ok(()) => {
                right(&mut self.summary);
                Ok(())
            }
            Err(error) => self.damaged(error),
        }
    }

    /// Reports damage and goes on; another error ends the check.
    fn damaged(&mut self, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Damaged { what, reason } => {
                damage(&mut self.summary, self.report, &what, &reason);
                Ok(())
            }
            error => Err(error),
        }
    }
}

fn leads_to_event(reader: &Reader, entry: &Entry, order_by: OrderBy) -> Result<(), StoreError> {
    let event = reader.event(entry.slot)?;
    if memtable::series_key(&event, order_by) != Some(entry.key) {
        return Err(keys::mismatch(entry.slot, event.id));
    }
    if reader.types().get(entry.type_number).as_ref() != Some(&event.event_type) {
        return Err(disagrees(entry, "the event is of another type"));
    }
    Ok(())
}

fn find(reader: &Reader, prefix: &[u8], key: &Key) -> Result<Option<Entry>, StoreError> {
    let only = (Bound::Included(*key), Bound::Included(*key));
    reader
        .chunks
        .scan(prefix, only, Order::Ascending)?
        .next()
        .transpose()
}

fn disagrees(entry: &Entry, reason: &str) -> StoreError {
    StoreError::Damaged {
        what: format!("the index entry of slot {}", entry.slot),
        reason: reason.to_owned(),
    }
}

fn damage(summary: &mut CheckSummary, report: &mut dyn FnMut(Damage), what: &str, reason: &str) {
    summary.damaged += 1;
    report(Damage {
        what: what.to_owned(),
        reason: reason.to_owned(),
    });
}
