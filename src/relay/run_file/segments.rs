//! The sparse index while it grows: where which numbers are, in bounded memory.

use crate::relay::run_file::format::Segment;

/// Collects segments; when there are too many, two neighbours become one.
#[derive(Debug)]
pub(super) struct Segments {
    done: Vec<Segment>,
    current: Segment,
    /// Marks in one segment.
    every: u32,
    /// Marks in the current one.
    marks: u32,
}

/// Segments kept at most: 2 MiB of memory and of file.
const MAX_SEGMENTS: usize = 65_536;

impl Segments {
    /// The first segment begins here.
    pub(super) const fn new(offset: u64) -> Self {
        Self {
            done: Vec::new(),
            current: empty(offset, 0),
            every: 1,
            marks: 0,
        }
    }

    /// A record with this number is in the current segment.
    #[inline]
    pub(super) fn record(&mut self, sequence: u64) {
        self.current.first = self.current.first.min(sequence);
        self.current.last = self.current.last.max(sequence);
    }

    /// A mark is written here, with so many records before it.
    pub(super) fn mark(&mut self, offset: u64, records: u64) {
        self.marks += 1;
        if self.marks < self.every {
            return;
        }
        self.marks = 0;
        self.done.push(self.current);
        self.current = empty(offset, records);
        if self.done.len() >= MAX_SEGMENTS {
            self.thin();
        }
    }

    /// All segments with a record in them.
    pub(super) fn finish(mut self) -> Vec<Segment> {
        self.done.push(self.current);
        self.done.retain(|segment| segment.first <= segment.last);
        self.done
    }

    fn thin(&mut self) {
        // An even number, so each has its neighbour.
        let (pairs, _) = self.done.as_chunks::<2>();
        let merged = pairs
            .iter()
            .map(|[one, two]| Segment {
                offset: one.offset,
                records: one.records,
                first: one.first.min(two.first),
                last: one.last.max(two.last),
            })
            .collect();
        self.done = merged;
        self.every = self.every.saturating_mul(2);
    }
}

const fn empty(offset: u64, records: u64) -> Segment {
    Segment {
        offset,
        records,
        first: u64::MAX,
        last: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_tell_their_numbers() {
        let mut segments = Segments::new(64);
        segments.record(1);
        segments.record(3);
        segments.mark(1000, 2);
        segments.mark(2000, 2);
        segments.record(2);
        let all = segments.finish();
        let seen: Vec<_> = all
            .iter()
            .map(|one| (one.offset, one.records, one.first, one.last))
            .collect();
        assert_eq!(seen, [(64, 0, 1, 3), (2000, 2, 2, 2)]);
    }

    #[test]
    fn memory_stays_bounded_and_every_number_is_found() {
        let mut segments = Segments::new(0);
        let marks = 300_000;
        for number in 0..marks {
            segments.record(number + 1);
            segments.mark((number + 1) * 100, number + 1);
            assert!(segments.done.len() < MAX_SEGMENTS);
        }
        let all = segments.finish();
        assert!(all.len() > MAX_SEGMENTS / 4);
        let mut next = 1;
        for segment in &all {
            assert_eq!(segment.first, next);
            assert_eq!(segment.records, next - 1);
            assert_eq!(segment.offset, (next - 1) * 100);
            next = segment.last + 1;
        }
        assert_eq!(next, marks + 1);
    }
}
