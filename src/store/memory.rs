//! A store that forgets when the process ends.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{ReentrantMutex, ReentrantMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::event::{
    Event, EventId, EventType, Events, Order, QueryLatestParams, QueryParams, QueryServerParams,
    QueryTimeseriesParams, Timestamp,
};
use crate::store::filter::{self, TimeseriesFilter, TypeFilter};
use crate::store::{Backend, Callbacks, StoreError};

/// A store that keeps everything, in memory, until the process ends.
///
/// For tests, examples and short histories: it has no conditions, no retention and no limit, it takes ids and timestamps as
/// they come, and a query of a time series looks at every event. `register` is durable at once in its eyes: it calls
/// [`Callbacks::registered`] and then [`Callbacks::flushed`], as hat-event's does.
///
/// It answers as hat-event's memory backend means to; as published that one answers latest queries only.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, EventType, QueryTimeseriesParams, Timestamp};
/// use acqbus::store::{Backend, Callbacks, MemoryBackend};
/// use std::sync::Arc;
///
/// let store = MemoryBackend::new(Callbacks::default());
/// for instance in 1..=3 {
///     let id = EventId::new(1, 1, instance);
///     let event = Event::new(id, EventType::new(["pump"]), Timestamp::new(instance, 0));
///     store.register(vec![Arc::new(event)].into())?;
/// }
/// let newest = store.query(&QueryTimeseriesParams::default().max_results(1).into())?;
/// assert_eq!(newest.events[0].id.instance, 3);
/// assert!(newest.more_follows);
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct MemoryBackend {
    callbacks: Callbacks,
    /// Held over a register and its callbacks, so that these come in its order; never by a query.
    registering: ReentrantMutex<()>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// In the order of registration.
    events: Vec<Arc<Event>>,
    latest: HashMap<EventType, Arc<Event>>,
    last: HashMap<i64, (EventId, Timestamp)>,
    reserved: HashMap<i64, i64>,
}

impl MemoryBackend {
    /// An empty store.
    #[must_use]
    pub fn new(callbacks: Callbacks) -> Self {
        Self {
            callbacks,
            registering: ReentrantMutex::new(()),
            state: RwLock::default(),
        }
    }

    /// Waits for the register calls before; an error on the thread that is in the middle of one.
    fn begin(&self) -> Result<ReentrantMutexGuard<'_, ()>, StoreError> {
        if self.registering.is_owned_by_current_thread() {
            return Err(StoreError::InCallback);
        }
        Ok(self.registering.lock())
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        let state = self.state.read();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, State>, StoreError> {
        let state = self.state.write();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }
}

impl Backend for MemoryBackend {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        Ok(self.read()?.last_event_id(server))
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read()?.last.get(&server).map(|(_, time)| *time))
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        let _registering = self.begin()?;
        {
            let mut state = self.write()?;
            for event in events.iter() {
                state.keep(event);
            }
        }
        self.callbacks.tell_registered(&events);
        self.callbacks.tell_flushed(&events);
        Ok(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        let found = {
            let state = self.read()?;
            match params {
                QueryParams::Latest(params) => state.latest(params)?,
                QueryParams::Timeseries(params) => state.timeseries(params)?,
                QueryParams::Server(params) => state.server(params)?,
            }
        };
        // The guard is gone: the visitor may register.
        let limit = filter::limit(params)?;
        Ok(filter::show(&found, limit, visit))
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _registering = self.begin()?;
        self.read().map(drop)
    }

    fn close(&self) -> Result<(), StoreError> {
        // A callback may close: what it belongs to is kept.
        let _registering = self.registering.lock();
        *self.state.write() = State {
            closed: true,
            ..State::default()
        };
        Ok(())
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.write()?.reserved.insert(server, last);
        Ok(())
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        let state = self.read()?;
        let reserved = state.reserved.get(&server).copied().unwrap_or(0);
        Ok(reserved.max(state.last_event_id(server).session))
    }
}

impl State {
    fn keep(&mut self, event: &Arc<Event>) {
        let newest = (event.id, event.timestamp);
        let last = self.last.entry(event.id.server).or_insert(newest);
        if last.0 < event.id {
            *last = newest;
        }
        match self.latest.get_mut(&event.event_type) {
            Some(held) if held.is_before(event) => *held = Arc::clone(event),
            Some(_) => {}
            None => {
                let key = event.event_type.clone();
                self.latest.insert(key, Arc::clone(event));
            }
        }
        self.events.push(Arc::clone(event));
    }

    fn last_event_id(&self, server: i64) -> EventId {
        self.last
            .get(&server)
            .map_or(EventId::none(server), |(id, _)| *id)
    }

    fn latest(&self, params: &QueryLatestParams) -> Result<Vec<Arc<Event>>, StoreError> {
        let types = TypeFilter::new(params.event_types.as_deref())?;
        Ok(match &types {
            TypeFilter::Exact(types) => types
                .iter()
                .filter_map(|one| self.latest.get(one))
                .cloned()
                .collect(),
            _ => self
                .latest
                .values()
                .filter(|event| types.matches(&event.event_type))
                .cloned()
                .collect(),
        })
    }

    fn timeseries(&self, params: &QueryTimeseriesParams) -> Result<Vec<Arc<Event>>, StoreError> {
        let filter = TimeseriesFilter::new(params)?;
        let mut keyed: Vec<_> = self
            .events
            .iter()
            // What comes after an event that need not match is found with all of them.
            .filter(|event| params.last_event_id.is_some() || filter.matches(event))
            .filter_map(|event| filter.key(event).map(|key| (key, event)))
            .collect();
        keyed.sort_by(|(a_key, a), (b_key, b)| a_key.cmp(b_key).then_with(|| a.id.cmp(&b.id)));
        if params.order == Order::Descending {
            keyed.reverse();
        }
        let in_order = keyed.into_iter().map(|(_, event)| event);
        Ok(match params.last_event_id {
            None => in_order.cloned().collect(),
            Some(last) => in_order
                .skip_while(|event| event.id != last)
                .skip(1)
                .filter(|event| filter.matches(event))
                .cloned()
                .collect(),
        })
    }

    fn server(&self, params: &QueryServerParams) -> Result<Vec<Arc<Event>>, StoreError> {
        let start = filter::server_start(params)?;
        let is_after = |id: EventId| start.is_none_or(|last| id.cmp(&last) == Ordering::Greater);
        let mut found: Vec<_> = self
            .events
            .iter()
            .filter(|event| event.id.server == params.server_id && is_after(event.id))
            .cloned()
            .collect();
        found.sort_by_key(|event| event.id);
        Ok(found)
    }
}
