//! Following a store: what is there, then what comes, without a gap and without a double.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use crate::event::{EventId, Subscription};
use crate::store::StoreError;

use super::access::Access;
use super::carrier::{Carrier, Shared};
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
/// what finds no room there is told as [`Followed::Lost`]. What is there is read piece by piece as it is taken; while that lasts,
/// nothing is lost that the store keeps: what found no room is read, too.
#[derive(Debug)]
pub struct Follower {
    news: Receiver<Followed>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// What comes, to be waited for beside other channels. It ends with the owner of the store, or with a
    /// [`failure`](Self::failure).
    #[must_use]
    pub const fn news(&self) -> &Receiver<Followed> {
        &self.news
    }

    /// Why [`news`](Self::news) has ended, where that was not the end of the owner; told once.
    #[must_use]
    pub fn failure(&self) -> Option<StoreError> {
        self.shared.take_failure()
    }

    pub(super) fn start(store: Arc<Access>, options: FollowOptions) -> Result<Self, StoreError> {
        let (sender, news) = bounded(WAITING);
        let shared = Arc::new(Shared::default());
        let (carrier, joined) = Carrier::begin(store, options, sender, Arc::clone(&shared))?;
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || carrier.run(joined))
            .map_err(|source| StoreError::Thread {
                name: THREAD,
                source,
            })?;
        Ok(Self {
            news,
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.end();
        // The thread may wait for room.
        let (_, nothing) = bounded(0);
        drop(std::mem::replace(&mut self.news, nothing));
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }
}

const THREAD: &str = "acqbus-store-follower";

/// What waits to be read here; more waits with the owner.
const WAITING: usize = 16;
