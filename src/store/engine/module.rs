//! What reacts to events within the engine.

use std::error::Error;
use std::panic::{self, AssertUnwindSafe};

use crate::event::{Event, RegisterEvent, Subscription};
use crate::store::StoreError;
use crate::store::engine::EngineHandle;

/// Reacts to events with events of its own, within the session of those that it reacts to.
///
/// All methods are called on the thread `acqbus-engine`, so no two at once. What they take longer, every caller of
/// [`register`](EngineHandle::register) waits longer. A module may query the store through the [`EngineHandle`] that it
/// got when it was made; what it wants to register it gives back from [`process`](Self::process), or registers on a thread of
/// its own.
///
/// A module that panics is closed: it is dropped, and `event/SERVER/module/INDEX` says so in the history. The session goes on
/// without it, and so does the engine; hat-event's ends there.
pub trait Module {
    /// The events that [`process`](Self::process) is to see; asked once.
    fn subscription(&self) -> Subscription;

    /// A session begins.
    fn on_session_start(&mut self, session: i64) {
        let _ = session;
    }

    /// An event of the session: what is given back becomes events of the session, which modules see in the next round.
    ///
    /// The event is not in the store yet. `source` says who made it.
    fn process(&mut self, source: Source, event: &Event) -> Vec<RegisterEvent>;

    /// A session ends: its events go to the store now.
    fn on_session_stop(&mut self, session: i64) {
        let _ = session;
    }
}

/// Who made an event; seen by modules only, and never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// What kind of source.
    pub kind: SourceKind,
    /// Which one of that kind.
    pub id: i64,
}

/// What kind of source made an event.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// A client; the id is the number of its connection, from 1.
    Eventer,
    /// A module; the id is its place in the list of modules, from 0.
    Module,
    /// The engine itself; the id is 0.
    Engine,
    /// The server around the engine, or the program that embeds it; the id is 0.
    Server,
}

impl Source {
    /// The engine itself.
    pub const ENGINE: Self = Self {
        kind: SourceKind::Engine,
        id: 0,
    };

    /// The server around the engine, or the program that embeds it.
    pub const SERVER: Self = Self {
        kind: SourceKind::Server,
        id: 0,
    };

    /// A client by the number of its connection, from 1.
    #[must_use]
    pub const fn eventer(connection: i64) -> Self {
        Self {
            kind: SourceKind::Eventer,
            id: connection,
        }
    }

    /// A module by its place in the list of modules, from 0.
    #[must_use]
    pub const fn module(index: i64) -> Self {
        Self {
            kind: SourceKind::Module,
            id: index,
        }
    }
}

/// Makes a module on the engine's thread.
pub(super) type MakeModule = Box<dyn FnOnce(&EngineHandle, Source) -> MadeModule + Send>;

pub(super) type MadeModule = Result<Box<dyn Module>, Box<dyn Error + Send + Sync>>;

/// The modules of an engine that are not closed.
pub(super) struct Modules {
    open: Vec<OpenModule>,
    /// What closed since it was last asked for.
    closed: Vec<ClosedModule>,
}

/// A module that is not closed.
pub(super) struct OpenModule {
    index: usize,
    pub(super) source: Source,
    pub(super) subscription: Subscription,
    pub(super) module: Box<dyn Module>,
}

/// A module that panicked.
#[derive(Debug)]
pub(super) struct ClosedModule {
    pub(super) index: usize,
    pub(super) reason: String,
}

impl Modules {
    pub(super) fn none() -> Self {
        Self {
            open: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Makes the module of the next place.
    pub(super) fn add(
        &mut self,
        make: MakeModule,
        engine: &EngineHandle,
    ) -> Result<(), StoreError> {
        let index = self.open.len();
        // As many modules do not fit into memory.
        let source = Source::module(i64::try_from(index).unwrap_or(i64::MAX));
        let made = unpanicked(|| {
            let module = make(engine, source).map_err(|error| error.to_string())?;
            let subscription = module.subscription();
            Ok(OpenModule {
                index,
                source,
                subscription,
                module,
            })
        });
        match made.and_then(|made| made) {
            Ok(module) => self.open.push(module),
            Err(reason) => return Err(StoreError::Module { index, reason }),
        }
        Ok(())
    }

    pub(super) fn start_session(&mut self, session: i64) {
        self.each(|open| open.module.on_session_start(session));
    }

    pub(super) fn stop_session(&mut self, session: i64) {
        self.each(|open| open.module.on_session_stop(session));
    }

    /// Calls something with each module that is open; closes those that panic.
    pub(super) fn each(&mut self, mut act: impl FnMut(&mut OpenModule)) {
        let mut index = 0;
        while index < self.open.len() {
            let open = &mut self.open[index];
            match unpanicked(|| act(open)) {
                Ok(()) => index += 1,
                Err(reason) => self.close(index, reason),
            }
        }
    }

    /// What closed since the last call.
    pub(super) fn take_closed(&mut self) -> Vec<ClosedModule> {
        std::mem::take(&mut self.closed)
    }

    fn close(&mut self, place: usize, reason: String) {
        let open = self.open.remove(place);
        let index = open.index;
        log::error!("module {index} is closed: {reason}");
        drop_quietly(open);
        self.closed.push(ClosedModule { index, reason });
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        self.open.drain(..).for_each(drop_quietly);
    }
}

/// A module may panic once more when it goes.
fn drop_quietly(open: OpenModule) {
    let index = open.index;
    if let Err(reason) = unpanicked(|| drop(open)) {
        log::error!("module {index} was dropped, and {reason}");
    }
}

/// What a call gave, or what its panic said.
fn unpanicked<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // What the call left half done is dropped by whoever sees the error.
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        match text {
            Some(text) => format!("it panicked: {text}"),
            None => "it panicked".to_owned(),
        }
    })
}
