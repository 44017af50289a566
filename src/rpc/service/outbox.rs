//! The queue between the threads that publish and the one that owns the publisher's socket.
//!
//! A crossbeam channel moves one allocated body at a time; this queue appends the serialised body to one growing buffer that the
//! publisher takes whole, so that a message costs a copy of its bytes and no allocation. Two lanes: emergencies overtake all else.
//!
//! ```text
//! caller threads ──push──> [ urgent ] [ normal ] ──take──> publisher thread ──> socket
//! ```

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

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
    waker: OnceLock<Waker>,
}

impl Outbox {
    /// An outbox that takes nothing yet.
    pub(crate) fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            shared: Mutex::new(Shared::default()),
            in_flight: AtomicUsize::new(0),
            urgent: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Takes messages from now on and wakes the publisher for them.
    pub(crate) fn open(&self, waker: Waker) {
        // A second start is refused before it gets here.
        let _ = self.waker.set(waker);
        self.shared.lock().phase = Phase::Open;
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

    /// The same past the bound: for what the service owes by itself, whose number has a bound of its own.
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
                topic,
                len: body.len(),
                skipped,
                marked,
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
        if shared.urgent.entries.len() + topics.len() > self.limits.messages
            || shared.urgent.len_bytes() + bytes > self.limits.bytes
        {
            shared.refused += 1;
            return Err(self.full(bytes));
        }
        for &topic in topics {
            shared.urgent.push(
                Entry {
                    topic,
                    len: body.len(),
                    skipped: 0,
                    marked,
                },
                body,
            );
        }
        self.urgent.store(true, Ordering::Release);
        self.wake(shared);
        Ok(())
    }

    /// Takes all that waits in the normal lane, in exchange for an emptied batch whose memory is used again.
    pub(crate) fn take(&self, emptied: &mut Batch) {
        debug_assert!(emptied.entries.is_empty());
        emptied.clear();
        let mut shared = self.shared.lock();
        std::mem::swap(&mut shared.normal, emptied);
        self.in_flight
            .store(emptied.entries.len(), Ordering::Relaxed);
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
        if shared.normal.entries.is_empty() && self.in_flight.load(Ordering::Relaxed) == 0 {
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
        idle
    }

    /// Refuses what comes from now on; what is queued stays.
    pub(crate) fn close(&self) {
        let mut shared = self.shared.lock();
        shared.phase = Phase::Closed;
        drop(shared);
        self.nudge();
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
            depth: shared.normal.entries.len()
                + shared.urgent.entries.len()
                + self.in_flight.load(Ordering::Relaxed),
            dropped: shared.dropped,
            refused: shared.refused,
        }
    }

    /// Wakes the publisher for a reason other than a message: a deadline moved, a key was revoked.
    pub(crate) fn nudge(&self) {
        if let Some(waker) = self.waker.get() {
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
        let waiting = shared.normal.entries.len() + self.in_flight.load(Ordering::Relaxed);
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

impl Entry {
    /// A message that did not wait here.
    pub(crate) fn unqueued(topic: Topic, marked: bool) -> Self {
        Self {
            topic,
            len: 0,
            skipped: 0,
            marked,
        }
    }
}

/// Messages in the order in which they were queued, their bodies end to end in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where the body of the first entry begins.
    head: usize,
    /// Dropped from the front of this batch, by topic.
    dropped_before: Vec<(Topic, u64)>,
}

impl Batch {
    /// The next message, or `None` when all are out.
    pub(crate) fn next(&mut self) -> Option<(Entry, &[u8])> {
        let entry = self.entries.pop_front()?;
        let start = self.head;
        self.head += entry.len;
        Some((entry, &self.bytes[start..self.head]))
    }

    /// What was dropped before the first message of the batch; to be read before the messages.
    pub(crate) fn drain_dropped_before(&mut self) -> impl Iterator<Item = (Topic, u64)> + '_ {
        self.dropped_before.drain(..)
    }

    fn push(&mut self, entry: Entry, body: &[u8]) {
        self.entries.push_back(entry);
        self.bytes.extend_from_slice(body);
    }

    fn len_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        // One burst must not keep its memory for ever.
        self.bytes.shrink_to(KEPT_BYTES);
        self.head = 0;
    }
}

/// One message of a [`Batch`], without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) topic: Topic,
    len: usize,
    /// How many messages of this topic were dropped between the one before and this one.
    pub(crate) skipped: u64,
    /// Whether the body takes the members `epoch` and `sequence`.
    pub(crate) marked: bool,
}

#[derive(Debug, Default)]
struct Shared {
    normal: Batch,
    urgent: Batch,
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
        self.normal.entries.is_empty() && self.urgent.entries.is_empty()
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((entry, _)) = self.normal.next() else {
            return false;
        };
        self.dropped += 1;
        add(
            &mut self.normal.dropped_before,
            entry.topic,
            entry.skipped + 1,
        );
        if self.normal.head > KEPT_BYTES.max(self.normal.bytes.len() / 2) {
            let head = std::mem::take(&mut self.normal.head);
            self.normal.bytes.drain(..head);
        }
        true
    }
}

fn add(counts: &mut Vec<(Topic, u64)>, topic: Topic, count: u64) {
    match counts.iter_mut().find(|(of, _)| *of == topic) {
        Some((_, sum)) => *sum += count,
        None => counts.push((topic, count)),
    }
}

fn take(counts: &mut Vec<(Topic, u64)>, topic: Topic) -> u64 {
    match counts.iter().position(|(of, _)| *of == topic) {
        Some(at) => counts.swap_remove(at).1,
        None => 0,
    }
}

/// Memory that an empty batch keeps for the next burst.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::zsocket::{WakeReceiver, wait, wake_pair};

    const PLENTY: usize = 1 << 20;

    fn outbox(messages: usize, bytes: usize, overflow: Overflow) -> (Outbox, WakeReceiver) {
        let outbox = Outbox::new(OutboxLimits {
            messages,
            bytes,
            overflow,
        });
        let (waker, wake) = wake_pair().unwrap();
        outbox.open(waker);
        (outbox, wake)
    }

    fn woken(wake: &WakeReceiver) -> bool {
        let ready = wait(&[], Some(wake), Some(Instant::now())).unwrap();
        wake.drain();
        ready.woken()
    }

    /// Topic, what was dropped before it, body.
    fn drain(outbox: &Outbox) -> Vec<(Topic, u64, String)> {
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        let mut all = Vec::new();
        while let Some((entry, body)) = batch.next() {
            let body = String::from_utf8(body.to_vec()).unwrap();
            all.push((entry.topic, entry.skipped, body));
            outbox.sent_one();
        }
        all
    }

    fn event(skipped: u64, body: &str) -> (Topic, u64, String) {
        (Topic::EVENT, skipped, body.to_owned())
    }

    #[test]
    fn refusal_tells_the_caller_and_leaves_no_gap() {
        let (outbox, _wake) = outbox(2, PLENTY, Overflow::Refuse);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        outbox.push(Topic::EVENT, b"b", true).unwrap();
        let error = outbox.push(Topic::EVENT, b"c", true).unwrap_err();
        assert!(
            matches!(error, RpcError::QueueFull { bytes: 1, .. }),
            "{error}"
        );
        assert_eq!(drain(&outbox), [event(0, "a"), event(0, "b")]);
        outbox.push(Topic::EVENT, b"d", true).unwrap();
        assert_eq!(drain(&outbox), [event(0, "d")]);
        let counts = outbox.counts();
        assert_eq!((counts.dropped, counts.refused, counts.depth), (0, 1, 0));
    }

    #[test]
    fn newest_goes_and_shows_before_the_next_of_its_topic() {
        let (outbox, _wake) = outbox(1, PLENTY, Overflow::DropNewest);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        outbox.push(Topic::EVENT, b"b", true).unwrap();
        outbox.push(Topic::PROPERTY_CHANGE, b"c", true).unwrap();
        outbox.push(Topic::EVENT, b"d", true).unwrap();
        assert_eq!(drain(&outbox), [event(0, "a")]);
        outbox.push(Topic::EVENT, b"e", true).unwrap();
        assert_eq!(drain(&outbox), [event(2, "e")]);
        assert_eq!(outbox.counts().dropped, 3);
        let mut trailing = Vec::new();
        outbox.take_trailing_drops(|topic, count| trailing.push((topic, count)));
        assert_eq!(trailing, [(Topic::PROPERTY_CHANGE, 1)]);
    }

    #[test]
    fn drops_behind_the_messages_in_flight_wait_for_them() {
        let (outbox, _wake) = outbox(1, PLENTY, Overflow::DropNewest);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        outbox.push(Topic::EVENT, b"b", true).unwrap();
        outbox.take_trailing_drops(|_, _| panic!("`a` is not sent yet"));
        batch.next().unwrap();
        outbox.sent_one();
        let mut trailing = Vec::new();
        outbox.take_trailing_drops(|topic, count| trailing.push((topic, count)));
        assert_eq!(trailing, [(Topic::EVENT, 1)]);
    }

    #[test]
    fn oldest_makes_room() {
        let (outbox, _wake) = outbox(2, PLENTY, Overflow::DropOldest);
        outbox.push(Topic::PROPERTY_CHANGE, b"a", true).unwrap();
        for body in [b"b", b"c", b"d"] {
            outbox.push(Topic::EVENT, body, true).unwrap();
        }
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        let dropped: Vec<_> = batch.drain_dropped_before().collect();
        assert_eq!(dropped, [(Topic::PROPERTY_CHANGE, 1), (Topic::EVENT, 1)]);
        assert_eq!(batch.next().unwrap().1, b"c");
        assert_eq!(batch.next().unwrap().1, b"d");
        assert_eq!(outbox.counts().dropped, 2);
    }

    #[test]
    fn bytes_are_bounded_too() {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let (outbox, _wake) = outbox(PLENTY, 10, overflow);
            outbox.push(Topic::EVENT, b"123456", true).unwrap();
            outbox.push(Topic::EVENT, b"7890", true).unwrap();
            outbox.push(Topic::EVENT, b"x", true).unwrap();
            assert_eq!(outbox.counts().dropped, 1, "{overflow:?}");
            assert!(drain(&outbox).len() <= 2);
        }
    }

    #[test]
    fn message_larger_than_the_bound_is_refused_under_every_policy() {
        for overflow in [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest] {
            let (outbox, _wake) = outbox(10, 10, overflow);
            outbox.push(Topic::EVENT, b"kept", true).unwrap();
            assert!(outbox.push(Topic::EVENT, &[b'x'; 11], true).is_err());
            assert_eq!(drain(&outbox), [event(0, "kept")]);
        }
    }

    #[test]
    fn emergencies_have_a_lane_and_a_bound_of_their_own() {
        let (outbox, _wake) = outbox(2, PLENTY, Overflow::DropNewest);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        outbox.push(Topic::EVENT, b"b", true).unwrap();
        assert!(!outbox.has_urgent());
        let both = [Topic::EMERGENCY, Topic::EVENT];
        outbox.push_urgent(&both, b"stop", true).unwrap();
        assert!(outbox.has_urgent());
        assert!(outbox.push_urgent(&both, b"more", true).is_err());
        let mut batch = Batch::default();
        outbox.take_urgent(&mut batch);
        assert!(!outbox.has_urgent());
        for topic in both {
            let (entry, body) = batch.next().unwrap();
            assert_eq!((entry.topic, body), (topic, &b"stop"[..]));
        }
        assert_eq!(drain(&outbox).len(), 2);
        assert_eq!(outbox.counts().refused, 1);
    }

    #[test]
    fn what_is_owed_goes_past_the_bound() {
        let (outbox, _wake) = outbox(1, PLENTY, Overflow::Refuse);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        assert!(outbox.push(Topic::EVENT, b"b", true).is_err());
        outbox.push_owed(Topic::COMMAND_RESULT, b"c", true).unwrap();
        assert_eq!(drain(&outbox).len(), 2);
    }

    #[test]
    fn only_a_parked_publisher_is_woken() {
        let (outbox, wake) = outbox(10, PLENTY, Overflow::Refuse);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        assert!(!woken(&wake));
        assert!(!outbox.park(), "a message waits");
        drain(&outbox);
        assert!(outbox.park());
        outbox.push(Topic::EVENT, b"b", true).unwrap();
        assert!(woken(&wake));
        outbox.push(Topic::EVENT, b"c", true).unwrap();
        assert!(!woken(&wake), "it is awake already");
        drain(&outbox);
        assert!(outbox.park());
        outbox
            .push_urgent(&[Topic::EMERGENCY], b"stop", true)
            .unwrap();
        assert!(woken(&wake));
    }

    #[test]
    fn closed_outbox_refuses_and_keeps_what_is_queued() {
        let (outbox, wake) = outbox(10, PLENTY, Overflow::Refuse);
        outbox.push(Topic::EVENT, b"a", true).unwrap();
        outbox.close();
        assert!(woken(&wake));
        assert!(!outbox.is_finished());
        assert!(!outbox.park());
        let error = outbox.push(Topic::EVENT, b"b", true).unwrap_err();
        assert!(error.is_closed());
        assert!(outbox.push_urgent(&[Topic::EVENT], b"b", true).is_err());
        assert_eq!(drain(&outbox), [event(0, "a")]);
        assert!(outbox.is_finished());
        assert!(!outbox.park(), "a closed outbox is not waited for");
    }

    #[test]
    fn outbox_that_was_never_opened_says_so_and_one_to_nowhere_takes_all() {
        let limits = OutboxLimits {
            messages: 1,
            bytes: 1,
            overflow: Overflow::Refuse,
        };
        let outbox = Outbox::new(limits);
        let error = outbox.push(Topic::EVENT, b"a", true).unwrap_err();
        assert!(matches!(error, RpcError::NotStarted), "{error}");
        outbox.open_to_nowhere();
        for _ in 0..3 {
            outbox.push(Topic::EVENT, b"larger", true).unwrap();
            outbox.push_urgent(&[Topic::EVENT], b"x", true).unwrap();
        }
        assert_eq!(outbox.counts(), OutboxCounts::default());
    }

    #[test]
    fn many_threads_lose_nothing() {
        let (outbox, wake) = outbox(64, PLENTY, Overflow::Refuse);
        let deadline = Instant::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let outbox = &outbox;
                scope.spawn(move || {
                    for number in 0..2_000 {
                        let body = format!("{thread} {number}");
                        while outbox.push(Topic::EVENT, body.as_bytes(), true).is_err() {
                            assert!(Instant::now() < deadline);
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; 4];
            while next.iter().sum::<u32>() < 8_000 {
                for (_, _, body) in drain(&outbox) {
                    let (thread, number) = body.split_once(' ').unwrap();
                    let next = &mut next[thread.parse::<usize>().unwrap()];
                    assert_eq!(number.parse(), Ok(*next), "out of order");
                    *next += 1;
                }
                let all = next.iter().sum::<u32>() == 8_000;
                if !all && outbox.park() {
                    let ready = wait(&[], Some(&wake), Some(deadline)).unwrap();
                    assert!(ready.woken(), "nobody woke the publisher");
                    wake.drain();
                }
            }
        });
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { topic: u32, len: usize },
        Send,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let push = (0u32..3, 0usize..30).prop_map(|(topic, len)| Step::Push { topic, len });
        prop::collection::vec(prop_oneof![2 => push, 1 => Just(Step::Send)], 0..200)
    }

    proptest! {
        /// Every message, dropped or not, takes the next number of its topic; what arrives carries its own.
        #[test]
        fn numbers_of_what_arrives_are_those_in_which_it_was_pushed(
            steps in steps(),
            messages in 1usize..6,
            bytes in 30usize..80,
            oldest in any::<bool>(),
        ) {
            let overflow = if oldest { Overflow::DropOldest } else { Overflow::DropNewest };
            let (outbox, _wake) = outbox(messages, bytes, overflow);
            let mut pushed = [0u64; 3];
            let mut stamped = [0u64; 3];
            let mut arrived = 0;
            let mut batch = Batch::default();
            let mut send = |stamped: &mut [u64; 3], arrived: &mut u64| {
                if batch.entries.is_empty() {
                    outbox.take(&mut batch);
                    for (topic, count) in batch.drain_dropped_before() {
                        stamped[topic.number() as usize] += count;
                    }
                }
                let Some((entry, body)) = batch.next() else {
                    outbox.take_trailing_drops(|topic, count| {
                        stamped[topic.number() as usize] += count;
                    });
                    return Ok(false);
                };
                let number = &mut stamped[entry.topic.number() as usize];
                *number += entry.skipped + 1;
                let ordinal: u64 = std::str::from_utf8(body).unwrap().trim().parse().unwrap();
                prop_assert_eq!(*number, ordinal);
                *arrived += 1;
                outbox.sent_one();
                outbox.take_trailing_drops(|topic, count| {
                    stamped[topic.number() as usize] += count;
                });
                Ok(true)
            };
            for step in steps {
                match step {
                    Step::Push { topic, len } => {
                        let ordinal = &mut pushed[topic as usize];
                        *ordinal += 1;
                        let body = format!("{:>len$}", *ordinal);
                        outbox.push(Topic::new(topic), body.as_bytes(), true).unwrap();
                    }
                    Step::Send => {
                        send(&mut stamped, &mut arrived)?;
                    }
                }
                let counts = outbox.counts();
                prop_assert!(counts.depth <= messages);
            }
            while send(&mut stamped, &mut arrived)? {}
            prop_assert_eq!(stamped, pushed);
            prop_assert_eq!(arrived + outbox.counts().dropped, pushed.iter().sum::<u64>());
        }
    }
}
