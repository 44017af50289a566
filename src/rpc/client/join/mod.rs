//! A subscription that begins with history: the thread that asks for it, beside the one that follows what is published.
//!
//! ```text
//! acqbus-subscriber ── notices ──> [ Join ] <── pages ── acqbus-history ── requests ──> service
//!                                     └── notices in order ──> acqbus-history ──> the reader's queue
//! ```

mod job;
mod state;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use self::state::{Join, Limits, Step};
use super::remote::RemoteClient;
use super::subscription::{Sink, Target};
use super::tracker::Tracker;
use crate::rpc::{HistoryStart, Notice, RpcError, Topic};

/// The thread that joins history to what is published now; stopped and joined when dropped.
///
/// Its end can take as long as the request that it is at: the time-out of the client.
#[derive(Debug)]
pub(crate) struct Joiner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the follower's thread puts its notices into.
#[derive(Debug)]
pub(crate) struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    join: Join,
    /// The reader wants no more.
    stopping: bool,
    /// The follower has ended.
    ended: bool,
}

impl Joiner {
    /// `target` takes the notices in their order.
    pub(crate) fn start(
        client: RemoteClient,
        start: HistoryStart,
        topics: &[Topic],
        target: Target,
    ) -> Result<(Self, Live), RpcError> {
        let options = client.options();
        let limits = Limits {
            messages: match options.recv_hwm {
                0 => UNLIMITED_MESSAGES,
                limit => limit as usize,
            },
            bytes: options.max_message_bytes,
        };
        let join = Join::new(start, topics, limits, options.fill_gaps);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                join,
                stopping: false,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let live = Live(Arc::clone(&shared));
        let working = Arc::clone(&shared);
        let name = "acqbus-history";
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || working.work(&client, &target))
            .map_err(|source| RpcError::Thread { name, source })?;
        let joiner = Self {
            shared,
            thread: Some(thread),
        };
        Ok((joiner, live))
    }

    /// How many messages did not fit the buffer while history was read, and were read from history, too.
    pub(crate) fn forgotten(&self) -> u64 {
        self.shared.state.lock().join.forgotten()
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("the thread of a history panicked; this is a defect of acqbus");
        }
    }
}

impl Shared {
    fn work(&self, client: &RemoteClient, target: &Target) {
        while let Some(step) = self.next_step() {
            match step {
                Step::Hand(notices) => {
                    if !notices.into_iter().all(|notice| target.hand_over(notice)) {
                        break;
                    }
                }
                Step::Ask(request) => {
                    let answer = client.history(&request);
                    self.state.lock().join.answered(answer);
                }
                Step::Wait => {}
            }
        }
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Blocks until there is something to do; `None` when there never will be.
    fn next_step(&self) -> Option<Step> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            match state.join.step() {
                Step::Wait if state.ended => return None,
                Step::Wait => self.changed.wait(&mut state),
                step => {
                    // There may be room again.
                    self.changed.notify_all();
                    return Some(step);
                }
            }
        }
    }
}

impl Sink for Live {
    fn heard(&mut self, tracker: &Tracker) {
        self.0.state.lock().join.heard(tracker);
        self.0.changed.notify_all();
    }

    /// Waits for room where the reader is slow, as a subscription without history does.
    fn take(&mut self, notice: Notice, tracker: &Tracker) -> bool {
        let mut state = self.0.state.lock();
        while !state.stopping && !state.join.has_room() {
            self.0.changed.wait(&mut state);
        }
        if state.stopping {
            return false;
        }
        state.join.arrive(notice, tracker);
        drop(state);
        self.0.changed.notify_all();
        true
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// The buffer of a client whose high-water mark is off.
const UNLIMITED_MESSAGES: usize = 100_000;
