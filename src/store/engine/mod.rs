//! Turns what is to be registered into events: ids, timestamps, and modules that react.

mod clock;
mod module;
mod options;
mod queue;
mod session;
mod sessions;
mod worker;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, select_biased};
use parking_lot::Mutex;

use crate::event::{Event, QueryParams, QueryResult, RegisterEvent};
use crate::store::{Backend, StoreError};

pub use module::{Module, Source, SourceKind};
pub use options::EngineOptions;
pub use queue::{Submission, SubmitError};
pub use worker::EngineStats;

use queue::Room;
use worker::{Counters, Worker};

/// Turns what is to be registered into events, lets modules react to them, and hands them to a backend.
///
/// One call of [`register`](EngineHandle::register) is one session: its events get one timestamp, one session number and
/// instance numbers from 1 on; what modules answer belongs to the same session. Sessions are handled one after the other by
/// the thread `acqbus-engine`. The events of a session reach the backend together, or not at all.
///
/// | event type | when | payload |
/// |---|---|---|
/// | `event/SERVER/engine` | the engine starts, stops | `"STARTED"`, `"STOPPED"` |
/// | `event/SERVER/clock` | the wall clock went back | `{"step": seconds}`, below 0; *ours* |
/// | `event/SERVER/module/INDEX` | a module panicked and was closed | `{"reason": text}`; *ours* |
/// | `event/SERVER/loop` | modules answered each other without an end | `{"session": number, "reason": text}`; *ours* |
///
/// Modules see STARTED, and none of the others. Source: hat-event 0.9.44, but for what is *ours*.
///
/// * Ids are never given twice, also not after a crash that lost the last events: numbers are reserved durably, ahead, in
///   steps of 65,536. Two engines for one server over one store would give the same ids; give each its own server.
/// * Time never goes back within a server, also not when the wall clock does; then it runs at half speed until that has
///   caught up.
/// * A backend that fails (a full disk) costs the sessions whose callers get its error, and nothing else: the engine goes on.
///   hat-event's ends there.
///
/// Dropping the engine closes it.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventType, QueryLatestParams, RegisterEvent, Subscription};
/// use acqbus::store::{Callbacks, Engine, EngineOptions, MemoryBackend, Module, Source};
/// use std::sync::Arc;
///
/// struct Alarm;
///
/// impl Module for Alarm {
///     fn subscription(&self) -> Subscription {
///         Subscription::new([EventType::new(["oven", "hot"])]).expect("a type without wildcards")
///     }
///
///     fn process(&mut self, _source: Source, _event: &Event) -> Vec<RegisterEvent> {
///         vec![RegisterEvent::new(EventType::new(["alarm"]))]
///     }
/// }
///
/// let backend = Arc::new(MemoryBackend::new(Callbacks::default()));
/// let engine = Engine::start(backend, EngineOptions::default().server(1).module(Alarm))?;
/// let hot = RegisterEvent::new(EventType::new(["oven", "hot"]));
/// let events = engine.register(Source::SERVER, vec![hot])?;
/// assert_eq!(events[0].id.session, 2); // the first was STARTED
/// let latest = engine.query(&QueryLatestParams::default().into())?;
/// assert!(latest.events.iter().any(|event| event.event_type == EventType::new(["alarm"])));
/// engine.close()?;
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    /// Its last owner closes it: the thread sees the other end go.
    closing: Mutex<Option<Sender<Never>>>,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

impl Engine {
    /// Starts the thread, makes the modules on it, and registers STARTED, which they see; returns then.
    ///
    /// Sessions begin after what the backend has of the server.
    ///
    /// # Errors
    /// [`StoreError::Module`] for a module that could not be made; [`StoreError::Thread`]; what the backend gave. Nothing runs
    /// then.
    pub fn start(backend: Arc<dyn Backend>, options: EngineOptions) -> Result<Self, StoreError> {
        let (requests, queue) = bounded(options.queue_len.max(1));
        let (closing, closed) = bounded(0);
        let (started, start) = bounded(1);
        let handle = EngineHandle(Arc::new(Shared {
            backend,
            server: options.server,
            requests,
            closed,
            room: Room::default(),
            thread: Mutex::new(None),
            counters: Counters::default(),
        }));
        let worker_handle = handle.clone();
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                *worker_handle.0.thread.lock() = Some(thread::current().id());
                work(worker_handle, options, queue, &started)
            })
            .map_err(|source| StoreError::Thread {
                name: THREAD,
                source,
            })?;
        match start.recv() {
            Ok(()) => Ok(Self {
                handle,
                closing: Mutex::new(Some(closing)),
                thread: Mutex::new(Some(thread)),
            }),
            // It ended before it had started.
            Err(_) => match join(thread) {
                Ok(()) => Err(StoreError::Closed),
                Err(error) => Err(error),
            },
        }
    }

    /// A handle to register and query with, for other threads; it does not keep the engine open.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Registers events as one session, as [`EngineHandle::register`].
    ///
    /// # Errors
    /// As [`EngineHandle::register`].
    pub fn register(
        &self,
        source: Source,
        events: Vec<RegisterEvent>,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        self.handle.register(source, events)
    }

    /// Asks the backend, as [`Backend::query`].
    ///
    /// # Errors
    /// As [`Backend::query`].
    pub fn query(&self, params: &QueryParams) -> Result<QueryResult, StoreError> {
        self.handle.query(params)
    }

    /// Makes everything durable that was registered, as [`Backend::flush`].
    ///
    /// # Errors
    /// As [`Backend::flush`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.handle.flush()
    }

    /// What the engine did so far.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.handle.stats()
    }

    /// Ends the engine, and returns when it has: a second call does nothing.
    ///
    /// What waits in the queue is still handled; who waits for a place in it gets [`StoreError::Closed`]. Then the modules are
    /// dropped, STOPPED is registered without them, and the backend is flushed. The backend stays open: it belongs to whoever
    /// made it. On the engine's own thread it returns at once, and the engine ends after the session.
    ///
    /// # Errors
    /// What registering STOPPED or the flush gave; the engine is closed all the same.
    pub fn close(&self) -> Result<(), StoreError> {
        drop(self.closing.lock().take());
        if self.handle.is_on_engine_thread() {
            return Ok(());
        }
        // Held while it waits, so that a second caller waits too.
        let mut thread = self.thread.lock();
        thread.take().map_or(Ok(()), join)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("the engine could not be closed in order: {error}");
        }
    }
}

/// Registers with and queries an [`Engine`]; cheap to clone, for any thread.
///
/// After the engine is closed, every method that reaches it gives [`StoreError::Closed`].
#[derive(Clone)]
pub struct EngineHandle(Arc<Shared>);

struct Shared {
    backend: Arc<dyn Backend>,
    server: i64,
    requests: Sender<Submission>,
    /// Who is to be told of room in the queue.
    room: Room,
    /// Nothing is ever sent: its other end goes when the engine closes.
    closed: Receiver<Never>,
    thread: Mutex<Option<ThreadId>>,
    counters: Counters,
}

impl EngineHandle {
    /// Registers events as one session, and returns when they are in the backend: the events made of them, in their order.
    ///
    /// Waits for a place in the queue, for the sessions before, for the modules and for the backend. No events are no session:
    /// the answer comes at once. A backend may leave events out by its rules; their ids are used up all the same.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; [`StoreError::OnEngineThread`] from within a module, which gives its events back instead;
    /// [`StoreError::is_loop`]; what the backend gave. Nothing of the session was registered then, and its number is used up.
    pub fn register(
        &self,
        source: Source,
        events: Vec<RegisterEvent>,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        if self.is_on_engine_thread() {
            return Err(StoreError::OnEngineThread);
        }
        let shared = &*self.0;
        if events.is_empty() {
            return match shared.closed.try_recv() {
                Err(TryRecvError::Empty) => Ok(Vec::new()),
                _ => Err(StoreError::Closed),
            };
        }
        let (reply, answer) = bounded(1);
        let request = Submission::new(source, events, move |result| {
            // The caller waits for it.
            let _ = reply.send(result);
        });
        select_biased! {
            recv(shared.closed) -> _ => return Err(StoreError::Closed),
            send(shared.requests, request) -> sent => sent.map_err(|_| StoreError::Closed)?,
        }
        // A request that came too late goes with the queue, which tells it so.
        answer.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Puts one session to be into the queue and returns at once: its reply is called when the events are in the backend.
    ///
    /// Sessions come about in the order in which they are put there, with those of [`register`](Self::register). A submission
    /// without events is answered from the engine's thread too, in its turn, and is no session.
    ///
    /// # Errors
    /// [`SubmitError::Full`] with the submission, to be tried again when there is room: see [`when_room`](Self::when_room).
    /// [`SubmitError::Closed`] with the submission; its reply is told when it is dropped.
    pub fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        let shared = &*self.0;
        if shared.closed.try_recv() != Err(TryRecvError::Empty) {
            return Err(SubmitError::Closed(submission));
        }
        shared
            .requests
            .try_send(submission)
            .map_err(|error| match error {
                TrySendError::Full(submission) => SubmitError::Full(submission),
                TrySendError::Disconnected(submission) => SubmitError::Closed(submission),
            })
    }

    /// Calls `tell` once, when the queue has room: at once, on this thread, if it has; else on the engine's, which must not wait.
    ///
    /// Others may have taken the room when it is used. A closed engine tells too.
    pub fn when_room(&self, tell: impl FnOnce() + Send + 'static) {
        let shared = &*self.0;
        shared.room.wait(Box::new(tell));
        let is_closed = shared.closed.try_recv() != Err(TryRecvError::Empty);
        if is_closed || !shared.requests.is_full() {
            shared.room.tell();
        }
    }

    /// Asks the backend, as [`Backend::query`].
    ///
    /// # Errors
    /// As [`Backend::query`].
    pub fn query(&self, params: &QueryParams) -> Result<QueryResult, StoreError> {
        self.0.backend.query(params)
    }

    /// Makes everything durable that was registered, as [`Backend::flush`].
    ///
    /// # Errors
    /// As [`Backend::flush`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.backend.flush()
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// The server whose ids the events get.
    #[must_use]
    pub fn server(&self) -> i64 {
        self.0.server
    }

    /// What the engine did so far.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.0.counters.read()
    }

    fn is_on_engine_thread(&self) -> bool {
        *self.0.thread.lock() == Some(thread::current().id())
    }
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle")
            .field("backend", &self.0.backend)
            .field("server", &self.0.server)
            .field("waiting", &self.0.requests.len())
            .finish()
    }
}

#[derive(Debug, PartialEq)]
enum Never {}

/// The whole life of the thread.
fn work(
    handle: EngineHandle,
    mut options: EngineOptions,
    queue: Receiver<Submission>,
    started: &Sender<()>,
) -> Result<(), StoreError> {
    let makers = mem::take(&mut options.modules);
    let mut worker = Worker::new(handle.clone(), options)?;
    let begun = worker.begin(makers);
    if begun.is_ok() {
        // Who started it waits for it.
        let _ = started.send(());
        worker.serve(&queue);
    }
    // Callers whose requests came too late are told now: a module may wait for such a caller when it is dropped.
    drop(queue);
    handle.0.room.tell();
    begun.and_then(|()| worker.stop())
}

fn join(thread: JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    thread.join().unwrap_or_else(|_| {
        log::error!("the thread {THREAD} panicked");
        Err(StoreError::Closed)
    })
}

const THREAD: &str = "acqbus-engine";
