//! Serves a store to many clients.
//!
//! ```text
//! sockets -- reactor threads --+-- engine thread (registrations) --+
//!                ^             +-- query threads                   |
//!                +--------- mail: answers, notifications ----------+-- notifier (threads of the backend)
//! ```

mod ack;
mod connection;
mod desk;
mod hub;
mod info;
mod leave;
mod mailbox;
mod notifier;
mod options;
mod outgoing;
mod queries;
mod reactor;
mod registry;
mod slots;
mod stream;

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::Poll;
use mio::net::TcpListener;
use parking_lot::Mutex;

use crate::event::{Events, Status};
use crate::eventer::EventerError;
use crate::eventer::chatter::LONG;
use crate::store::{Backend, EngineHandle};

pub use info::{ClientInfo, ServerStats};
pub use notifier::Notifier;
pub use options::ServerOptions;

use ack::AckWait;
use hub::{Desk, Hub};
use mailbox::{Mail, Mailbox};
use reactor::{Door, Reactor, WAKE};

/// Serves a store to clients of hat-event, ours among them.
///
/// A client says who it is and which events it wants, then registers events, asks the history, and is told of events that it
/// wants, once they are registered or once they are durable, as it chose. Events reach it by the [`Notifier`] of the
/// [options](ServerOptions), whose callbacks the backend got when it was opened.
///
/// * Requests of one client are handled in their order, and answered in it; a client is told of its own events before the
///   answer that says that they are registered.
/// * No client hurts another: everything that waits for one is bounded, one that does not take it is closed, and so is one
///   that breaks the protocol, whose registration or query fails, or that does not say who it is in time. The log says why.
/// * A full engine queue makes clients that register wait, which nobody else notices.
/// * A client that closes is still done its will: what it sent before is handled.
///
/// | event type | when | payload |
/// |---|---|---|
/// | `event/SERVER/eventer/CLIENT` | a client comes, goes, while there is an engine | `"CONNECTED"`, `"DISCONNECTED"` |
///
/// A few threads `acqbus-eventer` serve all connections, a few `acqbus-eventer-query` answer the queries. Dropping the server
/// stops it. Source: hat-event 0.9.44; what we do otherwise stands in docs/compatibility.md.
///
/// # Examples
/// ```
/// use acqbus::event::Status;
/// use acqbus::eventer::{EventerServer, Notifier, ServerOptions};
/// use acqbus::store::{Engine, EngineOptions, MemoryBackend};
/// use std::sync::Arc;
///
/// let notifier = Notifier::default();
/// let backend = Arc::new(MemoryBackend::new(notifier.callbacks()));
/// let engine = Engine::start(backend, EngineOptions::default())?;
///
/// let options = ServerOptions::default().bind(([127, 0, 0, 1], 0).into()).notifier(notifier);
/// let server = EventerServer::start(options, engine.handle())?;
/// assert_ne!(server.local_addr().port(), 0);
/// assert_eq!(server.status(), Status::Operational);
/// server.stop();
/// engine.close()?;
///
/// let everywhere = ServerOptions::default().bind(([0, 0, 0, 0], 0).into());
/// assert!(EventerServer::start(everywhere, engine.handle()).is_err(), "without a token");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventerServer {
    hub: Arc<Hub>,
    local_addr: SocketAddr,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EventerServer {
    /// Serves an engine and the backend behind it, as [`Status::Operational`].
    ///
    /// # Errors
    /// [`EventerError::Option`] for what cannot be, or is not safe: an address beyond this machine wants a token or
    /// [`insecure`](ServerOptions#structfield.insecure). [`EventerError::Bind`]; [`EventerError::Thread`].
    pub fn start(options: ServerOptions, engine: EngineHandle) -> Result<Self, EventerError> {
        let desk = Desk {
            status: Status::Operational,
            backend: Arc::clone(engine.backend()),
            engine: Some(engine),
        };
        Self::serve(options, desk)
    }

    /// Serves a backend, as [`Status::Standby`]: answers queries, tells of events, and registers nothing.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn listen(options: ServerOptions, backend: Arc<dyn Backend>) -> Result<Self, EventerError> {
        let desk = Desk {
            status: Status::Standby,
            backend,
            engine: None,
        };
        Self::serve(options, desk)
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it says that it does.
    #[must_use]
    pub fn status(&self) -> Status {
        self.hub.status()
    }

    /// Says what it does from now on, and tells all clients if that is another thing.
    ///
    /// Clients can register while it is [`Status::Operational`] and there is an engine; queries always work.
    pub fn set_status(&self, status: Status) {
        self.hub.change(|desk| desk.status = status);
    }

    /// Changes the engine, and to [`Status::Operational`]; without one, to [`Status::Standby`].
    ///
    /// Queries go to the backend of the engine; without one, to that of before. CONNECTED is registered for clients that come
    /// from now on.
    pub fn set_engine(&self, engine: Option<EngineHandle>) {
        self.hub.change(|desk| {
            desk.status = match engine {
                Some(_) => Status::Operational,
                None => Status::Standby,
            };
            if let Some(engine) = &engine {
                desk.backend = Arc::clone(engine.backend());
            }
            desk.engine = engine;
        });
    }

    /// The clients that are there, by their numbers.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientInfo> {
        let clients = self.hub.clients();
        clients.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.hub.counters.read()
    }

    /// Hands events to the clients that want them, and waits until each has said that it handled them; how many have.
    ///
    /// A client that goes is waited for no more. `is_persisted` chooses the clients that want durable events. Blocks the caller
    /// for `timeout` at most. For programs that are servers of their own kind: an engine's events go to clients by the
    /// [`Notifier`], without this. Source: hat-event 0.9.44, `notify_events` with `with_ack`.
    pub fn notify_acknowledged(
        &self,
        events: &Events,
        is_persisted: bool,
        timeout: Duration,
    ) -> usize {
        let deadline = Instant::now() + timeout.min(LONG);
        let wait = Arc::new(AckWait::default());
        self.hub.notify(events, is_persisted, Some(&wait));
        wait.wait(deadline)
    }

    /// Ends the server, and returns when it has: a second call does nothing.
    ///
    /// Nobody is let in any more. Requests under way are answered and what waits for clients is sent, for one second at most;
    /// then all connections are closed, and DISCONNECTED is registered where there is an engine. A query that takes longer is
    /// waited for. Engine and backend go on.
    pub fn stop(&self) {
        self.hub.options.notifier.detach(&self.hub);
        // Held while it waits, so that a second caller waits too.
        let mut threads = self.threads.lock();
        for mailbox in &self.hub.mailboxes {
            mailbox.push(Mail::Stop);
        }
        for thread in mem::take(&mut *threads) {
            if thread.join().is_err() {
                log::error!("a thread of the eventer server panicked");
            }
        }
    }

    fn serve(options: ServerOptions, desk: Desk) -> Result<Self, EventerError> {
        options.check()?;
        let failed = |source| EventerError::Bind {
            address: options.bind,
            source,
        };
        let listener = TcpListener::bind(options.bind).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        let connections = options.max_connections.max(1);
        let reactors = options.threads.clamp(1, connections);
        for index in 0..reactors {
            let poll = Poll::new().map_err(failed)?;
            let share = connections.saturating_add(index) / reactors;
            let mailbox = Mailbox::new(&poll, WAKE, share).map_err(failed)?;
            mailboxes.push(Arc::new(mailbox));
            polls.push(poll);
        }
        let (queries, threads) = queries::start(options.query_threads)?;
        let bind = options.bind;
        let hub = Arc::new(Hub::new(options, desk, mailboxes));
        let server = Self {
            hub: Arc::clone(&hub),
            local_addr,
            threads: Mutex::new(Vec::new()),
        };
        let mut door = Some(Door::new(listener));
        for (index, poll) in polls.into_iter().enumerate() {
            // On an error the server is dropped, and ends those that run.
            let reactor = Reactor::new(poll, index, Arc::clone(&hub), queries.clone(), door.take())
                .map_err(|source| EventerError::Bind {
                    address: bind,
                    source,
                })?;
            let thread = thread::Builder::new()
                .name(THREAD.to_owned())
                .spawn(move || reactor.run())
                .map_err(|source| EventerError::Thread {
                    name: THREAD,
                    source,
                })?;
            server.threads.lock().push(thread);
        }
        server.threads.lock().extend(threads);
        hub.options.notifier.attach(&hub);
        Ok(server)
    }
}

impl Drop for EventerServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for EventerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventerServer")
            .field("local_addr", &self.local_addr)
            .field("status", &self.status())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

const THREAD: &str = "acqbus-eventer";
