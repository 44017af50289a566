//! The error of the data plane.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::DecodeError;
use crate::zsocket::{Endpoint, ZsocketError};

/// What went wrong on the data plane.
///
/// ```
/// use acqbus::cdtp::{CxxTags, SenderName, Tags};
///
/// assert!(SenderName::new("no dot").is_err());
/// let error = CxxTags::check(&Tags::new().with("raw", vec![1_u8])).unwrap_err();
/// assert_eq!(error.to_string(), "tag `raw` is bytes, which a C++ receiver cannot hold");
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum CdtpError {
    /// Bytes that came cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A name that no sender may have.
    #[error("`{name}` is no name of a sender: {rule}")]
    Name {
        /// The name, cut where it is long.
        name: String,
        /// What a name must be.
        rule: &'static str,
    },
    /// A tag that a C++ receiver cannot hold.
    #[error("tag `{path}` is {what}, which a C++ receiver cannot hold")]
    CxxTag {
        /// The keys that lead to the tag, joined by dots.
        path: String,
        /// What the tag is, with its article.
        what: &'static str,
    },
    /// A value cannot be written as tags; the text says which part of it.
    #[error("the value cannot be written as tags")]
    Serialize(#[source] rmp_serde::encode::Error),
    /// A value that is written as something else than a map of text keys.
    #[error("the value is no map of text keys")]
    NotTags(#[source] DecodeError),
    /// Tags are not of the type that the caller wants.
    #[error("the tags are not of the wanted type")]
    Data(#[source] rmp_serde::decode::Error),
    /// A time whose nanoseconds make a second or more, or that is beyond the clock of the system.
    #[error("{seconds} s and {nanoseconds} ns since 1970 are no time")]
    Time {
        /// Seconds since 1970.
        seconds: i64,
        /// Nanoseconds after them.
        nanoseconds: u32,
    },
    /// A message could not be handed to a receiver in time.
    #[error("no receiver took the {what} message within {}", seconds(*after))]
    SendTimeout {
        /// BOR, DATA or EOR.
        what: &'static str,
        /// The time-out.
        after: Duration,
    },
    /// Data could not be sent.
    #[error("data cannot be sent any more")]
    Sending(#[source] Arc<ZsocketError>),
    /// The queue of records to send is full.
    #[error("the queue of {record_limit} records and {byte_limit} bytes is full")]
    QueueFull {
        /// Limit of the queue in records.
        record_limit: usize,
        /// Limit of the queue in bytes.
        byte_limit: usize,
    },
    /// A block is too large for the wire.
    #[error("a block of {bytes} bytes is over the limit of {limit}")]
    BlockTooLarge {
        /// Size of the block.
        bytes: usize,
        /// The largest size, in bytes.
        limit: usize,
    },
    /// Something else than a block is too large for the wire, which has lengths of 32 bits.
    #[error("{what} has {size} {unit}, over the limit of {limit}")]
    TooLarge {
        /// What it is: a tag with the keys that lead to it, a record, a message.
        what: String,
        /// Its size.
        size: usize,
        /// What the size counts: bytes, values, keys, blocks, records.
        unit: &'static str,
        /// The largest size.
        limit: usize,
    },
    /// A name that no run may have.
    #[error("`{run_id}` is no name of a run: letters, digits, `_` and `-`")]
    RunId {
        /// The name, cut where it is long.
        run_id: String,
    },
    /// Records are taken between the start and the stop of sending only.
    #[error("the transmitter is not sending")]
    NotSending,
    /// A run is under way.
    #[error("the transmitter is sending already")]
    AlreadySending,
    /// The failure callback runs on the thread that would have to do it.
    #[error("the failure callback cannot send through the transmitter that calls it")]
    WrongThread,
    /// It was closed, and is never opened again.
    #[error("the transmitter is closed")]
    Closed,
    /// An address off the loopback is bound on request only.
    #[error(
        "{endpoint} can be reached from other machines, where anybody could take the data; allow it with `insecure`"
    )]
    Exposed {
        /// The endpoint that was to be bound.
        endpoint: Endpoint,
    },
    /// A socket refused; the text names the endpoint and the reason.
    #[error(transparent)]
    Socket(#[from] ZsocketError),
    /// The operating system gave no thread.
    #[error("thread {name} cannot be started")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A receiver was stopped while runs were open, and substituted their ends.
    #[error("no end of run from {} within {timeout:?}", senders.join(", "))]
    EorTimeout {
        /// The senders of these runs.
        senders: Vec<String>,
        /// How long their ends were waited for.
        timeout: Duration,
    },
    /// The receiver was stopped; a receiver is never started again.
    #[error("the receiver is stopped, and is never started again")]
    ReceiverStopped,
    /// The handler of a receiver asked to stop it, and cannot wait for itself; the stop is requested.
    #[error("the handler of a receiver cannot wait for the end of its own thread")]
    StopFromHandler,
    /// The handler of a receiver panicked; nothing is received any more.
    #[error("the handler of the receiver panicked")]
    HandlerPanicked,
    /// The iterator over what a receiver tells was dropped; nothing is received any more.
    #[error("the iterator over the events of the receiver was dropped")]
    NobodyListens,
    /// Text that is no time.
    #[error("`{text}` is no time as 2026-01-31T12:00:00.5Z is one")]
    TimeText {
        /// The text, cut where it is long.
        text: String,
    },
}

impl CdtpError {
    /// Whether no receiver took a message in time, or an end of run did not come in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::SendTimeout { .. } | Self::EorTimeout { .. })
    }

    /// Whether there was no room in a queue, so that trying again later may work.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::QueueFull { .. })
    }

    /// Whether the transmitter or receiver is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed | Self::ReceiverStopped)
    }

    /// Whether the rules of who may connect stand in the way.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Exposed { .. })
    }

    /// Whether no port could be bound, or no connection made.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// Whether bytes that came, or values to send, are not what they should be.
    #[must_use]
    pub fn is_bad_data(&self) -> bool {
        matches!(
            self,
            Self::Decode(_)
                | Self::CxxTag { .. }
                | Self::Serialize(_)
                | Self::NotTags(_)
                | Self::Data(_)
                | Self::Time { .. }
                | Self::BlockTooLarge { .. }
                | Self::TooLarge { .. }
        )
    }
}

/// A duration in whole seconds where it has no others.
fn seconds(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} s", duration.as_secs_f64())
    }
}
