//! The bounded way from the receiving threads to an iterator.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::cdtp::receiver::event::RunEvent;
use crate::cdtp::receiver::held::Held;

/// What goes through the queue: a whole message of records, or one other event.
pub(crate) enum Item {
    Records(Arc<Held>),
    /// With the size of the message that it came in.
    Event(RunEvent, usize),
}

/// A queue bounded in items and in bytes; who finds it full waits.
///
/// Measured against a bounded channel of `crossbeam`: the taker takes all that is there at once, so that a message costs each
/// side one uncontended lock or less, and the bytes can be bounded too. Nothing is allocated once both buffers have grown.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    not_empty: Condvar,
    not_full: Condvar,
    item_limit: usize,
    byte_limit: usize,
}

struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    /// The producer has gone: what is there is the rest.
    ended: bool,
    /// Nobody takes any more, or nobody may wait any more.
    closed: bool,
    taker_waits: bool,
    producers_wait: bool,
}

/// Why an item was not taken: the queue is closed.
#[derive(Debug)]
pub(crate) struct Closed;

impl Queue {
    pub(crate) fn new(item_limit: usize, byte_limit: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                bytes: 0,
                ended: false,
                closed: false,
                taker_waits: false,
                producers_wait: false,
            }),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
            item_limit: item_limit.max(1),
            byte_limit,
        }
    }

    /// Puts an item; waits while the queue is full. One item always fits an empty queue.
    pub(crate) fn put(&self, item: Item) -> Result<(), Closed> {
        let bytes = item.bytes();
        let mut inner = self.inner.lock();
        while !inner.closed && !self.fits(&inner, bytes) {
            inner.producers_wait = true;
            self.not_full.wait(&mut inner);
        }
        if inner.closed {
            return Err(Closed);
        }
        inner.bytes += bytes;
        inner.items.push_back(item);
        let wake = std::mem::take(&mut inner.taker_waits);
        drop(inner);
        if wake {
            self.not_empty.notify_one();
        }
        Ok(())
    }

    /// Takes all items into an empty buffer; waits for one until the deadline.
    pub(crate) fn take(&self, into: &mut VecDeque<Item>, deadline: Option<Instant>) -> Taken {
        let mut inner = self.inner.lock();
        loop {
            if !inner.items.is_empty() {
                std::mem::swap(&mut inner.items, into);
                inner.bytes = 0;
                let wake = std::mem::take(&mut inner.producers_wait);
                drop(inner);
                if wake {
                    self.not_full.notify_all();
                }
                return Taken::Items;
            }
            if inner.ended || inner.closed {
                return Taken::Ended;
            }
            inner.taker_waits = true;
            let Some(deadline) = deadline else {
                self.not_empty.wait(&mut inner);
                continue;
            };
            if self.not_empty.wait_until(&mut inner, deadline).timed_out()
                && inner.items.is_empty()
                && !inner.ended
            {
                return Taken::Nothing;
            }
        }
    }

    /// No item will follow; what is there can still be taken.
    pub(crate) fn end(&self) {
        self.inner.lock().ended = true;
        self.not_empty.notify_all();
    }

    /// Whoever waits goes on, and nothing is put any more.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    fn fits(&self, inner: &Inner, bytes: usize) -> bool {
        inner.items.is_empty()
            || (inner.items.len() < self.item_limit && inner.bytes + bytes <= self.byte_limit)
    }
}

/// What [`Queue::take`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// At least one item.
    Items,
    /// The deadline came first.
    Nothing,
    /// There will be none any more.
    Ended,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Records(held) => held.frame.len(),
            Self::Event(_, bytes) => *bytes,
        }
    }
}
