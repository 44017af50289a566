//! The thread that owns the publisher's socket.
//!
//! The socket is an XPUB: the wire is PUB's, and the service sees each subscription arrive, which is the moment for a heartbeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::rpc::message::append_extras;
use crate::rpc::service::admission::Admission;
use crate::rpc::service::batch::{Batch, Entry};
use crate::rpc::service::outbox::Outbox;
use crate::rpc::service::pending::PendingCommands;
use crate::rpc::service::publisher_state::{Condition, PublisherState};
use crate::rpc::service::refusals::Refusals;
use crate::rpc::service::stats::Meters;
use crate::rpc::service::tap::Taps;
use crate::rpc::{Dialect, Topic};
use crate::time;
use crate::zsocket::{self, Frame, Socket, TrySendError, WakeReceiver};

/// All that the publisher's thread owns or shares.
pub(crate) struct PublisherThread {
    pub(crate) socket: Socket,
    pub(crate) wake: WakeReceiver,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) state: PublisherState,
    pub(crate) pending: PendingCommands,
    /// How long a subscriber that holds everything up is waited for once the outbox is closed.
    pub(crate) linger: Duration,
    /// That time is over: nobody is waited for any more.
    pub(crate) given_up: bool,
    pub(crate) taps: Arc<Taps>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) refusals: Refusals,
    pub(crate) admission: Option<Admission>,
    pub(crate) dialect: Dialect,
    pub(crate) extras: bool,
    pub(crate) epoch: u64,
    /// While it is set, heartbeats that are due are not sent; a fault that the simulated rig can have.
    pub(crate) muted: Arc<AtomicBool>,
}

impl PublisherThread {
    /// Sends until the outbox is closed and empty; the socket then lingers as its option says.
    pub(crate) fn run(mut self) {
        let mut batch = Batch::default();
        let mut urgent = Batch::default();
        let mut scratch = Vec::with_capacity(1024);
        loop {
            self.send_urgent(&mut urgent, &mut scratch);
            self.send_batch(&mut batch, &mut urgent, &mut scratch);
            self.serve(&mut scratch);
            if self.outbox.is_finished() {
                if self.skip_trailing_drops() {
                    self.send_heartbeat(Instant::now(), &mut scratch);
                }
                return;
            }
            if self.outbox.park() {
                batch.release();
                urgent.release();
                self.block();
            }
        }
    }

    /// All that waits in the normal lane; emergencies that arrive meanwhile go first, heartbeats keep their time.
    fn send_batch(&mut self, batch: &mut Batch, urgent: &mut Batch, scratch: &mut Vec<u8>) {
        self.outbox.take(batch);
        for (topic, count) in batch.drain_dropped_before() {
            self.state.skip(topic, count);
        }
        let mut since_served = 0;
        loop {
            // Before each message: an emergency that was queued before it has set its mark by now.
            self.send_urgent(urgent, scratch);
            let Some((entry, body)) = batch.next() else {
                return;
            };
            self.emit(entry, body, scratch);
            self.outbox.sent_one();
            since_served += 1;
            if since_served == SERVE_EVERY {
                since_served = 0;
                self.serve(scratch);
            }
        }
    }

    fn send_urgent(&mut self, urgent: &mut Batch, scratch: &mut Vec<u8>) {
        if self.outbox.has_urgent() {
            self.outbox.take_urgent(urgent);
            while let Some((entry, body)) = urgent.next() {
                self.emit(entry, body, scratch);
            }
        }
    }

    /// What is not publishing: arriving subscribers, the heartbeat, pending commands past their deadline, revoked keys.
    fn serve(&mut self, scratch: &mut Vec<u8>) {
        self.serve_subscribers();
        let now = Instant::now();
        self.pending.expire(now);
        if now >= self.state.next_deadline() {
            self.skip_trailing_drops();
            self.send_heartbeat(now, scratch);
        }
    }

    fn serve_subscribers(&mut self) {
        let mut frame = Frame::new();
        // A flood of subscriptions must not hold up what is published; the rest is read at the next look.
        for _ in 0..SUBSCRIPTIONS_AT_ONCE {
            let Ok(true) = self.socket.try_recv_into(&mut frame) else {
                break;
            };
            let served = self
                .admission
                .as_ref()
                .is_none_or(|admission| admission.saw(&frame));
            if served && self.state.on_subscription(&frame) {
                self.meters.subscribed();
            }
        }
    }

    /// Counts what was dropped behind the last message sent, so that the next heartbeat tells; `false` if nothing was.
    fn skip_trailing_drops(&mut self) -> bool {
        let mut any = false;
        self.outbox.take_trailing_drops(|topic, count| {
            any = true;
            self.state.skip(topic, count);
        });
        any
    }

    fn send_heartbeat(&mut self, now: Instant, scratch: &mut Vec<u8>) {
        let counts = self.outbox.counts();
        let condition = Condition {
            queue_depth: counts.depth,
            dropped: counts.dropped,
            delegate_busy: self.meters.delegate_busy(now),
        };
        match self.state.heartbeat(now, time::since_1970(), &condition) {
            Ok(_) if self.muted.load(Ordering::Relaxed) => {}
            Ok(body) => {
                let body = self.dialect.publish_form(&body);
                let entry = Entry::new(Topic::HEARTBEAT, self.extras);
                self.emit(entry, &body, scratch);
            }
            Err(error) => log::error!("the heartbeat cannot be written: {error}"),
        }
    }

    fn emit(&mut self, entry: Entry, body: &[u8], scratch: &mut Vec<u8>) {
        let sequence = self.state.stamp(entry.topic, entry.skipped);
        scratch.clear();
        scratch.extend_from_slice(body);
        if entry.marked {
            append_extras(scratch, self.epoch, sequence, self.dialect);
        }
        let topic = entry.topic.to_bytes();
        // Without back-pressure never refused: a subscriber at its high-water mark misses the message, and sees the gap.
        let mut begun = self.socket.try_send_bytes(&topic, true);
        if begun.as_ref().is_err_and(TrySendError::is_full) && !self.given_up {
            begun = self.begin_when_there_is_room(&topic);
        }
        // Who has room for the first frame has it for the second.
        let sent = begun.and_then(|()| self.socket.try_send_bytes(scratch, false));
        match sent {
            Ok(()) => self.meters.published(scratch.len()),
            Err(error) => {
                self.meters.send_failed();
                log::warn!("a message of topic {} was not sent: {error}", entry.topic);
            }
        }
        self.taps.pass(entry.topic, scratch, self.epoch, sequence);
    }

    /// Waits for the slowest subscriber; once the outbox is closed no longer than the linger.
    fn begin_when_there_is_room(&mut self, topic: &[u8]) -> Result<(), TrySendError> {
        let meters = Arc::clone(&self.meters);
        let _held_up = meters.holding_up();
        let mut end = None;
        loop {
            if end.is_none() && self.outbox.is_closed() {
                end = Instant::now().checked_add(self.linger);
            }
            self.pending.expire(Instant::now());
            let look = self.socket.monitor_failures().and_then(|monitor| {
                let sockets = [&self.socket, monitor.socket()];
                zsocket::wait(&sockets, None, Some(Instant::now()))
            });
            if let Ok(ready) = look {
                self.refusals.look(&self.socket, &ready);
            }
            self.serve_subscribers();
            match self.socket.try_send_bytes(topic, true) {
                Err(error) if error.is_full() => {
                    if end.is_some_and(|end| Instant::now() >= end) {
                        self.given_up = true;
                        return Err(error);
                    }
                }
                sent => return sent,
            }
            let deadline = [self.pending.next_deadline(), end];
            let deadline = deadline.into_iter().flatten().min();
            if zsocket::wait_for_room(&self.socket, &self.wake, deadline)?.woken() {
                self.wake.drain();
            }
        }
    }

    fn block(&mut self) {
        let deadline = match self.pending.next_deadline() {
            Some(deadline) => deadline.min(self.state.next_deadline()),
            None => self.state.next_deadline(),
        };
        let ready = self.socket.monitor_failures().and_then(|monitor| {
            let sockets = [&self.socket, monitor.socket()];
            zsocket::wait(&sockets, Some(&self.wake), Some(deadline))
        });
        match ready {
            Ok(ready) => {
                if ready.woken() {
                    self.wake.drain();
                }
                self.refusals.look(&self.socket, &ready);
            }
            Err(error) => {
                // Only a terminated context gets here, and ours lives as long as the service.
                log::error!("the publisher cannot wait: {error}");
                self.outbox.close();
            }
        }
    }
}

/// Messages sent between two looks at the clock and at arriving subscribers.
const SERVE_EVERY: u32 = 64;

/// Subscriptions read at one look.
const SUBSCRIPTIONS_AT_ONCE: usize = 256;
