//! The queue between the threads that publish and the one that owns the publisher's socket.
//!
//! A crossbeam channel moves one allocated body at a time; this queue appends the serialised body to one growing buffer that the
//! publisher takes whole, so that a message costs a copy of its bytes and no allocation. Two lanes: emergencies overtake all else.
//!
//! ```text
//! caller threads ──push──> [ urgent ] [ normal ] ──take──> publisher thread ──> socket
//! ```

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::rpc::service::batch::{Batch, Entry, add};
use crate::rpc::topic::Topic;
use crate::rpc::{Overflow, RpcError};
use crate::zsocket::Waker;

/// How much may wait, and what happens when more comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
}

/// A bounded queue of serialised messages that any thread fills and one thread empties.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    shared: Mutex<Shared>,
    /// Messages that the publisher has taken and not sent yet; they count against the bound.
    in_flight: AtomicUsize,
    /// Set while the urgent lane holds something, so that the publisher looks without the lock.
    urgent: AtomicBool,
    /// Set at the start.
    waker: RwLock<Option<Waker>>,
}

impl Outbox {
    /// An outbox that takes nothing yet.
    pub(crate) fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            shared: Mutex::new(Shared::default()),
            in_flight: AtomicUsize::new(0),
            urgent: AtomicBool::new(false),
            waker: RwLock::new(None),
        }
    }

    /// Takes messages from now on and wakes the publisher for them.
    pub(crate) fn open(&self, waker: Waker) {
        *self.waker.write() = Some(waker);
        self.shared.lock().phase = Phase::Open;
    }

    /// Back to the state before [`Outbox::open`], after a start that failed half way.
    pub(crate) fn reset(&self) {
        *self.waker.write() = None;
        *self.shared.lock() = Shared::default();
    }

    /// Accepts messages from now on and forgets them.
    pub(crate) fn open_to_nowhere(&self) {
        self.shared.lock().phase = Phase::Nowhere;
    }

    /// Queues one message; never blocks on the network or on the publisher.
    ///
    /// # Errors
    /// [`RpcError::QueueFull`] when the bound is reached and the policy is [`Overflow::Refuse`], or when one message alone is larger
    /// than the bound; [`RpcError::Stopped`] after [`Outbox::close`].
    pub(crate) fn push(&self, topic: Topic, body: &[u8], marked: bool) -> Result<(), RpcError> {
        self.push_within(topic, body, marked, true)
    }

    /// The same past the bound, and never dropped for another: for results that the service owes, whose number is
    /// bounded where they are kept.
    ///
    /// # Errors
    /// [`RpcError::NotStarted`] or [`RpcError::Stopped`].
    pub(crate) fn push_owed(
        &self,
        topic: Topic,
        body: &[u8],
        marked: bool,
    ) -> Result<(), RpcError> {
        self.push_within(topic, body, marked, false)
    }

    fn push_within(
        &self,
        topic: Topic,
        body: &[u8],
        marked: bool,
        bounded: bool,
    ) -> Result<(), RpcError> {
        let mut shared = self.shared.lock();
        match shared.phase {
            Phase::Open => {}
            Phase::New => return Err(RpcError::NotStarted),
            Phase::Nowhere => return Ok(()),
            Phase::Closed => return Err(RpcError::Stopped),
        }
        if bounded && !self.has_room(&shared, body.len()) {
            let oversize = body.len() > self.limits.bytes;
            match self.limits.overflow {
                Overflow::DropNewest if !oversize => {
                    shared.dropped += 1;
                    add(&mut shared.skipped, topic, 1);
                    return Ok(());
                }
                Overflow::DropOldest if !oversize => {
                    while !self.has_room(&shared, body.len()) && shared.drop_oldest() {}
                    if !self.has_room(&shared, body.len()) {
                        // All that is left is in the publisher's hands: the new message is the one to go.
                        shared.dropped += 1;
                        add(&mut shared.skipped, topic, 1);
                        return Ok(());
                    }
                }
                _ => {
                    shared.refused += 1;
                    return Err(self.full(body.len()));
                }
            }
        }
        let skipped = take(&mut shared.skipped, topic);
        shared.normal.push(
            Entry {
                skipped,
                owed: !bounded,
                ..Entry::new(topic, marked)
            },
            body,
        );
        self.wake(shared);
        Ok(())
    }

    /// Queues an emergency: the body goes out on each of the topics in their order, ahead of all that waits.
    ///
    /// # Errors
    /// As [`Outbox::push`]; an emergency is never dropped to make room, nor for lack of it: the urgent lane has a bound of its own,
    /// as large as the other, and past it the caller is told.
    pub(crate) fn push_urgent(
        &self,
        topics: &[Topic],
        body: &[u8],
        marked: bool,
    ) -> Result<(), RpcError> {
        let mut shared = self.shared.lock();
        match shared.phase {
            Phase::Open => {}
            Phase::New => return Err(RpcError::NotStarted),
            Phase::Nowhere => return Ok(()),
            Phase::Closed => return Err(RpcError::Stopped),
        }
        let bytes = body.len() * topics.len();
        if shared.urgent.len() + topics.len() > self.limits.messages
            || shared.urgent.len_bytes() + bytes > self.limits.bytes
        {
            shared.refused += 1;
            return Err(self.full(bytes));
        }
        for &topic in topics {
            shared.urgent.push(
                Entry {
                    owed: true,
                    ..Entry::new(topic, marked)
                },
                body,
            );
        }
        self.urgent.store(true, Ordering::Release);
        self.wake(shared);
        Ok(())
    }

    /// Takes what waits longest in the normal lane, in exchange for an emptied batch whose memory is used again.
    ///
    /// Results that were spared from a drop come first, by themselves.
    pub(crate) fn take(&self, emptied: &mut Batch) {
        debug_assert!(emptied.is_empty());
        emptied.clear();
        let mut shared = self.shared.lock();
        if shared.spared.is_empty() {
            std::mem::swap(&mut shared.normal, emptied);
        } else {
            std::mem::swap(&mut shared.spared, emptied);
        }
        self.in_flight.store(emptied.len(), Ordering::Relaxed);
    }

    /// The same for the urgent lane.
    pub(crate) fn take_urgent(&self, emptied: &mut Batch) {
        emptied.clear();
        let mut shared = self.shared.lock();
        self.urgent.store(false, Ordering::Release);
        std::mem::swap(&mut shared.urgent, emptied);
    }

    /// Whether an emergency waits; costs one atomic load.
    pub(crate) fn has_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    /// The publisher has sent one more of the messages that it took.
    pub(crate) fn sent_one(&self) {
        // One writer: the publisher; a plain store would do, but a subtraction says what is meant.
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Numbers of messages that were dropped behind the last one sent, by topic; none while some are still to be sent.
    pub(crate) fn take_trailing_drops(&self, mut each: impl FnMut(Topic, u64)) {
        let mut shared = self.shared.lock();
        if shared.is_empty() && self.in_flight.load(Ordering::Relaxed) == 0 {
            shared
                .skipped
                .drain(..)
                .for_each(|(topic, count)| each(topic, count));
        }
    }

    /// Announces that the publisher is about to block; `false` when there is work after all.
    pub(crate) fn park(&self) -> bool {
        let mut shared = self.shared.lock();
        let idle = shared.is_empty() && shared.phase != Phase::Closed;
        shared.parked = idle;
        if idle {
            shared.normal.release();
            shared.urgent.release();
        }
        idle
    }

    /// Refuses what comes from now on; what is queued stays.
    pub(crate) fn close(&self) {
        let mut shared = self.shared.lock();
        shared.phase = Phase::Closed;
        drop(shared);
        self.nudge();
    }

    /// Whether nothing more comes; what was queued may still be there.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.lock().phase == Phase::Closed
    }

    /// Closed, and nothing left.
    pub(crate) fn is_finished(&self) -> bool {
        let shared = self.shared.lock();
        shared.phase == Phase::Closed && shared.is_empty()
    }

    /// What waits and what was lost here.
    pub(crate) fn counts(&self) -> OutboxCounts {
        let shared = self.shared.lock();
        OutboxCounts {
            depth: shared.normal.len()
                + shared.spared.len()
                + shared.urgent.len()
                + self.in_flight.load(Ordering::Relaxed),
            dropped: shared.dropped,
            refused: shared.refused,
        }
    }

    /// Wakes the publisher for a reason other than a message: a deadline moved, a key was revoked.
    pub(crate) fn nudge(&self) {
        if let Some(waker) = &*self.waker.read() {
            waker.wake();
        }
    }

    fn wake(&self, mut shared: parking_lot::MutexGuard<'_, Shared>) {
        let parked = std::mem::take(&mut shared.parked);
        drop(shared);
        if parked {
            self.nudge();
        }
    }

    fn has_room(&self, shared: &Shared, bytes: usize) -> bool {
        let waiting = shared.normal.len() + self.in_flight.load(Ordering::Relaxed);
        waiting < self.limits.messages && shared.normal.len_bytes() + bytes <= self.limits.bytes
    }

    fn full(&self, bytes: usize) -> RpcError {
        RpcError::QueueFull {
            bytes,
            message_limit: self.limits.messages,
            byte_limit: self.limits.bytes,
        }
    }
}

/// What waits in an [`Outbox`] and what it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutboxCounts {
    pub(crate) depth: usize,
    pub(crate) dropped: u64,
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct Shared {
    normal: Batch,
    urgent: Batch,
    /// Owed messages that stood in the way when the oldest made room; older than all of `normal`.
    spared: Batch,
    /// Dropped since the last accepted message of the topic.
    skipped: Vec<(Topic, u64)>,
    dropped: u64,
    refused: u64,
    parked: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    New,
    Open,
    Nowhere,
    Closed,
}

impl Shared {
    fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.urgent.is_empty() && self.spared.is_empty()
    }

    /// Makes room by the oldest message that may go; `false` when nothing is left.
    fn drop_oldest(&mut self) -> bool {
        let Some((entry, body)) = self.normal.next() else {
            return false;
        };
        if entry.owed {
            self.spared.push(entry, body);
            return true;
        }
        self.dropped += 1;
        self.normal.note_dropped(entry);
        true
    }
}

fn take(counts: &mut Vec<(Topic, u64)>, topic: Topic) -> u64 {
    match counts.iter().position(|(of, _)| *of == topic) {
        Some(at) => counts.swap_remove(at).1,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
