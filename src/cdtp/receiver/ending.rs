//! How a run ends: what its EOR announces.

use crate::cdtp::{Tags, Value};

/// What an EOR says about the number of the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// Nothing, as senders before Constellation 1.0.
    Nothing,
    /// This number.
    Last(u64),
    /// Something that is no number of a record.
    Unreadable,
}

impl Announced {
    /// Reads `data_records`. A float that is a whole number counts as that, as in Python.
    pub(crate) fn read(metadata: &Tags) -> Self {
        let Some(value) = metadata.get(DATA_RECORDS) else {
            return Self::Nothing;
        };
        match value {
            Value::Int(number) => u64::try_from(*number).map_or(Self::Unreadable, Self::Last),
            Value::Uint(number) => Self::Last(*number),
            Value::Float(number) if number.fract() == 0.0 && (0.0..BEYOND_U64).contains(number) => {
                // Whole and in range: nothing is cut.
                Self::Last(*number as u64)
            }
            _ => Self::Unreadable,
        }
    }

    /// The number, where there is one.
    pub(crate) fn last(self) -> Option<u64> {
        match self {
            Self::Last(number) => Some(number),
            Self::Nothing | Self::Unreadable => None,
        }
    }

    /// Whether it contradicts this highest number seen.
    pub(crate) fn differs(self, highest: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Last(number) => number != highest,
            Self::Unreadable => true,
        }
    }
}

const DATA_RECORDS: &str = "data_records";

/// 2^64, the first float that no `u64` holds.
const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(value: Value) -> Announced {
        Announced::read(&Tags::new().with("data_records", value))
    }

    #[test]
    fn data_records_of_every_kind_are_survived() {
        assert_eq!(Announced::read(&Tags::new()), Announced::Nothing);
        assert_eq!(announced(Value::Int(3)), Announced::Last(3));
        assert_eq!(announced(Value::Uint(u64::MAX)), Announced::Last(u64::MAX));
        assert_eq!(announced(Value::Float(2.0)), Announced::Last(2));
        for odd in [
            Value::Int(-1),
            Value::Float(2.5),
            Value::Float(f64::NAN),
            Value::Float(1e300),
            Value::Str("2".into()),
            Value::Nil,
        ] {
            assert_eq!(announced(odd), Announced::Unreadable);
        }
    }
}
