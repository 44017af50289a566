//! Following a store: what is there, then what comes, without a gap and without a double.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::event::{
    Event, EventId, EventType, Order, QueryServerParams, QueryTimeseriesParams, Subscription,
};
use crate::store::{Backend, StoreError};

use super::guest::Following;
use super::hub::Seat;
use super::message::Answer;
use super::queue::Followed;

/// What is followed, and from where on.
///
/// # Examples
/// ```
/// use acqbus::event::Subscription;
/// use acqbus::store::FollowOptions;
///
/// let options = FollowOptions::default().event_types(Subscription::new(["rig-1/event/*".parse()?])?).last(10);
/// assert_eq!(options.last, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowOptions {
    /// The event types. Defaults to all.
    pub event_types: Subscription,
    /// Whether events come when they are durable, not when they are registered. Defaults to false.
    pub persisted: bool,
    /// So many of the events that are there come first, the oldest of them at first. Defaults to 0.
    pub last: usize,
    /// For each server the event behind which its events come first, in the place of [`last`](Self::last). Defaults to none.
    pub after: Vec<EventId>,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            event_types: Subscription::all(),
            persisted: false,
            last: 0,
            after: Vec::new(),
        }
    }
}

impl FollowOptions {
    /// Sets [`event_types`](Self::event_types).
    #[must_use]
    pub fn event_types(mut self, event_types: Subscription) -> Self {
        self.event_types = event_types;
        self
    }

    /// Sets [`persisted`](Self::persisted).
    #[must_use]
    pub fn persisted(mut self, persisted: bool) -> Self {
        self.persisted = persisted;
        self
    }

    /// Sets [`last`](Self::last).
    #[must_use]
    pub fn last(mut self, events: usize) -> Self {
        self.last = events;
        self
    }

    /// Sets [`after`](Self::after).
    #[must_use]
    pub fn after(mut self, events: impl IntoIterator<Item = EventId>) -> Self {
        self.after = events.into_iter().collect();
        self
    }
}

/// Events of a store, as they come. Dropping it ends the following.
///
/// A thread, `acqbus-store-follower`, carries them; what is not read waits in bounded queues, never in the way of the store, and
/// what finds no room there is told as [`Followed::Lost`].
#[derive(Debug)]
pub struct Follower {
    news: Receiver<Followed>,
    source: Source,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// What comes, to be waited for beside other channels. It ends with the owner of the store.
    #[must_use]
    pub const fn news(&self) -> &Receiver<Followed> {
        &self.news
    }

    pub(super) fn start(
        live: Live,
        past: Vec<Arc<Event>>,
        seen: HashMap<i64, EventId>,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Thread {
            name: THREAD,
            source,
        };
        let source = match &live {
            Live::Here(seat) => Source::Here(Arc::clone(seat)),
            Live::There(following) => Source::There(following.stream().map_err(failed)?),
        };
        let (sender, news) = bounded(WAITING);
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || carry(live, past, seen, &sender))
            .map_err(failed)?;
        Ok(Self {
            news,
            source,
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        match &self.source {
            Source::Here(seat) => seat.close(),
            // Gone already where the owner has ended it.
            Source::There(stream) => drop(stream.shutdown(Shutdown::Both)),
        }
        // The thread may wait for room.
        let (_, nothing) = bounded(0);
        drop(std::mem::replace(&mut self.news, nothing));
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
enum Source {
    Here(Arc<Seat>),
    There(UnixStream),
}

/// Where live events come from.
pub(super) enum Live {
    /// The hub of this process.
    Here(Arc<Seat>),
    /// The owner in another process.
    There(Following),
}

impl Live {
    fn next(&mut self) -> Option<Followed> {
        match self {
            Self::Here(seat) => seat.next(),
            Self::There(following) => loop {
                match following.next()? {
                    Answer::Events(events) => return Some(Followed::Events(events)),
                    Answer::Lost(count) => return Some(Followed::Lost(count)),
                    // Of a later version.
                    _ => {}
                }
            },
        }
    }
}

/// The events that come first. The live ones must be followed already, so that nothing is missed in between.
pub(super) fn past(
    store: &dyn Backend,
    options: &FollowOptions,
) -> Result<Vec<Arc<Event>>, StoreError> {
    if !options.after.is_empty() {
        return after(store, options);
    }
    let mut newest: Vec<Arc<Event>> = Vec::new();
    let mut params = QueryTimeseriesParams::default().order(Order::Descending);
    params.event_types = types(&options.event_types);
    while newest.len() < options.last {
        let missing = options.last - newest.len();
        params.max_results = Some(i64::try_from(missing).unwrap_or(i64::MAX));
        let page = store.query(&params.clone().into())?;
        let Some(last) = page.events.last() else {
            break;
        };
        params.t_to = Some(last.timestamp);
        params.last_event_id = Some(last.id);
        newest.extend(page.events);
        if !page.more_follows {
            break;
        }
    }
    newest.reverse();
    Ok(newest)
}

fn after(store: &dyn Backend, options: &FollowOptions) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut events = Vec::new();
    for id in &options.after {
        let mut last = *id;
        loop {
            let params = QueryServerParams::new(id.server)
                .persisted(options.persisted)
                .after(last);
            let page = store.query(&params.into())?;
            let Some(newest) = page.events.last() else {
                break;
            };
            last = newest.id;
            let wanted = page
                .events
                .iter()
                .filter(|event| options.event_types.matches(&event.event_type));
            events.extend(wanted.cloned());
            if !page.more_follows {
                break;
            }
        }
    }
    events.sort_by_key(|event| event.timestamp);
    Ok(events)
}

/// The newest id of each server among these events, and those that were seen before.
pub(super) fn newest_ids(events: &[Arc<Event>], before: &[EventId]) -> HashMap<i64, EventId> {
    let mut newest: HashMap<i64, EventId> = HashMap::new();
    let ids = events
        .iter()
        .map(|event| event.id)
        .chain(before.iter().copied());
    for id in ids {
        let held = newest.entry(id.server).or_insert(id);
        *held = (*held).max(id);
    }
    newest
}

/// The parameter of a query that stands for a subscription; all where it is all.
pub(super) fn types(subscription: &Subscription) -> Option<Vec<EventType>> {
    (!subscription.is_all()).then(|| subscription.query_types())
}

/// Tells what is there, then what comes; of the latter not what was among the former.
fn carry(
    mut live: Live,
    past: Vec<Arc<Event>>,
    seen: HashMap<i64, EventId>,
    sender: &Sender<Followed>,
) {
    // It is read in the same pieces as what comes.
    for piece in past.chunks(PIECE) {
        if sender.send(Followed::Events(piece.to_vec())).is_err() {
            return;
        }
    }
    drop(past);
    while let Some(news) = live.next() {
        let news = match news {
            Followed::Events(mut events) => {
                events.retain(|event| {
                    seen.get(&event.id.server)
                        .is_none_or(|newest| event.id > *newest)
                });
                if events.is_empty() {
                    continue;
                }
                Followed::Events(events)
            }
            lost => lost,
        };
        if sender.send(news).is_err() {
            return;
        }
    }
}

const THREAD: &str = "acqbus-store-follower";

/// What waits to be read here; more waits with the owner.
const WAITING: usize = 16;

const PIECE: usize = 256;
