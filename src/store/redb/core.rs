//! What the callers and the thread of the store share.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::event::{Events, Timestamp};
use crate::store::admission::Admission;
use crate::store::{Callbacks, Conditions, Durability, StoreConfig, StoreError};

use super::blocks::BlockCache;
use super::check::Damage;
use super::database::{self, Database, Snapshot};
use super::memtable;
use super::meta::{self, Fact};
use super::partitions::Partition;
use super::reader::Reader;
use super::record;
use super::shared_error;
use super::state::{Commit, State};
use super::types::TypeNames;
use super::worker;
use super::writer::Writer;

/// The parts of an open backend.
pub(super) struct Core {
    pub(super) state: Mutex<State>,
    /// Wakes the thread of the store.
    pub(super) wake: Condvar,
    /// Told whenever a flush ended, or a callback was called.
    pub(super) changed: Condvar,
    /// Whoever writes holds it: the thread of the store, or who registers. `None` once that thread has ended.
    ///
    /// Locked before `state`.
    pub(super) writer: Mutex<Option<Writer>>,
    pub(super) database: Arc<Database>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) types: Arc<TypeNames>,
    pub(super) config: StoreConfig,
    pub(super) conditions: Conditions,
    pub(super) callbacks: Callbacks,
    pub(super) partitions: Vec<Partition>,
    /// Sessions that were reserved, by server; held while a reservation is written.
    pub(super) sessions: Mutex<HashMap<i64, i64>>,
    pub(super) clock: Clock,
    /// Damage that did not keep it from being opened.
    pub(super) found_at_open: Vec<Damage>,
}

/// Tells what time it is.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Core {
    /// The disk as it is; `None` where it cannot be read, so that the next query tries and says why, and where commits would have
    /// to keep the pages that it sees.
    pub(super) fn take_snapshot(&self) -> Option<Snapshot> {
        if self.config.durability == Durability::Committed {
            return None;
        }
        let snapshot = self.database.snapshot();
        snapshot
            .inspect_err(|error| log::error!("the store cannot be read: {error}"))
            .ok()
    }

    /// Takes a call in where the memory part is written by period.
    pub(super) fn register_periodic(&self, events: &Events) -> Result<(), StoreError> {
        let bytes = weight(events)?;
        let mut state = self.room_for(bytes)?;
        let before = state.active.bytes();
        state.register(events);
        let stored = state.active.bytes() - before;
        let call = self.push_call(&mut state, Arc::clone(events), bytes.saturating_sub(stored));
        if self.flush_in_time(&mut state) {
            self.wake.notify_one();
        }
        drop(state);
        self.tell_registered(call, events);
        Ok(())
    }

    /// Takes a call in and waits for its commit, which it makes itself, with what else waits, when nobody writes.
    pub(super) fn register_committed(&self, events: &Events) -> Result<(), StoreError> {
        let bytes = weight(events)?;
        let (done, outcome) = bounded(1);
        let mut state = self.room_for(bytes)?;
        state.work.commits.push_back(Commit {
            events: Arc::clone(events),
            bytes,
            done,
        });
        drop(state);
        if !worker::commit_here(self) {
            self.wake.notify_one();
        }
        let call = outcome.recv().unwrap_or(Err(StoreError::Closed))?;
        self.tell_registered(call, events);
        Ok(())
    }

    /// Notes a call for its callbacks; `left_out` are the bytes of its events that are not stored.
    pub(super) fn push_call(&self, state: &mut State, events: Events, left_out: usize) -> u64 {
        if self.callbacks.flushed.is_some() {
            state.calls.push(events, left_out)
        } else {
            // Nobody will ask for them.
            state.calls.push(Events::default(), 0)
        }
    }

    /// The state once there is room for so many bytes of events; has a flush make it, and waits.
    fn room_for(&self, bytes: usize) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state_to_wait_with()?;
        while !self.fits(&state, bytes) {
            if bytes > self.config.max_unflushed_bytes || state.work.failure.is_some() {
                return Err(self.full(&state, bytes));
            }
            // Else all is written, and waits for a callback.
            if state.needs_flush() {
                state.work.flush_now();
                self.wake.notify_one();
            }
            self.changed.wait(&mut state);
            if state.closed || state.work.stop {
                return Err(StoreError::Closed);
            }
        }
        Ok(state)
    }

    /// Sets when the next flush is due; at once where what waits for it is much. Says whether the thread of the store must know.
    pub(super) fn flush_in_time(&self, state: &mut State) -> bool {
        // A flush and commits exclude each other: nothing more comes while it writes, so more may wait for it.
        let (is_committed, crowded) = match self.config.durability {
            Durability::Periodic => (false, CROWDED),
            Durability::Committed => (true, CROWDED / 2),
        };
        if state.unflushed_bytes() > self.config.max_unflushed_bytes / crowded {
            state.work.flush_now();
            return true;
        }
        if is_committed {
            state.work.flush_when_quiet(self.config.flush_period)
        } else {
            state.work.flush_within(self.config.flush_period)
        }
    }

    /// Has everything written that was registered before, and waits for it.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let (done, outcome) = bounded(1);
        let mut state = self.state_to_wait_with()?;
        let made = state.calls.made();
        state.work.flushes.push(done);
        self.wake.notify_one();
        drop(state);
        outcome.recv().unwrap_or(Err(StoreError::Closed))?;
        // Another thread may be calling back; all is told when this returns.
        let mut state = self.state.lock();
        while state.calls.told() < made && !state.closed {
            self.changed.wait(&mut state);
        }
        Ok(())
    }

    /// Removes what the limits no longer allow, by this time.
    pub(super) fn cleanup(&self, now: Timestamp) -> Result<(), StoreError> {
        let (done, outcome) = bounded(1);
        let mut state = self.state_to_wait_with()?;
        state.work.cleanups.push((now, done));
        self.wake.notify_one();
        drop(state);
        outcome.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// The state of a backend that is open.
    pub(super) fn open_state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }

    /// The state of a backend that takes more work, for a thread that may wait for it.
    fn state_to_wait_with(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        // What came after the last flush began would be in none.
        if state.closed || state.work.stop {
            return Err(StoreError::Closed);
        }
        if !state.calling_back.is_empty() && state.calling_back.contains(&thread::current().id()) {
            return Err(StoreError::InCallback);
        }
        Ok(state)
    }

    /// What reads from this snapshot, or from a new one.
    pub(super) fn reader(&self, snapshot: Option<Snapshot>) -> Result<Reader, StoreError> {
        let snapshot = match snapshot.filter(Snapshot::is_current) {
            Some(snapshot) => snapshot,
            None => {
                let epoch = self.state.lock().epoch;
                let snapshot = self.database.snapshot()?;
                let mut state = self.state.lock();
                // After a flush it would hide what is no longer in the memory part.
                if state.epoch == epoch && !state.closed {
                    state.snapshot = Some(snapshot.clone());
                }
                snapshot
            }
        };
        Ok(Reader::new(snapshot, &self.cache, &self.types))
    }

    /// Rules that know of no event yet.
    pub(super) fn admission(&self) -> Admission {
        Admission::new(&self.config)
    }

    /// Says durably that sessions up to `last` may be handed out.
    pub(super) fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        let mut sessions = self.sessions.lock();
        drop(self.open_state()?);
        self.database.write(database::Commit::Fast, |tx| {
            meta::put(tx, Fact::Sessions(server), &last.to_be_bytes())
        })?;
        sessions.insert(server, last);
        Ok(())
    }

    /// The session up to which none may be handed out again.
    pub(super) fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        let stored = self
            .open_state()?
            .ledger
            .last(server)
            .map_or(0, |(id, _)| id.session);
        let reserved = self.sessions.lock().get(&server).copied();
        Ok(reserved.map_or(stored, |reserved| reserved.max(stored)))
    }

    /// Flushes, and ends the thread, which gives the file back.
    pub(super) fn close(&self, thread: JoinHandle<()>) -> Result<(), StoreError> {
        let (done, outcome) = bounded(1);
        self.stop(Some(done));
        let outcome = outcome.recv();
        let ended = thread.join();
        if ended.is_err() {
            log::error!("the thread of the store panicked");
        }
        // Without an outcome a callback was first to close it, and what went wrong then is in the log.
        outcome.unwrap_or(ended.map_err(|_| StoreError::Closed))
    }

    /// Has the thread flush for the last time and end.
    pub(super) fn stop(&self, done: Option<Sender<Result<(), StoreError>>>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.work.stop = true;
        state.work.flushes.extend(done);
        drop(state);
        self.wake.notify_one();
    }

    /// Calls back that a call is registered, in its turn, and what is to be told then.
    fn tell_registered(&self, call: u64, events: &Events) {
        let mut state = self.state.lock();
        while !state.calls.is_turn(call) {
            self.changed.wait(&mut state);
        }
        if self.callbacks.registered.is_some() {
            self.call_back(&mut state, || self.callbacks.tell_registered(events));
        }
        state.calls.set_registered(call);
        let more = state.calls.made() > call + 1 || state.calls.durable() > call;
        drop(state);
        if more {
            self.changed.notify_all();
            self.tell_flushed();
        }
    }

    /// Calls back about the calls that are registered and durable, in their order; one thread at a time.
    pub(super) fn tell_flushed(&self) {
        let mut state = self.state.lock();
        if !state.calls.begin_telling() {
            return;
        }
        while let Some(events) = state.calls.next_to_tell() {
            if self.callbacks.flushed.is_some() {
                self.call_back(&mut state, || self.callbacks.tell_flushed(&events));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Calls back without the lock; this thread may not wait for the store meanwhile.
    fn call_back(&self, state: &mut MutexGuard<'_, State>, call: impl FnOnce()) {
        let thread = thread::current().id();
        state.calling_back.push(thread);
        MutexGuard::unlocked(state, call);
        state.calling_back.retain(|other| *other != thread);
    }

    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.unflushed_bytes().saturating_add(bytes) <= self.config.max_unflushed_bytes
    }

    fn full(&self, state: &State, bytes: usize) -> StoreError {
        StoreError::Full {
            bytes,
            held: state.unflushed_bytes(),
            limit: self.config.max_unflushed_bytes,
            source: state
                .work
                .failure
                .as_ref()
                .map(|failure| Box::new(shared_error(failure))),
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// The memory that events take.
///
/// One that no record can hold is an error here, where it concerns its caller only.
fn weight(events: &Events) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for event in events.iter() {
        record::check_size(event)?;
        bytes += memtable::weight(event);
    }
    Ok(bytes)
}

/// Above this part of what may wait for a flush, the flush comes at once.
const CROWDED: usize = 4;
