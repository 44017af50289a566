//! Which sequence numbers of a run have been seen: exact counts of what is missing, late and doubled.

use std::collections::BTreeMap;

/// The sequence numbers seen in one run.
///
/// A run counts from 1. The number that follows the highest one costs a comparison; a gap costs an entry of a map, which a
/// late record fills again. At most `limit` gaps are kept apart: beyond, the lowest one is closed, its numbers stay missed for
/// good, and [`is_exact`](Self::is_exact) turns false.
///
/// *Ours*: the reference adds up the steps between neighbours, so a doubled record hides a lost one.
#[derive(Clone, Debug)]
pub(crate) struct SeenNumbers {
    highest: u64,
    zero: bool,
    /// First to last number of each gap below `highest`.
    gaps: BTreeMap<u64, u64>,
    /// How many numbers are in gaps, those of closed gaps too.
    missed: u64,
    late: u64,
    duplicates: u64,
    /// The gaps up to this number were closed: what comes below cannot be told late from doubled.
    closed: u64,
    exact: bool,
    limit: usize,
}

/// What one number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The number after the highest one.
    Next,
    /// Higher than that: the numbers before it, `count` from `first` on, are missing so far.
    Ahead { first: u64, count: u64 },
    /// A number that was missing, or a first 0.
    Late,
    /// A number that had been seen, or one below a closed gap.
    Duplicate,
}

impl SeenNumbers {
    /// Nothing seen; at most `limit` gaps, at least one, are kept apart.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            highest: 0,
            zero: false,
            gaps: BTreeMap::new(),
            missed: 0,
            late: 0,
            duplicates: 0,
            closed: 0,
            exact: true,
            limit: limit.max(1),
        }
    }

    /// Takes the number of a record.
    #[inline]
    pub(crate) fn see(&mut self, number: u64) -> Seen {
        if self.highest.checked_add(1) == Some(number) {
            self.highest = number;
            return Seen::Next;
        }
        self.see_other(number)
    }

    /// The highest number seen; 0 before the first.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// How many numbers below the highest one are missing.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// The same for a run that has numbers up to `announced`, of which the last may not have come.
    pub(crate) fn missed_of(&self, announced: Option<u64>) -> u64 {
        // No overflow: the sum is a part of the numbers up to `announced`.
        self.missed + announced.map_or(0, |announced| announced.saturating_sub(self.highest))
    }

    /// How many records filled a gap.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    /// How many records had a number that was seen before.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// False once a gap was closed to bound the memory, and a record came below it.
    ///
    /// Then some of the duplicates may have been late ones, and as many of the missed ones have come.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// How many gaps are kept apart.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// Closes so many of the lowest gaps, but for one; gives how many it closed.
    pub(crate) fn close_lowest(&mut self, count: usize) -> usize {
        let count = count.min(self.gaps.len().saturating_sub(1));
        for _ in 0..count {
            self.close_one();
        }
        count
    }

    /// Forgets the gaps and keeps the counts, as no record will follow; gives how many there were.
    pub(crate) fn forget_gaps(&mut self) -> usize {
        std::mem::take(&mut self.gaps).len()
    }

    #[cold]
    fn see_other(&mut self, number: u64) -> Seen {
        if number > self.highest {
            let first = self.highest + 1;
            let count = number - first;
            self.gaps.insert(first, number - 1);
            self.missed += count;
            self.highest = number;
            self.bound();
            return Seen::Ahead { first, count };
        }
        if number == 0 {
            return self.see_zero();
        }
        match self.gaps.range(..=number).next_back() {
            Some((&first, &last)) if number <= last => {
                self.fill(first, last, number);
                Seen::Late
            }
            _ => {
                self.exact &= number > self.closed;
                self.duplicates += 1;
                Seen::Duplicate
            }
        }
    }

    /// A number that no run should have; it belongs to no gap.
    fn see_zero(&mut self) -> Seen {
        if self.zero {
            self.duplicates += 1;
            return Seen::Duplicate;
        }
        self.zero = true;
        if self.highest == 0 {
            return Seen::Next;
        }
        self.late += 1;
        Seen::Late
    }

    fn fill(&mut self, first: u64, last: u64, number: u64) {
        self.gaps.remove(&first);
        if first < number {
            self.gaps.insert(first, number - 1);
        }
        if number < last {
            self.gaps.insert(number + 1, last);
        }
        self.missed -= 1;
        self.late += 1;
        self.bound();
    }

    fn bound(&mut self) {
        if self.gaps.len() > self.limit {
            self.close_one();
        }
    }

    fn close_one(&mut self) {
        if let Some((_, last)) = self.gaps.pop_first() {
            self.closed = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn after(numbers: &[u64]) -> SeenNumbers {
        let mut seen = SeenNumbers::new(1000);
        for number in numbers {
            seen.see(*number);
        }
        seen
    }

    #[test]
    fn numbers_in_order_miss_nothing() {
        let seen = after(&[1, 2, 3]);
        assert_eq!((seen.highest(), seen.missed(), seen.late()), (3, 0, 0));
        assert_eq!(seen.missed_of(Some(3)), 0);
        assert_eq!(seen.missed_of(Some(5)), 2);
        assert_eq!(seen.missed_of(Some(2)), 0);
    }

    #[test]
    fn a_doubled_record_does_not_hide_a_lost_one() {
        let seen = after(&[1, 3, 3, 4]);
        assert_eq!((seen.missed(), seen.duplicates()), (1, 1));
    }

    #[test]
    fn swapped_neighbours_are_late_and_not_missed() {
        let mut seen = SeenNumbers::new(10);
        assert_eq!(seen.see(1), Seen::Next);
        assert_eq!(seen.see(3), Seen::Ahead { first: 2, count: 1 });
        assert_eq!(seen.see(2), Seen::Late);
        assert_eq!(seen.see(2), Seen::Duplicate);
        assert_eq!((seen.missed(), seen.late(), seen.duplicates()), (0, 1, 1));
    }

    #[test]
    fn number_zero_is_outside_of_every_gap() {
        let mut seen = SeenNumbers::new(10);
        assert_eq!(seen.see(0), Seen::Next);
        assert_eq!(seen.see(0), Seen::Duplicate);
        assert_eq!(seen.see(1), Seen::Next);
        let mut seen = after(&[2]);
        assert_eq!(seen.see(0), Seen::Late);
        assert_eq!(seen.missed(), 1);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut seen = SeenNumbers::new(10);
        let count = u64::MAX - 1;
        assert_eq!(seen.see(u64::MAX), Seen::Ahead { first: 1, count });
        assert_eq!(seen.see(u64::MAX), Seen::Duplicate);
        assert_eq!(seen.see(0), Seen::Late);
        assert_eq!(seen.see(u64::MAX - 1), Seen::Late);
        assert_eq!(seen.missed_of(Some(u64::MAX)), u64::MAX - 2);
    }

    #[test]
    fn gaps_beyond_the_limit_stay_missed_and_the_counts_say_so() {
        let mut seen = SeenNumbers::new(2);
        for number in [2, 4, 6] {
            seen.see(number);
        }
        assert!(seen.is_exact(), "no record has come below the closed gap");
        assert_eq!(seen.see(3), Seen::Late);
        assert!(seen.is_exact());
        assert_eq!(seen.see(1), Seen::Duplicate);
        assert!(!seen.is_exact());
        assert_eq!(seen.missed(), 2, "1 and 5");
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_set(numbers in prop::collection::vec(0u64..60, 0..200)) {
            let mut seen = SeenNumbers::new(1000);
            let mut set = BTreeSet::new();
            let (mut late, mut duplicates) = (0, 0);
            for number in numbers {
                let highest = set.last().copied().unwrap_or(0);
                let was_empty = set.is_empty();
                let answer = seen.see(number);
                let expected = if !set.insert(number) {
                    duplicates += 1;
                    Seen::Duplicate
                } else if number == highest + 1 || (number == 0 && was_empty) {
                    Seen::Next
                } else if number > highest {
                    let first = highest + 1;
                    Seen::Ahead { first, count: number - first }
                } else {
                    late += 1;
                    Seen::Late
                };
                prop_assert_eq!(answer, expected);
            }
            let highest = set.last().copied().unwrap_or(0);
            let missed = (1..=highest).filter(|number| !set.contains(number)).count() as u64;
            prop_assert_eq!(seen.missed(), missed);
            prop_assert_eq!((seen.late(), seen.duplicates()), (late, duplicates));
            prop_assert!(seen.is_exact());
        }
    }
}
