//! What can go wrong between a wing and the disk, as values that a caller can act on.

use std::io;
use std::path::PathBuf;

use crate::cdtp::CdtpError;
use crate::eventer::EventerError;
use crate::store::StoreError;

/// Why a run was not written, read or sent again, or a message not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The system refuses: the disk is full, there is no permission, the directory does not exist.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: create, write, read, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file has the name that the run should get, and the strategy is to fail.
    #[error("{} exists already{}", path.display(), kept_text(kept.as_ref()))]
    Exists {
        /// The file that is there, untouched.
        path: PathBuf,
        /// Where the run is instead, whole; `None` when nothing was written.
        kept: Option<PathBuf>,
    },
    /// Every name with a suffix up to the largest is taken.
    #[error("{} and {limit} names like it are taken", path.display())]
    NoFreeName {
        /// The first name tried.
        path: PathBuf,
        /// How many were tried after it.
        limit: u32,
    },
    /// The file does not begin as a run file does.
    #[error("{} is not a run file: {reason}", path.display())]
    NotARunFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its beginning.
        reason: &'static str,
    },
    /// The file is of a version that this program cannot read.
    #[error("{} is a run file of version {major}.{minor}, and this program reads version {supported}.x", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        major: u16,
        /// Its minor version.
        minor: u16,
        /// The major version that this program reads.
        supported: u16,
    },
    /// What must be there to send the run again is damaged.
    #[error("the {what} of {} is damaged or missing", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The part that is needed.
        what: &'static str,
    },
    /// One record or message is larger than a file's entry can be.
    #[error("{what} of {found} bytes is over the limit of {limit} of {}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        what: &'static str,
        /// Its size, in bytes.
        found: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More senders are in a run at the same time than the recorder may keep files for.
    #[error("cannot record {sender:?}: {limit} runs are being recorded already")]
    TooManyRuns {
        /// The sender whose run is not recorded.
        sender: String,
        /// The limit.
        limit: usize,
    },
    /// The event is of another sender than the file.
    #[error("an event of {found:?} is not for {}, which holds a run of {expected:?}", path.display())]
    WrongSender {
        /// The file.
        path: PathBuf,
        /// Whose run it holds.
        expected: String,
        /// Whose event came.
        found: String,
    },
    /// The transmitter is in the middle of another run.
    #[error("{sender} is sending a run already, and a file is a run of its own")]
    RunUnderWay {
        /// The name of the transmitter.
        sender: String,
    },
    /// Sending, or the bytes of a message.
    #[error(transparent)]
    Cdtp(#[from] CdtpError),
    /// The store or its engine.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server that has the store.
    #[error(transparent)]
    Eventer(#[from] EventerError),
}

impl RelayError {
    /// Whether the disk or a quota is full, so that room must be made.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            ),
            Self::Store(error) => error.is_full(),
            _ => false,
        }
    }

    /// Whether a file of this name was there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. } | Self::NoFreeName { .. })
    }

    /// Whether the file has bytes that it should not have, so that reading it again is of no use.
    #[must_use]
    pub fn is_bad_data(&self) -> bool {
        matches!(
            self,
            Self::NotARunFile { .. } | Self::Version { .. } | Self::Incomplete { .. }
        )
    }

    /// Whether the store was removed while it was open.
    #[must_use]
    pub fn is_store_removed(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_removed())
    }

    /// Whether there is no such file or directory.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// For `map_err`: the system refuses to do this to this file.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn kept_text(kept: Option<&PathBuf>) -> String {
    kept.map_or_else(String::new, |kept| {
        format!("; the run is in {}", kept.display())
    })
}
