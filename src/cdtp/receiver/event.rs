//! What a receiver tells: runs that begin and end, their records, and what is wrong with them.

use crate::cdtp::receiver::held::Record;
use crate::cdtp::{RunCondition, SenderName, Tags};
use crate::wire::DecodeError;

/// What happened at a receiver; owned, so it can be kept and sent to another thread.
///
/// For one sender: `Bor`, then its records, then `Eor` or `Substitute`. `Lost` stands where the records should have been, and
/// `Fault` where the message came. Events of several senders come mixed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunEvent {
    /// A run begins.
    Bor(Box<Bor>),
    /// A data record of a run.
    Record(Record),
    /// A run has ended, as its sender says.
    Eor(Box<Eor>),
    /// Records are missing; a record marked [`Arrival::Late`] takes one number back.
    Lost(Lost),
    /// A run has ended without an EOR of its sender: it began another one, or the receiver was stopped.
    Substitute(Box<Eor>),
    /// A message could not be taken as it is.
    Fault(Box<Fault>),
}

impl RunEvent {
    /// The sender whose run it belongs to; `None` for a fault of a peer that has not said its name.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        match self {
            Self::Bor(bor) => Some(bor.sender.as_str()),
            Self::Record(record) => Some(record.sender()),
            Self::Eor(eor) | Self::Substitute(eor) => Some(eor.sender.as_str()),
            Self::Lost(lost) => Some(lost.sender.as_str()),
            Self::Fault(fault) => fault.sender.as_ref().map(SenderName::as_str),
        }
    }
}

/// The begin of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bor {
    /// Who sends, as the message spells it.
    pub sender: SenderName,
    /// The tags that the user of the sender gave to the run.
    pub user_tags: Tags,
    /// The configuration of the sender.
    pub configuration: Tags,
    /// Whether the sender had a run open, which it never ended: it was restarted. A `Substitute` went before.
    pub restarted: bool,
}

impl Bor {
    /// The begin of a run of this sender, with no tags, no configuration, not restarted.
    #[must_use]
    pub fn new(sender: SenderName) -> Self {
        Self {
            sender,
            user_tags: Tags::new(),
            configuration: Tags::new(),
            restarted: false,
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Eor {
    /// Who sent, as its BOR spelled it.
    pub sender: SenderName,
    /// The tags that the user of the sender gave to the end; empty in a substitute.
    pub user_tags: Tags,
    /// The metadata of the run as sent, with the flags of the receiver added to `condition_code` and `condition`.
    ///
    /// A substitute has these two only.
    pub metadata: Tags,
    /// What `condition_code` says, with the flags of the receiver; unreadable codes count as GOOD.
    pub condition: RunCondition,
    /// What was received, counted by number.
    pub counts: RunCounts,
}

impl Eor {
    /// The end of a run of this sender, with no tags, no metadata, GOOD, nothing counted.
    #[must_use]
    pub fn new(sender: SenderName) -> Self {
        Self {
            sender,
            user_tags: Tags::new(),
            metadata: Tags::new(),
            condition: RunCondition::GOOD,
            counts: RunCounts::default(),
        }
    }
}

/// What was received of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunCounts {
    /// Records delivered, doubled ones too.
    pub records: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Numbers that never came, up to the highest one seen and to the `data_records` of the EOR.
    pub missed: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// Records whose number had come before.
    pub duplicates: u64,
    /// Messages of the sender that could not be taken while the run was open.
    pub faults: u64,
    /// Gaps were too many to keep apart, and some of the duplicates may have been late.
    ///
    /// See [`ReceiverOptions::gap_limit`](crate::cdtp::ReceiverOptions::gap_limit).
    pub inexact: bool,
}

/// Numbers that are missing where a higher one has come, or an EOR that announces them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Who sent them.
    pub sender: SenderName,
    /// The first missing number.
    pub first: u64,
    /// How many are missing from there on; at least 1.
    pub count: u64,
}

/// A message that could not be taken as it is. It was dropped, and the next one is read; see also [`FaultKind::CutOff`].
///
/// It is counted in the run of its sender that is open, where there is one, and marks it TAINTED (*ours*: the reference either
/// ends or does not tell). Whether records are missing is told by their numbers, as always.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fault {
    /// Whose message it was: the name in it, or else the sender whose run is open on that connection.
    pub sender: Option<SenderName>,
    /// What is wrong with it.
    pub kind: FaultKind,
    /// Records that were in it, where that is known.
    pub records: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Whether a run was open, and is marked now.
    pub marked: bool,
}

/// Why a message was dropped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// It is not a CDTP2 message.
    #[error("the message cannot be decoded: {0}")]
    Undecodable(DecodeError),
    /// A DATA message without records, which CDTP does not allow and which kills the Python receiver.
    #[error("the message has no records")]
    Empty,
    /// Data of a sender that has no run open: its BOR was lost, or came before the receiver did.
    #[error("data without a begin of run")]
    DataWithoutBor,
    /// The sender was cut off: a frame over [`DecodeLimits::frame_bytes`](crate::cdtp::DecodeLimits::frame_bytes), or no ZMTP.
    ///
    /// What was on its way is lost. The receiver connects again after 100 ms; while each connection ends so, after up to 5 s.
    #[error("the sender was cut off: a frame over the limit, or not the protocol of ZeroMQ")]
    CutOff,
    /// An end of run of a sender that has no run open.
    #[error("end of run without a begin of run")]
    EorWithoutBor,
    /// Data or an end of a run that another connection has replaced; it marks no run, for its own was substituted.
    #[error("it belongs to the run of an earlier connection")]
    EarlierConnection,
    /// One sender more than the receiver keeps apart.
    #[error("there are {limit} senders already, which is the limit")]
    TooManySenders {
        /// The limit.
        limit: usize,
    },
}

/// How the number of a record follows those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arrival {
    /// It is the highest so far; numbers before it may be missing, which a `Lost` has told.
    #[default]
    InOrder,
    /// It fills a gap: a `Lost` named it before.
    Late,
    /// Its number has come before. The reference delivers it too, unmarked.
    Duplicate,
}
