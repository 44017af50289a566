//! Conditions, and the memory backend as it is meant to be and as it is published.

use std::sync::Arc;

use acqbus::event::{
    Event, EventId, EventType, Payload, QueryParams, QueryServerParams, QueryTimeseriesParams,
    Timestamp,
};
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
        let id = EventId::new(1, 1, 1);
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
        match odd.question {
            Question::Query(QueryParams::Timeseries(params)) => timeseries_difference(odd, params),
            Question::Query(QueryParams::Server(params)) => server_difference(odd, params),
            _ => None,
        }
    }
}

fn timeseries_difference(odd: &Odd<'_>, params: &QueryTimeseriesParams) -> Option<Difference> {
    let last = params.last_event_id.and_then(|id| odd.event(id));
    if odd.peers == nothing() && last.is_some_and(|last| !is_wanted(last, params)) {
        return Some(Difference::AfterAnyEvent);
    }
    // A page that ends or begins among equal timestamps has other events, at the same times; how many of those that share
    // the time of the event that it begins after come before that event is another number too.
    let (mut ours, mut peers) = (odd.times(&odd.ours), odd.times(&odd.peers));
    if let Some(last) = last {
        let last = odd.time(last);
        ours.retain(|time| *time != last);
        peers.retain(|time| *time != last);
    }
    (odd.is_of_several_servers() && ours == peers).then_some(Difference::TiesOfServers)
}

fn server_difference(odd: &Odd<'_>, params: &QueryServerParams) -> Option<Difference> {
    let last = params.last_event_id?;
    if last.server != params.server_id {
        return (odd.ours == Answer::Error).then_some(Difference::OtherServer);
    }
    let of_server = odd.registered.iter().map(|event| event.id);
    let newest = of_server.filter(|id| id.server == params.server_id).max()?;
    let newest_again = match &odd.peers {
        Answer::Events { ids, more_follows } => *more_follows || *ids == [newest],
        _ => false,
    };
    let is_past = last >= newest && odd.ours == nothing() && newest_again;
    is_past.then_some(Difference::PastTheEnd)
}

fn nothing() -> Answer {
    Answer::Events {
        ids: Vec::new(),
        more_follows: false,
    }
}

/// Whether an event has a type that a query asks for and is within its bounds, told by asking for it alone.
fn is_wanted(event: &Arc<Event>, params: &QueryTimeseriesParams) -> bool {
    let alone = MemoryBackend::new(Callbacks::default());
    alone.register(vec![Arc::clone(event)].into()).unwrap();
    let mut params = params.clone();
    params.last_event_id = None;
    params.max_results = None;
    !alone.query(&params.into()).unwrap().events.is_empty()
}
