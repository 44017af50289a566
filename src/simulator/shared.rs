//! What the threads of a simulated rig share: its state, its service, its counts, who watches.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde_json::Value;

use crate::rpc::{
    CommandRequest, CommandResponse, CommandResult, Event, Publisher, RpcError, RpcService, Topic,
};
use crate::simulator::answer::Action;
use crate::simulator::faults::ResultFaults;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::rig::Rig;
use crate::simulator::script::ScriptAction;
use crate::simulator::version::SimulatedVersion;

/// Something that a simulated rig did, for whoever watches.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Observation {
    /// A command came and is answered with this result.
    Command {
        /// The command.
        request: CommandRequest,
        /// The result in the reply.
        result: CommandResult,
    },
    /// An event was published.
    Event(Occurrence),
    /// A property change was published.
    Property(Value),
    /// A body was published as it is.
    Raw {
        /// The topic.
        topic: Topic,
        /// The body.
        body: String,
    },
    /// The result of a pending command was published.
    Result {
        /// The command.
        request: CommandRequest,
        /// The result.
        response: CommandResponse,
    },
    /// A fault of the script began.
    Fault(ScriptAction),
    /// The service was started anew, with this epoch.
    Restarted {
        /// The epoch of the new service.
        epoch: Option<u64>,
    },
}

/// What a simulated rig has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimulatorStats {
    /// Commands that came.
    pub commands: u64,
    /// Events published, each counted once also when it went out on two topics.
    pub events: u64,
    /// Property changes published.
    pub properties: u64,
    /// Results of pending commands published; a doubled one counts twice.
    pub results: u64,
    /// Messages not published because of a silence or a restart.
    pub withheld: u64,
    /// Messages that the service refused.
    pub refused: u64,
    /// Commands that failed because 1,000 results were promised already.
    pub turned_away: u64,
    /// Observations that a watcher missed because it was too slow.
    pub unobserved: u64,
}

/// The state behind the threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) version: SimulatedVersion,
    pub(crate) rig: Mutex<Rig>,
    pub(crate) faults: Mutex<ResultFaults>,
    line: Mutex<Option<Line>>,
    silent: AtomicBool,
    watchers: Mutex<Vec<Sender<Observation>>>,
    promised: AtomicUsize,
    counts: Counts,
}

/// The place of a result that is promised, given back when dropped.
#[derive(Debug)]
pub(crate) struct Promise(Arc<Shared>);

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.promised.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A running service; what blocks in its delegate ends when `closing` is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) service: Arc<RpcService>,
    pub(crate) closing: Sender<Infallible>,
}

#[derive(Debug, Default)]
struct Counts {
    commands: AtomicU64,
    events: AtomicU64,
    properties: AtomicU64,
    results: AtomicU64,
    withheld: AtomicU64,
    refused: AtomicU64,
    turned_away: AtomicU64,
    unobserved: AtomicU64,
}

impl Shared {
    pub(crate) fn new(version: SimulatedVersion) -> Self {
        Self {
            version,
            rig: Mutex::new(Rig::new(version)),
            faults: Mutex::default(),
            line: Mutex::default(),
            silent: AtomicBool::new(false),
            watchers: Mutex::default(),
            promised: AtomicUsize::new(0),
            counts: Counts::default(),
        }
    }

    pub(crate) fn service(&self) -> Option<Arc<RpcService>> {
        self.line
            .lock()
            .as_ref()
            .map(|line| Arc::clone(&line.service))
    }

    pub(crate) fn open(&self, line: Line) {
        line.service
            .mute_heartbeats(self.silent.load(Ordering::Relaxed));
        *self.line.lock() = Some(line);
    }

    /// Stops the service, if there is one; the lock is not held while it waits for its delegate.
    pub(crate) fn close(&self) {
        let Some(Line { service, closing }) = self.line.lock().take() else {
            return;
        };
        drop(closing);
        service.stop();
        // The delegate holds this state, and the service the delegate.
        service.clear_delegate();
    }

    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.silent.store(is_silent, Ordering::Relaxed);
        if let Some(service) = self.service() {
            service.mute_heartbeats(is_silent);
        }
    }

    pub(crate) fn watch(&self, capacity: usize) -> Receiver<Observation> {
        let (sender, receiver) = bounded(capacity.max(1));
        self.watchers.lock().push(sender);
        receiver
    }

    /// Passes on what was done; it is made only when somebody watches.
    pub(crate) fn observe(&self, observation: impl FnOnce() -> Observation) {
        let mut watchers = self.watchers.lock();
        if watchers.is_empty() {
            return;
        }
        let observation = observation();
        watchers.retain(|watcher| match watcher.try_send(observation.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                count(&self.counts.unobserved);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    pub(crate) fn unwatch(&self) {
        self.watchers.lock().clear();
    }

    fn command(&self, request: &CommandRequest, result: CommandResult) {
        count(&self.counts.commands);
        self.observe(|| Observation::Command {
            request: request.clone(),
            result,
        });
    }

    /// Lets the rig answer a command, and publishes the events of it.
    ///
    /// State and events change in one step, here and in the next two: two threads that stop and resume the rig are told
    /// of in the order in which it was stopped and resumed.
    pub(crate) fn answer(&self, to: &Publisher, request: &CommandRequest) -> Action {
        self.answer_to(Some(to), request)
    }

    fn answer_to(&self, to: Option<&Publisher>, request: &CommandRequest) -> Action {
        let mut rig = self.rig.lock();
        let answer = rig.handle(request);
        self.command(request, answer.action.result());
        for told in answer.occurrences {
            // The command has done its work: a full queue does not undo it, and is counted.
            if let Err(error) = self.tell(to, told) {
                log::warn!(
                    "the event of {:?} was not published: {error}",
                    request.command()
                );
            }
        }
        drop(rig);
        answer.action
    }

    /// Lets something happen to the rig, and publishes it if it is news.
    pub(crate) fn happen(
        &self,
        to: Option<&Publisher>,
        occurrence: Occurrence,
    ) -> Result<(), RpcError> {
        let mut rig = self.rig.lock();
        let told = rig
            .admit(occurrence)
            .map_or(Ok(()), |told| self.tell(to, told));
        drop(rig);
        told
    }

    /// Publishes an occurrence by hand: the rig follows it, and it goes out even when it is no news.
    pub(crate) fn tell_by_hand(
        &self,
        to: Option<&Publisher>,
        occurrence: Occurrence,
    ) -> Result<(), RpcError> {
        let mut rig = self.rig.lock();
        let told = rig.admit(occurrence.clone()).unwrap_or(occurrence);
        let told = self.tell(to, told);
        drop(rig);
        told
    }

    /// A place for one more result that is promised; `None`, and counted, when too many are.
    pub(crate) fn promise(self: &Arc<Self>) -> Option<Promise> {
        let taken = self
            .promised
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |promised| {
                (promised < MAX_PROMISED).then_some(promised + 1)
            });
        if taken.is_err() {
            count(&self.counts.turned_away);
            return None;
        }
        Some(Promise(Arc::clone(self)))
    }

    /// Publishes an event that happens now; the caller holds the rig from which it comes.
    fn tell(&self, to: Option<&Publisher>, told: Occurrence) -> Result<(), RpcError> {
        let mut event = Event::now(told.kind);
        event.context.clone_from(&told.context);
        if self.version == SimulatedVersion::V0_9_7 {
            // Its applications publish maps, which have no such member.
            event.repeat = None;
        }
        self.publish(to, &self.counts.events, |publisher| {
            publisher.send_event(&event)
        })?;
        self.observe(|| Observation::Event(told));
        Ok(())
    }

    pub(crate) fn tell_property(
        &self,
        to: Option<&Publisher>,
        change: Value,
    ) -> Result<(), RpcError> {
        self.publish(to, &self.counts.properties, |publisher| {
            publisher.send_dict(Topic::PROPERTY_CHANGE, &change)
        })?;
        self.observe(|| Observation::Property(change));
        Ok(())
    }

    pub(crate) fn tell_raw(
        &self,
        to: Option<&Publisher>,
        topic: Topic,
        body: String,
    ) -> Result<(), RpcError> {
        self.publish(to, &self.counts.events, |publisher| {
            publisher.send(topic, &body)
        })?;
        self.observe(|| Observation::Raw { topic, body });
        Ok(())
    }

    /// Notes that a result went out.
    pub(crate) fn result(&self, request: &CommandRequest, response: &CommandResponse) {
        count(&self.counts.results);
        self.observe(|| Observation::Result {
            request: request.clone(),
            response: response.clone(),
        });
    }

    pub(crate) fn stats(&self) -> SimulatorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SimulatorStats {
            commands: read(&self.counts.commands),
            events: read(&self.counts.events),
            properties: read(&self.counts.properties),
            results: read(&self.counts.results),
            withheld: read(&self.counts.withheld),
            refused: read(&self.counts.refused),
            turned_away: read(&self.counts.turned_away),
            unobserved: read(&self.counts.unobserved),
        }
    }

    /// Publishes and counts; a rig without a service, or in a silence, withholds.
    fn publish(
        &self,
        to: Option<&Publisher>,
        counter: &AtomicU64,
        send: impl FnOnce(&Publisher) -> Result<(), RpcError>,
    ) -> Result<(), RpcError> {
        let Some(publisher) = to.filter(|_| !self.silent.load(Ordering::Relaxed)) else {
            count(&self.counts.withheld);
            return Ok(());
        };
        let sent = send(publisher);
        count(if sent.is_ok() {
            counter
        } else {
            &self.counts.refused
        });
        sent
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Results that may be promised at a time: each holds the data of its request, and its due time may be far off.
pub(crate) const MAX_PROMISED: usize = 1000;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::rpc::{ApiCommand, EventKind};

    #[test]
    fn a_stop_and_a_resume_are_told_in_the_order_in_which_they_happened() {
        const EACH: usize = 20_000;
        let shared = Shared::new(SimulatedVersion::V0_12_0);
        let seen = shared.watch(4 * EACH);
        thread::scope(|scope| {
            for command in [ApiCommand::EmergencyStop, ApiCommand::EmergencyResume] {
                let shared = &shared;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        shared.answer_to(None, &CommandRequest::new(command));
                    }
                });
            }
        });
        shared.unwatch();
        let mut is_stopped = false;
        let mut resumes = 0;
        for observation in seen {
            let Observation::Event(told) = observation else {
                continue;
            };
            if told.kind == EventKind::EmergencyResume {
                assert!(is_stopped, "a resume was told before the stop that it ends");
                resumes += 1;
            }
            is_stopped = told.kind == EventKind::EmergencyStop;
        }
        assert_eq!(shared.rig.lock().emergency.is_stopped, is_stopped);
        assert!(resumes > 0);
    }

    #[test]
    fn promises_have_a_bound_and_are_given_back() {
        let shared = Arc::new(Shared::new(SimulatedVersion::V0_12_0));
        let mut held: Vec<_> = (0..MAX_PROMISED)
            .map(|_| shared.promise().unwrap())
            .collect();
        assert!(shared.promise().is_none());
        assert_eq!(shared.stats().turned_away, 1);
        held.pop();
        assert!(shared.promise().is_some());
    }
}
