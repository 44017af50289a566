//! Writes JSON text as hat-event writes it: Python's default form.

use indexmap::IndexMap;

use super::read::Token;

/// Takes the pieces of one text.
#[derive(Default)]
pub(super) struct Writer {
    open: Vec<Part>,
    done: String,
}

enum Part {
    Array(Vec<String>),
    /// Members by their written names, and the name of the next one. A name that comes again keeps its first place.
    Object(IndexMap<String, String>, String),
}

impl Writer {
    pub(super) fn take(&mut self, token: Token<'_>) {
        let written = match token {
            Token::Null => "null".to_owned(),
            Token::Bool(value) => value.to_string(),
            // Python has no negative zero among its integers.
            Token::Integer("-0") => "0".to_owned(),
            Token::Integer(text) => text.to_owned(),
            Token::Float(_, value) => float(value),
            Token::String(raw) => string(raw),
            Token::ArrayStart => return self.open.push(Part::Array(Vec::new())),
            Token::ObjectStart => {
                return self.open.push(Part::Object(IndexMap::new(), String::new()));
            }
            Token::Name(raw) => {
                if let Some(Part::Object(_, name)) = self.open.last_mut() {
                    *name = string(raw);
                }
                return;
            }
            Token::ArrayEnd | Token::ObjectEnd => match self.open.pop() {
                Some(Part::Array(items)) => format!("[{}]", items.join(", ")),
                Some(Part::Object(members, _)) => object(&members),
                None => return,
            },
        };
        match self.open.last_mut() {
            None => self.done = written,
            Some(Part::Array(items)) => items.push(written),
            Some(Part::Object(members, name)) => {
                members.insert(std::mem::take(name), written);
            }
        }
    }

    pub(super) fn finish(self) -> String {
        self.done
    }
}

/// The UTF-16 units that the text of a checked string stands for.
pub(super) fn unescape(raw: &str) -> impl Iterator<Item = u16> {
    let mut chars = raw.chars();
    let mut low = None;
    std::iter::from_fn(move || {
        if let Some(unit) = low.take() {
            return Some(unit);
        }
        let own = chars.next()?;
        let meant = match own {
            '\\' => match chars.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = chars.as_str().get(..4)?;
                    chars = chars.as_str()[4..].chars();
                    return u16::from_str_radix(digits, 16).ok();
                }
                other => other,
            },
            other => other,
        };
        let mut units = [0; 2];
        match *meant.encode_utf16(&mut units) {
            [first, second] => {
                low = Some(second);
                Some(first)
            }
            [first, ..] => Some(first),
            [] => None,
        }
    })
}

/// A string with its quotes, in ASCII.
fn string(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len() + 2);
    out.push('"');
    for unit in unescape(raw) {
        match unit {
            0x22 => out.push_str("\\\""),
            0x5c => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            0x0a => out.push_str("\\n"),
            0x0d => out.push_str("\\r"),
            0x09 => out.push_str("\\t"),
            0x20..0x7f => out.push(char::from(unit as u8)),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out.push('"');
    out
}

fn object(members: &IndexMap<String, String>) -> String {
    let mut out = String::from("{");
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
    }
    out.push('}');
    out
}

/// A finite float with the fewest digits that read back equal, laid out as Python does.
fn float(value: f64) -> String {
    let mut buffer = ryu::Buffer::new();
    let shortest = buffer.format_finite(value);
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return shortest.to_owned();
    }
    // Python's exponent follows one digit, and has a sign and two digits at least.
    let (sign, shortest) = match shortest.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", shortest),
    };
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    let point = whole.len() as i32 - zeros as i32;
    let exponent = exponent.parse::<i32>().unwrap_or(0) + point - 1;
    let digits = digits.trim_end_matches('0');
    let (first, rest) = digits.split_at(digits.len().min(1));
    let dot = if rest.is_empty() { "" } else { "." };
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{dot}{rest}e{direction}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results of Python 3.11's `repr`.
    #[test]
    fn floats_are_laid_out_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1e5, "100000.0"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.5e16, "-1.5e+16"),
            (12_345_678_901_234_567_890.0, "1.2345678901234567e+19"),
            (1e100, "1e+100"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (2.225_073_858_507_201_4e-308, "2.2250738585072014e-308"),
        ] {
            assert_eq!(float(value), text);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_name_that_comes_again_keeps_its_place_and_takes_the_last_value() {
        let json = crate::event::Json::new(r#"{"a":1,"b":2,"\u0061":3,"\ud83d":4,"\uD83D":5}"#);
        assert_eq!(
            json.unwrap().normalised(),
            r#"{"a": 3, "b": 2, "\ud83d": 5}"#
        );
    }
}
