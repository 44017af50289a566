//! The iterator over what a receiver tells.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cdtp::receiver::event::RunEvent;
use crate::cdtp::receiver::held::Unfold;
use crate::cdtp::receiver::queue::{Item, Queue, Taken};

/// The events of a receiver, in order; each `next` waits for one.
///
/// It ends once the receiver has stopped and all was taken. While it is not read, the queue fills, then the sockets, then the
/// senders wait: nothing is dropped. Dropping it ends the receiving.
pub struct RunEvents {
    queue: Arc<Queue>,
    taken: VecDeque<Item>,
    unfold: Option<Unfold>,
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoEvent {
    /// None came in time.
    #[error("no event came in time")]
    TimedOut,
    /// The receiver has stopped, and all was taken.
    #[error("the receiver has stopped")]
    Ended,
}

impl RunEvents {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self {
            queue,
            taken: VecDeque::new(),
            unfold: None,
        }
    }

    /// The next event; waits for it at most so long.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RunEvent, NoEvent> {
        // The clock is read only where there is something to wait for.
        if let Some(event) = self.at_hand() {
            return Ok(event);
        }
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// The next event; waits for it until this moment.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<RunEvent, NoEvent> {
        self.recv_until(Some(deadline))
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub fn try_recv(&mut self) -> Result<RunEvent, NoEvent> {
        self.recv_timeout(Duration::ZERO)
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<RunEvent, NoEvent> {
        loop {
            if let Some(event) = self.at_hand() {
                return Ok(event);
            }
            match self.queue.take(&mut self.taken, deadline) {
                Taken::Items => {}
                Taken::Nothing => return Err(NoEvent::TimedOut),
                Taken::Ended => return Err(NoEvent::Ended),
            }
        }
    }

    #[inline]
    fn at_hand(&mut self) -> Option<RunEvent> {
        loop {
            if let Some(unfold) = &mut self.unfold {
                if let Some(event) = unfold.next() {
                    return Some(event);
                }
                self.unfold = None;
            }
            match self.taken.pop_front()? {
                Item::Records(held) => self.unfold = Some(Unfold::new(held)),
                Item::Event(event, _) => return Some(event),
            }
        }
    }
}

impl Iterator for RunEvents {
    type Item = RunEvent;

    #[inline]
    fn next(&mut self) -> Option<RunEvent> {
        match self.at_hand() {
            Some(event) => Some(event),
            None => self.recv_until(None).ok(),
        }
    }
}

impl Drop for RunEvents {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for RunEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunEvents").finish_non_exhaustive()
    }
}
