//! What the wire has a form for: nothing in it has a length of more than 32 bits.

use crate::cdtp::error::CdtpError;
use crate::cdtp::record::DataRecord;
use crate::cdtp::tags::Tags;
use crate::cdtp::value::Value;

/// Checks all that a record holds; blocks cost a comparison each, no tags cost nothing.
///
/// # Errors
/// [`CdtpError::BlockTooLarge`] and [`CdtpError::TooLarge`].
#[inline]
pub(in crate::cdtp) fn check_record(record: &DataRecord<'_>) -> Result<(), CdtpError> {
    for block in record.blocks() {
        if block.len() > LIMIT {
            return Err(CdtpError::BlockTooLarge {
                bytes: block.len(),
                limit: LIMIT,
            });
        }
    }
    check_count("a record", record.blocks().len(), "blocks", LIMIT)?;
    if record.tags().is_empty() {
        return Ok(());
    }
    check_tags(record.tags())
}

/// Checks all that tags hold.
///
/// # Errors
/// [`CdtpError::TooLarge`], which names the first tag that does not fit.
pub(in crate::cdtp) fn check_tags(tags: &Tags) -> Result<(), CdtpError> {
    check_tags_for(tags, LIMIT)
}

/// Checks the number of records of a message.
///
/// # Errors
/// [`CdtpError::TooLarge`].
pub(in crate::cdtp) fn check_records(count: usize) -> Result<u32, CdtpError> {
    check_count("a message", count, "records", LIMIT)?;
    // Not above the limit, which has 32 bits.
    Ok(count as u32)
}

/// Checks what serde wrote of a value: with less than 4 GiB in all, none of its lengths was cut.
///
/// # Errors
/// [`CdtpError::TooLarge`].
pub(in crate::cdtp) fn check_written(length: usize) -> Result<(), CdtpError> {
    check_count("the value", length, "bytes as tags", LIMIT)
}

#[inline]
fn check_count(what: &str, size: usize, unit: &'static str, limit: usize) -> Result<(), CdtpError> {
    if size <= limit {
        return Ok(());
    }
    Err(too_large(what.to_owned(), size, unit, limit))
}

#[cold]
fn too_large(what: String, size: usize, unit: &'static str, limit: usize) -> CdtpError {
    CdtpError::TooLarge {
        what,
        size,
        unit,
        limit,
    }
}

fn check_tags_for(tags: &Tags, limit: usize) -> Result<(), CdtpError> {
    check_map(tags, limit).map_err(|excess| {
        let mut keys = excess.keys;
        keys.reverse();
        let what = match &keys[..] {
            [] => "the map of tags".to_owned(),
            keys => format!("tag `{}`", keys.join(".")),
        };
        too_large(what, excess.size, excess.unit, limit)
    })
}

/// A size over the limit, and the keys to it, the last first.
struct Excess {
    keys: Vec<String>,
    size: usize,
    unit: &'static str,
}

fn check_map(tags: &Tags, limit: usize) -> Result<(), Excess> {
    check_size(tags.len(), "keys", limit)?;
    for (key, value) in tags.iter() {
        check_size(key.len(), "bytes in its key", limit)
            .and_then(|()| check_value(value, limit))
            .map_err(|mut excess| {
                excess.keys.push(key.chars().take(KEY_SHOWN).collect());
                excess
            })?;
    }
    Ok(())
}

fn check_value(value: &Value, limit: usize) -> Result<(), Excess> {
    match value {
        Value::Str(text) => check_size(text.len(), "bytes of text", limit),
        Value::Bin(bytes) => check_size(bytes.len(), "bytes", limit),
        Value::Ext { data, .. } => check_size(data.len(), "bytes", limit),
        Value::Array(values) => {
            check_size(values.len(), "values", limit)?;
            values
                .iter()
                .try_for_each(|value| check_value(value, limit))
        }
        Value::Map(tags) => check_map(tags, limit),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Time(_) => Ok(()),
    }
}

fn check_size(size: usize, unit: &'static str, limit: usize) -> Result<(), Excess> {
    if size <= limit {
        return Ok(());
    }
    Err(Excess {
        keys: Vec::new(),
        size,
        unit,
    })
}

/// Largest length of MessagePack, in bytes or values.
const LIMIT: usize = u32::MAX as usize;

/// Characters of a key that an error shows.
const KEY_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(tags: &Tags, limit: usize) -> Option<String> {
        check_tags_for(tags, limit)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn a_tag_of_the_limit_fits_and_one_more_is_refused_by_its_path() {
        let array = |count: usize| Value::Array(vec![Value::Nil; count]);
        let map = |count: usize| -> Value {
            let keys = (0..count).map(|key| (key.to_string(), Value::Nil));
            Value::Map(keys.collect())
        };
        let ext = |count: usize| Value::Ext {
            code: 5,
            data: vec![0; count],
        };
        for (make, unit) in [
            (
                &(|count| Value::from("x".repeat(count))) as &dyn Fn(usize) -> Value,
                "bytes of text",
            ),
            (&|count| Value::from(vec![0_u8; count]), "bytes"),
            (&ext, "bytes"),
            (&array, "values"),
            (&map, "keys"),
        ] {
            for within in [false, true] {
                let place = |value: Value| match within {
                    true => Tags::new().with("a", Tags::new().with("b", vec![value])),
                    false => Tags::new().with("b", value),
                };
                assert_eq!(refusal(&place(make(7)), 7), None, "{unit}");
                let path = if within { "a.b" } else { "b" };
                let text = format!("tag `{path}` has 8 {unit}, over the limit of 7");
                assert_eq!(refusal(&place(make(8)), 7), Some(text));
            }
        }
    }

    #[test]
    fn a_key_and_the_map_itself_are_checked_and_named() {
        let long = "k".repeat(100);
        let text = format!(
            "tag `{}` has 100 bytes in its key, over the limit of 99",
            &long[..KEY_SHOWN]
        );
        assert_eq!(refusal(&Tags::new().with(long, 1), 99), Some(text));
        let text = "the map of tags has 2 keys, over the limit of 1";
        let two = Tags::new().with("a", 1).with("b", 2);
        assert_eq!(refusal(&two, 1), Some(text.to_owned()));
    }

    #[test]
    fn a_number_of_records_has_32_bits() {
        assert_eq!(check_records(LIMIT).unwrap(), u32::MAX);
        let error = check_records(LIMIT + 1).unwrap_err();
        let text = "a message has 4294967296 records, over the limit of 4294967295";
        assert_eq!(error.to_string(), text);
        assert!(error.is_bad_data());
    }
}
