//! The durable backend against hat-event's LMDB backend.

use std::sync::Arc;

use acqbus::event::{OrderBy, QueryParams, Timestamp};
use acqbus::store::{Backend, Callbacks, MemoryStorage, RedbBackend, StoreConfig, StoreError};
use serde_json::Value;

use crate::scenario::{self, Answer, Odd, Question, Subject};
use crate::{Difference, Report};

/// As published, but for the partition of a query, which the reference's faulty rule chooses.
pub(crate) fn run_lmdb(vectors: &Value, report: &mut Report) {
    scenario::run(vectors, report, || Box::new(Redb::default()));
}

#[derive(Default)]
struct Redb {
    storage: MemoryStorage,
    backend: Option<Arc<RedbBackend>>,
    config: StoreConfig,
}

impl Subject for Redb {
    fn open(
        &mut self,
        config: StoreConfig,
        now: Timestamp,
        callbacks: Callbacks,
    ) -> Result<Arc<dyn Backend>, StoreError> {
        let storage = Arc::new(self.storage.clone());
        let config = config.reference_partitions(true);
        let stored_config = config.clone();
        let backend = RedbBackend::open_with_clock(storage, config, callbacks, move || now)?;
        let backend = Arc::new(backend);
        self.backend = Some(Arc::clone(&backend));
        self.config = stored_config;
        Ok(backend)
    }

    fn cleanup(&mut self, now: Timestamp) {
        let backend = self.backend.as_ref().expect("it was opened");
        backend.cleanup(now).unwrap();
    }

    fn crash(&mut self) {
        self.storage = MemoryStorage::with_bytes(self.storage.to_bytes());
        // Dropped, it would flush.
        std::mem::forget(self.backend.take());
    }

    fn difference(&self, odd: &Odd<'_>) -> Option<Difference> {
        match odd.question {
            // The reference puts what is not flushed before or behind the rest, in the order of registration.
            Question::Query(params @ QueryParams::Timeseries(series))
                if series.order_by == OrderBy::Timestamp && odd.is_of_several_servers() =>
            {
                (self.once_flushed(params, odd) == odd.ours).then_some(Difference::MergedUnflushed)
            }
            // It flushed for an earlier query by source timestamp.
            Question::Query(params @ QueryParams::Server(of_server)) if of_server.persisted => {
                (self.once_flushed(params, odd) == odd.peers)
                    .then_some(Difference::SourceQueryFlushes)
            }
            _ => None,
        }
    }
}

impl Redb {
    /// The answer of a copy of the store where everything is flushed.
    fn once_flushed(&self, params: &QueryParams, odd: &Odd<'_>) -> Answer {
        let storage = Arc::new(MemoryStorage::with_bytes(self.storage.to_bytes()));
        let copy = RedbBackend::open_with_clock(
            storage,
            self.config.clone(),
            Callbacks::default(),
            || Timestamp::MIN,
        );
        let copy = copy.unwrap();
        // What it has already it does not take again.
        copy.register(odd.registered.to_vec().into()).unwrap();
        copy.flush().unwrap();
        let result = copy.query(params).unwrap();
        Answer::Events {
            ids: result.events.iter().map(|event| event.id).collect(),
            more_follows: result.more_follows,
        }
    }
}
