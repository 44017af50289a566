//! What a service counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts of a service since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages handed to the publisher's socket, heartbeats and both copies of an emergency included.
    pub published: u64,
    /// Their bodies' bytes.
    pub published_bytes: u64,
    /// Messages that wait for the publisher's thread now.
    pub queue_depth: usize,
    /// Messages dropped because the queue was full; subscribers see them as gaps.
    pub dropped: u64,
    /// Messages refused to their caller because the queue was full.
    pub refused: u64,
    /// Messages or replies that the socket did not take.
    pub send_failures: u64,
    /// How long the publisher has waited for the slowest subscriber to take the next message; zero while it does not, as always
    /// without [`RpcOptions::back_pressure`](crate::rpc::RpcOptions::back_pressure).
    pub held_up: Duration,
    /// Messages that taps missed.
    pub tap_lost: u64,
    /// Subscriptions that arrived. A subscriber has one for each of its topics.
    pub subscriptions: u64,
    /// Usable requests, repeats and refusals included.
    pub commands: u64,
    /// Requests answered as unusable.
    pub unusable: u64,
    /// Messages on the command port without a requester's envelope, dropped.
    pub without_envelope: u64,
    /// Connections that were not let in: no accepted key (counted until the stop), no CURVE where it is wanted or the other
    /// way round, no ZeroMQ, or an end in the middle of the handshake.
    pub refused_handshakes: u64,
    /// Requests refused for want of a right.
    pub refused_commands: u64,
    /// Requests answered from memory because their client repeated them.
    pub repeats: u64,
    /// Requests refused because their client had used the nonce for another.
    pub conflicts: u64,
    /// Delegate calls that ended in an error or a panic.
    pub exceptions: u64,
    /// Commands answered as pending and not finished yet.
    pub pending: usize,
    /// Commands that could not become pending because [`RpcOptions::max_pending`](crate::rpc::RpcOptions::max_pending) were.
    pub refused_pending: u64,
    /// Interfaces at which the service could not be announced, or 1 where it could not be at all; 0 where it need not be.
    pub announce_failures: u64,
    /// How long the delegate has been in its current call; zero when it is idle.
    pub delegate_busy: Duration,
}

/// The counters behind [`Stats`]: each has one or two writing threads, and any reader.
#[derive(Debug)]
pub(crate) struct Meters {
    started: Instant,
    /// Nanoseconds from `started` to the begin of the delegate's current call, plus one; 0 while it is idle.
    busy_since: AtomicU64,
    /// The same of the publisher's wait for a subscriber.
    held_up_since: AtomicU64,
    published: AtomicU64,
    published_bytes: AtomicU64,
    send_failures: AtomicU64,
    subscriptions: AtomicU64,
    commands: AtomicU64,
    unusable: AtomicU64,
    without_envelope: AtomicU64,
    refused_commands: AtomicU64,
    repeats: AtomicU64,
    conflicts: AtomicU64,
    exceptions: AtomicU64,
    refused_handshakes: AtomicU64,
    announce_failures: AtomicU64,
}

impl Meters {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            busy_since: AtomicU64::new(0),
            held_up_since: AtomicU64::new(0),
            published: AtomicU64::new(0),
            published_bytes: AtomicU64::new(0),
            send_failures: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
            without_envelope: AtomicU64::new(0),
            refused_commands: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            exceptions: AtomicU64::new(0),
            refused_handshakes: AtomicU64::new(0),
            announce_failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn published(&self, bytes: usize) {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.published_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn send_failed(&self) {
        self.send_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn subscribed(&self) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unusable(&self) {
        self.unusable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn without_envelope(&self) {
        self.without_envelope.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_command(&self) {
        self.refused_commands.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn repeat(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn exception(&self) {
        self.exceptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_handshake(&self) {
        self.refused_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn announce_failed(&self, interfaces: u64) {
        self.announce_failures
            .fetch_add(interfaces, Ordering::Relaxed);
    }

    /// Marks the delegate busy until the guard is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        Busy(self.begin(&self.busy_since))
    }

    /// Marks the publisher as waiting for a subscriber until the guard is dropped.
    pub(crate) fn holding_up(&self) -> Busy<'_> {
        Busy(self.begin(&self.held_up_since))
    }

    fn begin<'a>(&self, since: &'a AtomicU64) -> &'a AtomicU64 {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX - 1);
        since.store(now + 1, Ordering::Relaxed);
        since
    }

    pub(crate) fn delegate_busy(&self, now: Instant) -> Duration {
        self.lasting(&self.busy_since, now)
    }

    fn lasting(&self, since: &AtomicU64, now: Instant) -> Duration {
        match since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now
                .saturating_duration_since(self.started)
                .saturating_sub(Duration::from_nanos(since - 1)),
        }
    }

    /// The counters of this struct; the caller adds what others count.
    pub(crate) fn read(&self, now: Instant) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            published: read(&self.published),
            published_bytes: read(&self.published_bytes),
            send_failures: read(&self.send_failures),
            subscriptions: read(&self.subscriptions),
            commands: read(&self.commands),
            unusable: read(&self.unusable),
            without_envelope: read(&self.without_envelope),
            refused_commands: read(&self.refused_commands),
            repeats: read(&self.repeats),
            conflicts: read(&self.conflicts),
            exceptions: read(&self.exceptions),
            refused_handshakes: read(&self.refused_handshakes),
            announce_failures: read(&self.announce_failures),
            delegate_busy: self.delegate_busy(now),
            held_up: self.lasting(&self.held_up_since, now),
            ..Stats::default()
        }
    }
}

/// The delegate is in a call, or the publisher waits, while this lives.
pub(crate) struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
