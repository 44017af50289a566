//! Reading JSON text into a value, without the ways around that `serde_json` keeps for itself.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a text that is one JSON object and nothing else; of members with one name the last counts.
///
/// Deeper than 127 levels is an error.
pub(super) fn read_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = object(&mut deserializer)?;
    deserializer.end()?;
    Ok(members)
}

/// Reads an object from any format.
pub(super) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    match Reader.deserialize(deserializer)? {
        Value::Object(members) => Ok(members),
        _ => Err(D::Error::custom("it is no JSON object")),
    }
}

/// Makes a value of whatever comes.
///
/// `Value` itself takes an object whose first name is one that `serde_json` has for raw text, and parses the text in it anew: a
/// few bytes a level would nest deep enough to overflow the stack.
struct Reader;

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        let mut next = entries.next_key::<String>()?;
        // With `arbitrary_precision` a number comes as an object of this one member.
        if next.as_deref() == Some(NUMBER) {
            let value = entries.next_value_seed(Self)?;
            next = entries.next_key()?;
            if next.is_none()
                && let Value::String(digits) = &value
                && let Ok(number) = digits.parse::<Number>()
            {
                return Ok(Value::Number(number));
            }
            members.insert(NUMBER.to_owned(), value);
        }
        while let Some(name) = next {
            members.insert(name, entries.next_value_seed(Self)?);
            next = entries.next_key()?;
        }
        Ok(Value::Object(members))
    }
}

/// Where `serde_json` with `arbitrary_precision` keeps the digits of a number.
const NUMBER: &str = "$serde_json::private::Number";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_keeps_its_digits() {
        let text = r#"{"a":1.50,"b":[-0,1e+400,123456789012345678901234567890],"c":{"d":0.10}}"#;
        let members = read_object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&members).unwrap(), text);
        // An exponent is written with a small letter and a sign, whatever it came with.
        let members = read_object(br#"{"a":1.0E5}"#).unwrap();
        assert_eq!(members["a"].to_string(), "1.0e+5");
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_one_name_counts() {
        let members = read_object(br#"{"z":1,"a":{"y":null,"b":true},"z":"two"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&members).unwrap(),
            r#"{"z":"two","a":{"y":null,"b":true}}"#
        );
    }

    #[test]
    fn names_that_serde_json_keeps_for_itself_are_names_like_others() {
        let text = r#"{"a":{"$serde_json::private::RawValue":"[[["},"b":{"$serde_json::private::Number":"x"}}"#;
        let members = read_object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&members).unwrap(), text);
        let text = r#"{"$serde_json::private::Number":"1","b":2}"#;
        let members = read_object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&members).unwrap(), text);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_object(nested(126).as_bytes()).is_ok());
        assert!(read_object(nested(127).as_bytes()).is_err());
        assert!(read_object(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_object_or_more_than_one_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "1",
            "\"x\"",
            "{} {}",
            "{}x",
            "{\"a\":}",
            "{\"a\":1",
            "\u{feff}{}",
        ] {
            assert!(read_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read_object(b"{\"a\":\"\xff\"}").is_err());
        assert!(read_object(b" {} \n").is_ok());
    }

    #[test]
    fn another_format_gives_the_same_value() {
        let value = json!({"a": [1, -2, 0.5, null, true], "b": {"c": "x"}});
        let read = object(value.clone()).unwrap();
        assert_eq!(Value::Object(read), value);
    }
}
