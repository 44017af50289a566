//! When two pieces of JSON data are equal, as Python sees it: by number, whatever the kind of number.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Whether two pieces of data are equal; integers, floats and booleans by their exact numbers.
pub(super) fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| is_equal(a, b)))
        }
        _ => match (exact(a), exact(b)) {
            (Some(a), Some(b)) => a.is_equal(&b),
            _ => false,
        },
    }
}

/// A number without loss.
enum Exact<'a> {
    Integer(Cow<'a, str>),
    Float(f64),
}

impl Exact<'_> {
    fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Integer(integer), Self::Float(float))
            | (Self::Float(float), Self::Integer(integer)) => {
                // The digits of a whole float are written in full; they are exact.
                float.is_finite()
                    && float.trunc() == *float
                    && without_sign_of_zero(&format!("{float:.0}")) == integer.as_ref()
            }
        }
    }
}

fn exact(value: &Value) -> Option<Exact<'_>> {
    match value {
        Value::Bool(yes) => Some(Exact::Integer(Cow::Borrowed(if *yes { "1" } else { "0" }))),
        Value::Number(number) => Some(exact_number(number)),
        _ => None,
    }
}

fn exact_number(number: &Number) -> Exact<'_> {
    let text = number.as_str();
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        // The grammar of JSON is a part of what `f64` parses; beyond its range it gives infinity, as Python does.
        Exact::Float(text.parse().unwrap_or(f64::NAN))
    } else {
        Exact::Integer(Cow::Borrowed(without_sign_of_zero(text)))
    }
}

fn without_sign_of_zero(digits: &str) -> &str {
    if digits == "-0" { "0" } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_value_whatever_their_kind() {
        for (a, b) in [
            ("1", "1.0"),
            ("1", "true"),
            ("0", "false"),
            ("-0", "0"),
            ("0", "-0.0"),
            ("1.0", "true"),
            ("1e2", "100"),
            ("[1, {\"a\": true}]", "[1.0, {\"a\": 1}]"),
            ("{\"a\": 1, \"b\": 2}", "{\"b\": 2.0, \"a\": 1}"),
            ("100000000000000000000", "1e20"),
            ("9007199254740993", "9007199254740993"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("0.1", "1e-1"),
        ] {
            assert!(equal(a, b), "{a} {b}");
            assert!(equal(b, a), "{b} {a}");
        }
    }

    #[test]
    fn other_numbers_and_other_types_are_not_equal() {
        for (a, b) in [
            ("9007199254740993", "9007199254740992.0"),
            ("1", "1.5"),
            ("1", "\"1\""),
            ("0", "null"),
            ("[]", "{}"),
            ("[1]", "[1, 1]"),
            ("{\"a\": null}", "{\"b\": null}"),
            ("true", "\"true\""),
            ("1e400", "100"),
            ("\"a\"", "\"b\""),
        ] {
            assert!(!equal(a, b), "{a} {b}");
            assert!(!equal(b, a), "{b} {a}");
        }
    }

    fn equal(a: &str, b: &str) -> bool {
        is_equal(
            &serde_json::from_str(a).unwrap(),
            &serde_json::from_str(b).unwrap(),
        )
    }
}
