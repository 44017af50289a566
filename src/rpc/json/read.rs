//! A strict reader of JSON text.

use serde_json::{Map, Number, Value};

use crate::wire::DecodeError;

/// Reads a whole JSON text, whose depth has been checked: the reader goes down one call for each level.
pub(super) fn read(text: &[u8]) -> Result<Value, DecodeError> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(DecodeError::ByteOrderMark);
    }
    let text = std::str::from_utf8(text).map_err(|error| DecodeError::Utf8 {
        offset: error.valid_up_to(),
    })?;
    let mut reader = Reader { text, at: 0 };
    reader.skip_white_space();
    if reader.peek().is_none() {
        return Err(DecodeError::Empty);
    }
    let value = reader.value()?;
    reader.skip_white_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(DecodeError::TrailingBytes { offset: reader.at }),
    }
}

/// A place in the text; always between two characters.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, DecodeError> {
        match self.peek() {
            Some(b'{') => self.object().map(Value::Object),
            Some(b'[') => self.array().map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.broken("a value is expected")),
        }
    }

    fn object(&mut self) -> Result<Map<String, Value>, DecodeError> {
        let mut members = Map::new();
        self.at += 1;
        self.skip_white_space();
        if self.take(b'}') {
            return Ok(members);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.broken("a key in double quotes is expected"));
            }
            let key = self.string()?;
            self.skip_white_space();
            if !self.take(b':') {
                return Err(self.broken("a colon is expected after a key"));
            }
            self.skip_white_space();
            let value = self.value()?;
            members.insert(key, value);
            self.skip_white_space();
            if self.take(b'}') {
                return Ok(members);
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or the end of the object is expected"));
            }
            self.skip_white_space();
        }
    }

    fn array(&mut self) -> Result<Vec<Value>, DecodeError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_white_space();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value()?);
            self.skip_white_space();
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or the end of the array is expected"));
            }
            self.skip_white_space();
        }
    }

    fn string(&mut self) -> Result<String, DecodeError> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(plain) = rest
                .bytes()
                .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
            else {
                self.at = self.text.len();
                return Err(self.broken("a string has no end"));
            };
            string.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(self.broken("a control character stands in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, DecodeError> {
        let c = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.broken("an escape is unknown")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, DecodeError> {
        let Some(unit) = self.unit(self.at) else {
            return Err(self.broken("an escape `\\u` needs four hexadecimal digits"));
        };
        self.at += 6;
        let mut units = [unit, 0];
        let mut used = &units[..1];
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low @ 0xdc00..0xe000) = self.unit(self.at)
        {
            self.at += 6;
            units[1] = low;
            used = &units;
        }
        let first = char::decode_utf16(used.iter().copied()).next();
        Ok(first
            .and_then(Result::ok)
            .unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The UTF-16 unit of the escape `\uXXXX` that starts at `at`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| {
            let digit = char::from(digit).to_digit(16)?;
            Some(unit << 4 | digit as u16)
        })
    }

    fn number(&mut self) -> Result<Number, DecodeError> {
        let start = self.at;
        self.take(b'-');
        let whole = self.at;
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.broken("a number starts with a zero"));
            }
        } else {
            self.digits()?;
        }
        let digits = self.at - whole;
        let mut is_integer = true;
        if self.take(b'.') {
            is_integer = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            is_integer = false;
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        if is_integer && digits > MAX_DIGITS {
            return Err(DecodeError::Digits {
                limit: MAX_DIGITS,
                found: digits,
                offset: start,
            });
        }
        let text = &self.text[start..self.at];
        if is_integer
            && digits < 19
            && let Ok(integer) = text.parse::<i64>()
        {
            return Ok(integer.into());
        }
        text.parse().map_err(|_| DecodeError::Json {
            offset: start,
            rule: "a number is out of bounds",
        })
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.broken("a digit is expected"));
        }
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, DecodeError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.broken("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn broken(&self, rule: &'static str) -> DecodeError {
        DecodeError::Json {
            offset: self.at,
            rule,
        }
    }
}

/// The digits that Python reads in an integer.
const MAX_DIGITS: usize = 4300;
