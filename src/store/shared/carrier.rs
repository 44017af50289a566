//! The thread of a follower: carries what is there, then what comes, and joins the two.

use std::collections::HashMap;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::event::{Event, EventId, Timestamp};
use crate::store::{Backend, StoreError};

use super::access::Access;
use super::follower::FollowOptions;
use super::guest::Following;
use super::hub::Seat;
use super::message::Answer;
use super::past::Past;
use super::queue::Followed;
use super::told::{LastIds, Told};

/// What the thread works with.
pub(super) struct Carrier {
    store: Arc<Access>,
    options: FollowOptions,
    sender: Sender<Followed>,
    shared: Arc<Shared>,
    /// By server, up to where all was told, or was not wanted.
    seen: LastIds,
}

/// What the thread and its follower share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    is_over: AtomicBool,
    source: Mutex<Option<Source>>,
    failure: Mutex<Option<StoreError>>,
}

impl Shared {
    /// Ends the thread at the next event at the latest.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        match &*self.source.lock() {
            Some(Source::Here(seat)) => seat.close(),
            // Gone already where the owner has ended it.
            Some(Source::There(stream)) => drop(stream.shutdown(Shutdown::Both)),
            None => {}
        }
    }

    pub(super) fn take_failure(&self) -> Option<StoreError> {
        self.failure.lock().take()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// How the wait for what comes is ended from another thread.
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

/// What comes is followed, and what was there is known.
pub(super) struct Joined {
    live: Live,
    told: Told,
    newest: Timestamp,
}

/// What is told of that which is there.
enum Wanted {
    Nothing,
    Last(usize),
    After(LastIds),
}

/// How the following goes on.
enum Next {
    /// What comes was faster than what is there was told: some of it has to be read, too.
    ReadAgain,
    End,
}

impl Carrier {
    /// Follows what comes from here on, so that nothing is missed.
    pub(super) fn begin(
        store: Arc<Access>,
        options: FollowOptions,
        sender: Sender<Followed>,
        shared: Arc<Shared>,
    ) -> Result<(Self, Joined), StoreError> {
        let carrier = Self {
            store,
            options,
            sender,
            shared,
            seen: LastIds::new(),
        };
        let has_past = carrier.options.last > 0 || !carrier.options.after.is_empty();
        let joined = if has_past {
            carrier.join()?
        } else {
            Joined {
                live: carrier.live()?,
                told: Told::default(),
                newest: Timestamp::MIN,
            }
        };
        Ok((carrier, joined))
    }

    /// Carries until the follower or the owner of the store ends it.
    pub(super) fn run(mut self, joined: Joined) {
        if let Err(error) = self.carry(joined)
            && !error.is_closed()
        {
            *self.shared.failure.lock() = Some(error);
        }
    }

    fn carry(&mut self, mut joined: Joined) -> Result<(), StoreError> {
        let mut wanted = self.wanted();
        loop {
            if self.tell_past(&wanted, &mut joined)?.is_break() {
                return Ok(());
            }
            let caught_up = match wanted {
                Wanted::Nothing => None,
                _ => Some(last_ids(&self.store)?.0),
            };
            match self.tell_live(&mut joined, caught_up) {
                Next::End => return Ok(()),
                Next::ReadAgain => {}
            }
            joined = self.join()?;
            let servers = joined.told.until().keys();
            let after = servers.map(|server| {
                let first = EventId::new(*server, i64::MIN, i64::MIN);
                (*server, self.seen.get(server).copied().unwrap_or(first))
            });
            wanted = Wanted::After(after.collect());
        }
    }

    fn wanted(&self) -> Wanted {
        let mut after = LastIds::new();
        for id in &self.options.after {
            let held = after.entry(id.server).or_insert(*id);
            *held = (*held).max(*id);
        }
        match self.options.last {
            _ if !after.is_empty() => Wanted::After(after),
            0 => Wanted::Nothing,
            last => Wanted::Last(last),
        }
    }

    fn join(&self) -> Result<Joined, StoreError> {
        let (before, _) = last_ids(&self.store)?;
        if self.options.persisted {
            // What was there is durable then, and comes no more.
            self.store.flush()?;
        }
        let live = self.live()?;
        let (until, newest) = last_ids(&self.store)?;
        if self.options.persisted {
            self.store.flush()?;
        }
        Ok(Joined {
            live,
            told: Told::new(before, until),
            newest,
        })
    }

    fn live(&self) -> Result<Live, StoreError> {
        let live = self.store.live(&self.options)?;
        let source = match &live {
            Live::Here(seat) => Source::Here(Arc::clone(seat)),
            Live::There(following) => {
                Source::There(following.stream().map_err(|source| StoreError::Io {
                    action: "following the owner of",
                    path: self.store.dir().to_owned(),
                    source,
                })?)
            }
        };
        *self.shared.source.lock() = Some(source);
        if self.shared.is_over() {
            self.shared.end();
        }
        Ok(live)
    }

    fn tell_past(
        &mut self,
        wanted: &Wanted,
        joined: &mut Joined,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut pieces = Pieces {
            sender: &self.sender,
            events: Vec::new(),
        };
        let shared = &self.shared;
        let past = Past {
            store: &*self.store,
            wanted: &self.options.event_types,
            persisted: self.options.persisted,
            is_over: &|| shared.is_over(),
        };
        let tell = &mut |event| pieces.add(event);
        let read = match wanted {
            Wanted::Nothing => return Ok(ControlFlow::Continue(())),
            Wanted::Last(count) => past.last(*count, &mut joined.told, joined.newest, tell)?,
            Wanted::After(ids) => past.after(ids, &mut joined.told, tell)?,
        };
        joined.told.finish();
        self.seen.extend(joined.told.until());
        Ok(if read.is_break() { read } else { pieces.send() })
    }

    /// `caught_up` are the last events that there were when all was told that had been there.
    fn tell_live(&mut self, joined: &mut Joined, caught_up: Option<LastIds>) -> Next {
        let is_behind = |event: &Event, ids: &LastIds| {
            let last = ids.get(&event.id.server);
            last.is_some_and(|last| event.id <= *last)
        };
        let mut catching_up = caught_up;
        while let Some(news) = joined.live.next() {
            let news = match news {
                Followed::Events(mut events) => {
                    catching_up =
                        catching_up.filter(|ids| events.iter().all(|event| is_behind(event, ids)));
                    events.retain(|event| joined.told.is_new(event.id));
                    for event in &events {
                        let seen = self.seen.entry(event.id.server).or_insert(event.id);
                        *seen = event.id.max(*seen);
                    }
                    if events.is_empty() {
                        continue;
                    }
                    Followed::Events(events)
                }
                Followed::Lost(_) if catching_up.is_some() => return Next::ReadAgain,
                lost => lost,
            };
            if self.sender.send(news).is_err() {
                return Next::End;
            }
        }
        Next::End
    }
}

/// Gathers what is told of that which is there to pieces as they come live.
struct Pieces<'a> {
    sender: &'a Sender<Followed>,
    events: Vec<Arc<Event>>,
}

impl Pieces<'_> {
    fn add(&mut self, event: Arc<Event>) -> ControlFlow<()> {
        self.events.push(event);
        if self.events.len() < PIECE {
            return ControlFlow::Continue(());
        }
        self.send()
    }

    fn send(&mut self) -> ControlFlow<()> {
        if self.events.is_empty() {
            return ControlFlow::Continue(());
        }
        let piece = std::mem::take(&mut self.events);
        match self.sender.send(Followed::Events(piece)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// The last event of each server, and the highest timestamp.
fn last_ids(store: &Access) -> Result<(HashMap<i64, EventId>, Timestamp), StoreError> {
    let servers = store.stats()?.servers;
    let newest = servers.iter().map(|server| server.last_timestamp).max();
    let ids = servers
        .iter()
        .map(|server| (server.server, server.last_event_id));
    Ok((ids.collect(), newest.unwrap_or(Timestamp::MIN)))
}

const PIECE: usize = 256;
