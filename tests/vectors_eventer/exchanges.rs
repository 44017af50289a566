//! Recorded conversations: both ends write the same bytes, and read them.

use std::collections::VecDeque;
use std::time::Instant;

use acqbus::event::{
    Event, EventId, EventType, Order, OrderBy, Payload, QueryParams, RegisterEvent, Status,
    Timestamp,
};
use acqbus::eventer::chatter::{Chatter, ChatterOptions, Conversation, Frame};
use acqbus::eventer::message::{InitReq, Message};
use serde_json::{Value, json};

use crate::Report;
use crate::common::{items, text, unhex};
use crate::frames::{frame, payload};

pub(crate) fn run_exchanges(vectors: &Value, report: &mut Report) {
    for case in items(vectors, "cases") {
        for connection in items(case, "connections") {
            report.ran();
            let name = format!("{}, {}", text(case, "name"), connection["client_name"]);
            let frames = items(connection, "frames");
            for recorded in frames {
                check_frame(&name, recorded, report);
            }
            replay(&name, frames, report);
        }
    }
}

/// Frame and content on their own.
fn check_frame(name: &str, recorded: &Value, report: &mut Report) {
    let name = format!("{name}: {recorded}");
    let bytes = unhex(text(recorded, "frame"));
    let read = match Frame::decode(payload(&bytes)) {
        Ok(read) => read,
        Err(error) => return report.wrong(&name, &error.to_string()),
    };
    let expected = frame(&recorded["chatter"], text(recorded, "type"), read.data);
    report.check(&name, read, expected);
    let Some(value) = recorded.get("value") else {
        return;
    };
    match Message::decode(read.kind, read.data) {
        Ok(message) => {
            report.check(&name, message.kind(), read.kind);
            report.check(&name, &generic(&message), value);
            let mut data = Vec::new();
            message.encode(&mut data);
            report.check(&name, &data[..], read.data);
        }
        Err(error) => report.wrong(&name, &error.to_string()),
    }
}

/// The same conversation between two of our ends; pings are answered by themselves.
fn replay(name: &str, frames: &[Value], report: &mut Report) {
    let now = Instant::now();
    let mut ends = [(); 2].map(|()| Chatter::new(ChatterOptions::default(), now));
    let mut pongs = VecDeque::new();
    for recorded in frames {
        let name = format!("{name}: {recorded}");
        let bytes = unhex(text(recorded, "frame"));
        let read = Frame::decode(payload(&bytes)).expect("it was read before");
        let (sender, receiver) = match text(recorded, "dir") {
            "c2s" => (0, 1),
            _ => (1, 0),
        };
        let mut written = Vec::new();
        if read.kind == "HatChatter.Pong" {
            written = pongs.pop_front().unwrap_or_default();
        } else if read.owner && read.first == read.id {
            let begun = ends[sender].begin(read.kind, read.data, read.last, &mut written);
            report.check(&name, begun.expect("it fits").first, read.id);
        } else {
            let conversation = Conversation {
                first: read.first,
                owner: read.owner,
            };
            ends[sender]
                .reply(conversation, read.kind, read.data, read.last, &mut written)
                .expect("it fits");
        }
        report.check(&name, &written, &bytes);
        let mut answer = Vec::new();
        ends[receiver].receive(&bytes, now);
        let received = ends[receiver].next(&mut answer).expect("a good frame");
        if read.kind.starts_with("HatChatter.") {
            report.check(&name, received, None);
        } else {
            let received = received.expect("it is whole");
            report.check(&name, received.kind, read.kind);
            report.check(&name, received.conversation.owner, !read.owner);
            report.check(&name, received.last, read.last);
        }
        if !answer.is_empty() {
            pongs.push_back(answer);
        }
    }
    report.check(name, pongs.len(), 0);
}

/// A message as a generic value of the recording.
fn generic(message: &Message) -> Value {
    match message {
        Message::InitReq(request) => init_req(request),
        Message::InitRes(Ok(value)) => json!({"choice": "success", "value": status(*value)}),
        Message::InitRes(Err(text)) => json!({"choice": "error", "value": text}),
        Message::StatusNotify(value) => status(*value),
        Message::EventsNotify(events) => events.iter().map(|each| event(each)).collect(),
        Message::EventsAck => Value::Null,
        Message::RegisterReq(events) => events.iter().map(register_event).collect(),
        Message::RegisterRes(None) => json!({"choice": "failure", "value": null}),
        Message::RegisterRes(Some(events)) => {
            let events: Vec<_> = events.iter().map(|each| event(each)).collect();
            json!({"choice": "events", "value": events})
        }
        Message::QueryReq(params) => query(params),
        Message::QueryRes(result) => {
            let events: Vec<_> = result.events.iter().map(|each| event(each)).collect();
            json!({"events": events, "moreFollows": result.more_follows})
        }
    }
}

fn init_req(request: &InitReq) -> Value {
    json!({
        "clientName": request.client_name,
        "clientToken": optional(request.client_token.as_deref().map(Value::from)),
        "subscriptions": request.subscriptions,
        "serverId": optional(request.server_id.map(Value::from)),
        "persisted": request.persisted,
    })
}

fn status(status: Status) -> Value {
    let name = format!("{status:?}").to_lowercase();
    json!({"choice": name, "value": null})
}

fn event(event: &Event) -> Value {
    json!({
        "id": id(event.id),
        "type": event.event_type,
        "timestamp": timestamp(event.timestamp),
        "sourceTimestamp": optional(event.source_timestamp.map(timestamp)),
        "payload": optional(event.payload.as_ref().map(payload_value)),
    })
}

fn register_event(event: &RegisterEvent) -> Value {
    json!({
        "type": event.event_type,
        "sourceTimestamp": optional(event.source_timestamp.map(timestamp)),
        "payload": optional(event.payload.as_ref().map(payload_value)),
    })
}

fn query(params: &QueryParams) -> Value {
    match params {
        QueryParams::Latest(params) => json!({
            "choice": "latest",
            "value": {"eventTypes": event_types(params.event_types.as_ref())},
        }),
        QueryParams::Timeseries(params) => json!({
            "choice": "timeseries",
            "value": {
                "eventTypes": event_types(params.event_types.as_ref()),
                "tFrom": optional(params.t_from.map(timestamp)),
                "tTo": optional(params.t_to.map(timestamp)),
                "sourceTFrom": optional(params.source_t_from.map(timestamp)),
                "sourceTTo": optional(params.source_t_to.map(timestamp)),
                "order": match params.order {
                    Order::Descending => json!({"choice": "descending", "value": null}),
                    Order::Ascending => json!({"choice": "ascending", "value": null}),
                },
                "orderBy": match params.order_by {
                    OrderBy::Timestamp => json!({"choice": "timestamp", "value": null}),
                    OrderBy::SourceTimestamp => json!({"choice": "sourceTimestamp", "value": null}),
                },
                "maxResults": optional(params.max_results.map(Value::from)),
                "lastEventId": optional(params.last_event_id.map(id)),
            },
        }),
        QueryParams::Server(params) => json!({
            "choice": "server",
            "value": {
                "serverId": params.server_id,
                "persisted": params.persisted,
                "maxResults": optional(params.max_results.map(Value::from)),
                "lastEventId": optional(params.last_event_id.map(id)),
            },
        }),
    }
}

fn event_types(event_types: Option<&Vec<EventType>>) -> Value {
    optional(event_types.map(|event_types| json!(event_types)))
}

fn id(id: EventId) -> Value {
    json!({"server": id.server, "session": id.session, "instance": id.instance})
}

fn timestamp(timestamp: Timestamp) -> Value {
    json!({"s": timestamp.s(), "us": timestamp.us()})
}

fn payload_value(payload: &Payload) -> Value {
    match payload {
        Payload::Json(json) => json!({"choice": "json", "value": json.as_str()}),
        Payload::Binary(binary) => {
            let data: String = binary.data().iter().map(|b| format!("{b:02x}")).collect();
            json!({"choice": "binary", "value": {"type": binary.kind(), "data": {"hex": data}}})
        }
        other => panic!("{other:?} is no payload of the recording"),
    }
}

fn optional(value: Option<Value>) -> Value {
    match value {
        Some(value) => json!({"choice": "value", "value": value}),
        None => json!({"choice": "none", "value": null}),
    }
}
