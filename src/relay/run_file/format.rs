//! The bytes of a run file; `docs/run-file.md` describes them for people.
//!
//! Nothing here reads or writes a file, and nothing here reserves memory by a number that a file claims. All numbers are
//! little-endian.

use crc32c::{crc32c, crc32c_append};

/// The first eight bytes of every run file.
///
/// The first byte is no text and the last one ends a line, as in PNG: a transfer that takes the file for text spoils it visibly.
pub const MAGIC: [u8; 8] = *b"\x89ACQRUN\n";

/// The last eight bytes of a run file that was finished.
pub const END_MAGIC: [u8; 8] = *b"\x89ACQEND\n";

/// The version written: major and minor.
///
/// A reader refuses another major version, and reads any minor one: it skips kinds of entries that it does not know.
pub const VERSION: (u16, u16) = (1, 0);

/// Size of the header, in bytes.
pub const HEADER_BYTES: usize = 64;

/// Size of what stands before the body of every entry, in bytes.
pub const ENTRY_BYTES: usize = 16;

/// Size of the trailer, in bytes.
pub const TRAILER_BYTES: usize = 32;

/// Size of a mark's body, in bytes.
pub(super) const MARK_BYTES: usize = 40;

/// Size of the index before its segments, in bytes.
const TOTALS_BYTES: usize = 88;

/// Size of one segment of the index, in bytes.
const SEGMENT_BYTES: usize = 32;

/// The first of the file: what it is, when it began, and its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Major and minor version.
    pub(super) version: (u16, u16),
    /// When the run began by the wall clock of the writer, in nanoseconds since 1970.
    pub(super) started: u64,
    /// Random; stands in every mark, so that a mark of another file within the data is not taken for one.
    pub(super) id: [u8; 16],
}

/// Why the first 64 bytes are not the header of a run file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Short,
    Magic,
    Version(u16, u16),
    Checksum,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.version.1.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.started.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.id);
        let crc = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return Err(HeaderError::Magic);
        }
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::Short)?;
        // Before the version is judged: a flipped bit in it is damage and not another version.
        if crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(HeaderError::Checksum);
        }
        let version = (u16_at(bytes, 8), u16_at(bytes, 10));
        if version.0 != VERSION.0 {
            return Err(HeaderError::Version(version.0, version.1));
        }
        Ok(Self {
            version,
            started: u64_at(bytes, 16),
            id: array_at(bytes, 24),
        })
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// The begin of the run: a whole CDTP2 BOR message.
    Bor,
    /// Facts about the recording: a CDTP2 record whose tags hold them.
    About,
    /// One data record, as on the wire.
    Record,
    /// Numbers that are missing.
    Lost,
    /// Something that went wrong, as text.
    Fault,
    /// A place from which a reader can go on after damage.
    Mark,
    /// The end of the run: a whole CDTP2 EOR message.
    Eor,
    /// Totals, and where which numbers are.
    Index,
    /// A kind of a later minor version; skipped.
    Other(u8),
}

impl EntryKind {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Bor => 1,
            Self::About => 2,
            Self::Record => 3,
            Self::Lost => 4,
            Self::Fault => 5,
            Self::Mark => 6,
            Self::Eor => 7,
            Self::Index => 8,
            Self::Other(code) => code,
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            1 => Self::Bor,
            2 => Self::About,
            3 => Self::Record,
            4 => Self::Lost,
            5 => Self::Fault,
            6 => Self::Mark,
            7 => Self::Eor,
            8 => Self::Index,
            other => Self::Other(other),
        }
    }
}

/// What stands before the body of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) crc: u32,
    /// Size of the body, in bytes.
    pub(super) len: u32,
    pub(super) kind: EntryKind,
    /// Of a record how it arrived, of an EOR whether it is a substitute; else 0.
    pub(super) flags: u8,
    /// Microseconds since [`Header::started`], at most 2^48 - 1, which is nine years.
    pub(super) time: u64,
}

/// The largest time that an entry can hold, in microseconds.
pub(super) const MAX_TIME: u64 = (1 << 48) - 1;

impl EntryHead {
    /// The head without its checksum; [`Seal::head`] has it.
    #[inline]
    pub(super) fn encode(kind: EntryKind, flags: u8, time: u64, len: u32) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[8..].copy_from_slice(&last_word(kind, flags, time).to_le_bytes());
        bytes
    }

    #[inline]
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let last = u64_at(bytes, 8);
        Self {
            crc: u32_at(bytes, 0),
            len: u32_at(bytes, 4),
            kind: EntryKind::of(last as u8),
            flags: (last >> 8) as u8,
            time: last >> 16,
        }
    }

    /// Whether the checksum is that of this entry: its head and its body in one piece.
    #[inline]
    pub(super) fn holds(&self, entry: &[u8]) -> bool {
        entry.len() >= ENTRY_BYTES && checksum(0, &entry[4..]) == self.crc
    }

    /// Size of the whole entry, in bytes.
    pub(super) const fn entry_len(&self) -> u64 {
        ENTRY_BYTES as u64 + self.len as u64
    }
}

/// Makes the heads of entries, with their checksums.
///
/// Records of one size that came in one message have the same head, so the part of the checksum that is the head's is kept.
#[derive(Debug, Default)]
pub(super) struct Seal {
    /// Size and last word of the last head.
    head: (u32, u64),
    /// The checksum of that; `None` before the first one.
    crc: Option<u32>,
}

impl Seal {
    /// The head of an entry with this body, which has at most 4 GiB.
    #[inline]
    pub(super) fn head(
        &mut self,
        kind: EntryKind,
        flags: u8,
        time: u64,
        body: &[u8],
    ) -> [u8; ENTRY_BYTES] {
        let len = body.len() as u32;
        let mut bytes = EntryHead::encode(kind, flags, time, len);
        // As numbers: to read bytes back that were just written in other pieces would stall each record.
        let head = (len, last_word(kind, flags, time));
        let crc = match self.crc {
            Some(crc) if self.head == head => crc,
            _ => crc32c(&bytes[4..]),
        };
        (self.head, self.crc) = (head, Some(crc));
        bytes[..4].copy_from_slice(&checksum(crc, body).to_le_bytes());
        bytes
    }
}

/// CRC-32C of bytes behind those with this one.
///
/// The crate reads from 24 KiB on at three places 8 KiB apart, which costs half as much again as what it does with less, in memory
/// that no cache has: 93 and 60 ps a byte, the copy behind it included.
#[inline]
fn checksum(crc: u32, bytes: &[u8]) -> u32 {
    if bytes.len() <= CHECKSUM_PIECE {
        return crc32c_append(crc, bytes);
    }
    bytes.chunks(CHECKSUM_PIECE).fold(crc, crc32c_append)
}

/// A multiple of the 768 bytes that the crate takes in one go.
const CHECKSUM_PIECE: usize = 12 << 10;

#[inline]
fn last_word(kind: EntryKind, flags: u8, time: u64) -> u64 {
    time.min(MAX_TIME) << 16 | u64::from(flags) << 8 | u64::from(kind.code())
}

/// A place from which a reader can go on after damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// [`Header::id`].
    pub(super) id: [u8; 16],
    /// Where this entry begins.
    pub(super) offset: u64,
    /// Records before it.
    pub(super) records: u64,
    /// Bytes of blocks before it.
    pub(super) payload_bytes: u64,
}

impl Mark {
    pub(super) fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.records.to_le_bytes());
        bytes[32..].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let bytes: &[u8; MARK_BYTES] = body.try_into().ok()?;
        Some(Self {
            id: array_at(bytes, 0),
            offset: u64_at(bytes, 16),
            records: u64_at(bytes, 24),
            payload_bytes: u64_at(bytes, 32),
        })
    }
}

/// Numbers that are missing: the first, and how many.
pub(super) fn encode_lost(first: u64, count: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&count.to_le_bytes());
    bytes
}

pub(super) fn decode_lost(body: &[u8]) -> Option<(u64, u64)> {
    let bytes: &[u8; 16] = body.try_into().ok()?;
    Some((u64_at(bytes, 0), u64_at(bytes, 8)))
}

/// What a finished file knows about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Where the EOR is; 0 = there is none.
    pub(super) eor: u64,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    /// As the receiver counted them.
    pub(super) missed: u64,
    pub(super) late: u64,
    pub(super) duplicates: u64,
    /// Lost entries.
    pub(super) lost: u64,
    pub(super) faults: u64,
    /// The smallest number; 0 when there is no record.
    pub(super) first: u64,
    /// The largest number; 0 when there is no record.
    pub(super) last: u64,
}

/// A stretch of the file and the numbers of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it begins: at a mark, or for the first one behind the begin of the run.
    pub(super) offset: u64,
    /// Records before it.
    pub(super) records: u64,
    /// The smallest number in it; larger than `last` when it has no record.
    pub(super) first: u64,
    /// The largest number in it.
    pub(super) last: u64,
}

/// The body of the index.
pub(super) fn encode_index(totals: &Totals, segments: &[Segment]) -> Vec<u8> {
    let mut out = Vec::with_capacity(TOTALS_BYTES + segments.len() * SEGMENT_BYTES);
    for number in [
        totals.eor,
        totals.records,
        totals.payload_bytes,
        totals.missed,
        totals.late,
        totals.duplicates,
        totals.lost,
        totals.faults,
        totals.first,
        totals.last,
        segments.len() as u64,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for segment in segments {
        for number in [segment.offset, segment.records, segment.first, segment.last] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out
}

/// Reads the body of an index; `None` when it is not one: its size is not what its count says, or it is out of order.
pub(super) fn decode_index(body: &[u8]) -> Option<(Totals, Vec<Segment>)> {
    let (head, rest) = body.split_at_checked(TOTALS_BYTES)?;
    let number = |index: usize| u64_at(head, index * 8);
    let totals = Totals {
        eor: number(0),
        records: number(1),
        payload_bytes: number(2),
        missed: number(3),
        late: number(4),
        duplicates: number(5),
        lost: number(6),
        faults: number(7),
        first: number(8),
        last: number(9),
    };
    let (segments, remainder) = rest.as_chunks::<SEGMENT_BYTES>();
    if !remainder.is_empty() || number(10) != segments.len() as u64 {
        return None;
    }
    let segments: Vec<Segment> = segments
        .iter()
        .map(|bytes| Segment {
            offset: u64_at(bytes, 0),
            records: u64_at(bytes, 8),
            first: u64_at(bytes, 16),
            last: u64_at(bytes, 24),
        })
        .collect();
    segments
        .is_sorted_by(|before, after| before.offset < after.offset)
        .then_some((totals, segments))
}

/// The last 32 bytes of a file that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the index is.
    pub(super) index: u64,
    /// Size of the whole file, in bytes.
    pub(super) file_len: u64,
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.file_len.to_le_bytes());
        let crc = crc32c(&bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        bytes[24..].copy_from_slice(&END_MAGIC);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TRAILER_BYTES] = bytes.try_into().ok()?;
        (bytes[24..] == END_MAGIC && crc32c(&bytes[..20]) == u32_at(bytes, 20)).then(|| Self {
            index: u64_at(bytes, 0),
            file_len: u64_at(bytes, 8),
        })
    }
}

// The callers' offsets are constants within arrays whose sizes they have checked.
#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header = Header {
        version: VERSION,
        started: 0x0102_0304_0506_0708,
        id: [0xab; 16],
    };

    /// The check value of CRC-32C for "123456789", and the bytes of the document.
    #[test]
    fn header_is_what_the_document_says() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let bytes = HEADER.encode();
        assert_eq!(&bytes[..16], b"\x89ACQRUN\n\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[24..40], [0xab; 16]);
        assert_eq!(bytes[40..60], [0; 20]);
        assert_eq!(Header::decode(&bytes), Ok(HEADER));
    }

    #[test]
    fn entry_is_what_the_document_says() {
        let head = Seal::default().head(EntryKind::Record, 2, 0x0000_0605_0403_0201, b"abc");
        assert_eq!(
            head[4..],
            [3, 0, 0, 0, 3, 2, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0][..12]
        );
        let decoded = EntryHead::decode(&head);
        assert_eq!(decoded.time, 0x0000_0605_0403_0201);
        assert_eq!(decoded.entry_len(), 19);
        let mut entry = head.to_vec();
        entry.extend_from_slice(b"abc");
        assert!(decoded.holds(&entry));
        entry[18] ^= 1;
        assert!(!decoded.holds(&entry));
    }

    #[test]
    fn time_beyond_nine_years_stays_at_the_largest() {
        let head = EntryHead::encode(EntryKind::Eor, 1, u64::MAX, 0);
        let head = EntryHead::decode(&head);
        assert_eq!(
            (head.time, head.flags, head.kind),
            (MAX_TIME, 1, EntryKind::Eor)
        );
    }

    #[test]
    fn checksum_of_pieces_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..3 * CHECKSUM_PIECE + 5)
            .map(|at| (at % 251) as u8)
            .collect();
        for len in [0, 1, CHECKSUM_PIECE, CHECKSUM_PIECE + 1, bytes.len()] {
            assert_eq!(checksum(7, &bytes[..len]), crc32c_append(7, &bytes[..len]));
        }
    }

    #[test]
    fn zeros_are_no_entry() {
        assert!(!EntryHead::decode(&[0; 16]).holds(&[0; 16]));
    }

    #[test]
    fn every_bit_of_a_header_matters() {
        let good = HEADER.encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 64 {
                HeaderError::Magic
            } else {
                HeaderError::Checksum
            };
            assert_eq!(Header::decode(&bytes), Err(expected), "bit {bit}");
        }
        for len in 0..HEADER_BYTES {
            assert_eq!(Header::decode(&good[..len]), Err(HeaderError::Short));
        }
    }

    #[test]
    fn every_bit_of_a_trailer_matters() {
        let trailer = Trailer {
            index: 77,
            file_len: 1234,
        };
        let good = trailer.encode();
        assert_eq!(Trailer::decode(&good), Some(trailer));
        for bit in 0..TRAILER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn index_that_claims_more_than_it_has_is_refused() {
        let mut body = encode_index(&Totals::default(), &[]);
        body[80..88].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode_index(&body), None);
        for len in 0..body.len() {
            assert_eq!(decode_index(&body[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn heads_come_back(kind: u8, flags: u8, time in 0..=MAX_TIME, len: u32) {
            let head = EntryHead::decode(&EntryHead::encode(EntryKind::of(kind), flags, time, len));
            prop_assert_eq!(head.kind.code(), kind);
            prop_assert_eq!((head.flags, head.time, head.len), (flags, time, len));
        }

        #[test]
        fn every_entry_is_sealed_whatever_came_before(entries in prop::collection::vec((0..3u8, 0..2u8, 0..3u64, 0..4usize), 1..40)) {
            let mut seal = Seal::default();
            for (kind, flags, time, len) in entries {
                let head = seal.head(EntryKind::of(kind), flags, time, &b"body"[..len]);
                let entry = [&head[..], &b"body"[..len]].concat();
                prop_assert!(EntryHead::decode(&head).holds(&entry));
            }
        }

        #[test]
        fn marks_come_back(id: [u8; 16], offset: u64, records: u64, payload_bytes: u64) {
            let mark = Mark { id, offset, records, payload_bytes };
            prop_assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        }

        #[test]
        fn indexes_come_back(numbers: [u64; 10], steps in prop::collection::vec((1..1u64 << 40, any::<[u64; 3]>()), 0..50)) {
            let [eor, records, payload_bytes, missed, late, duplicates, lost, faults, first, last] = numbers;
            let totals = Totals { eor, records, payload_bytes, missed, late, duplicates, lost, faults, first, last };
            let mut offset = 0;
            let segments: Vec<Segment> = steps.iter().map(|(step, [records, first, last])| {
                offset += step;
                Segment { offset, records: *records, first: *first, last: *last }
            }).collect();
            prop_assert_eq!(decode_index(&encode_index(&totals, &segments)), Some((totals, segments)));
        }
    }
}
