//! The error of the data plane.

use std::io;
use std::time::Duration;

use crate::wire::DecodeError;
use crate::zsocket::ZsocketError;

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
