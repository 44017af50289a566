//! How an engine runs.

use std::error::Error;
use std::fmt;

use crate::event::Timestamp;
use crate::store::engine::EngineHandle;
use crate::store::engine::module::{MakeModule, Module, Source};

/// How an [`Engine`](crate::store::Engine) runs.
///
/// # Examples
/// ```
/// use acqbus::event::Timestamp;
/// use acqbus::store::EngineOptions;
///
/// let mut second = 0;
/// let options = EngineOptions::default().server(3).max_rounds(8).clock(move || {
///     second += 1;
///     Timestamp::new(second, 0)
/// });
/// assert_eq!(options.server, 3);
/// ```
#[non_exhaustive]
pub struct EngineOptions {
    /// The server whose ids the events get. Default 1.
    pub server: i64,
    /// How many requests wait before callers wait for a place. Default 1,024; 0 counts as 1.
    pub queue_len: usize,
    /// How many rounds of answers of modules a session may have. Default 64; 0: they may not answer at all.
    pub max_rounds: usize,
    /// How many events modules may add to a session. Default 65,536.
    pub max_events: usize,
    pub(super) modules: Vec<MakeModule>,
    pub(super) clock: Box<dyn FnMut() -> Timestamp + Send>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            server: 1,
            queue_len: 1024,
            max_rounds: 64,
            max_events: 65_536,
            modules: Vec::new(),
            clock: Box::new(Timestamp::now),
        }
    }
}

impl EngineOptions {
    /// Sets the server whose ids the events get.
    #[must_use]
    pub fn server(mut self, server: i64) -> Self {
        self.server = server;
        self
    }

    /// Sets how many requests wait before callers wait for a place.
    #[must_use]
    pub fn queue_len(mut self, requests: usize) -> Self {
        self.queue_len = requests;
        self
    }

    /// Sets how many rounds of answers of modules a session may have.
    ///
    /// A session with more is refused as a whole: nothing of it is registered, its caller gets an error, and an event
    /// `event/SERVER/loop` says so. hat-event has no such limit, and its engine then runs for ever.
    #[must_use]
    pub fn max_rounds(mut self, rounds: usize) -> Self {
        self.max_rounds = rounds;
        self
    }

    /// Sets how many events modules may add to a session; one with more is refused, as with [`max_rounds`](Self::max_rounds).
    #[must_use]
    pub fn max_events(mut self, events: usize) -> Self {
        self.max_events = events;
        self
    }

    /// Adds a module. Modules are asked in the order in which they are added.
    #[must_use]
    pub fn module(self, module: impl Module + Send + 'static) -> Self {
        self.module_with(move |_, _| Ok(Box::new(module)))
    }

    /// Adds a module that is made on the engine's thread, with a handle to the engine and as which source its events come.
    ///
    /// Only queries are answered while it is made. An error or a panic of it ends [`Engine::start`](crate::store::Engine::start).
    #[must_use]
    pub fn module_with(
        mut self,
        make: impl FnOnce(
            &EngineHandle,
            Source,
        ) -> Result<Box<dyn Module>, Box<dyn Error + Send + Sync>>
        + Send
        + 'static,
    ) -> Self {
        self.modules.push(Box::new(make));
        self
    }

    /// Sets the clock, which is read once a session on the engine's thread. Default [`Timestamp::now`].
    #[must_use]
    pub fn clock(mut self, clock: impl FnMut() -> Timestamp + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("server", &self.server)
            .field("queue_len", &self.queue_len)
            .field("max_rounds", &self.max_rounds)
            .field("max_events", &self.max_events)
            .field("modules", &self.modules.len())
            .finish_non_exhaustive()
    }
}
