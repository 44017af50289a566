//! How many events went by, and the line that tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cli::exit::Failure;
use crate::cli::print::Output;
use crate::cli::progress::Progress;

/// A count of events that a person sees rise.
pub(super) struct Count {
    events: Arc<AtomicU64>,
    progress: Progress,
}

impl Count {
    /// Starts to draw, if a person watches standard error; `done` is what becomes of the events.
    pub(super) fn start(done: &'static str, out: Output) -> Result<Self, Failure> {
        let events = Arc::new(AtomicU64::new(0));
        let (counted, mut before) = (Arc::clone(&events), 0);
        let progress = Progress::start(out, move |between| {
            let events = counted.load(Ordering::Relaxed);
            line(
                done,
                events,
                std::mem::replace(&mut before, events),
                between,
            )
        })?;
        Ok(Self { events, progress })
    }

    /// Tells how many events there were so far.
    pub(super) fn set(&self, events: u64) {
        self.events.store(events, Ordering::Relaxed);
    }

    /// Prints something else, with the line out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.progress.aside(print)
    }
}

fn line(done: &str, events: u64, before: u64, between: Duration) -> String {
    let seconds = between.as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = events.saturating_sub(before) as f64 / seconds;
    format!("{events} events {done}, {rate:.0}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_events_and_rate() {
        let quarter = Duration::from_millis(250);
        assert_eq!(
            line("exported", 1500, 1000, quarter),
            "1500 events exported, 2000/s"
        );
        assert!(line("imported", 0, 0, Duration::ZERO).ends_with("0/s"));
    }
}
