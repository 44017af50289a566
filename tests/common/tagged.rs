//! Python values as the vectors write them, for serde.

use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::unhex;

/// A value of which objects with one `$…` member stand for a Python value that JSON does not have.
pub(crate) struct Tagged<'a>(pub(crate) &'a Value);

impl Serialize for Tagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Tagged)),
            Value::Object(members) => match tag(self.0) {
                Some((tag, value)) => serialize_tagged(tag, value, serializer),
                None => {
                    serializer.collect_map(members.iter().map(|(key, value)| (key, Tagged(value))))
                }
            },
            plain => plain.serialize(serializer),
        }
    }
}

/// Whether a tag stands anywhere in a value.
pub(crate) fn has_tag(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_tag(item, wanted)),
        Value::Object(members) => {
            tag(value).is_some_and(|(tag, _)| tag == wanted)
                || members.values().any(|member| has_tag(member, wanted))
        }
        _ => false,
    }
}

fn tag(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (key, value) = members.iter().next()?;
    key.starts_with('$').then_some((key.as_str(), value))
}

fn serialize_tagged<S: Serializer>(
    tag: &str,
    value: &Value,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = value.as_str().unwrap_or_default();
    match tag {
        "$float" => serializer.serialize_f64(text.parse().expect("a float")),
        "$int" => text
            .parse::<Number>()
            .expect("digits")
            .serialize(serializer),
        "$datetime" => serializer.serialize_f64(value.as_f64().expect("seconds")),
        "$uuid" | "$date" => serializer.serialize_str(text),
        "$tuple" => Tagged(value).serialize(serializer),
        "$set" => Err(S::Error::custom("a set has no JSON form")),
        "$bytes" => serializer.serialize_bytes(&unhex(text)),
        "$str" => serializer.serialize_str(&utf16(text)),
        "$dict" => serialize_dict(value, serializer),
        other => panic!("the tag {other} is not known"),
    }
}

/// In Python 1, 1.0 and true are one key: the first keeps its place and its form, the last gives the value.
fn serialize_dict<S: Serializer>(pairs: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    let mut members: Vec<(&Value, &Value)> = Vec::new();
    for pair in pairs.as_array().expect("pairs") {
        let (key, value) = (&pair[0], &pair[1]);
        match members
            .iter_mut()
            .find(|(earlier, _)| same_key(earlier, key))
        {
            Some(member) => member.1 = value,
            None => members.push((key, value)),
        }
    }
    let mut map = serializer.serialize_map(Some(members.len()))?;
    for (key, value) in members {
        let value = Tagged(value);
        match key {
            Value::Number(number) => match number.as_i64() {
                Some(integer) => map.serialize_entry(&integer, &value)?,
                None => map.serialize_entry(&number.as_f64(), &value)?,
            },
            other => map.serialize_entry(&Tagged(other), &value)?,
        }
    }
    map.end()
}

fn same_key(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        value => value.as_f64(),
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// The text of UTF-16LE in base64; a lone surrogate becomes U+FFFD, as Rust's strings want it.
fn utf16(base64: &str) -> String {
    let sextet = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = base64.trim_end_matches('=').bytes().map(sextet);
    let bits = digits.flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let bytes: Vec<u16> = bits
        .chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u16::from(*bit)))
        .collect();
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| pair[0] | pair[1] << 8)
        .collect();
    String::from_utf16_lossy(&units)
}
