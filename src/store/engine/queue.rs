//! What waits for the engine, and who waits for a place there.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::event::{Event, RegisterEvent};
use crate::store::StoreError;
use crate::store::engine::module::Source;

/// One session to be, and who is told what came of it; for [`EngineHandle::submit`](crate::store::EngineHandle::submit).
///
/// Its reply is called once, whatever happens: one that is dropped gets [`StoreError::Closed`].
///
/// # Examples
/// ```
/// use acqbus::event::{EventType, RegisterEvent};
/// use acqbus::store::{Callbacks, Engine, EngineOptions, MemoryBackend, Source, Submission};
/// use std::sync::Arc;
/// use std::sync::mpsc::channel;
///
/// let backend = Arc::new(MemoryBackend::new(Callbacks::default()));
/// let engine = Engine::start(backend, EngineOptions::default())?;
/// let (answer, answered) = channel();
/// let door = vec![RegisterEvent::new(EventType::new(["door"]))];
/// let submission = Submission::new(Source::SERVER, door, move |result| {
///     let _ = answer.send(result.map(|events| events.len()));
/// });
/// engine.handle().submit(submission).expect("an empty queue");
/// assert_eq!(answered.recv().expect("an answer")?, 1);
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
pub struct Submission {
    source: Source,
    events: Vec<RegisterEvent>,
    reply: Reply,
}

impl Submission {
    /// A session of these events; `reply` gets the events made of them, in their order, or why there are none.
    ///
    /// It is called on the engine's thread, which it must not hold up; its panic is logged and goes no further.
    pub fn new(
        source: Source,
        events: Vec<RegisterEvent>,
        reply: impl FnOnce(Result<Vec<Arc<Event>>, StoreError>) + Send + 'static,
    ) -> Self {
        Self {
            source,
            events,
            reply: Reply(Some(Box::new(reply))),
        }
    }

    pub(super) fn into_parts(self) -> (Source, Vec<RegisterEvent>, Reply) {
        (self.source, self.events, self.reply)
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("source", &self.source)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// Why a submission is not in the queue; it comes back.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many wait as may.
    #[error("the queue of the engine is full")]
    Full(Submission),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed(Submission),
}

/// Told once what came of a submission.
pub(super) struct Reply(Option<Box<dyn FnOnce(Registered) + Send>>);

type Registered = Result<Vec<Arc<Event>>, StoreError>;

impl Reply {
    pub(super) fn call(mut self, result: Registered) {
        self.tell(result);
    }

    fn tell(&mut self, result: Registered) {
        let Some(reply) = self.0.take() else {
            return;
        };
        if panic::catch_unwind(AssertUnwindSafe(|| reply(result))).is_err() {
            log::error!("the reply of a submission panicked");
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Closed));
    }
}

/// Who is to be told that the queue has room.
#[derive(Default)]
pub(super) struct Room {
    /// Whether anybody is; read for every request.
    is_wanted: AtomicBool,
    waiting: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Room {
    pub(super) fn wait(&self, tell: Box<dyn FnOnce() + Send>) {
        let mut waiting = self.waiting.lock();
        waiting.push(tell);
        // Before whoever waits looks at the queue again, and after the engine has taken from it: one of both sees the other.
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    pub(super) fn tell(&self) {
        if !self.is_wanted.load(Ordering::SeqCst) {
            return;
        }
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.is_wanted.store(false, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for tell in waiting {
            if panic::catch_unwind(AssertUnwindSafe(tell)).is_err() {
                log::error!("who was told of room in the queue of the engine panicked");
            }
        }
    }
}
