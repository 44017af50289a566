//! How run files are written.

use std::time::Duration;

/// What becomes of a run whose file name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// The new file gets a number: `RUN@SENDER-2.acqrun`.
    #[default]
    Rename,
    /// The new run is refused. When the name is known at its begin, before anything is written; else at its end, and then
    /// the whole run stays under its temporary name.
    Error,
    /// The new file replaces the old one, in one step at the end of the run: until then the old one is there, untouched.
    Overwrite,
}

/// The settings of [`RunFileWriter`](crate::relay::RunFileWriter) and [`RunRecorder`](crate::relay::RunRecorder).
///
/// ```
/// use acqbus::relay::{Conflict, RunFileOptions};
///
/// let options = RunFileOptions::default().conflict(Conflict::Error).fsync_at_eor(true);
/// assert_eq!(options.chunks, 4);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunFileOptions {
    /// What becomes of a run whose file name is taken. Defaults to [`Conflict::Rename`].
    pub conflict: Conflict,
    /// Whether the end of a run waits until the disk has everything, so that it survives a power cut. Defaults to false.
    pub fsync_at_eor: bool,
    /// The id of the run, for the file name and in the file. `None`, the default: the text of the user tag `run_id` of the
    /// BOR, or else what the EOR says.
    pub run_id: Option<String>,
    /// Longest that a record stays in memory only, where a `kill -9` loses it. At least 1 ms. Defaults to 1 s.
    pub flush_interval: Duration,
    /// Buffers of 1 MiB for each file: one is filled while others are written. At least 2. Defaults to 4.
    pub chunks: usize,
    /// Bytes of the file between two marks, from which a reader goes on after damage. At least 64. Defaults to 1 MiB.
    pub mark_interval: u64,
    /// Runs that one recorder writes at the same time; each has its buffers, its thread and its file. At least 1. Defaults to
    /// 256.
    pub max_runs: usize,
}

impl Default for RunFileOptions {
    fn default() -> Self {
        Self {
            conflict: Conflict::default(),
            fsync_at_eor: false,
            run_id: None,
            flush_interval: Duration::from_secs(1),
            chunks: 4,
            mark_interval: 1 << 20,
            max_runs: 256,
        }
    }
}

impl RunFileOptions {
    /// Sets [`conflict`](Self::conflict).
    #[must_use]
    pub fn conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// Sets [`fsync_at_eor`](Self::fsync_at_eor).
    #[must_use]
    pub fn fsync_at_eor(mut self, fsync: bool) -> Self {
        self.fsync_at_eor = fsync;
        self
    }

    /// Sets [`run_id`](Self::run_id).
    #[must_use]
    pub fn run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Sets [`flush_interval`](Self::flush_interval).
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// Sets [`chunks`](Self::chunks).
    #[must_use]
    pub fn chunks(mut self, chunks: usize) -> Self {
        self.chunks = chunks;
        self
    }

    /// Sets [`mark_interval`](Self::mark_interval).
    #[must_use]
    pub fn mark_interval(mut self, bytes: u64) -> Self {
        self.mark_interval = bytes;
        self
    }

    /// Sets [`max_runs`](Self::max_runs).
    #[must_use]
    pub fn max_runs(mut self, runs: usize) -> Self {
        self.max_runs = runs;
        self
    }
}
