//! Plays a recorded scenario against a backend of ours: what it answers, and what it calls back when.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex};

use acqbus::event::{Event, EventId, Events, OrderBy, QueryParams, QueryResult, Timestamp};
use acqbus::store::{Backend, Callbacks, StoreConfig, StoreError};
use serde_json::Value;

use crate::common::{items, text};
use crate::{Difference, Report};

/// A store that a scenario opens, cleans up, closes and loses; what a backend has beyond the trait.
pub(crate) trait Subject {
    /// Opens what the last [`open`](Self::open) left; `now` is the clock of the cleanup at open.
    fn open(
        &mut self,
        config: StoreConfig,
        now: Timestamp,
        callbacks: Callbacks,
    ) -> Result<Arc<dyn Backend>, StoreError>;

    /// Cleans up by a clock until nothing more goes.
    fn cleanup(&mut self, now: Timestamp);

    /// Loses what is not flushed.
    fn crash(&mut self);

    /// Why an answer of ours that is not the recorded one is right all the same; `None` if it is wrong.
    fn difference(&self, odd: &Odd<'_>) -> Option<Difference>;
}

/// An answer of ours that is not the recorded one.
#[derive(Debug)]
pub(crate) struct Odd<'a> {
    pub(crate) question: Question<'a>,
    pub(crate) ours: Answer,
    pub(crate) peers: Answer,
    /// What was registered so far, in its order.
    pub(crate) registered: &'a [Arc<Event>],
}

impl Odd<'_> {
    /// A registered event; of several with one id the last.
    pub(crate) fn event(&self, id: EventId) -> Option<&Arc<Event>> {
        self.registered.iter().rev().find(|event| event.id == id)
    }

    /// Whether events of several servers were registered.
    pub(crate) fn is_of_several_servers(&self) -> bool {
        let mut servers = self.registered.iter().map(|event| event.id.server);
        let first = servers.next();
        servers.any(|server| Some(server) != first)
    }

    /// The timestamp that sorts an event in the answer to a query of a time series.
    pub(crate) fn time(&self, event: &Event) -> Option<Timestamp> {
        match self.question {
            Question::Query(QueryParams::Timeseries(params)) => match params.order_by {
                OrderBy::Timestamp => Some(event.timestamp),
                OrderBy::SourceTimestamp => event.source_timestamp,
            },
            _ => None,
        }
    }

    /// The timestamps that sort the events of an answer.
    pub(crate) fn times(&self, answer: &Answer) -> Vec<Option<Timestamp>> {
        let Answer::Events { ids, .. } = answer else {
            return Vec::new();
        };
        let events = ids.iter().map(|id| self.event(*id));
        events.map(|event| self.time(event?)).collect()
    }
}

#[derive(Debug)]
pub(crate) enum Question<'a> {
    LastEventId,
    Query(&'a QueryParams),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Error,
    Id(EventId),
    Events {
        ids: Vec<EventId>,
        more_follows: bool,
    },
}

/// Plays every scenario of a file, each against a subject of its own.
pub(crate) fn run(vectors: &Value, report: &mut Report, make: impl Fn() -> Box<dyn Subject>) {
    for case in items(vectors, "cases") {
        report.ran();
        let mut player = Player {
            name: text(case, "name"),
            subject: make(),
            backend: None,
            calls: Arc::default(),
            later: Vec::new(),
            registered: Vec::new(),
        };
        for (number, step) in items(case, "steps").iter().enumerate() {
            player.step(number, step, report);
        }
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// The name of a callback and the events that it was called with.
type Call = (&'static str, Vec<EventId>);

struct Player<'a> {
    name: &'a str,
    subject: Box<dyn Subject>,
    backend: Option<Arc<dyn Backend>>,
    calls: Calls,
    /// Recorded calls of `flushed` within a query by source timestamp: the peer flushes for it, we need not. They come with
    /// the next flush.
    later: Vec<Call>,
    registered: Vec<Arc<Event>>,
}

impl Player<'_> {
    fn step(&mut self, number: usize, step: &Value, report: &mut Report) {
        let case = format!("{} step {number} {}", self.name, step["op"]);
        match text(step, "op") {
            "open" => self.open(step),
            "register" => {
                let events: Events = read::<Vec<Arc<Event>>>(&step["events"]).into();
                let returned = self.backend().register(Arc::clone(&events)).unwrap();
                report.check(&case, ids(&returned), read(&step["returned"]));
                self.registered.extend(events.iter().cloned());
            }
            "query" => {
                let params = read(&step["params"]);
                let ours = self.backend().query(&params);
                self.compare_events(&case, &ours, report);
                let ours = answer(&params, ours);
                self.compare(&case, Question::Query(&params), ours, step, report);
            }
            "get_last_event_id" => {
                let server = step["server_id"].as_i64().unwrap();
                let ours = self.backend().last_event_id(server);
                let ours = ours.map_or(Answer::Error, Answer::Id);
                self.compare(&case, Question::LastEventId, ours, step, report);
            }
            "flush" => self.backend().flush().unwrap(),
            "cleanup" => self.subject.cleanup(read(&step["now"])),
            "close" => {
                self.backend().close().unwrap();
                self.backend = None;
            }
            "crash" => {
                self.backend = None;
                self.subject.crash();
            }
            other => report.wrong(&case, &format!("no such step {other}")),
        }
        self.compare_calls(&case, step, report);
    }

    fn open(&mut self, step: &Value) {
        let config = match step.get("conf") {
            Some(conf) => StoreConfig::from_json(&conf.to_string()).unwrap(),
            None => StoreConfig::default(),
        };
        let call = |name: &'static str| {
            let calls = Arc::clone(&self.calls);
            move |events: &Events| calls.lock().unwrap().push((name, ids(events)))
        };
        let callbacks = Callbacks::default()
            .registered(call("registered"))
            .flushed(call("flushed"));
        let opened = self.subject.open(config, read(&step["now"]), callbacks);
        self.backend = Some(opened.unwrap());
    }

    fn backend(&self) -> &Arc<dyn Backend> {
        self.backend.as_ref().expect("the scenario opened it")
    }

    /// What comes back is what was registered, the whole of it.
    fn compare_events(
        &self,
        case: &str,
        result: &Result<QueryResult, StoreError>,
        report: &mut Report,
    ) {
        let mut by_id: HashMap<EventId, Vec<&Event>> = HashMap::new();
        for event in &self.registered {
            by_id.entry(event.id).or_default().push(event);
        }
        for event in result.iter().flat_map(|result| &result.events) {
            let known = by_id.get(&event.id).map_or(&[][..], Vec::as_slice);
            if !known.contains(&&**event) {
                report.wrong(case, &format!("{event:?} was never registered"));
            }
        }
    }

    fn compare(
        &self,
        case: &str,
        question: Question<'_>,
        ours: Answer,
        step: &Value,
        report: &mut Report,
    ) {
        let peers = match (&question, step.get("error")) {
            (_, Some(_)) => Answer::Error,
            (Question::LastEventId, None) => Answer::Id(read(&step["result"])),
            (Question::Query(_), None) => Answer::Events {
                ids: read(&step["result"]["event_ids"]),
                more_follows: step["result"]["more_follows"].as_bool().unwrap(),
            },
        };
        if ours == peers {
            return;
        }
        let odd = Odd {
            question,
            ours,
            peers,
            registered: &self.registered,
        };
        match self.subject.difference(&odd) {
            Some(difference) => report.differs(case, difference),
            None => report.wrong(case, &format!("{:#?}", WithoutEvents(&odd))),
        }
    }

    fn compare_calls(&mut self, case: &str, step: &Value, report: &mut Report) {
        let ours = mem::take(&mut *self.calls.lock().unwrap());
        let mut peers: Vec<Call> = items(step, "callbacks").iter().map(call).collect();
        let is_query = step["op"] == "query";
        if is_query && ours.is_empty() && !peers.is_empty() {
            report.differs(case, Difference::SourceQueryFlushes);
            self.later.append(&mut peers);
        }
        if matches!(text(step, "op"), "flush" | "close") {
            peers.splice(0..0, self.later.drain(..));
        }
        report.check(&format!("{case}: callbacks"), ours, peers);
    }
}

/// The order of an answer to a query of the latest events means nothing; it was recorded by id.
fn answer(params: &QueryParams, result: Result<QueryResult, StoreError>) -> Answer {
    let Ok(result) = result else {
        return Answer::Error;
    };
    let mut ids = ids(&result.events);
    if matches!(params, QueryParams::Latest(_)) {
        ids.sort();
    }
    Answer::Events {
        ids,
        more_follows: result.more_follows,
    }
}

fn ids(events: &[Arc<Event>]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

fn call(recorded: &Value) -> Call {
    let name = match recorded[0].as_str() {
        Some("registered") => "registered",
        Some("flushed") => "flushed",
        _ => panic!("no callback: {recorded}"),
    };
    (name, read(&recorded[1]))
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// A scenario has thousands of events.
struct WithoutEvents<'a>(&'a Odd<'a>);

impl std::fmt::Debug for WithoutEvents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let odd = self.0;
        write!(
            f,
            "{:?}\n     ours {:?}\n    peers {:?}",
            odd.question, odd.ours, odd.peers
        )
    }
}
