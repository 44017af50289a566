//! The later results of commands, for whoever waits for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use crate::rpc::{Message, Nonce, Response, RpcError, Topic};

use super::Notice;
use super::subscription::{Follower, Plan};

/// One subscription to results, shared by all threads that wait for one.
#[derive(Debug)]
pub(crate) struct Results {
    shared: Arc<Shared>,
    _follower: Follower,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashMap<Nonce, Sender<Arrival>>>,
    readiness: Mutex<Readiness>,
    changed: Condvar,
}

/// Whether a result that is published from now on will be seen here.
#[derive(Clone, Debug, Default)]
enum Readiness {
    #[default]
    Unconnected,
    /// The subscription is on its way, and this service does not say when it has it.
    Linked {
        since: Instant,
    },
    /// A heartbeat came back for the subscription.
    Subscribed {
        one_effect: bool,
    },
    Refused,
}

/// What arrives for one nonce.
#[derive(Debug)]
pub(crate) enum Arrival {
    Progress(Response),
    Result(Response),
    /// The service was started anew: there will be no result.
    Lost,
}

impl Results {
    pub(crate) fn open(plan: Plan) -> Result<Self, RpcError> {
        let shared = Arc::new(Shared::default());
        let sink = Arc::clone(&shared);
        let follower = Follower::start(plan, move |notice| {
            sink.take(notice);
            true
        })?;
        Ok(Self {
            shared,
            _follower: follower,
        })
    }

    /// The topics that a plan for results wants.
    pub(crate) fn topics() -> Vec<Topic> {
        vec![Topic::COMMAND_RESULT, Topic::COMMAND_PROGRESS]
    }

    /// Blocks until results will be seen, or `deadline`.
    ///
    /// A service of this crate sends a heartbeat for a new subscription, which is the proof. Others are given [`GRACE`] after
    /// the handshake, in which the subscription travels.
    pub(crate) fn ready(&self, deadline: Instant) {
        let mut readiness = self.shared.readiness.lock();
        loop {
            let until = match &*readiness {
                Readiness::Subscribed { .. } | Readiness::Refused => return,
                Readiness::Linked { since } => deadline.min(*since + GRACE),
                Readiness::Unconnected => deadline,
            };
            if Instant::now() >= until {
                return;
            }
            self.shared.changed.wait_until(&mut readiness, until);
        }
    }

    /// Whether the service is known to run no identified request twice.
    pub(crate) fn promises_one_effect(&self) -> bool {
        matches!(
            *self.shared.readiness.lock(),
            Readiness::Subscribed { one_effect: true }
        )
    }

    /// What arrives for a nonce from now on, until the returned guard is dropped.
    pub(crate) fn expect(&self, nonce: &Nonce) -> Expected {
        let (sender, arrivals) = crossbeam_channel::unbounded();
        self.shared.waiting.lock().insert(nonce.clone(), sender);
        Expected {
            arrivals,
            nonce: nonce.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A nonce for which a result is expected.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) arrivals: Receiver<Arrival>,
    nonce: Nonce,
    shared: Arc<Shared>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.shared.waiting.lock().remove(&self.nonce);
    }
}

impl Shared {
    fn take(&self, notice: Notice) {
        match notice {
            Notice::Message(message) => self.route(&message),
            Notice::Connected { epoch, .. } => {
                self.become_ready(Readiness::Subscribed {
                    one_effect: epoch.is_some(),
                });
            }
            Notice::Restarted { .. } => {
                for sender in self.waiting.lock().values() {
                    // Whoever waits has gone if this fails.
                    let _ = sender.send(Arrival::Lost);
                }
            }
            Notice::Linked => self.become_ready(Readiness::Linked {
                since: Instant::now(),
            }),
            Notice::Refused { .. } => self.become_ready(Readiness::Refused),
            Notice::Disconnected | Notice::HeartbeatLost { .. } => {
                self.become_ready(Readiness::Unconnected);
            }
            Notice::Gap { .. } => {}
        }
    }

    fn route(&self, message: &Message) {
        let Some(response) = message.command_result() else {
            return;
        };
        let waiting = self.waiting.lock();
        let Some(sender) = waiting.get(response.nonce()) else {
            return;
        };
        let arrival = if message.topic == Topic::COMMAND_PROGRESS {
            Arrival::Progress(response)
        } else {
            Arrival::Result(response)
        };
        // Whoever waits has gone if this fails.
        let _ = sender.send(arrival);
    }

    fn become_ready(&self, next: Readiness) {
        let mut readiness = self.readiness.lock();
        // A reconnection that was proven once is not doubted by a late handshake notice.
        if matches!(
            (&*readiness, &next),
            (Readiness::Subscribed { .. }, Readiness::Linked { .. })
        ) {
            return;
        }
        *readiness = next;
        self.changed.notify_all();
    }
}

/// Time for a subscription to travel to a service that does not confirm it.
const GRACE: Duration = Duration::from_millis(150);
