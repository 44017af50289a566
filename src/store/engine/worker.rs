//! The thread of the engine: one request after the other.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, select};
use serde::Serialize;
use serde_json::json;

use crate::event::{EventType, Events, Json, Payload, RegisterEvent, Timestamp};
use crate::store::StoreError;
use crate::store::engine::clock::SessionClock;
use crate::store::engine::module::{MakeModule, Modules, Source};
use crate::store::engine::options::EngineOptions;
use crate::store::engine::session::{Limits, Session};
use crate::store::engine::sessions::Sessions;
use crate::store::engine::{EngineHandle, Submission};

/// What an engine did so far.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Sessions that are in the backend, the engine's own among them.
    pub sessions: u64,
    /// Their events.
    pub events: u64,
    /// Sessions that the backend refused.
    pub failed: u64,
    /// Sessions in which modules answered each other without an end.
    pub endless: u64,
    /// Modules that panicked and were closed.
    pub closed_modules: u64,
    /// How often the wall clock went back.
    pub clock_steps: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sessions: AtomicU64,
    events: AtomicU64,
    failed: AtomicU64,
    endless: AtomicU64,
    closed_modules: AtomicU64,
    clock_steps: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> EngineStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStats {
            sessions: of(&self.sessions),
            events: of(&self.events),
            failed: of(&self.failed),
            endless: of(&self.endless),
            closed_modules: of(&self.closed_modules),
            clock_steps: of(&self.clock_steps),
        }
    }
}

pub(super) struct Worker {
    engine: EngineHandle,
    modules: Modules,
    sessions: Sessions,
    clock: SessionClock,
    read_clock: Box<dyn FnMut() -> Timestamp + Send>,
    limits: Limits,
}

impl Worker {
    pub(super) fn new(engine: EngineHandle, options: EngineOptions) -> Result<Self, StoreError> {
        let server = engine.server();
        let backend = engine.backend();
        let sessions = Sessions::new(&**backend, server)?;
        let clock = SessionClock::new(backend.last_timestamp(server)?);
        Ok(Self {
            engine,
            modules: Modules::none(),
            sessions,
            clock,
            read_clock: options.clock,
            limits: Limits {
                rounds: options.max_rounds,
                events: options.max_events,
            },
        })
    }

    /// Makes the modules and registers STARTED.
    pub(super) fn begin(&mut self, makers: Vec<MakeModule>) -> Result<(), StoreError> {
        for make in makers {
            self.modules.add(make, &self.engine)?;
        }
        let started = self.own("engine", &[], "STARTED");
        self.session(Source::ENGINE, vec![started]).map(drop)
    }

    /// Handles requests until the engine closes, and then those that wait.
    pub(super) fn serve(&mut self, queue: &Receiver<Submission>) {
        let closed = self.engine.0.closed.clone();
        loop {
            select! {
                recv(queue) -> request => match request {
                    Ok(request) => self.answer(request),
                    // We hold a sender ourselves.
                    Err(_) => break,
                },
                recv(closed) -> _ => break,
            }
        }
        while let Ok(request) = queue.try_recv() {
            self.answer(request);
        }
    }

    /// Drops the modules, registers STOPPED, flushes, and gives back what is reserved.
    ///
    /// Tries all of it, and gives the first error.
    pub(super) fn stop(mut self) -> Result<(), StoreError> {
        self.modules = Modules::none();
        let stopped = self.own("engine", &[], "STOPPED");
        let registered = self.session(Source::ENGINE, vec![stopped]).map(drop);
        let backend = &**self.engine.backend();
        let flushed = backend.flush();
        let given_back = self.sessions.give_back(backend);
        registered.and(flushed).and(given_back)
    }

    fn answer(&mut self, request: Submission) {
        self.engine.0.room.tell();
        let (source, events, reply) = request.into_parts();
        if events.is_empty() {
            return reply.call(Ok(Vec::new()));
        }
        let asked = events.len();
        let result = self.session(source, events).map(|events| {
            let mut events: Vec<_> = events.to_vec();
            events.truncate(asked);
            events
        });
        reply.call(result);
    }

    /// One session: the events of a request and what modules answer, in the backend.
    fn session(
        &mut self,
        source: Source,
        events: Vec<RegisterEvent>,
    ) -> Result<Events, StoreError> {
        let timestamp = self.timestamp();
        let mut session = self.new_session(timestamp)?;
        let number = session.number();
        self.modules.start_session(number);
        for event in events {
            session.add(event);
        }
        let answered = session.answer(source, &mut self.modules, self.limits);
        self.modules.stop_session(number);
        let result = answered.and_then(|()| self.register(session));
        if let Err(error @ StoreError::Loop { .. }) = &result {
            log::error!("{error}");
            self.counters().endless.fetch_add(1, Ordering::Relaxed);
            let why = json!({"session": number, "reason": error.to_string()});
            self.tell("loop", &[], &why, timestamp);
        }
        for closed in self.modules.take_closed() {
            self.counters()
                .closed_modules
                .fetch_add(1, Ordering::Relaxed);
            let why = json!({"reason": closed.reason});
            self.tell("module", &[&closed.index.to_string()], &why, timestamp);
        }
        result
    }

    /// The one timestamp of a session; a step of the clock becomes an event before it.
    fn timestamp(&mut self) -> Timestamp {
        let tick = self.clock.tick((self.read_clock)());
        if let Some(step) = tick.step {
            log::warn!("the wall clock went back by {} s", -step);
            self.counters().clock_steps.fetch_add(1, Ordering::Relaxed);
            self.tell("clock", &[], &json!({"step": step}), tick.timestamp);
        }
        tick.timestamp
    }

    /// Registers an event about the engine as a session of its own, past the modules, which may be what it is about.
    fn tell(&mut self, what: &str, rest: &[&str], data: &impl Serialize, timestamp: Timestamp) {
        let event = self.own(what, rest, data);
        let told = self.new_session(timestamp).and_then(|mut session| {
            session.add(event);
            self.register(session)
        });
        if let Err(error) = told {
            log::error!("the event about {what} cannot be registered: {error}");
        }
    }

    fn new_session(&mut self, timestamp: Timestamp) -> Result<Session, StoreError> {
        let number = self.sessions.next(&**self.engine.backend())?;
        Ok(Session::new(self.engine.server(), number, timestamp))
    }

    fn register(&self, session: Session) -> Result<Events, StoreError> {
        let events: Events = session.into_events().into();
        let counters = self.counters();
        match self.engine.backend().register(events) {
            Ok(events) => {
                counters.sessions.fetch_add(1, Ordering::Relaxed);
                let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
                counters.events.fetch_add(count, Ordering::Relaxed);
                Ok(events)
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// An event of the engine's own.
    fn own(&self, what: &str, rest: &[&str], data: &(impl Serialize + ?Sized)) -> RegisterEvent {
        let server = self.engine.server().to_string();
        let segments = ["event", &server, what]
            .into_iter()
            .chain(rest.iter().copied());
        let event = RegisterEvent::new(EventType::new(segments));
        match Json::from_serialize(data) {
            Ok(json) => event.with_payload(Payload::Json(json)),
            // Only finite numbers and texts are written here.
            Err(_) => event,
        }
    }

    fn counters(&self) -> &Counters {
        &self.engine.0.counters
    }
}
