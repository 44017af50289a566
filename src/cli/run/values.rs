//! Tags as people type them and as JSON shows them.

use serde_json::{Number, json};

use crate::cdtp::{Tags, Timestamp, Value};
use crate::cli::data;
use crate::cli::print;

/// Reads a tag as people type it: `key=value`, the value as JSON or a bare word.
pub(super) fn tag(text: &str) -> Result<(String, Value), String> {
    let wrong = || "not key=value, such as voltage=12.5 or note=\"first light\"".to_owned();
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let key = key.trim();
    if key.is_empty() {
        return Err(wrong());
    }
    let value = if data::starts_json(value) {
        data::whole_json(value).map_err(|failure| failure.to_string())?
    } else {
        serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value))
    };
    Ok((key.to_owned(), value_of(value)?))
}

/// Tags as a JSON object, in their order.
///
/// What JSON has no form for becomes an object with one member: `{"bytes": hexadecimal}`, `{"time": RFC 3339}`,
/// `{"ext": code, "bytes": ..}`, and `{"float": "NaN"}`.
pub(super) fn object(tags: &Tags) -> serde_json::Value {
    let members = tags
        .iter()
        .map(|(key, value)| (key.to_owned(), json_of(value)));
    serde_json::Value::Object(members.collect())
}

/// Tags as people read them, on one line without control characters.
pub(super) fn line(tags: &Tags) -> String {
    let words = tags
        .iter()
        .map(|(key, value)| format!("{key}={}", json_of(value)));
    print::harmless(&words.collect::<Vec<_>>().join(" "))
}

/// A moment as RFC 3339 has it, in UTC.
pub(super) fn time(when: Timestamp) -> String {
    print::rfc_3339(when.seconds(), when.nanoseconds())
}

fn value_of(value: serde_json::Value) -> Result<Value, String> {
    use serde_json::Value as Json;
    Ok(match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => number_of(&number)?,
        Json::String(text) => Value::Str(text),
        Json::Array(items) => {
            Value::Array(items.into_iter().map(value_of).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => {
            let mut tags = Tags::new();
            for (key, value) in members {
                tags.insert(key, value_of(value)?);
            }
            Value::Map(tags)
        }
    })
}

fn number_of(number: &Number) -> Result<Value, String> {
    if let Some(number) = number.as_i64() {
        Ok(Value::Int(number))
    } else if let Some(number) = number.as_u64() {
        Ok(Value::Uint(number))
    } else {
        let float = number.as_f64().filter(|float| float.is_finite());
        float
            .map(Value::Float)
            .ok_or_else(|| format!("the number {number} is too large"))
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Int(number) => json!(number),
        Value::Uint(number) => json!(number),
        Value::Float(float) => Number::from_f64(*float).map_or_else(
            || json!({"float": float.to_string()}),
            serde_json::Value::Number,
        ),
        Value::Str(text) => json!(text),
        Value::Bin(bytes) => json!({"bytes": hexadecimal(bytes)}),
        Value::Time(when) => json!({"time": time(*when)}),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(tags) => object(tags),
        Value::Ext { code, data } => json!({"ext": code, "bytes": hexadecimal(data)}),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_typed_as_json_or_bare_words() {
        for (text, key, value) in [
            ("a=1", "a", Value::Int(1)),
            ("a=-2.5", "a", Value::Float(-2.5)),
            ("a=18446744073709551615", "a", Value::Uint(u64::MAX)),
            ("a=true", "a", Value::Bool(true)),
            ("a=null", "a", Value::Nil),
            ("a=first light", "a", Value::Str("first light".to_owned())),
            ("a=\"12\"", "a", Value::Str("12".to_owned())),
            ("a=", "a", Value::Str(String::new())),
            ("url=x=y", "url", Value::Str("x=y".to_owned())),
            (
                "a=[1, \"b\"]",
                "a",
                Value::Array(vec![Value::Int(1), Value::Str("b".to_owned())]),
            ),
            (
                "a={\"b\": {\"c\": 1}}",
                "a",
                Value::Map(Tags::new().with("b", Value::Map(Tags::new().with("c", Value::Int(1))))),
            ),
        ] {
            assert_eq!(tag(text), Ok((key.to_owned(), value)), "{text}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for text in ["", "a", "=1", " =1", "a={", "a=[1] 2", "a=[1e999]"] {
            assert!(tag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_kind_of_value_has_a_form_in_json() {
        let tags = Tags::new()
            .with("nil", Value::Nil)
            .with("big", Value::Uint(u64::MAX))
            .with("float", Value::Float(0.5))
            .with("nan", Value::Float(f64::NAN))
            .with("bin", Value::Bin(vec![0, 255]))
            .with(
                "ext",
                Value::Ext {
                    code: 5,
                    data: vec![1],
                },
            )
            .with("list", Value::Array(vec![Value::Bool(true)]));
        assert_eq!(
            object(&tags).to_string(),
            "{\"nil\":null,\"big\":18446744073709551615,\"float\":0.5,\"nan\":{\"float\":\"NaN\"},\
             \"bin\":{\"bytes\":\"00ff\"},\"ext\":{\"ext\":5,\"bytes\":\"01\"},\"list\":[true]}"
        );
    }

    #[test]
    fn text_of_a_peer_cannot_command_the_terminal() {
        let tags = Tags::new().with("a\x1b[2J", Value::Str("b".to_owned()));
        assert_eq!(line(&tags), "a\\u{1b}[2J=\"b\"");
    }
}
