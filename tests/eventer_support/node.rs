//! A whole server on a store of its own, which can go and come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{Event, QueryServerParams};
use acqbus::eventer::{EventerServer, Notifier, ServerOptions};
use acqbus::store::{
    Backend, Callbacks, Engine, EngineOptions, MemoryStorage, RedbBackend, Source, StoreConfig,
};

use super::to_register;

/// What stays when a server goes: its id and its store.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) server_id: i64,
    storage: Arc<MemoryStorage>,
}

/// A server that runs.
pub(crate) struct Node {
    pub(crate) server: EventerServer,
    pub(crate) engine: Engine,
    pub(crate) backend: Arc<RedbBackend>,
}

impl Disk {
    pub(crate) fn new(server_id: i64) -> Self {
        Self {
            server_id,
            storage: Arc::default(),
        }
    }

    /// Opens the store; its events are told by the notifier.
    pub(crate) fn open(&self, notifier: &Notifier) -> Arc<RedbBackend> {
        Arc::new(self.open_with(notifier.callbacks()))
    }

    pub(crate) fn open_with(&self, callbacks: Callbacks) -> RedbBackend {
        let config = StoreConfig::default().flush_period(Duration::from_millis(5));
        let storage: Arc<MemoryStorage> = Arc::clone(&self.storage);
        RedbBackend::open_in(storage, config, callbacks).unwrap()
    }

    pub(crate) fn run(&self, address: SocketAddr) -> Node {
        self.run_with(ServerOptions::default().bind(address))
    }

    pub(crate) fn run_with(&self, options: ServerOptions) -> Node {
        let notifier = Notifier::default();
        let backend = self.open(&notifier);
        let engine = EngineOptions::default().server(self.server_id);
        let engine = Engine::start(backend.clone(), engine).unwrap();
        let server = EventerServer::start(options.notifier(notifier), engine.handle()).unwrap();
        Node {
            server,
            engine,
            backend,
        }
    }
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Registers a session of so many events of a type.
    pub(crate) fn register(&self, event_type: &str, count: usize) -> Vec<Arc<Event>> {
        let events = vec![to_register(event_type); count];
        self.engine.register(Source::SERVER, events).unwrap()
    }

    pub(crate) fn stop(self) {
        self.server.stop();
        self.engine.close().unwrap();
        self.backend.close().unwrap();
    }
}

/// All events of a server that are in a store.
pub(crate) fn events_of(backend: &dyn Backend, server: i64) -> Vec<Arc<Event>> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    loop {
        let mut params = QueryServerParams::new(server);
        if let Some(last) = events.last() {
            params = params.after(last.id);
        }
        let page = backend.query(&params.into()).unwrap();
        events.extend(page.events);
        if !page.more_follows {
            return events;
        }
    }
}
