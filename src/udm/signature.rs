//! Signatures of events: HMAC-SHA256 in the provenance.

use std::collections::BTreeSet;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::udm::canonical;
use crate::udm::date_time::time_text;
use crate::udm::error::{UdmError, cut};
use crate::udm::event::{Object, PROVENANCE, RECEIVED_AT, SENT_AT, UdmEvent};

/// Signs events with a secret key, so that who has the key too can tell that nobody changed them.
///
/// The signature covers every member of the event at the time of signing but `sent_at` and `received_at`, which change on the way,
/// and the provenance itself without `signature`. What is signed is the canonical form of these (RFC 8785), so that a service
/// that reads and writes the event on the way does no harm. Source: UDM 0.0.3 names the members of the provenance; what is covered and how is
/// *ours*, and stands in docs/udm.md.
///
/// `Debug` shows the id of the key only; the key is erased from memory when dropped.
///
/// # Examples
/// ```
/// use acqbus::udm::{self, EventType, Signer, SourceType, UdmEvent};
///
/// let signer = Signer::new("rig-7-2026", "a key of 16 bytes or more")?;
/// let mut event = UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom).build()?;
/// signer.sign(&mut event, jiff::Timestamp::now());
/// assert_eq!(event.provenance().unwrap()["key_id"], "rig-7-2026");
/// udm::verify(&event, b"a key of 16 bytes or more")?;
///
/// event.set_sequence_num(7);
/// assert!(udm::verify(&event, b"a key of 16 bytes or more").unwrap_err().is_signature());
/// # Ok::<(), acqbus::udm::UdmError>(())
/// ```
#[derive(Clone)]
pub struct Signer {
    key: Zeroizing<Vec<u8>>,
    key_id: String,
}

impl Signer {
    /// Takes a key and the id under which others know it.
    ///
    /// # Errors
    /// [`UdmError::Key`] for a key of fewer than 16 bytes.
    pub fn new(key_id: impl Into<String>, key: impl Into<Vec<u8>>) -> Result<Self, UdmError> {
        let key = Zeroizing::new(key.into());
        if key.len() < MIN_KEY_LEN {
            return Err(UdmError::Key { len: key.len() });
        }
        Ok(Self {
            key,
            key_id: key_id.into(),
        })
    }

    /// The id of the key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Signs an event; a former signature is replaced, other members of the provenance are kept and signed too.
    ///
    /// Whatever is changed later but `sent_at` and `received_at` spoils the signature.
    pub fn sign(&self, event: &mut UdmEvent, now: Timestamp) {
        let mut provenance = event.provenance().cloned().unwrap_or_default();
        provenance.shift_remove(SIGNATURE);
        let fields: BTreeSet<&str> = coverable(event).collect();
        let fields: Vec<Value> = fields.into_iter().map(Value::from).collect();
        for (name, value) in [
            (ALGORITHM, HMAC_SHA256.into()),
            (KEY_ID, self.key_id.as_str().into()),
            (SIGNED_FIELDS, fields.into()),
            (SIGNED_AT, time_text(now).into()),
        ] {
            provenance.insert(name.to_owned(), value);
        }
        let covered = coverable(event).collect();
        let tag = mac(&self.key, event, &covered, &provenance).finalize();
        provenance.insert(SIGNATURE.to_owned(), hex(&tag.into_bytes()).into());
        event.set_provenance(provenance);
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Checks the signature of an event that a [`Signer`] with this key made.
///
/// The id of the key, by which a receiver finds it, is `key_id` of [`UdmEvent::provenance`].
///
/// # Errors
/// [`UdmError::NotSigned`] without a signature of `hmac-sha256`, [`UdmError::NotCovered`] if a member is not in `signed_fields`
/// (it may have been added on the way), [`UdmError::Signature`] if the event was changed or the key is another.
pub fn verify(event: &UdmEvent, key: &[u8]) -> Result<(), UdmError> {
    let mut provenance = event.provenance().cloned().unwrap_or_default();
    let signature = provenance.shift_remove(SIGNATURE);
    let is_ours = provenance.get(ALGORITHM).and_then(Value::as_str) == Some(HMAC_SHA256);
    let fields = provenance.get(SIGNED_FIELDS).and_then(Value::as_array);
    let (Some(Value::String(signature)), true, Some(fields)) = (signature, is_ours, fields) else {
        return Err(UdmError::NotSigned);
    };
    let covered: BTreeSet<&str> = fields.iter().filter_map(Value::as_str).collect();
    if let Some(member) = coverable(event).find(|name| !covered.contains(name)) {
        return Err(UdmError::NotCovered {
            member: cut(member),
        });
    }
    let tag = unhex(&signature).ok_or(UdmError::Signature)?;
    mac(key, event, &covered, &provenance)
        .verify_slice(&tag)
        .map_err(|_| UdmError::Signature)
}

/// The names of the members that a signature has to cover.
fn coverable(event: &UdmEvent) -> impl Iterator<Item = &str> {
    let names = event.members().keys().map(String::as_str);
    names.filter(|name| ![PROVENANCE, SENT_AT, RECEIVED_AT].contains(name))
}

/// The code over the covered members and the provenance, which is here without a signature.
fn mac(
    key: &[u8],
    event: &UdmEvent,
    covered: &BTreeSet<&str>,
    provenance: &Object,
) -> Hmac<Sha256> {
    let provenance = Value::Object(provenance.clone());
    let members = event.members().iter().map(|(name, value)| (&**name, value));
    let members = members.filter(|(name, _)| *name != PROVENANCE && covered.contains(name));
    let mut bytes = Vec::new();
    canonical::write_members(members.chain([(PROVENANCE, &provenance)]), &mut bytes);
    // A key of any length is one for HMAC.
    let mut mac = Hmac::new_from_slice(key).expect("any length");
    mac.update(&bytes);
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    pairs.iter().map(byte).collect()
}

const ALGORITHM: &str = "algorithm";
const HMAC_SHA256: &str = "hmac-sha256";
const KEY_ID: &str = "key_id";
const SIGNATURE: &str = "signature";
const SIGNED_AT: &str = "signed_at";
const SIGNED_FIELDS: &str = "signed_fields";

/// 128 bits: fewer can be guessed.
const MIN_KEY_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";

    const TEXT: &str = r#"{"udm_version":"0.0.3","event_id":"e1","event_type":"custom","source_id":"rig-7","source_type":"custom","captured_at":"2026-06-07T19:00:00Z","power":{"voltage_v":12.50,"current_a":1.0},"sent_at":"2026-06-07T19:00:01Z"}"#;

    fn signed() -> UdmEvent {
        let mut event = UdmEvent::from_json(TEXT).unwrap();
        let signer = Signer::new("k1", KEY).unwrap();
        signer.sign(&mut event, "2026-06-07T19:00:02Z".parse().unwrap());
        event
    }

    /// Made with the modules `json` and `hmac` of Python over the bytes that docs/udm.md describes.
    #[test]
    fn a_signature_is_that_of_another_program() {
        let event = signed();
        let provenance = event.provenance().unwrap();
        assert_eq!(provenance[SIGNATURE], GOLDEN);
        assert_eq!(provenance[SIGNED_AT], "2026-06-07T19:00:02.000000Z");
        verify(&event, KEY).unwrap();
        event.validate().unwrap();
    }

    const GOLDEN: &str = "fbeed6525d29720a40efe10ee927de04dde06ee574f280c82142ab5d37a9ee97";

    #[test]
    fn a_service_that_writes_the_event_anew_does_no_harm() {
        let mut text = signed().to_json();
        text = text
            .replace("12.50", "12.5")
            .replace("1.0,", "1,")
            .replace("1.0}", "1}");
        verify(&UdmEvent::from_json(&text).unwrap(), KEY).unwrap();
        let mut members: Vec<_> = signed().into_members().into_iter().collect();
        members.reverse();
        verify(
            &UdmEvent::from_members(members.into_iter().collect()).unwrap(),
            KEY,
        )
        .unwrap();
    }

    #[test]
    fn times_of_the_way_may_change_and_nothing_else() {
        let now = Timestamp::now();
        let mut event = signed();
        event.set_sent_at(now);
        event.set_received_at(now);
        verify(&event, KEY).unwrap();
        let signed = signed();
        for name in signed.members().keys() {
            let mut members = signed.members().clone();
            members.insert(name.clone(), "other".into());
            let changed = UdmEvent::from_members(members).unwrap();
            assert_eq!(verify(&changed, KEY).is_err(), name != SENT_AT, "{name}");
        }
        for name in signed.provenance().unwrap().keys() {
            let mut provenance = signed.provenance().unwrap().clone();
            provenance.insert(name.clone(), "other".into());
            let mut changed = signed.clone();
            changed.set_provenance(provenance);
            assert!(verify(&changed, KEY).unwrap_err().is_signature(), "{name}");
        }
    }

    #[test]
    fn a_member_added_on_the_way_is_named() {
        let mut event = signed();
        event.set_extension("custom_added", true);
        let error = verify(&event, KEY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the signature does not cover the member `extensions`"
        );
    }

    #[test]
    fn another_key_and_a_missing_signature_are_told_apart() {
        assert!(matches!(
            verify(&signed(), b"another key, longer"),
            Err(UdmError::Signature)
        ));
        let event = UdmEvent::from_json(TEXT).unwrap();
        assert!(matches!(verify(&event, KEY), Err(UdmError::NotSigned)));
        for wrong in ["", "zz", "0", &"0".repeat(62), &"0".repeat(66), "\u{e9}"] {
            let mut event = signed();
            let mut provenance = event.provenance().unwrap().clone();
            provenance.insert(SIGNATURE.to_owned(), wrong.into());
            event.set_provenance(provenance);
            assert!(
                matches!(verify(&event, KEY), Err(UdmError::Signature)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn signing_again_replaces_the_signature_and_keeps_the_rest_of_the_provenance() {
        let mut event = UdmEvent::from_json(TEXT).unwrap();
        event.set_provenance(Object::from_iter([("station".to_owned(), "s1".into())]));
        for (id, key) in [("k1", KEY), ("k2", b"fedcba9876543210")] {
            Signer::new(id, key)
                .unwrap()
                .sign(&mut event, Timestamp::now());
            verify(&event, key).unwrap();
            let provenance = event.provenance().unwrap();
            assert_eq!(
                (&provenance["station"], &provenance[KEY_ID]),
                (&"s1".into(), &id.into())
            );
        }
    }

    #[test]
    fn a_key_is_neither_short_nor_shown() {
        let error = Signer::new("k1", "short").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a signing key has 16 bytes or more, and this one has 5"
        );
        let signer = Signer::new("k1", KEY).unwrap();
        assert_eq!(format!("{signer:?}"), "Signer { key_id: \"k1\", .. }");
        assert_eq!(signer.key_id(), "k1");
    }
}
