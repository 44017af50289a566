//! One run to one file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cdtp::{
    Arrival, Bor, DataRecord, Encoding, Eor, MessageRecords, Record, RecordView, RunCondition,
    RunEvent, SenderName, Tags, encode_bor, encode_eor, write_record,
};
use crate::relay::RelayError;
use crate::relay::run_file::entries::{Append, ArrivalFlag, Entries, NewRecord, SUBSTITUTE};
use crate::relay::run_file::format::{Header, VERSION};
use crate::relay::run_file::name::{Place, stem, stem_by_time};
use crate::relay::run_file::options::RunFileOptions;
use crate::relay::run_file::output::{Lease, Output, WriteError};
use crate::relay::run_file::write_back::WriteBack;
use crate::time::since_1970;

/// Writes one run of one sender to a file of its own.
///
/// The file is `….acqrun.part` until the run has ended, and then gets its final name, `RUN@SENDER.acqrun`: whoever finds that name
/// finds a whole run. Both can be read. The thread `acqbus-run-file` writes, 1 MiB at a time, while the next chunk is put
/// together; a call blocks only while [`chunks`](RunFileOptions::chunks) of them wait for the disk.
///
/// Dropped without [`finish`](Self::finish), it writes out what it has and leaves a readable `.part` file without an end of run.
///
/// ```
/// use acqbus::cdtp::{Arrival, Bor, DataRecord, Encoding, Eor, RecordView, SenderName, Tags, write_record};
/// use acqbus::relay::{RunFileOptions, RunFileWriter};
/// # let folder = tempfile::tempdir()?;
///
/// let sender = SenderName::new("Camera.left")?;
/// let options = RunFileOptions::default().run_id("night_7");
/// let mut writer = RunFileWriter::create(folder.path(), &Bor::new(sender.clone()), &options)?;
/// let mut bytes = Vec::new();
/// write_record(&mut bytes, &DataRecord::new(1).with_block(b"pixels"), Encoding::Compact)?;
/// writer.write_record(&RecordView::decode(&bytes)?, Arrival::InOrder)?;
/// let written = writer.finish(&Eor::new(sender))?;
/// assert!(written.path.ends_with("night_7@Camera.left.acqrun"));
/// assert_eq!((written.records, written.payload_bytes), (1, 6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFileWriter {
    run: Writing,
    output: Output,
    /// The id that is known before the end.
    run_id: Option<String>,
    /// By the wall clock, in nanoseconds since 1970.
    started: u64,
    fsync_at_eor: bool,
}

/// What becomes entries, wherever these go.
#[derive(Debug)]
struct Writing {
    entries: Entries,
    place: Place,
    sender: SenderName,
    /// When the run began.
    start: Instant,
    last: LastRecord,
}

/// The record received before, so that the clock is asked once a message and not once a record.
#[derive(Debug, Default)]
struct LastRecord {
    /// The address of its end. The records of one message follow each other in memory; it is compared, never used.
    end: usize,
    /// When its message came, in microseconds since the begin.
    time: u64,
    /// How often the time was taken over.
    repeats: u32,
}

/// A run that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenRun {
    /// The file, under its final name.
    pub path: PathBuf,
    /// Whose run it is.
    pub sender: SenderName,
    /// Its id, where anybody said one.
    pub run_id: Option<String>,
    /// Records in the file.
    pub records: u64,
    /// Bytes of their blocks.
    pub payload_bytes: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// The condition of the run, as the receiver judges it.
    pub condition: RunCondition,
    /// Whether the receiver had to make the end of the run itself.
    pub substitute: bool,
}

impl RunFileWriter {
    /// Makes the file of a run that begins, in a directory that exists.
    ///
    /// # Errors
    /// [`RelayError::Exists`] under [`Conflict::Error`](crate::relay::Conflict::Error) when the final name is known and taken;
    /// [`RelayError::NoFreeName`]; [`RelayError::Io`] when the file cannot be made; [`RelayError::TooLarge`] for a BOR beyond
    /// 4 GiB.
    pub fn create(
        directory: impl AsRef<Path>,
        bor: &Bor,
        options: &RunFileOptions,
    ) -> Result<Self, RelayError> {
        let sender = bor.sender.clone();
        let told = bor.user_tags.get("run_id").and_then(|id| id.as_str());
        let run_id = options.run_id.as_deref().or(told).map(str::to_owned);
        let message = encode_bor(
            &sender,
            &bor.user_tags,
            &bor.configuration,
            Encoding::Compact,
        )?;
        let about = about(run_id.as_deref(), bor.restarted)?;
        let started = u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        let known = run_id.as_deref().map(|id| stem(id, sender.as_str()));
        let first = known
            .clone()
            .unwrap_or_else(|| stem_by_time(started, sender.as_str()));
        let directory = directory.as_ref();
        for (what, bytes) in [("begin of run", &message), ("run id", &about)] {
            check_size(directory, what, bytes)?;
        }
        let (place, file) = Place::create(directory, &first, known.as_deref(), options.conflict)?;
        let id = random_id().map_err(RelayError::io("find random numbers for", place.part()))?;
        let header = Header {
            version: VERSION,
            started,
            id,
        };
        let (chunks, interval) = (options.chunks, options.flush_interval);
        let output = if options.fsync_at_eor {
            Output::start(WriteBack::new(file), chunks, interval)
        } else {
            Output::start(file, chunks, interval)
        };
        let mut output = output.map_err(RelayError::io("start a thread to write", place.part()))?;
        let entries = Entries::begin(
            &mut output,
            &header,
            &message,
            &about,
            options.mark_interval,
        )
        .map_err(|error| failed(&place, error))?;
        Ok(Self {
            run: Writing {
                entries,
                place,
                sender,
                start: Instant::now(),
                last: LastRecord::default(),
            },
            output,
            run_id,
            started,
            fsync_at_eor: options.fsync_at_eor,
        })
    }

    /// Adds a record, a loss or a fault of this run. A begin or an end does nothing here.
    ///
    /// # Errors
    /// As [`write_record`](Self::write_record); [`RelayError::WrongSender`] for an event of another sender.
    pub fn write(&mut self, event: &RunEvent) -> Result<(), RelayError> {
        self.run.add(&mut self.output, event)
    }

    /// As [`write`](Self::write), for events that are all there: one lock for many of them.
    ///
    /// # Errors
    /// As [`write`](Self::write), of the first event that cannot be added. Those before it are; of those behind it none.
    pub fn write_all(&mut self, events: &[RunEvent]) -> Result<(), RelayError> {
        let lease = self.output.lease();
        let mut lease = lease.map_err(|error| failed(&self.run.place, error))?;
        let mut rest = events;
        while let [first, ..] = rest {
            let taken = match MessageRecords::first_of(rest, SMALL_RECORD) {
                Some(records) => self.run.add_records(&mut lease, records)?,
                None => self.run.add(&mut lease, first).map(|()| 1)?,
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Adds a record, which arrives now. It is copied once.
    ///
    /// # Errors
    /// [`RelayError::Io`] when an earlier write failed, such as for a full disk: what was written until then can be read, up to
    /// its last whole record, and nothing more can be added. [`RelayError::TooLarge`] beyond 4 GiB; the file goes on.
    #[inline]
    pub fn write_record(
        &mut self,
        record: &RecordView<'_>,
        arrival: Arrival,
    ) -> Result<(), RelayError> {
        let time = self.run.now();
        self.put_view(record, arrival, time)
    }

    /// As [`write_record`](Self::write_record), for a record that came at this time: many that came together need one look at
    /// the clock. A time before the begin of the run is that begin.
    ///
    /// # Errors
    /// As [`write_record`](Self::write_record).
    #[inline]
    pub fn write_record_at(
        &mut self,
        record: &RecordView<'_>,
        arrival: Arrival,
        time: Instant,
    ) -> Result<(), RelayError> {
        let time = time.saturating_duration_since(self.run.start).as_micros() as u64;
        self.put_view(record, arrival, time)
    }

    /// Adds the end of the run, and gives the file its final name. Blocks until everything is written.
    ///
    /// With [`fsync_at_eor`](RunFileOptions::fsync_at_eor) it blocks until the disk has it, the name too.
    ///
    /// # Errors
    /// [`RelayError::Io`] when the disk failed, then or before; [`RelayError::Exists`] and [`RelayError::NoFreeName`] as the
    /// strategy says. The file stays under its temporary name then, and is whole in the last two cases.
    pub fn finish(self, eor: &Eor) -> Result<WrittenRun, RelayError> {
        self.end(eor, false)
    }

    /// As [`finish`](Self::finish), for an end that the receiver made because none came.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_substitute(self, eor: &Eor) -> Result<WrittenRun, RelayError> {
        self.end(eor, true)
    }

    /// Writes out what there is, and leaves the file under its temporary name, without an end of run.
    ///
    /// # Errors
    /// [`RelayError::Io`] when the disk failed, then or before.
    pub fn close(self) -> Result<(), RelayError> {
        let Self { run, output, .. } = self;
        output
            .finish(false)
            .map_err(|error| failed(&run.place, error))
    }

    /// Where the run is being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.run.place.part()
    }

    /// Whose run it is.
    #[must_use]
    pub fn sender(&self) -> &SenderName {
        &self.run.sender
    }

    /// Records written so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.run.entries.totals().records
    }

    /// Size of the file so far, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.run.entries.file_len()
    }

    fn end(self, eor: &Eor, substitute: bool) -> Result<WrittenRun, RelayError> {
        self.run.check_sender(eor.sender.as_str())?;
        let time = self.run.now();
        let Self {
            run,
            mut output,
            run_id,
            started,
            fsync_at_eor,
        } = self;
        let Writing {
            entries,
            place,
            sender,
            ..
        } = run;
        let message = encode_eor(&sender, &eor.user_tags, &eor.metadata, Encoding::Compact)?;
        check_size(place.part(), "end of run", &message)?;
        let flags = if substitute { SUBSTITUTE } else { 0 };
        let (totals, file_bytes) = entries
            .end(&mut output, &message, flags, eor.counts.missed, time)
            .map_err(|error| failed(&place, error))?;
        output
            .finish(fsync_at_eor)
            .map_err(|error| failed(&place, error))?;
        let told = eor.metadata.get("run_id").and_then(|id| id.as_str());
        let run_id = run_id.or_else(|| told.map(str::to_owned));
        let path = place.publish(&match &run_id {
            Some(id) => stem(id, sender.as_str()),
            None => stem_by_time(started, sender.as_str()),
        })?;
        if fsync_at_eor {
            place.sync_directory()?;
        }
        Ok(WrittenRun {
            path,
            sender,
            run_id,
            records: totals.records,
            payload_bytes: totals.payload_bytes,
            file_bytes,
            condition: eor.condition,
            substitute,
        })
    }

    #[inline]
    fn put_view(
        &mut self,
        record: &RecordView<'_>,
        arrival: Arrival,
        time: u64,
    ) -> Result<(), RelayError> {
        let record = NewRecord {
            bytes: record.as_bytes(),
            sequence: record.sequence(),
            payload_bytes: record.payload_bytes(),
            arrival: flag_of(arrival),
        };
        self.run.put(&mut self.output, &record, time)
    }
}

impl Writing {
    #[inline]
    fn add<A: Append<Error = WriteError>>(
        &mut self,
        out: &mut A,
        event: &RunEvent,
    ) -> Result<(), RelayError> {
        match event {
            RunEvent::Record(record) => {
                self.check_sender(record.sender())?;
                let record = new_record(record.as_bytes(), record);
                let time = self.arrival_time(record.bytes);
                self.put(out, &record, time)
            }
            RunEvent::Lost(lost) => {
                self.check_sender(lost.sender.as_str())?;
                let time = self.now();
                let outcome = self.entries.lost(out, lost.first, lost.count, time);
                outcome.map_err(|error| failed(&self.place, error))
            }
            RunEvent::Fault(fault) => {
                if let Some(sender) = &fault.sender {
                    self.check_sender(sender.as_str())?;
                }
                let time = self.now();
                let outcome = self.entries.fault(out, &fault.kind.to_string(), time);
                outcome.map_err(|error| failed(&self.place, error))
            }
            _ => Ok(()),
        }
    }

    /// Adds small records of one message; gives how many they are.
    #[inline]
    fn add_records<A: Append<Error = WriteError>>(
        &mut self,
        out: &mut A,
        of_message: MessageRecords<'_>,
    ) -> Result<usize, RelayError> {
        self.check_sender(of_message.sender())?;
        let time = self.arrival_time(of_message.first_bytes());
        let records = of_message.map(|(bytes, record)| new_record(bytes, record));
        let outcome = self.entries.records(out, records, time);
        let (count, last) = outcome.map_err(|error| failed(&self.place, error))?;
        self.last.end = last.map_or(0, |last| last.bytes.as_ptr_range().end.addr());
        Ok(count)
    }

    #[inline]
    fn put<A: Append<Error = WriteError>>(
        &mut self,
        out: &mut A,
        record: &NewRecord<'_>,
        time: u64,
    ) -> Result<(), RelayError> {
        check_size(self.place.part(), "record", record.bytes)?;
        let outcome = self.entries.record(out, record, time);
        outcome.map_err(|error| failed(&self.place, error))
    }

    /// When the message of a received record came: now, unless the record before is of the same message.
    #[inline]
    fn arrival_time(&mut self, bytes: &[u8]) -> u64 {
        let addresses = bytes.as_ptr_range();
        let last = &mut self.last;
        // Another message may lie behind the last one by chance; the time is not kept for long.
        if addresses.start.addr() == last.end && last.repeats < MAX_REPEATS {
            last.repeats += 1;
        } else {
            last.repeats = 0;
            last.time = self.start.elapsed().as_micros() as u64;
        }
        last.end = addresses.end.addr();
        last.time
    }

    /// Microseconds since the begin.
    #[inline]
    fn now(&self) -> u64 {
        // Not within half a million years.
        self.start.elapsed().as_micros() as u64
    }

    fn check_sender(&self, found: &str) -> Result<(), RelayError> {
        if found == self.sender.as_str() {
            return Ok(());
        }
        Err(RelayError::WrongSender {
            path: self.place.part().to_owned(),
            expected: self.sender.to_string(),
            found: found.to_owned(),
        })
    }
}

/// How often the time of the record before is taken over.
const MAX_REPEATS: u32 = 4096;

/// Longest record whose checksum is made with those of its neighbours, in bytes. So many of these fit the nearest cache that they are
/// still there when they are copied.
const SMALL_RECORD: usize = 512;

fn new_record<'a>(bytes: &'a [u8], record: &Record) -> NewRecord<'a> {
    NewRecord {
        bytes,
        sequence: record.sequence(),
        payload_bytes: record.payload_bytes(),
        arrival: flag_of(record.arrival()),
    }
}

const fn flag_of(arrival: Arrival) -> ArrivalFlag {
    match arrival {
        Arrival::Late => ArrivalFlag::Late,
        Arrival::Duplicate => ArrivalFlag::Duplicate,
        Arrival::InOrder => ArrivalFlag::InOrder,
    }
}

impl Append for Output {
    type Error = WriteError;

    #[inline]
    fn append<const N: usize>(&mut self, head: &[u8; N], body: &[u8]) -> Result<(), WriteError> {
        Self::append(self, head, body)
    }
}

impl Append for Lease<'_> {
    type Error = WriteError;

    #[inline]
    fn append<const N: usize>(&mut self, head: &[u8; N], body: &[u8]) -> Result<(), WriteError> {
        Self::append(self, head, body)
    }
}

#[cold]
fn failed(place: &Place, (action, source): WriteError) -> RelayError {
    RelayError::io(action, place.part())(source)
}

/// Facts about the recording: a record whose tags hold them.
fn about(run_id: Option<&str>, restarted: bool) -> Result<Vec<u8>, RelayError> {
    let mut tags = Tags::new().with("program", concat!("acqbus ", env!("CARGO_PKG_VERSION")));
    if let Some(run_id) = run_id {
        tags.insert("run_id", run_id);
    }
    if restarted {
        tags.insert("restarted", true);
    }
    let mut bytes = Vec::new();
    write_record(
        &mut bytes,
        &DataRecord::new(0).with_tags(&tags),
        Encoding::Compact,
    )?;
    Ok(bytes)
}

fn check_size(path: &Path, what: &'static str, bytes: &[u8]) -> Result<(), RelayError> {
    let limit = u32::MAX as usize;
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(RelayError::TooLarge {
        path: path.to_owned(),
        what,
        found: bytes.len(),
        limit,
    })
}

fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}
