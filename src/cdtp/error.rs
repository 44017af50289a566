//! The error of the data plane.

use crate::wire::DecodeError;

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
}
