//! What the threads of a simulated rig share: its state, its service, its counts, who watches.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde_json::Value;

use crate::rpc::{
    CommandRequest, CommandResponse, CommandResult, Event, Publisher, RpcError, RpcService, Topic,
};
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
    counts: Counts,
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

    pub(crate) fn command(&self, request: &CommandRequest, result: CommandResult) {
        count(&self.counts.commands);
        self.observe(|| Observation::Command {
            request: request.clone(),
            result,
        });
    }

    /// Publishes an event that happens now.
    pub(crate) fn tell(&self, to: Option<&Publisher>, told: Occurrence) -> Result<(), RpcError> {
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
