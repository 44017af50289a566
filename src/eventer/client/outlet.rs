//! The queue of notices, and what waits behind it when its reader is slow.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use parking_lot::Mutex;

use crate::eventer::Notice;
use crate::wake::Waker;

/// Gives notices to their reader without ever waiting for him.
///
/// What finds no room in the queue is held here; a thread, which runs only while there is something, carries it over.
/// The owner asks [`is_full`](Self::is_full) before it makes more, and is woken when that changes.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: Sender<Notice>,
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<()>>,
    /// Its end tells the carrier to end.
    running: Option<Sender<Infallible>>,
    ended: Receiver<Infallible>,
}

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    limit: usize,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Held {
    notices: VecDeque<(Notice, usize)>,
    bytes: usize,
    carried: bool,
}

impl Outlet {
    pub(super) fn new(capacity: usize, limit: usize, waker: Waker) -> (Self, Receiver<Notice>) {
        let (sender, notices) = bounded(capacity.max(1));
        let (running, ended) = bounded(0);
        let outlet = Self {
            sender,
            shared: Arc::new(Shared {
                held: Mutex::default(),
                limit,
                waker,
            }),
            carrier: None,
            running: Some(running),
            ended,
        };
        (outlet, notices)
    }

    /// Queues a notice that stands for so many bytes of the wire; never blocks.
    pub(super) fn give(&mut self, notice: Notice, bytes: usize) {
        let mut held = self.shared.held.lock();
        let notice = if held.carried || !held.notices.is_empty() {
            notice
        } else {
            match self.sender.try_send(notice) {
                // Without a reader nobody misses it.
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(notice)) => notice,
            }
        };
        let bytes = bytes.max(SMALLEST);
        held.notices.push_back((notice, bytes));
        held.bytes = held.bytes.saturating_add(bytes);
        if !held.carried {
            held.carried = true;
            drop(held);
            self.carry();
        }
    }

    /// Whether so much is held that nothing more should come.
    pub(super) fn is_full(&self) -> bool {
        self.shared.held.lock().bytes > self.shared.limit
    }

    /// Whether notices are on their way to the queue.
    pub(super) fn is_carrying(&self) -> bool {
        self.shared.held.lock().carried
    }

    fn carry(&mut self) {
        if let Some(last) = self.carrier.take() {
            // It has said that it carries nothing any more. A panic there was reported by the panic handler.
            let _ = last.join();
        }
        let (sender, ended) = (self.sender.clone(), self.ended.clone());
        let shared = Arc::clone(&self.shared);
        let carrier = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || shared.carry(&sender, &ended));
        match carrier {
            Ok(carrier) => self.carrier = Some(carrier),
            Err(error) => {
                // The next notice tries again; until then these wait.
                log::warn!("cannot start the thread {THREAD}: {error}");
                self.shared.held.lock().carried = false;
            }
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(carrier) = self.carrier.take() {
            // A panic there was reported by the panic handler.
            let _ = carrier.join();
        }
    }
}

impl Shared {
    fn carry(&self, sender: &Sender<Notice>, ended: &Receiver<Infallible>) {
        loop {
            let (notice, bytes) = {
                let mut held = self.held.lock();
                let Some(next) = held.notices.pop_front() else {
                    held.carried = false;
                    // Somebody may wait for that.
                    self.waker.wake();
                    return;
                };
                next
            };
            select! {
                send(sender, notice) -> sent => if sent.is_err() {
                    // Without a reader nobody misses the rest.
                    let mut held = self.held.lock();
                    held.notices.clear();
                    held.bytes = 0;
                    held.carried = false;
                    self.waker.wake();
                    return;
                },
                recv(ended) -> _ => return,
            }
            let mut held = self.held.lock();
            let before = held.bytes;
            held.bytes = held.bytes.saturating_sub(bytes);
            if before > self.limit && held.bytes <= self.limit {
                self.waker.wake();
            }
        }
    }
}

/// What a notice weighs at least.
const SMALLEST: usize = 64;

const THREAD: &str = "acqbus-eventer-notices";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;
    use crate::wake::{poll_until, wake_pair};
    use rustix::event::{PollFd, PollFlags};
    use std::time::{Duration, Instant};

    fn status(at: usize) -> Notice {
        Notice::Status([Status::Standby, Status::Operational][at % 2])
    }

    #[test]
    fn slow_reader_gets_all_in_order_and_who_gives_never_waits() {
        let (waker, woken) = wake_pair().unwrap();
        let (mut outlet, notices) = Outlet::new(2, 100 * SMALLEST, waker);
        for at in 0..200 {
            outlet.give(status(at), 1);
        }
        assert!(outlet.is_full());
        for at in 0..200 {
            let notice = notices.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(notice, status(at));
        }
        let mut items = [PollFd::from_borrowed_fd(woken.descriptor(), PollFlags::IN)];
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(
            poll_until(&mut items, Some(deadline)).unwrap(),
            "nobody said that there is room"
        );
        assert!(!outlet.is_full());
        outlet.give(status(1), 1);
        assert_eq!(
            notices.recv_timeout(Duration::from_secs(20)).unwrap(),
            status(1)
        );
    }

    #[test]
    fn end_waits_for_no_reader() {
        let (waker, _woken) = wake_pair().unwrap();
        let (mut outlet, notices) = Outlet::new(1, 1000, waker);
        for at in 0..10 {
            outlet.give(status(at), 1);
        }
        drop(outlet);
        assert!(notices.iter().count() <= 10);
    }

    #[test]
    fn without_a_reader_nothing_is_held() {
        let (waker, woken) = wake_pair().unwrap();
        let (mut outlet, notices) = Outlet::new(1, SMALLEST, waker);
        for at in 0..10 {
            outlet.give(status(at), 1);
        }
        assert!(outlet.is_full());
        drop(notices);
        let mut items = [PollFd::from_borrowed_fd(woken.descriptor(), PollFlags::IN)];
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(poll_until(&mut items, Some(deadline)).unwrap());
        assert!(!outlet.is_full());
    }
}
