//! Bytes of the Simple Binary Serialiser: values one after the other, without tags, names or lengths of the whole.
//!
//! Who reads must know what was written. Source: hat-sbs 0.7.6, the encodings of its types.
//!
//! | type | bytes |
//! |---|---|
//! | none | nothing |
//! | boolean | one, 0 or 1; a reader takes any but 0 for true |
//! | integer | groups of 7 bits, the most significant first; 0x80 marks the last, 0x40 of the first is the sign |
//! | float | a double, big-endian |
//! | text, bytes | the length as an integer, then UTF-8 or the bytes |
//! | array | the count as an integer, then the items |
//! | record | its fields |
//! | choice | the place of the alternative as an integer, from 0, then its value |
//! | optional | a choice of none and a value |
//!
//! ```
//! use acqbus::eventer::sbs::{Reader, Writer};
//!
//! let mut bytes = Vec::new();
//! let mut writer = Writer::new(&mut bytes);
//! writer.integer(-65);
//! writer.string("a");
//! assert_eq!(bytes, b"\x7f\xbf\x81a");
//!
//! let mut reader = Reader::new(&bytes);
//! assert_eq!(reader.integer("the number")?, -65);
//! assert_eq!(reader.string("the text")?, "a");
//! assert!(reader.boolean("the flag").is_err(), "nothing is left");
//! # Ok::<(), acqbus::wire::DecodeError>(())
//! ```

use crate::wire::DecodeError;

/// Writes values behind what a buffer has already.
#[derive(Debug)]
pub struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// Writes to a buffer, which keeps what it has.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Writes none, which has no bytes.
    pub fn none(&mut self) {}

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// Writes an integer in the fewest bytes.
    pub fn integer(&mut self, value: i64) {
        let len = integer_len(value);
        if len == 1 {
            return self.0.push(value as u8 | LAST);
        }
        let mut groups = [0; MAX_GROUPS];
        let mut rest = value;
        for group in groups[..len].iter_mut().rev() {
            *group = rest as u8 & 0x7f;
            rest >>= 7;
        }
        groups[len - 1] |= LAST;
        self.0.extend_from_slice(&groups[..len]);
    }

    /// Writes a float, whichever it is.
    pub fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes a text.
    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Writes bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    /// Writes the count of an array, whose items follow.
    pub fn count(&mut self, count: usize) {
        self.integer(as_integer(count));
    }

    /// Writes the place of an alternative, from 0, whose value follows.
    pub fn choice(&mut self, place: usize) {
        self.count(place);
    }

    /// Writes whether a value follows.
    pub fn optional(&mut self, is_some: bool) {
        self.0.push(LAST | u8::from(is_some));
    }
}

/// Reads values from bytes, one after the other.
///
/// A `what` names the value in an error. After an error nothing more should be read: where it goes on is not said.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of the bytes; offsets count from there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads none, which has no bytes.
    ///
    /// # Errors
    /// None; it is here for the row to be whole.
    pub fn none(&mut self, _what: &'static str) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Reads a boolean; every byte but 0 is true.
    ///
    /// # Errors
    /// [`DecodeError::End`] where no byte is left.
    pub fn boolean(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        Ok(self.take(1, what)?[0] != 0)
    }

    /// Reads an integer, also in more bytes than it needs.
    ///
    /// # Errors
    /// [`DecodeError::End`] where its last byte is missing, [`DecodeError::Rule`] beyond 64 bits, which the reference's own
    /// decoder in C cuts in silence.
    pub fn integer(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let rest = &self.bytes[self.at..];
        if let Some(first) = rest.first().filter(|first| **first & LAST != 0) {
            self.at += 1;
            return Ok(i64::from((first << 1).cast_signed() >> 1));
        }
        let negative = rest.first().is_some_and(|first| first & SIGN != 0);
        let mut value = if negative { -1 } else { 0 };
        for (place, byte) in rest.iter().enumerate() {
            if !(i64::MIN >> 7..=i64::MAX >> 7).contains(&value) {
                return Err(self.rule(what, "an integer has 64 bits"));
            }
            value = value << 7 | i64::from(byte & 0x7f);
            if byte & LAST != 0 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        Err(DecodeError::End {
            what,
            offset: self.at,
            needed: rest.len() + 1,
            left: rest.len(),
        })
    }

    /// Reads a float, whichever it is.
    ///
    /// # Errors
    /// [`DecodeError::End`] where fewer than 8 bytes are left.
    pub fn float(&mut self, what: &'static str) -> Result<f64, DecodeError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8, what)?);
        Ok(f64::from_be_bytes(bytes))
    }

    /// Reads a text, where it stands.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`DecodeError::Utf8`] with its first wrong byte.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(what)?;
        str::from_utf8(bytes).map_err(|error| DecodeError::Utf8 {
            offset: self.at - bytes.len() + error.valid_up_to(),
        })
    }

    /// Reads bytes, where they stand.
    ///
    /// # Errors
    /// [`DecodeError::End`] where there are fewer than their length says, [`DecodeError::Rule`] for a negative length.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.size(what, "a length is not negative")?;
        self.take(len, what)
    }

    /// Reads the count of an array, whose items have at least `min_item_bytes` each.
    ///
    /// # Errors
    /// [`DecodeError::End`] where what is left cannot hold so many, so that nobody reserves memory for them, and
    /// [`DecodeError::Rule`] for a negative count.
    pub fn count(
        &mut self,
        min_item_bytes: usize,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.size(what, "a count is not negative")?;
        let (needed, left) = (count.saturating_mul(min_item_bytes), self.rest().len());
        if needed > left {
            return Err(DecodeError::End {
                what,
                offset,
                needed,
                left,
            });
        }
        Ok(count)
    }

    /// Reads the place of an alternative among so many, from 0.
    ///
    /// # Errors
    /// [`DecodeError::Rule`] for a place that does not exist, and as [`integer`](Self::integer).
    pub fn choice(
        &mut self,
        alternatives: usize,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let mut ahead = self.clone();
        let place = usize::try_from(ahead.integer(what)?);
        let Some(place) = place.ok().filter(|place| *place < alternatives) else {
            return Err(self.rule(what, "there is no such alternative"));
        };
        *self = ahead;
        Ok(place)
    }

    /// Reads whether a value follows.
    ///
    /// # Errors
    /// As [`choice`](Self::choice).
    pub fn optional(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        Ok(self.choice(2, what)? == 1)
    }

    /// How many bytes were read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn size(&mut self, what: &'static str, rule: &'static str) -> Result<usize, DecodeError> {
        let mut ahead = self.clone();
        let Ok(size) = usize::try_from(ahead.integer(what)?) else {
            return Err(self.rule(what, rule));
        };
        *self = ahead;
        Ok(size)
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        let Some(taken) = rest.get(..len) else {
            return Err(DecodeError::End {
                what,
                offset: self.at,
                needed: len,
                left: rest.len(),
            });
        };
        self.at += len;
        Ok(taken)
    }

    fn rule(&self, what: &'static str, rule: &'static str) -> DecodeError {
        DecodeError::Rule {
            what,
            offset: self.at,
            rule,
        }
    }
}

/// Bytes of an integer as [`Writer::integer`] writes it.
pub(super) fn integer_len(value: i64) -> usize {
    let magnitude = value ^ value >> 63;
    let bits = 65 - magnitude.leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes of a text or of bytes of some length, as [`Writer::bytes`] writes them.
pub(super) fn bytes_len(len: usize) -> usize {
    integer_len(as_integer(len)) + len
}

/// A length or count; what lies in memory has fewer than 2^63.
fn as_integer(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Marks the last byte of an integer.
const LAST: u8 = 0x80;

/// The sign, in the first byte of an integer.
const SIGN: u8 = 0x40;

/// The most bytes that the integers of 64 bits need.
const MAX_GROUPS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(bytes: &[u8]) -> Result<(i64, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok((reader.integer("n")?, reader.offset()))
    }

    #[test]
    fn integers_at_the_edges_of_their_lengths_come_back() {
        for shift in 0..64 {
            for near in [-1, 0, 1] {
                for value in [1_i64 << shift, -1_i64 << shift, i64::MIN, i64::MAX] {
                    let value = value.wrapping_add(near);
                    let mut bytes = Vec::new();
                    Writer::new(&mut bytes).integer(value);
                    assert_eq!(bytes.len(), integer_len(value), "{value}");
                    assert_eq!(integer(&bytes), Ok((value, bytes.len())));
                }
            }
        }
    }

    #[test]
    fn a_longer_form_of_an_integer_is_read() {
        assert_eq!(integer(b"\x00\x00\x80"), Ok((0, 3)));
        assert_eq!(integer(b"\x7f\x7f\x7f\xff\x00"), Ok((-1, 4)));
        assert_eq!(integer(&[&[0; 1000][..], b"\x81"].concat()), Ok((1, 1001)));
    }

    #[test]
    fn an_integer_beyond_64_bits_is_refused() {
        let max = b"\x00\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff";
        assert_eq!(integer(max), Ok((i64::MAX, 10)));
        assert!(integer(b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80").is_err());
        let min = b"\x7f\x00\x00\x00\x00\x00\x00\x00\x00\x80";
        assert_eq!(integer(min), Ok((i64::MIN, 10)));
        assert!(integer(b"\x7e\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff").is_err());
        assert!(integer(&[0x3f; 100]).is_err());
    }

    #[test]
    fn a_count_that_the_rest_cannot_hold_is_refused() {
        let bytes = b"\x83abc";
        assert_eq!(Reader::new(bytes).count(1, "items"), Ok(3));
        assert_eq!(
            Reader::new(bytes).count(2, "items"),
            Err(DecodeError::End {
                what: "items",
                offset: 0,
                needed: 6,
                left: 3
            })
        );
        assert!(Reader::new(b"\xff").count(0, "items").is_err());
        let huge = b"\x00\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff";
        assert!(Reader::new(huge).count(usize::MAX, "items").is_err());
    }

    #[test]
    fn an_error_says_where() {
        let mut reader = Reader::new(b"\x81a\x83\xc3\xa9\xff");
        assert_eq!(reader.string("first"), Ok("a"));
        assert_eq!(
            reader.string("second"),
            Err(DecodeError::Utf8 { offset: 5 })
        );
        let mut reader = Reader::new(b"\x00\x82");
        assert_eq!(
            reader.choice(2, "the choice"),
            Err(DecodeError::Rule {
                what: "the choice",
                offset: 0,
                rule: "there is no such alternative"
            })
        );
        assert!(Reader::new(b"\x85abc").bytes("bytes").is_err());
        assert!(Reader::new(b"\xff").bytes("bytes").is_err());
    }
}
