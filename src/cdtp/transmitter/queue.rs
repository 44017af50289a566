//! The bounded queue between the threads that hand in records and the one that sends.
//!
//! ```text
//! caller threads ──push──> [ message being put together ] ──seal──> [ ready messages ] ──take──> thread ──> socket
//!                             lock `open`: a copy long                lock `ready`: a few instructions
//! ```
//!
//! Two locks, so that the thread which sends never waits while a caller copies a large block.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cdtp::DataRecord;
use crate::cdtp::transmitter::assembly::{Assembly, Batch, Message};
use crate::zsocket::Waker;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    /// Records, besides the message in the hands of the socket.
    pub(super) records: u64,
    /// Encoded bytes, counted likewise; one record alone may be larger.
    pub(super) bytes: u64,
    /// How long a record waits for others.
    pub(super) flush_interval: Duration,
}

/// How long a caller waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    Never,
    Until(Instant),
    ForEver,
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Full,
    /// Nothing is being sent.
    NotSending,
    /// Sending has failed, so there will be no room.
    Failed,
    /// The transmitter is closed.
    Closed,
}

/// What becomes of a record that is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is refused.
    Stopped,
    /// It is sent.
    Open,
    /// It is thrown away.
    Disabled,
    /// It is refused, for good.
    Closed,
}

/// Whether the thread that sends has a reason to wait.
pub(super) enum Park {
    /// There is a message.
    Stay,
    /// It may wait until it is woken, or until this moment.
    Until(Option<Instant>),
}

/// Records that wait to be sent; filled by any thread, emptied by one.
pub(super) struct Queue {
    limits: QueueLimits,
    waker: Waker,
    open: Mutex<Open>,
    /// With `open`: there may be room.
    room: Condvar,
    room_wanted: AtomicBool,
    ready: Mutex<Ready>,
    /// Written by the thread that sends: what has left the queue for the socket, since the start of the queue.
    picked_records: AtomicU64,
    picked_bytes: AtomicU64,
    /// Whether that thread holds a message that the socket has not taken, or has failed to.
    busy: AtomicBool,
    failed: AtomicBool,
}

/// Behind the lock of the callers.
struct Open {
    phase: Phase,
    assembly: Assembly,
    /// What has been made ready, and the last look at what of it was picked.
    sealed: Totals,
    picked: Totals,
    /// When the message being put together goes out at the latest.
    flush_at: Option<Instant>,
    /// Whether the thread that sends will look at `flush_at` by itself.
    timer_set: bool,
    discarded: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    records: u64,
    bytes: u64,
}

/// Behind the lock that is only held for moments.
#[derive(Default)]
struct Ready {
    batch: Batch,
    parked: bool,
    timer: Option<Instant>,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits, assembly: Assembly, waker: Waker) -> Self {
        Self {
            limits,
            waker,
            open: Mutex::new(Open {
                phase: Phase::Stopped,
                assembly,
                sealed: Totals::default(),
                picked: Totals::default(),
                flush_at: None,
                timer_set: false,
                discarded: 0,
            }),
            room: Condvar::new(),
            room_wanted: AtomicBool::new(false),
            ready: Mutex::default(),
            picked_records: AtomicU64::new(0),
            picked_bytes: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Begins anew, with nothing in the queue.
    pub(super) fn start(&self, phase: Phase) {
        let mut open = self.open.lock();
        if open.phase == Phase::Closed {
            return;
        }
        open.phase = phase;
        open.discarded = 0;
        self.failed.store(false, Ordering::SeqCst);
        self.busy.store(false, Ordering::SeqCst);
        drop(open);
        // After a failure the thread waits for no message.
        self.waker.wake();
    }

    /// Takes a record, waiting for room at most as long as the patience lasts.
    ///
    /// `now` is asked for the first record of a message only, and while waiting.
    #[inline]
    pub(super) fn push(
        &self,
        record: &DataRecord<'_>,
        patience: Patience,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), Refusal> {
        let payload = record.payload_bytes() as u64;
        let mut open = self.open.lock();
        if open.phase != Phase::Open || !self.has_room(&mut open, payload) {
            match self.wait_for_room(&mut open, payload, patience)? {
                Phase::Disabled => {
                    open.discarded += 1;
                    return Ok(());
                }
                Phase::Open | Phase::Stopped | Phase::Closed => {}
            }
        }
        let first = open.assembly.records() == 0;
        open.assembly.push(record, payload);
        if open.assembly.is_full() {
            self.seal(open);
        } else if first {
            let at = now() + self.limits.flush_interval;
            open.flush_at = Some(at);
            if !open.timer_set {
                open.timer_set = true;
                self.set_timer(open, at);
            }
        }
        Ok(())
    }

    /// Whether a small record would be taken at once.
    pub(super) fn can_push(&self) -> bool {
        let mut open = self.open.lock();
        match open.phase {
            Phase::Open => self.has_room(&mut open, 0),
            Phase::Disabled => true,
            Phase::Stopped | Phase::Closed => false,
        }
    }

    /// Makes the message that is being put together ready, however small.
    pub(super) fn flush(&self) {
        let open = self.open.lock();
        self.seal(open);
    }

    /// Refuses records from now on, those of waiting callers included; what was taken becomes ready.
    pub(super) fn stop(&self, phase: Phase) {
        let mut open = self.open.lock();
        if open.phase != Phase::Closed {
            open.phase = phase;
        }
        self.room.notify_all();
        self.seal(open);
    }

    /// Refuses records for good.
    pub(super) fn close(&self) {
        self.stop(Phase::Closed);
    }

    /// Whether records are taken, be it to throw them away.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.open.lock().phase, Phase::Open | Phase::Disabled)
    }

    /// Records thrown away since the start because transmission is disabled.
    pub(super) fn discarded(&self) -> u64 {
        self.open.lock().discarded
    }

    /// Records that wait, those of the message being put together included.
    pub(super) fn waiting(&self) -> u64 {
        let open = self.open.lock();
        open.sealed.records - self.picked_records.load(Ordering::Acquire) + open.assembly.records()
    }

    /// Takes all ready messages, in exchange for an empty batch.
    pub(super) fn take(&self, empty: &mut Batch) {
        empty.reset();
        std::mem::swap(&mut self.ready.lock().batch, empty);
    }

    /// A message leaves the queue for the socket.
    #[inline]
    pub(super) fn pick(&self, message: &Message) {
        // One writer, so no read-modify-write is needed; first busy, or a caller might see neither.
        if !self.busy.load(Ordering::Relaxed) {
            self.busy.store(true, Ordering::SeqCst);
        }
        let add = |counter: &AtomicU64, count: u64| {
            counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Release);
        };
        add(&self.picked_bytes, message.len as u64);
        add(&self.picked_records, message.records);
    }

    /// Lets callers go on that wait for room; to be called before every wait, and now and then under load.
    #[inline]
    pub(super) fn relieve(&self) {
        // What was picked before is seen by a caller whose wish is not seen here.
        fence(Ordering::SeqCst);
        if self.room_wanted.load(Ordering::SeqCst) && self.room_wanted.swap(false, Ordering::SeqCst)
        {
            // With the lock, so that a caller which has found no room does wait by now.
            let _open = self.open.lock();
            self.room.notify_all();
        }
    }

    /// Says that the sending thread has failed: what waits stays, and nothing makes room any more.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.busy.store(true, Ordering::SeqCst);
        let _open = self.open.lock();
        self.room.notify_all();
    }

    /// Whether [`fail`](Self::fail) was called since the start.
    #[inline]
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Throws away what waits besides the batch; gives the number of its records.
    pub(super) fn discard(&self, mut batch: Batch) -> (u64, Batch) {
        let mut count = 0;
        let mut open = self.open.lock();
        count += open.assembly.discard();
        open.flush_at = None;
        loop {
            while let Some(message) = batch.pop() {
                count += message.records;
                self.pick(&message);
            }
            self.take(&mut batch);
            if batch.is_empty() {
                return (count, batch);
            }
        }
    }

    /// Announces that the thread is about to wait.
    pub(super) fn park(&self) -> Park {
        if self.failed.load(Ordering::SeqCst) {
            // What waits is for nobody, and nothing becomes due.
            return Park::Until(None);
        }
        let timer = {
            let mut ready = self.ready.lock();
            if !ready.batch.is_empty() {
                return Park::Stay;
            }
            ready.parked = true;
            ready.timer
        };
        self.busy.store(false, Ordering::SeqCst);
        self.relieve();
        Park::Until(timer)
    }

    /// Makes ready what has waited long enough; called when the timer of [`park`](Self::park) is over.
    pub(super) fn flush_due(&self, now: Instant) {
        let mut open = self.open.lock();
        let next = open
            .flush_at
            .filter(|at| open.assembly.records() > 0 && *at > now);
        open.timer_set = next.is_some();
        {
            let mut ready = self.ready.lock();
            ready.timer = next;
            // The thread itself calls, and looks for messages next.
            ready.parked = false;
        }
        if next.is_none() {
            self.seal(open);
        }
    }

    /// Wakes the thread for another reason than a record.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    #[inline]
    fn has_room(&self, open: &mut Open, payload: u64) -> bool {
        if self.fits(open, payload) {
            return true;
        }
        open.picked = Totals {
            records: self.picked_records.load(Ordering::Acquire),
            bytes: self.picked_bytes.load(Ordering::Acquire),
        };
        // In this order: the thread is busy before it picks.
        let idle = open.sealed.records == open.picked.records && !self.busy.load(Ordering::SeqCst);
        idle || self.fits(open, payload)
    }

    /// Whether the queue is not full, as far as the last look at what was picked tells.
    #[inline]
    fn fits(&self, open: &Open, payload: u64) -> bool {
        let records = open.sealed.records - open.picked.records + open.assembly.records();
        if records == 0 {
            return true;
        }
        let bytes =
            open.sealed.bytes.saturating_sub(open.picked.bytes) + open.assembly.len() as u64;
        records < self.limits.records && bytes + payload <= self.limits.bytes
    }

    #[cold]
    fn wait_for_room(
        &self,
        open: &mut MutexGuard<'_, Open>,
        payload: u64,
        patience: Patience,
    ) -> Result<Phase, Refusal> {
        let mut in_time = true;
        loop {
            match open.phase {
                Phase::Open => {}
                Phase::Disabled => return Ok(Phase::Disabled),
                Phase::Stopped => return Err(Refusal::NotSending),
                Phase::Closed => return Err(Refusal::Closed),
            }
            self.room_wanted.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // After the flag: what became free before it was set has notified nobody.
            if self.has_room(open, payload) {
                return Ok(Phase::Open);
            }
            if self.failed.load(Ordering::SeqCst) {
                return Err(Refusal::Failed);
            }
            if !in_time {
                return Err(Refusal::Full);
            }
            match patience {
                Patience::Never => return Err(Refusal::Full),
                Patience::ForEver => self.room.wait(open),
                Patience::Until(deadline) => {
                    in_time = !self.room.wait_until(open, deadline).timed_out();
                }
            }
        }
    }

    fn seal(&self, mut open: MutexGuard<'_, Open>) {
        open.flush_at = None;
        let records = open.assembly.records();
        if records == 0 {
            return;
        }
        let mut ready = self.ready.lock();
        let bytes = open.assembly.seal(&mut ready.batch);
        let parked = std::mem::take(&mut ready.parked);
        drop(ready);
        open.sealed.records += records;
        open.sealed.bytes += bytes as u64;
        drop(open);
        if parked {
            self.waker.wake();
        }
    }

    fn set_timer(&self, open: MutexGuard<'_, Open>, at: Instant) {
        let mut ready = self.ready.lock();
        ready.timer = Some(at);
        let parked = std::mem::take(&mut ready.parked);
        drop(ready);
        drop(open);
        if parked {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::cdtp::{Encoding, MessageHead};
    use crate::zsocket::{FramePool, WakeReceiver, wait, wake_pair};

    const INTERVAL: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    fn queue(threshold: u64, records: u64, bytes: u64) -> (Queue, WakeReceiver) {
        let (waker, wake) = wake_pair().unwrap();
        let head = MessageHead::new("Tests.one").unwrap();
        let pool = FramePool::new(1 << 20, None);
        let assembly = Assembly::new(head, Encoding::Compact, threshold, pool);
        let limits = QueueLimits {
            records,
            bytes,
            flush_interval: INTERVAL,
        };
        let queue = Queue::new(limits, assembly, waker);
        queue.start(Phase::Open);
        wake.drain();
        (queue, wake)
    }

    fn push(queue: &Queue, len: usize) -> Result<(), Refusal> {
        push_at(queue, len, Instant::now())
    }

    fn push_at(queue: &Queue, len: usize, now: Instant) -> Result<(), Refusal> {
        let block = vec![1; len];
        let record = DataRecord::new(1).with_block(&block);
        queue.push(&record, Patience::Never, || now)
    }

    fn is_woken(wake: &WakeReceiver) -> bool {
        let woken = wait(&[], Some(wake), Some(Instant::now())).unwrap().woken();
        wake.drain();
        woken
    }

    /// The thread takes all that is ready and holds the first message.
    fn hold_first(queue: &Queue, batch: &mut Batch) {
        queue.take(batch);
        queue.pick(&batch.pop().expect("a message is ready"));
    }

    fn until(park: &Park) -> Option<Instant> {
        match park {
            Park::Until(at) => *at,
            Park::Stay => panic!("there is no message"),
        }
    }

    #[test]
    fn two_wait_besides_the_one_in_the_hands_of_the_thread() {
        let (queue, _wake) = queue(0, 2, u64::MAX);
        let mut batch = Batch::default();
        push(&queue, 10).unwrap();
        hold_first(&queue, &mut batch);
        assert!(queue.can_push());
        push(&queue, 10).unwrap();
        push(&queue, 10).unwrap();
        assert_eq!(push(&queue, 10), Err(Refusal::Full));
        assert!(!queue.can_push());
        assert_eq!(queue.waiting(), 2);
        // Taken is not sent: what the thread still has waits too.
        queue.take(&mut batch);
        assert_eq!(push(&queue, 10), Err(Refusal::Full));
        queue.pick(&batch.pop().unwrap());
        push(&queue, 10).unwrap();
    }

    #[test]
    fn message_under_way_does_not_count_while_the_thread_is_idle() {
        let (queue, _wake) = queue(1000, 2, u64::MAX);
        let mut batch = Batch::default();
        for _ in 0..100 {
            push(&queue, 9).unwrap();
        }
        push(&queue, 500).unwrap();
        assert_eq!(push(&queue, 1), Err(Refusal::Full), "101 records are ready");
        hold_first(&queue, &mut batch);
        push(&queue, 1).unwrap();
        push(&queue, 1).unwrap();
        assert_eq!(push(&queue, 1), Err(Refusal::Full));
        assert!(matches!(queue.park(), Park::Until(_)));
        push(&queue, 1).unwrap();
    }

    #[test]
    fn bytes_bound_the_queue_but_for_one_record() {
        let (queue, _wake) = queue(0, 100, 1000);
        let mut batch = Batch::default();
        push(&queue, 5000).unwrap();
        hold_first(&queue, &mut batch);
        push(&queue, 5000).unwrap();
        assert_eq!(push(&queue, 1), Err(Refusal::Full));
        hold_first(&queue, &mut batch);
        push(&queue, 500).unwrap();
        assert_eq!(push(&queue, 500), Err(Refusal::Full));
        push(&queue, 100).unwrap();
    }

    #[test]
    fn thread_is_woken_for_a_ready_message_and_once() {
        let (queue, wake) = queue(0, 100, u64::MAX);
        assert!(until(&queue.park()).is_none());
        push(&queue, 10).unwrap();
        assert!(is_woken(&wake));
        push(&queue, 10).unwrap();
        assert!(!is_woken(&wake), "it is awake");
        assert!(matches!(queue.park(), Park::Stay));
    }

    #[test]
    fn thread_is_woken_for_the_timer_and_not_for_every_record() {
        let (queue, wake) = queue(1000, 100, u64::MAX);
        let start = Instant::now();
        assert!(until(&queue.park()).is_none());
        push_at(&queue, 10, start).unwrap();
        assert!(is_woken(&wake));
        assert_eq!(until(&queue.park()), Some(start + INTERVAL));
        push_at(&queue, 10, start + INTERVAL / 2).unwrap();
        assert!(!is_woken(&wake));
        queue.flush_due(start + INTERVAL);
        assert!(matches!(queue.park(), Park::Stay));
        let mut batch = Batch::default();
        queue.take(&mut batch);
        assert_eq!(batch.pop().unwrap().records, 2);
        assert!(until(&queue.park()).is_none());
    }

    #[test]
    fn timer_of_a_message_that_has_gone_moves_to_the_next() {
        let (queue, wake) = queue(1000, 100, u64::MAX);
        let start = Instant::now();
        let later = start + INTERVAL / 2;
        push_at(&queue, 10, start).unwrap();
        push_at(&queue, 1000, start).unwrap();
        push_at(&queue, 0, later).unwrap();
        let mut batch = Batch::default();
        queue.take(&mut batch);
        assert_eq!(until(&queue.park()), Some(start + INTERVAL));
        queue.flush_due(start + INTERVAL);
        assert_eq!(until(&queue.park()), Some(later + INTERVAL));
        queue.flush_due(later + INTERVAL);
        queue.take(&mut batch);
        assert_eq!(batch.pop().unwrap().records, 1, "without payload");
        assert!(!is_woken(&wake), "it was not parked");
    }

    #[test]
    fn failed_queue_takes_up_to_its_bound_and_then_refuses_even_who_would_wait() {
        let (queue, _wake) = queue(0, 2, u64::MAX);
        let mut batch = Batch::default();
        push(&queue, 1).unwrap();
        hold_first(&queue, &mut batch);
        queue.fail();
        push(&queue, 1).unwrap();
        push(&queue, 1).unwrap();
        let refused = queue.push(&DataRecord::new(1), Patience::ForEver, Instant::now);
        assert_eq!(refused, Err(Refusal::Failed));
        assert!(matches!(queue.park(), Park::Until(None)));
        queue.stop(Phase::Stopped);
        let (lost, _) = queue.discard(batch);
        assert_eq!((lost, queue.waiting()), (2, 0));
        queue.start(Phase::Open);
        push(&queue, 1).unwrap();
    }

    #[test]
    fn phase_decides_what_becomes_of_a_record() {
        let (queue, _wake) = queue(0, 2, u64::MAX);
        queue.stop(Phase::Stopped);
        assert_eq!(push(&queue, 1), Err(Refusal::NotSending));
        queue.start(Phase::Disabled);
        for _ in 0..10 {
            push(&queue, 1).unwrap();
        }
        assert_eq!((queue.discarded(), queue.waiting()), (10, 0));
        queue.close();
        assert_eq!(push(&queue, 1), Err(Refusal::Closed));
        queue.start(Phase::Open);
        assert_eq!(push(&queue, 1), Err(Refusal::Closed), "for good");
    }

    #[test]
    fn callers_that_wait_go_on_while_the_thread_empties_the_smallest_queue() {
        const CALLERS: u64 = 3;
        const EACH: u64 = 3000;
        let (queue, wake) = queue(0, 1, u64::MAX);
        let queue = Arc::new(queue);
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        let deadline = Patience::Until(Instant::now() + LONG);
                        let record = DataRecord::new(1).with_block(b"abc");
                        queue.push(&record, deadline, Instant::now).unwrap();
                    }
                })
            })
            .collect();
        let mut batch = Batch::default();
        let mut count = 0;
        while count < CALLERS * EACH {
            queue.take(&mut batch);
            while let Some(message) = batch.pop() {
                queue.pick(&message);
                count += message.records;
            }
            if count < CALLERS * EACH
                && let Park::Until(None) = queue.park()
            {
                let ready = wait(&[], Some(&wake), Some(Instant::now() + LONG)).unwrap();
                assert!(ready.woken(), "stuck at {count}");
                wake.drain();
            }
        }
        for caller in callers {
            caller.join().unwrap();
        }
    }

    proptest! {
        /// Whatever the order of calls, each record that was taken is ready, waits, or was picked.
        #[test]
        fn records_are_never_lost_nor_doubled(
            threshold in prop::sample::select(vec![0, 50, 1000]),
            ops in prop::collection::vec((0_u8..8, 0_usize..300), 0..200),
        ) {
            let (queue, _wake) = queue(threshold, 10, 3000);
            let start = Instant::now();
            let mut batch = Batch::default();
            let (mut taken, mut picked) = (0, 0);
            for (step, (op, len)) in ops.into_iter().enumerate() {
                let now = start + Duration::from_millis(step as u64 * 10);
                match op {
                    0..4 => taken += u64::from(push_at(&queue, len, now).is_ok()),
                    4 => queue.flush_due(now),
                    5 => queue.flush(),
                    6 if batch.is_empty() => {
                        queue.take(&mut batch);
                    }
                    _ => match batch.pop() {
                        Some(message) => {
                            queue.pick(&message);
                            picked += message.records;
                        }
                        None => drop(queue.park()),
                    },
                }
                prop_assert_eq!(queue.waiting(), taken - picked);
            }
            let (lost, _) = queue.discard(batch);
            prop_assert_eq!(lost, taken - picked);
            prop_assert_eq!(queue.waiting(), 0);
        }
    }
}
