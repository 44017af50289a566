//! Every call into the engine: its panics are caught, its errors become ours.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// What is known of one opening of the database; shared by it and its snapshots.
#[derive(Debug)]
pub(super) struct Health {
    path: PathBuf,
    broken: AtomicBool,
}

impl Health {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            broken: AtomicBool::new(false),
        }
    }

    /// Whether the engine will refuse everything from now on, so that it has to be opened again.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Runs one call into the engine. `action` goes on "the database failed while".
    pub(super) fn guard<T, E: Into<::redb::Error>>(
        &self,
        action: &'static str,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, StoreError> {
        // Whatever the call leaves half done is inside the engine: it is dropped or poisoned, and opened again.
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(action, error.into())),
            Err(panic) => Err(self.damaged(format!(
                "the database gave up while {action}: {}",
                text(&*panic)
            ))),
        }
    }

    pub(super) fn io(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }

    fn error(&self, action: &'static str, error: ::redb::Error) -> StoreError {
        use ::redb::Error;
        match error {
            // Nothing is where the file says that something is.
            Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
                ) =>
            {
                self.set_broken();
                self.damaged(format!("{error} while {action}"))
            }
            Error::Io(source) => {
                self.set_broken();
                self.io(action, source)
            }
            Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_) => {
                self.set_broken();
                self.database(action, error)
            }
            Error::DatabaseAlreadyOpen => StoreError::InUse {
                path: self.path.clone(),
                holder: None,
            },
            Error::UpgradeRequired(found) => StoreError::Version {
                path: self.path.clone(),
                found: format!("database format {found}"),
                known: "database format 3",
            },
            Error::Corrupted(reason) => self.damaged(reason),
            Error::TableTypeMismatch { .. } | Error::TypeDefinitionChanged { .. } => {
                self.damaged(error.to_string())
            }
            _ => self.database(action, error),
        }
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged {
            what: self.path.display().to_string(),
            reason,
        }
    }

    fn database(&self, action: &'static str, error: ::redb::Error) -> StoreError {
        StoreError::Database {
            action,
            source: Box::new(error),
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}
