//! Bytes that a client is to be sent.

use std::time::Instant;

/// What is to be sent to a client and was not taken by its socket yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// More is appended here; the first `written` are gone.
    pub(super) bytes: Vec<u8>,
    written: usize,
    stalled: Option<Instant>,
    is_deaf: bool,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// The socket took so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        self.stalled = None;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.written = 0;
        } else if self.written > self.bytes.len() / 2 && self.written > KEPT_BYTES {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// The client takes nothing any more; what is there and what comes is dropped.
    pub(super) fn give_up(&mut self) {
        self.is_deaf = true;
        self.stalled = None;
        self.written = 0;
        self.bytes = Vec::new();
    }

    /// Whether the client takes nothing any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// The socket takes nothing at the moment.
    pub(super) fn stall(&mut self, now: Instant) {
        self.stalled.get_or_insert(now);
    }

    /// Since when the socket has taken nothing, while there is something.
    pub(super) fn stalled(&self) -> Option<Instant> {
        self.stalled
    }
}

/// Room that is kept for the next bytes.
const KEPT_BYTES: usize = 64 * 1024;
