//! The way from a backend to the clients.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::event::Events;
use crate::eventer::server::hub::Hub;
use crate::store::Callbacks;

/// Tells the clients of servers what a backend has registered and made durable; clones are the same.
///
/// A backend is opened before the server is there: give it the [`callbacks`](Self::callbacks) of a notifier, and the notifier
/// to the server by its [options](crate::eventer::ServerOptions). Until then, and behind the server's end, what it is told goes
/// nowhere. Several servers may share one, so that one store is served at two addresses.
///
/// It never waits for a client: it matches, encodes and hands over on the thread of the backend.
///
/// # Examples
/// ```
/// use acqbus::eventer::{Notifier, ServerOptions};
/// use acqbus::store::MemoryBackend;
///
/// let notifier = Notifier::default();
/// let backend = MemoryBackend::new(notifier.callbacks());
/// let options = ServerOptions::default().notifier(notifier);
/// # drop((backend, options));
/// ```
#[derive(Clone, Default)]
pub struct Notifier(Arc<RwLock<Vec<Weak<Hub>>>>);

impl Notifier {
    /// Tells the clients that want events once they are registered.
    pub fn registered(&self, events: &Events) {
        self.notify(events, false);
    }

    /// Tells the clients that want events once they are durable.
    pub fn flushed(&self, events: &Events) {
        self.notify(events, true);
    }

    /// Both, as the callbacks of a backend.
    #[must_use]
    pub fn callbacks(&self) -> Callbacks {
        let (registered, flushed) = (self.clone(), self.clone());
        Callbacks::default()
            .registered(move |events| registered.registered(events))
            .flushed(move |events| flushed.flushed(events))
    }

    /// Tells the clients of one more server.
    pub(super) fn attach(&self, hub: &Arc<Hub>) {
        let mut hubs = self.0.write();
        hubs.retain(|hub| hub.strong_count() > 0);
        hubs.push(Arc::downgrade(hub));
    }

    /// Tells the clients of a server no more.
    pub(super) fn detach(&self, hub: &Arc<Hub>) {
        let other = Arc::downgrade(hub);
        self.0.write().retain(|hub| !hub.ptr_eq(&other));
    }

    fn notify(&self, events: &Events, is_persisted: bool) {
        for hub in self.0.read().iter() {
            if let Some(hub) = hub.upgrade() {
                hub.notify(events, is_persisted, None);
            }
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("servers", &self.0.read().len())
            .finish()
    }
}
