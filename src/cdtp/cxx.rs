//! Which tags a C++ receiver can hold.

use std::borrow::Cow;

use crate::cdtp::error::CdtpError;
use crate::cdtp::msgpack::hex;
use crate::cdtp::tags::Tags;
use crate::cdtp::value::Value;

/// What to do with tags that a C++ receiver cannot hold; one of them anywhere puts it into its error state.
///
/// | a tag that is | [`CxxTags::Convert`] makes of it |
/// |---|---|
/// | an integer above 2⁶³-1 | text: its decimal digits |
/// | bytes | text: two lower-case hexadecimal digits a byte |
/// | an extension other than a time | a map of `ext`, its code, and `data`, text as of bytes |
/// | an array of integers, some of them above 2⁶³-1 | an array of text: their decimal digits |
/// | an array of numbers, some of them floats | an array of floats; integers beyond 2⁵³ are rounded |
/// | another array of values that are not all of one kind of truth value, number, text or time | a map with the keys `0`, `1`, … |
///
/// Values within arrays and maps are converted first. Nothing else changes. Source: the types of values of the C++ reference.
///
/// ```
/// use acqbus::cdtp::{CxxTags, Tags, Value};
///
/// let tags = Tags::new().with("dark", vec![0_u8, 255]).with("gain", 2.5);
/// assert!(CxxTags::Refuse.apply(&tags).is_err());
/// let converted = CxxTags::Convert.apply(&tags)?;
/// assert_eq!(converted.get("dark"), Some(&Value::from("00ff")));
/// # Ok::<(), acqbus::cdtp::CdtpError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CxxTags {
    /// Such tags are an error. The default.
    #[default]
    Refuse,
    /// Such tags are converted.
    Convert,
    /// Such tags go out as they are: no C++ receiver is there.
    Allow,
}

impl CxxTags {
    /// The tags as they may go out.
    ///
    /// # Errors
    /// [`CdtpError::CxxTag`] for [`CxxTags::Refuse`], when a C++ receiver cannot hold one of them.
    pub fn apply(self, tags: &Tags) -> Result<Cow<'_, Tags>, CdtpError> {
        match self {
            Self::Allow => Ok(Cow::Borrowed(tags)),
            Self::Refuse => Self::check(tags).map(|()| Cow::Borrowed(tags)),
            Self::Convert if Self::check(tags).is_ok() => Ok(Cow::Borrowed(tags)),
            Self::Convert => Ok(Cow::Owned(Self::convert(tags.clone()))),
        }
    }

    /// Looks for a tag that a C++ receiver cannot hold.
    ///
    /// # Errors
    /// [`CdtpError::CxxTag`], which names the first.
    pub fn check(tags: &Tags) -> Result<(), CdtpError> {
        for (key, value) in tags.iter() {
            check_value(value).map_err(|Misfit { mut keys, what }| {
                keys.push(key.to_owned());
                keys.reverse();
                CdtpError::CxxTag {
                    path: keys.join("."),
                    what,
                }
            })?;
        }
        Ok(())
    }

    /// Converts the tags that a C++ receiver cannot hold, by the table of [`CxxTags`].
    #[must_use]
    pub fn convert(tags: Tags) -> Tags {
        tags.into_iter()
            .map(|(key, value)| (key, convert_value(value)))
            .collect()
    }
}

/// A value that does not fit, and the keys to it, the last first.
struct Misfit {
    keys: Vec<String>,
    what: &'static str,
}

fn check_value(value: &Value) -> Result<(), Misfit> {
    let what = match value {
        Value::Uint(_) => "an integer above 9,223,372,036,854,775,807",
        Value::Bin(_) => "bytes",
        Value::Ext { .. } => "an extension",
        Value::Array(values) => match array_fault(values) {
            Some(what) => what,
            None => return Ok(()),
        },
        Value::Map(tags) => {
            for (key, value) in tags.iter() {
                check_value(value).map_err(|mut misfit| {
                    misfit.keys.push(key.to_owned());
                    misfit
                })?;
            }
            return Ok(());
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Time(_) => return Ok(()),
    };
    let keys = Vec::new();
    Err(Misfit { keys, what })
}

/// What is wrong with an array; its first value decides what the others must be.
fn array_fault(values: &[Value]) -> Option<&'static str> {
    let first = values.first()?;
    let fits = |value: &Value| match (first, value) {
        (Value::Float(_), Value::Int(_)) => true,
        _ => kind(value).is_some() && kind(value) == kind(first),
    };
    if values.iter().all(fits) {
        return None;
    }
    Some(match first {
        _ if values
            .iter()
            .any(|value| matches!(value, Value::Array(_) | Value::Map(_))) =>
        {
            "an array of arrays or maps"
        }
        _ if values.iter().any(|value| kind(value).is_none()) => {
            "an array of nil, bytes, extensions or large integers"
        }
        _ => "an array of several kinds",
    })
}

/// A number for the kind of a value that C++ holds in arrays.
fn kind(value: &Value) -> Option<u8> {
    match value {
        Value::Bool(_) => Some(0),
        Value::Int(_) => Some(1),
        Value::Float(_) => Some(2),
        Value::Str(_) => Some(3),
        Value::Time(_) => Some(4),
        _ => None,
    }
}

fn convert_value(value: Value) -> Value {
    match value {
        Value::Uint(value) => Value::Str(value.to_string()),
        Value::Bin(bytes) => Value::Str(hex(&bytes)),
        Value::Ext { code, data } => {
            Value::Map(Tags::new().with("ext", code).with("data", hex(&data)))
        }
        Value::Map(tags) => Value::Map(CxxTags::convert(tags)),
        Value::Array(values) => convert_array(values),
        other => other,
    }
}

fn convert_array(values: Vec<Value>) -> Value {
    let integer = |value: &Value| matches!(value, Value::Int(_) | Value::Uint(_));
    if values.iter().all(integer) {
        let large = values.iter().any(|value| matches!(value, Value::Uint(_)));
        let digits = |value: Value| match value {
            Value::Int(value) if large => Value::Str(value.to_string()),
            other => convert_value(other),
        };
        return values.into_iter().map(digits).collect();
    }
    if values.iter().all(|value| value.as_f64().is_some()) {
        let float = |value: Value| value.as_f64().map_or(value, Value::Float);
        return values.into_iter().map(float).collect();
    }
    let values: Vec<_> = values.into_iter().map(convert_value).collect();
    if array_fault(&values).is_none() {
        return Value::Array(values);
    }
    let keys = (0..values.len()).map(|index| index.to_string());
    Value::Map(keys.zip(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<const N: usize>(values: [Value; N]) -> Value {
        values.into_iter().collect()
    }

    fn converted(value: Value) -> Value {
        let tags = CxxTags::convert(Tags::new().with("k", value));
        assert!(CxxTags::check(&tags).is_ok(), "{tags:?}");
        tags.get("k").unwrap().clone()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        for value in [
            Value::Nil,
            Value::from(i64::MIN),
            array([]),
            array([1.into(), 2.into()]),
            array([true.into(), false.into()]),
            array(["a".into()]),
            Value::Map(Tags::new().with("nested", Tags::new().with("deep", 1.5))),
        ] {
            let tags = Tags::new().with("k", value.clone());
            assert!(CxxTags::check(&tags).is_ok(), "{value:?}");
            assert_eq!(converted(value.clone()), value);
        }
    }

    #[test]
    fn conversions_are_those_of_the_table() {
        let large = Value::from(u64::MAX);
        let table = [
            (large.clone(), "18446744073709551615".into()),
            (vec![0_u8, 0xab].into(), "00ab".into()),
            (
                Value::Ext {
                    code: 5,
                    data: vec![1],
                },
                Tags::new().with("ext", 5).with("data", "01").into(),
            ),
            (
                array([1.into(), large]),
                array(["1".into(), "18446744073709551615".into()]),
            ),
            (
                array([1.into(), 1.5.into()]),
                array([1.0.into(), 1.5.into()]),
            ),
            (
                array([Value::Nil, "a".into()]),
                Tags::new().with("0", Value::Nil).with("1", "a").into(),
            ),
            (
                array([array([1.into()])]),
                Tags::new().with("0", array([1.into()])).into(),
            ),
            (
                array([vec![1_u8].into(), vec![2_u8].into()]),
                array(["01".into(), "02".into()]),
            ),
        ];
        for (before, after) in table {
            assert!(CxxTags::check(&Tags::new().with("k", before.clone())).is_err());
            assert_eq!(converted(before), after);
        }
    }

    /// C++ makes floats of them itself.
    #[test]
    fn integers_behind_a_float_are_allowed() {
        let tags = Tags::new().with("k", array([1.5.into(), 1.into()]));
        assert!(CxxTags::check(&tags).is_ok());
    }

    #[test]
    fn a_misfit_is_named_by_its_keys() {
        let tags = Tags::new().with("a", Tags::new().with("b", Tags::new().with("c", u64::MAX)));
        let error = CxxTags::check(&tags).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("tag `a.b.c` is an integer above"),
            "{error}"
        );
    }
}
