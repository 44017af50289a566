//! Looking into a file that may be too damaged to be opened as a store, without changing it.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::event::{Event, EventId};
use crate::store::StoreError;

use super::blocks::BlockCache;
use super::check::{self, CheckSummary, Damage};
use super::database::{Database, DatabaseOptions, Overlay, Storage};
use super::latest;
use super::reader::Reader;
use super::types;

/// Checks everything that [`check::check`] does, of a file that is not open.
pub(super) fn check(
    storage: Arc<dyn Storage>,
    report: &mut dyn FnMut(Damage),
) -> Result<CheckSummary, StoreError> {
    let (database, cut) = open(storage)?;
    let reader = reader(&database, &mut |_| {})?;
    let mut summary = check::look(&reader, &|| true, report)?;
    if let Some(cut) = cut {
        summary.damaged += 1;
        report(cut);
    }
    drop(reader);
    check::integrity(&database, &mut summary, report)?;
    Ok(summary)
}

/// Shows every event whose checksum holds, those of a server in the order of their ids, and tells what is damaged.
pub(super) fn salvage(
    storage: Arc<dyn Storage>,
    report: &mut dyn FnMut(Damage),
    visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
) -> Result<u64, StoreError> {
    let (database, cut) = open(storage)?;
    show(&database, cut, report, visit)
}

/// The same of a file that [`open`] has opened.
pub(super) fn show(
    database: &Database,
    cut: Option<Damage>,
    report: &mut dyn FnMut(Damage),
    visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
) -> Result<u64, StoreError> {
    if let Some(cut) = cut {
        report(cut);
    }
    let mut tell = |error: StoreError| {
        if let Some(damage) = Damage::of(error) {
            report(damage);
        }
    };
    let reader = reader(database, &mut tell)?;
    // The latest events have copies of their own: one may be good where the other is not, or the only one.
    let mut latest: HashMap<i64, BTreeMap<EventId, Arc<Event>>> = HashMap::new();
    for found in latest::all(reader.snapshot(), reader.types())? {
        match found {
            Ok((_, event)) => {
                let of_server = latest.entry(event.id.server).or_default();
                of_server.insert(event.id, event);
            }
            Err(spoilt) if spoilt.error.is_damage() => tell(spoilt.error),
            Err(spoilt) => return Err(spoilt.error),
        }
    }
    let mut salvaged = Salvaged {
        last: HashMap::new(),
        count: 0,
        visit,
    };
    for found in reader.walk_in_use()? {
        let event = match found {
            Ok(stored) => stored.event,
            Err(error) if error.is_damage() => {
                tell(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(of_server) = latest.get_mut(&event.id.server) {
            let behind = of_server.split_off(&event.id);
            let before = std::mem::replace(of_server, behind);
            of_server.remove(&event.id);
            for event in before.values() {
                if salvaged.show(event, &mut tell).is_break() {
                    return Ok(salvaged.count);
                }
            }
        }
        if salvaged.show(&event, &mut tell).is_break() {
            return Ok(salvaged.count);
        }
    }
    for event in latest.values().flat_map(BTreeMap::values) {
        if salvaged.show(event, &mut tell).is_break() {
            break;
        }
    }
    Ok(salvaged.count)
}

struct Salvaged<'a> {
    /// The last id of each server that was shown.
    last: HashMap<i64, EventId>,
    count: u64,
    visit: &'a mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
}

impl Salvaged<'_> {
    fn show(&mut self, event: &Arc<Event>, tell: &mut dyn FnMut(StoreError)) -> ControlFlow<()> {
        let last = self.last.get(&event.id.server);
        if last.is_some_and(|last| *last >= event.id) {
            tell(StoreError::Damaged {
                what: format!("event {}", event.id),
                reason: "it comes behind a later one of its server, or twice".to_owned(),
            });
            return ControlFlow::Continue(());
        }
        self.last.insert(event.id.server, event.id);
        self.count += 1;
        (self.visit)(event)
    }
}

/// The file, of which nothing is changed; and what is wrong if its tail is gone.
pub(super) fn open(storage: Arc<dyn Storage>) -> Result<(Database, Option<Damage>), StoreError> {
    let overlay = Arc::new(Overlay::new(storage));
    let below: Arc<dyn Storage> = Arc::clone(&overlay) as _;
    let database = Database::open(below, DatabaseOptions::default())?;
    let cut = overlay.cut().map(|(there, wanted)| Damage {
        what: overlay.path().display().to_string(),
        reason: format!("it is cut: {there} bytes of {wanted} are there"),
    });
    Ok((database, cut))
}

fn reader(database: &Database, tell: &mut dyn FnMut(StoreError)) -> Result<Reader, StoreError> {
    let snapshot = database.snapshot()?;
    let types = Arc::new(types::survey(&snapshot, tell)?);
    let cache = Arc::new(BlockCache::new(CACHE_BYTES));
    Ok(Reader::new(snapshot, &cache, &types))
}

const CACHE_BYTES: usize = 64 << 20;
