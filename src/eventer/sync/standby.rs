//! A server that takes over for another.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use parking_lot::Mutex;

use crate::event::Status;
use crate::eventer::{EventerError, EventerServer};
use crate::store::{Backend, Engine, EngineHandle, EngineOptions, StoreError};

use super::options::StandbyOptions;
use super::synchronizer::{SyncState, Synchronizer};
use super::watch::Watch;

/// A server that follows another one, answers queries meanwhile, and takes over when the other has gone.
///
/// It takes over when the other has been unreachable, or not operational, for
/// [`take_over_after`](StandbyOptions::take_over_after): its engine starts, with its own server id, and its clients see
/// [`Status::Operational`]. It never goes back to [`Status::Standby`] by itself; stop it and start it again for that. When the other one
/// is there again its events are followed as before.
///
/// * Run both of two servers in this way, each following the other. The one that comes second finds the other operational, and stands
///   by. Of two that start at once the one with the smaller server id takes over: the other waits twice as long.
/// * Two that do not reach each other both take over. No event is lost or given the same id by that: each registers with its own
///   server id, and each takes the other's events when they meet. Both stay operational; stop one.
/// * What the other had not made durable, or not sent, when it went is not here; it comes when the other comes back with its store.
///
/// Threads: that of [`Synchronizer`], those of [`EventerServer`], `acqbus-eventer-standby`. Dropping it stops it. *Ours*: hat-event asks
/// a monitor server who is to be operational.
#[derive(Debug)]
pub struct Standby {
    shared: Arc<Shared>,
    /// Its end ends the thread.
    running: Mutex<Option<Sender<Infallible>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    server: EventerServer,
    sync: Synchronizer,
    backend: Arc<dyn Backend>,
    engine: Mutex<Option<Engine>>,
}

impl Standby {
    /// Serves the store as [`Status::Standby`] and starts to follow; returns at once.
    ///
    /// The backend should have been opened with the callbacks of the server's [`Notifier`](crate::eventer::Notifier).
    ///
    /// # Errors
    /// As [`EventerServer::listen`] and [`Synchronizer::start`].
    pub fn start(options: StandbyOptions, backend: Arc<dyn Backend>) -> Result<Self, EventerError> {
        let StandbyOptions {
            server,
            sync,
            engine,
            take_over_after,
        } = options;
        sync.check()?;
        let ids = (sync.server_id, sync.remote_server_id);
        let watch = Watch::new(ids.0, ids.1, take_over_after, Instant::now());
        let server = EventerServer::listen(server, Arc::clone(&backend))?;
        let sync = Synchronizer::start(sync, Arc::clone(&backend), None)?;
        let shared = Arc::new(Shared {
            server,
            sync,
            backend,
            engine: Mutex::new(None),
        });
        let (running, ended) = bounded(0);
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || worker.watch(watch, engine.server(ids.0), &ended))
            .map_err(|source| EventerError::Thread {
                name: THREAD,
                source,
            })?;
        Ok(Self {
            shared,
            running: Mutex::new(Some(running)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.server.local_addr()
    }

    /// What it does: [`Status::Standby`], or [`Status::Operational`] once it has taken over.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.server.status()
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &EventerServer {
        &self.shared.server
    }

    /// How far it has come with what the other server has.
    #[must_use]
    pub fn synchronizer(&self) -> &Synchronizer {
        &self.shared.sync
    }

    /// How far it has come with what the other server has, as [`Synchronizer::state`].
    #[must_use]
    pub fn sync_state(&self) -> SyncState {
        self.shared.sync.state()
    }

    /// The engine, once it has taken over.
    #[must_use]
    pub fn engine(&self) -> Option<EngineHandle> {
        self.shared.engine.lock().as_ref().map(Engine::handle)
    }

    /// Ends the following, the engine and the server, in this order, and returns when they have ended; a second call does nothing.
    ///
    /// The backend stays open: it belongs to whoever made it.
    ///
    /// # Errors
    /// As [`Engine::close`].
    pub fn stop(&self) -> Result<(), StoreError> {
        drop(self.running.lock().take());
        // Held while it waits, so that a second caller waits too.
        if let Some(thread) = self.thread.lock().take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
        let shared = &*self.shared;
        shared.sync.stop();
        let engine = shared.engine.lock().take();
        let mut closed = Ok(());
        if let Some(engine) = engine {
            shared.server.set_status(Status::Stopping);
            shared.sync.set_engine(None);
            closed = engine.close();
            shared.server.set_engine(None);
        }
        shared.server.stop();
        closed
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("the engine could not be closed in order: {error}");
        }
    }
}

impl Shared {
    /// The whole life of the thread: until it has taken over, or is to end.
    fn watch(&self, mut watch: Watch, engine: EngineOptions, ended: &Receiver<Infallible>) {
        loop {
            watch.remote(self.sync.remote_status(), Instant::now());
            let due = watch.due().map_or_else(never, |due| {
                after(due.saturating_duration_since(Instant::now()))
            });
            select! {
                recv(self.sync.changes()) -> _ => {}
                recv(ended) -> _ => return,
                recv(due) -> _ => {
                    // A word that came at the same moment counts.
                    watch.remote(self.sync.remote_status(), Instant::now());
                    if watch.due().is_some_and(|due| due <= Instant::now()) {
                        break;
                    }
                }
            }
        }
        self.take_over(engine);
    }

    fn take_over(&self, options: EngineOptions) {
        log::warn!(
            "the other server has gone: server {} takes over",
            options.server
        );
        self.server.set_status(Status::Starting);
        match Engine::start(Arc::clone(&self.backend), options) {
            Ok(engine) => {
                let handle = engine.handle();
                *self.engine.lock() = Some(engine);
                self.sync.set_engine(Some(handle.clone()));
                self.server.set_engine(Some(handle));
            }
            Err(error) => {
                log::error!("cannot take over: {error}");
                self.server.set_status(Status::Standby);
            }
        }
    }
}

const THREAD: &str = "acqbus-eventer-standby";
