//! What the clients of a served store are told, whichever process has it open.
//!
//! | events | are told |
//! |---|---|
//! | that this process registers | by the store as it registers them, before whoever registered them gets his answer |
//! | that others register, while this process owns the store | by the callbacks of the store |
//! | that others register, while another process owns it | by following the store |
//!
//! Durable ones are told by callbacks or by following. When the other owner ends and this process becomes the owner, what the
//! following has missed is read from the store first.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::event::{Event, EventId, Events, QueryParams, QueryServerParams, Timestamp};
use crate::eventer::Notifier;
use crate::store::{Backend, Callbacks, StoreError, StoreHandle};

/// Tells the clients, and whoever listens here of the events that this process registers.
pub(super) struct Teller {
    notifier: Notifier,
    /// Nobody but this process registers events of these servers.
    own: BTreeSet<i64>,
    /// Learns of the events that this process registers; what does not fit is left out.
    listener: Sender<Arc<Event>>,
    own_told: Mutex<HashMap<i64, EventId>>,
    registered: Mutex<Stream>,
    flushed: Mutex<Stream>,
}

/// One kind of news.
struct Stream {
    way: Way,
    /// The last event of each server that was told.
    told: HashMap<i64, EventId>,
}

/// How the callbacks reach the clients.
enum Way {
    Straight,
    /// They wait for what was missed before them.
    Waiting(Vec<Events>),
}

/// Which news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Registered,
    Flushed,
}

impl Teller {
    pub(super) fn new(
        notifier: Notifier,
        own: impl IntoIterator<Item = i64>,
        listener: Sender<Arc<Event>>,
    ) -> Arc<Self> {
        let stream = || {
            Mutex::new(Stream {
                way: Way::Waiting(Vec::new()),
                told: HashMap::new(),
            })
        };
        Arc::new(Self {
            notifier,
            own: own.into_iter().collect(),
            listener,
            own_told: Mutex::default(),
            registered: stream(),
            flushed: stream(),
        })
    }

    /// For the store, which calls them while this process owns it.
    pub(super) fn callbacks(self: &Arc<Self>) -> Callbacks {
        let (registered, flushed) = (Arc::clone(self), Arc::clone(self));
        Callbacks::default()
            .registered(move |events| {
                if registered.is_own(events) {
                    registered.own_registered(events);
                } else {
                    registered.called(Kind::Registered, events);
                }
            })
            .flushed(move |events| flushed.called(Kind::Flushed, events))
    }

    /// The store, for an engine of this process.
    pub(super) fn backend(self: &Arc<Self>, store: &Arc<StoreHandle>) -> Arc<dyn Backend> {
        Arc::new(Told {
            teller: Arc::clone(self),
            store: Arc::clone(store),
        })
    }

    /// Tells what another process has registered or made durable, as it is followed; a session stays one message.
    pub(super) fn followed(&self, kind: Kind, events: &[Arc<Event>]) {
        for session in
            events.chunk_by(|a, b| (a.id.server, a.id.session) == (b.id.server, b.id.session))
        {
            if kind == Kind::Registered && self.is_own(session) {
                continue;
            }
            let mut stream = self.stream(kind).lock();
            self.tell(kind, &mut stream, &session.into());
        }
    }

    /// The last event of each server that was told.
    pub(super) fn told(&self, kind: Kind) -> Vec<EventId> {
        self.stream(kind).lock().told.values().copied().collect()
    }

    /// This process owns the store: tells what was missed, then what waits, then all as it comes.
    pub(super) fn owned(&self, kind: Kind, missed: &[Arc<Event>]) {
        self.followed(kind, missed);
        let mut stream = self.stream(kind).lock();
        if let Way::Waiting(waiting) = mem::replace(&mut stream.way, Way::Straight) {
            for events in waiting {
                let new: Events = events
                    .iter()
                    .filter(|event| {
                        let told = stream.told.get(&event.id.server);
                        told.is_none_or(|told| event.id > *told)
                    })
                    .cloned()
                    .collect();
                if !new.is_empty() {
                    self.tell(kind, &mut stream, &new);
                }
            }
        }
    }

    fn called(&self, kind: Kind, events: &Events) {
        let mut stream = self.stream(kind).lock();
        match &mut stream.way {
            Way::Straight => self.tell(kind, &mut stream, events),
            Way::Waiting(waiting) if waiting.len() < WAITING => waiting.push(Arc::clone(events)),
            Way::Waiting(_) => log::error!(
                "{} events were not told: the change of the store's owner takes too long",
                events.len()
            ),
        }
    }

    /// Once, whoever says it first: the callback of the store, or the call that registered them.
    fn own_registered(&self, events: &Events) {
        let Some(last) = events.last().map(|event| event.id) else {
            return;
        };
        let mut told = self.own_told.lock();
        if told.get(&last.server).is_some_and(|told| *told >= last) {
            return;
        }
        told.insert(last.server, last);
        self.notifier.registered(events);
        for event in events.iter() {
            // A person or a log reads it, who cannot hold up the store.
            let _ = self.listener.try_send(Arc::clone(event));
        }
    }

    fn tell(&self, kind: Kind, stream: &mut Stream, events: &Events) {
        for event in events.iter() {
            let told = stream.told.entry(event.id.server).or_insert(event.id);
            *told = event.id.max(*told);
        }
        match kind {
            Kind::Registered => self.notifier.registered(events),
            Kind::Flushed => self.notifier.flushed(events),
        }
    }

    fn is_own(&self, events: &[Arc<Event>]) -> bool {
        events
            .first()
            .is_some_and(|event| self.own.contains(&event.id.server))
    }

    const fn stream(&self, kind: Kind) -> &Mutex<Stream> {
        match kind {
            Kind::Registered => &self.registered,
            Kind::Flushed => &self.flushed,
        }
    }
}

/// A store that tells what is registered through it.
struct Told {
    teller: Arc<Teller>,
    store: Arc<StoreHandle>,
}

impl Backend for Told {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.store.last_event_id(server)
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.store.last_timestamp(server)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        let registered = self.store.register(events)?;
        self.teller.own_registered(&registered);
        Ok(registered)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        self.store.visit(params, visit)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.store.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.store.session_floor(server)
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

/// What a store has behind what was told of each server, and all of the servers that are new.
pub(super) fn missed(
    store: &StoreHandle,
    kind: Kind,
    told: &[EventId],
) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut events = Vec::new();
    for server in store.stats()?.servers {
        let server = server.server;
        let mut params = QueryServerParams::new(server).persisted(kind == Kind::Flushed);
        params.last_event_id = told.iter().find(|told| told.server == server).copied();
        loop {
            let page = store.query(&params.into())?;
            params.last_event_id = page.events.last().map(|event| event.id);
            let more = page.more_follows && !page.events.is_empty();
            events.extend(page.events);
            if !more {
                break;
            }
        }
    }
    events.sort_by_key(|event| event.timestamp);
    Ok(events)
}

/// Register calls that wait while the owner of the store changes.
const WAITING: usize = 65_536;
