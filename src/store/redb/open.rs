//! Opening: what is on disk becomes the state in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::store::admission::{Admission, Verdict};
use crate::store::{Callbacks, Conditions, StoreConfig, StoreError};

use super::blocks::{BlockCache, BlockReader, Stored};
use super::catalog::{Catalog, Rules};
use super::check::Damage;
use super::core::{Clock, Core};
use super::database::{Commit, Database, DatabaseOptions, Snapshot, Storage};
use super::latest;
use super::ledger::Ledger;
use super::memtable::{Memtable, Row};
use super::meta::{self, Fact, Spoilt};
use super::partitions::{self, Partition};
use super::reader::Reader;
use super::rebuild;
use super::state::State;
use super::types;
use super::writer::Writer;

/// Opens what the storage holds, or makes it; flushes what was committed only, and cleans up once.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    config: StoreConfig,
    callbacks: Callbacks,
    clock: Clock,
) -> Result<Core, StoreError> {
    config.check()?;
    let options = DatabaseOptions {
        cache_bytes: config.database_cache_bytes,
        ..DatabaseOptions::default()
    };
    let database = Arc::new(Database::open(Arc::clone(&storage), options)?);
    let snapshot = database.snapshot()?;
    let (mut known, mut damages) = Known::read(&snapshot, &storage)?;
    let partitions = prepare(&database, &known, &config)?;
    let orders: Arc<[_]> = partitions
        .iter()
        .map(|partition| partition.order_by)
        .collect();

    let mut admission = Admission::new(&config);
    let mut ledger = Ledger::default();
    let rules = Rules {
        partitions: config
            .partitions()
            .into_iter()
            .map(|one| (one.order_by, one.subscriptions))
            .collect(),
        as_reference: config.reference_partitions,
    };
    let catalog = Catalog::new(rules, &mut admission, types::read(&snapshot)?);
    let cache = Arc::new(BlockCache::new(config.cache_bytes));
    let reader = Reader::new(snapshot.clone(), &cache, catalog.names());
    damages.extend(known.rebuild(&reader, &database)?);
    for (id, timestamp) in &known.last {
        admission.resume(*id, *timestamp);
        ledger.set_last(*id, *timestamp);
    }
    let series: Vec<u32> = known.partitions.values().copied().collect();
    damages.extend(load_latest(
        &reader,
        &series,
        &catalog,
        &admission,
        &mut ledger,
        &database,
    )?);
    drop(reader);
    for damage in &damages {
        log::error!("the store is opened all the same: {damage}");
    }

    let mut memtable = Memtable::new(&orders, known.indexed);
    let blocks = BlockReader::new(&snapshot, Arc::clone(&cache), Arc::clone(catalog.names()));
    for found in blocks.walk(known.indexed)? {
        let found = found?;
        let expected = known.indexed + memtable.rows().len() as u64;
        if found.slot != expected {
            return Err(StoreError::Damaged {
                what: format!("the event in slot {expected}"),
                reason: format!("it is not there, and one in slot {} is", found.slot),
            });
        }
        let row = recover(found, &mut admission, &catalog, &mut ledger);
        memtable.push(row);
    }
    let recovered = memtable.rows().len();
    memtable.set_durable(recovered);
    drop(blocks);
    drop(snapshot);

    let mut writer = Writer::new(Arc::clone(&database), partitions.clone(), known.indexed);
    let mut next_slot = known.indexed;
    if recovered > 0 {
        writer.flush(&memtable, &catalog.unsaved())?;
        next_slot += recovered as u64;
    }
    let more = writer.cleanup(clock())?;
    let types = Arc::clone(catalog.names());
    let mut state = State::new(
        catalog,
        admission,
        ledger,
        Arc::clone(&orders),
        Memtable::new(&orders, next_slot),
    );
    state.set_snapshot(Some(database.snapshot()?));
    state.work.cleanup_at = if more {
        Some(Instant::now())
    } else {
        super::worker::next_cleanup(&config)
    };
    let core = Core {
        state: Mutex::new(state),
        wake: Condvar::new(),
        changed: Condvar::new(),
        writer: Mutex::new(Some(writer)),
        database,
        cache,
        types,
        conditions: Conditions::new(config.conditions.iter().cloned()),
        config,
        callbacks,
        partitions,
        sessions: Mutex::new(known.sessions),
        clock,
        found_at_open: damages,
    };
    Ok(core)
}

/// What the table `meta` says.
#[derive(Default)]
struct Known {
    version: Option<String>,
    identifier: Option<String>,
    indexed: u64,
    last: Vec<(crate::event::EventId, crate::event::Timestamp)>,
    sessions: HashMap<i64, i64>,
    partitions: HashMap<String, u32>,
    /// Servers whose last event, or whose sessions, are damaged.
    lost_last: Vec<i64>,
    lost_sessions: Vec<i64>,
}

impl Known {
    /// What is there, and what is damaged of it and can be rebuilt.
    fn read(
        snapshot: &Snapshot,
        storage: &Arc<dyn Storage>,
    ) -> Result<(Self, Vec<Damage>), StoreError> {
        let (mut known, mut damages) = (Self::default(), Vec::new());
        for found in meta::all(snapshot)? {
            let (fact, value) = match found {
                Ok(found) => found,
                Err(Spoilt { fact, error }) => {
                    match fact {
                        Some(Fact::Last(server)) => known.lost_last.push(server),
                        Some(Fact::Sessions(server)) => known.lost_sessions.push(server),
                        _ => return Err(error),
                    }
                    damages.extend(Damage::of(error));
                    continue;
                }
            };
            match fact {
                Fact::Version => known.version = Some(meta::text(fact, value)?),
                Fact::Identifier => known.identifier = Some(meta::text(fact, value)?),
                Fact::Indexed => known.indexed = meta::number(fact, &value)?,
                Fact::Last(_) => known.last.push(meta::last_from_bytes(&value)?),
                Fact::Sessions(server) => {
                    known
                        .sessions
                        .insert(server, meta::number(fact, &value)? as i64);
                }
                Fact::Partition(id) => {
                    known.partitions.insert(meta::text(fact, value)?, id);
                }
            }
        }
        match &known.version {
            Some(version) if ![VERSION, BEFORE].contains(&&**version) => Err(StoreError::Version {
                path: storage.path().to_owned(),
                found: version.clone(),
                known: VERSION,
            }),
            _ => Ok((known, damages)),
        }
    }

    /// Rebuilds the last events of servers from their indexes, and sets the sessions of all whose are not known to what nobody can
    /// have reached; writes both.
    fn rebuild(&mut self, reader: &Reader, database: &Database) -> Result<Vec<Damage>, StoreError> {
        if self.lost_last.is_empty() && self.lost_sessions.is_empty() {
            return Ok(Vec::new());
        }
        let mut damages = Vec::new();
        for server in &self.lost_last {
            match rebuild::last(reader, *server)? {
                Some(last) => self.last.push(last),
                None => damages.push(Damage {
                    what: format!("the last event of server {server}"),
                    reason: "its index does not tell it either".to_owned(),
                }),
            }
        }
        let mut servers: Vec<i64> = self.last.iter().map(|(id, _)| id.server).collect();
        servers.extend(self.lost_last.iter().chain(&self.lost_sessions));
        servers.sort_unstable();
        servers.dedup();
        // Which server damaged sessions are of is not certain, for it may be the key that is damaged.
        servers.retain(|server| !self.sessions.contains_key(server));
        for server in &servers {
            let last = self.last.iter().find(|(id, _)| id.server == *server);
            let last = last.map_or(0, |(id, _)| id.session);
            let floor = last.saturating_add(SESSIONS_MARGIN);
            self.sessions.insert(*server, floor);
        }
        database.write(Commit::QuickRepair, |tx| {
            for (id, timestamp) in &self.last {
                if self.lost_last.contains(&id.server) {
                    let bytes = meta::last_to_bytes(*id, *timestamp);
                    meta::put(tx, Fact::Last(id.server), &bytes)?;
                }
            }
            for server in &servers {
                let floor = self.sessions[server];
                meta::put(tx, Fact::Sessions(*server), &floor.to_be_bytes())?;
            }
            Ok(())
        })?;
        Ok(damages)
    }
}

/// Checks whose store it is, and writes what is new about it.
fn prepare(
    database: &Database,
    known: &Known,
    config: &StoreConfig,
) -> Result<Vec<Partition>, StoreError> {
    if let (Some(expected), Some(found)) = (&config.identifier, &known.identifier)
        && expected != found
    {
        return Err(StoreError::Identifier {
            expected: expected.clone(),
            found: found.clone(),
        });
    }
    let (partitions, new) = partitions::number(&config.partitions(), known.partitions.clone());
    let identifier = config
        .identifier
        .as_ref()
        .filter(|_| known.identifier.is_none());
    if known.version.as_deref() != Some(VERSION) || identifier.is_some() || !new.is_empty() {
        database.write(Commit::QuickRepair, |tx| {
            meta::put(tx, Fact::Version, VERSION.as_bytes())?;
            if let Some(identifier) = identifier {
                meta::put(tx, Fact::Identifier, identifier.as_bytes())?;
            }
            for (id, identity) in &new {
                meta::put(tx, Fact::Partition(*id), identity.as_bytes())?;
            }
            Ok(())
        })?;
    }
    Ok(partitions)
}

/// The latest events that the configuration still wants; a damaged one is taken from the indexes, where these prove it.
fn load_latest(
    reader: &Reader,
    series: &[u32],
    catalog: &Catalog,
    admission: &Admission,
    ledger: &mut Ledger,
    database: &Database,
) -> Result<Vec<Damage>, StoreError> {
    let (mut damages, mut rebuilt) = (Vec::new(), Vec::new());
    for found in latest::all(reader.snapshot(), catalog.names())? {
        let (type_number, event) = match found {
            Ok(found) => found,
            Err(latest::Spoilt {
                type_number: Some(type_number),
                error: StoreError::Damaged { what, reason },
            }) => {
                let event = rebuild::latest(reader, series, type_number)?;
                let Some(event) = event else {
                    // Queries for it say so; the rest of the store is of use.
                    ledger.set_damaged(type_number, reason.clone());
                    let reason = reason + UNPROVEN;
                    damages.push(Damage { what, reason });
                    continue;
                };
                let reason = reason + REBUILT;
                damages.push(Damage { what, reason });
                rebuilt.push((type_number, Arc::clone(&event)));
                (type_number, event)
            }
            Err(spoilt) => return Err(spoilt.error),
        };
        if catalog.places(type_number).latest && admission.passes(&event) {
            ledger.set_latest(type_number, event);
        }
    }
    if !rebuilt.is_empty() {
        database.write(Commit::QuickRepair, |tx| {
            rebuilt
                .iter()
                .try_for_each(|(number, event)| latest::write(tx, *number, event, false))
        })?;
    }
    Ok(damages)
}

/// The row of an event that was committed; one that the configuration no longer wants is in no store.
fn recover(
    Stored {
        event, type_number, ..
    }: Stored,
    admission: &mut Admission,
    catalog: &Catalog,
    ledger: &mut Ledger,
) -> Row {
    let held = ledger.latest(type_number).map(|event| &**event);
    let (latest, partitions) = match admission.judge_at(&event, held, catalog.places(type_number)) {
        Verdict::Stored { latest, partitions } => (latest, partitions),
        Verdict::LeftOut(reason) => {
            log::warn!(
                "event {} was committed and is dropped: {reason:?}",
                event.id
            );
            admission.resume(event.id, event.timestamp);
            (false, Arc::default())
        }
    };
    let row = Row {
        event,
        type_number,
        partitions,
        latest,
    };
    ledger.apply(&row);
    row
}

/// Added to the last session of a server where nothing says which ones were handed out: a million a second for twelve days.
pub(super) const SESSIONS_MARGIN: i64 = 1 << 40;
const REBUILT: &str = "; it was taken from the indexes";
const UNPROVEN: &str = "; no other is proven to be it, and none is given";
/// Version of the file. One without an entry in the table `live` has it for every block that is in use as a whole.
const VERSION: &str = "2";
/// Has such an entry for every block, which is right in this version too; the first opening makes it this version.
const BEFORE: &str = "1";
