//! Where the messages of the present start of a service are in its store, sparsely.

use std::collections::BTreeMap;

use crate::event::Timestamp;
use crate::rpc::{HistoryRequest, Topic};

/// The places of the messages that were recorded since the service started.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) identifier: Option<String>,
    epoch: Option<u64>,
    topics: BTreeMap<Topic, Marks>,
}

/// Every so manieth number of a topic with the time at which it was registered.
#[derive(Debug)]
struct Marks {
    last: u64,
    stride: u64,
    /// Ascending; the first is that of the first message.
    marks: Vec<(u64, Timestamp)>,
}

impl Index {
    /// A message, or a gap up to this number, is in the store.
    pub(super) fn add(&mut self, topic: Topic, epoch: u64, sequence: u64, timestamp: Timestamp) {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.topics.clear();
        }
        let marks = self.topics.entry(topic).or_insert_with(|| Marks {
            last: sequence,
            stride: FIRST_STRIDE,
            marks: vec![(sequence, timestamp)],
        });
        marks.last = sequence.max(marks.last);
        let marked = marks.marks.last().map_or(0, |(marked, _)| *marked);
        if sequence.saturating_sub(marked) < marks.stride {
            return;
        }
        marks.marks.push((sequence, timestamp));
        if marks.marks.len() > MAX_MARKS {
            marks.stride = marks.stride.saturating_mul(2);
            let mut keep = false;
            marks.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Whether all up to these numbers has been recorded.
    pub(super) fn has(&self, epoch: u64, until: &BTreeMap<Topic, u64>) -> bool {
        let last = |topic: &Topic| self.topics.get(topic).map_or(0, |marks| marks.last);
        until.values().all(|number| *number == 0)
            || (self.epoch == Some(epoch)
                && until.iter().all(|(topic, number)| last(topic) >= *number))
    }

    /// The wanted topics that have been recorded, each with a number.
    pub(super) fn after(
        &self,
        request: &HistoryRequest,
        number: impl Fn(Topic) -> u64,
    ) -> BTreeMap<Topic, u64> {
        if self.epoch != Some(request.epoch) {
            return BTreeMap::new();
        }
        self.topics
            .keys()
            .filter(|topic| request.wants(**topic))
            .map(|topic| (*topic, number(*topic)))
            .collect()
    }

    /// By topic, at which time to look for what follows a number, and the last number.
    pub(super) fn marks(&self, after: &BTreeMap<Topic, u64>) -> BTreeMap<Topic, (Timestamp, u64)> {
        let mark = |(topic, after): (&Topic, &u64)| {
            let marks = self.topics.get(topic)?;
            Some((*topic, (marks.before(after.saturating_add(1))?, marks.last)))
        };
        after.iter().filter_map(mark).collect()
    }

    /// When the first of the messages that follow these numbers was registered, or before.
    pub(super) fn begin(&self, epoch: u64, after: &BTreeMap<Topic, u64>) -> Timestamp {
        if self.epoch != Some(epoch) {
            return Timestamp::MAX;
        }
        let behind = |(topic, after): (&Topic, &u64)| {
            let marks = self.topics.get(topic)?;
            (marks.last > *after)
                .then(|| marks.before(after.saturating_add(1)))
                .flatten()
        };
        let first = after.iter().filter_map(behind).min();
        first.unwrap_or(Timestamp::MAX)
    }
}

impl Marks {
    /// The time of the last mark up to a number, else of the first.
    fn before(&self, number: u64) -> Option<Timestamp> {
        let behind = self.marks.partition_point(|(marked, _)| *marked <= number);
        self.marks
            .get(behind.saturating_sub(1))
            .map(|(_, timestamp)| *timestamp)
    }
}

const FIRST_STRIDE: u64 = 256;

/// Marks of one topic, 24 bytes each; with more, every second one goes.
const MAX_MARKS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::HistoryStart;

    fn request() -> HistoryRequest {
        HistoryRequest::new(HistoryStart::Beginning).epoch(9)
    }

    #[test]
    fn number_is_found_at_or_behind_the_mark() {
        let mut index = Index::default();
        for sequence in 1..=3_000_000 {
            index.add(
                Topic::EVENT,
                9,
                sequence,
                Timestamp::new(sequence as i64, 0),
            );
        }
        assert!(index.topics[&Topic::EVENT].marks.len() <= MAX_MARKS);
        for after in [0, 1, 255, 256, 257, 1_999_999, 2_999_999] {
            let after = index.after(&request(), |_| after);
            let (time, last) = index.marks(&after)[&Topic::EVENT];
            let wanted = after[&Topic::EVENT] as i64 + 1;
            assert!(time.s() <= wanted && wanted - time.s() < 2_048, "{time:?}");
            assert_eq!(last, 3_000_000);
            assert_eq!(index.begin(9, &after), time);
        }
        let after = index.after(&request(), |_| 3_000_000);
        assert_eq!(index.begin(9, &after), Timestamp::MAX);
    }

    #[test]
    fn another_start_forgets_the_one_before() {
        let mut index = Index::default();
        index.add(Topic::EVENT, 8, 500, Timestamp::new(1, 0));
        assert!(index.has(8, &BTreeMap::from([(Topic::EVENT, 500)])));
        assert!(!index.has(9, &BTreeMap::from([(Topic::EVENT, 1)])));
        assert!(index.has(9, &BTreeMap::from([(Topic::EVENT, 0)])));
        assert_eq!(index.after(&request(), |_| 0), BTreeMap::new());
        index.add(Topic::PROPERTY_CHANGE, 9, 1, Timestamp::new(2, 0));
        let known: Vec<_> = index.after(&request(), |_| 0).into_keys().collect();
        assert_eq!(known, [Topic::PROPERTY_CHANGE]);
    }
}
