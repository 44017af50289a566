//! A server, its engine, and what they stand on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::following::Following;
use super::telling::Teller;
use crate::cli::exit::Failure;
use crate::cli::store::args::{Keep, open_with};
use crate::cli::store::claim::Claim;
use crate::event::{Event, Status};
use crate::eventer::{EventerServer, Notifier, ServerOptions, ServerStats};
use crate::store::{Backend, Engine, EngineOptions, StoreHandle};

/// A server that runs. The order of its parts is that of their ends.
pub(super) struct Running {
    server: EventerServer,
    following: Following,
    engine: Engine,
    store: Arc<StoreHandle>,
    events: Receiver<Arc<Event>>,
    _claim: Claim,
}

impl Running {
    pub(super) fn start(
        dir: &Path,
        keep: &Keep,
        server_id: i64,
        options: ServerOptions,
    ) -> Result<Self, Failure> {
        let notifier = Notifier::default();
        let (listener, events) = bounded(LISTENED);
        let teller = Teller::new(notifier.clone(), [server_id], listener);
        let store = Arc::new(open_with(dir, keep, teller.callbacks())?);
        let claim = Claim::take(dir, server_id)?;
        allow_descriptors();
        let following = Following::start(&store, &teller)?;
        let engine = Engine::start(
            teller.backend(&store),
            EngineOptions::default().server(server_id),
        )?;
        let server = EventerServer::start(options.notifier(notifier), engine.handle())?;
        Ok(Self {
            server,
            following,
            engine,
            store,
            events,
            _claim: claim,
        })
    }

    pub(super) fn server(&self) -> &EventerServer {
        &self.server
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(super) fn is_owner(&self) -> bool {
        self.store.is_owner()
    }

    pub(super) fn status(&self) -> Status {
        self.server.status()
    }

    /// The events that are registered through this process.
    pub(super) const fn events(&self) -> &Receiver<Arc<Event>> {
        &self.events
    }

    /// Ends all of it; what was registered is on disk then.
    ///
    /// Clients are told of the end of the engine, and that it is durable, before they are let go, as by hat-event.
    pub(super) fn stop(self) -> Result<ServerStats, Failure> {
        self.server.set_status(Status::Stopping);
        let ended = self.engine.close().and_then(|()| self.store.flush());
        self.server.set_engine(None);
        self.server.stop();
        drop(self.following);
        ended?;
        self.store.close()?;
        Ok(self.server.stats())
    }
}

/// Each connection is one; a limit that cannot be raised holds as it is.
fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(errno) = setrlimit(Resource::Nofile, limit) {
            log::warn!("no more connections are allowed than the system does now: {errno}");
        }
    }
}

/// The connections that the server takes, and some for the rest.
const DESCRIPTORS: u64 = 4096 + 256;

/// Events that wait to be looked at for clients that come and go.
const LISTENED: usize = 65_536;
