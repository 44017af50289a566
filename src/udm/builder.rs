//! Making an event.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::udm::date_time::time_text;
use crate::udm::domain::Domain;
use crate::udm::envelope::{EventType, SourceType};
use crate::udm::error::UdmError;
use crate::udm::event::{
    CAPTURED_AT, EVENT_ID, EVENT_TYPE, Object, SOURCE_ID, SOURCE_TYPE, UDM_VERSION, UdmEvent,
    VERSION,
};

/// An event in the making, from [`UdmEvent::builder`].
///
/// Members are written in this order: what every event has, then the rest as it was given.
#[must_use = "it becomes an event with `build`"]
#[derive(Debug, Clone)]
pub struct UdmEventBuilder {
    event_type: EventType,
    source_id: String,
    source_type: SourceType,
    version: Option<String>,
    event_id: Option<String>,
    captured_at: Option<Timestamp>,
    /// Sets what comes after the required members.
    rest: Object,
    extensions: Object,
}

impl UdmEventBuilder {
    pub(super) fn new(event_type: EventType, source_id: String, source_type: SourceType) -> Self {
        Self {
            event_type,
            source_id,
            source_type,
            version: None,
            event_id: None,
            captured_at: None,
            rest: Object::new(),
            extensions: Object::new(),
        }
    }

    /// Sets the version of the model; [`UDM_VERSION`] by default.
    pub fn udm_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the id; a new UUID of version 7 by default, later ones of a process being larger.
    pub fn event_id(mut self, event_id: impl Into<String>) -> Self {
        self.event_id = Some(event_id.into());
        self
    }

    /// Sets when it happened; the time of [`build`](Self::build) by default.
    pub const fn captured_at(mut self, time: Timestamp) -> Self {
        self.captured_at = Some(time);
        self
    }

    /// Sets when it was received; absent by default.
    pub fn received_at(self, time: Timestamp) -> Self {
        self.member("received_at", time_text(time))
    }

    /// Sets when it was sent; absent by default.
    pub fn sent_at(self, time: Timestamp) -> Self {
        self.member("sent_at", time_text(time))
    }

    /// Sets the number in the source's sequence; absent by default.
    pub fn sequence_num(self, number: u64) -> Self {
        self.member("sequence_num", number)
    }

    /// Sets the session that groups events; absent by default.
    pub fn session_id(self, session_id: impl Into<String>) -> Self {
        self.member("session_id", session_id.into())
    }

    /// Sets name and version of the software that emits the event; absent by default.
    pub fn sdk_version(self, version: impl Into<String>) -> Self {
        self.member("sdk_version", version.into())
    }

    /// Sets a domain, from a typed builder as [`Identity`](crate::udm::Identity) or from its members; the last one counts.
    pub fn domain(self, domain: impl Into<(Domain, Object)>) -> Self {
        let (domain, members) = domain.into();
        self.member(domain.as_str(), members)
    }

    /// Sets the provenance; a [`Signer`](crate::udm::Signer) replaces it.
    pub fn provenance(self, provenance: Object) -> Self {
        self.member("provenance", provenance)
    }

    /// Sets a member of the extensions; the name should begin with `custom_` or with a namespace.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Sets a member of the event itself, also one that the schemas do not name; the last one counts.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.rest.insert(name.into(), value.into());
        self
    }

    /// Makes the event and validates it.
    ///
    /// # Errors
    /// [`UdmError::Invalid`] with every member that breaks a rule of the schemas.
    pub fn build(self) -> Result<UdmEvent, UdmError> {
        let version = self.version.unwrap_or_else(|| UDM_VERSION.to_owned());
        let event_id = self.event_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        let captured_at = self.captured_at.unwrap_or_else(Timestamp::now);
        let mut members = Object::with_capacity(7 + self.rest.len());
        for (name, text) in [
            (VERSION, version),
            (EVENT_ID, event_id),
            (EVENT_TYPE, self.event_type.as_str().to_owned()),
            (SOURCE_ID, self.source_id),
            (SOURCE_TYPE, self.source_type.as_str().to_owned()),
            (CAPTURED_AT, time_text(captured_at)),
        ] {
            members.insert(name.to_owned(), text.into());
        }
        members.extend(self.rest);
        let mut event = UdmEvent::from_members(members)?;
        for (name, value) in self.extensions {
            event.set_extension(name, value);
        }
        event.validate()?;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> UdmEventBuilder {
        UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom)
    }

    #[test]
    fn an_event_has_a_new_id_the_time_and_the_version() {
        let before = Timestamp::now();
        let first = builder().build().unwrap();
        let second = builder().build().unwrap();
        assert_eq!(first.udm_version(), "0.0.3");
        let captured = first.captured_time().unwrap();
        assert!(before.as_microsecond() <= captured.as_microsecond());
        assert!(captured <= Timestamp::now());
        assert_eq!(
            Uuid::parse_str(first.event_id()).unwrap().get_version_num(),
            7
        );
        assert!(
            first.event_id() < second.event_id(),
            "ids sort by their age"
        );
    }

    #[test]
    fn members_stand_in_the_order_of_the_envelope_then_as_given() {
        let event = builder()
            .extension("custom_a", 1)
            .sequence_num(3)
            .domain((Domain::Audio, Object::new()))
            .member("vendor", true)
            .session_id("s")
            .event_id("e")
            .captured_at(Timestamp::UNIX_EPOCH)
            .build()
            .unwrap();
        assert_eq!(
            event.to_json(),
            r#"{"udm_version":"0.0.3","event_id":"e","event_type":"custom","source_id":"rig-7","source_type":"custom","captured_at":"1970-01-01T00:00:00.000000Z","sequence_num":3,"audio":{},"vendor":true,"session_id":"s","extensions":{"custom_a":1}}"#
        );
    }

    #[test]
    fn what_breaks_a_rule_is_not_built() {
        let error = builder().event_id("").build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the event is not valid: /event_id is empty"
        );
        let error = builder().udm_version("3").build().unwrap_err();
        assert_eq!(error.problems()[0].path, "/udm_version");
        let far = Timestamp::from_second(-100_000_000_000).unwrap();
        let error = builder().captured_at(far).build().unwrap_err();
        assert_eq!(error.problems()[0].path, "/captured_at");
        let error = builder().member("safety", 1).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the event is not valid: /safety is not of type object"
        );
        assert!(builder().member("captured_at", 1).build().is_err());
    }
}
