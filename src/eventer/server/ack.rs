//! Waiting until clients have acknowledged a notification.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// Waits for the acknowledgements of one notification.
#[derive(Debug, Default)]
pub(super) struct AckWait {
    open: Mutex<Open>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    acknowledged: usize,
}

/// One acknowledgement that is waited for; dropped, it is waited for no more.
#[derive(Debug)]
pub(super) struct AckToken(Arc<AckWait>);

impl AckWait {
    pub(super) fn token(self: &Arc<Self>) -> AckToken {
        self.open.lock().count += 1;
        AckToken(Arc::clone(self))
    }

    /// Waits until none is waited for any more, or until then; gives how many came.
    pub(super) fn wait(&self, deadline: Instant) -> usize {
        let mut open = self.open.lock();
        while open.count > 0 {
            if self.changed.wait_until(&mut open, deadline).timed_out() {
                break;
            }
        }
        open.acknowledged
    }
}

impl AckToken {
    pub(super) fn acknowledge(self) {
        self.0.open.lock().acknowledged += 1;
    }
}

impl Drop for AckToken {
    fn drop(&mut self) {
        self.0.open.lock().count -= 1;
        self.0.changed.notify_all();
    }
}
