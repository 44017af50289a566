//! Opening: what is on disk becomes the state in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::store::admission::{Admission, Verdict};
use crate::store::{Callbacks, Conditions, StoreConfig, StoreError};

use super::blocks::{BlockCache, BlockReader, Stored};
use super::catalog::{Catalog, Rules};
use super::core::{Clock, Core};
use super::database::{Commit, Database, DatabaseOptions, Snapshot, Storage};
use super::latest;
use super::ledger::Ledger;
use super::memtable::{Memtable, Row};
use super::meta::{self, Fact};
use super::partitions::{self, Partition};
use super::state::State;
use super::types;
use super::writer::Writer;

/// Opens what the storage holds, or makes it; flushes what was committed only, and cleans up once.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    config: StoreConfig,
    callbacks: Callbacks,
    clock: Clock,
) -> Result<(Core, Writer), StoreError> {
    let options = DatabaseOptions {
        cache_bytes: config.database_cache_bytes,
        ..DatabaseOptions::default()
    };
    let database = Arc::new(Database::open(Arc::clone(&storage), options)?);
    let snapshot = database.snapshot()?;
    let known = Known::read(&snapshot, &storage)?;
    let partitions = prepare(&database, &known, &config)?;
    let orders: Arc<[_]> = partitions
        .iter()
        .map(|partition| partition.order_by)
        .collect();

    let mut admission = Admission::new(&config);
    let mut ledger = Ledger::default();
    for (id, timestamp) in &known.last {
        admission.resume(*id, *timestamp);
        ledger.set_last(*id, *timestamp);
    }
    let rules = Rules {
        partitions: config
            .partitions()
            .into_iter()
            .map(|one| (one.order_by, one.subscriptions))
            .collect(),
        as_reference: config.reference_partitions,
    };
    let catalog = Catalog::new(rules, &mut admission, types::read(&snapshot)?);
    load_latest(&snapshot, &catalog, &admission, &mut ledger)?;

    let mut memtable = Memtable::new(&orders, known.indexed);
    let cache = Arc::new(BlockCache::new(config.cache_bytes));
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
    state.snapshot = Some(database.snapshot()?);
    state.work.cleanup_at = if more {
        Some(Instant::now())
    } else {
        super::worker::next_cleanup(&config)
    };
    let core = Core {
        state: Mutex::new(state),
        wake: Condvar::new(),
        changed: Condvar::new(),
        database,
        cache,
        types,
        conditions: Conditions::new(config.conditions.iter().cloned()),
        config,
        callbacks,
        partitions,
        sessions: Mutex::new(known.sessions),
        clock,
    };
    Ok((core, writer))
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
}

impl Known {
    fn read(snapshot: &Snapshot, storage: &Arc<dyn Storage>) -> Result<Self, StoreError> {
        let mut known = Self::default();
        for fact in meta::all(snapshot)? {
            let (fact, value) = fact?;
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
            Some(version) if version != VERSION => Err(StoreError::Version {
                path: storage.path().to_owned(),
                found: version.clone(),
                known: VERSION,
            }),
            _ => Ok(known),
        }
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
    if known.version.is_none() || identifier.is_some() || !new.is_empty() {
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

/// The latest events that the configuration still wants.
fn load_latest(
    snapshot: &Snapshot,
    catalog: &Catalog,
    admission: &Admission,
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    for found in latest::all(snapshot, catalog.names())? {
        match found? {
            (type_number, Ok(event)) => {
                if catalog.places(type_number).latest && admission.passes(&event) {
                    ledger.set_latest(type_number, event);
                }
            }
            (type_number, Err(StoreError::Damaged { what, reason })) => {
                // Queries for it say so; the rest of the store is of use.
                log::error!("{what} is damaged: {reason}");
                ledger.set_damaged(type_number, reason);
            }
            (_, Err(error)) => return Err(error),
        }
    }
    Ok(())
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

/// Version of the file.
const VERSION: &str = "1";
