//! The line that tells a person how many events went by: on standard error, and only on a terminal.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::Failure;
use crate::cli::print::Output;

/// The line, redrawn by a thread of its own until it is dropped.
pub(super) struct Progress {
    events: Arc<AtomicU64>,
    bar: ProgressBar,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to draw, if a person watches standard error; `done` is what becomes of the events.
    pub(super) fn start(done: &'static str, out: Output) -> Result<Self, Failure> {
        let events = Arc::new(AtomicU64::new(0));
        if out.is_json() || !stderr().is_terminal() {
            return Ok(Self {
                events,
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
        let (drawn, counted) = (bar.clone(), Arc::clone(&events));
        let thread = thread::Builder::new()
            .name("acqbus-progress".to_owned())
            .spawn(move || {
                let (mut before, mut when) = (0, Instant::now());
                while ended.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                    let (events, now) = (counted.load(Ordering::Relaxed), Instant::now());
                    drawn.set_message(line(done, events, before, now - when));
                    (before, when) = (events, now);
                }
            })?;
        Ok(Self {
            events,
            bar,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Tells how many events there were so far.
    pub(super) fn set(&self, events: u64) {
        self.events.store(events, Ordering::Relaxed);
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

fn line(done: &str, events: u64, before: u64, between: Duration) -> String {
    let seconds = between.as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = events.saturating_sub(before) as f64 / seconds;
    format!("{events} events {done}, {rate:.0}/s")
}

const BETWEEN: Duration = Duration::from_millis(250);

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
