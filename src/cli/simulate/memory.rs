//! A rig that remembers: all that it publishes goes into a store, and its clients can ask for it.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Output, note};
use crate::cli::store::args::{Keep, open_or_create};
use crate::cli::store::claim::Claim;
use crate::relay::{BusMemory, BusRecorderOptions, BusRecorderStats};
use crate::rpc::chain;
use crate::simulator::SimulatorOptions;
use crate::store::{Backend, EngineOptions, StoreHandle};

/// The store of a rig.
pub(super) struct Memory {
    memory: Arc<BusMemory>,
    store: Arc<StoreHandle>,
    _claim: Claim,
}

impl Memory {
    pub(super) fn open(dir: &Path, keep: &Keep, server: i64) -> Result<Self, Failure> {
        let store = Arc::new(open_or_create(dir, keep)?);
        let claim = Claim::take(dir, server)?;
        let backend: Arc<dyn Backend> = Arc::<StoreHandle>::clone(&store);
        let options = EngineOptions::default().server(server);
        let memory = Arc::new(BusMemory::with_engine(backend, options)?);
        Ok(Self {
            memory,
            store,
            _claim: claim,
        })
    }

    /// The options of a rig that is recorded, its services after restarts too.
    pub(super) fn remember(&self, options: SimulatorOptions) -> SimulatorOptions {
        let rpc = self.memory.options(options.rpc.clone());
        let memory = Arc::clone(&self.memory);
        options.rpc(rpc).prepare(move |service| {
            let options = BusRecorderOptions::default().on_error(|error| {
                note(&format!(
                    "acqbus: the store takes nothing: {}",
                    chain(error)
                ));
            });
            memory.record_with(service, options)
        })
    }

    /// Writes what is left; the rig has stopped.
    pub(super) fn close(self) -> Result<BusRecorderStats, Failure> {
        self.memory.close()?;
        let stats = self.memory.stats().unwrap_or_default();
        self.store.close()?;
        if stats.lost + stats.given_up > 0 {
            let text = format!(
                "{} messages are not in the store",
                stats.lost + stats.given_up
            );
            return Err(Failure::new(Exit::Failed, text).with_hint("room on the disk"));
        }
        Ok(stats)
    }
}

/// Says how much was recorded, since the rig's last restart.
pub(super) fn tell(stats: &BusRecorderStats, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({
            "notice": "recorded",
            "messages": stats.recorded,
            "bytes": stats.bytes,
        }));
    }
    note(&format!("{} messages recorded", stats.recorded));
    Ok(())
}
