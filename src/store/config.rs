//! What a durable store keeps, for how long, and how safely.

use std::time::Duration;

use crate::event::{OrderBy, Subscription};
use crate::store::{ConditionRule, StoreError};

mod read;

/// What a durable store keeps, for how long, and how safely.
///
/// The default keeps everything for ever: the latest event of each type, one time series by timestamp and one by source
/// timestamp. Read from hat-event's configuration (its keys and value forms) with [`from_toml`](Self::from_toml) and
/// [`from_json`](Self::from_json), or set here.
///
/// # Examples
/// ```
/// use acqbus::store::StoreConfig;
/// use std::time::Duration;
///
/// let config = StoreConfig::from_toml(r#"
///     flush_period = 0.5
///     [latest]
///     subscriptions = ["*"]
///     [[timeseries]]
///     order_by = "TIMESTAMP"
///     subscriptions = ["rig-1/event/*", ["rig-1", "heartbeat"]]
///     limit = { duration = 604800 }
/// "#)?;
/// assert_eq!(config.flush_period, Duration::from_millis(500));
/// assert_eq!(config.timeseries[0].limit.and_then(|limit| limit.duration), Some(604800.0));
///
/// let error = StoreConfig::from_json(r#"{"flush_period": "often"}"#).unwrap_err();
/// assert_eq!(error.to_string(), "flush_period: a number is wanted, not the text \"often\"");
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// What the store belongs to. Default `None`: not checked. The first one stays in the store; another one does not open it.
    pub identifier: Option<String>,
    /// How long after a flush the next one comes at the latest. Default 1 s; zero flushes after each register.
    ///
    /// In [`Durability::Committed`] what a flush writes is on disk already: it waits until no register has come for so long, ten
    /// times so long at most.
    pub flush_period: Duration,
    /// How long after a cleanup the next one comes. Default 60 s; zero cleans up only when the store is opened.
    pub cleanup_period: Duration,
    /// What events must satisfy to be kept. Default none.
    pub conditions: Vec<ConditionRule>,
    /// The event types whose latest event is kept, for ever. Default all.
    pub latest: Subscription,
    /// The time series, in the order in which a query looks for the one that it reads. Default [`PartitionConfig::all`].
    pub timeseries: Vec<PartitionConfig>,
    /// The most events that a query of a time series gives. Default 4,096.
    pub timeseries_max_results: usize,
    /// When `register` returns. Default [`Durability::Periodic`]. *Ours.*
    pub durability: Durability,
    /// Chooses the partition of a query by hat-event's rule, its fault included. Default false. *Ours.*
    pub reference_partitions: bool,
    /// Bytes of the cache of verified blocks. Default 64 MiB; 0 keeps none. *Ours.*
    pub cache_bytes: usize,
    /// Bytes of the cache of the database below. Default 64 MiB. *Ours.*
    pub database_cache_bytes: usize,
    /// Bytes of events that may be registered and not be written yet. Default 256 MiB. *Ours.*
    pub max_unflushed_bytes: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            identifier: None,
            flush_period: Duration::from_secs(1),
            cleanup_period: Duration::from_secs(60),
            conditions: Vec::new(),
            latest: Subscription::all(),
            timeseries: PartitionConfig::all().into(),
            timeseries_max_results: 4096,
            durability: Durability::Periodic,
            reference_partitions: false,
            cache_bytes: 64 << 20,
            database_cache_bytes: 64 << 20,
            max_unflushed_bytes: 256 << 20,
        }
    }
}

impl StoreConfig {
    /// Reads a configuration from TOML; an absent key keeps its default.
    ///
    /// The keys are those of [`from_json`](Self::from_json). TOML knows no null: a condition on null wants `data_type = "null"`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_toml(text: &str) -> Result<Self, StoreError> {
        read::from_toml(text)
    }

    /// Reads a configuration from JSON; an absent key keeps its default.
    ///
    /// The keys and the forms of their values are hat-event's (schema `hat-event://backends/lmdb.yaml`), and *ours*:
    /// `durability`, `reference_partitions`, `cache_bytes`, `database_cache_bytes`, `max_unflushed_bytes`, and event types
    /// joined with `/` beside lists of segments. Accepted and not used: `db_path`, `module`, `timeseries_event_type_cache_size`.
    ///
    /// # Errors
    /// [`StoreError::Syntax`]; [`StoreError::Configuration`], which names the key, for a wrong value and for an unknown key.
    pub fn from_json(text: &str) -> Result<Self, StoreError> {
        read::from_json(text)
    }

    /// Sets what the store belongs to.
    #[must_use]
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Sets how long after a flush the next one comes at the latest.
    #[must_use]
    pub fn flush_period(mut self, period: Duration) -> Self {
        self.flush_period = period;
        self
    }

    /// Sets how long after a cleanup the next one comes.
    #[must_use]
    pub fn cleanup_period(mut self, period: Duration) -> Self {
        self.cleanup_period = period;
        self
    }

    /// Adds what events of some types must satisfy.
    #[must_use]
    pub fn condition(mut self, rule: ConditionRule) -> Self {
        self.conditions.push(rule);
        self
    }

    /// Sets the event types whose latest event is kept.
    #[must_use]
    pub fn latest(mut self, subscription: Subscription) -> Self {
        self.latest = subscription;
        self
    }

    /// Sets the time series.
    #[must_use]
    pub fn timeseries(mut self, partitions: impl IntoIterator<Item = PartitionConfig>) -> Self {
        self.timeseries = partitions.into_iter().collect();
        self
    }

    /// Sets the most events that a query of a time series gives.
    #[must_use]
    pub fn timeseries_max_results(mut self, limit: usize) -> Self {
        self.timeseries_max_results = limit;
        self
    }

    /// Sets when `register` returns.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets whether the partition of a query is chosen by hat-event's rule, its fault included.
    #[must_use]
    pub fn reference_partitions(mut self, yes: bool) -> Self {
        self.reference_partitions = yes;
        self
    }

    /// Sets the bytes of the cache of verified blocks.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets the bytes of the cache of the database below.
    #[must_use]
    pub fn database_cache_bytes(mut self, bytes: usize) -> Self {
        self.database_cache_bytes = bytes;
        self
    }

    /// Sets the bytes of events that may be registered and not be written yet.
    #[must_use]
    pub fn max_unflushed_bytes(mut self, bytes: usize) -> Self {
        self.max_unflushed_bytes = bytes;
        self
    }

    /// Whether every limit is a number from 0; a text that is read cannot have others.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (index, partition) in self.timeseries.iter().enumerate() {
            let Some(limit) = &partition.limit else {
                continue;
            };
            for (name, value) in [
                ("min_entries", limit.min_entries),
                ("max_entries", limit.max_entries),
                ("duration", limit.duration),
                ("size", limit.size),
            ] {
                if let Some(value) = value.filter(|value| value.is_nan() || *value < 0.0) {
                    return Err(StoreError::Configuration {
                        key: format!("timeseries[{index}].limit.{name}"),
                        reason: format!("a number from 0 is wanted, not {value}"),
                    });
                }
            }
        }
        Ok(())
    }

    /// The time series without doubles: two of equal order and equal subscriptions are one, with the limit of the last.
    ///
    /// It stands where the first of them stood. Source: hat-event 0.9.44, LMDB backend.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionConfig> {
        let mut distinct: Vec<PartitionConfig> = Vec::with_capacity(self.timeseries.len());
        for partition in &self.timeseries {
            let same = distinct.iter_mut().find(|other| other.is_same(partition));
            match same {
                Some(other) => other.limit = partition.limit,
                None => distinct.push(partition.clone()),
            }
        }
        distinct
    }
}

/// When `register` of a durable store returns.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// At once; what was registered is on disk after the next flush, at most `flush_period` later.
    #[default]
    Periodic,
    /// When the events are on disk; concurrent calls share a commit.
    Committed,
}

/// One time series of a durable store.
#[derive(Debug, Clone)]
pub struct PartitionConfig {
    /// The timestamp that sorts it; a series by source timestamp leaves out events without one.
    pub order_by: OrderBy,
    /// The event types that it takes.
    pub subscriptions: Subscription,
    /// When its oldest events are removed; `None` never.
    pub limit: Option<Limit>,
}

impl PartitionConfig {
    /// A series without limit.
    #[must_use]
    pub fn new(order_by: OrderBy, subscriptions: Subscription) -> Self {
        Self {
            order_by,
            subscriptions,
            limit: None,
        }
    }

    /// Sets when its oldest events are removed.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// One series by timestamp and one by source timestamp, each of all events.
    #[must_use]
    pub fn all() -> [Self; 2] {
        [OrderBy::Timestamp, OrderBy::SourceTimestamp]
            .map(|order_by| Self::new(order_by, Subscription::all()))
    }

    /// Whether it is the same series on disk: its limit does not count.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.order_by == other.order_by && self.subscriptions == other.subscriptions
    }
}

/// When the oldest events of a time series are removed; looked at when the store opens and every `cleanup_period`.
///
/// While there are more than `min_entries`, the oldest goes if there are more than `max_entries` or it is older than
/// `duration`. A store is not opened with a limit that is negative, or no number. Only flushed events count, so that a limit can be exceeded between two cleanups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limit {
    /// So many are kept whatever the other limits say. Default `None`: 0.
    pub min_entries: Option<f64>,
    /// More are removed. Default `None`: any number stays.
    pub max_entries: Option<f64>,
    /// Seconds; older ones are removed, by the timestamp that sorts the series. Default `None`: they stay.
    pub duration: Option<f64>,
    /// Bytes of the series, turned into a number of entries by the average size of one. Default `None`: any size.
    pub size: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_the_page_is_a_configuration() {
        let (_, rest) = PAGE.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let config = StoreConfig::from_toml(example).unwrap();
        assert_eq!(config.identifier.as_deref(), Some("rig-1"));
        assert_eq!(config.flush_period, Duration::from_millis(500));
        assert_eq!(config.durability, Durability::Committed);
        assert_eq!(config.conditions.len(), 1);
        assert!(config.latest.is_all());
        let [week, emergencies] = &config.timeseries[..] else {
            panic!("{:?}", config.timeseries);
        };
        assert_eq!(week.limit.unwrap().duration, Some(604_800.0));
        assert_eq!(emergencies.order_by, OrderBy::SourceTimestamp);
        let types = ["rig-1/event/emergencyStop", "rig-2/emergency/a/b"];
        assert!(
            types
                .iter()
                .all(|one| emergencies.subscriptions.matches(&(*one).into()))
        );
    }

    #[test]
    fn page_has_every_key() {
        for key in read::KEYS {
            assert!(
                PAGE.contains(&format!("`{key}")),
                "docs/store.md has no {key}"
            );
        }
    }

    #[test]
    fn partitions_of_equal_identity_are_one_with_the_last_limit() {
        let limit = |max| Limit {
            max_entries: Some(max),
            ..Limit::default()
        };
        let of = |types: &[&str]| Subscription::new(types.iter().map(|one| (*one).into())).unwrap();
        let by_time = |types: &[&str]| PartitionConfig::new(OrderBy::Timestamp, of(types));
        let config = StoreConfig::default().timeseries([
            by_time(&["a", "b"]).limit(limit(1.0)),
            by_time(&["c"]),
            by_time(&["b", "a", "a"]).limit(limit(2.0)),
            PartitionConfig::new(OrderBy::SourceTimestamp, of(&["a", "b"])),
        ]);
        let partitions = config.partitions();
        assert_eq!(partitions.len(), 3);
        assert_eq!(partitions[0].limit, Some(limit(2.0)));
        assert_eq!(partitions[1].limit, None);
    }

    #[test]
    fn same_keys_in_toml_and_in_json_are_one_configuration() {
        let toml = "flush_period = 2\ntimeseries = []\n[latest]\nsubscriptions = [\"a/b\"]";
        let json =
            r#"{"flush_period": 2.0, "timeseries": [], "latest": {"subscriptions": [["a", "b"]]}}"#;
        let toml = StoreConfig::from_toml(toml).unwrap();
        let json = StoreConfig::from_json(json).unwrap();
        assert_eq!(format!("{toml:?}"), format!("{json:?}"));
    }

    #[test]
    fn errors_name_the_key() {
        for (text, error) in [
            ("[]", ": a table is wanted, not a list"),
            (r#"{"flush": 1}"#, "flush: unknown key; known are "),
            (
                r#"{"flush_period": -1}"#,
                "flush_period: a number from 0 is wanted, not -1",
            ),
            (r#"{"flush_period": 1e300}"#, "flush_period: "),
            (r#"{"latest": {}}"#, "latest.subscriptions: missing"),
            (
                r#"{"latest": {"subscriptions": ["*/a"]}}"#,
                "latest.subscriptions: `*/a` is no query type",
            ),
            (
                r#"{"timeseries": [{"order_by": "TIME", "subscriptions": []}]}"#,
                "timeseries[0].order_by: one of TIMESTAMP, SOURCE_TIMESTAMP is wanted, not the text \"TIME\"",
            ),
            (
                r#"{"timeseries_max_results": 1.5}"#,
                "timeseries_max_results: a whole number from 0 is wanted, not 1.5",
            ),
            (
                r#"{"conditions": [{"subscriptions": [], "condition": {"type": "not"}}]}"#,
                "conditions[0].condition.type: one of all, any, json is wanted",
            ),
        ] {
            let found = StoreConfig::from_json(text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }

    const PAGE: &str = include_str!("../../docs/store.md");
}
