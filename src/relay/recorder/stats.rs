use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::relay::RelayError;

/// What a recorder of a bus has counted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BusRecorderStats {
    /// Messages that are in the store.
    pub recorded: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Events IDENTIFIER/gap that are in the store.
    pub gaps: u64,
    /// Messages that were published and did not fit the recorder's queue.
    pub lost: u64,
    /// Messages that the store did not take before the recorder ended, or never can.
    pub given_up: u64,
    /// Attempts that the store refused.
    pub failures: u64,
    /// Why, if the last attempt was refused.
    pub error: Option<Arc<RelayError>>,
    /// Messages that wait for the store.
    pub waiting: usize,
}

/// The counters behind [`BusRecorderStats`]; the recorder's thread writes them.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) recorded: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) waiting: AtomicUsize,
    pub(super) error: Mutex<Option<Arc<RelayError>>>,
}

impl Meters {
    pub(super) fn read(&self) -> BusRecorderStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusRecorderStats {
            recorded: read(&self.recorded),
            bytes: read(&self.bytes),
            gaps: read(&self.gaps),
            lost: read(&self.lost),
            given_up: read(&self.given_up),
            failures: read(&self.failures),
            error: self.error.lock().clone(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}
