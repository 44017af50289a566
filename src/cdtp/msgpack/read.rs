//! MessagePack read without a copy.

use crate::cdtp::limits::{DEEPEST, DecodeLimits, or_none};
use crate::cdtp::msgpack::time;
use crate::cdtp::tags::Tags;
use crate::cdtp::value::Value;
use crate::wire::DecodeError;

/// The first bytes of a value, and what they say; text and bytes are there whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cdtp) enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    /// Below 0.
    Negative(i64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    /// So many values follow; there are at least as many bytes.
    Array(usize),
    /// So many keys with values follow; there are at least twice as many bytes.
    Map(usize),
}

impl Token<'_> {
    /// What it is, with its article.
    pub(in crate::cdtp) fn kind(&self) -> &'static str {
        match self {
            Token::Nil => "nil",
            Token::Bool(_) => "a truth value",
            Token::Uint(_) => "an integer",
            Token::Negative(_) => "a negative integer",
            Token::Float(_) => "a float",
            Token::Str(_) => "text",
            Token::Bin(_) => "bytes",
            Token::Ext(..) => "an extension",
            Token::Array(_) => "an array",
            Token::Map(_) => "a map",
        }
    }
}

/// How much the tags of a message may still hold.
#[derive(Debug)]
pub(in crate::cdtp) struct Budget {
    depth: usize,
    values: usize,
    limit: usize,
}

impl Budget {
    pub(in crate::cdtp) fn new(limits: &DecodeLimits) -> Self {
        let values = or_none(limits.tag_values);
        Self {
            depth: limits.depth.min(DEEPEST),
            values,
            limit: values,
        }
    }

    fn spend(&mut self, values: usize, offset: usize) -> Result<(), DecodeError> {
        self.values = self.values.checked_sub(values).ok_or(DecodeError::Count {
            what: "the values of the tags",
            offset,
            limit: self.limit,
        })?;
        Ok(())
    }
}

/// A place in bytes, from which values are read.
#[derive(Debug, Clone)]
pub(in crate::cdtp) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at a place, which is not behind the end.
    pub(in crate::cdtp) fn new(bytes: &'a [u8], at: usize) -> Self {
        debug_assert!(at <= bytes.len(), "a reader starts within its bytes");
        Self { bytes, at }
    }

    /// The place, in bytes from the start.
    pub(in crate::cdtp) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(in crate::cdtp) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next value's first bytes; `what` names it in an error.
    pub(in crate::cdtp) fn token(&mut self, what: &'static str) -> Result<Token<'a>, DecodeError> {
        let start = self.at;
        let [first] = self.fixed(what, start)?;
        let token = match first {
            0x00..=0x7f => Token::Uint(first.into()),
            0x80..=0x8f => self.map(what, start, usize::from(first & 0x0f))?,
            0x90..=0x9f => self.array(what, start, usize::from(first & 0x0f))?,
            0xa0..=0xbf => Token::Str(self.take(what, start, usize::from(first & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => {
                return Err(DecodeError::Rule {
                    what,
                    offset: start,
                    rule: "no value starts with the byte c1",
                });
            }
            0xc2 | 0xc3 => Token::Bool(first == 0xc3),
            0xc4..=0xc6 => {
                let length = self.length(what, start, first - 0xc4)?;
                Token::Bin(self.take(what, start, length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(what, start, first - 0xc7)?;
                self.extension(what, start, length)?
            }
            0xca => {
                Token::Float(f32::from_bits(u32::from_be_bytes(self.fixed(what, start)?)).into())
            }
            0xcb => Token::Float(f64::from_bits(u64::from_be_bytes(self.fixed(what, start)?))),
            0xcc => Token::Uint(u8::from_be_bytes(self.fixed(what, start)?).into()),
            0xcd => Token::Uint(u16::from_be_bytes(self.fixed(what, start)?).into()),
            0xce => Token::Uint(u32::from_be_bytes(self.fixed(what, start)?).into()),
            0xcf => Token::Uint(u64::from_be_bytes(self.fixed(what, start)?)),
            0xd0 => signed(i8::from_be_bytes(self.fixed(what, start)?).into()),
            0xd1 => signed(i16::from_be_bytes(self.fixed(what, start)?).into()),
            0xd2 => signed(i32::from_be_bytes(self.fixed(what, start)?).into()),
            0xd3 => signed(i64::from_be_bytes(self.fixed(what, start)?)),
            0xd4..=0xd8 => self.extension(what, start, 1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(what, start, first - 0xd9)?;
                Token::Str(self.take(what, start, length)?)
            }
            0xdc | 0xdd => {
                let length = self.length(what, start, first - 0xdc + 1)?;
                self.array(what, start, length)?
            }
            0xde | 0xdf => {
                let length = self.length(what, start, first - 0xde + 1)?;
                self.map(what, start, length)?
            }
            0xe0..=0xff => Token::Negative((first as i8).into()),
        };
        Ok(token)
    }

    /// The next value as text.
    pub(in crate::cdtp) fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let start = self.at;
        match self.token(what)? {
            Token::Str(bytes) => self.utf8(bytes),
            other => Err(wrong(what, start, "text", other)),
        }
    }

    /// The next value as the length of an array.
    pub(in crate::cdtp) fn array_head(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let start = self.at;
        match self.token(what)? {
            Token::Array(length) => Ok(length),
            other => Err(wrong(what, start, "an array", other)),
        }
    }

    /// The next value as bytes.
    pub(in crate::cdtp) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        match self.token(what)? {
            Token::Bin(bytes) => Ok(bytes),
            other => Err(wrong(what, start, "bytes", other)),
        }
    }

    /// The next value if it is bytes, by a shorter way than [`Reader::bytes`] where their length has one or two bytes.
    #[inline]
    pub(in crate::cdtp) fn usual_bytes(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let (bytes, head) = match *rest {
            [0xc4, length, ref bytes @ ..] => (bytes.get(..length.into())?, 2),
            [0xc5, high, low, ref bytes @ ..] => {
                let length = u16::from_be_bytes([high, low]);
                (bytes.get(..length.into())?, 3)
            }
            _ => return self.bytes("a block").ok(),
        };
        self.at += head + bytes.len();
        Some(bytes)
    }

    /// Passes over a map of tags and checks all of it; gives the number of keys.
    pub(in crate::cdtp) fn check_tags(
        &mut self,
        budget: &mut Budget,
    ) -> Result<usize, DecodeError> {
        let start = self.at;
        match self.token("the tags")? {
            Token::Map(length) => {
                self.check_entries(length, 0, budget)?;
                Ok(length)
            }
            other => Err(wrong("the tags", start, "a map", other)),
        }
    }

    /// Passes over a map of tags that was checked before; gives the number of keys.
    pub(in crate::cdtp) fn skip_tags(&mut self) -> Result<usize, DecodeError> {
        let Token::Map(length) = self.token("the tags")? else {
            return Ok(0);
        };
        // No overflow: what is claimed is there in bytes, each time anew.
        let mut values = 2 * length;
        while values > 0 {
            values -= 1;
            match self.token("a tag")? {
                Token::Array(length) => values += length,
                Token::Map(length) => values += 2 * length,
                _ => {}
            }
        }
        Ok(length)
    }

    /// Makes tags of a map that was checked before.
    ///
    /// Of bytes that were not, it makes some tags; within the same bounds of stack and memory.
    pub(in crate::cdtp) fn tags(&mut self) -> Tags {
        match self.token("the tags") {
            Ok(Token::Map(length)) => self.entries(length, 0),
            _ => Tags::new(),
        }
    }

    fn check_entries(
        &mut self,
        length: usize,
        level: usize,
        budget: &mut Budget,
    ) -> Result<(), DecodeError> {
        budget.spend(length, self.at)?;
        for _ in 0..length {
            let start = self.at;
            match self.token("a key")? {
                Token::Str(bytes) | Token::Bin(bytes) => self.utf8(bytes)?,
                other => return Err(wrong("a key", start, "text", other)),
            };
            self.check_value(level, budget)?;
        }
        Ok(())
    }

    fn check_value(&mut self, level: usize, budget: &mut Budget) -> Result<(), DecodeError> {
        let start = self.at;
        match self.token("a tag")? {
            Token::Str(bytes) => self.utf8(bytes).map(|_| ()),
            Token::Ext(code, data) => match extension(code, data) {
                Ok(_) => Ok(()),
                Err(rule) => Err(DecodeError::Rule {
                    what: "a tag",
                    offset: start,
                    rule,
                }),
            },
            Token::Array(_) | Token::Map(_) if level == budget.depth => Err(DecodeError::Nesting {
                limit: level,
                offset: start,
            }),
            Token::Array(length) => {
                budget.spend(length, start)?;
                (0..length).try_for_each(|_| self.check_value(level + 1, budget))
            }
            Token::Map(length) => self.check_entries(length, level + 1, budget),
            _ => Ok(()),
        }
    }

    fn entries(&mut self, length: usize, level: usize) -> Tags {
        let mut tags = Tags::new();
        for _ in 0..length {
            let Ok(Token::Str(key) | Token::Bin(key)) = self.token("a key") else {
                break;
            };
            tags.insert(String::from_utf8_lossy(key), self.value(level));
        }
        tags
    }

    fn value(&mut self, level: usize) -> Value {
        match self.token("a tag").unwrap_or(Token::Nil) {
            Token::Nil => Value::Nil,
            Token::Bool(value) => Value::Bool(value),
            Token::Uint(value) => value.into(),
            Token::Negative(value) => Value::Int(value),
            Token::Float(value) => Value::Float(value),
            Token::Str(bytes) => Value::Str(String::from_utf8_lossy(bytes).into_owned()),
            Token::Bin(bytes) => Value::Bin(bytes.to_vec()),
            Token::Ext(code, data) => extension(code, data).unwrap_or(Value::Nil),
            Token::Array(_) | Token::Map(_) if level >= DEEPEST => Value::Nil,
            Token::Array(length) => self.values(length, level + 1),
            Token::Map(length) => Value::Map(self.entries(length, level + 1)),
        }
    }

    fn values(&mut self, length: usize, level: usize) -> Value {
        let mut values = Vec::with_capacity(length.min(RESERVED));
        for _ in 0..length {
            if self.left() == 0 {
                break;
            }
            values.push(self.value(level));
        }
        Value::Array(values)
    }

    /// The text of bytes that were taken last.
    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|error| DecodeError::Utf8 {
            offset: self.at - bytes.len() + error.valid_up_to(),
        })
    }

    fn array(
        &self,
        what: &'static str,
        start: usize,
        length: usize,
    ) -> Result<Token<'a>, DecodeError> {
        self.claim(what, start, length)?;
        Ok(Token::Array(length))
    }

    fn map(
        &self,
        what: &'static str,
        start: usize,
        length: usize,
    ) -> Result<Token<'a>, DecodeError> {
        self.claim(what, start, 2 * length)?;
        Ok(Token::Map(length))
    }

    fn extension(
        &mut self,
        what: &'static str,
        start: usize,
        length: usize,
    ) -> Result<Token<'a>, DecodeError> {
        let [code] = self.fixed(what, start)?;
        Ok(Token::Ext(code as i8, self.take(what, start, length)?))
    }

    /// A length of 1, 2 or 4 bytes, for a width of 0, 1 or 2.
    fn length(
        &mut self,
        what: &'static str,
        start: usize,
        width: u8,
    ) -> Result<usize, DecodeError> {
        Ok(match width {
            0 => u8::from_be_bytes(self.fixed(what, start)?).into(),
            1 => u16::from_be_bytes(self.fixed(what, start)?).into(),
            _ => u32::from_be_bytes(self.fixed(what, start)?) as usize,
        })
    }

    fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
        start: usize,
    ) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        let Some(bytes) = rest else {
            return Err(self.end(what, start, N));
        };
        self.at += N;
        Ok(*bytes)
    }

    fn take(
        &mut self,
        what: &'static str,
        start: usize,
        length: usize,
    ) -> Result<&'a [u8], DecodeError> {
        self.claim(what, start, length)?;
        let bytes = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(bytes)
    }

    fn claim(&self, what: &'static str, start: usize, length: usize) -> Result<(), DecodeError> {
        if length > self.left() {
            return Err(self.end(what, start, length));
        }
        Ok(())
    }

    #[cold]
    fn end(&self, what: &'static str, offset: usize, needed: usize) -> DecodeError {
        DecodeError::End {
            what,
            offset,
            needed,
            left: self.left(),
        }
    }
}

/// Values that room is made for before they are read.
const RESERVED: usize = 1024;

/// The error of a value of another kind.
#[cold]
pub(in crate::cdtp) fn wrong(
    what: &'static str,
    offset: usize,
    expected: &'static str,
    found: Token<'_>,
) -> DecodeError {
    DecodeError::Kind {
        what,
        offset,
        expected,
        found: found.kind(),
    }
}

fn signed<'a>(value: i64) -> Token<'a> {
    u64::try_from(value).map_or(Token::Negative(value), Token::Uint)
}

/// The value of an extension; `Err` is the rule that it breaks.
fn extension(code: i8, data: &[u8]) -> Result<Value, &'static str> {
    match code {
        time::CODE => time::read(data).map(Value::Time),
        ..0 => Err("the negative codes of extensions are MessagePack's own, and only -1 is in use"),
        _ => Ok(Value::Ext {
            code,
            data: data.to_vec(),
        }),
    }
}
