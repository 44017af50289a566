//! What a tag can hold.

use crate::cdtp::tags::Tags;
use crate::cdtp::timestamp::Timestamp;

/// What a tag can hold: everything that MessagePack has.
///
/// A C++ receiver holds less: see [`CxxTags`](crate::cdtp::CxxTags). Integers compare by their number however they were made, as
/// long as they are made by `From` or come off the wire: [`Value::Uint`] is for those only that do not fit [`Value::Int`].
///
/// ```
/// use acqbus::cdtp::Value;
///
/// assert_eq!(Value::from(7_u64), Value::Int(7));
/// assert_eq!(Value::from(u64::MAX), Value::Uint(u64::MAX));
/// assert_eq!(Value::from("on").as_str(), Some("on"));
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// A number of double precision; one of single precision is widened when it comes in.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bin(Vec<u8>),
    /// A time of the wall clock.
    Time(Timestamp),
    /// Values in a row.
    Array(Vec<Self>),
    /// Values under keys.
    Map(Tags),
    /// Another extension of MessagePack.
    Ext {
        /// Its number; 0 to 127, as the negative ones are MessagePack's own.
        code: i8,
        /// Its bytes.
        data: Vec<u8>,
    },
}

impl Value {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Uint(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The integer, if it is one that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Uint(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, integer or not; a large integer is rounded.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Uint(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bin(value) => Some(value),
            _ => None,
        }
    }

    /// The time, if it is one.
    #[must_use]
    pub fn as_time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(value) => Some(*value),
            _ => None,
        }
    }

    /// The values in a row, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// The values under keys, if it is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Tags> {
        match self {
            Self::Map(value) => Some(value),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($from:ty => $value:ident: $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

from! {
    bool => value: Self::Bool(value);
    i8 => value: Self::Int(value.into());
    i16 => value: Self::Int(value.into());
    i32 => value: Self::Int(value.into());
    i64 => value: Self::Int(value);
    u8 => value: Self::Int(value.into());
    u16 => value: Self::Int(value.into());
    u32 => value: Self::Int(value.into());
    u64 => value: i64::try_from(value).map_or(Self::Uint(value), Self::Int);
    usize => value: Self::from(value as u64);
    f32 => value: Self::Float(value.into());
    f64 => value: Self::Float(value);
    &str => value: Self::Str(value.to_owned());
    String => value: Self::Str(value);
    &[u8] => value: Self::Bin(value.to_vec());
    Vec<u8> => value: Self::Bin(value);
    Timestamp => value: Self::Time(value);
    std::time::SystemTime => value: Self::Time(value.into());
    Vec<Self> => value: Self::Array(value);
    Tags => value: Self::Map(value);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    /// Nothing is nil.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

impl FromIterator<Self> for Value {
    fn from_iter<I: IntoIterator<Item = Self>>(values: I) -> Self {
        Self::Array(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert_eq!(size_of::<Value>(), 32);
    }

    #[test]
    fn integers_are_signed_where_they_fit() {
        assert_eq!(Value::from(i64::MAX as u64), Value::Int(i64::MAX));
        assert_eq!(Value::from(1_u64 << 63), Value::Uint(1 << 63));
        assert_eq!(Value::from(-1).as_u64(), None);
        assert_eq!(Value::Uint(u64::MAX).as_i64(), None);
    }
}
