//! Events as comma-separated values (RFC 4180), for spreadsheets: a header and a line each. Bytes only.

use crate::cli::store::show;
use crate::event::{Event, Payload};

/// The names of the columns.
pub(super) const HEADER: &str =
    "server,session,instance,timestamp,source_timestamp,type,payload_type,payload\r\n";

/// Appends one line.
pub(super) fn push(event: &Event, text: &mut String) {
    let id = event.id;
    text.push_str(&format!("{},{},{},", id.server, id.session, id.instance));
    text.push_str(&show::time(event.timestamp));
    text.push(',');
    if let Some(timestamp) = event.source_timestamp {
        text.push_str(&show::time(timestamp));
    }
    text.push(',');
    push_field(&event.event_type.to_string(), text);
    match &event.payload {
        None => text.push_str(",,"),
        Some(Payload::Json(json)) => {
            text.push_str(",json,");
            push_field(json.as_str(), text);
        }
        Some(Payload::Binary(binary)) => {
            text.push(',');
            push_field(&format!("binary:{}", binary.kind()), text);
            text.push(',');
            for byte in binary.data() {
                text.push_str(&format!("{byte:02x}"));
            }
        }
    }
    text.push_str("\r\n");
}

/// A field, in quotes where it needs them.
fn push_field(field: &str, text: &mut String) {
    if !field.contains([',', '"', '\r', '\n']) {
        text.push_str(field);
        return;
    }
    text.push('"');
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Binary, EventId, EventType, Json, Timestamp};

    fn line(event: &Event) -> String {
        let mut text = String::new();
        push(event, &mut text);
        text
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let id = EventId::new(1, 2, 3);
        let event = Event::new(id, EventType::new(["a,b", "c"]), Timestamp::new(1, 5));
        assert_eq!(
            line(&event),
            "1,2,3,1970-01-01T00:00:01.000005Z,,\"a,b/c\",,\r\n"
        );
        let json = Payload::Json(Json::new("{\"x\": \"y\"}").unwrap());
        let event = event
            .with_source_timestamp(Timestamp::new(0, 0))
            .with_payload(json);
        assert!(line(&event).ends_with(
            ",1970-01-01T00:00:00.000000Z,\"a,b/c\",json,\"{\"\"x\"\": \"\"y\"\"}\"\r\n"
        ));
        let binary = Payload::Binary(Binary::new("raw", vec![1, 0xfe]));
        assert!(line(&event.with_payload(binary)).ends_with(",binary:raw,01fe\r\n"));
        assert_eq!(HEADER.split(',').count(), 8);
    }
}
