//! The typed values of the vectors, as their README describes them.

use acqbus::cdtp::{Tags, Timestamp, Value};
use serde_json::Value as Json;

use crate::common::{items, text, unhex};

/// The tags of a list of pairs.
pub(crate) fn tags(pairs: &Json) -> Tags {
    let pairs = pairs.as_array().expect("a list of pairs");
    pairs
        .iter()
        .map(|pair| (key(&pair[0]), value(&pair[1])))
        .collect()
}

/// Whether a key is no text.
pub(crate) fn has_bytes_key(pairs: &Json) -> bool {
    let pairs = pairs.as_array().expect("a list of pairs");
    pairs
        .iter()
        .any(|pair| !pair[0].is_string() || nested(&pair[1]))
}

fn nested(value: &Json) -> bool {
    match text(value, "t") {
        "map" => has_bytes_key(&value["v"]),
        "array" => items(value, "v").iter().any(nested),
        _ => false,
    }
}

fn key(key: &Json) -> String {
    match key {
        Json::String(key) => key.clone(),
        bytes => String::from_utf8_lossy(&unhex(text(bytes, "v"))).into_owned(),
    }
}

fn value(typed: &Json) -> Value {
    match text(typed, "t") {
        "nil" => Value::Nil,
        "bool" => typed["v"].as_bool().expect("a truth value").into(),
        "int" => {
            let digits = text(typed, "v");
            match digits.parse() {
                Ok(signed) => Value::Int(signed),
                Err(_) => Value::Uint(digits.parse().expect("an integer of 64 bits")),
            }
        }
        "float" => {
            let bits = u64::from_str_radix(text(typed, "v"), 16).expect("bits of a float");
            Value::Float(f64::from_bits(bits))
        }
        "str" => text(typed, "v").into(),
        "bin" => unhex(text(typed, "v")).into(),
        "time" => {
            let seconds = text(typed, "s").parse().expect("seconds");
            let nanoseconds = typed["ns"].as_u64().expect("nanoseconds");
            Timestamp::new(seconds, nanoseconds.try_into().expect("32 bits"))
                .expect("a time")
                .into()
        }
        "ext" => Value::Ext {
            code: typed["code"]
                .as_i64()
                .and_then(|code| code.try_into().ok())
                .expect("a code"),
            data: unhex(text(typed, "v")),
        },
        "array" => items(typed, "v").iter().map(value).collect(),
        "map" => tags(&typed["v"]).into(),
        other => panic!("no type {other}"),
    }
}
