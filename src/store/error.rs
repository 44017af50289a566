//! The error of the store.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::event::{EventError, EventId};
use crate::store::shared::FaultKind;

/// What went wrong in a store of events, or in the engine above it.
///
/// Ask the predicates rather than the text. What holds after an error is said by the method that gives it, in short: nothing
/// of a failed call was kept, and what was kept before still is.
///
/// ```
/// use acqbus::store::{Backend, Callbacks, DummyBackend};
///
/// let store = DummyBackend::new(Callbacks::default());
/// store.close()?;
/// let error = store.last_event_id(1).unwrap_err();
/// assert!(error.is_closed() && !error.is_full());
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend or the engine was closed; it is never opened again.
    #[error("the store is closed")]
    Closed,
    /// A key of the configuration has a value that cannot be, is missing, or is none that we know.
    #[error("{key}: {reason}")]
    Configuration {
        /// The key as a path, for example `timeseries[1].limit.size`; empty for the configuration as a whole.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file with a configuration cannot be used.
    #[error("{path:?} is no configuration")]
    ConfigurationFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// The text of a configuration is no TOML, or no JSON.
    #[error("the configuration is no {format}")]
    Syntax {
        /// The format that it was read as.
        format: &'static str,
        /// What the reader of the format said, with the place.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A query wants fewer than no results.
    #[error("max_results is {found}; it cannot be below 0")]
    NegativeMaxResults {
        /// What the query says.
        found: i64,
    },
    /// A server query goes on after an event of another server.
    #[error("the query is for server {server} and goes on after event {last} of another server")]
    OtherServer {
        /// The server that the query names.
        server: i64,
        /// The event that it names.
        last: EventId,
    },
    /// A query names an event type that cannot be one.
    #[error("the query cannot be answered")]
    Query(#[source] EventError),
    /// The store belongs to something else.
    #[error("the store has the identifier {found:?}, and {expected:?} is configured")]
    Identifier {
        /// What the configuration says.
        expected: String,
        /// What the store says.
        found: String,
    },
    /// The file is of a version that this program does not know.
    #[error("{path:?} has version {found} of the store; this program knows {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program reads and writes.
        known: &'static str,
    },
    /// Another process has the store open.
    #[error("{path:?} is in use{}", by(*holder))]
    InUse {
        /// The directory or the file.
        path: PathBuf,
        /// The process that has it open, where that can be told.
        holder: Option<u32>,
    },
    /// There is no store in a directory, and none was to be made.
    #[error("there is no store in {path:?}")]
    NotFound {
        /// The directory.
        path: PathBuf,
    },
    /// The store was removed, or another one put in its place, while it was open here: nothing can be kept in it any more.
    #[error("the store in {path:?} was removed while it was open")]
    Removed {
        /// The directory.
        path: PathBuf,
    },
    /// The process that has the store open could not do what it was asked.
    #[error("the owner of {path:?} says: {text}")]
    Owner {
        /// The directory.
        path: PathBuf,
        /// What kind of error it had.
        kind: FaultKind,
        /// Its words, causes included.
        text: String,
    },
    /// The operating system refused something.
    #[error("{action} {path:?} failed")]
    Io {
        /// What was tried, for example `"opening"`.
        action: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The database refused something.
    #[error("the database failed while {action}")]
    Database {
        /// What was tried, for example `"committing"`.
        action: &'static str,
        /// What the database said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something in the store is not what was written.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// Which part of the store, as exactly as can be told.
        what: String,
        /// How it shows.
        reason: String,
    },
    /// The events do not fit; nothing of the call was kept.
    #[error("no room for {bytes} bytes beside {held} that are not on disk yet, of {limit}")]
    Full {
        /// Size of what was refused.
        bytes: usize,
        /// Size of what is held already.
        held: usize,
        /// The limit of both together.
        limit: usize,
        /// Why what is held could not be written, if that was tried.
        source: Option<Box<Self>>,
    },
    /// A callback of a store registers with it or flushes it, which would wait for the callback itself.
    #[error("a callback cannot register with the store that calls it, or flush it")]
    InCallback,
    /// An event cannot be written.
    #[error("event {id} cannot be stored: {reason}")]
    Encode {
        /// The event.
        id: EventId,
        /// What is wrong with it.
        reason: String,
    },
    /// A module cannot be made, or asks for what it may not.
    #[error("module {index}: {reason}")]
    Module {
        /// Its place in the list of modules, from 0.
        index: usize,
        /// What it did.
        reason: String,
    },
    /// A module registers events on the engine's thread, which would wait for itself; it gives them back from `process`.
    #[error("a module cannot register on the engine's thread; it gives its events back instead")]
    OnEngineThread,
    /// Modules answer each other's events without an end; nothing of the session was registered.
    #[error(
        "session {session} has {found} {what}, more than the {limit} that are allowed: do modules answer each other?"
    )]
    Loop {
        /// The session, whose number is not used again.
        session: i64,
        /// What there are too many of: rounds, or events.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A server has used up its session numbers.
    #[error("server {server} has no session numbers left")]
    Sessions {
        /// The server.
        server: i64,
    },
    /// The operating system gave no thread.
    #[error("thread {name} cannot be started")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the backend or the engine is closed, for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether there is no room: in memory for what is not written yet, or on the disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Owner { kind, .. } => *kind == FaultKind::Full,
            Self::Io { source, .. } => is_no_room(source),
            Self::Database { source, .. } => causes(source.as_ref())
                .filter_map(|cause| cause.downcast_ref())
                .any(is_no_room),
            _ => false,
        }
    }

    /// Whether there is no store, and none was to be made.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the store was removed while it was open.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        matches!(self, Self::Removed { .. })
    }

    /// Whether another process has the store open.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// Whether something in the store is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Owner {
                    kind: FaultKind::Damaged,
                    ..
                }
        )
    }

    /// Whether the configuration is at fault; the text names the key.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Configuration { .. }
                | Self::ConfigurationFile { .. }
                | Self::Syntax { .. }
                | Self::Identifier { .. }
        )
    }

    /// Whether the query is at fault.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Self::NegativeMaxResults { .. }
                | Self::OtherServer { .. }
                | Self::Query(_)
                | Self::Owner {
                    kind: FaultKind::Query,
                    ..
                }
        )
    }

    /// Whether modules answer each other's events without an end.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        matches!(self, Self::Loop { .. })
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

fn causes<'a>(
    error: &'a (dyn Error + Send + Sync + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

fn by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |process| format!(" by process {process}"))
}
