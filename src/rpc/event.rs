//! Events: what happened, when, and in which context.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rpc::context::EventContext;
use crate::rpc::json;
use crate::rpc::kind::EventKind;
use crate::time;

/// One event, generic over its context.
///
/// The context is a typed one of [`context`](crate::rpc::context), any serialisable value, or, read from the wire, a
/// JSON [`Value`]. The members stand on the wire in the order in which they stand here. Source: auto-trainer-api,
/// section 6 of `docs/wire.md`.
///
/// ```
/// use acqbus::rpc::{Event, EventKind};
///
/// let event = Event::new(EventKind::TunnelEnter, 1_735_787_045.5, 7);
/// assert_eq!(event.kind.number(), 1101);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event<C = Value> {
    /// What happened.
    pub kind: EventKind,
    /// When it happened: seconds since 1970, by the wall clock of the rig.
    pub when: f64,
    /// A number that only grows, which orders events that the wall clock cannot: nanoseconds of the monotonic clock, from the
    /// start of the machine, so that it goes on growing when the service is started anew.
    pub index: i64,
    /// What belongs to it, if anything.
    pub context: Option<C>,
    /// 0 the first time it is told; absent in events that were published as maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
}

impl Event {
    /// An event without context, at a given time, told for the first time.
    #[must_use]
    pub const fn new(kind: EventKind, when: f64, index: i64) -> Self {
        Self {
            kind,
            when,
            index,
            context: None,
            repeat: Some(0),
        }
    }

    /// An event without context that happens now.
    #[must_use]
    pub fn now(kind: EventKind) -> Self {
        let when = time::since_1970().as_secs_f64();
        Self::new(kind, when, time::monotonic_nanoseconds())
    }

    /// Reads an event; only `kind` is needed, the rest may be absent or of another type.
    pub(crate) fn from_json(body: Value) -> Option<Self> {
        let Value::Object(mut members) = body else {
            return None;
        };
        let kind = json::integer(members.get("kind")?)?;
        let integer = |name: &str| members.get(name).and_then(json::integer);
        Some(Self {
            kind: EventKind::from(kind),
            when: members.get("when").and_then(Value::as_f64).unwrap_or(0.0),
            index: integer("index").unwrap_or(0),
            repeat: integer("repeat").and_then(|repeat| u32::try_from(repeat).ok()),
            context: members
                .swap_remove("context")
                .filter(|context| !context.is_null()),
        })
    }
}

impl<C: EventContext> Event<C> {
    /// An event of the kind that its context belongs to, happening now.
    ///
    /// It does not compile for a context that several kinds carry; those take [`Event::now`] and
    /// [`with_context`](Self::with_context).
    #[must_use]
    pub fn of(context: C) -> Self {
        const {
            assert!(
                C::KINDS.len() == 1,
                "several kinds carry this context: name the kind with Event::now"
            );
        }
        Event::now(C::KINDS[0]).with_context(context)
    }
}

impl<C> Event<C> {
    /// The same event with another context.
    #[must_use]
    pub fn with_context<D>(self, context: D) -> Event<D> {
        Event {
            kind: self.kind,
            when: self.when,
            index: self.index,
            context: Some(context),
            repeat: self.repeat,
        }
    }

    /// The same event told for the `count`th time after the first.
    #[must_use]
    pub fn with_repeat(mut self, count: u32) -> Self {
        self.repeat = Some(count);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rpc::context::session::SessionStarted;

    fn text<C: Serialize>(event: &Event<C>) -> String {
        let mut body = Vec::new();
        json::to_camel_json(event, &mut body).expect("serialisable");
        String::from_utf8(body).expect("ASCII")
    }

    #[test]
    fn event_is_written_in_the_order_of_the_wire() {
        let event = Event {
            repeat: None,
            ..Event::new(EventKind::EmergencyStop, 0.0, -3)
        };
        assert_eq!(
            text(&event),
            r#"{"kind": 101, "when": 0.0, "index": -3, "context": null}"#
        );
        let event = event.with_context(json!({"reason_code": 1})).with_repeat(0);
        assert_eq!(
            text(&event),
            r#"{"kind": 101, "when": 0.0, "index": -3, "context": {"reasonCode": 1}, "repeat": 0}"#
        );
    }

    #[test]
    fn event_reads_back_what_it_writes() {
        let event = Event::new(EventKind::Other(-4), 1.25, 1 << 40)
            .with_context(json!({"aB": [1, {"c": null}]}))
            .with_repeat(2);
        let body = json::parse(text(&event).as_bytes(), 8).expect("JSON");
        assert_eq!(Event::from_json(body), Some(event));
    }

    #[test]
    fn events_of_careless_peers_are_read() {
        let read = |body| Event::from_json(body).map(|event| event.kind);
        assert_eq!(
            read(json!({"index": 1, "kind": 101.0})),
            Some(EventKind::EmergencyStop)
        );
        assert_eq!(
            read(json!({"kind": 1, "when": "x", "repeat": -1})),
            Some(EventKind::Other(1))
        );
        assert_eq!(read(json!({"kind": "101"})), None);
        assert_eq!(read(json!({"when": 1})), None);
        assert_eq!(read(json!([101])), None);
    }

    #[test]
    fn later_event_has_a_later_index_and_its_contexts_kind() {
        let context = || SessionStarted {
            session_id: "s".into(),
            is_analysis_deferred: false,
        };
        let first = Event::of(context());
        let second = Event::of(context());
        assert_eq!(first.kind, EventKind::SessionStarted);
        assert!(first.index < second.index);
        assert!(first.when > 1.6e9);
    }
}
