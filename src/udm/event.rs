//! The event that goes up.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::udm::builder::UdmEventBuilder;
use crate::udm::date_time::time_text;
use crate::udm::domain::Domain;
use crate::udm::envelope::{EventType, SourceType};
use crate::udm::error::UdmError;
use crate::udm::{json, validate};

/// The members of a JSON object, in their order.
pub type Object = Map<String, Value>;

/// A version of the model; what [`UdmEvent::builder`] writes.
pub const UDM_VERSION: &str = "0.0.3";

/// An event of the Unified Data Model: an envelope, any of the 23 domains, provenance and extensions.
///
/// All members are kept as they came, in their order and with every digit, also those that the schemas do not name. What is
/// typed here is the envelope; a member of another type than its accessor gives reads as absent, and [`validate`](Self::validate)
/// tells about it. Two events are equal if their members are, in whatever order. Cloning copies all of it.
///
/// Source: UDM 0.0.3, the schemas of event and envelope.
///
/// # Examples
/// ```
/// use acqbus::udm::{Domain, EventType, Operational, SourceType, State, UdmEvent};
///
/// let event = UdmEvent::builder(EventType::StateTransition, "rig-7", SourceType::Custom)
///     .domain(Operational::new().state(State::ExecutingTask).previous_state(State::Ready))
///     .extension("custom_animal", "M_1")
///     .build()?;
/// let read = UdmEvent::from_json(event.to_json())?;
/// assert_eq!(read, event);
/// assert_eq!(read.domain(Domain::Operational).unwrap()["state"], "executing_task");
///
/// assert!(UdmEvent::from_json("{}").unwrap_err().is_invalid(), "the envelope is missing");
/// # Ok::<(), acqbus::udm::UdmError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct UdmEvent {
    /// The required members of the envelope are here and are text.
    members: Object,
    event_type: EventType,
    source_type: SourceType,
}

impl UdmEvent {
    /// Begins an event; id, time and version are set unless given.
    pub fn builder(
        event_type: EventType,
        source_id: impl Into<String>,
        source_type: SourceType,
    ) -> UdmEventBuilder {
        UdmEventBuilder::new(event_type, source_id.into(), source_type)
    }

    /// Reads an event from JSON text, without validating it.
    ///
    /// The six members that every event has need to be there and be text; an unknown event type, a bad time or a domain that is no
    /// object are read, for whoever wants to keep or report them. Nesting is limited to 127 levels; the length is the
    /// caller's to limit.
    ///
    /// # Errors
    /// [`UdmError::Json`] for text that is no JSON object, [`UdmError::Invalid`] where one of the six is missing or no text.
    pub fn from_json(text: impl AsRef<[u8]>) -> Result<Self, UdmError> {
        Self::from_members(json::read_object(text.as_ref()).map_err(UdmError::Json)?)
    }

    /// Takes members that were read already, as [`from_json`](Self::from_json) does.
    ///
    /// # Errors
    /// [`UdmError::Invalid`] where one of the six members that every event has is missing or no text.
    pub fn from_members(members: Object) -> Result<Self, UdmError> {
        validate::validate_readable(&members)?;
        let text = |name| {
            members
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        Ok(Self {
            event_type: EventType::from(text(EVENT_TYPE)),
            source_type: SourceType::from(text(SOURCE_TYPE)),
            members,
        })
    }

    /// The event as JSON text on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A `Value` has text for names, and writing into memory does not fail.
        serde_json::to_string(&self.members).expect("members are JSON")
    }

    /// Checks every rule of the schemas of UDM 0.0.3; see [`validate`](crate::udm::validate()).
    ///
    /// # Errors
    /// [`UdmError::Invalid`] with every member that breaks a rule.
    pub fn validate(&self) -> Result<(), UdmError> {
        validate::validate_members(&self.members)
    }

    /// Sets the time at which the source sends the event.
    pub fn set_sent_at(&mut self, time: Timestamp) {
        self.set(SENT_AT, time_text(time).into());
    }

    /// Sets the time at which the event was received.
    pub fn set_received_at(&mut self, time: Timestamp) {
        self.set(RECEIVED_AT, time_text(time).into());
    }

    /// Sets the number of the event in the source's sequence.
    pub fn set_sequence_num(&mut self, number: u64) {
        self.set(SEQUENCE_NUM, number.into());
    }

    /// Sets the session that groups events.
    pub fn set_session_id(&mut self, session_id: impl Into<String>) {
        self.set(SESSION_ID, session_id.into().into());
    }

    /// Sets the name and version of the software that emits the event.
    pub fn set_sdk_version(&mut self, version: impl Into<String>) {
        self.set(SDK_VERSION, version.into().into());
    }

    /// Sets a domain, from a typed builder or from its members; replaces what it was.
    pub fn set_domain(&mut self, domain: impl Into<(Domain, Object)>) {
        let (domain, members) = domain.into();
        self.set(domain.as_str(), members.into());
    }

    /// Sets a member of the extensions; the name should begin with `custom_` or with a namespace.
    ///
    /// Extensions that were no object are replaced by one.
    pub fn set_extension(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let extensions = self
            .members
            .entry(EXTENSIONS)
            .or_insert_with(|| Object::new().into());
        if let Value::Object(members) = extensions {
            members.insert(name.into(), value.into());
        } else {
            *extensions = Object::from_iter([(name.into(), value.into())]).into();
        }
    }

    /// Sets the provenance; a [`Signer`](crate::udm::Signer) does.
    pub(super) fn set_provenance(&mut self, provenance: Object) {
        self.set(PROVENANCE, provenance.into());
    }

    fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// The version of the model, as `0.0.3`.
    #[must_use]
    pub fn udm_version(&self) -> &str {
        self.required(VERSION)
    }

    /// The id, by which repeats of one event are told from others.
    #[must_use]
    pub fn event_id(&self) -> &str {
        self.required(EVENT_ID)
    }

    /// What happened.
    #[must_use]
    pub const fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// Which machine it comes from.
    #[must_use]
    pub fn source_id(&self) -> &str {
        self.required(SOURCE_ID)
    }

    /// What kind of machine that is.
    #[must_use]
    pub const fn source_type(&self) -> &SourceType {
        &self.source_type
    }

    /// When it happened, as the event says it.
    #[must_use]
    pub fn captured_at(&self) -> &str {
        self.required(CAPTURED_AT)
    }

    /// When it happened; `None` for text that is no date and time.
    #[must_use]
    pub fn captured_time(&self) -> Option<Timestamp> {
        self.captured_at().parse().ok()
    }

    /// When it was received, as the event says it.
    #[must_use]
    pub fn received_at(&self) -> Option<&str> {
        self.text(RECEIVED_AT)
    }

    /// When it was sent, as the event says it.
    #[must_use]
    pub fn sent_at(&self) -> Option<&str> {
        self.text(SENT_AT)
    }

    /// Its number in the source's sequence; `None` also for one that no `u64` holds.
    #[must_use]
    pub fn sequence_num(&self) -> Option<u64> {
        self.members.get(SEQUENCE_NUM)?.as_u64()
    }

    /// The session that groups it with others.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.text(SESSION_ID)
    }

    /// Name and version of the software that emitted it.
    #[must_use]
    pub fn sdk_version(&self) -> Option<&str> {
        self.text(SDK_VERSION)
    }

    /// The members of a domain.
    #[must_use]
    pub fn domain(&self, domain: Domain) -> Option<&Object> {
        self.object(domain.as_str())
    }

    /// The domains that the event has, in the order of the schemas.
    pub fn domains(&self) -> impl Iterator<Item = (Domain, &Object)> {
        let domains = Domain::ALL.iter();
        domains.filter_map(|domain| Some((*domain, self.domain(*domain)?)))
    }

    /// Who signed it, and how.
    #[must_use]
    pub fn provenance(&self) -> Option<&Object> {
        self.object(PROVENANCE)
    }

    /// What the model has no member for.
    #[must_use]
    pub fn extensions(&self) -> Option<&Object> {
        self.object(EXTENSIONS)
    }

    /// All members, in their order.
    #[must_use]
    pub const fn members(&self) -> &Object {
        &self.members
    }

    /// All members, in their order.
    #[must_use]
    pub fn into_members(self) -> Object {
        self.members
    }

    fn required(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    fn object(&self, name: &str) -> Option<&Object> {
        self.members.get(name)?.as_object()
    }
}

impl Serialize for UdmEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UdmEvent {
    /// Reads what [`UdmEvent::from_json`] does; by way of a `Value` an integer `-0` becomes `0`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_members(json::object(deserializer)?).map_err(serde::de::Error::custom)
    }
}

pub(super) const VERSION: &str = "udm_version";
pub(super) const EVENT_ID: &str = "event_id";
pub(super) const EVENT_TYPE: &str = "event_type";
pub(super) const SOURCE_ID: &str = "source_id";
pub(super) const SOURCE_TYPE: &str = "source_type";
pub(super) const CAPTURED_AT: &str = "captured_at";
pub(super) const RECEIVED_AT: &str = "received_at";
pub(super) const SENT_AT: &str = "sent_at";
pub(super) const PROVENANCE: &str = "provenance";
const SEQUENCE_NUM: &str = "sequence_num";
const SESSION_ID: &str = "session_id";
const SDK_VERSION: &str = "sdk_version";
const EXTENSIONS: &str = "extensions";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"event_id":"e1","vendor":{"x":1.50},"udm_version":"0.0.3","event_type":"lunch","source_id":"rig-7","source_type":"custom","captured_at":"2026-06-07T19:00:00Z","sequence_num":7,"power":"none","safety":{"is_safe":true,"lamp":null}}"#;

    #[test]
    fn unknown_members_survive_a_round_trip_in_their_order() {
        let event = UdmEvent::from_json(TEXT).unwrap();
        assert_eq!(event.to_json(), TEXT);
        assert_eq!(serde_json::to_string(&event).unwrap(), TEXT);
        assert_eq!(serde_json::from_str::<UdmEvent>(TEXT).unwrap(), event);
        assert_eq!(event.members()["vendor"]["x"].to_string(), "1.50");
    }

    #[test]
    fn envelope_is_typed_and_what_does_not_fit_reads_as_absent() {
        let event = UdmEvent::from_json(TEXT).unwrap();
        assert_eq!(event.event_id(), "e1");
        assert_eq!(event.event_type().as_str(), "lunch");
        assert_eq!(event.source_type(), &SourceType::Custom);
        assert_eq!(event.captured_at(), "2026-06-07T19:00:00Z");
        assert_eq!(event.captured_time().unwrap().as_second(), 1_780_858_800);
        assert_eq!(event.sequence_num(), Some(7));
        assert_eq!(event.sent_at(), None);
        assert_eq!(event.domain(Domain::Power), None);
        let domains: Vec<_> = event.domains().map(|(domain, _)| domain).collect();
        assert_eq!(domains, [Domain::Safety]);
        let error = event.validate().unwrap_err();
        let paths: Vec<_> = error
            .problems()
            .iter()
            .map(|problem| &*problem.path)
            .collect();
        assert_eq!(paths, ["/event_type", "/power"]);
    }

    #[test]
    fn an_event_without_its_envelope_cannot_be_read() {
        for name in [
            VERSION,
            EVENT_ID,
            EVENT_TYPE,
            SOURCE_ID,
            SOURCE_TYPE,
            CAPTURED_AT,
        ] {
            let mut members = UdmEvent::from_json(TEXT).unwrap().into_members();
            members.insert(name.to_owned(), Value::Null);
            let error = UdmEvent::from_members(members.clone()).unwrap_err();
            assert_eq!(error.problems()[0].path, format!("/{name}"));
            members.remove(name);
            let error = UdmEvent::from_members(members).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the event is not valid: /{name} is missing")
            );
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..TEXT.len() {
            assert!(UdmEvent::from_json(&TEXT[..len]).unwrap_err().is_json());
        }
    }

    #[test]
    fn what_is_set_later_is_read_back() {
        let mut event = UdmEvent::from_json(TEXT).unwrap();
        let time: Timestamp = "2026-06-07T19:00:01Z".parse().unwrap();
        event.set_sent_at(time);
        event.set_received_at(time);
        event.set_sequence_num(u64::MAX);
        event.set_session_id("s1");
        event.set_sdk_version("acqbus-1");
        event.set_domain((Domain::Power, Object::new()));
        event.set_extension("custom_a", 1);
        event.set_extension("custom_b", "x");
        assert_eq!(event.sent_at(), Some("2026-06-07T19:00:01.000000Z"));
        assert_eq!(event.received_at(), event.sent_at());
        assert_eq!(event.sequence_num(), Some(u64::MAX));
        assert_eq!(event.session_id(), Some("s1"));
        assert_eq!(event.sdk_version(), Some("acqbus-1"));
        assert_eq!(event.domain(Domain::Power), Some(&Object::new()));
        assert_eq!(event.extensions().unwrap().len(), 2);
        assert!(event.to_json().starts_with(r#"{"event_id":"e1","vendor""#));
    }
}
