//! The only door to the `redb` crate: transactions, snapshots, and what happens when the disk or the file fails.
//!
//! Keys and values are bytes in a few named [`Table`]s. A panic of the engine is caught and told as damage. After an I/O error the
//! engine refuses everything, so the door drops it and opens the [`Storage`] again at the next use.

mod guard;
mod overlay;
mod snapshot;
mod storage;
mod transaction;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::redb::{Builder, ReadableDatabase, TableDefinition};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::store::StoreError;
use guard::Health;
use storage::{Gate, empty_if_unfinished};

pub(super) use overlay::Overlay;
pub(super) use snapshot::{Pairs, Snapshot, Value};
pub use storage::{FileStorage, MemoryStorage, Storage, StorageFile};
pub(super) use storage::{make_folder, sync_folder_of};
pub(super) use transaction::{Copies, WriteTx};

/// A database that is open, or will be again at the next use.
pub(super) struct Database {
    storage: Arc<dyn Storage>,
    options: DatabaseOptions,
    /// One transaction writes at a time.
    writer: Mutex<()>,
    state: RwLock<State>,
}

/// How a database is opened.
#[derive(Clone)]
pub(super) struct DatabaseOptions {
    /// Bytes of pages that the engine keeps in memory. Default 64 MiB.
    pub(super) cache_bytes: usize,
    /// Called with 0 to 1 while the file is put in order after a crash; it should return soon. Default none.
    pub(super) progress: Option<Progress>,
}

/// Is told how far the repair is, from 0 to 1.
pub(super) type Progress = Arc<dyn Fn(f64) + Send + Sync>;

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            progress: None,
        }
    }
}

/// What a commit leaves for the next opening after a crash. Either is durable when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// One sync. An opening after a crash reads the whole file (under a second a gigabyte from memory).
    Fast,
    /// Two syncs, and a note of which pages are free: an opening after a crash reads next to nothing.
    QuickRepair,
}

/// The tables of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Version, identifier, and other facts of the store.
    Meta,
    /// Numbers of event types.
    Types,
    /// The latest event of each type.
    Latest,
    /// The events.
    Blocks,
    /// Which events of a block are in use.
    Live,
    /// Chunks of the sorted maps.
    Chunks,
    /// How many entries a sorted map has.
    Counts,
}

impl Table {
    pub(super) const ALL: [Self; 7] = [
        Self::Meta,
        Self::Types,
        Self::Latest,
        Self::Blocks,
        Self::Live,
        Self::Chunks,
        Self::Counts,
    ];

    /// Its name in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Types => "types",
            Self::Latest => "latest",
            Self::Blocks => "blocks",
            Self::Live => "live",
            Self::Chunks => "chunks",
            Self::Counts => "counts",
        }
    }

    fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

enum State {
    Open(Opened),
    /// Dropped after an error; the next use opens it.
    Dropped,
    Closed,
}

struct Opened {
    engine: ::redb::Database,
    gate: Arc<Gate>,
    health: Arc<Health>,
}

impl Database {
    /// Opens what the storage holds, or makes a new database where it is empty; puts it in order after a crash.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Io`], [`StoreError::Version`], [`StoreError::Damaged`] where it is none of ours.
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        options: DatabaseOptions,
    ) -> Result<Self, StoreError> {
        let opened = Opened::new(&*storage, &options)?;
        Ok(Self {
            storage,
            options,
            writer: Mutex::new(()),
            state: RwLock::new(State::Open(opened)),
        })
    }

    /// Runs `work` as one transaction and commits it; it is durable when this returns. Waits for another writer.
    ///
    /// # Errors
    /// Those of `work`, and of the engine: nothing of the transaction holds then, with one exception: where committing failed, it may
    /// be there all the same after the database was opened again, whole. Who tries again must look first.
    pub(super) fn write<T>(
        &self,
        commit: Commit,
        work: impl FnOnce(&WriteTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _only_one = self.writer.lock();
        let state = self.opened()?;
        let State::Open(opened) = &*state else {
            return Err(StoreError::Closed);
        };
        let written = opened.write(commit, work);
        if let Err(StoreError::Damaged { .. } | StoreError::Database { .. }) = written {
            // The engine may have lost count of its own pages.
            opened.health.set_broken();
        }
        written
    }

    /// The database as it is now.
    ///
    /// # Errors
    /// [`StoreError::Closed`], [`StoreError::Io`], and those of [`open`](Self::open) where it had to be opened again.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let state = self.opened()?;
        let State::Open(opened) = &*state else {
            return Err(StoreError::Closed);
        };
        let health = &opened.health;
        let transaction = health.guard("reading", || opened.engine.begin_read())?;
        Ok(Snapshot::new(transaction, health.clone()))
    }

    /// Size of the storage in bytes.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        let state = self.opened()?;
        let State::Open(opened) = &*state else {
            return Err(StoreError::Closed);
        };
        let size = opened.gate.size();
        size.map_err(|error| opened.health.io("reading the size of", error))
    }

    /// Reads every page and compares its checksum; false if something was wrong and could be put right.
    ///
    /// Opens the database again first, so that all snapshots of before are of no use: see [`Snapshot::is_current`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it cannot be put right, and as [`snapshot`](Self::snapshot).
    pub(super) fn check_integrity(&self) -> Result<bool, StoreError> {
        let _no_writer = self.writer.lock();
        let mut state = self.state.write();
        self.reopen(&mut state)?;
        let State::Open(opened) = &mut *state else {
            return Err(StoreError::Closed);
        };
        let (engine, health) = (&mut opened.engine, &opened.health);
        let checked = health.guard("checking", || engine.check_integrity());
        if checked.is_err() {
            health.set_broken();
        }
        checked
    }

    /// Closes it for good; a second time does nothing. Snapshots are of no use then.
    pub(super) fn close(&self) {
        let _no_writer = self.writer.lock();
        let mut state = self.state.write();
        drop_engine(&mut state);
        *state = State::Closed;
    }

    /// The state, never `Dropped`: an engine that broke is dropped, and the storage opened again.
    fn opened(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        {
            let state = self.state.read();
            match &*state {
                State::Open(opened) if !opened.health.is_broken() => return Ok(state),
                State::Closed => return Err(StoreError::Closed),
                _ => {}
            }
        }
        let mut state = self.state.write();
        // Another thread may have been first.
        let is_good = matches!(&*state, State::Open(opened) if !opened.health.is_broken());
        if !is_good {
            self.reopen(&mut state)?;
        }
        Ok(RwLockWriteGuard::downgrade(state))
    }

    fn reopen(&self, state: &mut State) -> Result<(), StoreError> {
        if matches!(state, State::Closed) {
            return Err(StoreError::Closed);
        }
        drop_engine(state);
        *state = State::Open(self.open_again()?);
        Ok(())
    }

    /// Opens what this process has just closed. A child of it that is between fork and exec still holds the lock for a moment.
    fn open_again(&self) -> Result<Opened, StoreError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match Opened::new(&*self.storage, &self.options) {
                Err(error) if error.is_in_use() && Instant::now() < end => thread::sleep(BETWEEN),
                opened => return opened,
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop_engine(self.state.get_mut());
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

impl Opened {
    fn new(storage: &dyn Storage, options: &DatabaseOptions) -> Result<Self, StoreError> {
        let health = Arc::new(Health::new(storage.path().to_owned()));
        let file = storage
            .open()
            .map_err(|error| health.io("opening", error))?;
        match file.try_lock() {
            Ok(true) => {}
            Ok(false) => {
                return Err(StoreError::InUse {
                    path: storage.path().to_owned(),
                    holder: None,
                });
            }
            Err(error) => return Err(health.io("locking", error)),
        }
        let emptied = empty_if_unfinished(&*file);
        emptied.map_err(|error| health.io("opening", error))?;
        let gate = Gate::new(file);
        let mut builder = Builder::new();
        builder.set_cache_size(options.cache_bytes);
        if let Some(progress) = options.progress.clone() {
            builder.set_repair_callback(move |session| progress(session.progress()));
        }
        let engine = health.guard("opening", || {
            builder.create_with_backend(gate.engine_side())
        });
        if engine.is_err() {
            gate.shut();
        }
        Ok(Self {
            engine: engine?,
            gate,
            health,
        })
    }

    fn write<T>(
        &self,
        commit: Commit,
        work: impl FnOnce(&WriteTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let health = &*self.health;
        let mut transaction = health.guard("writing", || self.engine.begin_write())?;
        transaction.set_quick_repair(commit == Commit::QuickRepair);
        let tx = WriteTx::new(&transaction, health);
        let worked = work(&tx);
        let worked = tx.finish().and(worked);
        if worked.is_ok() {
            health.guard("committing", || transaction.commit())?;
        } else if health.guard("taking back", || transaction.abort()).is_err() {
            health.set_broken();
        }
        worked
    }
}

/// Whatever the engine does when it is dropped, the storage is free afterwards.
fn drop_engine(state: &mut State) {
    let State::Open(opened) = std::mem::replace(state, State::Dropped) else {
        return;
    };
    let Opened {
        engine,
        gate,
        health,
    } = opened;
    let dropped = health.guard("closing", || {
        drop(engine);
        Ok::<_, ::redb::StorageError>(())
    });
    if let Err(error) = dropped {
        log::warn!("{error}");
    }
    health.set_broken();
    gate.shut();
}

/// How long a lock may stay that nobody but a child of this process can have.
const PATIENCE: Duration = Duration::from_secs(1);

const BETWEEN: Duration = Duration::from_millis(5);
