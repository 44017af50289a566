//! How a thread that sends is told to end: seen at once, whatever it waits for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Why a run ends before its data do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halted {
    /// Its time is over, as was asked.
    Time,
    /// The user has had enough.
    User,
}

/// The side that asks.
#[derive(Debug)]
pub(super) struct Halt {
    why: Arc<AtomicU8>,
    wake: Option<Sender<Infallible>>,
}

/// The side that is asked.
#[derive(Debug)]
pub(super) struct Halting {
    why: Arc<AtomicU8>,
    woken: Receiver<Infallible>,
}

/// The two sides.
pub(super) fn halt() -> (Halt, Halting) {
    let why = Arc::new(AtomicU8::new(GO_ON));
    let (wake, woken) = bounded(0);
    (
        Halt {
            why: Arc::clone(&why),
            wake: Some(wake),
        },
        Halting { why, woken },
    )
}

impl Halt {
    /// Asks to end; the user is over the clock.
    pub(super) fn ask(&mut self, why: Halted) {
        let number = match why {
            Halted::Time => TIME,
            Halted::User => USER,
        };
        self.why.fetch_max(number, Ordering::Release);
        drop(self.wake.take());
    }
}

impl Halting {
    /// Why to end, if it was asked for. Costs next to nothing.
    pub(super) fn asked(&self) -> Option<Halted> {
        match self.why.load(Ordering::Acquire) {
            GO_ON => None,
            TIME => Some(Halted::Time),
            _ => Some(Halted::User),
        }
    }

    /// Ends when it is asked for; never gets an item.
    pub(super) const fn woken(&self) -> &Receiver<Infallible> {
        &self.woken
    }
}

const GO_ON: u8 = 0;
const TIME: u8 = 1;
const USER: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_and_told_why() {
        let (mut halt, halting) = halt();
        assert_eq!(halting.asked(), None);
        assert!(!halting.woken().try_recv().unwrap_err().is_disconnected());
        halt.ask(Halted::Time);
        assert_eq!(halting.asked(), Some(Halted::Time));
        assert!(halting.woken().try_recv().unwrap_err().is_disconnected());
    }

    #[test]
    fn user_is_over_the_clock() {
        let (mut halt, halting) = halt();
        halt.ask(Halted::User);
        halt.ask(Halted::Time);
        assert_eq!(halting.asked(), Some(Halted::User));
    }
}
