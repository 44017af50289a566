//! Ctrl-C and its kin: the first asks the verb to stop, the second ends the program.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::exit::{Exit, Failure};

/// Tells when the user wants to stop. Cheap to clone; all clones share one Ctrl-C.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Receiver<Exit>,
}

impl Stop {
    /// Listens to Ctrl-C and to the signals that ask a program to end.
    pub(crate) fn on_ctrl_c() -> Result<Self, Failure> {
        let (sender, asked) = bounded(1);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        // Not joined: it waits for signals as long as the program runs.
        thread::Builder::new()
            .name("acqbus-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    let exit = exit_of(signal);
                    // The verb has not taken the first one yet: the user has waited long enough.
                    if sender.try_send(exit).is_err() {
                        std::process::exit(i32::from(exit.code()));
                    }
                }
            })?;
        Ok(Self { asked })
    }

    /// Asked by whoever holds the other end: for a verb that does not stop at every Ctrl-C.
    pub(crate) const fn relayed(asked: Receiver<Exit>) -> Self {
        Self { asked }
    }

    /// Ends the program at the next signal: the verb is ending already, and takes too long.
    pub(crate) fn end_at_the_next(&self) {
        let asked = self.asked.clone();
        // Not joined: it waits for signals as long as the program runs. Without it the third signal ends the program.
        let _ = thread::Builder::new()
            .name("acqbus-stop".to_owned())
            .spawn(move || {
                if let Ok(exit) = asked.recv() {
                    std::process::exit(i32::from(exit.code()));
                }
            });
    }

    /// Gets one item when the user wants to stop: the exit code of the signal that came.
    pub(crate) const fn asked(&self) -> &Receiver<Exit> {
        &self.asked
    }
}

const fn exit_of(signal: i32) -> Exit {
    match signal {
        SIGTERM => Exit::Terminated,
        SIGHUP => Exit::HungUp,
        _ => Exit::Interrupted,
    }
}
