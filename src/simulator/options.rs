//! What a simulated rig is started with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::rpc::{RpcError, RpcOptions, RpcService};
use crate::simulator::script::Script;
use crate::simulator::version::SimulatedVersion;

/// The settings of a simulated rig.
///
/// # Examples
/// ```
/// use acqbus::rpc::RpcOptions;
/// use acqbus::simulator::SimulatorOptions;
///
/// let options = SimulatorOptions::default().rpc(RpcOptions::default().any_port()).rate(20.0).seed(7);
/// assert_eq!(options.seed, 7);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimulatorOptions {
    /// Ports, addresses, keys, heartbeats. Dialect and version are set by [`version`](Self::version). Defaults to those of a service.
    pub rpc: RpcOptions,
    /// The version of the reference that the rig speaks like. Defaults to 0.12.0.
    pub version: SimulatedVersion,
    /// Events and property changes a second, on average. Defaults to 1; 0 publishes none by itself.
    pub rate: f64,
    /// The seed of everything that looks like chance. Defaults to 0.
    pub seed: u64,
    /// What happens at which time, faults included. Defaults to nothing.
    pub script: Script,
    /// When the rig stops by itself. Defaults to `None`, never.
    pub duration: Option<Duration>,
    /// Called with each service of the rig before it starts: the first one, and those after restarts. Defaults to nothing.
    pub prepare: Option<Prepare>,
}

/// Looks at a service before it starts, to record it for example; an error keeps it from starting.
#[derive(Clone)]
pub struct Prepare(Arc<Preparing>);

type Preparing = dyn Fn(&RpcService) -> Result<(), RpcError> + Send + Sync;

impl Prepare {
    pub(crate) fn call(&self, service: &RpcService) -> Result<(), RpcError> {
        (self.0)(service)
    }
}

impl fmt::Debug for Prepare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepare(..)")
    }
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            rpc: RpcOptions::default(),
            version: SimulatedVersion::default(),
            rate: 1.0,
            seed: 0,
            script: Script::default(),
            duration: None,
            prepare: None,
        }
    }
}

impl SimulatorOptions {
    /// Sets [`rpc`](Self::rpc).
    #[must_use]
    pub fn rpc(mut self, rpc: RpcOptions) -> Self {
        self.rpc = rpc;
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn version(mut self, version: SimulatedVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets [`rate`](Self::rate).
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets [`script`](Self::script).
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Sets [`duration`](Self::duration).
    #[must_use]
    pub fn duration(mut self, duration: impl Into<Option<Duration>>) -> Self {
        self.duration = duration.into();
        self
    }

    /// Sets [`prepare`](Self::prepare).
    #[must_use]
    pub fn prepare(
        mut self,
        prepare: impl Fn(&RpcService) -> Result<(), RpcError> + Send + Sync + 'static,
    ) -> Self {
        self.prepare = Some(Prepare(Arc::new(prepare)));
        self
    }
}
