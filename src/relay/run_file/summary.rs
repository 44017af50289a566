//! What a run file holds, in one value.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cdtp::{Arrival, RunCondition, Tags};
use crate::relay::RelayError;
use crate::relay::run_file::ending::{Damage, Ending};
use crate::relay::run_file::reader::{RunFileEntry, RunFileReader, RunFileTotals, StoredEor};

/// What a run file holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunFileSummary {
    /// The file.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub file_bytes: u64,
    /// Major and minor version of its format.
    pub version: (u16, u16),
    /// When the run began, by the clock of the machine that wrote the file.
    pub started: SystemTime,
    /// When its last entry was written, since then.
    pub duration: Duration,
    /// Whose run it is; `None` when the begin of the run is damaged or missing.
    pub sender: Option<String>,
    /// Its id, where the begin or the end says one.
    pub run_id: Option<String>,
    /// The tags that the user of the sender gave to the begin.
    pub user_tags: Tags,
    /// The configuration of the sender.
    pub configuration: Tags,
    /// Facts about the recording.
    pub about: Tags,
    /// The end of the run; `None` when there is none.
    pub eor: Option<StoredEor>,
    /// Counts: of the index for a finished file, else of what was read.
    pub totals: RunFileTotals,
    /// How the file ends.
    pub ending: Ending,
    /// Whether every byte was read and checked; else only the begin, the end and the index were.
    pub is_checked: bool,
    /// The first parts that cannot be read, at most 100.
    pub damage: Vec<Damage>,
    /// How many such parts there are.
    pub damage_count: u64,
    /// Records that were read whole, where everything was read.
    pub records_read: Option<u64>,
}

impl RunFileSummary {
    /// The condition of the run; `None` without an end that says one.
    #[must_use]
    pub fn condition(&self) -> Option<RunCondition> {
        self.eor.as_ref()?.run_metadata().condition
    }

    /// Whether the run ended, nothing is missing and, as far as was read, nothing is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ending.has_eor()
            && self.damage_count == 0
            && self.totals.missed == 0
            && self.eor.as_ref().is_some_and(|eor| !eor.substitute)
    }
}

/// Says what a run file holds: at once from the index of a finished file, else by reading all of it.
///
/// # Errors
/// As [`RunFileReader::open`].
pub fn inspect(path: impl AsRef<Path>) -> Result<RunFileSummary, RelayError> {
    let mut reader = RunFileReader::open(path)?;
    let (Some(totals), Some(eor)) = (reader.totals(), reader.eor()?) else {
        return summarise(reader);
    };
    let mut summary = begin(&reader);
    summary.duration = eor.time;
    summary.totals = totals;
    summary.ending = Ending::Complete;
    end(&mut summary, Some(eor));
    Ok(summary)
}

/// Says what a run file holds after reading and checking every byte of it.
///
/// # Errors
/// As [`RunFileReader::open`].
pub fn check(path: impl AsRef<Path>) -> Result<RunFileSummary, RelayError> {
    summarise(RunFileReader::<File>::open(path)?)
}

/// As [`check`], of a reader from its first entry.
///
/// # Errors
/// [`RelayError::Io`].
pub fn summarise<S: Read + Seek>(
    mut reader: RunFileReader<S>,
) -> Result<RunFileSummary, RelayError> {
    reader.rewind();
    let mut summary = begin(&reader);
    let mut eor = None;
    let mut seen = RunFileTotals::default();
    while let Some(entry) = reader.next_entry()? {
        match entry {
            RunFileEntry::Record(record) => {
                let sequence = record.view.sequence();
                if seen.records == 0 {
                    (seen.first_sequence, seen.last_sequence) = (sequence, sequence);
                }
                seen.records += 1;
                seen.payload_bytes += record.view.payload_bytes();
                seen.first_sequence = seen.first_sequence.min(sequence);
                seen.last_sequence = seen.last_sequence.max(sequence);
                match record.arrival {
                    Arrival::Late => {
                        seen.late += 1;
                        seen.missed = seen.missed.saturating_sub(1);
                    }
                    Arrival::Duplicate => seen.duplicates += 1,
                    _ => {}
                }
                summary.duration = record.time;
            }
            RunFileEntry::Lost { count, time, .. } => {
                seen.missed = seen.missed.saturating_add(count);
                summary.duration = time;
            }
            RunFileEntry::Fault { time, .. } => {
                seen.faults += 1;
                summary.duration = time;
            }
            RunFileEntry::Eor(found) => {
                summary.duration = found.time;
                eor = Some(found);
            }
            RunFileEntry::Damage(damage) => {
                summary.damage_count += 1;
                if summary.damage.len() < MAX_DAMAGE {
                    summary.damage.push(damage);
                }
            }
        }
    }
    summary.is_checked = true;
    summary.records_read = Some(seen.records);
    summary.totals = reader.totals().unwrap_or(seen);
    summary.ending = reader.ending().unwrap_or(Ending::Unfinished);
    end(&mut summary, eor);
    Ok(summary)
}

fn begin<S: Read + Seek>(reader: &RunFileReader<S>) -> RunFileSummary {
    RunFileSummary {
        path: reader.name().to_owned(),
        file_bytes: reader.file_bytes(),
        version: reader.version(),
        started: reader.started(),
        duration: Duration::ZERO,
        sender: reader.sender().map(str::to_owned),
        run_id: None,
        user_tags: reader.user_tags().cloned().unwrap_or_default(),
        configuration: reader.configuration().cloned().unwrap_or_default(),
        about: reader.about().clone(),
        eor: None,
        totals: RunFileTotals::default(),
        ending: Ending::Unfinished,
        is_checked: false,
        damage: Vec::new(),
        damage_count: 0,
        records_read: None,
    }
}

fn end(summary: &mut RunFileSummary, eor: Option<StoredEor>) {
    let told = |tags: &Tags| {
        let id = tags.get("run_id").and_then(|id| id.as_str());
        id.map(str::to_owned)
    };
    let at_end = eor.as_ref().and_then(|eor| told(&eor.metadata));
    summary.run_id = told(&summary.about).or(at_end);
    summary.eor = eor;
}

/// Parts told one by one; a file full of damage is not worth more memory.
const MAX_DAMAGE: usize = 100;
