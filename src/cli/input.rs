//! Standard input that is not a terminal.

use std::io::{self, BufRead};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::cli::exit::Failure;

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
