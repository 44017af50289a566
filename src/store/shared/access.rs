//! The way to a store: its backend where this process is the owner, its owner's socket where not, and the change between them.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::event::{Event, EventId, Events, QueryParams, Timestamp};
use crate::store::{Backend, CheckSummary, Damage, StoreError, StoreStats};

use super::carrier::Live;
use super::follower::FollowOptions;
use super::guest::{Guest, GuestError};
use super::handle::OpenOptions;
use super::owner::Owner;
use super::place;
use super::queue::QueueLimits;
use super::settings;

/// What a handle and its followers share.
pub(super) struct Access {
    dir: PathBuf,
    options: OpenOptions,
    link: RwLock<Link>,
    /// Held while the role changes, so that only one call tries.
    turn: Mutex<()>,
    /// Whether anything was written through this handle, which is durable once it is closed.
    has_written: AtomicBool,
}

#[derive(Clone, Debug)]
enum Link {
    Owner(Arc<Owner>),
    Guest(Arc<Guest>),
    Closed,
}

impl Access {
    pub(super) fn open(dir: impl AsRef<Path>, options: OpenOptions) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        let link = link(&dir, &options)?;
        Ok(Self {
            dir,
            options,
            link: RwLock::new(link),
            turn: Mutex::new(()),
            has_written: AtomicBool::new(false),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_owner(&self) -> bool {
        matches!(*self.link.read(), Link::Owner(_))
    }

    /// Follows what comes from here on.
    pub(super) fn live(&self, options: &FollowOptions) -> Result<Live, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => {
                let wanted = options.event_types.clone();
                let limits = QueueLimits::default();
                Ok(Live::Here(owner.hub.follow(
                    wanted,
                    options.persisted,
                    limits,
                )))
            }
            Link::Guest(guest) => guest
                .follow(options.event_types.clone(), options.persisted)
                .map(Live::There),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    pub(super) fn stats(&self) -> Result<StoreStats, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.stats()?),
            Link::Guest(guest) => Ok(self.read(guest.stats()?)?),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    pub(super) fn check(&self, damage: &mut dyn FnMut(Damage)) -> Result<CheckSummary, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.check(damage)?),
            Link::Guest(guest) => {
                let mut unread = None;
                let summary = guest.check(&mut |found| match self.read(found) {
                    Ok(found) => damage(found),
                    Err(error) => unread = Some(error),
                })?;
                match unread {
                    Some(error) => Err(error.into()),
                    None => Ok(self.read(summary)?),
                }
            }
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        value: serde_json::Value,
    ) -> Result<T, StoreError> {
        serde_json::from_value(value).map_err(|error| StoreError::Owner {
            path: self.dir.clone(),
            kind: super::FaultKind::Other,
            text: format!("its answer cannot be read: {error}"),
        })
    }

    /// Calls, again when the owner has gone and the role has changed.
    fn call<T>(
        &self,
        mut call: impl FnMut(&Link) -> Result<T, GuestError>,
    ) -> Result<T, StoreError> {
        let end = Instant::now() + self.options.patience;
        loop {
            let link = self.link.read().clone();
            match call(&link) {
                Ok(value) => return Ok(value),
                Err(GuestError::Failed(error)) => return Err(error),
                Err(GuestError::Gone(source)) => {
                    if Instant::now() >= end {
                        return Err(StoreError::Io {
                            action: "reaching the owner of",
                            path: self.dir.clone(),
                            source,
                        });
                    }
                    self.take_turn(&link)?;
                }
            }
        }
    }

    /// Puts another link in the place of one whose owner has gone.
    fn take_turn(&self, gone: &Link) -> Result<(), StoreError> {
        let _turn = self.turn.lock();
        let is_gone = match (&*self.link.read(), gone) {
            (Link::Guest(held), Link::Guest(gone)) => Arc::ptr_eq(held, gone),
            _ => false,
        };
        if is_gone {
            let new = link(&self.dir, &self.options)?;
            let mut held = self.link.write();
            // Closed meanwhile: it stays so.
            if !matches!(*held, Link::Closed) {
                *held = new;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("dir", &self.dir)
            .field("is_owner", &self.is_owner())
            .finish_non_exhaustive()
    }
}

impl Backend for Access {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.last_event_id(server)?),
            Link::Guest(guest) => guest.last_event_id(server),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.last_timestamp(server)?),
            Link::Guest(guest) => guest.last_timestamp(server),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        self.has_written.store(true, Ordering::Relaxed);
        self.call(|link| match link {
            Link::Owner(owner) => {
                owner.presence.look_sometimes()?;
                Ok(owner.backend.register(Arc::clone(&events))?)
            }
            Link::Guest(guest) => guest.register(&events).map(|()| Arc::clone(&events)),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.visit(params, visit)?),
            Link::Guest(guest) => guest.visit(params, visit),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => {
                owner.presence.look()?;
                Ok(owner.backend.flush()?)
            }
            Link::Guest(guest) => guest.flush(),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    /// Flushes, and gives the store free for another owner; as a guest it takes leave, and flushes only if it has written.
    fn close(&self) -> Result<(), StoreError> {
        let link = std::mem::replace(&mut *self.link.write(), Link::Closed);
        match link {
            Link::Owner(owner) => owner.close(),
            Link::Guest(_) if !self.has_written.load(Ordering::Relaxed) => Ok(()),
            Link::Guest(guest) => match guest.flush() {
                // With the owner its flush has come.
                Ok(()) | Err(GuestError::Gone(_)) => Ok(()),
                Err(GuestError::Failed(error)) => Err(error),
            },
            Link::Closed => Ok(()),
        }
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.reserve_sessions(server, last)?),
            Link::Guest(guest) => guest.reserve_sessions(server, last),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.call(|link| match link {
            Link::Owner(owner) => Ok(owner.backend.session_floor(server)?),
            Link::Guest(guest) => guest.session_floor(server),
            Link::Closed => Err(StoreError::Closed.into()),
        })
    }
}

/// Tries to own the directory, and else to reach its owner, in turns until one works.
fn link(dir: &Path, options: &OpenOptions) -> Result<Link, StoreError> {
    if !options.create && !dir.join(place::DATABASE).exists() {
        return Err(StoreError::NotFound {
            path: dir.to_owned(),
        });
    }
    let end = Instant::now() + options.patience;
    loop {
        let in_use = match own(dir, options) {
            Err(error) if error.is_in_use() => error,
            owned => return owned.map(|owner| Link::Owner(Arc::new(owner))),
        };
        match Guest::connect(dir) {
            Ok(guest) => return Ok(Link::Guest(Arc::new(guest))),
            Err(error) if !is_between_owners(&error) => {
                return Err(StoreError::Io {
                    action: "reaching the owner of",
                    path: dir.to_owned(),
                    source: error,
                });
            }
            // The lock of the database is all there is to look at, and nothing tells when it is free.
            Err(_) if Instant::now() < end => thread::sleep(BETWEEN),
            Err(_) => return Err(in_use),
        }
    }
}

fn own(dir: &Path, options: &OpenOptions) -> Result<Owner, StoreError> {
    let config = match &options.config {
        Some(config) => config.clone(),
        None => settings::read(dir)?.unwrap_or_default(),
    };
    let owner = Owner::open(dir, config, &options.callbacks)?;
    if let Some(config) = &options.config {
        settings::write(dir, config)?;
    }
    Ok(owner)
}

/// Whether the socket of an owner that comes or goes answers so.
fn is_between_owners(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

const BETWEEN: Duration = Duration::from_millis(20);
