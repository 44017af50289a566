//! Published messages and replies, as a line for people or as a JSON object for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::cli::kinds::{self, Numbering};
use crate::cli::print::{Colour, Output, harmless, time_of_day};
use crate::rpc::{ApiCommand, CommandResult, Dialect, Message, Response, Topic};

/// What a message holds, read once for filtering and printing.
#[derive(Debug)]
pub(crate) struct Seen {
    message: Message,
    body: Body,
    kind: Option<i64>,
}

#[derive(Debug)]
enum Body {
    Json(Value),
    Text(String),
    Bytes(Vec<u8>),
}

impl Seen {
    /// Reads a message; a body that is no JSON is kept as it is.
    pub(crate) fn new(message: Message) -> Self {
        let body = match message.json(DEPTH) {
            Ok(value) => Body::Json(value),
            Err(_) => match String::from_utf8(message.body.clone()) {
                Ok(text) => Body::Text(text),
                Err(error) => Body::Bytes(error.into_bytes()),
            },
        };
        let of_events = matches!(message.topic, Topic::EVENT | Topic::EMERGENCY);
        let kind = match &body {
            Body::Json(value) if of_events => kinds::kind_of(value),
            _ => None,
        };
        Self {
            message,
            body,
            kind,
        }
    }

    /// The topic.
    pub(crate) const fn topic(&self) -> Topic {
        self.message.topic
    }

    /// The kind, if it is an event.
    pub(crate) const fn kind(&self) -> Option<i64> {
        self.kind
    }

    /// The object that `--json` prints.
    pub(crate) fn object(&self, numbering: Numbering) -> Value {
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(self.message.topic.to_string()));
        object.insert("number".to_owned(), json!(self.message.topic.number()));
        if let Some(kind) = self.kind {
            object.insert("kind".to_owned(), json!(numbering.name(kind)));
        }
        if let Some(epoch) = self.message.epoch {
            object.insert("epoch".to_owned(), json!(epoch));
        }
        if let Some(sequence) = self.message.sequence {
            object.insert("sequence".to_owned(), json!(sequence));
        }
        match &self.body {
            Body::Json(value) => object.insert("body".to_owned(), value.clone()),
            Body::Text(text) => object.insert("text".to_owned(), json!(text)),
            Body::Bytes(bytes) => object.insert("hex".to_owned(), json!(hex(bytes))),
        };
        Value::Object(object)
    }

    /// One line for people: when, which topic, what.
    pub(crate) fn line(&self, numbering: Numbering, out: Output) -> String {
        let topic = self.message.topic;
        let colour = if topic == Topic::EMERGENCY {
            Colour::Bad
        } else {
            Colour::Name
        };
        let time = out.paint(Colour::Faint, &time_of_day(self.when()));
        let what = match &self.body {
            Body::Json(value) => self.words(value, numbering, out),
            Body::Text(text) => out.data(text),
            Body::Bytes(bytes) => format!("{} bytes: {}", bytes.len(), hex(bytes)),
        };
        format!("{time} {} {what}", out.paint(colour, &topic.to_string()))
    }

    fn words(&self, value: &Value, numbering: Numbering, out: Output) -> String {
        if let Some(kind) = self.kind {
            let name = match numbering.name(kind) {
                Some(name) => name.to_owned(),
                None => format!("kind {kind}"),
            };
            let context = value.get("context").filter(|context| !context.is_null());
            let context = context
                .map(|context| format!(" {context}"))
                .unwrap_or_default();
            return format!("{}{}", out.paint(Colour::Name, &name), out.data(&context));
        }
        if let Some(heartbeat) = self.message.heartbeat() {
            let version = harmless(&heartbeat.version);
            return format!("{} (version {version})", harmless(&heartbeat.identifier));
        }
        if let Some(result) = self.message.command_result() {
            return response_line(&result, out);
        }
        out.data(&value.to_string())
    }

    /// When it happened by its own word, or else now.
    fn when(&self) -> SystemTime {
        let of = |name: &str| match &self.body {
            Body::Json(value) => value.get(name).and_then(Value::as_f64),
            _ => None,
        };
        of("when")
            .or_else(|| of("timestamp"))
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|since| UNIX_EPOCH.checked_add(since))
            .unwrap_or_else(SystemTime::now)
    }
}

/// One line for people: which command, how it ended, and what it gave.
pub(crate) fn response_line(response: &Response, out: Output) -> String {
    let mut line = format!(
        "{} {} {}",
        out.paint(Colour::Name, &command_name(response.command())),
        out.paint(
            Colour::Faint,
            &format!("nonce {}", harmless(&response.nonce().to_string()))
        ),
        out.paint(colour_of(response.result()), &response.result().to_string())
    );
    if response.error_code() != 0 {
        line.push_str(&format!(" (code {})", response.error_code()));
    }
    if let Some(message) = response.error_message() {
        line.push_str(&format!(": {}", harmless(message)));
    }
    if !response.data().is_null() {
        line.push_str(&format!(" {}", out.data(&response.data().to_string())));
    }
    line
}

/// The name of a command's number in any version, or the number.
pub(crate) fn command_name(number: i64) -> String {
    [Dialect::Plain, Dialect::JsonString]
        .into_iter()
        .find_map(|dialect| ApiCommand::from_number(number, dialect))
        .map_or_else(|| number.to_string(), |command| command.name().to_owned())
}

const fn colour_of(result: CommandResult) -> Colour {
    match result {
        CommandResult::Success => Colour::Good,
        CommandResult::Pending | CommandResult::PendingWithNotification => Colour::Notice,
        _ => Colour::Bad,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Deeper bodies are shown as text.
const DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(topic: Topic, body: &[u8]) -> Seen {
        Seen::new(Message::decode(&topic.to_bytes(), body).unwrap())
    }

    #[test]
    fn event_is_shown_with_its_name_and_context() {
        let event =
            br#"{"kind": 1331, "when": 45296.789, "index": 1, "context": {"sessionId": "s1"}}"#;
        let event = seen(Topic::EVENT, event);
        assert_eq!(
            event.line(Numbering::New, Output::new(true)),
            r#"12:34:56.789 EVENT sessionStarted {"sessionId":"s1"}"#
        );
        let object = event.object(Numbering::New);
        assert_eq!(object["topic"], "EVENT");
        assert_eq!(object["number"], 4001);
        assert_eq!(object["kind"], "sessionStarted");
        assert_eq!(object["body"]["context"]["sessionId"], "s1");
    }

    #[test]
    fn bodies_that_are_no_json_are_shown_all_the_same() {
        let text = seen(Topic::new(77), b"{not json");
        assert_eq!(text.object(Numbering::New)["text"], "{not json");
        let bytes = seen(Topic::new(77), b"\xff\x00");
        assert_eq!(bytes.object(Numbering::New)["hex"], "ff00");
        assert!(
            bytes
                .line(Numbering::New, Output::new(true))
                .ends_with("77 2 bytes: ff00")
        );
    }

    #[test]
    fn kind_belongs_to_events_only() {
        assert_eq!(seen(Topic::PROPERTY_CHANGE, br#"{"kind": 5}"#).kind(), None);
        assert_eq!(
            seen(Topic::EMERGENCY, br#"{"kind": 101}"#).kind(),
            Some(101)
        );
    }

    #[test]
    fn numbers_of_commands_have_names_in_both_versions() {
        assert_eq!(command_name(400), "GET_STATUS");
        assert_eq!(command_name(100), "START_ACQUISITION");
        assert_eq!(command_name(5), "5");
    }
}
