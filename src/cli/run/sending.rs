//! The thread of `run send`: begins a run, sends its records, ends it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use serde_json::Value;

use crate::cdtp::{DataTransmitter, Eor, Run, RunCondition, RunMetadata, RunStart, Tags};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{self, Colour, Output, counted, harmless, note};
use crate::cli::progress::Progress;
use crate::cli::run::digest::{Blocks, Digests};
use crate::cli::run::halt::{Halted, Halting};
use crate::cli::run::pace::Pace;
use crate::cli::run::progress::{self, Counts, Moved};
use crate::cli::run::send::explained;
use crate::cli::run::show;
use crate::cli::run::source::{self, Batch, Copied, Shape};
use crate::cli::run::totals::{Moving, Totals};
use crate::relay::run_file::replay_with;
use crate::relay::{Damage, RelayError, ReplayControl, RunFileReader, Speed, StoredRecord};

/// What is to be sent.
pub(super) struct Job {
    pub(super) transmitter: Arc<DataTransmitter>,
    pub(super) work: Work,
    /// Runs, one after the other.
    pub(super) count: u64,
    /// Records a second.
    pub(super) rate: Option<f64>,
    pub(super) run_id: Option<String>,
    pub(super) tags: Tags,
    pub(super) hash: bool,
}

/// Where the records of a run come from.
pub(super) enum Work {
    Stdin(Shape),
    Generated {
        records: Option<u64>,
        shape: Shape,
        seed: u64,
    },
    File {
        path: PathBuf,
        speed: Speed,
    },
}

/// What the thread tells of itself.
pub(super) enum Told {
    /// A receiver is there, and a run has begun.
    Begun,
    /// Nothing more is sent.
    Done {
        /// What was sent, once a run has begun.
        totals: Option<Totals>,
        failure: Option<Failure>,
    },
}

/// The thread that sends.
pub(super) struct Sender {
    job: Job,
    halting: Halting,
    tell: crossbeam_channel::Sender<Told>,
    out: Output,
    counts: Arc<Counts>,
    progress: Progress,
    digests: Digests<Sent>,
    sent: Moved,
    /// What had been sent when the run began that has not ended yet.
    before: Option<Moved>,
    moving: Moving,
    /// Runs that have begun.
    runs: u64,
    /// A run had several receivers, and each got a part of it.
    was_shared: bool,
}

/// What was sent, for its digest.
enum Sent {
    /// So many records of a batch.
    Batch(Batch, usize),
    /// Records of a file.
    Copied(Copied),
}

impl Blocks for Sent {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Batch(batch, records) => {
                for record in batch.records().take(*records) {
                    record.for_each(&mut *each);
                }
            }
            Self::Copied(copied) => copied.each(each),
        }
    }
}

impl Sender {
    /// Makes what the thread needs.
    pub(super) fn new(
        job: Job,
        halting: Halting,
        tell: crossbeam_channel::Sender<Told>,
        out: Output,
    ) -> Result<Self, Failure> {
        let counts = Arc::new(Counts::default());
        Ok(Self {
            progress: progress::start(Arc::clone(&counts), out)?,
            digests: Digests::start(job.hash)?,
            job,
            halting,
            tell,
            out,
            counts,
            sent: Moved::default(),
            before: None,
            moving: Moving::default(),
            runs: 0,
            was_shared: false,
        })
    }

    /// Sends all runs, and tells how it went.
    pub(super) fn run(mut self) {
        let mut outcome = Ok(());
        for number in 0..self.job.count {
            outcome = self.send_run(number);
            if outcome.is_err() || self.halting.asked().is_some() {
                break;
            }
        }
        self.moving.mark();
        if self.before.is_some() {
            self.look_at_receivers();
        }
        let (totals, failure) = match (self.totals(), outcome) {
            (Ok(totals), Ok(())) => (totals, None),
            (Ok(totals), Err(failure)) => (totals, Some(failure)),
            (Err(failure), _) => (None, Some(failure)),
        };
        let Self {
            tell,
            progress,
            job,
            ..
        } = self;
        // The line is gone before anything else is printed, and the transmitter is left to who waits.
        drop((progress, job));
        // Nobody waits any more after a second Ctrl-C.
        let _ = tell.send(Told::Done { totals, failure });
    }

    fn totals(&self) -> Result<Option<Totals>, Failure> {
        if self.runs == 0 {
            return Ok(None);
        }
        let (sent, sha256) = match self.before {
            None => (self.sent, self.digests.of_all()?),
            // A run that failed: some records were handed over and not sent, so that there is no digest of those that were.
            Some(before) => {
                let stats = self.job.transmitter.stats();
                // Those of a file have numbers of their own, and draw none.
                let taken = (self.sent.records - before.records).max(stats.records_drawn);
                let sent = Moved {
                    records: before.records + stats.records_transmitted,
                    bytes: before.bytes + stats.bytes_transmitted,
                    missed: taken.saturating_sub(stats.records_transmitted),
                };
                (sent, None)
            }
        };
        let unfinished = u64::from(self.before.is_some());
        let mut totals = Totals::new(sent, self.moving.took(), sha256);
        totals.runs = self.runs - unfinished;
        totals.unfinished = Some(unfinished);
        totals.several_receivers = Some(self.was_shared);
        Ok(Some(totals))
    }

    fn send_run(&mut self, number: u64) -> Result<(), Failure> {
        match &self.job.work {
            Work::Stdin(shape) => {
                let batches = source::standard_input(*shape)?;
                self.send_batches(number, &batches)
            }
            Work::Generated {
                records,
                shape,
                seed,
            } => {
                let batches = source::generated(*records, *shape, *seed)?;
                self.send_batches(number, &batches)
            }
            Work::File { path, speed } => {
                let (path, speed) = (path.clone(), *speed);
                self.send_file(&path, speed)
            }
        }
    }

    fn send_batches(
        &mut self,
        number: u64,
        batches: &Receiver<Result<Batch, Failure>>,
    ) -> Result<(), Failure> {
        let run_id = self.run_id(number);
        let mut tags = self.job.tags.clone();
        // A BOR has no place of its own for the id, and without an EOR nobody else would tell it.
        if tags.get("run_id").is_none() {
            tags.insert("run_id", run_id.as_str());
        }
        let start = RunStart::new(run_id).user_tags(tags);
        let run = self.begin(start)?;
        let mut pace = Pace::new(self.job.rate, Instant::now());
        loop {
            let batch = select! {
                recv(batches) -> batch => batch,
                recv(self.halting.woken()) -> _ => break,
            };
            match batch {
                Ok(Ok(batch)) => {
                    if let Err(failure) = self.send_batch(&run, batch, &mut pace) {
                        if self.job.transmitter.check_error().is_err() {
                            run.abandon();
                        }
                        return Err(failure);
                    }
                }
                Ok(Err(failure)) => {
                    self.end(run, RunCondition::TAINTED | RunCondition::ABORTED)?;
                    return Err(failure);
                }
                // The source has no more.
                Err(_) => break,
            }
            if self.halting.asked().is_some() {
                break;
            }
        }
        let condition = match self.halting.asked() {
            Some(Halted::User) => RunCondition::INTERRUPTED,
            Some(Halted::Time) | None => RunCondition::GOOD,
        };
        self.end(run, condition)
    }

    fn send_batch(
        &mut self,
        run: &Run<Arc<DataTransmitter>>,
        batch: Batch,
        pace: &mut Pace,
    ) -> Result<(), Failure> {
        let mut records = 0;
        for blocks in batch.records() {
            if self.halting.asked().is_some() || !self.wait(pace) {
                break;
            }
            let mut record = run.new_data_record();
            let mut bytes = 0;
            for block in blocks {
                bytes += block.len() as u64;
                record = record.with_block(block);
            }
            run.send_data_record(record).map_err(explained)?;
            records += 1;
            self.sent.records += 1;
            self.sent.bytes += bytes;
            self.counts.set(self.sent);
        }
        self.digests.add(self.number(), Sent::Batch(batch, records))
    }

    /// Waits until the next record is due; false when the run is to end before.
    fn wait(&self, pace: &mut Pace) -> bool {
        if self.job.rate.is_none() {
            return true;
        }
        let Some(due) = pace.next(Instant::now()) else {
            return true;
        };
        self.halting.woken().recv_deadline(due) == Err(RecvTimeoutError::Timeout)
    }

    /// Sends a file again; it is read at the speed at which it is sent.
    fn send_file(&mut self, path: &Path, speed: Speed) -> Result<(), Failure> {
        let mut reader = RunFileReader::open(path)?;
        let transmitter = Arc::clone(&self.job.transmitter);
        let none = Tags::new();
        let mut bor = show::bor(
            transmitter.name().as_str(),
            reader.user_tags().unwrap_or(&none),
            reader.configuration().unwrap_or(&none),
        );
        let end = reader.eor()?;
        let metadata = end.as_ref().map_or(&none, |end| &end.metadata);
        let id = [reader.about(), metadata].map(|tags| tags.get("run_id")?.as_str());
        if let Some(id) = id.into_iter().flatten().next() {
            bor["runId"] = id.into();
        }
        let mut control = Replaying {
            sender: self,
            bor: Some(bor),
            copied: Copied::default(),
            failure: None,
        };
        let replayed = replay_with(&mut reader, &transmitter, speed, &mut control);
        control.flush();
        // A file without a record has begun, too.
        let begun = match &replayed {
            Ok(_) => control.begin(),
            Err(_) => Ok(()),
        };
        if let Some(failure) = control.failure.take() {
            return Err(failure);
        }
        begun?;
        let replayed = replayed.map_err(|error| match error {
            RelayError::Cdtp(error) => explained(error),
            error => Failure::from(error),
        })?;
        let mut eor = Eor::new(transmitter.name().clone());
        eor.condition = RunMetadata::from_tags(&replayed.metadata)
            .condition
            .unwrap_or_default();
        eor.user_tags = replayed.user_tags;
        eor.metadata = replayed.metadata;
        eor.counts.records = replayed.records;
        eor.counts.bytes = replayed.payload_bytes;
        self.ended(&eor)?;
        let whole = replayed.ending.is_none_or(|ending| ending.has_eor());
        if replayed.damage_count == 0 && whole {
            return Ok(());
        }
        let what = match replayed.ending {
            Some(ending) if !whole => ending.to_string(),
            _ => format!(
                "has {} that cannot be read",
                counted(replayed.damage_count, "part")
            ),
        };
        Err(Failure::new(
            Exit::BadData,
            format!("{} {what}; the rest was sent", path.display()),
        )
        .with_hint(format!("acqbus run inspect --check {}", path.display())))
    }

    fn begin(&mut self, start: RunStart) -> Result<Run<Arc<DataTransmitter>>, Failure> {
        let name = self.job.transmitter.name().as_str();
        let mut bor = show::bor(name, &start.user_tags, &start.configuration);
        bor["runId"] = start.run_id.as_str().into();
        let run = Run::begin(Arc::clone(&self.job.transmitter), start).map_err(explained)?;
        self.begun(&bor)?;
        Ok(run)
    }

    fn begun(&mut self, bor: &Value) -> Result<(), Failure> {
        self.runs += 1;
        self.before = Some(self.sent);
        self.moving.mark();
        // Nobody waits any more after a second Ctrl-C.
        let _ = self.tell.send(Told::Begun);
        let (out, name) = (self.out, self.job.transmitter.name());
        self.progress.aside(|| {
            if out.is_json() {
                return out.object(bor);
            }
            let name = out.paint(Colour::Name, name.as_str());
            let id = bor["runId"].as_str();
            let id = id.map_or_else(String::new, |id| format!(" {}", harmless(id)));
            out.line(&format!("{name} begins the run{id}"))
        })
    }

    /// Who takes no data for as long as is waited will take no end either, and is not waited for twice.
    fn end(
        &mut self,
        run: Run<Arc<DataTransmitter>>,
        condition: RunCondition,
    ) -> Result<(), Failure> {
        self.job.transmitter.stop_sending();
        if let Err(error) = self.job.transmitter.check_error() {
            run.abandon();
            return Err(explained(error));
        }
        let summary = run.finish(condition).map_err(explained)?;
        let mut eor = Eor::new(self.job.transmitter.name().clone());
        eor.metadata = summary.metadata.to_tags();
        eor.condition = summary.condition;
        eor.counts.records = summary.records;
        eor.counts.bytes = summary.bytes;
        self.ended(&eor)
    }

    fn ended(&mut self, eor: &Eor) -> Result<(), Failure> {
        self.before = None;
        self.moving.mark();
        let sha256 = self.digests.of_run(self.number())?;
        let shared = self.look_at_receivers();
        let out = self.out;
        self.progress.aside(|| {
            if out.is_json() {
                let mut object = show::eor(eor, false, sha256.as_deref());
                object["severalReceivers"] = shared.into();
                out.object(&object)
            } else {
                out.line(&show::eor_line(eor, false, out))
            }
        })
    }

    /// Tells once a run when several receivers shared it; at its end, when that is known.
    fn look_at_receivers(&mut self) -> bool {
        let shared = self.job.transmitter.had_several_receivers();
        if shared {
            self.was_shared = true;
            self.progress.aside(|| {
                note("acqbus: warning: several receivers shared the run: each has a part of it");
            });
        }
        shared
    }

    /// The present run among those to be hashed.
    fn number(&self) -> usize {
        usize::try_from(self.runs).unwrap_or(usize::MAX)
    }

    fn run_id(&self, number: u64) -> String {
        let id = self.job.run_id.clone().unwrap_or_else(|| {
            let when = print::date_and_time(SystemTime::now());
            format!("run_{}", when.replace(' ', "_").replace(':', ""))
        });
        if self.job.count == 1 {
            id
        } else {
            format!("{id}-{}", number + 1)
        }
    }
}

/// What is seen of a file while it is sent.
struct Replaying<'a> {
    sender: &'a mut Sender,
    /// To be told once the run has begun.
    bor: Option<Value>,
    copied: Copied,
    failure: Option<Failure>,
}

impl Replaying<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        match self.bor.take() {
            Some(bor) => self.sender.begun(&bor),
            None => Ok(()),
        }
    }

    fn flush(&mut self) {
        let copied = Sent::Copied(std::mem::take(&mut self.copied));
        let number = self.sender.number();
        if let Err(failure) = self.sender.digests.add(number, copied) {
            self.failure.get_or_insert(failure);
        }
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.failure.is_some() || self.sender.halting.asked().is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl ReplayControl for Replaying<'_> {
    fn record(&mut self, record: &StoredRecord<'_>) -> ControlFlow<()> {
        if let Err(failure) = self.begin() {
            self.failure.get_or_insert(failure);
        }
        self.flow()?;
        self.sender.sent.records += 1;
        self.sender.sent.bytes += record.view.payload_bytes();
        self.sender.counts.set(self.sender.sent);
        if self.sender.digests.is_on() {
            for block in record.view.blocks() {
                self.copied.add(block);
            }
            if self.copied.is_large() {
                self.flush();
            }
        }
        ControlFlow::Continue(())
    }

    fn damage(&mut self, damage: &Damage) {
        let text = format!("acqbus: warning: damage: {damage}");
        self.sender.progress.aside(|| note(&text));
    }

    fn wait(&mut self, time: Duration) -> ControlFlow<()> {
        // Until the record is due, or the run is to end.
        let _ = self.sender.halting.woken().recv_timeout(time);
        self.flow()
    }
}
