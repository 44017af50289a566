//! The simulated client application: a rig without a rig.
//!
//! ```text
//! timeline, script ──> worker ──> rig (state) ──> service ──> subscribers
//!                        ^ results when due             │
//!                        └── delegate <── commands <────┘
//! ```
//!
//! [`Rig`], [`Timeline`] and [`Script`] are pure; [`Simulator`] gives them a service, a clock and a thread.

mod animals;
mod answer;
mod custom;
mod delegate;
mod emergency;
mod error;
mod faults;
mod happening;
mod modes;
mod news;
mod occurrence;
mod options;
mod order;
mod plant;
mod random;
mod rig;
mod scenes;
mod scenes_0_9_7;
mod script;
mod session;
mod settings;
mod shared;
mod timeline;
mod version;
mod worker;

pub use answer::{Action, Answer};
pub use error::SimulatorError;
pub use happening::Happening;
pub use occurrence::Occurrence;
pub use options::{Prepare, SimulatorOptions};
pub use rig::Rig;
pub use script::{Script, ScriptAction, ScriptStep};
pub use shared::{Observation, SimulatorStats};
pub use timeline::{Timeline, TimelineItem};
pub use version::SimulatedVersion;

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use serde_json::Value;

use crate::rpc::status::SystemStatus;
use crate::rpc::{RpcError, RpcService, Topic};
use crate::simulator::order::Order;
use crate::simulator::shared::Shared;
use crate::simulator::worker::Worker;

/// A running simulated rig.
///
/// Beside the threads of its service it has one, `acqbus-simulator`. All calls work from any thread; dropping it stops it.
///
/// # Examples
/// ```
/// use acqbus::rpc::RpcOptions;
/// use acqbus::simulator::{Simulator, SimulatorOptions};
///
/// let rpc = RpcOptions::default().any_port();
/// let rig = Simulator::start(SimulatorOptions::default().rpc(rpc).rate(0.0))?;
/// assert_ne!(rig.command_port(), 0);
/// rig.stop();
/// # Ok::<(), acqbus::simulator::SimulatorError>(())
/// ```
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    ended: Receiver<Infallible>,
    worker: Mutex<Option<JoinHandle<Result<(), RpcError>>>>,
    ports: (u16, u16),
}

impl Simulator {
    /// Binds the ports and starts the rig; the first event comes after about the gap of its rate.
    ///
    /// # Errors
    /// [`SimulatorError::Rpc`] as [`RpcService::start`]; [`SimulatorError::Thread`]. Nothing is bound then.
    pub fn start(options: SimulatorOptions) -> Result<Self, SimulatorError> {
        Self::start_shared(options, |_| ()).map(|(rig, ())| rig)
    }

    /// [`start`](Self::start) and [`watch`](Self::watch) in one.
    ///
    /// The watcher misses nothing of the beginning.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_watched(
        options: SimulatorOptions,
        capacity: usize,
    ) -> Result<(Self, Receiver<Observation>), SimulatorError> {
        Self::start_shared(options, |shared| shared.watch(capacity))
    }

    fn start_shared<T>(
        options: SimulatorOptions,
        before: impl FnOnce(&Shared) -> T,
    ) -> Result<(Self, T), SimulatorError> {
        let version = options.version;
        let rpc = options
            .rpc
            .dialect(version.dialect())
            .version(version.as_str());
        let shared = Arc::new(Shared::new(version));
        let prepared = before(&shared);
        let (orders, order_receiver) = bounded(PENDING_CAPACITY);
        let line = worker::start(&shared, rpc.clone(), options.prepare.as_ref(), &orders)?;
        let ports = (line.service.subscriber_port(), line.service.command_port());
        shared.open(line);

        let (ended_sender, ended) = bounded(0);
        let mut timeline = Timeline::new(version, options.rate, options.seed);
        let worker = Worker {
            shared: Arc::clone(&shared),
            options: rpc.ports(ports.0, ports.1),
            next: timeline.next(),
            timeline,
            script: options.script.steps().iter().cloned().collect(),
            started: Instant::now(),
            duration: options.duration,
            prepare: options.prepare,
            orders: order_receiver,
            order_sender: orders.clone(),
            results: Vec::new(),
            silent_until: None,
            restart_at: None,
            is_late: false,
        };
        let work = move || {
            let _ended: Sender<Infallible> = ended_sender;
            worker.run()
        };
        let worker = match thread::Builder::new().name(THREAD.to_owned()).spawn(work) {
            Ok(worker) => worker,
            Err(source) => {
                shared.close();
                return Err(SimulatorError::Thread {
                    name: THREAD,
                    source,
                });
            }
        };
        let rig = Self {
            shared,
            orders,
            ended,
            worker: Mutex::new(Some(worker)),
            ports,
        };
        Ok((rig, prepared))
    }

    /// The real TCP port of the events; the same after a restart.
    #[must_use]
    pub const fn subscriber_port(&self) -> u16 {
        self.ports.0
    }

    /// The real TCP port of the commands; the same after a restart.
    #[must_use]
    pub const fn command_port(&self) -> u16 {
        self.ports.1
    }

    /// The version that the rig speaks like.
    #[must_use]
    pub fn version(&self) -> SimulatedVersion {
        self.shared.version
    }

    /// The service of the moment; `None` between the two halves of a restart and after the end.
    #[must_use]
    pub fn service(&self) -> Option<Arc<RpcService>> {
        self.shared.service()
    }

    /// The status of the rig, as GET_STATUS of 0.12.0 answers it.
    #[must_use]
    pub fn status(&self) -> SystemStatus {
        self.shared.rig.lock().status()
    }

    /// Publishes an event now, by hand; the rig's status follows it as if it had happened.
    ///
    /// In a silence of the script it is withheld, and counted.
    ///
    /// # Errors
    /// [`SimulatorError::NotRunning`]; [`SimulatorError::Rpc`] when the service refuses it.
    pub fn publish(&self, occurrence: Occurrence) -> Result<(), SimulatorError> {
        let publisher = self.running()?.publisher();
        Ok(self.shared.tell_by_hand(Some(&publisher), occurrence)?)
    }

    /// Publishes a property change now, by hand.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_property(&self, change: Value) -> Result<(), SimulatorError> {
        let publisher = self.running()?.publisher();
        Ok(self.shared.tell_property(Some(&publisher), change)?)
    }

    /// Publishes a body as it is, on any topic.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_raw(&self, topic: Topic, body: impl Into<String>) -> Result<(), SimulatorError> {
        let publisher = self.running()?.publisher();
        Ok(self.shared.tell_raw(Some(&publisher), topic, body.into())?)
    }

    /// Everything that the rig does from now on, at most `capacity` (at least 1) observations behind.
    ///
    /// What a slow watcher misses is counted in [`SimulatorStats::unobserved`]. The channel ends with the rig.
    #[must_use]
    pub fn watch(&self, capacity: usize) -> Receiver<Observation> {
        self.shared.watch(capacity)
    }

    /// What the rig has counted since its start.
    #[must_use]
    pub fn stats(&self) -> SimulatorStats {
        self.shared.stats()
    }

    /// Blocks the calling thread until the rig ends.
    ///
    /// It ends by its duration, by [`stop`](Self::stop) from another thread, or by a failed restart.
    ///
    /// # Errors
    /// [`SimulatorError::Rpc`] when a restart of the script could not bind the ports again; told once.
    pub fn wait(&self) -> Result<(), SimulatorError> {
        // Nothing is ever sent: it ends with the thread.
        let _ = self.ended.recv();
        self.join()
    }

    /// [`wait`](Self::wait) for at most `limit`; says whether the rig has ended.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, SimulatorError> {
        if self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            return Ok(false);
        }
        self.join().map(|()| true)
    }

    /// Stops the rig.
    ///
    /// Commands that are pending fail, a blocking one ends early. A second call does nothing. Blocks until the service
    /// has delivered what is queued, within its linger, and all threads have ended.
    pub fn stop(&self) {
        // Refused when the thread has ended by itself.
        let _ = self.orders.send(Order::Stop);
        if let Err(error) = self.join() {
            log::error!("the simulated rig had ended before: {error}");
        }
    }

    fn running(&self) -> Result<Arc<RpcService>, SimulatorError> {
        self.shared.service().ok_or(SimulatorError::NotRunning)
    }

    fn join(&self) -> Result<(), SimulatorError> {
        let Some(worker) = self.worker.lock().take() else {
            return Ok(());
        };
        match worker.join() {
            Ok(ended) => Ok(ended?),
            // The panic has been printed by its thread; the service stops with the state.
            Err(_) => {
                self.shared.close();
                Err(SimulatorError::NotRunning)
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

const THREAD: &str = "acqbus-simulator";

/// Pending results that the thread has not taken yet; it takes them at once unless it restarts the service.
const PENDING_CAPACITY: usize = 1024;
