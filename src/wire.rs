//! What every codec shares: the error of a decoder.

/// Why bytes from outside are not what they should be.
///
/// Offsets count bytes from the start of the frame. No text holds any of the bytes themselves.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A part of fixed size has another size.
    #[error("{what} has {found} bytes, not {expected}")]
    Length {
        /// The part.
        what: &'static str,
        /// Its size, in bytes.
        expected: usize,
        /// What came, in bytes.
        found: usize,
    },
    /// The first bytes are those of another protocol or version.
    #[error("{what} does not start with the header of {expected}")]
    Header {
        /// The part.
        what: &'static str,
        /// The protocol and version it should have.
        expected: &'static str,
    },
    /// A number that stands for a thing that does not exist.
    #[error("{what} is {found}, which does not exist")]
    UnknownNumber {
        /// What the number stands for.
        what: &'static str,
        /// The number.
        found: u64,
    },
    /// More bytes than the limit allows.
    #[error("{what} of {found} bytes is over the limit of {limit}")]
    Size {
        /// The part.
        what: &'static str,
        /// The largest size allowed, in bytes.
        limit: usize,
        /// What came, in bytes.
        found: usize,
    },
    /// A message has another number of frames.
    #[error("{what} has {found} frames, not {expected}")]
    FrameCount {
        /// The message.
        what: &'static str,
        /// The frames it should have.
        expected: usize,
        /// The frames that came.
        found: usize,
    },
    /// Nothing, or only white space.
    #[error("the JSON text is empty")]
    Empty,
    /// Text that starts with a byte order mark.
    #[error("the JSON text starts with a byte order mark")]
    ByteOrderMark,
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8 at byte {offset}")]
    Utf8 {
        /// The first wrong byte.
        offset: usize,
    },
    /// Text that is not JSON.
    #[error("the text is not JSON at byte {offset}: {rule}")]
    Json {
        /// Where the text stops being JSON.
        offset: usize,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Arrays and objects within each other beyond the limit.
    #[error("the JSON text nests deeper than {limit} levels at byte {offset}")]
    Depth {
        /// The deepest level allowed.
        limit: usize,
        /// The bracket that goes too deep.
        offset: usize,
    },
    /// An integer with more digits than the limit allows.
    #[error("the integer at byte {offset} has {found} digits, over the limit of {limit}")]
    Digits {
        /// The most digits allowed.
        limit: usize,
        /// What came.
        found: usize,
        /// Where the integer starts.
        offset: usize,
    },
    /// Bytes after the end of the JSON value.
    #[error("bytes follow the end of the JSON value at byte {offset}")]
    TrailingBytes {
        /// The first byte too many.
        offset: usize,
    },
    /// Binary data that ends too early, or claims more than there is.
    #[error("{what} at byte {offset} needs {needed} bytes more, and {left} are left")]
    End {
        /// The part that is not there whole.
        what: &'static str,
        /// Where the part starts.
        offset: usize,
        /// Bytes that it needs at least, from its length on.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// A value of another kind in binary data.
    #[error("{what} at byte {offset} is {found}, not {expected}")]
    Kind {
        /// The value.
        what: &'static str,
        /// Where the value starts.
        offset: usize,
        /// The kind it should have, with its article.
        expected: &'static str,
        /// The kind it has, with its article.
        found: &'static str,
    },
    /// A value in binary data that breaks a rule.
    #[error("{what} at byte {offset} breaks the rule: {rule}")]
    Rule {
        /// The value.
        what: &'static str,
        /// Where the value starts.
        offset: usize,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// More values than the limit allows.
    #[error("{what} at byte {offset} are more than the limit of {limit}")]
    Count {
        /// The values.
        what: &'static str,
        /// Where the limit is passed.
        offset: usize,
        /// The most allowed.
        limit: usize,
    },
    /// Arrays and maps of binary data within each other beyond the limit.
    #[error("the value at byte {offset} nests deeper than {limit} levels")]
    Nesting {
        /// The deepest level allowed.
        limit: usize,
        /// The value that goes too deep.
        offset: usize,
    },
    /// A value of another type.
    #[error("{what} is {found}, not {expected}")]
    Type {
        /// The value.
        what: &'static str,
        /// The type it should have, with its article.
        expected: &'static str,
        /// The type it has, with its article.
        found: &'static str,
    },
    /// A member that must be there is absent.
    #[error("{what} has no member `{name}`")]
    Missing {
        /// The object.
        what: &'static str,
        /// The member.
        name: &'static str,
    },
}
