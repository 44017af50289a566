//! Several sorted sources as one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::event::{Event, Order};
use crate::store::StoreError;

use super::catalog::Wanted;
use super::memtable::{Key, Run};

/// The entries of several sources in one order, each key once: that of the first source that has it.
pub(super) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    heads: BinaryHeap<Head>,
    last: Option<Key>,
    failed: Option<StoreError>,
}

/// Entries in the order of the merge.
pub(super) type Source<'a> = Box<dyn Iterator<Item = Result<Found, StoreError>> + 'a>;

/// One entry of a partition.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) place: Place,
}

/// Where an event is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Memory(Arc<Event>),
    /// In the slot of that number.
    Disk(u64),
}

/// The next entry of one source.
struct Head {
    found: Found,
    source: usize,
    order: Order,
}

impl<'a> Merge<'a> {
    /// Merges sources that are all in this order.
    pub(super) fn new(order: Order, mut sources: Vec<Source<'a>>) -> Result<Self, StoreError> {
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (source, entries) in sources.iter_mut().enumerate() {
            if let Some(found) = entries.next() {
                heads.push(Head {
                    found: found?,
                    source,
                    order,
                });
            }
        }
        Ok(Self {
            sources,
            heads,
            last: None,
            failed: None,
        })
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Found, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                self.heads.clear();
                return Some(Err(error));
            }
            let mut head = self.heads.peek_mut()?;
            let found = match self.sources[head.source].next() {
                Some(Ok(next)) => std::mem::replace(&mut head.found, next),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    PeekMut::pop(head).found
                }
                None => PeekMut::pop(head).found,
            };
            if self.last != Some(found.key) {
                self.last = Some(found.key);
                return Some(Ok(found));
            }
        }
    }
}

impl Ord for Head {
    /// The greatest comes first out of the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = match self.order {
            Order::Descending => self.found.key.cmp(&other.found.key),
            Order::Ascending => other.found.key.cmp(&self.found.key),
        };
        keys.then_with(|| other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// The rows of a run that lie in a range of keys and are of wanted types.
pub(super) fn run_source(
    run: Arc<Run>,
    range: RangeInclusive<Key>,
    order: Order,
    wanted: Wanted,
) -> Source<'static> {
    let start = run.partition_point(|row| row.key < *range.start());
    let end = run
        .partition_point(|row| row.key <= *range.end())
        .max(start);
    let found = move |index: usize| {
        let row = &run[index];
        wanted.contains(row.type_number).then(|| {
            Ok(Found {
                key: row.key,
                place: Place::Memory(Arc::clone(&row.event)),
            })
        })
    };
    match order {
        Order::Ascending => Box::new((start..end).filter_map(found)),
        Order::Descending => Box::new((start..end).rev().filter_map(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_merged_in_both_directions() {
        assert_eq!(
            merged(Order::Ascending, &[&[1, 4], &[2, 3], &[]]),
            [1, 2, 3, 4]
        );
        assert_eq!(
            merged(Order::Descending, &[&[4, 1], &[3, 2], &[]]),
            [4, 3, 2, 1]
        );
    }

    #[test]
    fn a_key_of_two_sources_comes_once_from_the_first() {
        let sources = vec![source(&[2], 0), source(&[1, 2, 3], 1)];
        let found: Vec<_> = Merge::new(Order::Ascending, sources)
            .unwrap()
            .map(|found| match found.unwrap() {
                Found {
                    key,
                    place: Place::Disk(slot),
                } => (key[35], slot),
                found => panic!("{found:?}"),
            })
            .collect();
        assert_eq!(found, [(1, 1), (2, 0), (3, 1)]);
    }

    #[test]
    fn an_error_comes_behind_what_is_before_it_and_ends_the_merge() {
        let failing = source(&[1], 0).chain([Err(StoreError::Closed)]);
        let sources: Vec<Source<'_>> = vec![Box::new(failing), source(&[2], 1)];
        let mut merge = Merge::new(Order::Ascending, sources).unwrap();
        assert_eq!(merge.next().unwrap().unwrap().key[35], 1);
        assert!(merge.next().unwrap().unwrap_err().is_closed());
        assert!(merge.next().is_none());
    }

    fn merged(order: Order, sources: &[&[u8]]) -> Vec<u8> {
        let sources = sources.iter().map(|keys| source(keys, 0)).collect();
        let merge = Merge::new(order, sources).unwrap();
        merge.map(|found| found.unwrap().key[35]).collect()
    }

    fn source(keys: &[u8], slot: u64) -> Source<'static> {
        let found = keys.iter().map(|last| {
            let mut key = [0; 36];
            key[35] = *last;
            Ok(Found {
                key,
                place: Place::Disk(slot),
            })
        });
        Box::new(found.collect::<Vec<_>>().into_iter())
    }
}
