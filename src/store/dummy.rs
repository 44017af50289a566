//! A store that keeps nothing.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};

use crate::event::{Event, EventId, Events, QueryParams, Timestamp};
use crate::store::filter;
use crate::store::{Backend, Callbacks, StoreError};

/// A store that keeps nothing: for an engine whose events only its modules and callbacks see.
///
/// `register` calls both callbacks; every answer is empty. Sessions that were reserved stay so until the process ends.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, EventType, QueryLatestParams, Timestamp};
/// use acqbus::store::{Backend, Callbacks, DummyBackend};
/// use std::sync::Arc;
///
/// let store = DummyBackend::new(Callbacks::default().flushed(|events| assert_eq!(events.len(), 1)));
/// let id = EventId::new(1, 1, 1);
/// store.register(vec![Arc::new(Event::new(id, EventType::new(["door"]), Timestamp::now()))].into())?;
/// assert!(store.query(&QueryLatestParams::default().into())?.events.is_empty());
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct DummyBackend {
    callbacks: Callbacks,
    /// Held over the callbacks of a register, so that these come one by one.
    registering: ReentrantMutex<()>,
    /// The reserved sessions of each server; `None` when closed.
    reserved: Mutex<Option<HashMap<i64, i64>>>,
}

impl DummyBackend {
    /// A store that keeps nothing.
    #[must_use]
    pub fn new(callbacks: Callbacks) -> Self {
        Self {
            callbacks,
            registering: ReentrantMutex::new(()),
            reserved: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Waits for the register calls before; an error on the thread that is in the middle of one.
    fn begin(&self) -> Result<ReentrantMutexGuard<'_, ()>, StoreError> {
        if self.registering.is_owned_by_current_thread() {
            return Err(StoreError::InCallback);
        }
        Ok(self.registering.lock())
    }

    fn while_open<T>(
        &self,
        act: impl FnOnce(&mut HashMap<i64, i64>) -> T,
    ) -> Result<T, StoreError> {
        self.reserved
            .lock()
            .as_mut()
            .map(act)
            .ok_or(StoreError::Closed)
    }
}

impl Backend for DummyBackend {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.while_open(|_| EventId::none(server))
    }

    fn last_timestamp(&self, _server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.while_open(|_| None)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        let _registering = self.begin()?;
        self.while_open(|_| ())?;
        self.callbacks.tell_registered(&events);
        self.callbacks.tell_flushed(&events);
        Ok(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        _visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        self.while_open(|_| ())?;
        filter::check(params)?;
        Ok(false)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _registering = self.begin()?;
        self.while_open(|_| ())
    }

    fn close(&self) -> Result<(), StoreError> {
        let _registering = self.registering.lock();
        *self.reserved.lock() = None;
        Ok(())
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.while_open(|reserved| {
            reserved.insert(server, last);
        })
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.while_open(|reserved| reserved.get(&server).copied().unwrap_or(0))
    }
}
