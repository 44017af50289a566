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
            Self::Records(held) => held.frame.len() + held.taken.notes_bytes(),
            Self::Event(_, bytes) => *bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::cdtp::SenderName;
    use crate::cdtp::receiver::event::Lost;

    fn item(first: u64, bytes: usize) -> Item {
        let lost = Lost {
            sender: SenderName::received("a.b"),
            first,
            count: 1,
        };
        Item::Event(RunEvent::Lost(lost), bytes)
    }

    fn numbers(taken: &mut VecDeque<Item>) -> Vec<u64> {
        let number = |item| match item {
            Item::Event(RunEvent::Lost(lost), _) => lost.first,
            _ => 0,
        };
        taken.drain(..).map(number).collect()
    }

    #[test]
    fn items_come_out_in_order_and_none_is_dropped_by_its_bounds() {
        for (items, bytes) in [(1, usize::MAX), (100, 0), (3, 25)] {
            let queue = Queue::new(items, bytes);
            thread::scope(|scope| {
                scope.spawn(|| {
                    (0..1000).for_each(|first| queue.put(item(first, 10)).unwrap());
                    queue.end();
                });
                let (mut taken, mut all) = (VecDeque::new(), Vec::new());
                while queue.take(&mut taken, None) == Taken::Items {
                    assert!(
                        taken.len() <= items && (taken.len() == 1 || 10 * taken.len() <= bytes)
                    );
                    all.extend(numbers(&mut taken));
                }
                assert_eq!(all, (0..1000).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn a_deadline_ends_the_wait_for_an_item() {
        let queue = Queue::new(1, 0);
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(queue.take(&mut VecDeque::new(), Some(soon)), Taken::Nothing);
        assert!(Instant::now() >= soon);
    }

    #[test]
    fn closing_frees_whoever_waits_and_keeps_what_is_there() {
        let queue = Queue::new(1, 0);
        queue.put(item(7, 0)).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.put(item(8, 0)).is_err());
            queue.close();
            assert!(waiting.join().unwrap());
        });
        let mut taken = VecDeque::new();
        assert_eq!(queue.take(&mut taken, None), Taken::Items);
        assert_eq!(numbers(&mut taken), [7]);
        assert_eq!(queue.take(&mut taken, None), Taken::Ended);
    }
}
