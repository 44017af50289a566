//! Who is told what is discovered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::chirp::{ChirpEvent, DiscoveredService};

/// A function that the discovery's thread calls.
pub(super) type Callback = Arc<dyn Fn(&ChirpEvent) + Send + Sync>;

/// The subscribers and callbacks of one manager.
#[derive(Default)]
pub(super) struct Listeners {
    channels: Vec<Sender<ChirpEvent>>,
    callbacks: Vec<Callback>,
}

impl Listeners {
    /// A subscriber, who begins with what is known.
    pub(super) fn subscribe(
        &mut self,
        capacity: usize,
        known: impl Iterator<Item = DiscoveredService>,
    ) -> Receiver<ChirpEvent> {
        let known: Vec<_> = known.collect();
        let (sender, receiver) = bounded(capacity.max(known.len()).max(1));
        for service in known {
            // There is room for all of them.
            let _ = sender.try_send(ChirpEvent::Discovered(service));
        }
        self.channels.push(sender);
        receiver
    }

    pub(super) fn on_change(&mut self, callback: Callback) {
        self.callbacks.push(callback);
    }

    /// Tells the subscribers, without waiting for any; gives the number of events that were lost.
    pub(super) fn publish(&mut self, events: &[ChirpEvent]) -> u64 {
        let mut lost = 0;
        self.channels.retain(|channel| {
            for event in events {
                match channel.try_send(*event) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => lost += 1,
                    Err(TrySendError::Disconnected(_)) => return false,
                }
            }
            true
        });
        lost
    }

    /// The callbacks, to be called by [`call`] where nothing is locked.
    pub(super) fn callbacks(&self) -> Vec<Callback> {
        self.callbacks.clone()
    }

    /// Forgets all; the channels of the subscribers end.
    pub(super) fn clear(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// Calls each with each event; gives the number of those that panicked.
pub(super) fn call(callbacks: &[Callback], events: &[ChirpEvent]) -> u64 {
    let mut panics = 0;
    for event in events {
        for callback in callbacks {
            if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
                panics += 1;
            }
        }
    }
    panics
}
