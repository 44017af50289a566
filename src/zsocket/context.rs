//! The context: libzmq's I/O threads, and the name space of `inproc` endpoints.

use std::fmt;
use std::sync::Arc;

use crate::zsocket::error::ZsocketError;
use crate::zsocket::raw::RawContext;

/// A handle of libzmq's I/O threads, from which sockets are made.
///
/// Clones share one context. Each socket holds one, so the context ends when the last handle and
/// the last socket are gone; that last drop waits until every socket has sent its messages or its
/// linger is over.
#[derive(Clone)]
pub struct Context {
    raw: Arc<RawContext>,
}

impl Context {
    /// Makes a context with one I/O thread, which carries about a gigabyte per second.
    ///
    /// # Errors
    /// [`ZsocketError::TooManyOpenFiles`] if the process has no descriptor left.
    pub fn new() -> Result<Self, ZsocketError> {
        Self::with_io_threads(1)
    }

    /// Makes a context with this many I/O threads; 0 counts as 1.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn with_io_threads(io_threads: u16) -> Result<Self, ZsocketError> {
        let raw = RawContext::new(io_threads)
            .map_err(|errno| ZsocketError::from_errno("making a context", errno))?;
        Ok(Self { raw: Arc::new(raw) })
    }

    /// Ends every blocking call on every socket with [`ZsocketError::Terminated`], from any thread.
    ///
    /// The sockets can then only be dropped. A second call does nothing.
    pub fn shutdown(&self) {
        self.raw.shutdown();
    }

    pub(super) fn raw(&self) -> &RawContext {
        &self.raw
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
