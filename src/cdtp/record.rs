//! What goes out: records, and messages of them.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::cdtp::encoding::Encoding;
use crate::cdtp::error::CdtpError;
use crate::cdtp::fit;
use crate::cdtp::message::MessageKind;
use crate::cdtp::msgpack::{write_array_head, write_bin, write_str, write_tags, write_uint};
use crate::cdtp::tags::Tags;

/// One record to send: a sequence number, tags, and blocks of bytes.
///
/// Blocks and tags may be borrowed or owned. Up to four borrowed blocks without tags take no memory of their own.
///
/// ```
/// use acqbus::cdtp::{DataRecord, Tags};
///
/// let image = vec![0_u8; 640];
/// let record = DataRecord::new(1)
///     .with_tags(Tags::new().with("exposure_ms", 1.5))
///     .with_block(&image)
///     .with_block(b"footer");
/// assert_eq!((record.blocks().len(), record.payload_bytes()), (2, 646));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DataRecord<'a> {
    sequence: u64,
    tags: Cow<'a, Tags>,
    blocks: SmallVec<[Cow<'a, [u8]>; 4]>,
}

impl<'a> DataRecord<'a> {
    /// A record without tags and blocks; the first of a run has number 1.
    #[must_use]
    pub fn new(sequence: u64) -> Self {
        Self {
            sequence,
            tags: Cow::Owned(Tags::new()),
            blocks: SmallVec::new(),
        }
    }

    /// Sets all the tags.
    #[must_use]
    pub fn with_tags(mut self, tags: impl Into<Cow<'a, Tags>>) -> Self {
        self.tags = tags.into();
        self
    }

    /// Adds a block behind the others, as [`DataRecord::add_block`], and gives the record back.
    #[must_use]
    pub fn with_block(mut self, block: impl Into<Cow<'a, [u8]>>) -> Self {
        self.add_block(block);
        self
    }

    /// Adds a block behind the others; a block holds less than 4 GiB.
    pub fn add_block(&mut self, block: impl Into<Cow<'a, [u8]>>) {
        self.blocks.push(block.into());
    }

    /// The sequence number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The tags, to change them; borrowed ones are copied first.
    pub fn tags_mut(&mut self) -> &mut Tags {
        self.tags.to_mut()
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &[Cow<'a, [u8]>] {
        &self.blocks
    }

    /// Bytes of all the blocks together.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.len()).sum()
    }

    /// The record with its own copies of what it borrows.
    #[must_use]
    pub fn into_owned(self) -> DataRecord<'static> {
        let owned = |block: Cow<'a, [u8]>| Cow::Owned(block.into_owned());
        DataRecord {
            sequence: self.sequence,
            tags: Cow::Owned(self.tags.into_owned()),
            blocks: self.blocks.into_iter().map(owned).collect(),
        }
    }
}

/// Appends a record as it stands in a message.
///
/// # Errors
/// [`CdtpError::BlockTooLarge`], or [`CdtpError::TooLarge`] for a tag, of 4 GiB or more, for which MessagePack has no form; nothing
/// is appended then.
pub fn write_record(
    out: &mut Vec<u8>,
    record: &DataRecord<'_>,
    encoding: Encoding,
) -> Result<(), CdtpError> {
    fit::check_record(record)?;
    write_checked(out, record, encoding);
    Ok(())
}

/// Appends a record that [`fit::check_record`] has found good.
pub(in crate::cdtp) fn write_checked(
    out: &mut Vec<u8>,
    record: &DataRecord<'_>,
    encoding: Encoding,
) {
    match &record.blocks[..] {
        [block] if record.tags.is_empty() => {
            write_usual(out, record.sequence, block, encoding);
        }
        _ => write_any(out, record, encoding),
    }
}

/// Appends a record without tags and with one block: what a run is made of.
///
/// The head is made in one piece of fixed size, of which only the front is kept: a copy whose size is known takes two instructions.
fn write_usual(out: &mut Vec<u8>, sequence: u64, block: &[u8], encoding: Encoding) {
    let mut head = [0; USUAL_HEAD];
    head[0] = 0x93;
    let mut at = match sequence {
        _ if encoding == Encoding::Cxx || sequence > u32::MAX.into() => {
            head[1] = 0xcf;
            head[2..10].copy_from_slice(&sequence.to_be_bytes());
            10
        }
        0..0x80 => {
            head[1] = sequence as u8;
            2
        }
        0x80..0x100 => {
            head[1] = 0xcc;
            head[2] = sequence as u8;
            3
        }
        0x100..0x1_0000 => {
            head[1] = 0xcd;
            head[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 0xce;
            head[2..6].copy_from_slice(&(sequence as u32).to_be_bytes());
            6
        }
    };
    head[at] = 0x80;
    head[at + 1] = 0x91;
    at += 2;
    at += match block.len() {
        length @ 0..0x100 => {
            head[at] = 0xc4;
            head[at + 1] = length as u8;
            2
        }
        length @ 0x100..0x1_0000 => {
            head[at] = 0xc5;
            head[at + 1..at + 3].copy_from_slice(&(length as u16).to_be_bytes());
            3
        }
        length => {
            head[at] = 0xc6;
            head[at + 1..at + 5].copy_from_slice(&(length as u32).to_be_bytes());
            5
        }
    };
    out.reserve(USUAL_HEAD + block.len());
    let start = out.len();
    out.extend_from_slice(&head);
    out.truncate(start + at);
    out.extend_from_slice(block);
}

fn write_any(out: &mut Vec<u8>, record: &DataRecord<'_>, encoding: Encoding) {
    out.reserve(record.payload_bytes() + HEADS + 5 * record.blocks.len());
    out.push(0x93);
    match encoding {
        Encoding::Compact => write_uint(out, record.sequence),
        Encoding::Cxx => {
            out.push(0xcf);
            out.extend_from_slice(&record.sequence.to_be_bytes());
        }
    }
    write_tags(out, &record.tags, encoding);
    write_array_head(out, record.blocks.len());
    for block in &record.blocks {
        write_bin(out, block);
    }
}

/// What stands before the records of a message: protocol, sender, type, and their number.
///
/// ```
/// use acqbus::cdtp::{MessageHead, MessageKind};
///
/// let head = MessageHead::new("Sputnik.One")?;
/// let mut room = [0; 64];
/// let start = head.write_before(MessageKind::Data, 3, &mut room);
/// assert_eq!(&room[start..], b"\xa5CDTP\x02\xabSputnik.One\x00\x93");
/// # Ok::<(), acqbus::cdtp::CdtpError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MessageHead {
    /// Protocol and sender.
    fixed: Vec<u8>,
}

impl MessageHead {
    /// Prepares the head of a sender's messages; any text of up to 65,535 bytes is taken.
    ///
    /// Check names to send under with [`SenderName`](crate::cdtp::SenderName).
    ///
    /// # Errors
    /// [`CdtpError::Name`] for a longer one.
    pub fn new(sender: impl AsRef<str>) -> Result<Self, CdtpError> {
        let sender = sender.as_ref();
        if sender.len() > NAME_LIMIT {
            return Err(CdtpError::Name {
                name: sender.chars().take(80).collect(),
                rule: "it has more than 65,535 bytes",
            });
        }
        let mut fixed = Vec::with_capacity(sender.len() + 16);
        write_str(&mut fixed, PROTOCOL);
        write_str(&mut fixed, sender);
        Ok(Self { fixed })
    }

    /// The most bytes that the head takes, whatever the number of records.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.fixed.len() + 1 + 5
    }

    /// The bytes that the head takes for so many records.
    #[must_use]
    pub fn len(&self, record_count: u32) -> usize {
        let count = match record_count {
            0..16 => 1,
            16..0x1_0000 => 3,
            _ => 5,
        };
        self.fixed.len() + 1 + count
    }

    /// Appends the head.
    pub fn write(&self, kind: MessageKind, record_count: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fixed);
        out.push(kind.number());
        write_array_head(out, record_count as usize);
    }

    /// Writes the head to the end of `room` and gives the place in it where the head begins.
    ///
    /// # Panics
    /// When `room` is shorter than [`MessageHead::len`]; [`MessageHead::max_len`] is always enough.
    pub fn write_before(&self, kind: MessageKind, record_count: u32, room: &mut [u8]) -> usize {
        let start = room.len() - self.len(record_count);
        let (fixed, rest) = room[start..].split_at_mut(self.fixed.len());
        fixed.copy_from_slice(&self.fixed);
        rest[0] = kind.number();
        let count = record_count.to_be_bytes();
        match &mut rest[1..] {
            [short] => *short = 0x90 | count[3],
            [form, two @ ..] if two.len() == 2 => {
                *form = 0xdc;
                two.copy_from_slice(&count[2..]);
            }
            four => {
                four[0] = 0xdd;
                four[1..].copy_from_slice(&count);
            }
        }
        start
    }
}

/// A whole message, as one frame.
///
/// # Errors
/// [`CdtpError::Name`] for a sender of more than 65,535 bytes; as [`write_record`]; [`CdtpError::TooLarge`] for 2³² records or more.
pub fn encode_message(
    sender: impl AsRef<str>,
    kind: MessageKind,
    records: &[DataRecord<'_>],
    encoding: Encoding,
) -> Result<Vec<u8>, CdtpError> {
    let head = MessageHead::new(sender)?;
    let count = fit::check_records(records.len())?;
    records.iter().try_for_each(fit::check_record)?;
    let mut frame = Vec::with_capacity(head.max_len());
    head.write(kind, count, &mut frame);
    for record in records {
        write_checked(&mut frame, record, encoding);
    }
    Ok(frame)
}

/// The message that begins a run: the tags that the user gave it, and the configuration of the sender.
///
/// # Errors
/// As [`encode_message`].
pub fn encode_bor(
    sender: impl AsRef<str>,
    user_tags: &Tags,
    configuration: &Tags,
    encoding: Encoding,
) -> Result<Vec<u8>, CdtpError> {
    encode_pair(sender, MessageKind::Bor, user_tags, configuration, encoding)
}

/// The message that ends a run: the tags that the user gave it, and the metadata of the run.
///
/// # Errors
/// As [`encode_message`].
pub fn encode_eor(
    sender: impl AsRef<str>,
    user_tags: &Tags,
    metadata: &Tags,
    encoding: Encoding,
) -> Result<Vec<u8>, CdtpError> {
    encode_pair(sender, MessageKind::Eor, user_tags, metadata, encoding)
}

fn encode_pair(
    sender: impl AsRef<str>,
    kind: MessageKind,
    first: &Tags,
    second: &Tags,
    encoding: Encoding,
) -> Result<Vec<u8>, CdtpError> {
    let records = [
        DataRecord::new(0).with_tags(first),
        DataRecord::new(1).with_tags(second),
    ];
    encode_message(sender, kind, &records, encoding)
}

/// The protocol as a message names it: CDTP, version 2.
pub(super) const PROTOCOL: &str = "CDTP\x02";

/// Most bytes of a record beside its tags and blocks.
const HEADS: usize = 1 + 9 + 1 + 5;

/// Most bytes before the block of a record without tags and with one block.
const USUAL_HEAD: usize = 1 + 9 + 1 + 1 + 5;

/// Longest sender that is written.
const NAME_LIMIT: usize = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_writes_what_the_long_way_writes() {
        for sequence in [
            0,
            0x7f,
            0x80,
            0xff,
            0x100,
            0xffff,
            1 << 16,
            u32::MAX.into(),
            1 << 32,
            u64::MAX,
        ] {
            for length in [0, 1, 0xff, 0x100, 0xffff, 0x1_0000] {
                let record = DataRecord::new(sequence).with_block(vec![7; length]);
                for encoding in [Encoding::Compact, Encoding::Cxx] {
                    let (mut short, mut long) = (b"before".to_vec(), b"before".to_vec());
                    write_record(&mut short, &record, encoding).unwrap();
                    write_any(&mut long, &record, encoding);
                    assert!(short == long, "{sequence} {length} {encoding:?}");
                }
            }
        }
    }

    #[test]
    fn a_head_is_the_same_before_and_behind() {
        let head = MessageHead::new("Sputnik.One").unwrap();
        for count in [0, 1, 15, 16, 0xffff, 0x1_0000, 1 << 24] {
            let mut out = Vec::new();
            head.write(MessageKind::Eor, count, &mut out);
            let mut room = vec![0xee; head.max_len() + 7];
            let start = head.write_before(MessageKind::Eor, count, &mut room);
            assert_eq!(room[start..], out);
            assert_eq!(out.len(), head.len(count));
            assert!(room[..start].iter().all(|byte| *byte == 0xee) && out.len() <= head.max_len());
        }
    }

    #[test]
    fn a_sender_of_more_than_two_bytes_of_length_is_refused() {
        assert!(MessageHead::new("a".repeat(0xffff)).is_ok());
        assert!(MessageHead::new("a".repeat(0x1_0000)).is_err());
    }
}
