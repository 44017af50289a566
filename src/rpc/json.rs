//! JSON as the peers write it, and a strict reader.
//!
//! The text is Python's default form: `", "` between items, `": "` after keys, everything outside ASCII escaped,
//! floats as `repr` gives them. NaN and infinities become `null`; integers of any size keep their digits.

mod float;
mod object;
mod part;
mod read;
mod text;
mod writer;

use serde::Serialize;
use serde_json::Value;

use crate::rpc::error::RpcError;
use crate::wire::DecodeError;

use self::writer::Writer;

/// What a written JSON text looks like at its top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Whether it is an object.
    pub object: bool,
    /// Whether it is an object with a member called `epoch` or `sequence`.
    pub reserved: bool,
}

/// The deepest nesting that [`parse`] follows, whatever limit it is given: its stack is bounded.
pub const DEPTH_CEILING: usize = 256;

/// Appends a value to `out` as JSON text, with the keys of every object in camelCase.
///
/// Values are never touched. Keys of one object that become equal give one member: the later value at the place of
/// the first. Keys that are not strings: integers stay as they are, `None` becomes the empty key, booleans and floats
/// go through Python's text form. Enums take serde's usual form. Already written JSON
/// ([`serde_json::value::RawValue`]) passes as it is. After an error `out` is as before.
///
/// # Errors
/// [`RpcError::Serialize`] for bytes, for a key that is neither a string nor a number, and for whatever the
/// value's own `Serialize` refuses.
///
/// # Examples
/// ```
/// use acqbus::rpc::json;
///
/// let mut out = Vec::new();
/// let shape = json::to_camel_json(&serde_json::json!({"session_id": "M_1", "x": 1e-5}), &mut out)?;
/// assert_eq!(out, br#"{"sessionId": "M_1", "x": 1e-05}"#);
/// assert!(shape.object && !shape.reserved);
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
pub fn to_camel_json<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<Shape, RpcError> {
    write(value, true, out)
}

/// Appends a value to `out` as JSON text, as [`to_camel_json`] does, with its keys as they are.
///
/// Keys that are not strings take the form of Python's `json`: `null`, `true`, `1.5`.
///
/// # Errors
/// As [`to_camel_json`].
pub fn to_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Shape, RpcError> {
    write(value, false, out)
}

/// Appends a text to `out` as a JSON string in ASCII.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    text::write_string(text, out);
}

/// The JSON text without the white space outside strings.
///
/// Text that is not JSON loses what would be white space if it were.
pub fn compact(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for &byte in text {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

/// Refuses text whose arrays and objects nest deeper than `limit`, without parsing it.
///
/// A number or string alone has depth 0, `[]` has depth 1. One pass, no allocation.
///
/// # Errors
/// [`DecodeError::Depth`] with the bracket that goes too deep.
pub fn check_depth(text: &[u8], limit: usize) -> Result<(), DecodeError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (offset, &byte) in text.iter().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return Err(DecodeError::Depth { limit, offset });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Parses JSON text (RFC 8259, UTF-8) that nests at most `depth_limit` levels.
///
/// A limit above [`DEPTH_CEILING`] counts as that. The depth is checked before anything is built. Numbers keep their
/// digits. Of members with the same key the last one counts, at the place of the first. A lone surrogate, which Rust's
/// strings cannot hold, becomes U+FFFD (*ours*).
///
/// # Errors
/// [`DecodeError::Empty`], [`DecodeError::ByteOrderMark`], [`DecodeError::Utf8`], [`DecodeError::Depth`],
/// [`DecodeError::Digits`] for an integer of more than 4300 digits (which Python refuses, too),
/// [`DecodeError::TrailingBytes`], and [`DecodeError::Json`] for everything else.
pub fn parse(text: &[u8], depth_limit: usize) -> Result<Value, DecodeError> {
    check_depth(text, depth_limit.min(DEPTH_CEILING))?;
    read::read(text)
}

/// Appends a JSON value as text, with its keys as they are.
pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) {
    if to_json(value, out).is_err() {
        // Never: a `Value` holds nothing that JSON cannot. Null keeps the text around it whole.
        out.extend_from_slice(b"null");
    }
}

/// The integer that a JSON value equals, as Python compares: `4e2` is 400, `false` 0 and `true` 1.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(truth) => Some(i64::from(*truth)),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            // Within these bounds the conversion is exact.
            let exact = float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
            exact.then_some(float as i64)
        }),
        _ => None,
    }
}

/// The type of a JSON value, with its article.
pub(crate) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn write<T: Serialize + ?Sized>(
    value: &T,
    camel: bool,
    out: &mut Vec<u8>,
) -> Result<Shape, RpcError> {
    let start = out.len();
    let mut writer = Writer::new(out, camel);
    match value.serialize(&mut writer) {
        Ok(()) => Ok(Shape {
            reserved: writer.has_reserved(),
            object: out.get(start) == Some(&b'{'),
        }),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::ser::SerializeMap;
    use serde_json::value::RawValue;
    use serde_json::{Number, json};

    use super::*;

    fn camel<T: Serialize + ?Sized>(value: &T) -> String {
        let mut out = Vec::new();
        to_camel_json(value, &mut out).expect("serialisable");
        String::from_utf8(out).expect("ASCII")
    }

    /// A map with the keys of any type, in order, also when they are equal.
    struct Pairs<K, V>(Vec<(K, V)>);

    impl<K: Serialize, V: Serialize> Serialize for Pairs<K, V> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for (key, value) in &self.0 {
                map.serialize_entry(key, value)?;
            }
            map.end()
        }
    }

    #[derive(Serialize)]
    enum Form {
        PlainName,
        Holding(u8),
        Pair(u8, u8),
        With { some_field: u8 },
    }

    #[test]
    fn enums_take_serdes_form_with_their_keys_rewritten() {
        let all = [
            Form::PlainName,
            Form::Holding(1),
            Form::Pair(1, 2),
            Form::With { some_field: 3 },
        ];
        assert_eq!(
            camel(&all),
            r#"["PlainName", {"holding": 1}, {"pair": [1, 2]}, {"with": {"someField": 3}}]"#
        );
    }

    #[test]
    fn equal_keys_give_the_later_value_at_the_place_of_the_first() {
        let value = json!({"a_b": {"x_y": 1, "xY": [2, {"c_d": 1, "cD": 2}]}, "k": 0, "aB": 5, "a__b": 6, "z": 7});
        assert_eq!(camel(&value), r#"{"aB": 6, "k": 0, "z": 7}"#);
        let value = json!({"k": {"x_y": 1, "m": 0, "xY": [2, {"c_d": 1, "cD": 2}]}});
        assert_eq!(camel(&value), r#"{"k": {"xY": [2, {"cD": 2}], "m": 0}}"#);
    }

    #[test]
    fn many_members_with_equal_keys_are_rewritten_once() {
        let pairs: Vec<(String, usize)> = (0..2000)
            .flat_map(|n| [(format!("key_a{n}"), n), (format!("keyA{n}"), n + 1)])
            .collect();
        let text = camel(&Pairs(pairs));
        let read = parse(text.as_bytes(), 4).expect("JSON");
        let object = read.as_object().expect("an object");
        assert_eq!(object.len(), 2000);
        assert!(
            object
                .values()
                .enumerate()
                .all(|(n, value)| *value == json!(n + 1))
        );
        assert_eq!(text.matches("keyA7\"").count(), 1);
    }

    #[test]
    fn keys_that_look_alike_stay_apart() {
        let keys = [
            "abcdefgh_1_ijklmnop",
            "abcdefgh_2_ijklmnop",
            "abcdefgh_3_ijklmnop",
        ];
        let pairs = keys.iter().map(|key| (key, 1)).collect();
        assert_eq!(
            camel(&Pairs(pairs)),
            r#"{"abcdefgh1Ijklmnop": 1, "abcdefgh2Ijklmnop": 1, "abcdefgh3Ijklmnop": 1}"#
        );
    }

    #[test]
    fn keys_of_other_types_take_pythons_text_form() {
        assert_eq!(
            camel(&BTreeMap::from([(-1, 0), (2, 1)])),
            r#"{"-1": 0, "2": 1}"#
        );
        assert_eq!(
            camel(&Pairs(vec![(None, 0), (Some("a_b"), 1)])),
            r#"{"": 0, "aB": 1}"#
        );
        assert_eq!(
            camel(&Pairs(vec![(true, 0), (false, 1)])),
            r#"{"true": 0, "false": 1}"#
        );
        assert_eq!(
            camel(&Pairs(vec![(1.5, 0), (1e-5, 1)])),
            r#"{"1.5": 0, "1e05": 1}"#
        );
        assert_eq!(camel(&Pairs(vec![('x', 0)])), r#"{"x": 0}"#);
        let mut out = Vec::new();
        to_json(&Pairs(vec![(None, 0), (Some(1e-5), 1)]), &mut out).expect("serialisable");
        assert_eq!(out, br#"{"null": 0, "1e-05": 1}"#);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_buffer_as_it_was() {
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(b"x")
            }
        }
        let mut out = b"before".to_vec();
        assert!(to_camel_json(&[1, 2], &mut out).is_ok());
        out.truncate(6);
        assert!(to_camel_json(&(1, Bytes), &mut out).is_err());
        assert!(to_camel_json(&Pairs(vec![(vec![1], 1)]), &mut out).is_err());
        assert_eq!(out, b"before");
    }

    #[test]
    fn numbers_and_raw_json_pass_as_text() {
        let value: Value =
            serde_json::from_str("[123456789012345678901234567890, 1E400, 0.10]").expect("JSON");
        assert_eq!(camel(&value), "[123456789012345678901234567890, null, 0.1]");
        let raw = RawValue::from_string(r#"{"a_b":1}"#.to_owned()).expect("JSON");
        assert_eq!(camel(&[raw]), r#"[{"a_b":1}]"#);
    }

    #[test]
    fn shape_tells_objects_and_reserved_members() {
        let shape = |value: Value| to_camel_json(&value, &mut Vec::new()).expect("serialisable");
        let of = |object, reserved| Shape { object, reserved };
        assert_eq!(shape(json!([{"epoch": 1}])), of(false, false));
        assert_eq!(
            shape(json!({"a": {"epoch": 1, "sequence": 2}})),
            of(true, false)
        );
        assert_eq!(shape(json!({"epoch": 1})), of(true, true));
        assert_eq!(shape(json!({"a": [], "Sequence": 1})), of(true, true));
        assert_eq!(shape(json!("epoch")), of(false, false));
    }

    #[test]
    fn compact_text_keeps_what_stands_in_strings() {
        let text = br#" { "a b" : [ 1 , "c \" d" , "\\" ] , "e" : 1 } "#;
        assert_eq!(compact(text), br#"{"a b":[1,"c \" d","\\"],"e":1}"#);
    }

    #[test]
    fn reader_follows_the_grammar() {
        for (text, value) in [
            ("1", json!(1)),
            (" [ ] ", json!([])),
            ("{}", json!({})),
            (r#"{"a":1,"b":2,"a":3}"#, json!({"a": 3, "b": 2})),
            (r#""\u00e9\ud83d\ude00\n\/""#, json!("\u{e9}\u{1f600}\n/")),
            (r#""\ud800x\udc00""#, json!("\u{fffd}x\u{fffd}")),
            (r#""\ud800\ud83d\ude00""#, json!("\u{fffd}\u{1f600}")),
            ("[true,false,null]", json!([true, false, null])),
            (
                "-0.5e-3",
                "-0.5e-3"
                    .parse::<Number>()
                    .map(Value::Number)
                    .expect("a number"),
            ),
        ] {
            assert_eq!(parse(text.as_bytes(), 8), Ok(value), "{text}");
        }
    }

    #[test]
    fn reader_refuses_what_is_not_json() {
        for text in [
            "{",
            "}",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "tru",
            "nul",
            "NaN",
            "Infinity",
            "-",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "--1",
            "'a'",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u123g\"",
            "\"\\u+123\"",
            "\"a\u{1}b\"",
            "/**/1",
            "\0",
        ] {
            let error = parse(text.as_bytes(), 8).expect_err(text);
            assert!(
                matches!(error, DecodeError::Json { .. }),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let digits = "9".repeat(4301);
        for (text, error) in [
            (&b""[..], DecodeError::Empty),
            (b" \n", DecodeError::Empty),
            (b"\xef\xbb\xbf1", DecodeError::ByteOrderMark),
            (b"\"a\xff\"", DecodeError::Utf8 { offset: 2 }),
            (b"1 x", DecodeError::TrailingBytes { offset: 2 }),
            (
                b"[[[1]]]",
                DecodeError::Depth {
                    limit: 2,
                    offset: 2,
                },
            ),
            (
                digits.as_bytes(),
                DecodeError::Digits {
                    limit: 4300,
                    found: 4301,
                    offset: 0,
                },
            ),
        ] {
            assert_eq!(parse(text, 2), Err(error));
        }
        assert!(parse(&digits.as_bytes()[1..], 2).is_ok());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs_anything() {
        for bracket in ["[", "{\"a\":"] {
            let text = bracket.repeat(100_000);
            let error = parse(text.as_bytes(), usize::MAX).expect_err("too deep");
            assert!(matches!(
                error,
                DecodeError::Depth {
                    limit: DEPTH_CEILING,
                    ..
                }
            ));
        }
        let text = "[".repeat(DEPTH_CEILING) + &"]".repeat(DEPTH_CEILING);
        assert!(parse(text.as_bytes(), usize::MAX).is_ok());
    }
}
