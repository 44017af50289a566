//! The line that tells a person how far a run has come: on standard error, and only on a terminal.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::Failure;
use crate::cli::print::Output;

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

/// The line, redrawn by a thread of its own until it is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to draw, if a person watches standard error.
    pub(super) fn start(counts: Arc<Counts>, out: Output) -> Result<Self, Failure> {
        if out.is_json() || !stderr().is_terminal() {
            return Ok(Self {
                bar: ProgressBar::hidden(),
                end: None,
                thread: None,
            });
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let (end, ended) = bounded::<()>(0);
        let drawn = bar.clone();
        let thread = thread::Builder::new()
            .name("acqbus-progress".to_owned())
            .spawn(move || {
                let (mut before, mut when) = (counts.now(), Instant::now());
                while ended.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                    let (moved, now) = (counts.now(), Instant::now());
                    drawn.set_message(line(moved, before, now - when));
                    (before, when) = (moved, now);
                }
            })?;
        Ok(Self {
            bar,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Prints something else, with the line out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It panics never; there is nobody to tell if it did.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Bytes as people read them, in powers of ten.
pub(in crate::cli) fn bytes(bytes: f64) -> String {
    for (unit, name) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes / unit);
        }
    }
    format!("{bytes:.0} B")
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

const BETWEEN: Duration = Duration::from_millis(250);

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
