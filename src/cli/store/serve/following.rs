//! Follows a store that another process has open, until this one owns it.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvError, Sender, bounded, select};

use super::telling::{Kind, Teller, missed};
use crate::cli::exit::Failure;
use crate::event::EventId;
use crate::store::{FollowOptions, Followed, Follower, StoreError, StoreHandle};

/// Threads that follow, ended and joined when dropped.
pub(super) struct Following {
    running: Option<Sender<Infallible>>,
    threads: Vec<JoinHandle<()>>,
}

impl Following {
    /// Tells what comes from now on.
    pub(super) fn start(store: &Arc<StoreHandle>, teller: &Arc<Teller>) -> Result<Self, Failure> {
        let (running, ended) = bounded(0);
        let mut following = Self {
            running: Some(running),
            threads: Vec::new(),
        };
        if store.is_owner() {
            teller.owned(Kind::Registered, &[]);
            teller.owned(Kind::Flushed, &[]);
            return Ok(following);
        }
        // Of servers from which nothing has come yet, what is there already is not told.
        let there: Vec<_> = store.stats()?.servers;
        let there: Vec<_> = there.iter().map(|server| server.last_event_id).collect();
        for kind in [Kind::Registered, Kind::Flushed] {
            let follow = Follow {
                store: Arc::clone(store),
                teller: Arc::clone(teller),
                kind,
                there: there.clone(),
                ended: ended.clone(),
            };
            let follower = follow.open(Vec::new())?;
            let thread = thread::Builder::new()
                .name("acqbus-serve".to_owned())
                .spawn(move || {
                    if let Err(error) = follow.run(follower) {
                        log::error!("clients are told no more of what others register: {error}");
                    }
                })?;
            following.threads.push(thread);
        }
        Ok(following)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.running = None;
        for thread in self.threads.drain(..) {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }
}

struct Follow {
    store: Arc<StoreHandle>,
    teller: Arc<Teller>,
    kind: Kind,
    there: Vec<EventId>,
    ended: Receiver<Infallible>,
}

impl Follow {
    fn open(&self, after: Vec<EventId>) -> Result<Follower, StoreError> {
        let options = FollowOptions::default().persisted(self.kind == Kind::Flushed);
        self.store.follow(&options.after(after))
    }

    fn run(&self, mut follower: Follower) -> Result<(), StoreError> {
        loop {
            let news: Result<Followed, RecvError> = select! {
                recv(follower.news()) -> news => news,
                recv(self.ended) -> _ => return Ok(()),
            };
            match news {
                Ok(Followed::Events(events)) => self.teller.followed(self.kind, &events),
                // What found no room is in the store, and so is what the owner could not say at its end.
                Ok(Followed::Lost(_)) | Err(RecvError) => {
                    if let Some(error) = follower.failure() {
                        return Err(error);
                    }
                    let told = self.told();
                    // Another owner is found, or this process becomes it.
                    self.store.stats()?;
                    if self.store.is_owner() {
                        let missed = missed(&self.store, self.kind, &told)?;
                        self.teller.owned(self.kind, &missed);
                        return Ok(());
                    }
                    follower = self.open(told)?;
                }
            }
        }
    }

    /// Behind which events it goes on.
    fn told(&self) -> Vec<EventId> {
        let mut told = self.teller.told(self.kind);
        for id in &self.there {
            if !told.iter().any(|told| told.server == id.server) {
                told.push(*id);
            }
        }
        told
    }
}
