//! Ctrl-C: the first asks the verb to stop, the second ends the program.

use crossbeam_channel::{Receiver, bounded};

use crate::cli::exit::{Exit, Failure};

/// Tells when the user wants to stop. Cheap to clone; all clones share one Ctrl-C.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Receiver<()>,
}

impl Stop {
    /// Listens to Ctrl-C and to the signals that ask a program to end.
    pub(crate) fn on_ctrl_c() -> Result<Self, Failure> {
        let (sender, asked) = bounded(1);
        ctrlc::set_handler(move || {
            // The verb has not taken the first one yet: the user has waited long enough.
            if sender.try_send(()).is_err() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        })
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
        Ok(Self { asked })
    }

    /// Gets one item when the user wants to stop.
    pub(crate) const fn asked(&self) -> &Receiver<()> {
        &self.asked
    }
}
