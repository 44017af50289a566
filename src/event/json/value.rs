//! Builds a value from the pieces of a JSON text.

use serde_json::{Map, Value};

use super::normal::unescape;
use super::read::Token;

/// Takes the pieces of one text.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Part>,
    done: Value,
}

enum Part {
    Array(Vec<Value>),
    Object(Map<String, Value>, String),
}

impl Builder {
    pub(super) fn take(&mut self, token: Token<'_>) {
        let value = match token {
            Token::Null => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Integer(text) | Token::Float(text, _) => {
                // The text is that of a JSON number.
                text.parse().map_or(Value::Null, Value::Number)
            }
            Token::String(raw) => Value::String(text(raw)),
            Token::ArrayStart => return self.open.push(Part::Array(Vec::new())),
            Token::ObjectStart => {
                return self.open.push(Part::Object(Map::new(), String::new()));
            }
            Token::Name(raw) => {
                if let Some(Part::Object(_, name)) = self.open.last_mut() {
                    *name = text(raw);
                }
                return;
            }
            Token::ArrayEnd | Token::ObjectEnd => match self.open.pop() {
                Some(Part::Array(items)) => Value::Array(items),
                Some(Part::Object(members, _)) => Value::Object(members),
                None => Value::Null,
            },
        };
        match self.open.last_mut() {
            None => self.done = value,
            Some(Part::Array(items)) => items.push(value),
            Some(Part::Object(members, name)) => {
                members.insert(std::mem::take(name), value);
            }
        }
    }

    pub(super) fn finish(self) -> Value {
        self.done
    }
}

/// The text that a string stands for.
fn text(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let units: Vec<u16> = unescape(raw).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::event::Json;

    #[test]
    fn values_are_those_of_serde_json() {
        for text in [
            "null",
            "[true, false, [], {}, {\"a\": {\"b\": [1]}}]",
            "{\"a\": 1, \"b\": 2, \"a\": 3}",
            "[1.50, -0, 1e5, 123456789012345678901234567890]",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\u{e9}\\ud83d\\ude00\"",
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(Json::new(text).unwrap().to_value(), expected);
        }
    }

    #[test]
    fn half_a_pair_becomes_a_replacement_character() {
        let value = Json::new(r#"["\ud83d", "\udE00x", "\ud83d\ud83d\ude00"]"#).unwrap();
        assert_eq!(
            value.to_value(),
            json!(["\u{fffd}", "\u{fffd}x", "\u{fffd}\u{1f600}"])
        );
    }
}
