//! The line that tells a person how far something has come: on standard error, and only on a terminal.

use std::io::{IsTerminal, stderr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::Failure;
use crate::cli::print::Output;

/// The line, redrawn by a thread of its own until it is dropped.
pub(in crate::cli) struct Progress {
    bar: ProgressBar,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to draw, if a person watches standard error; `line` makes the text, of the time since the one before.
    pub(in crate::cli) fn start(
        out: Output,
        mut line: impl FnMut(Duration) -> String + Send + 'static,
    ) -> Result<Self, Failure> {
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
                let mut before = Instant::now();
                while ended.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                    let now = Instant::now();
                    drawn.set_message(line(now - before));
                    before = now;
                }
            })?;
        Ok(Self {
            bar,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Prints something else, with the line out of the way.
    pub(in crate::cli) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
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

const BETWEEN: Duration = Duration::from_millis(250);
