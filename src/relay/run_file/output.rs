//! Bytes to disk in large aligned writes, by a thread of their own, while the next ones are put together.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Size of one write, and what its place in the file is a multiple of; a flush by time may write less.
pub(super) const CHUNK: usize = 1 << 20;

/// Where the bytes go: a file, or in tests something that fails.
pub(super) trait Sink: Write + Send + 'static {
    /// Returns when everything written survives a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Takes bytes in order; the thread `acqbus-run-file` writes them.
#[derive(Debug)]
pub(super) struct Output {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The thread waits here for bytes.
    work: Condvar,
    /// The caller waits here for an empty chunk.
    room: Condvar,
    flush_interval: Duration,
}

#[derive(Debug)]
struct State {
    /// What the caller fills; empty while it is lent.
    filling: Filling,
    /// The caller fills the chunk without the lock, and gives it back soon.
    lent: bool,
    /// Full chunks in the order of the file.
    full: VecDeque<Vec<u8>>,
    /// Empty ones.
    spare: Vec<Vec<u8>>,
    /// When the oldest byte of `filling` came.
    since: Option<Instant>,
    /// The first failure. From then on bytes are thrown away.
    failure: Option<Failure>,
    close: Option<Close>,
}

/// A chunk that gets filled.
#[derive(Debug)]
struct Filling {
    /// Never more than `limit`.
    bytes: Vec<u8>,
    /// Bytes until the next multiple of [`CHUNK`] in the file.
    limit: usize,
}

/// An output whose chunk is filled without a lock, for many bytes that are all there.
///
/// Nothing is flushed by time until it is dropped or the chunk is full.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    output: &'a Output,
    filling: Filling,
}

/// What was tried, and what the system said.
pub(super) type WriteError = (&'static str, io::Error);

/// How the thread is to end.
#[derive(Clone, Copy, Debug)]
struct Close {
    sync: bool,
}

/// An error of the system that can be told more than once.
#[derive(Clone, Debug)]
struct Failure {
    action: &'static str,
    code: Option<i32>,
    kind: io::ErrorKind,
    text: String,
}

impl Output {
    /// Starts the thread; `chunks` buffers, at least two, are made when they are first needed.
    pub(super) fn start(
        sink: impl Sink,
        chunks: usize,
        flush_interval: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                filling: Filling {
                    bytes: Vec::with_capacity(CHUNK),
                    limit: CHUNK,
                },
                lent: false,
                full: VecDeque::new(),
                spare: (1..chunks.max(2)).map(|_| Vec::new()).collect(),
                since: None,
                failure: None,
                close: None,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            flush_interval: flush_interval.max(Duration::from_millis(1)),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("acqbus-run-file".to_owned())
            .spawn(move || theirs.write_all(sink))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Adds the bytes of two parts; waits while all buffers are full.
    ///
    /// # Errors
    /// The first failure of the disk, again and again; the bytes are gone then.
    #[inline]
    pub(super) fn append<const N: usize>(
        &self,
        head: &[u8; N],
        body: &[u8],
    ) -> Result<(), WriteError> {
        let mut state = self.shared.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        if state.since.is_none() {
            self.shared.set_deadline(&mut state);
        }
        if state.filling.push(head, body) {
            return Ok(());
        }
        self.append_over(state, [head, body]).map(drop)
    }

    /// Takes the lock once for many appends.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn lease(&self) -> Result<Lease<'_>, WriteError> {
        let mut state = self.shared.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        Ok(Lease {
            output: self,
            filling: state.lend(),
        })
    }

    /// Writes the rest, waits for the disk when asked to, and ends the thread.
    ///
    /// # Errors
    /// The first failure since the start.
    pub(super) fn finish(mut self, sync: bool) -> Result<(), WriteError> {
        self.join(sync);
        match &self.shared.state.lock().failure {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    /// What does not fit into the chunk.
    #[cold]
    fn append_over<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        parts: [&[u8]; 2],
    ) -> Result<MutexGuard<'a, State>, WriteError> {
        for mut part in parts {
            while !part.is_empty() {
                part = state.filling.fill(part);
                if !state.filling.is_full() {
                    continue;
                }
                while state.spare.is_empty() && state.failure.is_none() {
                    self.shared.room.wait(&mut state);
                }
                if let Some(failure) = &state.failure {
                    return Err(failure.error());
                }
                // Taken by the flush timer while this thread waited for a chunk.
                if !state.filling.is_full() {
                    continue;
                }
                state.hand_over();
                self.shared.work.notify_one();
            }
        }
        if !state.filling.bytes.is_empty() && state.since.is_none() {
            self.shared.set_deadline(&mut state);
        }
        Ok(state)
    }

    fn join(&mut self, sync: bool) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.state.lock().close = Some(Close { sync });
        self.shared.work.notify_one();
        // A panic is a failure by now.
        let _ = thread.join();
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.join(false);
    }
}

impl Lease<'_> {
    /// Adds the bytes of two parts; waits while all buffers are full.
    ///
    /// # Errors
    /// As [`Output::append`]; a failure may be told as late as with the next full chunk.
    #[inline]
    pub(super) fn append<const N: usize>(
        &mut self,
        head: &[u8; N],
        body: &[u8],
    ) -> Result<(), WriteError> {
        if self.filling.push(head, body) {
            return Ok(());
        }
        self.append_over([head, body])
    }

    #[cold]
    fn append_over(&mut self, parts: [&[u8]; 2]) -> Result<(), WriteError> {
        let mut state = self.output.shared.state.lock();
        state.take_back(&mut self.filling);
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        let mut state = self.output.append_over(state, parts)?;
        self.filling = state.lend();
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let shared = &self.output.shared;
        let mut state = shared.state.lock();
        state.take_back(&mut self.filling);
        if state.filling.bytes.is_empty() {
            return;
        }
        match state.since {
            None => shared.set_deadline(&mut state),
            // The thread may have come for it in vain.
            Some(_) => drop(shared.work.notify_one()),
        }
    }
}

impl Filling {
    /// In place of one that is lent, or was given back: every append is over it.
    const NONE: Self = Self {
        bytes: Vec::new(),
        limit: 0,
    };

    /// Takes two parts that do not fill it; false when they do.
    #[inline]
    fn push<const N: usize>(&mut self, head: &[u8; N], body: &[u8]) -> bool {
        let fits = self.bytes.len() + N + body.len() < self.limit;
        if fits {
            self.bytes.extend_from_slice(head);
            self.bytes.extend_from_slice(body);
        }
        fits
    }

    /// Takes what it has room for, and gives the rest.
    fn fill<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        let room = self.limit - self.bytes.len();
        let (now, later) = part.split_at(room.min(part.len()));
        self.bytes.extend_from_slice(now);
        later
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= self.limit
    }
}

impl State {
    /// Lets the caller fill without the lock.
    fn lend(&mut self) -> Filling {
        self.lent = true;
        std::mem::replace(&mut self.filling, Filling::NONE)
    }

    /// Takes back what was lent; nothing when it is back already.
    fn take_back(&mut self, filling: &mut Filling) {
        if self.lent {
            self.lent = false;
            self.filling = std::mem::replace(filling, Filling::NONE);
        }
    }

    /// The chunk is full, and there is a spare one.
    fn hand_over(&mut self) {
        let chunk = self.replace_filling();
        self.full.push_back(chunk);
    }

    /// Takes what is filled, and goes on with a spare chunk up to the next aligned place.
    fn replace_filling(&mut self) -> Vec<u8> {
        let mut next = self.spare.pop().unwrap_or_default();
        // Address space only, until it is filled; nothing to do for one that was used before.
        next.reserve_exact(CHUNK);
        let chunk = std::mem::replace(&mut self.filling.bytes, next);
        self.filling.limit = match self.filling.limit - chunk.len() {
            0 => CHUNK,
            rest => rest,
        };
        self.since = None;
        chunk
    }
}

impl Shared {
    /// What is filled from now on is to be written in time; the thread has no deadline yet.
    fn set_deadline(&self, state: &mut State) {
        state.since = Some(Instant::now());
        self.work.notify_one();
    }

    /// The thread.
    fn write_all(&self, mut sink: impl Sink) {
        // Before the lock, so that it comes after it when the sink panics.
        let _end = End(self);
        let mut state = self.state.lock();
        loop {
            let (mut chunk, close) = self.next(&mut state);
            if state.failure.is_none() {
                let outcome = MutexGuard::unlocked(&mut state, || {
                    sink.write_all(&chunk).map_err(|error| ("write", error))?;
                    match close {
                        Some(Close { sync: true }) => sink.sync().map_err(|error| ("fsync", error)),
                        _ => Ok(()),
                    }
                });
                if let Err((action, error)) = outcome {
                    state.failure = Some(Failure::of(action, &error));
                }
            }
            chunk.clear();
            state.spare.push(chunk);
            self.room.notify_one();
            if close.is_some() {
                return;
            }
        }
    }

    /// The next bytes to write, and with the last ones how to end.
    fn next(&self, state: &mut MutexGuard<'_, State>) -> (Vec<u8>, Option<Close>) {
        loop {
            if let Some(chunk) = state.full.pop_front() {
                return (chunk, None);
            }
            if let Some(close) = state.close {
                return (std::mem::take(&mut state.filling.bytes), Some(close));
            }
            let since = state.since.filter(|_| !state.lent);
            let Some(since) = since else {
                self.work.wait(state);
                continue;
            };
            // Beyond what the clock can say is never.
            let Some(deadline) = since.checked_add(self.flush_interval) else {
                self.work.wait(state);
                continue;
            };
            if Instant::now() < deadline {
                self.work.wait_until(state, deadline);
                continue;
            }
            return (state.replace_filling(), None);
        }
    }
}

/// Lets nobody wait for a thread that panicked.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panic = io::Error::other("the writing thread panicked");
            let mut state = self.0.state.lock();
            state.failure.get_or_insert(Failure::of("write", &panic));
            self.0.room.notify_one();
        }
    }
}

impl Failure {
    fn of(action: &'static str, error: &io::Error) -> Self {
        Self {
            action,
            code: error.raw_os_error(),
            kind: error.kind(),
            text: error.to_string(),
        }
    }

    #[cold]
    fn error(&self) -> (&'static str, io::Error) {
        let error = match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.text.clone()),
        };
        (self.action, error)
    }
}

#[cfg(test)]
mod tests;
