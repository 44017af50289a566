//! The configured partitions and their numbers on disk.

use std::collections::HashMap;

use crate::event::OrderBy;
use crate::store::{Limit, PartitionConfig};

use super::meta;

/// A configured partition.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    /// Its number on disk, from 1.
    pub(super) id: u32,
    pub(super) order_by: OrderBy,
    pub(super) limit: Option<Limit>,
}

/// Gives every configured partition its number, and the new ones with what they are.
///
/// `known` has the partitions on disk by what they are. One that is no longer configured stays there, unseen.
pub(super) fn number(
    configured: &[PartitionConfig],
    mut known: HashMap<String, u32>,
) -> (Vec<Partition>, Vec<(u32, String)>) {
    let mut new = Vec::new();
    let partitions = configured.iter().map(|partition| {
        let identity = meta::identity(partition);
        let next = known.values().max().map_or(1, |last| last + 1);
        let id = *known.entry(identity.clone()).or_insert_with(|| {
            new.push((next, identity));
            next
        });
        Partition {
            id,
            order_by: partition.order_by,
            limit: partition.limit,
        }
    });
    (partitions.collect(), new)
}

/// How many of the oldest entries of a partition go, or may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Excess {
    /// So many may go at most, for so many stay whatever else holds.
    pub(super) removable: u64,
    /// So many of them go whatever their time.
    pub(super) surplus: u64,
}

/// Applies a limit to `count` entries of `average` bytes each. Source: hat-event 0.9.44.
pub(super) fn excess(limit: &Limit, count: u64, average: f64) -> Excess {
    let above = |limit: f64| {
        // Limits may be fractional: an entry goes while there are more than the limit.
        let stay = limit.max(0.0).floor();
        if stay >= count as f64 {
            0
        } else {
            count - stay as u64
        }
    };
    let by_size = limit.size.map(|size| (size / average.max(1.0)).floor());
    let max_entries = match (limit.max_entries, by_size) {
        (Some(entries), Some(by_size)) => Some(entries.min(by_size)),
        (entries, by_size) => entries.or(by_size),
    };
    let removable = above(limit.min_entries.unwrap_or(0.0));
    let surplus = max_entries.map_or(0, above).min(removable);
    Excess { removable, surplus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_min_entries_stay_whatever_else_holds() {
        let limit = Limit {
            min_entries: Some(5.0),
            max_entries: Some(2.0),
            ..Limit::default()
        };
        assert_eq!(
            excess(&limit, 9, 100.0),
            Excess {
                removable: 4,
                surplus: 4
            }
        );
        assert_eq!(
            excess(&limit, 5, 100.0),
            Excess {
                removable: 0,
                surplus: 0
            }
        );
    }

    #[test]
    fn a_fraction_of_an_entry_counts_as_none() {
        let limit = Limit {
            max_entries: Some(7.5),
            ..Limit::default()
        };
        assert_eq!(
            excess(&limit, 9, 100.0),
            Excess {
                removable: 9,
                surplus: 2
            }
        );
        assert_eq!(
            excess(&limit, 7, 100.0),
            Excess {
                removable: 7,
                surplus: 0
            }
        );
    }

    #[test]
    fn a_size_is_as_many_entries_as_it_holds() {
        let limit = Limit {
            size: Some(1050.0),
            ..Limit::default()
        };
        assert_eq!(excess(&limit, 12, 100.0).surplus, 2);
        let both = Limit {
            max_entries: Some(4.0),
            ..limit
        };
        assert_eq!(excess(&both, 12, 100.0).surplus, 8);
    }

    #[test]
    fn without_limits_everything_stays() {
        assert_eq!(excess(&Limit::default(), 12, 100.0).surplus, 0);
    }
}
