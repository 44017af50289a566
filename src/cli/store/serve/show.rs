//! What a server tells of itself and of the clients that come and go.

use std::cell::Cell;
use std::path::Path;

use serde_json::{Value, json};

use super::running::Running;
use crate::cli::exit::Failure;
use crate::cli::print::{Colour, Output, counted, harmless, note};
use crate::cli::store::show;
use crate::event::{Event, EventType, Payload};
use crate::eventer::{ServerStats, SyncState};

pub(super) struct Show {
    out: Output,
    number: i64,
    server_id: String,
    /// That are there.
    clients: Cell<u64>,
}

impl Show {
    pub(super) fn new(out: Output, server_id: i64) -> Self {
        Self {
            out,
            number: server_id,
            server_id: server_id.to_string(),
            clients: Cell::new(0),
        }
    }

    pub(super) fn started(&self, dir: &Path, running: &Running) -> Result<(), Failure> {
        let address = running.server().local_addr();
        let status = show::status(running.server().status());
        if self.out.is_json() {
            return self.out.object(&json!({
                "notice": "started",
                "store": dir,
                "inUse": !running.is_owner(),
                "address": address.to_string(),
                "serverId": self.number,
                "status": status,
            }));
        }
        let place = harmless(&dir.display().to_string());
        let shared = if running.is_owner() {
            ""
        } else {
            ", which another program has open,"
        };
        self.out.line(&format!(
            "serving {place}{shared} at {address} as server {}, {status}, until Ctrl-C",
            self.server_id
        ))
    }

    /// Tells of a client, if the event says that one has come or gone.
    pub(super) fn event(&self, event: &Event, running: &Running) -> Result<(), Failure> {
        if self.is_taking_over(event, running) {
            return self.say(
                &json!({"notice": "status", "status": "operational"}),
                "the other server has gone: operational now",
            );
        }
        let Some((name, has_come)) = self.client(event) else {
            return Ok(());
        };
        let count = match (self.clients.get(), has_come) {
            (count, true) => count + 1,
            (count, false) => count.saturating_sub(1),
        };
        self.clients.set(count);
        let clients = running.server().clients();
        // One that has gone already cannot be asked any more.
        let from = clients.iter().find(|client| client.name == name);
        let from = from.filter(|_| has_come).map(|client| client.address);
        if self.out.is_json() {
            return self.out.object(&json!({
                "notice": if has_come { "connected" } else { "disconnected" },
                "client": name,
                "address": from.map(|from| from.to_string()),
                "clients": count,
            }));
        }
        let place = from.map_or_else(String::new, |from| format!(" from {from}"));
        let verb = if has_come { "has come" } else { "has gone" };
        let name = self.out.paint(Colour::Name, &harmless(name));
        self.out.line(&format!(
            "{} {name}{place} {verb}, {} now",
            show::time(event.timestamp),
            counted(count, "client")
        ))
    }

    /// Tells how far it is with the events of the other server.
    pub(super) fn state(&self, state: SyncState) -> Result<(), Failure> {
        let (name, text, count) = match state {
            SyncState::Disconnected => ("disconnected", "the other server cannot be reached", None),
            SyncState::Connected => ("connected", "connected to the other server", None),
            SyncState::Syncing => ("syncing", "reading what is missing", None),
            SyncState::Synced { count } => ("synced", "in step with the other server", Some(count)),
        };
        let missing = count.map_or_else(String::new, |count| {
            format!("; {} had been missing", show::events(count))
        });
        let object = json!({"notice": "sync", "state": name, "count": count});
        self.say(&object, &format!("{text}{missing}"))
    }

    fn say(&self, object: &Value, text: &str) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.object(object);
        }
        self.out.line(&self.out.paint(Colour::Notice, text))
    }

    /// An engine starts later than the server where that has stood by.
    fn is_taking_over(&self, event: &Event, running: &Running) -> bool {
        let starts = EventType::new(["event", &self.server_id, "engine"]);
        running.is_standby()
            && event.event_type == starts
            && matches!(&event.payload, Some(Payload::Json(json)) if json.as_str() == "\"STARTED\"")
    }

    pub(super) fn ended(&self, stats: &ServerStats) -> Result<(), Failure> {
        if self.out.is_json() {
            let mut object = json!({"notice": "end"});
            let figures = serde_json::to_value(stats).map_err(std::io::Error::from)?;
            if let (Some(object), Some(figures)) = (object.as_object_mut(), figures.as_object()) {
                object.extend(figures.clone());
            }
            return self.out.object(&object);
        }
        note(&format!(
            "-- {}, {}, {} registered, {}",
            counted(stats.connections, "connection"),
            counted(stats.requests, "request"),
            show::events(stats.events),
            counted(stats.notified, "notification"),
        ));
        Ok(())
    }

    /// The name of a client, and whether it has come.
    fn client<'a>(&self, event: &'a Event) -> Option<(&'a str, bool)> {
        let mut segments = event.event_type.segments();
        let of_server = segments.next()? == "event"
            && segments.next()? == self.server_id
            && segments.next()? == "eventer";
        let name = segments.next().filter(|_| of_server)?;
        let Some(Payload::Json(json)) = &event.payload else {
            return None;
        };
        match json.as_str() {
            "\"CONNECTED\"" => Some((name, true)),
            "\"DISCONNECTED\"" => Some((name, false)),
            _ => None,
        }
    }
}
