//! The later results of commands, for whoever waits for them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::{Condvar, Mutex};

use crate::rpc::{Message, Nonce, Response, RpcError, Topic};

use super::Notice;
use super::subscription::{Follower, Plan};

/// One subscription to results, shared by all threads that wait for one.
#[derive(Debug)]
pub(crate) struct Results {
    shared: Arc<Shared>,
    follower: Follower,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashMap<Nonce, Waiting>>,
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
        let sink = Sink(Arc::clone(&shared));
        let follower = Follower::start(plan, move |notice| {
            sink.0.take(notice);
            true
        })?;
        Ok(Self { shared, follower })
    }

    /// Whether nothing will arrive any more, after an error of the socket.
    pub(crate) fn has_ended(&self) -> bool {
        self.follower.has_ended()
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
    ///
    /// # Errors
    /// [`RpcError::NonceInUse`] while another waits for the same.
    pub(crate) fn expect(&self, nonce: &Nonce) -> Result<Expected, RpcError> {
        let (sender, arrivals) = crossbeam_channel::bounded(MAX_ARRIVALS);
        match self.shared.waiting.lock().entry(nonce.clone()) {
            Entry::Occupied(_) => {
                return Err(RpcError::NonceInUse {
                    nonce: nonce.to_string(),
                });
            }
            Entry::Vacant(place) => place.insert(Waiting {
                sender,
                arrivals: arrivals.clone(),
                ended: false,
                dropped: 0,
            }),
        };
        Ok(Expected {
            arrivals,
            nonce: nonce.clone(),
            shared: Arc::clone(&self.shared),
        })
    }
}

/// Who waits for one nonce, as the follower's thread sees him.
#[derive(Debug)]
struct Waiting {
    sender: Sender<Arrival>,
    /// The other end, to take the oldest from when there is no room.
    arrivals: Receiver<Arrival>,
    /// The last word was said.
    ended: bool,
    /// Reports of progress that were dropped because nobody took them.
    dropped: u64,
}

impl Waiting {
    /// Never blocks: the oldest report of progress goes where there is no room.
    fn put(&mut self, arrival: Arrival) {
        if self.ended {
            return;
        }
        self.ended = !matches!(arrival, Arrival::Progress(_));
        let mut arrival = arrival;
        // Whoever waits has gone if the channel is disconnected.
        while let Err(TrySendError::Full(back)) = self.sender.try_send(arrival) {
            arrival = back;
            if self.arrivals.try_recv().is_ok() {
                self.dropped += 1;
            }
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
        let waiting = self.shared.waiting.lock().remove(&self.nonce);
        if let Some(dropped) = waiting
            .map(|waiting| waiting.dropped)
            .filter(|count| *count > 0)
        {
            log::warn!(
                "{dropped} reports of progress for nonce {} came faster than they were taken",
                self.nonce
            );
        }
    }
}

/// The follower's hold on those who wait; they need not wait on when it ends.
struct Sink(Arc<Shared>);

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.waiting.lock().clear();
        self.0.become_ready(Readiness::Unconnected);
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
                for waiting in self.waiting.lock().values_mut() {
                    waiting.put(Arrival::Lost);
                }
            }
            Notice::Linked => self.become_ready(Readiness::Linked {
                since: Instant::now(),
            }),
            Notice::Refused { .. } => self.become_ready(Readiness::Refused),
            Notice::Disconnected => self.become_ready(Readiness::Unconnected),
            // The link stands, and will not be reported again.
            Notice::HeartbeatLost { .. } => self.doubt(),
            // A plain subscription has none of the others.
            Notice::Gap { .. }
            | Notice::Resumed
            | Notice::Ahead { .. }
            | Notice::CutShort { .. }
            | Notice::OtherEpoch { .. }
            | Notice::NoHistory { .. } => {}
        }
    }

    fn route(&self, message: &Message) {
        let Some(response) = message.command_result() else {
            return;
        };
        let mut all = self.waiting.lock();
        let Some(waiting) = all.get_mut(response.nonce()) else {
            return;
        };
        let arrival = if message.topic == Topic::COMMAND_PROGRESS {
            Arrival::Progress(response)
        } else {
            Arrival::Result(response)
        };
        waiting.put(arrival);
    }

    /// The service is silent over a link that stands: it is as one that never said what it is.
    fn doubt(&self) {
        let mut readiness = self.readiness.lock();
        if matches!(*readiness, Readiness::Subscribed { .. }) {
            *readiness = Readiness::Linked {
                since: Instant::now(),
            };
            self.changed.notify_all();
        }
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

/// Arrivals kept for one who waits; with more, the oldest reports of progress go.
const MAX_ARRIVALS: usize = 256;

/// Time for a subscription to travel to a service that does not confirm it.
const GRACE: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rpc::CommandResult;
    use crate::rpc::client::tracker::Patience;
    use crate::zsocket::{Context, Endpoint, SocketOptions};

    fn open(context: &Context) -> Results {
        Results::open(Plan {
            context: context.clone(),
            endpoint: Endpoint::tcp("127.0.0.1", 1).unwrap(),
            options: SocketOptions::default(),
            topics: Results::topics(),
            patience: Patience {
                fixed: None,
                interval: Duration::from_secs(5),
            },
        })
        .unwrap()
    }

    fn report(results: &Results, topic: Topic, result: u16, nonce: i64) {
        let body = format!(r#"{{"result": {result}, "command": 400, "nonce": {nonce}}}"#);
        let message = Message::decode(&topic.to_bytes(), body).unwrap();
        results.shared.take(Notice::Message(message));
    }

    fn connected() -> Notice {
        Notice::Connected {
            identifier: "rig".to_owned(),
            version: "1".to_owned(),
            epoch: Some(7),
        }
    }

    #[test]
    fn result_gets_in_however_much_progress_waits() {
        let results = open(&Context::new().unwrap());
        let expected = results.expect(&Nonce::from(3)).unwrap();
        for _ in 0..10 * MAX_ARRIVALS {
            report(&results, Topic::COMMAND_PROGRESS, 201, 3);
        }
        report(&results, Topic::COMMAND_RESULT, 100, 3);
        for _ in 0..10 * MAX_ARRIVALS {
            report(&results, Topic::COMMAND_PROGRESS, 201, 3);
        }
        results.shared.take(Notice::Restarted { epoch: 8 });
        let arrived: Vec<_> = expected.arrivals.try_iter().collect();
        assert_eq!(arrived.len(), MAX_ARRIVALS);
        let Some(Arrival::Result(result)) = arrived.last() else {
            panic!("{:?}", arrived.last());
        };
        assert_eq!(result.result(), CommandResult::Success);
    }

    #[test]
    fn nonce_is_waited_for_once_at_a_time() {
        let results = open(&Context::new().unwrap());
        let first = results.expect(&Nonce::from(3)).unwrap();
        let error = results.expect(&Nonce::from(3)).unwrap_err();
        assert!(matches!(error, RpcError::NonceInUse { .. }), "{error}");
        report(&results, Topic::COMMAND_RESULT, 100, 3);
        assert!(matches!(first.arrivals.try_recv(), Ok(Arrival::Result(_))));
        drop(first);
        results.expect(&Nonce::from(3)).unwrap();
    }

    #[test]
    fn silent_service_is_still_linked() {
        let results = open(&Context::new().unwrap());
        results.shared.take(Notice::Linked);
        results.shared.take(connected());
        assert!(results.promises_one_effect());
        let silent_for = Duration::from_secs(15);
        results.shared.take(Notice::HeartbeatLost { silent_for });
        assert!(!results.promises_one_effect());
        let started = Instant::now();
        results.ready(started + Duration::from_secs(20));
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "only the grace"
        );
        results.shared.take(connected());
        assert!(results.promises_one_effect());
    }

    #[test]
    fn those_who_wait_are_released_when_the_follower_ends() {
        let context = Context::new().unwrap();
        let results = open(&context);
        assert!(!results.has_ended());
        let expected = results.expect(&Nonce::from(3)).unwrap();
        context.shutdown();
        let limit = Duration::from_secs(20);
        let released = expected.arrivals.recv_timeout(limit).unwrap_err();
        assert!(released.is_disconnected());
        let deadline = Instant::now() + limit;
        while !results.has_ended() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
