//! What other threads have for a reactor.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mio::net::TcpStream;
use mio::{Poll, Token, Waker};
use parking_lot::Mutex;

use crate::event::Event;
use crate::eventer::server::ack::AckToken;
use crate::eventer::server::leave::Leave;
use crate::store::StoreError;

/// Takes messages for a reactor, and wakes it once for many.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// None once nobody reads it any more.
    mail: Mutex<Option<Vec<Mail>>>,
    is_woken: AtomicBool,
    waker: Waker,
    /// Connections that the reactor may have.
    share: usize,
    /// Connections that it has, or is about to get.
    connections: AtomicUsize,
}

/// A message for a reactor.
#[derive(Debug)]
pub(super) enum Mail {
    /// A new connection, and its number.
    Accepted(TcpStream, SocketAddr, i64),
    /// Something to tell a client.
    Notify {
        to: Address,
        kind: &'static str,
        data: Arc<[u8]>,
        ack: Option<AckToken>,
    },
    /// CONNECTED is registered, or cannot be.
    Connected(Address, Result<(), StoreError>),
    /// A registration of a client is done.
    Registered(Address, Result<Vec<Arc<Event>>, StoreError>),
    /// A query of a client is done: the bytes of its answer.
    Queried(Address, Result<Vec<u8>, Leave>),
    /// More waits for a client than may.
    Overflow(Address),
    /// The engine's queue has room again.
    Room,
    /// The server stops.
    Stop,
}

/// Which connection of a reactor; the number tells whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) slot: usize,
    pub(super) number: i64,
}

impl Mailbox {
    pub(super) fn new(poll: &Poll, token: Token, share: usize) -> io::Result<Self> {
        Ok(Self {
            mail: Mutex::new(Some(Vec::new())),
            is_woken: AtomicBool::new(false),
            waker: Waker::new(poll.registry(), token)?,
            share,
            connections: AtomicUsize::new(0),
        })
    }

    pub(super) fn push(&self, mail: Mail) {
        if let Some(waiting) = &mut *self.mail.lock() {
            waiting.push(mail);
        }
        self.wake();
    }

    pub(super) fn append(&self, mail: &mut Vec<Mail>) {
        if mail.is_empty() {
            return;
        }
        if let Some(waiting) = &mut *self.mail.lock() {
            waiting.append(mail);
        }
        self.wake();
    }

    /// Exchanges what came for the empty list given.
    pub(super) fn take(&self, mail: &mut Vec<Mail>) {
        // First the flag: who pushes behind this wakes again.
        self.is_woken.store(false, Ordering::SeqCst);
        if let Some(waiting) = &mut *self.mail.lock() {
            std::mem::swap(waiting, mail);
        }
    }

    /// Drops what is there and what comes from now on.
    pub(super) fn close(&self) {
        let waiting = self.mail.lock().take();
        // What waits for it may want to push something more.
        drop(waiting);
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// Connections that the reactor has room for.
    pub(super) fn room(&self) -> usize {
        let connections = self.connections.load(Ordering::Relaxed);
        self.share.saturating_sub(connections)
    }

    /// Counts a connection that the reactor gets.
    pub(super) fn occupy(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that it has no more.
    pub(super) fn vacate(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn wake(&self) {
        if self.is_woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.waker.wake() {
            log::error!("a thread of the eventer server cannot be woken: {error}");
        }
    }
}
