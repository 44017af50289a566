//! A run file, from its begin to wherever it ends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cdtp::{Arrival, DecodeLimits, MessageKind, MessageView, RecordView, RunMetadata, Tags};
use crate::relay::RelayError;
use crate::relay::run_file::ending::{Damage, DamageKind, Ending};
use crate::relay::run_file::entries::{ArrivalFlag, SUBSTITUTE};
use crate::relay::run_file::format::{
    EntryHead, EntryKind, HEADER_BYTES, Header, HeaderError, Mark, Segment, Totals, VERSION,
    decode_lost,
};
use crate::relay::run_file::scan::{Scanner, Step};

/// Reads a run file: finished, still being written, or left behind by a crash.
///
/// Every entry is checked against its checksum before anything of it is shown. Damage is told where it stands, and reading goes on
/// behind it. What a file that is being written gets after it was opened is not seen. Memory is 1 MiB, or the largest record.
///
/// `S` is where the bytes are: a file, or a [`Cursor`](std::io::Cursor) over bytes in memory.
///
/// ```no_run
/// use acqbus::relay::{RunFileEntry, RunFileReader};
///
/// let mut reader = RunFileReader::open("night_7@Camera.left.acqrun")?;
/// while let Some(entry) = reader.next_entry()? {
///     match entry {
///         RunFileEntry::Record(record) => println!("{}", record.view.sequence()),
///         RunFileEntry::Damage(damage) => eprintln!("{damage}"),
///         _ => {}
///     }
/// }
/// println!("the file {}", reader.ending().expect("read to its end"));
/// # Ok::<(), acqbus::relay::RelayError>(())
/// ```
#[derive(Debug)]
pub struct RunFileReader<S = File> {
    scanner: Scanner<S>,
    name: PathBuf,
    header: Header,
    limits: DecodeLimits,
    begin: Option<Begin>,
    about: Tags,
    index: Option<(Totals, Vec<Segment>)>,
    /// Behind the begin of the run.
    first_entry: u64,
    /// Records before the next entry, whole or lost.
    before: u64,
    ending: Option<Ending>,
}

/// What the begin of the run says.
#[derive(Clone, Debug, PartialEq)]
struct Begin {
    sender: String,
    user_tags: Tags,
    configuration: Tags,
}

/// One thing in a run file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RunFileEntry<'a> {
    /// A data record.
    Record(StoredRecord<'a>),
    /// Numbers that had not come when a higher one did.
    Lost {
        /// The first of them.
        first: u64,
        /// How many.
        count: u64,
        /// When that was seen, since the begin of the run.
        time: Duration,
    },
    /// A message that the receiver could not take.
    Fault {
        /// What was wrong with it.
        text: &'a str,
        /// When it came, since the begin of the run.
        time: Duration,
    },
    /// The end of the run; the last entry.
    Eor(StoredEor),
    /// A part of the file that cannot be read.
    Damage(Damage),
}

/// A data record of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredRecord<'a> {
    /// The record as it was on the wire.
    pub view: RecordView<'a>,
    /// How its number followed those before it.
    pub arrival: Arrival,
    /// When it came, since the begin of the run.
    pub time: Duration,
}

/// The end of a run, as the receiver left it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredEor {
    /// The tags that the user of the sender gave to the end.
    pub user_tags: Tags,
    /// The metadata of the run, with the flags of the receiver.
    pub metadata: Tags,
    /// Whether the receiver had to make the end itself.
    pub substitute: bool,
    /// When it came, since the begin of the run.
    pub time: Duration,
}

/// What a finished file says about itself in its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFileTotals {
    /// Records in the file.
    pub records: u64,
    /// Bytes of their blocks.
    pub payload_bytes: u64,
    /// Numbers that never came, as the receiver counted them.
    pub missed: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// Records whose number had come before.
    pub duplicates: u64,
    /// Faults noted.
    pub faults: u64,
    /// The smallest number of a record; 0 when there is none.
    pub first_sequence: u64,
    /// The largest number of a record; 0 when there is none.
    pub last_sequence: u64,
}

impl RunFileReader {
    /// Opens a file by its name, with the default limits.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`RelayError::Io`] when it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RelayError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(RelayError::io("open", path))?;
        Self::new(file, path, DecodeLimits::default())
    }
}

impl<S: Read + Seek> RunFileReader<S> {
    /// Reads the begin of a file, and the index of one that was finished; `name` stands in errors.
    ///
    /// An entry beyond [`frame_bytes`](DecodeLimits::frame_bytes), or with tags beyond the other limits, is told as damage.
    ///
    /// # Errors
    /// [`RelayError::NotARunFile`] for another beginning; [`RelayError::Version`] for a later format; [`RelayError::Io`].
    pub fn new(
        mut source: S,
        name: impl Into<PathBuf>,
        limits: DecodeLimits,
    ) -> Result<Self, RelayError> {
        let name = name.into();
        let error = |source| RelayError::io("read", &name)(source);
        let file_len = source.seek(SeekFrom::End(0)).map_err(error)?;
        source.rewind().map_err(error)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let mut head = source.take(HEADER_BYTES as u64);
        head.read_to_end(&mut bytes).map_err(error)?;
        let header = Header::decode(&bytes).map_err(|error| refused(&name, &bytes, error))?;
        let max_body = match limits.frame_bytes {
            0 => usize::MAX,
            limit => limit,
        };
        let scanner = Scanner::new(head.into_inner(), file_len, &header, max_body);
        let mut reader = Self {
            scanner,
            name,
            header,
            limits,
            begin: None,
            about: Tags::new(),
            index: None,
            first_entry: HEADER_BYTES as u64,
            before: 0,
            ending: None,
        };
        reader.index = reader.scanner.index().map_err(|source| reader.io(source))?;
        reader.read_begin()?;
        Ok(reader)
    }

    /// The next entry; `None` at the end, and then [`ending`](Self::ending) says how the file ends.
    ///
    /// # Errors
    /// [`RelayError::Io`] when the system cannot read. Wrong bytes are no error: they are told as [`RunFileEntry::Damage`].
    pub fn next_entry(&mut self) -> Result<Option<RunFileEntry<'_>>, RelayError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let (head, offset) = loop {
            match self.scanner.step() {
                Err(source) => return Err(self.io(source)),
                Ok(Step::Entry { head, offset }) => match head.kind {
                    EntryKind::Record | EntryKind::Lost | EntryKind::Fault | EntryKind::Eor => {
                        break (head, offset);
                    }
                    EntryKind::Mark => {
                        if let Some(damage) = self.at_mark(offset, head) {
                            return Ok(Some(RunFileEntry::Damage(damage)));
                        }
                    }
                    // A begin in the middle, or what a later version writes.
                    _ => {}
                },
                Ok(Step::Damage {
                    mut damage,
                    records,
                }) => {
                    if let Some(records) = records {
                        damage.records = Some(records.saturating_sub(self.before));
                        self.before = records;
                    } else {
                        self.before = self.before.saturating_add(damage.records.unwrap_or(0));
                    }
                    return Ok(Some(RunFileEntry::Damage(damage)));
                }
                Ok(Step::End(tail)) => {
                    self.ending = Some(match (&self.index, tail) {
                        (Some(_), _) => Ending::EorDamaged,
                        (None, None) => Ending::Unfinished,
                        (None, Some(tail)) => Ending::Torn(tail),
                    });
                    let (Some((totals, _)), Some(tail)) = (&self.index, tail) else {
                        return Ok(None);
                    };
                    return Ok(Some(RunFileEntry::Damage(Damage {
                        offset: tail.offset,
                        bytes: tail.bytes,
                        records: Some(totals.records.saturating_sub(self.before)),
                        kind: DamageKind::Checksum,
                    })));
                }
            }
        };
        Ok(Some(self.entry(offset, head)))
    }

    /// Goes to the record with this number, so that it is the next entry; `false` when the file has none, and then nothing moves.
    ///
    /// With the index of a finished file it reads about 1 MiB; without, from the begin of the file. Where a number came twice it
    /// goes to the first.
    ///
    /// # Errors
    /// [`RelayError::Io`], and then the next entry is undefined.
    pub fn seek(&mut self, sequence: u64) -> Result<bool, RelayError> {
        let (at, before, ending) = (self.scanner.at(), self.before, self.ending);
        let mut place = 0;
        while let Some((segment, end)) = self.segment(place) {
            place += 1;
            if !(segment.first..=segment.last).contains(&sequence) {
                continue;
            }
            self.scanner.seek(segment.offset);
            (self.before, self.ending) = (segment.records, None);
            // So that damage in one segment does not make a search through all of them.
            let whole = self.scanner.end_at(end);
            let found = self.find(sequence);
            self.scanner.restore_end(whole);
            if found? {
                return Ok(true);
            }
        }
        self.scanner.seek(at);
        (self.before, self.ending) = (before, ending);
        Ok(false)
    }

    /// Goes back to the first entry.
    pub fn rewind(&mut self) {
        self.scanner.seek(self.first_entry);
        (self.before, self.ending) = (0, None);
    }

    /// How the file ends; `None` until [`next_entry`](Self::next_entry) has come to its end.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The name of the file, as it was given.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Size of the file when it was opened, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.scanner.file_len()
    }

    /// Major and minor version of the format.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        self.header.version
    }

    /// Whose run it is; `None` when the begin of the run is damaged or missing.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        self.begin.as_ref().map(|begin| begin.sender.as_str())
    }

    /// The tags that the user of the sender gave to the begin; `None` when that is damaged or missing.
    #[must_use]
    pub fn user_tags(&self) -> Option<&Tags> {
        self.begin.as_ref().map(|begin| &begin.user_tags)
    }

    /// The configuration of the sender; `None` when the begin of the run is damaged or missing.
    #[must_use]
    pub fn configuration(&self) -> Option<&Tags> {
        self.begin.as_ref().map(|begin| &begin.configuration)
    }

    /// Facts about the recording: `program`, `run_id` where it was known at the begin, `restarted`.
    #[must_use]
    pub fn about(&self) -> &Tags {
        &self.about
    }

    /// When the run began, by the clock of the machine that wrote the file.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.header.started)
    }

    /// What the index says; `None` for a file that was not finished.
    #[must_use]
    pub fn totals(&self) -> Option<RunFileTotals> {
        let (totals, _) = self.index.as_ref()?;
        Some(RunFileTotals {
            records: totals.records,
            payload_bytes: totals.payload_bytes,
            missed: totals.missed,
            late: totals.late,
            duplicates: totals.duplicates,
            faults: totals.faults,
            first_sequence: totals.first,
            last_sequence: totals.last,
        })
    }

    /// The end of the run, without reading what is before it; `None` for a file that was not finished, or whose end is damaged.
    ///
    /// The next entry is then the first one, as after [`rewind`](Self::rewind).
    ///
    /// # Errors
    /// [`RelayError::Io`].
    pub fn eor(&mut self) -> Result<Option<StoredEor>, RelayError> {
        let Some((totals, _)) = &self.index else {
            return Ok(None);
        };
        // The mark is before it, and the index behind.
        self.scanner.seek(totals.eor);
        self.ending = None;
        let eor = match self.next_entry()? {
            Some(RunFileEntry::Eor(eor)) => Some(eor),
            _ => None,
        };
        self.rewind();
        Ok(eor)
    }

    /// A segment of the index, and where it ends; without an index the whole file is the only one.
    fn segment(&self, place: usize) -> Option<(Segment, u64)> {
        let Some((_, segments)) = &self.index else {
            let whole = Segment {
                offset: self.first_entry,
                records: 0,
                first: 0,
                last: u64::MAX,
            };
            return (place == 0).then_some((whole, u64::MAX));
        };
        let end = segments.get(place + 1).map_or(u64::MAX, |next| next.offset);
        Some((*segments.get(place)?, end))
    }

    /// Goes on to the record with this number.
    fn find(&mut self, sequence: u64) -> Result<bool, RelayError> {
        loop {
            let (here, before) = (self.scanner.at(), self.before);
            match self.next_entry()? {
                Some(RunFileEntry::Record(record)) if record.view.sequence() == sequence => {
                    // Marks may stand before it, and are no harm.
                    self.scanner.seek(here);
                    (self.before, self.ending) = (before, None);
                    return Ok(true);
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    fn read_begin(&mut self) -> Result<(), RelayError> {
        for kind in [EntryKind::Bor, EntryKind::About] {
            let at = self.scanner.at();
            let step = self.scanner.step().map_err(|source| self.io(source))?;
            let Step::Entry { head, offset } = step else {
                // It is told again where the entries are read.
                self.scanner.seek(at);
                break;
            };
            if head.kind != kind {
                self.scanner.seek(at);
                continue;
            }
            let body = self.scanner.body(offset, head);
            if kind == EntryKind::Bor {
                self.begin = decode_begin(body, &self.limits);
            } else if let Ok(record) = RecordView::decode_with(body, &self.limits) {
                self.about = record.tags();
            }
        }
        self.first_entry = self.scanner.at();
        Ok(())
    }

    /// Takes over what a mark knows: more records, where damage hid them.
    fn at_mark(&mut self, offset: u64, head: EntryHead) -> Option<Damage> {
        let mark = Mark::decode(self.scanner.body(offset, head));
        let mark = mark.filter(|mark| mark.id == self.header.id)?;
        let hidden = mark.records.saturating_sub(self.before);
        self.before = mark.records;
        (hidden > 0).then_some(Damage {
            offset,
            bytes: 0,
            records: Some(hidden),
            kind: DamageKind::Hidden,
        })
    }

    /// The entry that the scanner stands behind.
    fn entry(&mut self, offset: u64, head: EntryHead) -> RunFileEntry<'_> {
        let time = Duration::from_micros(head.time);
        if head.kind == EntryKind::Record {
            self.before = self.before.saturating_add(1);
        }
        let body = self.scanner.body(offset, head);
        let damage = RunFileEntry::Damage(Damage {
            offset,
            bytes: head.entry_len(),
            records: Some(u64::from(head.kind == EntryKind::Record)),
            kind: DamageKind::Content,
        });
        match head.kind {
            EntryKind::Record => {
                let Ok(view) = RecordView::decode_with(body, &self.limits) else {
                    return damage;
                };
                let arrival = match head.flags {
                    flag if flag == ArrivalFlag::Late as u8 => Arrival::Late,
                    flag if flag == ArrivalFlag::Duplicate as u8 => Arrival::Duplicate,
                    _ => Arrival::InOrder,
                };
                RunFileEntry::Record(StoredRecord {
                    view,
                    arrival,
                    time,
                })
            }
            EntryKind::Lost => decode_lost(body).map_or(damage, |(first, count)| {
                RunFileEntry::Lost { first, count, time }
            }),
            EntryKind::Fault => {
                std::str::from_utf8(body).map_or(damage, |text| RunFileEntry::Fault { text, time })
            }
            _ => {
                let Some((user_tags, metadata)) = decode_end(body, &self.limits) else {
                    return damage;
                };
                self.ending = Some(if self.index.is_some() {
                    Ending::Complete
                } else {
                    Ending::WithoutIndex
                });
                RunFileEntry::Eor(StoredEor {
                    user_tags,
                    metadata,
                    substitute: head.flags & SUBSTITUTE != 0,
                    time,
                })
            }
        }
    }

    #[cold]
    fn io(&self, source: std::io::Error) -> RelayError {
        RelayError::io("read", &self.name)(source)
    }
}

impl StoredEor {
    /// The metadata by its known keys.
    #[must_use]
    pub fn run_metadata(&self) -> RunMetadata {
        RunMetadata::from_tags(&self.metadata)
    }
}

fn decode_begin(body: &[u8], limits: &DecodeLimits) -> Option<Begin> {
    let message = MessageView::decode(body, limits).ok()?;
    let (user_tags, configuration) = message.bor()?;
    Some(Begin {
        sender: message.sender().to_owned(),
        user_tags,
        configuration,
    })
}

fn decode_end(body: &[u8], limits: &DecodeLimits) -> Option<(Tags, Tags)> {
    let message = MessageView::decode(body, limits).ok()?;
    (message.kind() == MessageKind::Eor)
        .then(|| message.eor())
        .flatten()
}

#[cold]
fn refused(name: &Path, bytes: &[u8], error: HeaderError) -> RelayError {
    let path = name.to_owned();
    let reason = match error {
        HeaderError::Version(major, minor) => {
            return RelayError::Version {
                path,
                major,
                minor,
                supported: VERSION.0,
            };
        }
        HeaderError::Short if bytes.is_empty() => {
            "it is empty: the name was taken for a run whose writer was killed before it was finished"
        }
        HeaderError::Short => "it ends within its header",
        HeaderError::Magic if bytes.iter().all(|&byte| byte == 0) => {
            "it begins with zeros: the disk never got its first bytes"
        }
        HeaderError::Magic => "it begins with other bytes",
        HeaderError::Checksum => "its header is damaged",
    };
    RelayError::NotARunFile { path, reason }
}
