//! Following the history of another server.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use crate::event::{EventType, Events, Json, Payload, QueryServerParams, RegisterEvent, Status};
use crate::eventer::{EventerClient, EventerError, Notice};
use crate::store::{Backend, EngineHandle, Source};

use super::options::SyncOptions;
use super::sessions::Sessions;

/// How far a server that follows another has come.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState {
    /// There is no connection; it is made again and again.
    Disconnected,
    /// The other server has let it in.
    Connected,
    /// What is missing is read from the history of the other server.
    Syncing,
    /// All that is durable there is here; what comes there comes here.
    Synced {
        /// How many events were missing at first.
        count: u64,
    },
}

/// Keeps the events of another server in a store, as they become durable there.
///
/// It asks for what the store lacks, session by session, and takes notifications from then on; after every break of the connection it
/// does so again. A session reaches the store as a whole or not at all, so the store can be another server's at any time. The
/// backend's callbacks see these events as any others.
///
/// | event type | registered | payload |
/// |---|---|---|
/// | `event/S/synced/R` | by server R, which is followed, and by the engine of S where there is one | `{"state": "CONNECTED"}`, `{"state": "SYNCING"}` where something is missing, `{"state": "SYNCED", "count": N}` |
///
/// It has a thread, `acqbus-eventer-sync`, and a client with its own. Dropping it stops it. The server that is followed need not be
/// there at the start. Source: hat-event 0.9.44.
#[derive(Debug)]
pub struct Synchronizer {
    client: Arc<EventerClient>,
    shared: Arc<Shared>,
    states: Receiver<SyncState>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    /// Says that the view has changed; one word waits at most.
    changed: Sender<()>,
    changes: Receiver<()>,
}

/// What is known of the other server.
#[derive(Debug)]
struct View {
    state: SyncState,
    status: Option<Status>,
    engine: Option<EngineHandle>,
}

impl Synchronizer {
    /// Starts to follow, and returns at once.
    ///
    /// `engine` is that of the server that follows; without one the `synced` events are registered at the other server only.
    ///
    /// # Errors
    /// [`EventerError::Option`] for a server that would follow itself, or an address that cannot be; [`EventerError::Thread`].
    pub fn start(
        options: SyncOptions,
        backend: Arc<dyn Backend>,
        engine: Option<EngineHandle>,
    ) -> Result<Self, EventerError> {
        options.check()?;
        let client = Arc::new(EventerClient::start(options.client.clone())?);
        let (changed, changes) = bounded(1);
        let shared = Arc::new(Shared {
            view: Mutex::new(View {
                state: SyncState::Disconnected,
                status: None,
                engine,
            }),
            changed,
            changes,
        });
        let (states, told) = bounded(STATES);
        let worker = Worker {
            server_id: options.server_id,
            remote: options.remote_server_id,
            client: Arc::clone(&client),
            backend,
            shared: Arc::clone(&shared),
            states,
            sessions: None,
            again: None,
        };
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || worker.run())
            .map_err(|source| EventerError::Thread {
                name: THREAD,
                source,
            })?;
        Ok(Self {
            client,
            shared,
            states: told,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> SyncState {
        self.shared.view.lock().state
    }

    /// How far it is, told as it changes. Who does not read misses later ones.
    #[must_use]
    pub fn states(&self) -> &Receiver<SyncState> {
        &self.states
    }

    /// What the other server does; `None` where there is no connection.
    #[must_use]
    pub fn remote_status(&self) -> Option<Status> {
        self.shared.view.lock().status
    }

    /// Sets the engine that registers `synced` events here.
    pub fn set_engine(&self, engine: Option<EngineHandle>) {
        self.shared.view.lock().engine = engine;
    }

    /// Ends the following, and returns when it has ended; a second call does nothing. What has come is in the store.
    pub fn stop(&self) {
        self.client.close();
        // Held while it waits, so that a second caller waits too.
        if let Some(thread) = self.thread.lock().take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }

    /// Has a word whenever the state or the status has changed.
    pub(super) fn changes(&self) -> &Receiver<()> {
        &self.shared.changes
    }
}

impl Drop for Synchronizer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread.
struct Worker {
    server_id: i64,
    remote: i64,
    client: Arc<EventerClient>,
    backend: Arc<dyn Backend>,
    shared: Arc<Shared>,
    states: Sender<SyncState>,
    /// Where the store stands, once it has all.
    sessions: Option<Sessions>,
    /// When a failed attempt is repeated.
    again: Option<Instant>,
}

impl Worker {
    /// The whole life of the thread: until the client is closed.
    fn run(mut self) {
        loop {
            let notice = match self.again {
                None => self.client.notices().recv().ok(),
                Some(again) => match self.client.notices().recv_deadline(again) {
                    Err(error) if error.is_timeout() => {
                        self.catch_up();
                        continue;
                    }
                    notice => notice.ok(),
                },
            };
            match notice {
                Some(notice) => self.handle(notice),
                None => break,
            }
        }
        self.change(|view| {
            view.status = None;
            view.state = SyncState::Disconnected;
        });
    }

    fn handle(&mut self, notice: Notice) {
        match notice {
            Notice::Connected { status } => {
                self.change(|view| view.status = Some(status));
                self.enter(SyncState::Connected, &json!({"state": "CONNECTED"}));
                self.catch_up();
            }
            Notice::Status(status) => self.change(|view| view.status = Some(status)),
            Notice::Disconnected { reason } => {
                log::info!("server {} cannot be followed: {reason}", self.remote);
                self.sessions = None;
                self.again = None;
                self.change(|view| view.status = None);
                self.tell(SyncState::Disconnected);
            }
            Notice::Refused { text } => {
                log::warn!("server {} refuses to be followed: {text}", self.remote);
            }
            Notice::Events(events) => {
                let Some(sessions) = &mut self.sessions else {
                    // It is asked for.
                    return;
                };
                let whole = sessions.page(events, false);
                if let Err(error) = self.keep(whole) {
                    self.try_later(&error);
                }
            }
            // The client does not resume.
            _ => {}
        }
    }

    fn catch_up(&mut self) {
        self.again = None;
        self.sessions = None;
        let result = self.read_all();
        match result {
            Ok((sessions, count)) => {
                self.sessions = Some(sessions);
                let payload = json!({"state": "SYNCED", "count": count});
                self.enter(SyncState::Synced { count }, &payload);
            }
            // The notices tell what happened, and what comes next.
            Err(error) if error.is_connection() || error.is_closed() => {}
            Err(error) => self.try_later(&error),
        }
    }

    /// Reads page by page what the store lacks.
    fn read_all(&mut self) -> Result<(Sessions, u64), EventerError> {
        let mut sessions = Sessions::after(self.backend.last_event_id(self.remote)?);
        let mut count = 0;
        loop {
            let params = QueryServerParams::new(self.remote)
                .persisted(true)
                .after(sessions.last());
            let page = self.client.query(&params.into())?;
            if count == 0 && !page.events.is_empty() {
                self.enter(SyncState::Syncing, &json!({"state": "SYNCING"}));
            }
            let asked = sessions.last();
            let length = page.events.len();
            count += u64::try_from(length).unwrap_or(u64::MAX);
            // A server that answers anything must not keep us asking.
            let more_follows =
                page.more_follows && page.events.last().is_some_and(|last| last.id > asked);
            let whole = sessions.page(page.events, more_follows);
            self.keep(whole)?;
            self.hold(&mut sessions)?;
            if more_follows {
                continue;
            }
            if let Some(told) = sessions.held() {
                self.keep(told)?;
                return Ok((sessions, count));
            }
        }
    }

    /// Takes the notices that wait, so that none of them is in the way of an answer.
    fn hold(&self, sessions: &mut Sessions) -> Result<(), EventerError> {
        for notice in self.client.notices().try_iter() {
            match notice {
                Notice::Events(events) => sessions.hold(events),
                Notice::Status(status) => self.change(|view| view.status = Some(status)),
                Notice::Disconnected { reason } => {
                    self.change(|view| view.status = None);
                    self.tell(SyncState::Disconnected);
                    return Err(EventerError::Disconnected {
                        address: self.client.options().address.clone(),
                        reason,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn keep(&self, sessions: Vec<Events>) -> Result<(), EventerError> {
        for session in sessions {
            self.backend.register(session)?;
        }
        Ok(())
    }

    fn try_later(&mut self, error: &EventerError) {
        log::warn!(
            "what server {} has cannot be taken over: {error}",
            self.remote
        );
        self.sessions = None;
        self.again = Some(Instant::now() + PAUSE);
    }

    /// Tells of a state everywhere.
    fn enter(&self, state: SyncState, payload: &impl Serialize) {
        self.tell(state);
        let (server, remote) = (self.server_id.to_string(), self.remote.to_string());
        let event_type = EventType::new(["event", server.as_str(), "synced", remote.as_str()]);
        let event = RegisterEvent::new(event_type)
            // Only finite numbers and texts are written here.
            .with_payload(Json::from_serialize(payload).ok().map(Payload::Json));
        if let Err(error) = self.client.register_unanswered(vec![event.clone()]) {
            log::debug!("server {} does not learn of it: {error}", self.remote);
        }
        let engine = self.shared.view.lock().engine.clone();
        if let Some(engine) = engine
            && let Err(error) = engine.register(Source::SERVER, vec![event])
        {
            log::debug!("the engine does not learn of it: {error}");
        }
    }

    fn tell(&self, state: SyncState) {
        self.change(|view| view.state = state);
        // Who does not read misses it; the present state is there for everybody.
        let _ = self.states.try_send(state);
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.shared.view.lock());
        // One word is enough.
        let _ = self.shared.changed.try_send(());
    }
}

const THREAD: &str = "acqbus-eventer-sync";

/// States that wait for their reader.
const STATES: usize = 64;

/// How long a store that takes nothing, or a server that does not answer, is left alone.
const PAUSE: Duration = Duration::from_secs(1);
