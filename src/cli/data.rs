//! Data as people type them at a prompt: JSON, or `member=value` words.

use serde_json::{Map, Value};

use crate::cli::exit::Failure;

/// Reads all of a text as data: a JSON value, or members, or null where there is nothing.
pub(crate) fn data(text: &str) -> Result<Value, Failure> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Ok(Value::Null);
    }
    if let Some(quoted) = rest
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return whole_json(quoted);
    }
    let mut members = Map::new();
    while let Some((name, value, behind)) = member(rest)? {
        members.insert(name, value);
        rest = behind;
    }
    if members.is_empty() {
        return whole_json(rest);
    }
    if rest.is_empty() {
        Ok(Value::Object(members))
    } else {
        Err(not_json(rest, "no member=value"))
    }
}

/// The `member=value` at the start of a text, and what is behind it.
///
/// The value is JSON, or a bare word as a string.
pub(crate) fn member(text: &str) -> Result<Option<(String, Value, &str)>, Failure> {
    let (word, behind) = split_word(text);
    let Some((name, bare)) = word.split_once('=') else {
        return Ok(None);
    };
    if name.is_empty() || starts_json(name) {
        return Ok(None);
    }
    let value = &text.trim_start()[name.len() + 1..];
    if starts_json(value) {
        let (value, behind) = first_json(value)?;
        return Ok(Some((name.to_owned(), value, behind)));
    }
    let value = serde_json::from_str(bare).unwrap_or_else(|_| Value::String(bare.to_owned()));
    Ok(Some((name.to_owned(), value, behind)))
}

/// Reads all of a text as one JSON value.
pub(crate) fn whole_json(text: &str) -> Result<Value, Failure> {
    let (value, behind) = first_json(text)?;
    if behind.is_empty() {
        Ok(value)
    } else {
        Err(not_json(text, "more follows the first value"))
    }
}

/// Reads the JSON value at the start of a text, and gives what is behind it.
pub(crate) fn first_json(text: &str) -> Result<(Value, &str), Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match stream.next() {
        Some(Ok(value)) => {
            let end = stream.byte_offset();
            Ok((value, text[end..].trim_start()))
        }
        Some(Err(error)) => Err(not_json(text, &error.to_string())),
        None => Err(not_json(text, "it is empty")),
    }
}

/// Whether a text can only go on as JSON.
pub(crate) fn starts_json(text: &str) -> bool {
    text.starts_with(['{', '[', '"', '\''])
}

/// The first word, and what is behind it without white space in front.
pub(crate) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn not_json(text: &str, why: &str) -> Failure {
    Failure::usage(format!("`{text}` is not JSON: {why}"))
        .with_hint("{\"enabled\": true}, or member=value")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_are_json_or_members() {
        for (text, value) in [
            ("", json!(null)),
            ("  5 ", json!(5)),
            ("{\"a\": 1}", json!({"a": 1})),
            ("'{\"a\": 1}'", json!({"a": 1})),
            ("a=1 b=x c=[1, 2]", json!({"a": 1, "b": "x", "c": [1, 2]})),
            ("url=a=b", json!({"url": "a=b"})),
        ] {
            assert_eq!(data(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn half_data_are_refused() {
        for text in ["{", "a=1 b", "a={", "word", "1 2", "'{}"] {
            assert!(data(text).is_err(), "{text}");
        }
    }
}
