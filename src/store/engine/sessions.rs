//! Numbers of sessions, none of them twice.

use crate::store::{Backend, StoreError};

/// Hands out the session numbers of one server.
///
/// Ahead of what it hands out it tells the backend durably how far it may go, in steps of [`RESERVED`]: after a crash that
/// lost the last events the next run begins beyond that.
#[derive(Debug)]
pub(super) struct Sessions {
    server: i64,
    /// The last one handed out.
    last: i64,
    /// No number beyond it may be handed out.
    reserved: i64,
    /// A number beyond it is time to reserve more.
    reserve_at: i64,
}

impl Sessions {
    pub(super) fn new(backend: &dyn Backend, server: i64) -> Result<Self, StoreError> {
        let last = backend.session_floor(server)?;
        Ok(Self {
            server,
            last,
            reserved: last,
            reserve_at: last,
        })
    }

    /// The next number. Fails when no more can be reserved and none is left; the next call tries again.
    pub(super) fn next(&mut self, backend: &dyn Backend) -> Result<i64, StoreError> {
        let Some(next) = self.last.checked_add(1) else {
            return Err(StoreError::Sessions {
                server: self.server,
            });
        };
        if next > self.reserve_at {
            self.reserve(backend, next)?;
        }
        self.last = next;
        Ok(next)
    }

    /// Says that nothing beyond what was handed out ever will be.
    pub(super) fn give_back(&self, backend: &dyn Backend) -> Result<(), StoreError> {
        backend.reserve_sessions(self.server, self.last)
    }

    fn reserve(&mut self, backend: &dyn Backend, next: i64) -> Result<(), StoreError> {
        let until = next.saturating_add(RESERVED);
        match backend.reserve_sessions(self.server, until) {
            Ok(()) => {
                self.reserved = until;
                self.reserve_at = until - RESERVED / 2;
            }
            Err(error) if next <= self.reserved => {
                let left = self.reserved - next;
                log::warn!("sessions cannot be reserved, {left} are left: {error}");
                // Not at every session: the disk is probably full.
                self.reserve_at = next + left / 2;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// So many numbers a durable write, and so many are skipped by a crash at most.
const RESERVED: i64 = 65_536;
