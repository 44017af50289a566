//! What a receiver has counted.

use crate::cdtp::receiver::event::RunCounts;

/// What a receiver has counted since its start, over all senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverStats {
    /// Messages received, good or not.
    pub messages: u64,
    /// Records delivered.
    pub records: u64,
    /// Bytes of the blocks of all DATA messages, those of faults too (as the reference).
    pub bytes: u64,
    /// Numbers that never came, in ended runs; in open ones, those below the highest.
    pub missed: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// Records whose number had come before.
    pub duplicates: u64,
    /// Messages that could not be taken, and connections that were cut off.
    pub faults: u64,
    /// Runs begun.
    pub runs: u64,
    /// Runs ended, by their sender or by a substitute.
    pub ended_runs: u64,
    /// Runs ended by a substitute.
    pub substitutes: u64,
}

impl ReceiverStats {
    pub(crate) fn end_run(&mut self, counts: &RunCounts) {
        self.ended_runs += 1;
        self.add_numbers(counts);
    }

    pub(crate) fn add_numbers(&mut self, counts: &RunCounts) {
        // A sum over runs may be beyond all numbers: an EOR can announce any.
        self.missed = self.missed.saturating_add(counts.missed);
        self.late += counts.late;
        self.duplicates += counts.duplicates;
    }
}
