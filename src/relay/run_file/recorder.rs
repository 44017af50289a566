//! The runs of many senders to disk, one file a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cdtp::{Bor, Eor, RunEvent, SenderName};
use crate::relay::RelayError;
use crate::relay::run_file::options::RunFileOptions;
use crate::relay::run_file::writer::{RunFileWriter, WrittenRun};

/// Writes everything that a receiver tells: each run of each sender to a file of its own.
///
/// A sender that is restarted gets a new file; the one before it ends with the substitute that the receiver made. Memory is
/// bounded by [`max_runs`](RunFileOptions::max_runs) times [`chunks`](RunFileOptions::chunks) times 1 MiB.
///
/// ```no_run
/// use acqbus::cdtp::{DataReceiver, ReceiverOptions};
/// use acqbus::relay::{Recorded, RunFileOptions, RunRecorder};
///
/// let mut recorder = RunRecorder::new("/data/runs", RunFileOptions::default())?;
/// let (receiver, events) = DataReceiver::start_with_events(ReceiverOptions::default())?;
/// receiver.add_endpoint(&"tcp://127.0.0.1:23999".parse()?)?;
/// for event in events {
///     if let Some(Recorded::Finished(run)) = recorder.write(&event)? {
///         println!("{}: {} records, {}", run.path.display(), run.records, run.condition);
///     }
/// }
/// recorder.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunRecorder {
    directory: PathBuf,
    options: RunFileOptions,
    /// A run that failed is not here: what still comes of it is counted.
    runs: HashMap<SenderName, Box<RunFileWriter>>,
    stats: RecorderStats,
}

/// What became of an event, where a file began or ended with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// A file was begun, under this temporary name.
    Begun(PathBuf),
    /// A file was finished, under its final name.
    Finished(WrittenRun),
}

/// What a recorder has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderStats {
    /// Files begun.
    pub begun: u64,
    /// Files finished, with the end of their run.
    pub finished: u64,
    /// Runs that could not be written, or not to their end.
    pub failed: u64,
    /// Records that are in no file, for their run failed or has no begin.
    pub unwritten: u64,
}

impl RunRecorder {
    /// A recorder into a directory that exists.
    ///
    /// # Errors
    /// [`RelayError::Io`] when there is no such directory.
    pub fn new(directory: impl Into<PathBuf>, options: RunFileOptions) -> Result<Self, RelayError> {
        let directory = directory.into();
        std::fs::read_dir(&directory).map_err(RelayError::io("record into", &directory))?;
        Ok(Self {
            directory,
            options,
            runs: HashMap::new(),
            stats: RecorderStats::default(),
        })
    }

    /// Writes what an event says; tells when a file begins or ends with it.
    ///
    /// Blocks while the disk is slower than the events, so that a receiver, and in the end the sender, waits too.
    ///
    /// # Errors
    /// Of the run that the event belongs to, once: as [`RunFileWriter::create`], [`RunFileWriter::write`] and
    /// [`RunFileWriter::finish`], and [`RelayError::TooManyRuns`]. Its other records are [counted](RecorderStats::unwritten)
    /// and the runs of other senders go on, so the caller may go on too. A begin whose sender is in a run here may tell the
    /// failure of that run; the new one is begun all the same.
    pub fn write(&mut self, event: &RunEvent) -> Result<Option<Recorded>, RelayError> {
        match event {
            RunEvent::Bor(bor) => self.begin(bor).map(Some),
            RunEvent::Eor(eor) => self.finish(eor, false),
            RunEvent::Substitute(eor) => self.finish(eor, true),
            other => self.add(other).map(|()| None),
        }
    }

    /// As [`write`](Self::write), for events that are all there, up to the first one that ends a file, begins one, or fails: gives
    /// how many were taken, that one included, and what became of it.
    ///
    /// It takes at least one, unless there is none; call it again with the rest. Records of one sender that stand together are
    /// written together, with one lock for many of them.
    ///
    /// # Errors
    /// As [`write`](Self::write), of the last one that was taken.
    pub fn write_some(
        &mut self,
        events: &[RunEvent],
    ) -> (usize, Result<Option<Recorded>, RelayError>) {
        let mut taken = 0;
        while let [first, ..] = &events[taken..] {
            let together = self.add_together(&events[taken..]);
            taken += together;
            if together > 0 {
                continue;
            }
            taken += 1;
            match self.write(first) {
                Ok(None) => {}
                outcome => return (taken, outcome),
            }
        }
        (taken, Ok(None))
    }

    /// Writes out the runs that have no end yet, and leaves them under their temporary names.
    ///
    /// # Errors
    /// The first of their failures; all are written out as far as they can be.
    pub fn close(mut self) -> Result<RecorderStats, RelayError> {
        let mut outcome = Ok(());
        for (_, writer) in self.runs.drain() {
            let closed = writer.close();
            self.stats.failed += u64::from(closed.is_err());
            outcome = outcome.and(closed);
        }
        outcome.map(|()| self.stats)
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> RecorderStats {
        self.stats
    }

    /// The directory that it writes to.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files that are being written.
    pub fn open_files(&self) -> impl Iterator<Item = &Path> {
        self.runs.values().map(|writer| writer.path())
    }

    fn begin(&mut self, bor: &Bor) -> Result<Recorded, RelayError> {
        // A receiver ends it first; should one not, its file stays as a run without an end.
        let before = self.runs.remove(bor.sender.as_str());
        let closed = before.map_or(Ok(()), |before| before.close());
        self.stats.failed += u64::from(closed.is_err());
        let limit = self.options.max_runs.max(1);
        if self.runs.len() >= limit {
            self.stats.failed += 1;
            return Err(RelayError::TooManyRuns {
                sender: bor.sender.to_string(),
                limit,
            });
        }
        let writer = RunFileWriter::create(&self.directory, bor, &self.options)
            .inspect_err(|_| self.stats.failed += 1)?;
        self.stats.begun += 1;
        let path = writer.path().to_owned();
        self.runs.insert(bor.sender.clone(), Box::new(writer));
        closed.map(|()| Recorded::Begun(path))
    }

    #[inline]
    fn add(&mut self, event: &RunEvent) -> Result<(), RelayError> {
        let writer = event.sender().and_then(|sender| self.runs.get_mut(sender));
        let Some(writer) = writer else {
            self.stats.unwritten += u64::from(matches!(event, RunEvent::Record(_)));
            return Ok(());
        };
        let outcome = writer.write(event);
        let Err(error) = outcome else {
            return Ok(());
        };
        self.stats.unwritten += u64::from(matches!(event, RunEvent::Record(_)));
        // One record is too large, and the file can take the next one.
        if !matches!(error, RelayError::TooLarge { .. }) {
            self.stats.failed += 1;
            event.sender().and_then(|sender| self.runs.remove(sender));
        }
        Err(error)
    }

    /// Adds the records of one sender that stand first, as far as they can be; gives how many. None where one event is as good.
    fn add_together(&mut self, events: &[RunEvent]) -> usize {
        let Some(RunEvent::Record(first)) = events.first() else {
            return 0;
        };
        let is_of_first = |event: &&RunEvent| matches!(event, RunEvent::Record(record) if record.sender() == first.sender());
        let count = events.iter().take_while(is_of_first).count();
        let Some(writer) = self.runs.get_mut(first.sender()) else {
            return 0;
        };
        let before = writer.records();
        // The record that fails is added again, alone, and fails again, with what there is to say and to count.
        let _ = writer.write_all(&events[..count]);
        (writer.records() - before) as usize
    }

    fn finish(&mut self, eor: &Eor, substitute: bool) -> Result<Option<Recorded>, RelayError> {
        let Some(writer) = self.runs.remove(eor.sender.as_str()) else {
            return Ok(None);
        };
        let outcome = if substitute {
            writer.finish_substitute(eor)
        } else {
            writer.finish(eor)
        };
        match outcome {
            Ok(run) => {
                self.stats.finished += 1;
                Ok(Some(Recorded::Finished(run)))
            }
            Err(error) => {
                self.stats.failed += 1;
                Err(error)
            }
        }
    }
}
