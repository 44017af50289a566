//! A server, its engine, and what they stand on.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded, never};

use super::following::Following;
use super::standby::Rival;
use super::telling::Teller;
use crate::cli::exit::Failure;
use crate::cli::store::args::{Keep, open_with};
use crate::cli::store::claim::Claim;
use crate::event::{Event, Status};
use crate::eventer::{
    EventerServer, Notifier, ServerOptions, ServerStats, Standby, StandbyOptions, SyncState,
};
use crate::store::{Backend, Engine, EngineOptions, StoreHandle};

/// A server that runs. The order of its parts is that of their ends.
pub(super) struct Running {
    role: Role,
    following: Following,
    store: Arc<StoreHandle>,
    events: Receiver<Arc<Event>>,
    no_states: Receiver<SyncState>,
    _claims: Vec<Claim>,
}

enum Role {
    Alone {
        server: EventerServer,
        engine: Engine,
    },
    Standby(Standby),
}

impl Running {
    pub(super) fn start(
        dir: &Path,
        keep: &Keep,
        server_id: i64,
        options: ServerOptions,
        rival: Option<Rival>,
    ) -> Result<Self, Failure> {
        let mut own = vec![server_id];
        own.extend(rival.as_ref().map(|rival| rival.sync.remote_server_id));
        let notifier = Notifier::default();
        let (listener, events) = bounded(LISTENED);
        let teller = Teller::new(notifier.clone(), own.iter().copied(), listener);
        let store = Arc::new(open_with(dir, keep, teller.callbacks())?);
        let claims = own.iter().map(|server| Claim::take(dir, *server));
        let claims = claims.collect::<Result<_, _>>()?;
        allow_descriptors();
        let following = Following::start(&store, &teller)?;
        let backend = teller.backend(&store);
        let options = options.notifier(notifier);
        let engine = EngineOptions::default().server(server_id);
        let role = match rival {
            None => {
                let engine = Engine::start(backend, engine)?;
                let server = EventerServer::start(options, engine.handle())?;
                Role::Alone { server, engine }
            }
            Some(rival) => {
                let options = StandbyOptions::new(options, rival.sync)
                    .engine(engine)
                    .take_over_after(rival.take_over_after);
                Role::Standby(Standby::start(options, backend)?)
            }
        };
        Ok(Self {
            role,
            following,
            store,
            events,
            no_states: never(),
            _claims: claims,
        })
    }

    pub(super) fn server(&self) -> &EventerServer {
        match &self.role {
            Role::Alone { server, .. } => server,
            Role::Standby(standby) => standby.server(),
        }
    }

    /// Whether it was started to stand by for another.
    pub(super) const fn is_standby(&self) -> bool {
        matches!(self.role, Role::Standby(_))
    }

    pub(super) fn is_owner(&self) -> bool {
        self.store.is_owner()
    }

    /// The events that are registered through this process.
    pub(super) const fn events(&self) -> &Receiver<Arc<Event>> {
        &self.events
    }

    /// How far it is with the events of the server that it follows; nothing where it follows none.
    pub(super) fn states(&self) -> &Receiver<SyncState> {
        match &self.role {
            Role::Alone { .. } => &self.no_states,
            Role::Standby(standby) => standby.synchronizer().states(),
        }
    }

    /// Ends all of it; what was registered is on disk then.
    ///
    /// Clients are told of the end of the engine, and that it is durable, before they are let go, as by hat-event.
    pub(super) fn stop(self) -> Result<ServerStats, Failure> {
        let (ended, stats) = match self.role {
            Role::Alone { server, engine } => {
                server.set_status(Status::Stopping);
                let ended = engine.close().and_then(|()| self.store.flush());
                server.set_engine(None);
                server.stop();
                (ended, server.stats())
            }
            Role::Standby(standby) => {
                let ended = standby.stop();
                (ended, standby.server().stats())
            }
        };
        drop(self.following);
        ended?;
        self.store.close()?;
        Ok(stats)
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
