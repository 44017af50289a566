//! What can go wrong on a socket, as values that a caller can act on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::zsocket::endpoint::Endpoint;
use crate::zsocket::frame::Frame;
use crate::zsocket::raw::Errno;

/// Why an operation on a context, a socket, an endpoint or a key failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZsocketError {
    /// Another socket holds the address.
    #[error("{endpoint} is in use by another program or socket")]
    AddressInUse {
        /// The endpoint that was to be bound.
        endpoint: Endpoint,
    },
    /// This machine has no such address or interface.
    #[error("this machine has no address or interface {endpoint}")]
    AddressNotAvailable {
        /// The endpoint that was to be bound.
        endpoint: Endpoint,
    },
    /// The system refuses the address to this user, as it does for ports below 1024.
    #[error("no permission to use {endpoint}")]
    PermissionDenied {
        /// The endpoint that was to be used.
        endpoint: Endpoint,
    },
    /// The socket is neither bound nor connected to this endpoint.
    #[error("the socket does not use {endpoint}")]
    NotAttached {
        /// The endpoint that was to be left.
        endpoint: Endpoint,
    },
    /// The text is not an endpoint.
    #[error("{text:?} is not an endpoint: {reason}")]
    InvalidEndpoint {
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No interface has this name, and it is no address either.
    #[error("no interface or address {name:?}; this machine has {}", available.join(", "))]
    UnknownInterface {
        /// The name as it was given.
        name: String,
        /// The interfaces that exist.
        available: Vec<String>,
    },
    /// The interfaces of this machine cannot be listed.
    #[error("cannot list the interfaces of this machine")]
    Interfaces {
        /// What the system said.
        source: io::Error,
    },
    /// The operation did not finish within its time-out.
    #[error("{operation} did not finish in time")]
    TimedOut {
        /// What was tried.
        operation: &'static str,
    },
    /// The socket's context is being shut down; only dropping the socket is left to do.
    #[error("{operation}: the context is shut down")]
    Terminated {
        /// What was tried.
        operation: &'static str,
    },
    /// The socket cannot do this now, such as a second request before the reply to the first.
    #[error("{operation}: not possible in the socket's present state")]
    WrongState {
        /// What was tried.
        operation: &'static str,
    },
    /// A mandatory router does not know the peer.
    #[error("{operation}: no such peer is connected")]
    HostUnreachable {
        /// What was tried.
        operation: &'static str,
    },
    /// This kind of socket, or this build of libzmq, cannot do it.
    #[error("{operation}: not supported by this socket or this libzmq")]
    Unsupported {
        /// What was tried.
        operation: &'static str,
    },
    /// The process has no descriptor or socket left.
    #[error("{operation}: too many open files or sockets")]
    TooManyOpenFiles {
        /// What was tried.
        operation: &'static str,
    },
    /// A key, a key file or a key directory.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Any other failure.
    #[error("{operation} failed")]
    Other {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ZsocketError {
    /// Whether a port or address is taken or missing, so that another one may work.
    #[must_use]
    pub fn is_address(&self) -> bool {
        matches!(
            self,
            Self::AddressInUse { .. }
                | Self::AddressNotAvailable { .. }
                | Self::PermissionDenied { .. }
                | Self::InvalidEndpoint { .. }
                | Self::UnknownInterface { .. }
        )
    }

    /// Whether the address is taken.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::AddressInUse { .. })
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// Whether the context is shut down.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        matches!(self, Self::Terminated { .. })
    }

    /// What an error number means where no endpoint is concerned.
    #[cold]
    pub(super) fn from_errno(operation: &'static str, errno: impl Into<Errno>) -> Self {
        use zmq_sys::errno as e;
        match errno.into().0 {
            e::EAGAIN => Self::TimedOut { operation },
            e::ETERM => Self::Terminated { operation },
            e::EFSM => Self::WrongState { operation },
            e::EHOSTUNREACH => Self::HostUnreachable { operation },
            e::ENOTSUP | e::EPROTONOSUPPORT | e::ENOCOMPATPROTO => Self::Unsupported { operation },
            e::EMFILE => Self::TooManyOpenFiles { operation },
            e::EMTHREAD => Self::Other {
                operation,
                source: io::Error::other("no I/O thread is available"),
            },
            other => Self::Other {
                operation,
                source: io::Error::from_raw_os_error(other),
            },
        }
    }

    /// What an error number means for this endpoint.
    #[cold]
    pub(super) fn at(operation: &'static str, endpoint: &Endpoint, errno: Errno) -> Self {
        use zmq_sys::errno as e;
        let endpoint = endpoint.clone();
        match errno.0 {
            e::EADDRINUSE => Self::AddressInUse { endpoint },
            e::EADDRNOTAVAIL | e::ENODEV => Self::AddressNotAvailable { endpoint },
            e::EACCES => Self::PermissionDenied { endpoint },
            e::ENOENT => Self::NotAttached { endpoint },
            e::EINVAL => Self::InvalidEndpoint {
                text: endpoint.to_string(),
                reason: "libzmq refuses it",
            },
            _ => Self::from_errno(operation, errno),
        }
    }
}

/// Why a frame was not sent at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The queue is full, or no peer is connected; here is the frame.
    #[error("the send queue is full or has no peer")]
    Full(Frame),
    /// Another failure; the frame is gone.
    #[error(transparent)]
    Failed(#[from] ZsocketError),
}

impl TrySendError {
    /// Whether trying again later may work.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Why a key, a key file or a key directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// This libzmq was built without CURVE.
    #[error("this libzmq has no CURVE security")]
    NoCurve,
    /// The text is not a key: 40 characters of Z85.
    #[error("not a key: {reason}")]
    InvalidKey {
        /// What is wrong, without the text: it may be a secret.
        reason: &'static str,
    },
    /// A name of a person or program that cannot be one.
    #[error("{name:?} is not a name for a key: 1 to 64 of A-Z a-z 0-9 . _ - and no dot first")]
    InvalidName {
        /// The name as it was given.
        name: String,
    },
    /// A role that does not exist.
    #[error("{text:?} is not a role: viewer, operator or admin")]
    InvalidRole {
        /// The text as it was given.
        text: String,
    },
    /// The directory has keys already.
    #[error("{} holds keys already", path.display())]
    AlreadyExists {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody has this name already.
    #[error("{name:?} has a key already; revoke it first, then add another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Somebody had this name, and was revoked.
    #[error("{name:?} was revoked and stays in the logs; use another name, such as {name}-2")]
    NameRevoked {
        /// The name.
        name: String,
    },
    /// Nobody has this name.
    #[error("no key is named {name:?}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// Others than the owner may read or change the file.
    #[error(
        "{} has mode {mode:04o}, so others than its owner could use it; type: chmod {} {}",
        path.display(), if *is_directory { "700" } else { "600" }, path.display()
    )]
    WideMode {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whether it is the directory.
        is_directory: bool,
    },
    /// The file is not what it should be.
    #[error("{} is not a usable key file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any of its text.
        reason: String,
    },
    /// The file or directory cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: read, write, create.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be watched for changes.
    #[error("cannot watch {} for changes", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the watcher said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Milliseconds as libzmq wants them: rounded up, `None` is -1.
pub(super) fn millis(duration: Option<Duration>) -> i32 {
    duration.map_or(-1, |duration| {
        i32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_error_number_is_an_error_and_no_panic() {
        let error = ZsocketError::from_errno("bind", Errno(123_456));
        assert!(matches!(error, ZsocketError::Other { .. }));
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn short_waits_round_up() {
        assert_eq!(millis(None), -1);
        assert_eq!(millis(Some(Duration::ZERO)), 0);
        assert_eq!(millis(Some(Duration::from_nanos(1))), 1);
        assert_eq!(millis(Some(Duration::from_micros(1001))), 2);
        assert_eq!(millis(Some(Duration::MAX)), i32::MAX);
    }
}
