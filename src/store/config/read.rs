//! A configuration from text: the keys of hat-event, each error with the key that it is about.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::event::{EventType, OrderBy, Subscription};
use crate::store::config::{Durability, Limit, PartitionConfig, StoreConfig};
use crate::store::{Condition, ConditionRule, DataType, PathSegment, StoreError};

pub(super) fn from_toml(text: &str) -> Result<StoreConfig, StoreError> {
    // One reader for both: what TOML has beyond JSON (dates, infinities) is no value of any key.
    let data: Value = toml::from_str(text).map_err(|error| syntax("TOML", error))?;
    config(&Place::root(&data))
}

pub(super) fn from_json(text: &str) -> Result<StoreConfig, StoreError> {
    let data: Value = serde_json::from_str(text).map_err(|error| syntax("JSON", error))?;
    config(&Place::root(&data))
}

fn syntax(
    format: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Syntax {
        format,
        source: Box::new(error),
    }
}

fn config(root: &Place<'_>) -> Result<StoreConfig, StoreError> {
    let table = root.table(KEYS)?;
    let default = StoreConfig::default();
    Ok(StoreConfig {
        identifier: table.not_null("identifier", Place::text)?,
        flush_period: table.or("flush_period", default.flush_period, Place::seconds)?,
        cleanup_period: table.or("cleanup_period", default.cleanup_period, Place::seconds)?,
        conditions: table.or("conditions", default.conditions, |place| {
            place.list(condition_rule)
        })?,
        latest: table.or("latest", default.latest, |place| {
            place
                .table(&["subscriptions"])?
                .needed("subscriptions", subscription)
        })?,
        timeseries: table.or("timeseries", default.timeseries, |place| {
            place.list(partition)
        })?,
        timeseries_max_results: table.or(
            "timeseries_max_results",
            default.timeseries_max_results,
            Place::count,
        )?,
        durability: table.or("durability", default.durability, |place| {
            place.one_of(&[
                ("periodic", Durability::Periodic),
                ("committed", Durability::Committed),
            ])
        })?,
        reference_partitions: table.or(
            "reference_partitions",
            default.reference_partitions,
            Place::yes_or_no,
        )?,
        cache_bytes: table.or("cache_bytes", default.cache_bytes, Place::count)?,
        database_cache_bytes: table.or(
            "database_cache_bytes",
            default.database_cache_bytes,
            Place::count,
        )?,
        max_unflushed_bytes: table.or(
            "max_unflushed_bytes",
            default.max_unflushed_bytes,
            Place::count,
        )?,
    })
}

fn partition(place: &Place<'_>) -> Result<PartitionConfig, StoreError> {
    let table = place.table(&["order_by", "subscriptions", "limit"])?;
    let order_by = table.needed("order_by", |place| {
        place.one_of(&[
            ("TIMESTAMP", OrderBy::Timestamp),
            ("SOURCE_TIMESTAMP", OrderBy::SourceTimestamp),
        ])
    })?;
    let subscriptions = table.needed("subscriptions", subscription)?;
    Ok(PartitionConfig {
        limit: table.not_null("limit", limit)?,
        ..PartitionConfig::new(order_by, subscriptions)
    })
}

fn limit(place: &Place<'_>) -> Result<Limit, StoreError> {
    let table = place.table(&["min_entries", "max_entries", "duration", "size"])?;
    Ok(Limit {
        min_entries: table.not_null("min_entries", Place::amount)?,
        max_entries: table.not_null("max_entries", Place::amount)?,
        duration: table.not_null("duration", Place::amount)?,
        size: table.not_null("size", Place::amount)?,
    })
}

fn condition_rule(place: &Place<'_>) -> Result<ConditionRule, StoreError> {
    let table = place.table(&["subscriptions", "condition"])?;
    Ok(ConditionRule::new(
        table.needed("subscriptions", subscription)?,
        table.needed("condition", condition)?,
    ))
}

fn condition(place: &Place<'_>) -> Result<Condition, StoreError> {
    let kinds = ["all", "any", "json"].map(|kind| (kind, kind));
    let kind = place
        .table_of_any_keys()?
        .needed("type", |place| place.one_of(&kinds))?;
    if kind == "json" {
        let table = place.table(&["type", "data_path", "data_type", "data_value"])?;
        return Ok(Condition::Json {
            data_path: table.or("data_path", Vec::new(), data_path)?,
            data_type: table.optional("data_type", data_type)?,
            data_value: table.optional("data_value", |place| Ok(place.value.clone()))?,
        });
    }
    let conditions = place
        .table(&["type", "conditions"])?
        .needed("conditions", |place| place.list(condition))?;
    Ok(match kind {
        "all" => Condition::All(conditions),
        _ => Condition::Any(conditions),
    })
}

/// A key, an index, or lists of these within lists.
fn data_path(place: &Place<'_>) -> Result<Vec<PathSegment>, StoreError> {
    match place.value {
        Value::String(key) => Ok(vec![PathSegment::Key(key.clone())]),
        Value::Number(number) => match whole(number.as_str()) {
            Some(index) => Ok(vec![PathSegment::Index(index)]),
            None => Err(place.wanted("a key or a whole number")),
        },
        Value::Array(_) => Ok(place.list(data_path)?.concat()),
        _ => Err(place.wanted("a key, a whole number, or a list of these")),
    }
}

/// A whole number; one beyond 64 bits is the index of no item, as the outermost one is.
fn whole(digits: &str) -> Option<i64> {
    if digits.contains(['.', 'e', 'E']) {
        return None;
    }
    let outermost = if digits.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Some(digits.parse().unwrap_or(outermost))
}

fn data_type(place: &Place<'_>) -> Result<DataType, StoreError> {
    place.one_of(&[
        ("null", DataType::Null),
        ("boolean", DataType::Boolean),
        ("string", DataType::String),
        ("number", DataType::Number),
        ("array", DataType::Array),
        ("object", DataType::Object),
    ])
}

fn subscription(place: &Place<'_>) -> Result<Subscription, StoreError> {
    let types = place.list(event_type)?;
    Subscription::new(types).map_err(|error| place.error(&error.to_string()))
}

/// A list of segments, or the segments joined with `/`.
fn event_type(place: &Place<'_>) -> Result<EventType, StoreError> {
    match place.value {
        Value::String(joined) => {
            let parsed: Result<EventType, std::convert::Infallible> = joined.parse();
            let Ok(event_type) = parsed;
            Ok(event_type)
        }
        Value::Array(_) => Ok(EventType::new(place.list(Place::text)?)),
        _ => Err(place.wanted("a list of segments or the segments joined with /")),
    }
}

/// A value of the configuration, and the key where it stands.
struct Place<'a> {
    key: String,
    value: &'a Value,
}

impl<'a> Place<'a> {
    fn root(value: &'a Value) -> Self {
        Self {
            key: String::new(),
            value,
        }
    }

    fn table(&self, known: &[&str]) -> Result<Table<'a, '_>, StoreError> {
        let table = self.table_of_any_keys()?;
        match table.members.keys().find(|key| !known.contains(&&***key)) {
            None => Ok(table),
            Some(unknown) => Err(StoreError::Configuration {
                key: joined(&self.key, unknown),
                reason: format!("unknown key; known are {}", known.join(", ")),
            }),
        }
    }

    fn table_of_any_keys(&self) -> Result<Table<'a, '_>, StoreError> {
        match self.value {
            Value::Object(members) => Ok(Table {
                key: &self.key,
                members,
            }),
            _ => Err(self.wanted("a table")),
        }
    }

    fn list<T>(&self, read: impl Fn(&Self) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        let Value::Array(items) = self.value else {
            return Err(self.wanted("a list"));
        };
        let place = |(index, value)| Self {
            key: format!("{}[{index}]", self.key),
            value,
        };
        items
            .iter()
            .enumerate()
            .map(place)
            .map(|place| read(&place))
            .collect()
    }

    fn text(&self) -> Result<String, StoreError> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wanted("a text")),
        }
    }

    fn yes_or_no(&self) -> Result<bool, StoreError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.wanted("true or false"))
    }

    fn one_of<T: Copy>(&self, names: &[(&str, T)]) -> Result<T, StoreError> {
        let named = |text| names.iter().find(|(name, _)| *name == text);
        match self.value.as_str().and_then(named) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                Err(self.wanted(&format!("one of {}", names.join(", "))))
            }
        }
    }

    fn count(&self) -> Result<usize, StoreError> {
        let count = self.value.as_u64();
        count
            .and_then(|count| count.try_into().ok())
            .ok_or_else(|| self.wanted("a whole number from 0"))
    }

    fn number(&self) -> Result<f64, StoreError> {
        self.value.as_f64().ok_or_else(|| self.wanted("a number"))
    }

    fn amount(&self) -> Result<f64, StoreError> {
        match self.number()? {
            amount if amount >= 0.0 => Ok(amount),
            _ => Err(self.wanted("a number from 0")),
        }
    }

    fn seconds(&self) -> Result<Duration, StoreError> {
        let seconds = self.amount()?;
        Duration::try_from_secs_f64(seconds).map_err(|error| self.error(&error.to_string()))
    }

    fn wanted(&self, wanted: &str) -> StoreError {
        self.error(&format!("{wanted} is wanted, not {}", shown(self.value)))
    }

    fn error(&self, reason: &str) -> StoreError {
        StoreError::Configuration {
            key: self.key.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// The members of a table, and the key where it stands.
struct Table<'a, 'k> {
    key: &'k str,
    members: &'a Map<String, Value>,
}

impl<'a> Table<'a, '_> {
    fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.members.get(key) else {
            return Ok(None);
        };
        let key = joined(self.key, key);
        read(&Place { key, value }).map(Some)
    }

    /// Null is as good as absent.
    fn not_null<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.members.get(key) {
            Some(Value::Null) => Ok(None),
            _ => self.optional(key, read),
        }
    }

    fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Place<'a>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        Ok(self.optional(key, read)?.unwrap_or(default))
    }

    fn needed<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let missing = || StoreError::Configuration {
            key: joined(self.key, key),
            reason: "missing".to_owned(),
        };
        self.optional(key, read)?.ok_or_else(missing)
    }
}

fn joined(outer: &str, key: &str) -> String {
    let mut path = String::from(outer);
    if !path.is_empty() {
        path.push('.');
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.len() <= SHOWN_CHARACTERS && key.bytes().all(plain) {
        path.push_str(key);
    } else {
        path.push_str(&quoted(key));
    }
    path
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => {
            let text = number.as_str();
            match text.char_indices().nth(SHOWN_CHARACTERS) {
                None => text.to_owned(),
                Some((end, _)) => format!("{}…", &text[..end]),
            }
        }
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    let mut out = String::new();
    // Writing into a text cannot fail.
    let _ = write!(out, "{quoted:?}");
    out
}

pub(super) const KEYS: &[&str] = &[
    "identifier",
    "flush_period",
    "cleanup_period",
    "conditions",
    "latest",
    "timeseries",
    "timeseries_max_results",
    "durability",
    "reference_partitions",
    "cache_bytes",
    "database_cache_bytes",
    "max_unflushed_bytes",
    // Where the store is, and which backend: said elsewhere.
    "db_path",
    "module",
    "timeseries_event_type_cache_size",
];

const SHOWN_CHARACTERS: usize = 40;
