//! One record of a message that came in, without a copy.

use crate::cdtp::limits::DecodeLimits;
use crate::cdtp::msgpack::{Budget, Reader, Token, wrong};
use crate::cdtp::tags::Tags;
use crate::wire::DecodeError;

/// One record as it came in; the bytes stay where they are.
///
/// All of it was checked before there is a view, so nothing that it gives can fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    /// Place of `bytes` in the frame.
    offset: usize,
    sequence: u64,
    /// Place of the map of tags in `bytes`.
    tags_at: usize,
    tag_count: usize,
    /// Place of the first block in `bytes`.
    blocks_at: usize,
    block_count: usize,
    payload_bytes: usize,
}

impl<'a> RecordView<'a> {
    /// Reads one record alone, such as [`RecordView::as_bytes`] gave; bytes after it are refused.
    ///
    /// # Errors
    /// A [`DecodeError`] with offset and rule; by [`DecodeLimits::default`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, &DecodeLimits::default())
    }

    /// As [`decode`](Self::decode), by other limits of depth and of values in the tags.
    ///
    /// # Errors
    /// A [`DecodeError`] with offset and rule.
    pub fn decode_with(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let mut budget = Budget::new(limits);
        let (record, end) = Self::parse(bytes, 0, Some(&mut budget))?;
        if end < bytes.len() {
            return Err(DecodeError::Rule {
                what: "the record",
                offset: end,
                rule: "nothing follows a record that stands alone",
            });
        }
        Ok(record)
    }

    /// Takes bytes that [`RecordView::as_bytes`] gave before, without checking them again.
    ///
    /// Other bytes do no harm, and give a record that is empty, or not what it seems.
    #[must_use]
    pub fn checked_before(bytes: &'a [u8]) -> Self {
        Self::parse(bytes, 0, None).map_or(Self::EMPTY, |(record, _)| record)
    }

    /// The sequence number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether there are tags.
    #[must_use]
    pub fn has_tags(&self) -> bool {
        self.tag_count > 0
    }

    /// The tags, decoded at each call; of a key that comes twice, the last.
    #[must_use]
    pub fn tags(&self) -> Tags {
        Reader::new(self.bytes, self.tags_at).tags()
    }

    /// The tags as the MessagePack map that came.
    #[must_use]
    pub fn tags_bytes(&self) -> &'a [u8] {
        let mut reader = Reader::new(self.bytes, self.tags_at);
        match reader.skip_tags() {
            Ok(_) => &self.bytes[self.tags_at..reader.offset()],
            Err(_) => &[],
        }
    }

    /// The blocks in their order.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'a> {
        Blocks {
            reader: Reader::new(self.bytes, self.blocks_at),
            left: self.block_count,
        }
    }

    /// How many blocks there are.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.block_count
    }

    /// Bytes of all the blocks together.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes as u64
    }

    /// The record as it came.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The place of [`RecordView::as_bytes`] in the frame of the message; 0 for a record alone.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    const EMPTY: Self = Self {
        bytes: &[0x93, 0, 0x80, 0x90],
        offset: 0,
        sequence: 0,
        tags_at: 2,
        tag_count: 0,
        blocks_at: 4,
        block_count: 0,
        payload_bytes: 0,
    };

    /// Reads the record at a place in a frame, and gives the place behind it. Without a budget the tags are not checked.
    #[inline]
    pub(super) fn parse(
        frame: &'a [u8],
        at: usize,
        budget: Option<&mut Budget>,
    ) -> Result<(Self, usize), DecodeError> {
        match Self::parse_usual(frame, at) {
            Some(usual) => Ok(usual),
            None => Self::parse_any(frame, at, budget),
        }
    }

    /// Reads a record of the usual form, whole or not at all: no tags, one block, every length in its shortest place.
    ///
    /// Six million of these a second are what a run is made of, so this looks at each byte once.
    #[inline]
    fn parse_usual(frame: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let rest = frame.get(at..)?;
        let head: &[u8; USUAL_HEAD] = rest.first_chunk()?;
        let (sequence, tags_at) = match head[1] {
            short @ 0..0x80 => (short.into(), 2),
            0xcc => (head[2].into(), 3),
            0xcd => (u16::from_be_bytes([head[2], head[3]]).into(), 4),
            0xce => (
                u32::from_be_bytes([head[2], head[3], head[4], head[5]]).into(),
                6,
            ),
            0xcf => {
                let [_, _, a, b, c, d, e, f, g, h, ..] = *head;
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10)
            }
            _ => return None,
        };
        if head[0] != 0x93 || head[tags_at] != 0x80 || head[tags_at + 1] != 0x91 {
            return None;
        }
        let blocks_at = tags_at + 2;
        let (length, width) = match head[blocks_at] {
            0xc4 => (head[blocks_at + 1].into(), 1),
            0xc5 => {
                let length = [head[blocks_at + 1], head[blocks_at + 2]];
                (u16::from_be_bytes(length).into(), 2)
            }
            0xc6 => {
                let length = head[blocks_at + 1..].first_chunk()?;
                (u32::from_be_bytes(*length) as usize, 4)
            }
            _ => return None,
        };
        let end = blocks_at + 1 + width + length;
        let record = Self {
            bytes: rest.get(..end)?,
            offset: at,
            sequence,
            tags_at,
            tag_count: 0,
            blocks_at,
            block_count: 1,
            payload_bytes: length,
        };
        Some((record, at + end))
    }

    fn parse_any(
        frame: &'a [u8],
        at: usize,
        budget: Option<&mut Budget>,
    ) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(frame, at);
        let items = reader.array_head("a record")?;
        if items != 3 {
            return Err(DecodeError::Rule {
                what: "a record",
                offset: at,
                rule: "a record is an array of sequence number, tags and blocks",
            });
        }
        let start = reader.offset();
        let sequence = match reader.token("a sequence number")? {
            Token::Uint(sequence) => sequence,
            other => {
                let expected = "an integer of 0 or more";
                return Err(wrong("a sequence number", start, expected, other));
            }
        };
        let tags_at = reader.offset() - at;
        let tag_count = match budget {
            Some(budget) => reader.check_tags(budget)?,
            None => reader.skip_tags()?,
        };
        let block_count = reader.array_head("the blocks")?;
        let blocks_at = reader.offset() - at;
        let mut payload_bytes = 0;
        for _ in 0..block_count {
            payload_bytes += reader.bytes("a block")?.len();
        }
        let end = reader.offset();
        let record = Self {
            bytes: &frame[at..end],
            offset: at,
            sequence,
            tags_at,
            tag_count,
            blocks_at,
            block_count,
            payload_bytes,
        };
        Ok((record, end))
    }
}

/// Most bytes before the block of a record of the usual form.
const USUAL_HEAD: usize = 1 + 9 + 1 + 1 + 5;

/// The blocks of a record, as they came.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.reader.usual_bytes()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Blocks<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in every form of its sequence number and of the length of its block.
    fn forms() -> Vec<Vec<u8>> {
        let sequences: [&[u8]; 7] = [
            &[0x07],
            &[0xcc, 0x80],
            &[0xcd, 1, 2],
            &[0xce, 1, 2, 3, 4],
            &[0xcf, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xd0, 5],
            &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
        ];
        let block = [0xaa; 20];
        let heads: [&[u8]; 3] = [&[0xc4, 20], &[0xc5, 0, 20], &[0xc6, 0, 0, 0, 20]];
        let mut forms = Vec::new();
        for sequence in sequences {
            for head in heads {
                forms.push([&[0x93], sequence, &[0x80, 0x91], head, &block].concat());
            }
        }
        forms
    }

    fn budget() -> Budget {
        Budget::new(&DecodeLimits::default())
    }

    #[test]
    fn the_short_way_and_the_long_way_agree() {
        let mut short = 0;
        for form in forms() {
            let frame = [&[0xff; 3], &form[..], &[0xff; 40]].concat();
            let long = RecordView::parse_any(&frame, 3, Some(&mut budget())).unwrap();
            assert_eq!(long.1, 3 + form.len());
            if let Some(usual) = RecordView::parse_usual(&frame, 3) {
                assert_eq!(usual, long);
                short += 1;
            }
            assert_eq!(RecordView::parse(&frame, 3, None), Ok(long));
        }
        assert_eq!(short, 15);
    }

    #[test]
    fn a_record_that_is_cut_or_followed_is_refused() {
        for form in forms() {
            assert!(RecordView::decode(&form).is_ok());
            for length in 0..form.len() {
                assert!(
                    RecordView::decode(&form[..length]).is_err(),
                    "{form:?} {length}"
                );
            }
            assert!(RecordView::decode(&[&form[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn bytes_that_were_never_checked_give_some_record() {
        assert_eq!(RecordView::checked_before(b"hello").block_count(), 0);
        let deep = [
            &[0x93, 0, 0x81, 0xa1, b'k'],
            &[0x91; 200_000][..],
            &[0xc0, 0x90],
        ]
        .concat();
        let record = RecordView::checked_before(&deep);
        assert_eq!((record.has_tags(), record.tags().len()), (true, 1));
        assert!(RecordView::decode(&deep).is_err());
    }
}
