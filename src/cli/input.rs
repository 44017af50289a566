//! Standard input that is not a terminal, or not ours to read.

use std::io::{self, BufRead};
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

use crate::cli::exit::Failure;

/// Whether standard input is a terminal that another job has: reading it, or changing its mode, would stop this program.
pub(crate) fn is_in_background() -> bool {
    // No terminal, no job control.
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp())
}

/// Standard input line by line, each as `read` makes it, from a thread that nobody needs to wait for.
pub(crate) fn lines<T: Send + 'static>(
    read: impl Fn(io::Result<String>) -> T + Send + 'static,
) -> Result<Receiver<T>, Failure> {
    let (sender, lines) = bounded(1);
    thread::Builder::new()
        .name("acqbus-input".to_owned())
        .spawn(move || {
            for line in io::stdin().lock().lines() {
                if sender.send(read(line)).is_err() {
                    return;
                }
            }
        })?;
    Ok(lines)
}
