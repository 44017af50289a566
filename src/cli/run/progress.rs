//! What a run has moved so far, and the line that tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cli::exit::Failure;
use crate::cli::print::{Output, bytes};
use crate::cli::progress::Progress;

/// What was moved so far, written by one thread and read by any.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: AtomicU64,
    bytes: AtomicU64,
    missed: AtomicU64,
}

/// The counts at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Data records.
    pub(super) records: u64,
    /// Bytes in their blocks.
    pub(super) bytes: u64,
    /// Records that are missing.
    pub(super) missed: u64,
}

impl Counts {
    /// Tells what was moved so far.
    pub(super) fn set(&self, moved: Moved) {
        self.records.store(moved.records, Ordering::Relaxed);
        self.bytes.store(moved.bytes, Ordering::Relaxed);
        self.missed.store(moved.missed, Ordering::Relaxed);
    }

    /// What was moved so far.
    pub(super) fn now(&self) -> Moved {
        Moved {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
        }
    }
}

/// Starts to draw the counts, if a person watches standard error.
pub(super) fn start(counts: Arc<Counts>, out: Output) -> Result<Progress, Failure> {
    let mut before = counts.now();
    Progress::start(out, move |between| {
        let moved = counts.now();
        line(moved, std::mem::replace(&mut before, moved), between)
    })
}

fn line(moved: Moved, before: Moved, between: Duration) -> String {
    let seconds = between.as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    format!(
        "{:.0} records/s, {}/s; {} records, {}, {} missed",
        rate(moved.records, before.records),
        bytes(rate(moved.bytes, before.bytes)),
        moved.records,
        bytes(moved.bytes as f64),
        moved.missed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_rate_records_bytes_and_missed() {
        let before = Moved {
            records: 1_000,
            bytes: 1_000_000,
            missed: 0,
        };
        let now = Moved {
            records: 1_500,
            bytes: 3_000_000,
            missed: 7,
        };
        assert_eq!(
            line(now, before, Duration::from_millis(250)),
            "2000 records/s, 8.0 MB/s; 1500 records, 3.0 MB, 7 missed"
        );
    }

    #[test]
    fn rate_is_a_number_at_any_time() {
        let moved = Moved::default();
        assert!(line(moved, moved, Duration::ZERO).starts_with("0 records/s, 0 B/s"));
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        for (count, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1e3, "1.0 kB"),
            (2.5e9, "2.5 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
