//! One frame: its length, and the message in it.

use std::ops::Range;

use crate::eventer::sbs::{Reader, Writer, bytes_len, integer_len};
use crate::wire::DecodeError;

/// The message of one frame.
///
/// ```
/// use acqbus::eventer::chatter::Frame;
///
/// let ping = Frame { id: 1, first: 1, owner: true, token: true, last: false, kind: "HatChatter.Ping", data: &[] };
/// let mut bytes = Vec::new();
/// ping.encode(&mut bytes);
/// assert_eq!(bytes, b"\x01\x16\x81\x81\x01\x01\x00\x8fHatChatter.Ping\x80");
/// assert_eq!(Frame::decode(&bytes[2..]), Ok(ping));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number, from 1, one more for each frame of its sender.
    pub id: i64,
    /// The number of the first message of its conversation.
    pub first: i64,
    /// Whether its sender started the conversation.
    pub owner: bool,
    /// Always true, and ignored.
    pub token: bool,
    /// Whether it ends its conversation.
    pub last: bool,
    /// What it is, `HatEventer.MsgInitReq` for example.
    pub kind: &'a str,
    /// Its content.
    pub data: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Writes the whole frame, its length first, in the fewest bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let len = self.payload_len();
        let len_bytes = len.to_be_bytes();
        let zeros = len.leading_zeros() as usize / 8;
        out.reserve(1 + len_bytes.len() - zeros + len);
        out.push((len_bytes.len() - zeros) as u8);
        out.extend_from_slice(&len_bytes[zeros..]);
        let mut writer = Writer::new(out);
        writer.integer(self.id);
        writer.integer(self.first);
        writer.boolean(self.owner);
        writer.boolean(self.token);
        writer.boolean(self.last);
        writer.string(self.kind);
        writer.bytes(self.data);
    }

    /// Reads the message of a frame, without its length; bytes after it are ignored, as in the reference.
    ///
    /// # Errors
    /// A [`DecodeError`] with offset and rule.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            id: reader.integer("the number of the message")?,
            first: reader.integer("the number of the conversation")?,
            owner: reader.boolean("the owner")?,
            token: reader.boolean("the token")?,
            last: reader.boolean("the last flag")?,
            kind: reader.string("the type of the message")?,
            data: reader.bytes("the data of the message")?,
        })
    }

    /// Bytes of the message, without its length.
    pub(super) fn payload_len(&self) -> usize {
        const FLAGS: usize = 3;
        let numbers = integer_len(self.id) + integer_len(self.first);
        numbers + FLAGS + bytes_len(self.kind.len()) + bytes_len(self.data.len())
    }
}

/// What stands at the start of received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// A whole frame; its message lies here.
    Whole(Range<usize>),
    /// The start of one.
    Part,
}

/// Looks for the frame at the start of received bytes.
///
/// The length may have leading zeros. One over the limit is refused as soon as that shows.
pub(super) fn split(bytes: &[u8], max_frame: usize) -> Result<Split, DecodeError> {
    let what = "the length of a frame";
    let Some((len_bytes, rest)) = bytes.split_first() else {
        return Ok(Split::Part);
    };
    let len_bytes = usize::from(*len_bytes);
    let digits = &rest[..len_bytes.min(rest.len())];
    let mut len = 0_usize;
    for digit in digits {
        len = len
            .checked_mul(256)
            .map_or(usize::MAX, |high| high | usize::from(*digit));
        if len > max_frame {
            return Err(DecodeError::Size {
                what: "a frame",
                limit: max_frame,
                found: len,
            });
        }
    }
    if digits.len() < len_bytes {
        return Ok(Split::Part);
    }
    if len == 0 {
        return Err(DecodeError::Rule {
            what,
            offset: 0,
            rule: "a frame has at least one byte",
        });
    }
    let start = 1 + len_bytes;
    if rest.len() - len_bytes < len {
        return Ok(Split::Part);
    }
    Ok(Split::Whole(start..start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_with_leading_zeros_and_in_pieces() {
        assert_eq!(split(b"", 9), Ok(Split::Part));
        assert_eq!(split(b"\x01", 9), Ok(Split::Part));
        assert_eq!(split(b"\x01\x02a", 9), Ok(Split::Part));
        assert_eq!(split(b"\x01\x02abc", 9), Ok(Split::Whole(2..4)));
        assert_eq!(split(b"\x03\x00\x00\x01a", 9), Ok(Split::Whole(4..5)));
        let mut long = vec![0; 256];
        long[0] = 255;
        long[255] = 1;
        assert_eq!(split(&long, 9), Ok(Split::Part));
        long.push(b'a');
        assert_eq!(split(&long, 9), Ok(Split::Whole(256..257)));
    }

    #[test]
    fn lengths_of_nothing_or_too_much_are_refused_at_once() {
        assert!(split(b"\x00", 9).is_err());
        assert!(split(b"\x02\x00\x00", 9).is_err());
        assert!(split(b"\x01\x09", 9).is_ok());
        assert!(split(b"\x01\x0a", 9).is_err());
        assert!(split(b"\xff\x01\x00", 9).is_err(), "it can only grow");
        let mut huge = vec![255; 300];
        assert!(split(&huge, usize::MAX - 1).is_err());
        huge[1] = 0;
        assert!(split(&huge, 1 << 40).is_err());
    }
}
