//! The thread `acqbus-store`: commits that nobody makes himself, flushes by request and by period, cleanups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::event::Timestamp;
use crate::store::{StoreConfig, StoreError};

use super::core::Core;
use super::shared_error;
use super::state::{Commit, Turn};
use super::writer::Writer;

/// Runs until the backend is closed.
pub(super) fn run(core: &Arc<Core>) {
    let _closing = CloseAtEnd(core);
    loop {
        let job = next_job(core);
        let mut writer = core.writer.lock();
        // Only this thread takes it away, at its end.
        let Some(writer) = writer.as_mut() else {
            return;
        };
        match job {
            Job::Commit => commit_waiting(core, writer),
            Job::Flush(waiting) => answer(waiting, flush(core, writer)),
            Job::Cleanup(now, waiting) => cleanup(core, writer, now, waiting),
            Job::Stop(waiting) => {
                answer(waiting, flush(core, writer));
                return;
            }
        }
    }
}

/// Commits what waits on the caller's thread, which saves waking two threads; false where somebody else writes, who is to do it.
pub(super) fn commit_here(core: &Core) -> bool {
    let Some(mut writer) = core.writer.try_lock() else {
        return false;
    };
    let Some(writer) = writer.as_mut() else {
        return false;
    };
    commit_waiting(core, writer);
    true
}

/// One thing to do.
enum Job {
    Commit,
    Flush(Waiting),
    Cleanup(Timestamp, Waiting),
    /// Flush for the last time.
    Stop(Waiting),
}

/// Who waits for the outcome.
type Waiting = Vec<Sender<Result<(), StoreError>>>;

/// Nobody waits for ever for a thread that is gone, and the file is free then.
struct CloseAtEnd<'a>(&'a Core);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        drop(self.0.writer.lock().take());
        let mut state = self.0.state.lock();
        state.closed = true;
        state.work.commits.clear();
        state.work.flushes.clear();
        state.work.cleanups.clear();
        state.snapshot = None;
        drop(state);
        self.0.database.close();
        self.0.changed.notify_all();
    }
}

/// Waits for something to do.
fn next_job(core: &Core) -> Job {
    let mut state = core.state.lock();
    loop {
        let now = Instant::now();
        let work = &mut state.work;
        if work.stop {
            if !work.commits.is_empty() {
                return Job::Commit;
            }
            return Job::Stop(std::mem::take(&mut work.flushes));
        }
        match work.next_turn(now) {
            Some(Turn::Commit) => return Job::Commit,
            Some(Turn::Flush) => return Job::Flush(work.begin_flush()),
            Some(Turn::Cleanup) if work.cleanups.is_empty() => {
                work.cleanup_at = None;
                return Job::Cleanup((core.clock)(), Vec::new());
            }
            Some(Turn::Cleanup) => {
                let (now, waiting) = work.cleanups.remove(0);
                return Job::Cleanup(now, vec![waiting]);
            }
            None => {}
        }
        match work.next_deadline() {
            Some(deadline) => {
                core.wake.wait_until(&mut state, deadline);
            }
            None => core.wake.wait(&mut state),
        }
    }
}

/// As many calls as one transaction should take; the thread of the store sees to those that are left.
fn take_commits(core: &Core) -> Vec<Commit> {
    let mut state = core.state.lock();
    let waiting = &mut state.work.commits;
    let mut commits = Vec::new();
    let mut bytes = 0;
    while bytes < COMMIT_BYTES
        && let Some(commit) = waiting.pop_front()
    {
        bytes += commit.bytes;
        commits.push(commit);
    }
    if !waiting.is_empty() {
        core.wake.notify_one();
    }
    commits
}

fn commit_waiting(core: &Core, writer: &mut Writer) {
    let commits = take_commits(core);
    if commits.is_empty() {
        // Somebody else wrote them meanwhile.
        return;
    }
    let (rows, slot, types) = {
        let mut state = core.state.lock();
        // Whoever asks takes a new one: the database keeps the pages that one sees, and has to note them with each commit.
        state.snapshot = None;
        let events = commits.iter().map(|commit| commit.events.len());
        let mut rows = Vec::with_capacity(events.sum());
        for commit in &commits {
            state.draft(&commit.events, &mut rows);
        }
        let slot = state.active.first_slot() + state.active.durable() as u64;
        (rows, slot, state.catalog.unsaved())
    };
    let written = if rows.is_empty() {
        Ok(())
    } else {
        writer.commit(&rows, slot, &types)
    };
    let mut state = core.state.lock();
    match written {
        Ok(()) => {
            let any = !rows.is_empty();
            if any {
                state.catalog.set_saved(types.0 as usize + types.1.len());
            }
            state.apply(rows);
            if any && core.flush_in_time(&mut state) {
                core.wake.notify_one();
            }
            for commit in commits {
                let call = core.push_call(&mut state, commit.events, 0);
                state.calls.set_durable(call + 1);
                // Who registers waits for it, unless its thread is gone.
                let _ = commit.done.send(Ok(call));
            }
        }
        Err(error) => {
            state.discard_draft(core.admission());
            drop(state);
            let error = Arc::new(error);
            for commit in commits {
                let _ = commit.done.send(Err(shared_error(&error)));
            }
        }
    }
}

/// Writes what an earlier flush could not, then what was registered since.
fn flush(core: &Core, writer: &mut Writer) -> Result<(), StoreError> {
    let flushed = flush_all(core, writer);
    let mut state = core.state.lock();
    match &flushed {
        Ok(()) => state.work.failure = None,
        Err(error) => {
            // It is tried again and again; whoever has heard of it knows.
            let level = match state.work.failure {
                None => log::Level::Error,
                Some(_) => log::Level::Debug,
            };
            log::log!(
                level,
                "the events of the store could not be written, and are kept in memory: {error}"
            );
            state
                .work
                .flush_within(core.config.flush_period.max(RETRY_PERIOD));
        }
    }
    if let Err(error) = flushed {
        let error = Arc::new(error);
        state.work.failure = Some(Arc::clone(&error));
        drop(state);
        core.changed.notify_all();
        return Err(shared_error(&error));
    }
    drop(state);
    core.tell_flushed();
    core.changed.notify_all();
    Ok(())
}

fn flush_all(core: &Core, writer: &mut Writer) -> Result<(), StoreError> {
    loop {
        let mut state = core.state.lock();
        let again = state.frozen.is_some();
        let Some(frozen) = state.freeze() else {
            let made = state.calls.made();
            state.calls.set_durable(made);
            drop(state);
            return writer.take_back();
        };
        let types = state.catalog.unsaved();
        drop(state);
        writer.flush(&frozen, &types)?;
        let snapshot = core.take_snapshot();
        let mut state = core.state.lock();
        state.catalog.set_saved(types.0 as usize + types.1.len());
        state.thaw(snapshot);
        drop(state);
        // Freeing a million events takes longer than the lock may be held.
        drop(frozen);
        core.changed.notify_all();
        if !again {
            return Ok(());
        }
    }
}

/// One round; the next follows at once when there is more, after what else is due.
fn cleanup(core: &Core, writer: &mut Writer, now: Timestamp, waiting: Waiting) {
    // A flush that failed may be on disk all the same; it is repeated before anything of it goes.
    let is_doubtful = core.state.lock().frozen.is_some();
    let flushed = if is_doubtful {
        flush(core, writer)
    } else {
        Ok(())
    };
    match flushed.and_then(|()| writer.cleanup(now)) {
        Ok(more) => {
            let snapshot = core.take_snapshot();
            let mut state = core.state.lock();
            state.set_snapshot(snapshot);
            if more {
                if waiting.is_empty() {
                    state.work.cleanup_at = Some(Instant::now());
                }
                state
                    .work
                    .cleanups
                    .extend(waiting.into_iter().map(|waiting| (now, waiting)));
            } else {
                drop(state);
                answer(waiting, Ok(()));
                core.state.lock().work.cleanup_at = next_cleanup(&core.config);
            }
        }
        Err(error) => {
            log::error!("the store could not be cleaned up: {error}");
            core.state.lock().work.cleanup_at = next_cleanup(&core.config);
            answer(waiting, Err(error));
        }
    }
}

/// When the cleanup after the one that has just ended is due.
pub(super) fn next_cleanup(config: &StoreConfig) -> Option<Instant> {
    if config.cleanup_period.is_zero() {
        return None;
    }
    Instant::now().checked_add(config.cleanup_period)
}

fn answer(waiting: Waiting, outcome: Result<(), StoreError>) {
    let outcome = outcome.map_err(Arc::new);
    for waiting in waiting {
        let outcome = outcome.as_ref().copied().map_err(shared_error);
        // Who asked may be gone.
        let _ = waiting.send(outcome);
    }
}

/// Bytes of events that one commit takes at most, but for a single call.
const COMMIT_BYTES: usize = 16 << 20;
/// The shortest time between two tries of a flush that fails.
const RETRY_PERIOD: Duration = Duration::from_millis(500);
