//! Reads JSON text strictly.

use crate::wire::DecodeError;

/// A piece of JSON text; the text of strings is as written, between the quotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    /// Digits and perhaps a minus.
    Integer(&'a str),
    /// A number with a fraction or an exponent, and its value, which is finite.
    Float(&'a str, f64),
    String(&'a str),
    ArrayStart,
    ArrayEnd,
    ObjectStart,
    /// The name of the member whose value follows.
    Name(&'a str),
    ObjectEnd,
}

/// Reads a whole text, and gives its pieces in order; after an error some of them were given.
pub(super) fn read<'a>(text: &'a str, take: &mut impl FnMut(Token<'a>)) -> Result<(), DecodeError> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    if text.starts_with('\u{feff}') {
        return Err(DecodeError::ByteOrderMark);
    }
    reader.space();
    if reader.peek().is_none() {
        return Err(DecodeError::Empty);
    }
    reader.values(take)?;
    reader.space();
    match reader.peek() {
        None => Ok(()),
        Some(_) => Err(DecodeError::TrailingBytes { offset: reader.at }),
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// One value with all in it. What is open is kept in bits, not on the stack: 1 for an object.
    fn values(&mut self, take: &mut impl FnMut(Token<'a>)) -> Result<(), DecodeError> {
        let mut open = Open::default();
        loop {
            self.space();
            let mut opened = false;
            match self.peek() {
                Some(b'[') => {
                    open.push(false, self.at)?;
                    self.at += 1;
                    take(Token::ArrayStart);
                    opened = true;
                }
                Some(b'{') => {
                    open.push(true, self.at)?;
                    self.at += 1;
                    take(Token::ObjectStart);
                    opened = true;
                }
                _ => take(self.scalar()?),
            }
            // Closes what ends here, until a comma asks for one more value.
            loop {
                let Some(object) = open.innermost() else {
                    return Ok(());
                };
                self.space();
                let closing = if object { b'}' } else { b']' };
                if self.peek() == Some(closing) {
                    self.at += 1;
                    open.pop();
                    take(if object {
                        Token::ObjectEnd
                    } else {
                        Token::ArrayEnd
                    });
                    opened = false;
                    continue;
                }
                if !opened {
                    self.expect(b',', "a comma or a closing bracket follows a value")?;
                }
                if object {
                    self.space();
                    take(Token::Name(self.string("a member starts with its name")?));
                    self.space();
                    self.expect(b':', "a colon follows the name of a member")?;
                }
                break;
            }
        }
    }

    fn scalar(&mut self) -> Result<Token<'a>, DecodeError> {
        match self.peek() {
            Some(b'"') => self.string("").map(Token::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, token) in [
                    ("null", Token::Null),
                    ("true", Token::Bool(true)),
                    ("false", Token::Bool(false)),
                ] {
                    if self.bytes[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(token);
                    }
                }
                Err(self.fault("here should be a value"))
            }
        }
    }

    fn number(&mut self) -> Result<Token<'a>, DecodeError> {
        let start = self.at;
        self.skip(b'-');
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("a minus is followed by a digit")?;
        }
        let whole = self.at;
        if self.skip(b'.') {
            self.digits("a point is followed by a digit")?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits("an exponent has a digit")?;
        }
        let text = &self.text[start..self.at];
        if self.at == whole {
            return Ok(Token::Integer(text));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Float(text, value)),
            _ => Err(DecodeError::Json {
                offset: start,
                rule: "a float is no larger than a double can be",
            }),
        }
    }

    fn digits(&mut self, rule: &'static str) -> Result<(), DecodeError> {
        let digits = self.bytes[self.at..].iter();
        let count = digits.take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fault(rule));
        }
        self.at += count;
        Ok(())
    }

    /// A string, without its quotes.
    fn string(&mut self, rule: &'static str) -> Result<&'a str, DecodeError> {
        self.expect(b'"', rule)?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest
                .iter()
                .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
            self.at += plain.count();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a string has no control character")),
                None => return Err(self.fault("a string ends with a quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.fault("four hexadecimal digits follow `\\u`"));
                }
                self.at += 6;
            }
            _ => return Err(self.fault("a backslash starts an escape of JSON")),
        }
        Ok(())
    }

    fn space(&mut self) {
        let rest = self.bytes[self.at..].iter();
        self.at += rest
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, rule: &'static str) -> Result<(), DecodeError> {
        if self.skip(byte) {
            return Ok(());
        }
        Err(self.fault(rule))
    }

    fn fault(&self, rule: &'static str) -> DecodeError {
        DecodeError::Json {
            offset: self.at,
            rule,
        }
    }
}

/// The brackets that are open, each one bit.
#[derive(Default)]
struct Open {
    bits: [u64; DEPTH_LIMIT / 64],
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool, offset: usize) -> Result<(), DecodeError> {
        if self.depth == DEPTH_LIMIT {
            return Err(DecodeError::Depth {
                limit: DEPTH_LIMIT,
                offset,
            });
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.bits[self.depth / 64];
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    /// Whether the innermost one is an object; `None` if nothing is open.
    fn innermost(&self) -> Option<bool> {
        let place = self.depth.checked_sub(1)?;
        Some(self.bits[place / 64] >> (place % 64) & 1 == 1)
    }
}

/// The deepest nesting; values that deep are built and dropped on the stack of any thread.
const DEPTH_LIMIT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token<'_>>, DecodeError> {
        let mut found = Vec::new();
        read(text, &mut |token| found.push(token))?;
        Ok(found)
    }

    #[test]
    fn pieces_come_in_order() {
        let found = tokens(" {\"a\" : [ 1 , 2.5 ] , \"\\u00e9\":{},\"c\":[]}\n").unwrap();
        assert_eq!(
            found,
            [
                Token::ObjectStart,
                Token::Name("a"),
                Token::ArrayStart,
                Token::Integer("1"),
                Token::Float("2.5", 2.5),
                Token::ArrayEnd,
                Token::Name("\\u00e9"),
                Token::ObjectStart,
                Token::ObjectEnd,
                Token::Name("c"),
                Token::ArrayStart,
                Token::ArrayEnd,
                Token::ObjectEnd,
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "\u{feff}1",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e400",
            "[1,]",
            "[,1]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "'x'",
            "01",
            "-",
            "-a",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "nul",
            "\"",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123",
            "[",
            "]",
            "[}",
            "{]",
            "1 2",
            "[1 2]",
            "[]]",
            "\u{a0}1",
            "tru",
            "[\"a\"",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(tokens(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_cut_of_a_text_is_refused() {
        let text = "{\"a\": [1, -2.5e3, null], \"b\\n\\u00e9\": {\"c\": \"\u{1f600}\"}}";
        assert!(tokens(text).is_ok());
        for (end, _) in text.char_indices() {
            assert!(tokens(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(tokens(&nested(DEPTH_LIMIT)).is_ok());
        assert_eq!(
            tokens(&nested(DEPTH_LIMIT + 2)),
            Err(DecodeError::Depth {
                limit: DEPTH_LIMIT,
                offset: DEPTH_LIMIT * 3
            })
        );
        assert!(tokens(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn integers_have_any_size() {
        let digits = "9".repeat(10_000);
        assert_eq!(tokens(&digits).unwrap(), [Token::Integer(&digits)]);
    }
}
