//! Sessions of the engine with scripted modules: who is called when, and what reaches the backend.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use acqbus::event::{
    Event, EventId, EventType, Events, Json, Payload, QueryParams, RegisterEvent, Subscription,
    Timestamp,
};
use acqbus::store::{Backend, Engine, EngineOptions, Module, Source, SourceKind, StoreError};
use serde_json::{Value, json};

use crate::Report;
use crate::common::items;
use crate::scenario::read;

pub(crate) fn run_engine(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("engine {number}");
        let log = Log::default();
        let backend = Arc::new(Scripted {
            last: read(&case["initial_last_event_id"]),
            log: Arc::clone(&log),
            registered: Mutex::default(),
        });
        let mut us = 0;
        let mut options = EngineOptions::default()
            .server(case["server_id"].as_i64().unwrap())
            .clock(move || {
                us += 1000;
                Timestamp::new(1_700_000_000, us)
            });
        for (index, module) in items(case, "modules").iter().enumerate() {
            options = options.module(Emitter {
                index,
                subscription: Subscription::new(read::<Vec<EventType>>(&module["subscriptions"]))
                    .unwrap(),
                emit: read(&module["emit"]),
                log: Arc::clone(&log),
            });
        }
        let engine = Engine::start(backend.clone(), options).unwrap();
        for call in items(case, "register_calls") {
            let events = engine
                .register(source(&call["source"]), read(&call["events"]))
                .unwrap();
            let ids: Vec<_> = events.iter().map(|event| event.id).collect();
            report.check(&name, ids, read(&call["result"]));
        }
        engine.close().unwrap();
        let registered = backend.registered.lock().unwrap().clone();
        let theirs: Vec<Vec<Event>> = read(&case["backend_register"]);
        report.check(&name, registered, theirs);
        let log = log.lock().unwrap().clone();
        report.check(&name, log, items(case, "log").to_vec());
    }
}

type Log = Arc<Mutex<Vec<Value>>>;

/// Emits events of listed types for an event type, with its index and the id of the processed event.
struct Emitter {
    index: usize,
    subscription: Subscription,
    emit: HashMap<String, Vec<EventType>>,
    log: Log,
}

impl Module for Emitter {
    fn subscription(&self) -> Subscription {
        self.subscription.clone()
    }

    fn on_session_start(&mut self, session: i64) {
        let line = json!(["start", self.index, session]);
        self.log.lock().unwrap().push(line);
    }

    fn process(&mut self, source: Source, event: &Event) -> Vec<RegisterEvent> {
        let line = json!(["process", self.index, source_value(source), event.id]);
        self.log.lock().unwrap().push(line);
        let payload = Json::from_serialize(&(self.index, event.id)).unwrap();
        let types = self.emit.get(&event.event_type.to_string());
        types
            .into_iter()
            .flatten()
            .map(|event_type| {
                RegisterEvent::new(event_type.clone())
                    .with_source_timestamp(event.source_timestamp)
                    .with_payload(Payload::Json(payload.clone()))
            })
            .collect()
    }

    fn on_session_stop(&mut self, session: i64) {
        let line = json!(["stop", self.index, session]);
        self.log.lock().unwrap().push(line);
    }
}

/// Has a last event, and writes down what comes.
#[derive(Debug)]
struct Scripted {
    last: EventId,
    log: Log,
    registered: Mutex<Vec<Vec<Event>>>,
}

impl Backend for Scripted {
    fn last_event_id(&self, _server: i64) -> Result<EventId, StoreError> {
        Ok(self.last)
    }

    fn last_timestamp(&self, _server: i64) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        self.log.lock().unwrap().push(json!(["backend", ids]));
        let copies = events.iter().map(|event| Event::clone(event)).collect();
        self.registered.lock().unwrap().push(copies);
        Ok(events)
    }

    fn visit(
        &self,
        _params: &QueryParams,
        _visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn reserve_sessions(&self, _server: i64, _last: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn session_floor(&self, _server: i64) -> Result<i64, StoreError> {
        Ok(self.last.session)
    }
}

fn source(recorded: &Value) -> Source {
    let kind = match recorded[0].as_str() {
        Some("EVENTER") => SourceKind::Eventer,
        Some("MODULE") => SourceKind::Module,
        Some("ENGINE") => SourceKind::Engine,
        Some("SERVER") => SourceKind::Server,
        _ => panic!("no source: {recorded}"),
    };
    let id = recorded[1].as_i64().unwrap();
    Source { kind, id }
}

fn source_value(source: Source) -> Value {
    let kind = match source.kind {
        SourceKind::Eventer => "EVENTER",
        SourceKind::Module => "MODULE",
        SourceKind::Engine => "ENGINE",
        SourceKind::Server => "SERVER",
        other => panic!("{other:?} is no source of the recording"),
    };
    json!([kind, source.id])
}
