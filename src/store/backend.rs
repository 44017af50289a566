//! What a store of events promises, whichever it is.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::event::{Event, EventId, Events, QueryParams, QueryResult, Timestamp};
use crate::store::StoreError;

/// A store of events: takes them, answers three kinds of queries, forgets none that it said it kept.
///
/// What holds for every backend:
///
/// | question | answer |
/// |---|---|
/// | who may call | any thread, several at once; every method blocks the caller at most, never another reader |
/// | visible when | an event is in every query that starts after its [`register`](Self::register) returned |
/// | durable when | [`flush`](Self::flush) returned; or `register` did, where the backend says so |
/// | all or nothing | an error of `register` means that no event of that call is kept; of `flush`, that what was registered stays visible and is tried again by the next one |
/// | after an error | the backend goes on, and so may the caller; only [`StoreError::is_closed`] stays |
/// | order | two `register` calls that do not overlap are kept in their order, and so are the events within one |
/// | after `close` | every method but `close` itself gives [`StoreError::Closed`] |
///
/// Which events a backend keeps is a matter of its own rules (ids that do not grow, conditions, retention); what it leaves
/// out it still gives back from `register` and to the [`Callbacks`], as hat-event 0.9.44 does.
///
/// # Queries
///
/// | query | order of the answer | limit |
/// |---|---|---|
/// | latest | none that can be relied on | none |
/// | timeseries | by (chosen timestamp, event id), turned round for `Descending`; the bounds are inclusive and all of them hold whichever is the order; an event without a source timestamp fails source bounds and is in no source order | `max_results` and the backend's own |
/// | server | by event id | `max_results` and the backend's own |
///
/// `last_event_id` of a time series leaves out everything up to and including that event in the order of the answer. The
/// event has to be within the bounds of the chosen timestamp and need match nothing else; is it not there, then the answer is
/// empty and nothing follows. `last_event_id` of a server query leaves out every id up to it, and need not exist.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, QueryLatestParams, Timestamp};
/// use acqbus::store::{Backend, Callbacks, MemoryBackend};
/// use std::sync::Arc;
///
/// let store = MemoryBackend::new(Callbacks::default());
/// let id = EventId::new(1, 1, 1);
/// let event = Event::new(id, "rig-1/door".parse()?, Timestamp::now());
/// store.register(vec![Arc::new(event)].into())?;
/// assert_eq!(store.last_event_id(1)?, id);
/// assert_eq!(store.query(&QueryLatestParams::default().into())?.events.len(), 1);
///
/// store.close()?;
/// assert!(store.flush().unwrap_err().is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Backend: Send + Sync + fmt::Debug {
    /// The greatest event id that is kept for a server; (server, 0, 0) if there is none.
    ///
    /// What was kept once counts, also when retention has removed it since.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading the store gave.
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError>;

    /// The timestamp of the event of [`last_event_id`](Self::last_event_id); `None` if there is none.
    ///
    /// No later event of that server is kept with an earlier one; whoever makes timestamps starts from here. *Ours.*
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading the store gave.
    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError>;

    /// Keeps events, in their order, and gives the whole input back: also what was not kept.
    ///
    /// Calls [`Callbacks::registered`] before it returns, also for no events at all. The answer is the input itself, not a copy.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; [`StoreError::is_full`] when there is no room; or what writing gave. No event of the call is
    /// kept then, nothing is called back, and the same call may be tried again.
    fn register(&self, events: Events) -> Result<Events, StoreError>;

    /// Shows the events of an answer one by one, and tells whether more match than the limits allow.
    ///
    /// The answer is that of the moment of the call, whatever is registered meanwhile, and takes no more memory the longer it
    /// is (but for a time series from memory, which is sorted). The visitor is called on this thread, with no lock held: it may
    /// query this backend, and register. When it breaks, the visit ends and the answer is `true`.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; [`StoreError::NegativeMaxResults`]; [`StoreError::OtherServer`] for a `last_event_id` of another
    /// server; [`StoreError::Query`] for a query type that cannot be; [`StoreError::is_damage`] for what cannot be read. What
    /// was visited before the error is right.
    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError>;

    /// The events of an answer at once, as [`visit`](Self::visit).
    ///
    /// # Errors
    /// As [`visit`](Self::visit).
    fn query(&self, params: &QueryParams) -> Result<QueryResult, StoreError> {
        let mut events = Vec::new();
        let more_follows = self.visit(params, &mut |event| {
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        })?;
        Ok(QueryResult {
            events,
            more_follows,
        })
    }

    /// Makes everything durable that was registered before, and returns then.
    ///
    /// [`Callbacks::flushed`] has been called for all of it.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what writing gave; what was registered stays visible, and the next flush tries again.
    fn flush(&self) -> Result<(), StoreError>;

    /// Flushes and gives everything back that the backend holds; a second call does nothing.
    ///
    /// # Errors
    /// What the flush gave; the backend is closed all the same.
    fn close(&self) -> Result<(), StoreError>;

    /// Says durably that sessions of a server up to `last` may be handed out; replaces what was said before.
    ///
    /// Whoever hands out ids calls it ahead, in steps, so that a crash that loses the latest events does not lose the
    /// knowledge of which ids were out. At its end it calls it with the last session that it did hand out, which may be a
    /// smaller number. *Ours*: the reference gives the same ids again after a crash.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what writing gave; the earlier reservation holds then.
    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError>;

    /// The session up to which none may be handed out again: the reservation, or that of the last event id if it is greater.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading the store gave.
    fn session_floor(&self, server: i64) -> Result<i64, StoreError>;
}

/// Whom a backend tells about registered and flushed events.
///
/// Each is called once for each [`Backend::register`] that succeeded, with all its events (also those that were not kept,
/// also none), in the order of the register calls and one call at a time: `registered` on the thread that registers, before it
/// returns, `flushed` once the events are durable, on any thread. A callback may query the backend; to register or flush would
/// wait for itself and gives [`StoreError::InCallback`]. A panic of it is logged and goes no further.
///
/// # Examples
/// ```
/// use acqbus::store::{Backend, Callbacks, MemoryBackend};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let count = Arc::new(AtomicUsize::new(0));
/// let counted = Arc::clone(&count);
/// let callbacks = Callbacks::default().registered(move |_| {
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// MemoryBackend::new(callbacks).register(vec![].into())?;
/// assert_eq!(count.load(Ordering::Relaxed), 1);
/// # Ok::<(), acqbus::store::StoreError>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Callbacks {
    /// Called before `register` returns. Default none.
    pub registered: Option<EventsCallback>,
    /// Called when the events of one earlier `register` are durable. Default none.
    pub flushed: Option<EventsCallback>,
}

/// A callback of a backend.
pub type EventsCallback = Arc<dyn Fn(&Events) + Send + Sync>;

impl Callbacks {
    /// Sets what is called before `register` returns.
    #[must_use]
    pub fn registered(mut self, callback: impl Fn(&Events) + Send + Sync + 'static) -> Self {
        self.registered = Some(Arc::new(callback));
        self
    }

    /// Sets what is called when the events of one `register` are durable.
    #[must_use]
    pub fn flushed(mut self, callback: impl Fn(&Events) + Send + Sync + 'static) -> Self {
        self.flushed = Some(Arc::new(callback));
        self
    }

    pub(crate) fn tell_registered(&self, events: &Events) {
        tell("registered", self.registered.as_ref(), events);
    }

    pub(crate) fn tell_flushed(&self, events: &Events) {
        tell("flushed", self.flushed.as_ref(), events);
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("registered", &self.registered.is_some())
            .field("flushed", &self.flushed.is_some())
            .finish()
    }
}

/// The events are kept whatever the callback does: its panic must not look like a failed register.
fn tell(name: &str, callback: Option<&EventsCallback>, events: &Events) {
    let Some(callback) = callback else {
        return;
    };
    if panic::catch_unwind(AssertUnwindSafe(|| callback(events))).is_err() {
        log::error!("the callback for {name} events panicked");
    }
}
