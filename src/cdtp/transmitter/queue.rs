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
    /// How long a record waits for others; beyond the clock is for ever.
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

/// Records, and their encoded bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) bytes: u64,
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
        if open.assembly.is_full_for(payload) {
            // Rare enough to wake it with the lock.
            if self.make_ready(&mut open) {
                self.waker.wake();
            }
        }
        let first = open.assembly.records() == 0;
        open.assembly.push(record, payload);
        if open.assembly.is_full() {
            self.seal(open);
        } else if first {
            open.flush_at = now().checked_add(self.limits.flush_interval);
            if let Some(at) = open.flush_at
                && !open.timer_set
            {
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
        let parked = self.make_ready(&mut open);
        drop(open);
        if parked {
            self.waker.wake();
        }
    }

    /// True: the thread is to be woken.
    fn make_ready(&self, open: &mut Open) -> bool {
        open.flush_at = None;
        let records = open.assembly.records();
        if records == 0 {
            return false;
        }
        let mut ready = self.ready.lock();
        let bytes = open.assembly.seal(&mut ready.batch);
        let parked = std::mem::take(&mut ready.parked);
        drop(ready);
        open.sealed.records += records;
        open.sealed.bytes += bytes as u64;
        parked
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
mod tests;
