//! MessagePack written in its shortest form.

use crate::cdtp::encoding::Encoding;
use crate::cdtp::msgpack::time;
use crate::cdtp::tags::Tags;
use crate::cdtp::value::Value;

/// Tags as a map: in their order, or with keys sorted by their bytes.
pub(in crate::cdtp) fn write_tags(out: &mut Vec<u8>, tags: &Tags, encoding: Encoding) {
    write_head(out, tags.len(), 0x80, 16, &[(0xde, 2), (0xdf, 4)]);
    match encoding {
        Encoding::Compact => {
            for (key, value) in tags.iter() {
                write_str(out, key);
                write_value(out, value, encoding);
            }
        }
        Encoding::Cxx => {
            let mut entries: Vec<_> = tags.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                write_str(out, key);
                write_value(out, value, encoding);
            }
        }
    }
}

/// One value.
pub(in crate::cdtp) fn write_value(out: &mut Vec<u8>, value: &Value, encoding: Encoding) {
    match value {
        Value::Nil => out.push(0xc0),
        Value::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Value::Int(value) => write_int(out, *value),
        Value::Uint(value) => write_uint(out, *value),
        Value::Float(value) => match integral(*value) {
            Some(value) if encoding == Encoding::Cxx => write_int(out, value),
            _ => write_float(out, *value),
        },
        Value::Str(value) => write_str(out, value),
        Value::Bin(value) => write_bin(out, value),
        Value::Time(value) => time::write(out, *value),
        Value::Array(values) => {
            write_array_head(out, values.len());
            let floats = has_integral_float_first(values);
            for value in values {
                match value {
                    Value::Float(value) if floats => write_float(out, *value),
                    value => write_value(out, value, encoding),
                }
            }
        }
        Value::Map(tags) => write_tags(out, tags, encoding),
        Value::Ext { code, data } => {
            match data.len() {
                length @ (1 | 2 | 4 | 8 | 16) => out.push(0xd4 + length.trailing_zeros() as u8),
                length => write_head(out, length, 0, 0, &[(0xc7, 1), (0xc8, 2), (0xc9, 4)]),
            }
            out.push(*code as u8);
            out.extend_from_slice(data);
        }
    }
}

/// A number of double precision.
fn write_float(out: &mut Vec<u8>, value: f64) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_bits().to_be_bytes());
}

/// The integer that a float is, if it is one that C++ holds; C++ writes such a float as an integer.
///
/// From 2⁶³ on C++ writes integers that its own receivers cannot hold; such a float stays a float (*ours*).
fn integral(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let holds = (-BEYOND..BEYOND).contains(&value) && value.trunc() == value;
    holds.then_some(value as i64)
}

/// Whether the first of an array would be written as an integer by C++, and another stay a float.
///
/// A C++ receiver takes the first for the kind of all, and fails on such an array; so all stay floats (*ours*).
fn has_integral_float_first(values: &[Value]) -> bool {
    let stays = |value: &Value| matches!(value, Value::Float(value) if integral(*value).is_none());
    matches!(values.first(), Some(Value::Float(first)) if integral(*first).is_some())
        && values.iter().any(stays)
}

/// An integer, in an unsigned form unless it is negative.
fn write_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        write_uint(out, value);
    } else if value >= -32 {
        out.push(value as u8);
    } else if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[0xd0, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// An integer that is not negative.
pub(in crate::cdtp) fn write_uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[0xcc, value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Text.
pub(in crate::cdtp) fn write_str(out: &mut Vec<u8>, text: &str) {
    write_head(
        out,
        text.len(),
        0xa0,
        32,
        &[(0xd9, 1), (0xda, 2), (0xdb, 4)],
    );
    out.extend_from_slice(text.as_bytes());
}

/// Bytes.
pub(in crate::cdtp) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, bytes.len(), 0, 0, &[(0xc4, 1), (0xc5, 2), (0xc6, 4)]);
    out.extend_from_slice(bytes);
}

/// What stands before the values of an array.
pub(in crate::cdtp) fn write_array_head(out: &mut Vec<u8>, length: usize) {
    write_head(out, length, 0x90, 16, &[(0xdc, 2), (0xdd, 4)]);
}

/// A length, in the first byte where it is below `short`, else behind the first of `forms` that is wide enough.
///
/// MessagePack has no form for a length of more than 32 bits: whoever writes has asked `fit` before.
fn write_head(out: &mut Vec<u8>, length: usize, base: u8, short: usize, forms: &[(u8, usize)]) {
    if length < short {
        out.push(base | length as u8);
        return;
    }
    debug_assert!(u32::try_from(length).is_ok(), "unchecked: {length}");
    let wide = length as u32;
    for (byte, width) in forms {
        if *width == 4 || wide >> (8 * width) == 0 {
            out.push(*byte);
            out.extend_from_slice(&wide.to_be_bytes()[4 - width..]);
            return;
        }
    }
}
