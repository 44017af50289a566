//! The durable backend: one file of the `redb` engine.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use parking_lot::Mutex;

use crate::event::{Event, EventId, Events, QueryParams, QueryResult, Timestamp};
use crate::store::{Backend, Callbacks, Durability, StoreConfig, StoreError};

mod blocks;
mod catalog;
mod check;
mod chunks;
mod cleanup;
mod core;
mod database;
mod keys;
mod latest;
mod ledger;
mod memtable;
mod merge;
mod meta;
mod open;
mod partitions;
mod query;
mod reader;
mod rebuild;
mod record;
mod repair;
mod salvage;
mod state;
mod stats;
mod types;
mod worker;
mod writer;

pub use check::{CheckSummary, Damage};
pub use database::{FileStorage, MemoryStorage, Storage, StorageFile};
#[doc(hidden)]
pub use record::fuzz_record;
pub use repair::Repair;
pub use stats::{PartitionStats, ServerStats, StoreStats};

use self::core::Core;

/// A durable store of events in one directory, in the file `store.redb`.
///
/// It takes hat-event's configuration and answers like its LMDB backend, but always in the exact order of the keys.
/// Register never waits for the disk where the durability is periodic, unless `max_unflushed_bytes` of events wait for it;
/// where it is committed, it returns once the events are on disk, and they are visible then. Queries wait for neither.
///
/// What is not on disk yet is kept in memory and tried again after an error, every `flush_period`.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, QueryTimeseriesParams, Timestamp};
/// use acqbus::store::{Backend, Callbacks, RedbBackend, StoreConfig};
/// use std::sync::Arc;
///
/// let dir = tempfile::tempdir()?;
/// let id = EventId { server: 1, session: 1, instance: 1 };
/// let store = RedbBackend::open(dir.path(), StoreConfig::default(), Callbacks::default())?;
/// store.register(vec![Arc::new(Event::new(id, "rig-1/door".parse()?, Timestamp::now()))].into())?;
/// store.close()?;
///
/// let store = RedbBackend::open(dir.path(), StoreConfig::default(), Callbacks::default())?;
/// assert_eq!(store.query(&QueryTimeseriesParams::default().into())?.events[0].id, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedbBackend {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

impl RedbBackend {
    /// Opens the store in a directory, or makes both.
    ///
    /// Blocks for the recovery after a crash, and for the first round of the cleanup. Starts the thread `acqbus-store`. What was
    /// committed and not in the indexes when the process died is taken in by the rules of this configuration: what these leave
    /// out goes, with a line in the log.
    ///
    /// # Errors
    /// [`StoreError::is_in_use`]; [`StoreError::Identifier`]; [`StoreError::Version`]; [`StoreError::is_damage`];
    /// [`StoreError::Configuration`]; [`StoreError::Io`] and [`StoreError::Database`]; [`StoreError::Thread`].
    pub fn open(dir: &Path, config: StoreConfig, callbacks: Callbacks) -> Result<Self, StoreError> {
        database::make_folder(dir).map_err(|source| StoreError::Io {
            action: "making",
            path: dir.to_owned(),
            source,
        })?;
        Self::open_in(
            Arc::new(FileStorage::new(dir.join(FILE))),
            config,
            callbacks,
        )
    }

    /// Opens the store in other storage than a directory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        callbacks: Callbacks,
    ) -> Result<Self, StoreError> {
        Self::open_with_clock(storage, config, callbacks, Timestamp::now)
    }

    /// Opens the store with another clock for the limits by age.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_clock(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        callbacks: Callbacks,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let core = Arc::new(open::open(storage, config, callbacks, Arc::new(clock))?);
        let of_thread = Arc::clone(&core);
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || worker::run(&of_thread))
            .map_err(|source| StoreError::Thread {
                name: THREAD,
                source,
            })?;
        Ok(Self {
            core,
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Removes what the limits of the configuration no longer allow at this time; blocks until it is done.
    ///
    /// The thread of the store does the same when the store is opened and every `cleanup_period`.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading and writing gave.
    pub fn cleanup(&self, now: Timestamp) -> Result<(), StoreError> {
        self.core.cleanup(now)
    }

    /// What the store holds, in numbers.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading the store gave.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        stats::stats(&self.core)
    }

    /// Verifies every checksum and that the indexes and the events agree; reports what is wrong one by one and goes on past it.
    ///
    /// Looks at what is flushed; flush before, so that it is everything. Reads the whole file twice; queries and register go on
    /// meanwhile, but for the second time, when the database verifies its own pages. What that could put right is reported all
    /// the same.
    ///
    /// # Errors
    /// [`StoreError::Closed`], and what reading the store gave other than damage.
    pub fn check(&self, report: &mut dyn FnMut(Damage)) -> Result<CheckSummary, StoreError> {
        self.check_while(&|| true, report)
    }

    /// The same as long as `goes_on` says so, which is asked again and again; then it gives [`StoreError::Closed`].
    pub(crate) fn check_while(
        &self,
        goes_on: &dyn Fn() -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<CheckSummary, StoreError> {
        check::check(&self.core, goes_on, report)
    }

    /// Verifies everything as [`check`](Self::check) does, of a store that is not open and may be too damaged for that.
    ///
    /// Nothing in the directory is changed. What a crash left is looked at as opening it would find it.
    ///
    /// # Errors
    /// [`StoreError::is_not_found`]; [`StoreError::is_in_use`]; [`StoreError::is_damage`] where the database cannot read its own
    /// file at all, so that nothing more can be told; [`StoreError::Io`].
    pub fn check_file(
        dir: &Path,
        report: &mut dyn FnMut(Damage),
    ) -> Result<CheckSummary, StoreError> {
        salvage::check(file_to_read(dir)?, report)
    }

    /// As [`check_file`](Self::check_file), in other storage than a directory.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file).
    pub fn check_in(
        storage: Arc<dyn Storage>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<CheckSummary, StoreError> {
        salvage::check(storage, report)
    }

    /// Shows every event of a damaged store whose checksum holds, and reports what cannot be read; gives how many events there were.
    ///
    /// The store must not be open, and nothing in its directory is changed. Events of one server come in the order of their ids,
    /// so that another store takes them all in. An event whose type cannot be read is left out, and so is one that a cleanup has
    /// removed, unless it is damaged which those are. A break of `visit` ends it.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file).
    pub fn salvage(
        dir: &Path,
        report: &mut dyn FnMut(Damage),
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<u64, StoreError> {
        salvage::salvage(file_to_read(dir)?, report, visit)
    }

    /// As [`salvage`](Self::salvage), in other storage than a directory.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file).
    pub fn salvage_in(
        storage: Arc<dyn Storage>,
        report: &mut dyn FnMut(Damage),
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<u64, StoreError> {
        salvage::salvage(storage, report, visit)
    }

    /// Makes a store that is too damaged to be opened one that can be: every event that [`salvage`](Self::salvage) shows goes into
    /// a new file, which takes the place of the damaged one. That one stays beside it as `store.redb.damaged`.
    ///
    /// The store must not be open. It gets the series of `config`, which is to be the configuration that it is opened with; its
    /// identifier and the sessions that may have been handed out are kept, or begin far beyond the last where the file does not
    /// say. Needs room for a second file. Reports what is lost. Blocks until all is on disk.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file), and [`open`](Self::open). The store is as it was then.
    pub fn repair(
        dir: &Path,
        config: StoreConfig,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Repair, StoreError> {
        repair::repair(dir, config, report)
    }
}

impl Backend for RedbBackend {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        let last = self.core.open_state()?.ledger.last(server);
        Ok(last.map_or(
            EventId {
                server,
                session: 0,
                instance: 0,
            },
            |(id, _)| id,
        ))
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        let last = self.core.open_state()?.ledger.last(server);
        Ok(last.map(|(_, timestamp)| timestamp))
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        match self.core.config.durability {
            Durability::Periodic => self.core.register_periodic(&events)?,
            Durability::Committed => self.core.register_committed(&events)?,
        }
        Ok(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        query::visit(&self.core, params, visit)
    }

    fn query(&self, params: &QueryParams) -> Result<QueryResult, StoreError> {
        if let QueryParams::Latest(params) = params {
            return Ok(QueryResult::new(query::latest(&self.core, params)?, false));
        }
        let mut events = Vec::new();
        let more_follows = query::visit(&self.core, params, &mut |event| {
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        })?;
        Ok(QueryResult {
            events,
            more_follows,
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.core.flush()
    }

    fn close(&self) -> Result<(), StoreError> {
        if thread::current().id() == self.thread_id {
            // The last owner may be a callback; the thread ends after it.
            self.core.stop(None);
            return Ok(());
        }
        // Held while it waits, so that a second caller waits too.
        let mut thread = self.thread.lock();
        (thread.take()).map_or(Ok(()), |thread| self.core.close(thread))
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.core.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.core.session_floor(server)
    }
}

impl fmt::Debug for RedbBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbBackend")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Drop for RedbBackend {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("the store was not closed well: {error}");
        }
    }
}

/// The file of a store that is there.
fn file_to_read(dir: &Path) -> Result<Arc<dyn Storage>, StoreError> {
    let path = dir.join(FILE);
    match path.try_exists() {
        Ok(true) => Ok(Arc::new(FileStorage::read_only(path))),
        Ok(false) => Err(StoreError::NotFound {
            path: dir.to_owned(),
        }),
        Err(source) => Err(StoreError::Io {
            action: "opening",
            path,
            source,
        }),
    }
}

/// The same error once more, for another one who waits for the same thing.
fn shared_error(error: &Arc<StoreError>) -> StoreError {
    match &**error {
        StoreError::Closed => StoreError::Closed,
        StoreError::Damaged { what, reason } => StoreError::Damaged {
            what: what.clone(),
            reason: reason.clone(),
        },
        StoreError::Database { action, .. } => StoreError::Database {
            action,
            source: shared_cause(error),
        },
        _ => StoreError::Database {
            action: "writing events",
            source: Box::new(Shared(Arc::clone(error))),
        },
    }
}

/// What the database said, which tells by itself what kind of error of the operating system it was.
fn shared_cause(error: &Arc<StoreError>) -> Box<dyn std::error::Error + Send + Sync> {
    let cause = SharedCause(Arc::clone(error));
    let first = std::error::Error::source(&**error);
    let mut causes = std::iter::successors(first, |error| error.source());
    let kind = causes.find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    match kind {
        Some(kind) => Box::new(io::Error::new(kind, cause)),
        None => Box::new(cause),
    }
}

/// An error that several hold.
#[derive(Debug)]
struct Shared(Arc<StoreError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}

/// The cause of an error that several hold.
#[derive(Debug)]
struct SharedCause(Arc<StoreError>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(&*self.0) {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)?.source()
    }
}

/// Name of the file in the directory of a store.
const FILE: &str = "store.redb";
const THREAD: &str = "acqbus-store";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_ends_when_it_may_not_go_on() {
        use crate::event::EventType;

        let dir = tempfile::tempdir().unwrap();
        let store =
            RedbBackend::open(dir.path(), StoreConfig::default(), Callbacks::default()).unwrap();
        let event = |number| {
            let id = EventId::new(1, number, 1);
            Arc::new(Event::new(
                id,
                EventType::new(["a"]),
                Timestamp::new(number, 0),
            ))
        };
        store.register((1..=10).map(event).collect()).unwrap();
        store.flush().unwrap();
        let looks = std::cell::Cell::new(0);
        let goes_on = || {
            looks.set(looks.get() + 1);
            looks.get() < 5
        };
        let ended = store.check_while(&goes_on, &mut |_| {}).unwrap_err();
        assert!(ended.is_closed(), "{ended}");
        assert_eq!(looks.get(), 5);
        assert_eq!(store.check(&mut |_| {}).unwrap().events, 10);
    }

    #[test]
    fn shared_error_says_each_thing_once_and_stays_what_it_is() {
        let full = StoreError::Database {
            action: "writing events",
            source: io::Error::new(io::ErrorKind::StorageFull, "no space left").into(),
        };
        let mut shared = Arc::new(full);
        // Held by several, one after the other.
        for _ in 0..3 {
            shared = Arc::new(shared_error(&shared));
        }
        assert!(shared.is_full());
        let first: Option<&dyn std::error::Error> = Some(&*shared);
        let chain = std::iter::successors(first, |error| error.source());
        let told: Vec<_> = chain.map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["the database failed while writing events", "no space left"]
        );
    }
}
