//! A run that ends, whatever happens.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::cdtp::fit::check_tags;
use crate::cdtp::{
    CdtpError, DataRecord, DataTransmitter, RunCondition, RunMetadata, Tags, Timestamp,
};

/// A run under way: begun with its BOR message, ended with its EOR message by [`finish`](Self::finish).
///
/// Dropped before that, it ends as ABORTED, so that a receiver is told even when the caller returns early with `?` or panics. The
/// transmitter is borrowed, or shared by an `Arc`.
///
/// ```
/// use acqbus::cdtp::{DataTransmitter, Run, RunCondition, RunStart, Tags, TransmitterOptions};
/// # use acqbus::zsocket::{Context, SocketKind, SocketOptions};
///
/// let options = TransmitterOptions::default();
/// let transmitter = DataTransmitter::bind("Camera.left", &"tcp://127.0.0.1:0".parse()?, options)?;
/// # let receiver = Context::new()?.socket(SocketKind::Pull, &SocketOptions::default())?;
/// # receiver.connect(transmitter.endpoint())?;
/// let start = RunStart::new("night_7").configuration(Tags::new().with("exposure_ms", 1.5));
/// let run = Run::begin(&transmitter, start)?; // waits for a receiver
/// for _ in 0..100 {
///     run.send_data_record(run.new_data_record().with_block(b"pixels"))?;
/// }
/// let summary = run.finish(RunCondition::GOOD)?;
/// assert_eq!((summary.records, summary.bytes), (100, 600));
///
/// assert!(Run::begin(&transmitter, RunStart::new("no blanks")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Run<T: Deref<Target = DataTransmitter>> {
    transmitter: T,
    metadata: RunMetadata,
    end_tags: Tags,
    drop_timeout: Duration,
    ended: bool,
}

impl<T: Deref<Target = DataTransmitter>> Run<T> {
    /// Sends the BOR message and takes records from then on.
    ///
    /// Blocks up to the [`bor_timeout`](crate::cdtp::TransmitterOptions::bor_timeout) until a receiver is there.
    ///
    /// # Errors
    /// [`CdtpError::RunId`]; [`CdtpError::AlreadySending`] while another run of the transmitter is under way;
    /// [`CdtpError::CxxTag`] and [`CdtpError::TooLarge`], for the metadata too, which go out at the end; as
    /// [`DataTransmitter::send_bor`].
    pub fn begin(transmitter: T, start: RunStart) -> Result<Self, CdtpError> {
        start.check()?;
        if transmitter.is_sending() {
            return Err(CdtpError::AlreadySending);
        }
        // They go out at the end, when it is too late to refuse them.
        let options = transmitter.options();
        check_tags(&*options.cxx_tags.apply(&start.metadata)?)?;
        let metadata = RunMetadata::default()
            .version(start.version)
            .run_id(start.run_id)
            .time_start(Timestamp::now())
            .license(start.license)
            .other(start.metadata);
        transmitter.send_bor(&start.user_tags, &start.configuration)?;
        transmitter.start_sending()?;
        Ok(Self {
            transmitter,
            metadata,
            end_tags: Tags::new(),
            drop_timeout: start.drop_timeout,
            ended: false,
        })
    }

    /// As [`DataTransmitter::new_data_record`].
    #[inline]
    #[must_use]
    pub fn new_data_record<'a>(&self) -> DataRecord<'a> {
        self.transmitter.new_data_record()
    }

    /// As [`DataTransmitter::send_data_record`], and fails as soon as a message could not be sent.
    ///
    /// # Errors
    /// As [`DataTransmitter::check_error`] and [`DataTransmitter::send_data_record`].
    #[inline]
    pub fn send_data_record(&self, record: DataRecord<'_>) -> Result<(), CdtpError> {
        if self.transmitter.has_failed() {
            self.transmitter.check_error()?;
        }
        self.transmitter.send_data_record(record)
    }

    /// Sets the user's tags of the EOR message; none at first.
    pub fn set_end_tags(&mut self, tags: Tags) {
        self.end_tags = tags;
    }

    /// What sends, for its counters and its other ways to send.
    #[must_use]
    pub fn transmitter(&self) -> &DataTransmitter {
        &self.transmitter
    }

    /// Sends what waits, then the EOR message.
    ///
    /// The end time, the condition and the number of records are taken when all records have been sent (Python takes them before,
    /// and a run that lost nothing then looks incomplete). When data could not be sent, TAINTED and ABORTED are added, and the EOR
    /// message is tried all the same; TAINTED, too, when a second receiver took a part of the data (*ours*). Blocks as [`DataTransmitter::stop_sending`] and [`DataTransmitter::send_eor`] do.
    ///
    /// # Errors
    /// As [`DataTransmitter::check_error`], or else as [`DataTransmitter::send_eor`]. The run is over in any case.
    pub fn finish(mut self, condition: RunCondition) -> Result<RunSummary, CdtpError> {
        self.transmitter.stop_sending();
        let sent = self.transmitter.check_error();
        let mut condition = match sent {
            Ok(()) => condition,
            Err(_) => condition | RunCondition::TAINTED | RunCondition::ABORTED,
        };
        if self.transmitter.had_several_receivers() {
            condition |= RunCondition::TAINTED;
        }
        let ended = self.end(condition, self.transmitter.options().eor_timeout);
        sent.and(ended)
    }

    /// Ends the run as TAINTED and ABORTED without a wait: for a receiver that is gone, which would not take an end either.
    ///
    /// What waits is thrown away and counted as [lost](crate::cdtp::TransmitterStats::records_lost); the EOR message goes out if it
    /// is taken at once. `false` if it was not.
    pub fn abandon(mut self) -> bool {
        self.transmitter.stop_sending_timeout(Duration::ZERO);
        let condition = RunCondition::TAINTED | RunCondition::ABORTED;
        self.end(condition, Some(Duration::ZERO)).is_ok()
    }

    fn end(
        &mut self,
        condition: RunCondition,
        timeout: Option<Duration>,
    ) -> Result<RunSummary, CdtpError> {
        self.ended = true;
        let metadata = std::mem::take(&mut self.metadata)
            .time_end(Timestamp::now())
            .condition(condition)
            .data_records(self.transmitter.sequence_number());
        let stats = self.transmitter.stats();
        self.transmitter
            .send_eor_timeout(&self.end_tags, &metadata.to_tags(), timeout)?;
        Ok(RunSummary {
            condition,
            records: stats.records_transmitted,
            bytes: stats.bytes_transmitted,
            messages: stats.messages_transmitted,
            metadata,
        })
    }
}

impl<T: Deref<Target = DataTransmitter>> Drop for Run<T> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let limit = self.drop_timeout;
        self.transmitter.stop_sending_timeout(limit);
        let own = self.transmitter.options().eor_timeout;
        let timeout = own.map_or(limit, |own| own.min(limit));
        if let Err(error) = self.end(RunCondition::ABORTED, Some(timeout)) {
            log::warn!("a run was dropped, and its receiver is not told: {error}");
        }
    }
}

impl<T: Deref<Target = DataTransmitter>> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("metadata", &self.metadata)
            .field("transmitter", &*self.transmitter)
            .finish_non_exhaustive()
    }
}

/// What a [`Run`] begins with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunStart {
    /// The name of the run: letters, digits, `_` and `-`.
    pub run_id: String,
    /// The user's tags of the BOR message. Defaults to none.
    pub user_tags: Tags,
    /// The configuration of the sender, which the BOR message carries. Defaults to none.
    pub configuration: Tags,
    /// The licence of the data. Defaults to `ODC-By-1.0`, as the references.
    pub license: String,
    /// The version of the sending program. Defaults to this crate's.
    pub version: String,
    /// More metadata for the EOR message, behind the usual keys. Defaults to none.
    pub metadata: Tags,
    /// How long `Drop` waits, once for the records and once for the EOR message. Defaults to 5 s.
    pub drop_timeout: Duration,
}

impl RunStart {
    /// A run of this name.
    #[must_use]
    pub fn new(run_id: impl Into<String>) -> Self {
        Self {
            run_id: run_id.into(),
            user_tags: Tags::new(),
            configuration: Tags::new(),
            license: "ODC-By-1.0".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata: Tags::new(),
            drop_timeout: Duration::from_secs(5),
        }
    }

    /// Whether a run can be begun so, before anybody waits for it; [`Run::begin`] asks it, too.
    ///
    /// # Errors
    /// [`CdtpError::RunId`] for a name of other than ASCII letters, digits, `_` and `-`.
    pub fn check(&self) -> Result<(), CdtpError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.run_id.is_empty() || !self.run_id.chars().all(good) {
            return Err(CdtpError::RunId {
                run_id: self.run_id.chars().take(80).collect(),
            });
        }
        Ok(())
    }

    /// Sets [`user_tags`](Self::user_tags).
    #[must_use]
    pub fn user_tags(mut self, tags: Tags) -> Self {
        self.user_tags = tags;
        self
    }

    /// Sets [`configuration`](Self::configuration).
    #[must_use]
    pub fn configuration(mut self, configuration: Tags) -> Self {
        self.configuration = configuration;
        self
    }

    /// Sets [`license`](Self::license).
    #[must_use]
    pub fn license(mut self, license: impl Into<String>) -> Self {
        self.license = license.into();
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, metadata: Tags) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets [`drop_timeout`](Self::drop_timeout).
    #[must_use]
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }
}

/// What a finished [`Run`] has sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunSummary {
    /// How it went, as the EOR message says.
    pub condition: RunCondition,
    /// Records sent.
    pub records: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Messages of such records.
    pub messages: u64,
    /// The metadata of the EOR message.
    pub metadata: RunMetadata,
}
