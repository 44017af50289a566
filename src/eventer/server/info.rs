//! What a server tells about its clients and itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::event::Subscription;

/// A client that a server has taken.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// The number of its connection, from 1; modules see it as the id of their source.
    pub number: i64,
    /// What it calls itself, `TYPE/NAME` by custom.
    pub name: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// The events that it wants.
    pub subscription: Subscription,
    /// The only server whose events it wants; `None` for all.
    pub server_id: Option<i64>,
    /// Whether it wants events once they are durable, rather than once they are registered.
    pub persisted: bool,
}

/// What a server did so far.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ServerStats {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are there now, those that have not said who they are among them.
    pub open: u64,
    /// Connections that were closed at once, as there were too many.
    pub refused: u64,
    /// Clients that were told why they are not taken, by a wrong token as a rule.
    pub unwelcome: u64,
    /// Requests of clients, answered or not.
    pub requests: u64,
    /// Events that clients registered.
    pub events: u64,
    /// Notifications that were handed to clients.
    pub notified: u64,
    /// Connections that were closed because the client broke the protocol.
    pub malformed: u64,
    /// Connections that were closed because the client did not take what was for it.
    pub slow: u64,
    /// Connections that were closed because the client did not say who it is in time.
    pub silent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unwelcome: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) notified: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) silent: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> ServerStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            connections: of(&self.connections),
            open: of(&self.open),
            refused: of(&self.refused),
            unwelcome: of(&self.unwelcome),
            requests: of(&self.requests),
            events: of(&self.events),
            notified: of(&self.notified),
            malformed: of(&self.malformed),
            slow: of(&self.slow),
            silent: of(&self.silent),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}
