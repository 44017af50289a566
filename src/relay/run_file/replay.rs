//! A run file to a transmitter, as if the run were sent again.

use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::cdtp::{CdtpError, DataRecord, DataTransmitter, RunCondition, Tags};
use crate::relay::RelayError;
use crate::relay::run_file::ending::{Damage, Ending};
use crate::relay::run_file::reader::{RunFileEntry, RunFileReader, StoredRecord};

/// How fast a file is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speed {
    /// As fast as the receiver takes it.
    #[default]
    Maximal,
    /// Each record as long after the begin as it came; one that is behind its time goes at once.
    Original,
}

/// What a caller sees of a replay, and how he stops it. `()` sees nothing and never stops.
pub trait ReplayControl {
    /// Called before each record is sent; `Break` ends the run here, as INTERRUPTED.
    fn record(&mut self, record: &StoredRecord<'_>) -> ControlFlow<()> {
        let _ = record;
        ControlFlow::Continue(())
    }

    /// Called for each part of the file that cannot be read.
    fn damage(&mut self, damage: &Damage) {
        let _ = damage;
    }

    /// Waits until it is time for the next record; `Break` ends the run here. The default sleeps.
    fn wait(&mut self, time: Duration) -> ControlFlow<()> {
        std::thread::sleep(time);
        ControlFlow::Continue(())
    }
}

impl ReplayControl for () {}

/// What was sent of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Replayed {
    /// Records handed over, all of which were sent.
    pub records: u64,
    /// Bytes of their blocks.
    pub payload_bytes: u64,
    /// Parts of the file that could not be read.
    pub damage_count: u64,
    /// Whether the control ended it.
    pub is_stopped: bool,
    /// How the file ends; `None` when it was stopped before.
    pub ending: Option<Ending>,
    /// The user tags of the EOR that was sent.
    pub user_tags: Tags,
    /// The metadata of the EOR that was sent.
    pub metadata: Tags,
}

/// Sends a file again: its BOR, all its records, its EOR. Blocks until the transmitter has sent everything.
///
/// As [`replay_with`], without a control.
///
/// # Errors
/// As [`replay_with`].
pub fn replay<S: Read + Seek>(
    reader: &mut RunFileReader<S>,
    transmitter: &DataTransmitter,
    speed: Speed,
) -> Result<Replayed, RelayError> {
    replay_with(reader, transmitter, speed, &mut ())
}

/// Sends a file again from its first record, under the name of the transmitter.
///
/// Every record keeps its number and its place, so that a receiver counts the same as missed, late and doubled; the transmitter's
/// own numbers are not used. The EOR is that of the file, as the first receiver left it, a substitute too. A file without one gets
/// ABORTED and INCOMPLETE, one that is damaged gets INCOMPLETE as well, and one that is stopped by the control INTERRUPTED.
///
/// Tags of a file may be such as a C++ receiver cannot hold; the transmitter's [`cxx_tags`] say what becomes of them, and refuse
/// them by default.
///
/// Blocks while the receiver takes nothing, as long as the time-outs of the transmitter say. After an error no EOR is sent, and the
/// receiver makes its own.
///
/// [`cxx_tags`]: crate::cdtp::TransmitterOptions#structfield.cxx_tags
///
/// # Errors
/// [`RelayError::Incomplete`] when the begin of the run cannot be read; [`RelayError::RunUnderWay`] while the transmitter takes
/// records of another run, which goes on; [`RelayError::Cdtp`] when it cannot be sent;
/// [`RelayError::Io`] when the file cannot be read.
pub fn replay_with<S: Read + Seek>(
    reader: &mut RunFileReader<S>,
    transmitter: &DataTransmitter,
    speed: Speed,
    control: &mut impl ReplayControl,
) -> Result<Replayed, RelayError> {
    let (Some(user_tags), Some(configuration)) = (reader.user_tags(), reader.configuration())
    else {
        return Err(RelayError::Incomplete {
            path: reader.name().to_owned(),
            what: "begin of run",
        });
    };
    if transmitter.is_sending() {
        return Err(RelayError::RunUnderWay {
            sender: transmitter.name().as_str().to_owned(),
        });
    }
    transmitter.send_bor(user_tags, configuration)?;
    reader.rewind();
    transmitter.start_sending()?;
    let mut replay = Replay {
        transmitter,
        speed,
        start: Instant::now(),
        sent: Replayed {
            records: 0,
            payload_bytes: 0,
            damage_count: 0,
            is_stopped: false,
            ending: None,
            user_tags: Tags::new(),
            metadata: Tags::new(),
        },
        eor: None,
    };
    let outcome = replay.records(reader, control);
    if outcome.is_err() {
        transmitter.stop_sending_timeout(Duration::ZERO);
        outcome?;
    }
    transmitter.stop_sending();
    transmitter.check_error()?;
    replay.sent.ending = reader.ending();
    let (user_tags, metadata) = replay.end(reader.about());
    transmitter.send_eor(&user_tags, &metadata)?;
    Ok(Replayed {
        user_tags,
        metadata,
        ..replay.sent
    })
}

struct Replay<'a> {
    transmitter: &'a DataTransmitter,
    speed: Speed,
    start: Instant,
    sent: Replayed,
    /// User tags and metadata.
    eor: Option<(Tags, Tags)>,
}

impl Replay<'_> {
    fn records<S: Read + Seek>(
        &mut self,
        reader: &mut RunFileReader<S>,
        control: &mut impl ReplayControl,
    ) -> Result<(), RelayError> {
        while let Some(entry) = reader.next_entry()? {
            let flow = match entry {
                RunFileEntry::Record(record) => {
                    let flow = self
                        .wait(record.time, control)
                        .map_continue(|()| control.record(&record));
                    if let ControlFlow::Continue(ControlFlow::Continue(())) = flow {
                        self.send(&record)?;
                        continue;
                    }
                    ControlFlow::Break(())
                }
                RunFileEntry::Eor(eor) => {
                    let flow = self.wait(eor.time, control);
                    self.eor = Some((eor.user_tags, eor.metadata));
                    flow
                }
                RunFileEntry::Damage(damage) => {
                    self.sent.damage_count += 1;
                    control.damage(&damage);
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                self.sent.is_stopped = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn send(&mut self, stored: &StoredRecord<'_>) -> Result<(), CdtpError> {
        let view = &stored.view;
        let mut record = DataRecord::new(view.sequence());
        if view.has_tags() {
            record = record.with_tags(view.tags());
        }
        for block in view.blocks() {
            record.add_block(block);
        }
        self.transmitter.send_data_record(record)?;
        self.sent.records += 1;
        self.sent.payload_bytes += view.payload_bytes();
        Ok(())
    }

    fn wait(&self, time: Duration, control: &mut impl ReplayControl) -> ControlFlow<()> {
        if self.speed == Speed::Maximal {
            return ControlFlow::Continue(());
        }
        match time.checked_sub(self.start.elapsed()) {
            Some(rest) if !rest.is_zero() => control.wait(rest),
            _ => ControlFlow::Continue(()),
        }
    }

    /// User tags and metadata of the end.
    fn end(&mut self, about: &Tags) -> (Tags, Tags) {
        let (user_tags, mut metadata, flags) = match self.eor.take() {
            Some((user_tags, metadata)) if !self.sent.is_stopped => {
                (user_tags, metadata, RunCondition::GOOD)
            }
            _ => {
                let mut metadata = Tags::new();
                if let Some(run_id) = about.get("run_id") {
                    metadata.insert("run_id", run_id.clone());
                }
                let flags = if self.sent.is_stopped {
                    RunCondition::INTERRUPTED
                } else {
                    RunCondition::ABORTED | RunCondition::INCOMPLETE
                };
                (Tags::new(), metadata, flags)
            }
        };
        let flags = if self.sent.damage_count > 0 {
            flags | RunCondition::INCOMPLETE
        } else {
            flags
        };
        flags.add_to(&mut metadata);
        (user_tags, metadata)
    }
}
