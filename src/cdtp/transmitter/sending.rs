//! The thread that owns the socket, and how others reach it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use crate::cdtp::CdtpError;
use crate::cdtp::transmitter::assembly::{Batch, Message, MessageBody};
use crate::cdtp::transmitter::options::FailureCallback;
use crate::cdtp::transmitter::queue::{Park, Queue, Totals};
use crate::cdtp::transmitter::receivers::Receivers;
use crate::zsocket::{
    Frame, FramePool, Monitor, Socket, TrySendError, WakeReceiver, ZsocketError, wait, wait_to_send,
};

/// What the thread that sends and the handle have in common.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) counters: Counters,
    pub(super) receivers: Receivers,
    order: Mutex<Option<Order>>,
    closed: AtomicBool,
    /// What libzmq holds is lost when the socket closes.
    hurried: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// Since the last start; written by the thread that sends.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) messages: AtomicU64,
    /// Records that were accepted and cannot be sent any more.
    pub(super) lost: AtomicU64,
}

/// Why DATA messages are not sent any more.
#[derive(Clone)]
enum Failure {
    TimedOut(Duration),
    Socket(Arc<ZsocketError>),
}

/// Something that the thread does between messages, for a caller who waits.
struct Order {
    work: Work,
    deadline: Option<Instant>,
    reply: Sender<Outcome>,
}

enum Work {
    /// Send a BOR or an EOR.
    Send(Frame),
    /// Send what waits; throw it away when it cannot be sent, or not in time.
    Drain,
}

/// How an order ended.
pub(super) enum Outcome {
    Done,
    TimedOut,
    /// The transmitter is closed.
    Closed,
    Socket(ZsocketError),
}

impl Shared {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            counters: Counters::default(),
            receivers: Receivers::default(),
            order: Mutex::default(),
            closed: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Sends a BOR or an EOR behind all messages that are ready, and waits for it.
    ///
    /// One order at a time: the caller sees to that.
    pub(super) fn send(&self, frame: Frame, deadline: Option<Instant>) -> Outcome {
        self.order(Work::Send(frame), deadline)
    }

    /// Waits until what is ready has been sent, or throws the rest away when that fails or takes too long.
    pub(super) fn drain(&self, deadline: Option<Instant>) -> Outcome {
        self.order(Work::Drain, deadline)
    }

    /// Ends every wait, and the thread.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.queue.wake();
    }

    /// As [`close`](Self::close), and the socket does not linger.
    pub(super) fn close_now(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Why sending has failed since the last start, if it has.
    pub(super) fn failure(&self) -> Option<CdtpError> {
        let failure = self.failure.lock().clone()?;
        Some(match failure {
            Failure::TimedOut(after) => CdtpError::SendTimeout {
                what: "DATA",
                after,
            },
            Failure::Socket(source) => CdtpError::Sending(source),
        })
    }

    /// Begins to count anew and forgets a failure.
    pub(super) fn reset(&self) {
        *self.failure.lock() = None;
        let counters = &self.counters;
        for counter in [
            &counters.records,
            &counters.bytes,
            &counters.messages,
            &counters.lost,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    fn order(&self, work: Work, deadline: Option<Instant>) -> Outcome {
        let (reply, answer) = bounded(1);
        *self.order.lock() = Some(Order {
            work,
            deadline,
            reply,
        });
        self.queue.wake();
        if self.is_closed() {
            // The thread may have looked for the last time before the order was there.
            *self.order.lock() = None;
        }
        // The thread keeps the deadline; it hangs up when it ends.
        answer.recv().unwrap_or(Outcome::Closed)
    }
}

/// What the thread works with.
pub(super) struct Sending {
    pub(super) socket: Socket,
    pub(super) wake: WakeReceiver,
    pub(super) pool: FramePool,
    pub(super) shared: Arc<Shared>,
    pub(super) data_timeout: Option<Duration>,
    pub(super) on_failure: Option<FailureCallback>,
    /// Waiting callers are let go on after so many records or bytes, whichever is less, under load.
    pub(super) relieve_after: Totals,
}

impl Sending {
    /// Sends until the transmitter is closed.
    pub(super) fn run(self) {
        let shared = Arc::clone(&self.shared);
        let _ended = Ended(&shared);
        let mut state = State {
            batch: Batch::default(),
            order: None,
            failed: false,
            unrelieved: Totals::default(),
            this: self,
        };
        if let Err(error) = state.serve() {
            // Only waiting itself can fail here, as when the system has no memory for it.
            log::error!("the transmitter ends: {error}");
        }
        shared.queue.close();
        // Before the socket closes, which lingers: who waits for an order is told now.
        shared.closed.store(true, Ordering::SeqCst);
        *shared.order.lock() = None;
        state.order = None;
        state.discard();
        if shared.hurried.load(Ordering::SeqCst)
            && let Err(error) = state.this.socket.set_linger(Some(Duration::ZERO))
        {
            log::debug!("the transmitter lingers all the same: {error}");
        }
    }
}

/// Lets nobody wait for a thread that has ended, even if it did so in a panic.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.queue.close();
        *self.0.order.lock() = None;
    }
}

struct State {
    this: Sending,
    batch: Batch,
    /// An order that was seen; carried out once all that was ready before it has gone.
    order: Option<Order>,
    failed: bool,
    /// Gone to the socket since waiting callers were let go on.
    unrelieved: Totals,
}

/// What a wait ended with.
enum Waited {
    Ready,
    TimedOut,
    /// The order behind the data does not wait any longer.
    Abandoned,
    Closed,
}

/// What is waited for.
#[derive(Clone, Copy)]
enum For {
    /// The socket takes a message.
    Socket,
    /// libzmq holds so little that these bytes may follow.
    Room(usize),
}

impl State {
    fn serve(&mut self) -> Result<(), ZsocketError> {
        while !self.this.shared.is_closed() {
            self.look_for_order();
            // What was ready when the order came is taken after it is seen, and goes first.
            let due = self.order.is_some();
            self.send_ready()?;
            if due {
                if let Some(order) = self.order.take() {
                    self.carry_out(order)?;
                }
                continue;
            }
            if self.order.is_some() {
                continue;
            }
            match self.this.shared.queue.park() {
                Park::Stay => {}
                Park::Until(timer) => self.rest(timer)?,
            }
        }
        Ok(())
    }

    /// Waits for work.
    fn rest(&mut self, timer: Option<Instant>) -> Result<(), ZsocketError> {
        let ready = wait(&[self.monitor()?.socket()], Some(&self.this.wake), timer)?;
        if ready.socket(0) {
            self.look_at_receivers()?;
        }
        if ready.woken() {
            self.this.wake.drain();
        } else if !ready.socket(0) {
            self.this.shared.queue.flush_due(Instant::now());
        }
        Ok(())
    }

    /// Opened before the socket was bound, so that it has seen every receiver.
    fn monitor(&self) -> Result<&Monitor, ZsocketError> {
        self.this.socket.monitor_sessions()
    }

    fn look_at_receivers(&self) -> Result<(), ZsocketError> {
        for event in self.monitor()?.events()? {
            if self.this.shared.receivers.saw(event) {
                log::warn!("a second receiver has connected: each gets a part of the messages");
            }
        }
        Ok(())
    }

    fn look_for_order(&mut self) {
        if self.order.is_none() {
            self.order = self.this.shared.order.lock().take();
        }
    }

    /// Sends all that is ready now.
    fn send_ready(&mut self) -> Result<(), ZsocketError> {
        if self.failed {
            return Ok(());
        }
        self.this.shared.queue.take(&mut self.batch);
        while let Some(message) = self.batch.pop() {
            self.this.shared.queue.pick(&message);
            self.relieve_after(&message);
            let (records, payload) = (message.records, message.payload);
            match self.send_data(message) {
                Ok(Waited::Ready) => self.count(records, payload),
                Ok(other) => {
                    self.lose(records);
                    match other {
                        Waited::Ready => {}
                        Waited::TimedOut => {
                            let after = self.this.data_timeout.unwrap_or_default();
                            self.fail(Failure::TimedOut(after));
                        }
                        Waited::Abandoned => self.discard(),
                        Waited::Closed => {}
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.lose(records);
                    self.fail(Failure::Socket(Arc::new(error)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Lets waiting callers go on now and then, so that they fill the queue while it is emptied.
    fn relieve_after(&mut self, message: &Message) {
        let (gone, enough) = (&mut self.unrelieved, self.this.relieve_after);
        gone.records += message.records;
        gone.bytes += message.len as u64;
        if gone.records >= enough.records || gone.bytes >= enough.bytes {
            *gone = Totals::default();
            self.this.shared.queue.relieve();
        }
    }

    fn send_data(&mut self, message: Message) -> Result<Waited, ZsocketError> {
        let mut deadline = None;
        let frame = match message.body {
            MessageBody::Copied(frame) => frame,
            MessageBody::Lent(buffer, start) => {
                let bytes = buffer.capacity();
                if !self.this.pool.has_room(bytes) {
                    deadline = after(self.this.data_timeout);
                    match self.wait_for(For::Room(bytes), deadline)? {
                        Waited::Ready => {}
                        other => return Ok(other),
                    }
                }
                Frame::from_pooled(buffer, start)
            }
        };
        match self.this.socket.try_send(frame, false) {
            Ok(()) => Ok(Waited::Ready),
            Err(TrySendError::Failed(error)) => Err(error),
            Err(TrySendError::Full(frame)) => {
                let deadline = deadline.or_else(|| after(self.this.data_timeout));
                self.send_when_taken(frame, deadline)
            }
        }
    }

    #[cold]
    fn send_when_taken(
        &mut self,
        mut frame: Frame,
        deadline: Option<Instant>,
    ) -> Result<Waited, ZsocketError> {
        loop {
            match self.wait_for(For::Socket, deadline)? {
                Waited::Ready => {}
                other => return Ok(other),
            }
            match self.this.socket.try_send(frame, false) {
                Ok(()) => return Ok(Waited::Ready),
                Err(TrySendError::Failed(error)) => return Err(error),
                Err(TrySendError::Full(back)) => frame = back,
            }
        }
    }

    #[cold]
    fn wait_for(&mut self, what: For, deadline: Option<Instant>) -> Result<Waited, ZsocketError> {
        loop {
            self.this.shared.queue.relieve();
            let of_order = self.order.as_ref().and_then(|order| order.deadline);
            let until = earlier(deadline, of_order);
            let wake = &self.this.wake;
            let ready = match what {
                For::Socket => wait_to_send(&self.this.socket, wake, until)?,
                For::Room(_) => wait(&[], Some(wake), until)?,
            };
            if ready.woken() {
                wake.drain();
                if self.this.shared.is_closed() {
                    return Ok(Waited::Closed);
                }
                self.look_for_order();
            }
            let is_ready = match what {
                For::Socket => ready.socket(0),
                For::Room(bytes) => self.this.pool.has_room(bytes),
            };
            if is_ready {
                return Ok(Waited::Ready);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Waited::TimedOut);
            }
            let over = |order: &mut Order| order.deadline.is_some_and(|deadline| deadline <= now);
            if let Some(order) = self.order.take_if(over) {
                match order.work {
                    Work::Send(_) => reply(&order.reply, Outcome::TimedOut),
                    Work::Drain => {
                        self.order = Some(order);
                        return Ok(Waited::Abandoned);
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), ZsocketError> {
        self.look_at_receivers()?;
        let outcome = match order.work {
            Work::Drain => {
                if self.failed || self.this.shared.queue.waiting() > 0 {
                    self.discard();
                }
                self.failed = false;
                Outcome::Done
            }
            Work::Send(frame) => match self.this.socket.try_send(frame, false) {
                Ok(()) => Outcome::Done,
                Err(TrySendError::Failed(error)) => Outcome::Socket(error),
                Err(TrySendError::Full(frame)) => {
                    match self.send_when_taken(frame, order.deadline)? {
                        Waited::Ready => Outcome::Done,
                        Waited::TimedOut | Waited::Abandoned => Outcome::TimedOut,
                        Waited::Closed => Outcome::Closed,
                    }
                }
            },
        };
        reply(&order.reply, outcome);
        Ok(())
    }

    #[inline]
    fn count(&self, records: u64, payload: u64) {
        let counters = &self.this.shared.counters;
        add(&counters.messages, 1);
        add(&counters.bytes, payload);
        add(&counters.records, records);
    }

    fn lose(&self, records: u64) {
        add(&self.this.shared.counters.lost, records);
    }

    /// Throws away all that waits.
    fn discard(&mut self) {
        let (lost, batch) = self
            .this
            .shared
            .queue
            .discard(std::mem::take(&mut self.batch));
        self.batch = batch;
        self.lose(lost);
    }

    /// Sends no more data until the next start; what waits stays where it is until then.
    fn fail(&mut self, failure: Failure) {
        self.failed = true;
        let shared = &self.this.shared;
        *shared.failure.lock() = Some(failure);
        shared.queue.fail();
        let Some(error) = shared.failure() else {
            return;
        };
        // Whoever sends is told by the next call.
        log::debug!("{error}");
        if let Some(callback) = &self.this.on_failure
            && catch_unwind(AssertUnwindSafe(|| callback(&error))).is_err()
        {
            log::error!("the failure callback of a transmitter panicked");
        }
    }
}

/// A deadline from now on; a time-out beyond all clocks is none.
pub(super) fn after(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// One writer, so no read-modify-write is needed.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

fn reply(to: &Sender<Outcome>, outcome: Outcome) {
    // The caller waits for it; there is room for one.
    let _ = to.send(outcome);
}
