//! Conditions, and the memory backend as it is meant to be and as it is published.

use std::sync::Arc;

use acqbus::event::{Event, EventId, EventType, OrderBy, Payload, QueryParams, Timestamp};
use acqbus::store::{Backend, Callbacks, Conditions, MemoryBackend, StoreConfig, StoreError};
use serde_json::{Value, json};

use crate::common::items;
use crate::scenario::{self, Answer, Odd, Question, Subject, read};
use crate::{Difference, Report};

pub(crate) fn run_conditions(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let config = json!({"conditions": case["conditions"]});
        let config = StoreConfig::from_json(&config.to_string()).unwrap();
        let id = EventId {
            server: 1,
            session: 1,
            instance: 1,
        };
        let event_type: EventType = read(&case["type"]);
        let mut event = Event::new(id, event_type, Timestamp::new(0, 0));
        event.payload = read::<Option<Payload>>(&case["payload"]);
        let passes = Conditions::new(config.conditions).passes(&event);
        let name = format!("conditions {number} {case}");
        report.check(&name, Some(passes), case["match"].as_bool());
    }
}

pub(crate) fn run_memory_repaired(vectors: &Value, report: &mut Report) {
    scenario::run(vectors, report, || Box::new(Memory { as_shipped: false }));
}

pub(crate) fn run_memory_shipped(vectors: &Value, report: &mut Report) {
    scenario::run(vectors, report, || Box::new(Memory { as_shipped: true }));
}

struct Memory {
    as_shipped: bool,
}

impl Subject for Memory {
    fn open(
        &mut self,
        _config: StoreConfig,
        _now: Timestamp,
        callbacks: Callbacks,
    ) -> Result<Arc<dyn Backend>, StoreError> {
        Ok(Arc::new(MemoryBackend::new(callbacks)))
    }

    fn cleanup(&mut self, _now: Timestamp) {}

    fn crash(&mut self) {}

    fn difference(&self, odd: &Odd<'_>) -> Option<Difference> {
        if self.as_shipped && odd.peers == Answer::Error {
            return Some(Difference::MemoryAnswers);
        }
        let Question::Query(params) = odd.question else {
            return None;
        };
        match params {
            QueryParams::Timeseries(params) => {
                let time = |id: &EventId| {
                    let event = odd.registered.iter().find(|event| event.id == *id);
                    event.and_then(|event| match params.order_by {
                        OrderBy::Timestamp => Some(event.timestamp),
                        _ => event.source_timestamp,
                    })
                };
                let servers = odd.registered.iter().map(|event| event.id.server);
                let is_mixed = servers.clone().min() != servers.max();
                let times = |answer: &Answer| match answer {
                    Answer::Events { ids, .. } => ids.iter().map(time).collect(),
                    _ => Vec::new(),
                };
                // The peer's order of equal timestamps is the one that its sort happens to leave; what a page begins after
                // or ends with is then another event too.
                if is_mixed && times(&odd.ours) == times(&odd.peers) {
                    return Some(Difference::TiesOfServers);
                }
                None
            }
            _ => None,
        }
    }
}
