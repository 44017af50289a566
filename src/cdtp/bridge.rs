//! Tags and serde: values of any type become tags, and tags values of any type.
//!
//! Times go through as MessagePack's extension, which serde knows only by a name that the crate `rmp-serde` gave it. In a text format such
//! as JSON a time is text of RFC 3339, bytes are hexadecimal text, and an extension is a map of `ext` and `data`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::cdtp::msgpack::{hex, time};
use crate::cdtp::tags::Tags;
use crate::cdtp::timestamp::Timestamp;
use crate::cdtp::value::Value;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let mut data = Vec::with_capacity(15);
        time::write_data(&mut data, *self);
        extension(serializer, time::CODE, &data)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(de::Error::custom);
        } else {
            deserializer.deserialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, AnyValue)?
        };
        match value {
            Value::Time(time) => Ok(time),
            _ => Err(de::Error::custom("the value is no time")),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let human = serializer.is_human_readable();
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(value) => serializer.serialize_str(value),
            Self::Bin(value) if human => serializer.serialize_str(&hex(value)),
            Self::Bin(value) => serializer.serialize_bytes(value),
            Self::Time(value) => value.serialize(serializer),
            Self::Array(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                values
                    .iter()
                    .try_for_each(|value| seq.serialize_element(value))?;
                seq.end()
            }
            Self::Map(tags) => tags.serialize(serializer),
            Self::Ext { code, data } if human => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("ext", code)?;
                map.serialize_entry("data", &hex(data))?;
                map.end()
            }
            Self::Ext { code, data } => extension(serializer, *code, data),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(AnyValue)? {
            Value::Map(tags) => Ok(tags),
            _ => Err(de::Error::custom("the value is no map")),
        }
    }
}

fn extension<S: Serializer>(serializer: S, code: i8, data: &[u8]) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(code, Bytes(data)))
}

/// Bytes that serde writes as bytes, not as an array.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Bytes that serde reads as bytes.
struct ByteBuf(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_byte_buf(AnyValue)? {
            Value::Bin(bytes) => Ok(Self(bytes)),
            _ => Err(de::Error::custom("the value is no bytes")),
        }
    }
}

/// Takes whatever comes.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a tag")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = values.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut tags = Tags::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            tags.insert(key, value);
        }
        Ok(json_number(&tags).unwrap_or(Value::Map(tags)))
    }

    /// An extension, in the way of `rmp-serde`.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        let (code, ByteBuf(data)) = Deserialize::deserialize(inner)?;
        match code {
            time::CODE => time::read(&data)
                .map(Value::Time)
                .map_err(de::Error::custom),
            _ => Ok(Value::Ext { code, data }),
        }
    }
}

/// The number that such a map stands for: with `arbitrary_precision`, which we need elsewhere, `serde_json` gives numbers in this shape.
fn json_number(tags: &Tags) -> Option<Value> {
    let digits = tags.get("$serde_json::private::Number")?.as_str()?;
    let whole = digits.parse().map(Value::Int);
    let whole = whole.or_else(|_| digits.parse().map(Value::Uint));
    whole.ok().or_else(|| digits.parse().map(Value::Float).ok())
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        flag: bool,
        small: i8,
        large: u64,
        float: f32,
        text: String,
        time: Timestamp,
        absent: Option<u8>,
        list: Vec<u16>,
        nested: Nested,
        any: Value,
        tags: Tags,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Nested {
        Unit,
        OneOf { first_of: i64 },
    }

    fn everything() -> Everything {
        Everything {
            flag: true,
            small: -7,
            large: u64::MAX,
            float: 1.5,
            text: "\u{e4}".into(),
            time: Timestamp::new(1_700_000_000, 123_456_789).unwrap(),
            absent: None,
            list: vec![1, 2, 3],
            nested: Nested::OneOf { first_of: -1 },
            any: [
                Value::Bin(vec![0, 255]),
                Value::Ext {
                    code: 5,
                    data: vec![1, 2, 3],
                },
                Value::Time(Timestamp::new(-1, 5).unwrap()),
                Value::Nil,
                Value::Uint(u64::MAX),
            ]
            .into_iter()
            .collect(),
            tags: Tags::new().with("b", 1).with("a", Tags::new()),
        }
    }

    #[test]
    fn a_type_with_everything_becomes_tags_and_comes_back() {
        let tags = Tags::from_serialize(&everything()).unwrap();
        assert_eq!(tags.get("small"), Some(&Value::Int(-7)));
        assert_eq!(tags.get("time"), Some(&Value::Time(everything().time)));
        assert_eq!(tags.get("any"), Some(&everything().any));
        assert_eq!(tags.get("absent"), Some(&Value::Nil));
        assert_eq!(tags.to::<Everything>().unwrap(), everything());
        assert_eq!(Tags::from_serialize(&tags).unwrap(), tags);
        assert_eq!(tags.to::<Tags>().unwrap(), tags);
    }

    #[test]
    fn tags_are_readable_as_json() {
        let json = serde_json::to_value(everything()).unwrap();
        assert_eq!(json["time"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(json["any"][0], "00ff");
        assert_eq!(json["any"][1]["data"], "010203");
        let time: Timestamp = serde_json::from_value(json["time"].clone()).unwrap();
        assert_eq!(time, everything().time);
        let tags: Tags = serde_json::from_str(r#"{"a": [1, null, {"b": -2.5}]}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&tags).unwrap(),
            r#"{"a":[1,null,{"b":-2.5}]}"#
        );
    }

    #[test]
    fn what_is_no_map_of_text_keys_is_refused() {
        let by_number: std::collections::BTreeMap<u8, u8> = [(1, 2)].into();
        assert!(Tags::from_serialize(&by_number).is_err());
        assert!(Tags::from_serialize("text").is_err());
        assert!(Tags::from_serialize(&()).is_err());
        let tags = Tags::new().with("flag", 7);
        assert!(tags.to::<Everything>().is_err());
    }
}
