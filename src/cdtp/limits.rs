//! How much of a message is taken.

/// How large and how deep a message may be that is decoded.
///
/// Each limit is checked before memory is taken for what it limits.
///
/// ```
/// use acqbus::cdtp::{DecodeLimits, MessageView};
///
/// let limits = DecodeLimits::default().frame_bytes(10);
/// assert!(MessageView::decode(&[0; 11], &limits).is_err());
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest frame, in bytes; 0 = no limit. Defaults to 1 GiB, ten times what Python's end takes.
    pub frame_bytes: usize,
    /// Longest name of a sender, in bytes; 0 = no limit. Defaults to 1024; we send at most 255, and a receiver remembers each name.
    pub name_bytes: usize,
    /// Most records in a message; 0 = no limit. Defaults to 16,777,216: a record takes 4 bytes at least, and no transmitter gathers
    /// as many.
    pub records: usize,
    /// Arrays and maps within each other, in the tags of a record; 0 = none but the map of the tags itself, more than 1024 is 1024.
    /// Defaults to 512.
    ///
    /// Python's end takes about 1,000; a C++ receiver takes no array in another. Each level takes a little of the stack of
    /// the thread that reads, copies or drops the tags; 512 fit well into the 2 MiB that Rust gives a thread.
    pub depth: usize,
    /// Most values in all the tags of a message; 0 = no limit. Defaults to 4,194,304.
    ///
    /// A value of one byte on the wire takes 32 in memory, a map more; this bounds what decoded tags can take.
    pub tag_values: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            frame_bytes: 1 << 30,
            name_bytes: 1024,
            records: 1 << 24,
            depth: 512,
            tag_values: 1 << 22,
        }
    }
}

impl DecodeLimits {
    /// Sets [`DecodeLimits::frame_bytes`].
    #[must_use]
    pub fn frame_bytes(mut self, frame_bytes: usize) -> Self {
        self.frame_bytes = frame_bytes;
        self
    }

    /// Sets [`DecodeLimits::name_bytes`].
    #[must_use]
    pub fn name_bytes(mut self, name_bytes: usize) -> Self {
        self.name_bytes = name_bytes;
        self
    }

    /// Sets [`DecodeLimits::records`].
    #[must_use]
    pub fn records(mut self, records: usize) -> Self {
        self.records = records;
        self
    }

    /// Sets [`DecodeLimits::depth`].
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets [`DecodeLimits::tag_values`].
    #[must_use]
    pub fn tag_values(mut self, tag_values: usize) -> Self {
        self.tag_values = tag_values;
        self
    }
}

/// The limit as a number that can be compared: 0 means none.
pub(super) fn or_none(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// The deepest level that any limit allows.
pub(super) const DEEPEST: usize = 1024;
