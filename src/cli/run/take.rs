//! What `run receive` does with each event of a run: writes, counts, hashes, tells.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use serde_json::json;

use crate::cdtp::{Bor, Eor, Record, RunEvent, RunEvents};
use crate::cli::exit::Failure;
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::progress::Progress;
use crate::cli::run::digest::{Blocks, Digests};
use crate::cli::run::progress::{self, Counts, Moved};
use crate::cli::run::show;
use crate::cli::run::totals::{Moving, Totals};
use crate::relay::{Recorded, RelayError, RunRecorder};

/// How far the taking has come, for the thread that decides when it ends.
#[derive(Debug, Default)]
pub(super) struct Course {
    begun: AtomicU64,
    ended: AtomicU64,
    finished: AtomicU64,
    has_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Course {
    /// Runs that have begun and not ended; when one does in this moment, perhaps one too many, and a change follows.
    pub(super) fn open(&self) -> u64 {
        // In this order, so that a run that begins and ends in between does not seem to have ended only.
        let ended = self.ended.load(Ordering::Acquire);
        self.begun.load(Ordering::Acquire).saturating_sub(ended)
    }

    /// Runs that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Runs that their senders have ended: a sender that starts anew within its run is still to end one.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether nothing more can be done.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}

/// The thread that takes events, until there are no more.
pub(super) struct Taking {
    course: Arc<Course>,
    counts: Arc<Counts>,
    changes: Receiver<()>,
    thread: JoinHandle<Result<Taken, Failure>>,
}

/// What was taken in all.
pub(super) struct Taken {
    /// The last line.
    pub(super) totals: Totals,
    /// A run has records missing, or no end.
    pub(super) has_broken_run: bool,
    /// Why the first of the runs that are in no file, or not in full, is not.
    pub(super) unwritten: Option<Failure>,
}

impl Taking {
    /// Starts to take events; what fails is kept, and the rest is taken without being used, so that the receiver can stop.
    pub(super) fn start(
        mut events: RunEvents,
        recorder: Option<RunRecorder>,
        hash: bool,
        out: Output,
    ) -> Result<Self, Failure> {
        let counts = Arc::new(Counts::default());
        let progress = progress::start(Arc::clone(&counts), out)?;
        let (change, changes) = bounded(1);
        let course = Arc::new(Course::default());
        let mut taker = Taker {
            out,
            course: Arc::clone(&course),
            change,
            counts: Arc::clone(&counts),
            progress,
            recorder,
            digests: Digests::start(hash)?,
            gathered: Gathered::default(),
            runs: HashMap::new(),
            next_run: 0,
            moved: Moved::default(),
            ended: Moved::default(),
            late: 0,
            duplicates: 0,
            faults: 0,
            moving: Moving::default(),
            told: 0,
            has_broken_run: false,
            unwritten: None,
        };
        let thread = thread::Builder::new()
            .name("acqbus-take".to_owned())
            .spawn(move || {
                let mut together = Vec::new();
                while next_together(&mut events, &mut together) {
                    if let Err(failure) = taker.take(&mut together) {
                        taker.fail(failure);
                    }
                    together.clear();
                }
                taker.finish()
            })?;
        Ok(Self {
            course,
            counts,
            changes,
            thread,
        })
    }

    /// How far it has come.
    pub(super) fn course(&self) -> &Course {
        &self.course
    }

    /// Records that were taken so far.
    pub(super) fn records(&self) -> u64 {
        self.counts.now().records
    }

    /// Gets an item when the course has changed.
    pub(super) const fn changes(&self) -> &Receiver<()> {
        &self.changes
    }

    /// Waits until all events are taken, which they are once the receiver has stopped.
    pub(super) fn finish(self) -> Result<Taken, Failure> {
        let ended = self.thread.join();
        if let Some(failure) = self.course.failure.lock().take() {
            return Err(failure);
        }
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Taker {
    out: Output,
    course: Arc<Course>,
    change: Sender<()>,
    counts: Arc<Counts>,
    progress: Progress,
    recorder: Option<RunRecorder>,
    digests: Digests<Vec<Record>>,
    gathered: Gathered,
    /// Number of the open run of each sender.
    runs: HashMap<String, usize>,
    next_run: usize,
    moved: Moved,
    /// What the ends of runs have told: exact, where `moved` is as it looks now.
    ended: Moved,
    late: u64,
    duplicates: u64,
    faults: u64,
    moving: Moving,
    /// Missing records and faults that were printed since the last begin or end of a run.
    told: u32,
    has_broken_run: bool,
    unwritten: Option<Failure>,
}

/// Records of one run that wait to be hashed together.
#[derive(Default)]
struct Gathered {
    run: usize,
    bytes: u64,
    records: Vec<Record>,
}

impl Blocks for Vec<Record> {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        for record in self {
            record.blocks().for_each(&mut *each);
        }
    }
}

impl Taker {
    /// Takes events in their order, and leaves those that it did not come to when something fails.
    fn take(&mut self, events: &mut Vec<RunEvent>) -> Result<(), Failure> {
        while !events.is_empty() && !self.course.has_failed() {
            let (count, recorded) = match &mut self.recorder {
                Some(recorder) => recorder.write_some(events),
                None => (events.len(), Ok(None)),
            };
            let mut written = events.drain(..count);
            // What was recorded, or was not, is the last one.
            let last = written.next_back();
            for event in written {
                self.count(event, None)?;
            }
            let recorded = match recorded {
                // Other runs can be written.
                Err(error) if !error.is_disk_full() => {
                    self.leave_out(error)?;
                    None
                }
                recorded => recorded?,
            };
            let file = match recorded {
                Some(Recorded::Finished(run)) => Some(run.path),
                _ => None,
            };
            if let Some(last) = last {
                self.count(last, file.as_deref())?;
            }
        }
        Ok(())
    }

    fn count(&mut self, event: RunEvent, file: Option<&Path>) -> Result<(), Failure> {
        match event {
            RunEvent::Record(record) => self.record(record),
            RunEvent::Bor(bor) => self.begin(&bor),
            RunEvent::Eor(eor) => self.end(&eor, false, file),
            RunEvent::Substitute(eor) => self.end(&eor, true, file),
            RunEvent::Lost(lost) => {
                // A sender can leave out any number.
                self.moved.missed = self.moved.missed.saturating_add(lost.count);
                self.counts.set(self.moved);
                self.tell(|| show::lost(&lost))
            }
            RunEvent::Fault(fault) => {
                self.faults += 1;
                self.tell(|| show::fault(&fault))
            }
        }
    }

    fn record(&mut self, record: Record) -> Result<(), Failure> {
        let bytes = record.payload_bytes();
        self.moved.records += 1;
        self.moved.bytes += bytes;
        self.counts.set(self.moved);
        if !self.digests.is_on() {
            return Ok(());
        }
        let is_same = self
            .gathered
            .records
            .last()
            .is_some_and(|last| last.sender() == record.sender());
        if !is_same {
            self.hash()?;
            self.gathered.run = self.run_of(record.sender());
        }
        self.gathered.bytes += bytes;
        self.gathered.records.push(record);
        if self.gathered.bytes >= GATHERED_BYTES || self.gathered.records.len() >= GATHERED_RECORDS
        {
            self.hash()?;
        }
        Ok(())
    }

    fn begin(&mut self, bor: &Bor) -> Result<(), Failure> {
        self.hash()?;
        self.moving.mark();
        self.told = 0;
        self.runs.remove(bor.sender.as_str());
        self.run_of(bor.sender.as_str());
        self.course.begun.fetch_add(1, Ordering::Release);
        self.changed();
        let out = self.out;
        self.progress.aside(|| {
            if out.is_json() {
                let sender = bor.sender.as_str();
                out.object(&show::bor(sender, &bor.user_tags, &bor.configuration))
            } else {
                out.line(&show::bor_line(bor, out))
            }
        })
    }

    fn end(&mut self, eor: &Eor, substitute: bool, file: Option<&Path>) -> Result<(), Failure> {
        self.hash()?;
        self.moving.mark();
        self.told = 0;
        let run = self.run_of(eor.sender.as_str());
        self.runs.remove(eor.sender.as_str());
        let sha256 = self.digests.of_run(run)?;
        self.ended.records += eor.counts.records;
        self.ended.bytes += eor.counts.bytes;
        // An EOR can announce any number.
        self.ended.missed = self.ended.missed.saturating_add(eor.counts.missed);
        self.late += eor.counts.late;
        self.duplicates += eor.counts.duplicates;
        if self.runs.is_empty() {
            self.moved = self.ended;
            self.counts.set(self.moved);
        }
        self.has_broken_run |= show::is_broken(eor.condition);
        let out = self.out;
        self.progress.aside(|| {
            if out.is_json() {
                let mut object = show::eor(eor, substitute, sha256.as_deref());
                object["file"] = json!(file);
                out.object(&object)
            } else {
                let file = file.map_or_else(String::new, |file| format!(", in {}", file.display()));
                out.line(&(show::eor_line(eor, substitute, out) + &file))
            }
        })?;
        self.course.ended.fetch_add(1, Ordering::Release);
        if !substitute {
            self.course.finished.fetch_add(1, Ordering::Release);
        }
        self.changed();
        Ok(())
    }

    /// A run cannot be written, or a record of it.
    fn leave_out(&mut self, error: RelayError) -> Result<(), Failure> {
        let reason = error.to_string();
        self.unwritten.get_or_insert_with(|| error.into());
        self.tell(|| {
            (
                json!({"notice": "unwritten", "reason": reason}),
                harmless(&reason),
            )
        })
    }

    /// Tells what is missing, unusable or unwritten, but not without end: the counts are complete anyway.
    fn tell(&mut self, what: impl FnOnce() -> (serde_json::Value, String)) -> Result<(), Failure> {
        self.told = self.told.saturating_add(1);
        if self.told > MOST_TOLD {
            return Ok(());
        }
        let (object, text) = what();
        let out = self.out;
        self.progress.aside(|| {
            if out.is_json() {
                return out.object(&object);
            }
            note(&out.paint(Colour::Notice, &format!("-- {text}")));
            Ok(())
        })?;
        if self.told == MOST_TOLD && !out.is_json() {
            let text = "-- more of these are only counted until a run begins or ends";
            self.progress.aside(|| note(text));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Taken, Failure> {
        self.hash()?;
        if let Some(recorder) = self.recorder.take() {
            recorder.close()?;
        }
        let mut totals = Totals::new(self.ended, self.moving.took(), self.digests.of_all()?);
        totals.runs = self.course.ended.load(Ordering::Acquire);
        totals.late = self.late;
        totals.duplicates = self.duplicates;
        totals.faults = self.faults;
        Ok(Taken {
            totals,
            has_broken_run: self.has_broken_run,
            unwritten: self.unwritten,
        })
    }

    fn fail(&self, failure: Failure) {
        self.course.failure.lock().get_or_insert(failure);
        self.course.has_failed.store(true, Ordering::Release);
        self.changed();
    }

    fn changed(&self) {
        // A full channel says the same.
        let _ = self.change.try_send(());
    }

    fn hash(&mut self) -> Result<(), Failure> {
        if self.gathered.records.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.digests.add(gathered.run, gathered.records)
    }

    fn run_of(&mut self, sender: &str) -> usize {
        if let Some(run) = self.runs.get(sender) {
            return *run;
        }
        self.next_run += 1;
        self.runs.insert(sender.to_owned(), self.next_run);
        self.next_run
    }
}

/// Waits for an event, and takes those behind it that are there already; false when there will be none.
fn next_together(events: &mut RunEvents, together: &mut Vec<RunEvent>) -> bool {
    let Some(first) = events.next() else {
        return false;
    };
    let payload = |event: &RunEvent| match event {
        RunEvent::Record(record) => record.payload_bytes(),
        _ => 0,
    };
    let mut bytes = payload(&first);
    together.push(first);
    while bytes < GATHERED_BYTES && together.len() < GATHERED_RECORDS {
        let Ok(event) = events.try_recv() else { break };
        bytes += payload(&event);
        together.push(event);
    }
    true
}

/// What is gathered keeps whole messages in memory, so it is not much.
const GATHERED_BYTES: u64 = 256 * 1024;
const GATHERED_RECORDS: usize = 4096;

const MOST_TOLD: u32 = 20;
