//! In-process consumers of everything that a service publishes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use parking_lot::Mutex;

use crate::rpc::{Message, Topic};

/// An in-process consumer: everything published, in order, as the wire carries it.
///
/// Bounded: a consumer that falls behind misses messages, which [`Tap::lost`] counts and the sequence numbers show; the publisher
/// never waits for it. Dropping the tap ends it; after the service stopped it gives what is left and then ends.
///
/// ```
/// use acqbus::rpc::{RpcOptions, RpcService, Topic};
///
/// let service = RpcService::launch(RpcOptions::default().any_port())?;
/// let tap = service.tap(16);
/// service.send_string(Topic::PROPERTY_CHANGE, "warm")?;
/// let message = tap.iter().find(|message| message.topic == Topic::PROPERTY_CHANGE);
/// assert!(message.is_some());
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Debug)]
pub struct Tap {
    messages: Receiver<Message>,
    lost: Arc<AtomicU64>,
    /// Of the bodies that wait.
    bytes: Arc<AtomicUsize>,
}

impl Tap {
    /// Blocks the calling thread until the next message.
    ///
    /// `None` once the service has stopped and all is read.
    #[must_use]
    pub fn recv(&self) -> Option<Message> {
        self.taken(self.messages.recv().ok())
    }

    /// The same for at most `timeout`; `None` after it too.
    #[must_use]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Message> {
        self.taken(self.messages.recv_timeout(timeout).ok())
    }

    /// The same until `deadline`.
    #[must_use]
    pub fn recv_deadline(&self, deadline: Instant) -> Option<Message> {
        self.taken(self.messages.recv_deadline(deadline).ok())
    }

    /// The next message if one waits; never blocks.
    #[must_use]
    pub fn try_recv(&self) -> Option<Message> {
        self.taken(self.messages.try_recv().ok())
    }

    /// Blocking iterator over the messages; ends when the service has stopped.
    pub fn iter(&self) -> impl Iterator<Item = Message> + '_ {
        std::iter::from_fn(|| self.recv())
    }

    /// How many messages this consumer missed because it was `capacity` behind.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        self.messages.len()
    }

    /// [`recv`](Self::recv), unless the other end of `stop` goes first.
    pub(crate) fn recv_unless(&self, stop: &Receiver<Infallible>) -> Option<Message> {
        let message = select! {
            recv(self.messages) -> message => message.ok(),
            recv(stop) -> _ => None,
        };
        self.taken(message)
    }

    fn taken(&self, message: Option<Message>) -> Option<Message> {
        if let Some(message) = &message {
            self.bytes.fetch_sub(message.body.len(), Ordering::AcqRel);
        }
        message
    }
}

/// One tap's queue, its bounds and its count of losses.
#[derive(Debug)]
struct Open {
    messages: Sender<Message>,
    lost: Arc<AtomicU64>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// The taps of one service, as its publisher sees them.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    any: AtomicBool,
    open: Mutex<Vec<Open>>,
    closed: AtomicBool,
    lost: AtomicU64,
}

impl Taps {
    pub(crate) fn open(&self, capacity: usize, max_bytes: usize) -> Tap {
        let (sender, messages) = crossbeam_channel::bounded(capacity.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let bytes = Arc::new(AtomicUsize::new(0));
        let mut open = self.open.lock();
        // Behind a stop there is nothing to come: without a sender the tap ends at once.
        if !self.closed.load(Ordering::Relaxed) {
            open.push(Open {
                messages: sender,
                lost: Arc::clone(&lost),
                bytes: Arc::clone(&bytes),
                max_bytes,
            });
            self.any.store(true, Ordering::Release);
        }
        Tap {
            messages,
            lost,
            bytes,
        }
    }

    /// Hands one message to each tap; costs one atomic load where there is none.
    pub(crate) fn pass(&self, topic: Topic, body: &[u8], epoch: u64, sequence: u64) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let message = Message::published(topic, body, epoch, sequence);
        let mut open = self.open.lock();
        open.retain(|tap| {
            // Counted before it can be taken out; this is the only thread that adds.
            let before = tap.bytes.fetch_add(body.len(), Ordering::AcqRel);
            let sent = if before > 0 && before.saturating_add(body.len()) > tap.max_bytes {
                Err(TrySendError::Full(()))
            } else {
                let sent = tap.messages.try_send(message.clone());
                sent.map_err(|error| match error {
                    TrySendError::Full(_) => TrySendError::Full(()),
                    TrySendError::Disconnected(_) => TrySendError::Disconnected(()),
                })
            };
            if sent.is_err() {
                tap.bytes.fetch_sub(body.len(), Ordering::AcqRel);
            }
            if sent == Err(TrySendError::Full(())) {
                tap.lost.fetch_add(1, Ordering::Relaxed);
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            sent != Err(TrySendError::Disconnected(()))
        });
        self.any.store(!open.is_empty(), Ordering::Release);
    }

    /// Ends every tap, behind what it still holds.
    pub(crate) fn close(&self) {
        let mut open = self.open.lock();
        self.closed.store(true, Ordering::Relaxed);
        open.clear();
        self.any.store(false, Ordering::Release);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tap_holds_so_many_bytes_and_one_message_however_large() {
        let taps = Taps::default();
        let tap = taps.open(10, 5);
        for body in ["abc", "de", "f", "", "g"] {
            taps.pass(Topic::ANY, body.as_bytes(), 1, 1);
        }
        assert_eq!((tap.waiting(), tap.lost(), taps.lost()), (3, 2, 2));
        assert_eq!(
            tap.iter()
                .take(3)
                .map(|message| message.body.len())
                .sum::<usize>(),
            5
        );
        for _ in 0..2 {
            taps.pass(Topic::ANY, b"much too long", 1, 1);
        }
        assert_eq!((tap.waiting(), tap.lost()), (1, 3));
        taps.close();
        assert!(tap.recv().is_some() && tap.recv().is_none());
    }

    #[test]
    fn tap_without_a_reader_is_forgotten() {
        let taps = Taps::default();
        drop(taps.open(1, 5));
        taps.pass(Topic::ANY, b"x", 1, 1);
        assert!(!taps.any.load(Ordering::Relaxed));
    }
}
