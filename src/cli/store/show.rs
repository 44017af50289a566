//! Events as lines for people and as objects for programs.

use crate::cli::exit::Failure;
use crate::cli::print::{Colour, Output, harmless, rfc_3339};
use crate::event::{Event, Payload, Status, Timestamp};

use std::sync::Arc;

/// Prints an event.
pub(super) fn event(out: Output, event: &Arc<Event>) -> Result<(), Failure> {
    if out.is_json() {
        out.object(&**event)
    } else {
        out.line(&line(event, out))
    }
}

/// One line for people: when, what, the payload, the id.
pub(super) fn line(event: &Event, out: Output) -> String {
    let payload = match &event.payload {
        None => String::new(),
        Some(Payload::Json(json)) => format!(" {}", out.data(json.as_str())),
        Some(Payload::Binary(binary)) => format!(
            " {} bytes of {}",
            binary.data().len(),
            harmless(binary.kind())
        ),
    };
    format!(
        "{} {}{payload} {}",
        out.paint(Colour::Faint, &time(event.timestamp)),
        out.paint(Colour::Name, &harmless(&event.event_type.to_string())),
        out.paint(Colour::Faint, &event.id.to_string()),
    )
}

/// A timestamp as RFC 3339 has it, with microseconds.
pub(super) fn time(timestamp: Timestamp) -> String {
    // What a store holds may have more than a second's worth of microseconds; they are printed as they are.
    if timestamp.us() >= 1_000_000 {
        return format!("{}s+{}us", timestamp.s(), timestamp.us());
    }
    let text = rfc_3339(timestamp.s(), timestamp.us() * 1000);
    text.strip_suffix("000Z")
        .map_or(text.clone(), |microseconds| format!("{microseconds}Z"))
}

/// What a server does.
pub(super) const fn status(status: Status) -> &'static str {
    match status {
        Status::Standby => "standby",
        Status::Starting => "starting",
        Status::Operational => "operational",
        Status::Stopping => "stopping",
    }
}

/// "1 event", "2 events".
pub(super) fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        _ => format!("{count} events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Binary, EventId, EventType, Json};

    #[test]
    fn line_has_time_type_payload_and_id() {
        let id = EventId::new(1, 20, 3);
        let event = Event::new(id, EventType::new(["rig", "a\x1b"]), Timestamp::new(1, 5));
        let out = Output::new(true);
        assert_eq!(
            line(&event, out),
            "1970-01-01T00:00:01.000005Z rig/a\\u{1b} 1.20.3"
        );
        let json = Payload::Json(Json::new("{\"x\":\n1}").unwrap());
        assert_eq!(
            line(&event.clone().with_payload(json), out),
            "1970-01-01T00:00:01.000005Z rig/a\\u{1b} {\"x\":\\n1} 1.20.3"
        );
        let binary = Payload::Binary(Binary::new("raw", vec![0; 7]));
        assert!(line(&event.with_payload(binary), out).contains(" 7 bytes of raw "));
    }

    #[test]
    fn odd_timestamps_are_told_too() {
        assert_eq!(time(Timestamp::MAX).chars().next_back(), Some('Z'));
        assert_eq!(time(Timestamp::new(1, 4_000_000_000)), "1s+4000000000us");
    }
}
