//! Tags and blocks as JSON; the form is that of tests/vectors/constellation/README.md.

use std::fmt::Write;

use acqbus::cdtp::{RecordView, Tags, Timestamp, Value};
use serde_json::{Value as Json, json};

use crate::{Failure, list, number, text};

/// The pairs of a map.
pub(crate) fn pairs(tags: &Tags) -> Json {
    tags.iter()
        .map(|(key, value)| json!([key, form(value)]))
        .collect()
}

pub(crate) fn tags(pairs: &Json) -> Result<Tags, Failure> {
    let mut tags = Tags::new();
    for pair in pairs.as_array().ok_or("tags are no list")? {
        let key = pair[0].as_str().ok_or("a key is no text")?;
        tags.insert(key, value(&pair[1])?);
    }
    Ok(tags)
}

/// A record with the blocks as text.
pub(crate) fn record(record: &RecordView<'_>) -> Json {
    json!({
        "seq": record.sequence().to_string(),
        "tags": pairs(&record.tags()),
        "blocks": record.blocks().map(hex).collect::<Vec<_>>(),
    })
}

pub(crate) fn blocks(order: &Json) -> Result<Vec<Vec<u8>>, Failure> {
    let texts = list(order, "blocks")?.iter();
    texts
        .map(|block| bytes(block.as_str().ok_or("a block is no text")?))
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn bytes(hex: &str) -> Result<Vec<u8>, Failure> {
    (0..hex.len())
        .step_by(2)
        .map(|at| {
            Ok(u8::from_str_radix(
                hex.get(at..at + 2).ok_or("half a byte")?,
                16,
            )?)
        })
        .collect()
}

fn form(value: &Value) -> Json {
    match value {
        Value::Nil => json!({"t": "nil"}),
        Value::Bool(value) => json!({"t": "bool", "v": value}),
        Value::Int(value) => json!({"t": "int", "v": value.to_string()}),
        Value::Uint(value) => json!({"t": "int", "v": value.to_string()}),
        Value::Float(value) => json!({"t": "float", "v": hex(&value.to_be_bytes())}),
        Value::Str(value) => json!({"t": "str", "v": value}),
        Value::Bin(value) => json!({"t": "bin", "v": hex(value)}),
        Value::Time(time) => {
            json!({"t": "time", "s": time.seconds().to_string(), "ns": time.nanoseconds()})
        }
        Value::Array(items) => {
            json!({"t": "array", "v": items.iter().map(form).collect::<Vec<_>>()})
        }
        Value::Map(map) => json!({"t": "map", "v": pairs(map)}),
        Value::Ext { code, data } => json!({"t": "ext", "code": code, "v": hex(data)}),
        other => json!({"t": "unknown", "v": format!("{other:?}")}),
    }
}

fn value(form: &Json) -> Result<Value, Failure> {
    Ok(match text(form, "t")? {
        "nil" => Value::Nil,
        "bool" => Value::Bool(form["v"].as_bool().ok_or("no bool")?),
        "int" => match text(form, "v")?.parse() {
            Ok(small) => Value::Int(small),
            Err(_) => Value::Uint(text(form, "v")?.parse()?),
        },
        "float" => {
            let bits = u64::from_str_radix(text(form, "v")?, 16)?;
            Value::Float(f64::from_bits(bits))
        }
        "str" => Value::Str(text(form, "v")?.into()),
        "bin" => Value::Bin(bytes(text(form, "v")?)?),
        "time" => {
            let nanoseconds = u32::try_from(number(form, "ns")?)?;
            Value::Time(Timestamp::new(text(form, "s")?.parse()?, nanoseconds)?)
        }
        "array" => {
            let items = list(form, "v")?.iter().map(value);
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        "map" => Value::Map(tags(&form["v"])?),
        "ext" => Value::Ext {
            code: i8::try_from(form["code"].as_i64().ok_or("no code")?)?,
            data: bytes(text(form, "v")?)?,
        },
        other => return Err(format!("no such kind: {other}").into()),
    })
}
