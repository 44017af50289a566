//! How an enumeration of the protocol is declared: its numbers, its names, and room for a number that it does not know.
//!
//! A number from a newer peer survives a round trip as `Other(n)`; a name is read in any case, with `-` and `_` ignored.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};

/// A text that is neither a name nor a number of the enumeration it was read as.
///
/// # Examples
/// ```
/// let refused = "brewing".parse::<acqbus::rpc::values::TrainingMode>();
/// assert_eq!(refused.unwrap_err().to_string(), r#"no training mode is called "brewing""#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called {text:?}")]
pub struct UnknownName {
    /// What was looked for, as a reader would say it ("event kind").
    pub what: &'static str,
    /// The text as it was given.
    pub text: String,
}

/// Whether two names are equal but for case, `-` and `_`.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    let plain = |text: &str| -> Vec<u8> {
        let kept = text.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
        kept.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    plain(left) == plain(right)
}

/// Reads a whole number; `101.0` is 101, as the peers compare by value.
pub(crate) struct WholeNumber;

impl Visitor<'_> for WholeNumber {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number of 64 bits")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        // Beyond 2^53 a float says nothing about whole numbers.
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
            return Ok(number as i64);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
}

/// Declares an enumeration whose wire form is a number.
macro_rules! wire_numbers {
    (
        $(#[$meta:meta])*
        $name:ident ($what:literal) {
            $( $(#[$variant_meta:meta])* $variant:ident = $number:literal, $text:literal; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A number that has no name here; it survives a round trip.
            Other(i64),
        }

        impl $name {
            /// Every named member, in the order of the table above.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> i64 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// The name as the reference spells it; `None` for [`Other`](Self::Other).
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Other(_) => None,
                }
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl std::fmt::Display for $name {
            /// The name, or the number where there is none.
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => formatter.pad(name),
                    None => self.number().fmt(formatter),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::rpc::number::UnknownName;

            /// Reads a name in any case, `-` and `_` ignored, or a decimal number.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let named = Self::ALL.iter().copied().find(|member| {
                    member.name().is_some_and(|name| $crate::rpc::number::same_name(name, text))
                });
                named.or_else(|| text.parse().ok().map(<Self as From<i64>>::from)).ok_or_else(|| {
                    $crate::rpc::number::UnknownName { what: $what, text: text.to_owned() }
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.number())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_i64($crate::rpc::number::WholeNumber).map(Self::from)
            }
        }
    };
}

/// Declares an enumeration whose wire form is a string.
macro_rules! wire_texts {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A text that is not in the table; it survives a round trip. (`Other` is a name of the protocol.)
            Unknown(String),
        }

        impl $name {
            /// Every named member, in the order of the table above.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

pub(crate) use {wire_numbers, wire_texts};
