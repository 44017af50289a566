//! What a reader says about a file that is not whole, and how it ended.

use std::fmt;

/// How a run file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Finished: end of run, index and trailer are there.
    Complete,
    /// The end of the run is there, and behind it no whole index: the writer was killed while it closed the file.
    WithoutIndex,
    /// The file was finished, and its end of run is damaged.
    EorDamaged,
    /// The file ends with a whole entry and has no end of run: the writer was stopped or killed within the run, or still
    /// writes.
    Unfinished,
    /// The file ends within an entry: the writer was killed, or the power was cut.
    Torn(Tail),
}

/// What is behind the last whole entry of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: TailKind,
}

/// What is behind the last whole entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailKind {
    /// The beginning of an entry whose end is missing.
    Cut,
    /// Zeros, or the beginning of an entry and then zeros: the disk never got the bytes.
    Zeros,
    /// Bytes whose checksum is wrong.
    Damaged,
}

/// A part in the middle of a file that cannot be read, and was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its size, in bytes, up to the mark from which reading goes on.
    pub bytes: u64,
    /// The records that are lost in it; `None` where the file does not say.
    pub records: Option<u64>,
    /// What is wrong with the first of these bytes.
    pub kind: DamageKind,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The checksum does not fit.
    Checksum,
    /// It claims a size that the file or the limit has no room for.
    Size,
    /// The checksum fits, and the content is not what the kind of the entry says.
    Content,
    /// A mark counts more records before it than were found and told: damage before it hid them.
    Hidden,
}

impl Ending {
    /// Whether the run has its end: everything that the receiver got is in the file.
    #[must_use]
    pub const fn has_eor(&self) -> bool {
        matches!(self, Self::Complete | Self::WithoutIndex)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::WithoutIndex => f.write_str(
                "has its end of run, but no index: the writer was killed while it closed the file",
            ),
            Self::EorDamaged => f.write_str("was finished, but its end of run is damaged"),
            Self::Unfinished => f.write_str(
                "has no end of run: the writer was stopped within the run, or still writes",
            ),
            Self::Torn(tail) => write!(f, "has no end of run, and {tail}"),
        }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            bytes,
            kind,
        } = self;
        match kind {
            TailKind::Cut => write!(
                f,
                "its last {bytes} bytes, from byte {offset}, are the beginning of an entry that was cut off"
            ),
            TailKind::Zeros => write!(
                f,
                "its last {bytes} bytes, from byte {offset}, never reached the disk and are zeros"
            ),
            TailKind::Damaged => write!(
                f,
                "its last {bytes} bytes, from byte {offset}, have a wrong checksum"
            ),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            bytes,
            records,
            kind,
        } = self;
        write!(f, "{bytes} bytes from byte {offset} cannot be read: {kind}")?;
        match records {
            Some(1) => f.write_str("; 1 record is lost"),
            Some(records) => write!(f, "; {records} records are lost"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "the checksum is wrong",
            Self::Size => "an entry claims too large a size",
            Self::Content => "the content is not what it should be",
            Self::Hidden => "damage before this place hid records",
        })
    }
}
