//! Going on after damage: what is whole goes into a new file, the damaged one stays beside it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::{Event, EventId};
use crate::store::{Backend, Callbacks, Durability, StoreConfig, StoreError};

use super::check::Damage;
use super::database::{Database, FileStorage, sync_folder_of};
use super::meta::{self, Fact};
use super::open::SESSIONS_MARGIN;
use super::salvage;
use super::{FILE, RedbBackend, file_to_read};

/// What a repair did.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Events that are in the store again.
    pub events: u64,
    /// The damaged file, as it was.
    pub aside: PathBuf,
}

/// Puts a new file in place of a damaged one; until the last step, which is one renaming, nothing has happened.
pub(super) fn repair(
    dir: &Path,
    config: StoreConfig,
    report: &mut dyn FnMut(Damage),
) -> Result<Repair, StoreError> {
    // Locked until the end: nobody else has the damaged file open meanwhile.
    let (database, cut) = salvage::open(file_to_read(dir)?)?;
    let facts = Facts::read(&database)?;
    if let (Some(expected), Some(found)) = (&config.identifier, &facts.identifier)
        && expected != found
    {
        return Err(StoreError::Identifier {
            expected: expected.clone(),
            found: found.clone(),
        });
    }
    let (path, new) = (dir.join(FILE), dir.join(NEW));
    remove(&new)?;
    let filled = fill(&new, config, facts, |visit| {
        salvage::show(&database, cut, report, visit)
    });
    let placed = filled.and_then(|events| {
        let aside = keep_aside(&path)?;
        fs::rename(&new, &path)
            .and_then(|()| sync_folder_of(&path))
            .map_err(io_error("replacing", &path))?;
        Ok(Repair { events, aside })
    });
    if placed.is_err() {
        // What went wrong is told; this is only room on the disk.
        let _ = fs::remove_file(&new);
    }
    placed
}

type Visit<'a> = &'a mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>;

/// Makes a store of the events that `salvage` shows; gives how many there are.
fn fill(
    path: &Path,
    config: StoreConfig,
    facts: Facts,
    salvage: impl FnOnce(Visit<'_>) -> Result<u64, StoreError>,
) -> Result<u64, StoreError> {
    let mut config = config.durability(Durability::Periodic);
    config.identifier = config.identifier.or(facts.identifier);
    let storage = Arc::new(FileStorage::new(path.to_owned()));
    let store = RedbBackend::open_in(storage, config, Callbacks::default())?;
    let mut last = facts.last;
    let (mut batch, mut failed) = (Vec::with_capacity(BATCH), Ok(()));
    let events = salvage(&mut |event| {
        last.insert(event.id.server, event.id.session);
        batch.push(Arc::clone(event));
        if batch.len() < BATCH {
            return ControlFlow::Continue(());
        }
        failed = store.register(std::mem::take(&mut batch).into()).map(drop);
        match failed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    failed?;
    store.register(batch.into())?;
    // What is lost may have been the last: its ids are not to come again.
    for (server, session) in last {
        let beyond = session.saturating_add(SESSIONS_MARGIN);
        let known = facts.sessions.get(&server).copied();
        store.reserve_sessions(server, known.unwrap_or(beyond))?;
    }
    store.close()?;
    Ok(events)
}

/// What the damaged file says beside its events, as far as it is whole.
#[derive(Default)]
struct Facts {
    identifier: Option<String>,
    sessions: HashMap<i64, i64>,
    /// The last session of each server that was written down.
    last: BTreeMap<i64, i64>,
}

impl Facts {
    fn read(database: &Database) -> Result<Self, StoreError> {
        let mut facts = Self::default();
        for found in meta::all(&database.snapshot()?)? {
            match found {
                Ok((fact @ Fact::Identifier, value)) => {
                    facts.identifier = Some(meta::text(fact, value)?);
                }
                Ok((fact @ Fact::Sessions(server), value)) => {
                    let sessions = meta::number(fact, &value)? as i64;
                    facts.sessions.insert(server, sessions);
                    facts.last.entry(server).or_default();
                }
                Ok((Fact::Last(_), value)) => {
                    let (
                        EventId {
                            server, session, ..
                        },
                        _,
                    ) = meta::last_from_bytes(&value)?;
                    facts.last.insert(server, session);
                }
                Ok(_) => {}
                // The salvage tells what is lost with it.
                Err(spoilt) if spoilt.error.is_damage() => {
                    if let Some(Fact::Last(server) | Fact::Sessions(server)) = spoilt.fact {
                        facts.last.entry(server).or_default();
                    }
                }
                Err(spoilt) => return Err(spoilt.error),
            }
        }
        Ok(facts)
    }
}

/// A second name for the damaged file, which no later repair takes away.
fn keep_aside(path: &Path) -> Result<PathBuf, StoreError> {
    for number in 1_u32.. {
        let aside = match number {
            1 => path.with_extension("redb.damaged"),
            _ => path.with_extension(format!("redb.damaged-{number}")),
        };
        match fs::hard_link(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error("keeping a second name of", path)(source)),
        }
    }
    Err(io_error("keeping", path)(
        io::ErrorKind::AlreadyExists.into(),
    ))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("removing", path)(error))
        }
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// The file that is being made; what a crash leaves of it is made anew.
const NEW: &str = "store.redb.new";
/// Events of one register call.
const BATCH: usize = 1000;
