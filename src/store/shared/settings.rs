//! The configuration that a store was opened with, kept beside it, so that whoever opens it next need not know it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::event::{OrderBy, Subscription};
use crate::store::{
    Condition, DataType, Durability, Limit, PartitionConfig, PathSegment, StoreConfig, StoreError,
};

/// The configuration of the last owner that gave one; `None` where there is none.
pub(super) fn read(dir: &Path) -> Result<Option<StoreConfig>, StoreError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match StoreConfig::from_json(&text) {
            Ok(config) => Ok(Some(config)),
            Err(error) => Err(StoreError::ConfigurationFile {
                path,
                source: Box::new(error),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io {
            action: "reading",
            path,
            source,
        }),
    }
}

/// Keeps a configuration; the file is replaced as a whole, and left alone where it says the same already.
pub(super) fn write(dir: &Path, config: &StoreConfig) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    let text = format!("{:#}\n", object(config));
    if fs::read_to_string(&path).is_ok_and(|held| held == text) {
        return Ok(());
    }
    let new = dir.join(format!("{FILE}.{}", std::process::id()));
    fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|source| StoreError::Io {
            action: "writing",
            path,
            source,
        })
}

/// The configuration under the keys that are read.
fn object(config: &StoreConfig) -> Value {
    let conditions: Vec<_> = config
        .conditions
        .iter()
        .map(|rule| {
            json!({
                "subscriptions": types(&rule.subscriptions),
                "condition": condition(&rule.condition),
            })
        })
        .collect();
    let series: Vec<_> = config.timeseries.iter().map(partition).collect();
    json!({
        "identifier": config.identifier,
        "flush_period": config.flush_period.as_secs_f64(),
        "cleanup_period": config.cleanup_period.as_secs_f64(),
        "conditions": conditions,
        "latest": {"subscriptions": types(&config.latest)},
        "timeseries": series,
        "timeseries_max_results": config.timeseries_max_results,
        "durability": match config.durability {
            Durability::Committed => "committed",
            Durability::Periodic => "periodic",
        },
        "reference_partitions": config.reference_partitions,
        "cache_bytes": config.cache_bytes,
        "database_cache_bytes": config.database_cache_bytes,
        "max_unflushed_bytes": config.max_unflushed_bytes,
    })
}

fn partition(partition: &PartitionConfig) -> Value {
    let mut object = json!({
        "order_by": match partition.order_by {
            OrderBy::SourceTimestamp => "SOURCE_TIMESTAMP",
            _ => "TIMESTAMP",
        },
        "subscriptions": types(&partition.subscriptions),
    });
    if let Some(limit) = &partition.limit {
        object["limit"] = limits(limit);
    }
    object
}

fn limits(limit: &Limit) -> Value {
    let members = [
        ("min_entries", limit.min_entries),
        ("max_entries", limit.max_entries),
        ("duration", limit.duration),
        ("size", limit.size),
    ];
    let set = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Value::Object(set.collect())
}

/// Always as lists of segments, which every event type has.
fn types(subscription: &Subscription) -> Value {
    let types = subscription.query_types();
    json!(
        types
            .iter()
            .map(|event_type| event_type.segments().collect::<Vec<_>>())
            .collect::<Vec<_>>()
    )
}

fn condition(condition: &Condition) -> Value {
    let several = |kind: &str, conditions: &[Condition]| {
        let conditions: Vec<_> = conditions.iter().map(self::condition).collect();
        json!({"type": kind, "conditions": conditions})
    };
    match condition {
        Condition::All(conditions) => several("all", conditions),
        Condition::Any(conditions) => several("any", conditions),
        Condition::Json {
            data_path,
            data_type,
            data_value,
        } => {
            let mut object = Map::new();
            object.insert("type".to_owned(), json!("json"));
            let path = data_path.iter().map(|segment| match segment {
                PathSegment::Key(key) => json!(key),
                PathSegment::Index(index) => json!(index),
            });
            object.insert("data_path".to_owned(), path.collect());
            if let Some(data_type) = data_type {
                object.insert("data_type".to_owned(), json!(type_name(*data_type)));
            }
            if let Some(value) = data_value {
                object.insert("data_value".to_owned(), value.clone());
            }
            Value::Object(object)
        }
    }
}

const fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::String => "string",
        DataType::Number => "number",
        DataType::Array => "array",
        DataType::Object => "object",
    }
}

const FILE: &str = "store.json";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn configuration_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let config = StoreConfig::from_json(
            r#"{
                "identifier": "rig",
                "flush_period": 0.25,
                "conditions": [{"subscriptions": [["a", "*"]], "condition": {"type": "all", "conditions": [
                    {"type": "json", "data_path": ["x", -1], "data_type": "number", "data_value": 1.5},
                    {"type": "any", "conditions": []}
                ]}}],
                "latest": {"subscriptions": [["a/b", "?"]]},
                "timeseries": [
                    {"order_by": "SOURCE_TIMESTAMP", "subscriptions": [["a", "*"]], "limit": {"duration": 10, "size": 1e6}},
                    {"order_by": "TIMESTAMP", "subscriptions": []}
                ],
                "timeseries_max_results": 7,
                "durability": "committed"
            }"#,
        )
        .unwrap();
        write(dir.path(), &config).unwrap();
        let again = read(dir.path()).unwrap().unwrap();
        assert_eq!(object(&again), object(&config));
        assert_eq!(again.durability, Durability::Committed);
        assert_eq!(again.timeseries[0].limit.unwrap().duration, Some(10.0));
        assert_eq!(
            again.conditions[0].condition,
            config.conditions[0].condition
        );
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn file_that_is_broken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (text, why) in [("{", "no JSON"), ("{\"flush_period\": -1}", "flush_period")] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = read(dir.path()).unwrap_err();
            assert!(error.is_configuration());
            assert!(error.to_string().contains("store.json"), "{error}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(why), "{cause}");
        }
    }

    #[test]
    fn default_is_written_as_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &StoreConfig::default()).unwrap();
        let again = read(dir.path()).unwrap().unwrap();
        assert_eq!(object(&again), object(&StoreConfig::default()));
    }
}
