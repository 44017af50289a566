//! The last line of `run send` and `run receive`: what was moved in all.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::print::{Output, bytes, counted, note};
use crate::cli::run::progress::Moved;

/// What was moved in all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    notice: &'static str,
    /// Runs that have ended.
    pub(super) runs: u64,
    records: u64,
    bytes: u64,
    /// Records that did not come, or could not be sent.
    missed: u64,
    /// Runs that were begun and could not be ended; of a sender only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unfinished: Option<u64>,
    /// Whether several receivers shared a run, each with a part of it; of a sender only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) several_receivers: Option<bool>,
    /// Records that came out of order.
    pub(super) late: u64,
    /// Records that came twice.
    pub(super) duplicates: u64,
    /// Messages that could not be used.
    pub(super) faults: u64,
    seconds: f64,
    /// Of all blocks in order; absent when nothing was hashed.
    sha256: Option<String>,
}

impl Totals {
    /// What was moved, and how long it took.
    pub(super) fn new(moved: Moved, took: Duration, sha256: Option<String>) -> Self {
        Self {
            notice: "totals",
            runs: 0,
            records: moved.records,
            bytes: moved.bytes,
            missed: moved.missed,
            unfinished: None,
            several_receivers: None,
            late: 0,
            duplicates: 0,
            faults: 0,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            sha256,
        }
    }

    /// Prints the line: as JSON on standard output, or for people on standard error.
    pub(super) fn print(&self, out: Output) -> Result<(), Failure> {
        if out.is_json() {
            return out.object(self);
        }
        note(&self.text());
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "-- {}, {}, {}, {} missed in {:.1} s",
            counted(self.runs, "run"),
            counted(self.records, "record"),
            bytes(self.bytes as f64),
            self.missed,
            self.seconds
        );
        if let Some(unfinished @ 1..) = self.unfinished {
            text.push_str(&format!(", {} without an end", counted(unfinished, "run")));
        }
        for (count, what) in [
            (self.late, "late"),
            (self.duplicates, "doubled"),
            (self.faults, "unusable messages"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if self.seconds > 0.0 && self.bytes > 0 {
            let rate = bytes(self.bytes as f64 / self.seconds);
            text.push_str(&format!(", {rate}/s"));
        }
        if let Some(digest) = &self.sha256 {
            text.push_str(&format!("\n-- sha256 {digest}"));
        }
        text
    }
}

/// How long data have been moving: from the first begin of a run to the last end.
#[derive(Debug, Default)]
pub(super) struct Moving {
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Moving {
    /// A run has begun or ended, now.
    pub(super) fn mark(&mut self) {
        let now = Instant::now();
        self.since.get_or_insert(now);
        self.until = Some(now);
    }

    /// The time between the first mark and the last.
    pub(super) fn took(&self) -> Duration {
        match (self.since, self.until) {
            (Some(since), Some(until)) => until - since,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Totals {
        let moved = Moved {
            records: 3,
            bytes: 2_000,
            missed: 1,
        };
        let mut totals = Totals::new(moved, Duration::from_millis(500), Some("ab".to_owned()));
        totals.runs = 1;
        totals
    }

    #[test]
    fn members_are_those_that_scripts_read() {
        let object = serde_json::to_value(totals()).unwrap();
        assert_eq!(object["notice"], "totals");
        assert_eq!(object["records"], 3);
        assert_eq!(object["bytes"], 2000);
        assert_eq!(object["missed"], 1);
        assert_eq!(object["sha256"], "ab");
        assert_eq!(object["seconds"], 0.5);
    }

    #[test]
    fn people_read_one_line_and_the_digest() {
        assert_eq!(
            totals().text(),
            "-- 1 run, 3 records, 2.0 kB, 1 missed in 0.5 s, 4.0 kB/s\n-- sha256 ab"
        );
    }

    #[test]
    fn run_that_could_not_be_ended_is_told() {
        let mut totals = totals();
        (totals.runs, totals.unfinished) = (0, Some(1));
        let text = "-- 0 runs, 3 records, 2.0 kB, 1 missed in 0.5 s, 1 run without an end, ";
        assert!(totals.text().starts_with(text), "{}", totals.text());
    }
}
