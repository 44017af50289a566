//! The side that has the store open: the backend, who follows it, and the socket for others.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::event::Events;
use crate::store::{Backend, Callbacks, RedbBackend, StoreConfig, StoreError};

use super::desk::{Desk, Inspect};
use super::hub::Hub;
use super::place;
use super::presence::Presence;
use super::server::Server;

/// A store that this process has open.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) backend: Arc<RedbBackend>,
    pub(super) hub: Arc<Hub>,
    /// To be looked at before anything is written.
    pub(super) presence: Arc<Presence>,
    /// `None` where the file system knows no sockets: then only this process reaches the store.
    server: Option<Server>,
}

impl Owner {
    /// Opens the store and lets guests in.
    pub(super) fn open(
        dir: &Path,
        config: StoreConfig,
        callbacks: &Callbacks,
    ) -> Result<Self, StoreError> {
        let hub = Arc::new(Hub::default());
        let backend = Arc::new(RedbBackend::open(dir, config, tapped(callbacks, &hub))?);
        let presence = Arc::new(Presence::of(dir, place::DATABASE));
        let desk = Desk {
            presence: Arc::clone(&presence),
            backend: Arc::clone(&backend) as Arc<dyn Backend>,
            hub: Arc::clone(&hub),
            is_closing: AtomicBool::new(false),
            inspector: Some(Arc::clone(&backend) as Arc<dyn Inspect>),
        };
        let server = match Server::start(dir, Arc::new(desk)) {
            Ok(server) => Some(server),
            Err(error) => {
                log::warn!("other processes cannot reach the store: {error}");
                None
            }
        };
        Ok(Self {
            backend,
            hub,
            presence,
            server,
        })
    }

    /// Sends guests away, then closes the store.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        if let Some(server) = &self.server {
            server.stop();
        }
        self.hub.close();
        let closed = self.backend.close();
        // What was written into a file that is gone is kept nowhere.
        self.presence.look().and(closed)
    }
}

/// The callbacks of whoever opens the store, and those of the followers.
fn tapped(callbacks: &Callbacks, hub: &Arc<Hub>) -> Callbacks {
    let (registered, flushed) = (callbacks.registered.clone(), callbacks.flushed.clone());
    let (of_registered, of_flushed) = (Arc::clone(hub), Arc::clone(hub));
    Callbacks::default()
        .registered(move |events: &Events| {
            of_registered.registered(events);
            if let Some(callback) = &registered {
                callback(events);
            }
        })
        .flushed(move |events: &Events| {
            of_flushed.flushed(events);
            if let Some(callback) = &flushed {
                callback(events);
            }
        })
}

impl Inspect for RedbBackend {
    fn stats(&self) -> Result<serde_json::Value, StoreError> {
        as_value(&Self::stats(self)?)
    }

    fn check(
        &self,
        goes_on: &dyn Fn() -> bool,
        damage: &mut dyn FnMut(serde_json::Value),
    ) -> Result<serde_json::Value, StoreError> {
        let summary = self.check_while(goes_on, &mut |found| {
            // A damage that has no form is told as text.
            damage(as_value(&found).unwrap_or_else(|_| format!("{found:?}").into()));
        })?;
        as_value(&summary)
    }
}

fn as_value(value: &impl serde::Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Database {
        action: "telling of itself",
        source: Box::new(error),
    })
}
