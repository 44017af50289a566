//! A published message as an event of the history, and back; bytes and values only.

use serde_json::Value;

use crate::event::{Binary, Event, EventType, Json, Payload, RegisterEvent, Timestamp};
use crate::rpc::{ApiCommand, Dialect, EventKind, Message, Topic, json};

/// The event that a message of a service becomes.
///
/// Epoch and sequence of the message are its place, whether or not they stand in its body. The types are those of the table of
/// [`recorder`](crate::relay::recorder).
///
/// # Examples
/// ```
/// use acqbus::relay::recorder::{event_of, message_of};
/// use acqbus::event::{EventId, Timestamp};
/// use acqbus::rpc::{Message, Topic};
///
/// let body = r#"{"kind": 1331, "when": 5.25, "index": 1, "context": null, "epoch": 7, "sequence": 1}"#;
/// let message = Message::decode(&Topic::EVENT.to_bytes(), body)?;
/// let event = event_of("rig-1", &message);
/// assert_eq!(event.event_type.to_string(), "rig-1/event/sessionStarted");
/// assert_eq!(event.source_timestamp, Some(Timestamp::new(5, 250_000)));
///
/// let event = event.register(EventId::new(1, 1, 1), Timestamp::new(6, 0));
/// assert_eq!(message_of(&event), Some(message));
/// # Ok::<(), acqbus::wire::DecodeError>(())
/// ```
#[must_use]
pub fn event_of(identifier: &str, message: &Message) -> RegisterEvent {
    let body = message.json(DEPTH).ok();
    let kind = kind(message, body.as_ref());
    let event_type = EventType::new([identifier, &topic_segment(message.topic), &kind]);
    RegisterEvent::new(event_type)
        .with_source_timestamp(body.as_ref().and_then(|body| when(message.topic, body)))
        .with_payload(payload(message))
}

/// The message that an event was made from, with its place; `None` for an event that was made of none.
#[must_use]
pub fn message_of(event: &Event) -> Option<Message> {
    if event.event_type.len() != 3 || is_of_engine(event) {
        return None;
    }
    let topic = topic_of_segment(event.event_type.segment(1)?)?;
    match event.payload.as_ref()? {
        Payload::Json(json) => Some(Message::of(topic, json.as_str().as_bytes().to_vec())),
        Payload::Binary(binary) => {
            let place = read_kind(binary.kind())?;
            let mut message = Message::of(topic, binary.data().to_vec());
            message.epoch = place.map(|(epoch, _)| epoch);
            message.sequence = place.map(|(_, sequence)| sequence);
            Some(message)
        }
    }
}

/// The event that says that messages are missing: type IDENTIFIER/gap.
///
/// Its payload has the members `topic` (the number), `name` (the segment), `epoch`, `first` and `count`.
#[must_use]
pub fn gap_event(
    identifier: &str,
    topic: Topic,
    epoch: Option<u64>,
    first: u64,
    count: u64,
) -> RegisterEvent {
    let payload = serde_json::json!({
        "topic": topic.number(),
        "name": topic_segment(topic),
        "epoch": epoch,
        "first": first,
        "count": count,
    });
    RegisterEvent::new(EventType::new([identifier, "gap"]))
        .with_payload(Json::from_serialize(&payload).ok().map(Payload::from))
}

/// The segment of a topic, as in the table of [`recorder`](crate::relay::recorder).
#[must_use]
pub fn topic_segment(topic: Topic) -> String {
    match topic.name() {
        Some(name) => camel(name),
        None => topic.number().to_string(),
    }
}

/// Whether an engine says this of itself, as `event/SERVER/engine`: it looks like a message of a topic by number.
fn is_of_engine(event: &Event) -> bool {
    event.event_type.segment(0) == Some("event")
        && event.event_type.segment(1) == Some(event.id.server.to_string().as_str())
}

fn topic_of_segment(segment: &str) -> Option<Topic> {
    let named = Topic::NAMED.into_iter();
    let mut named = named.filter(|topic| topic_segment(*topic) == segment);
    named
        .next()
        .or_else(|| segment.parse().ok().map(Topic::new))
}

fn kind(message: &Message, body: Option<&Value>) -> String {
    let member = |name: &str| body.and_then(|body| body.get(name));
    match message.topic {
        Topic::EVENT | Topic::EMERGENCY => member("kind").and_then(json::integer).map_or_else(
            || OTHER.to_owned(),
            |kind| EventKind::from(kind).to_string(),
        ),
        Topic::HEARTBEAT => ALIVE.to_owned(),
        Topic::COMMAND_RESULT | Topic::COMMAND_PROGRESS => {
            let Some(number) = member("command").and_then(Value::as_i64) else {
                return OTHER.to_owned();
            };
            let dialect = if message.body.first() == Some(&b'"') {
                Dialect::JsonString
            } else {
                Dialect::Plain
            };
            ApiCommand::from_number(number, dialect)
                .map_or_else(|| number.to_string(), |command| camel(command.name()))
        }
        Topic::PROPERTY_CHANGE => match member("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() && name.len() <= MAX_NAME => name.to_owned(),
            _ => form(message, body).to_owned(),
        },
        _ => form(message, body).to_owned(),
    }
}

fn form(message: &Message, body: Option<&Value>) -> &'static str {
    match body {
        Some(Value::Object(_)) => "object",
        Some(_) => "value",
        None if std::str::from_utf8(&message.body).is_ok() => "text",
        None => "bytes",
    }
}

fn when(topic: Topic, body: &Value) -> Option<Timestamp> {
    let member = match topic {
        Topic::HEARTBEAT => "timestamp",
        _ => "when",
    };
    Timestamp::from_f64(body.get(member)?.as_f64()?).ok()
}

fn payload(message: &Message) -> Payload {
    if let Ok(text) = std::str::from_utf8(&message.body)
        && place_in(message)
        && let Ok(json) = Json::new(text)
    {
        return json.into();
    }
    Binary::new(write_kind(message), message.body.as_slice()).into()
}

/// Whether the body tells the very place that the message has, or none as the message has none.
fn place_in(message: &Message) -> bool {
    let told = Message::place_of_body(&message.body);
    told == message.epoch.zip(message.sequence)
}

fn write_kind(message: &Message) -> String {
    match message.epoch.zip(message.sequence) {
        Some((epoch, sequence)) => format!("{KIND}/{epoch}/{sequence}"),
        None => KIND.to_owned(),
    }
}

/// The place that a kind tells, which may be none; `None` for a kind that is not ours.
fn read_kind(kind: &str) -> Option<Option<(u64, u64)>> {
    let rest = kind.strip_prefix(KIND)?;
    if rest.is_empty() {
        return Some(None);
    }
    let (epoch, sequence) = rest.strip_prefix('/')?.split_once('/')?;
    Some(Some((epoch.parse().ok()?, sequence.parse().ok()?)))
}

/// `SESSION_STARTED` as `sessionStarted`.
fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                upper = false;
                out.push(letter);
            }
            _ => out.push(letter.to_ascii_lowercase()),
        }
    }
    out
}

/// The kind of a payload that is a message; with a place: `acqbus.message/EPOCH/SEQUENCE`.
const KIND: &str = "acqbus.message";

const OTHER: &str = "other";
const ALIVE: &str = "alive";

/// A name of a property longer than this is none.
const MAX_NAME: usize = 128;

/// How deep a body is read for its kind and time.
const DEPTH: usize = 64;

#[cfg(test)]
mod tests;
