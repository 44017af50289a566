//! Rules of UDM events that hold for whatever comes.
//!
//! `ACQBUS_UDM_CASES` is how many cases of each, 300 by default.

use acqbus::udm::{Domain, EventType, Object, Signer, SourceType, UdmEvent, validate, verify};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Number, Value};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_members_survive_a_round_trip(event in event()) {
        let text = event.to_json();
        let read = UdmEvent::from_json(&text).expect("it was written");
        prop_assert_eq!(&read.to_json(), &text, "order and digits are kept");
        prop_assert_eq!(&read, &event);
        prop_assert_eq!(&serde_json::from_str::<UdmEvent>(&text).expect("an event"), &event);
        let value = Value::Object(event.members().clone());
        prop_assert_eq!(validate(&value).is_ok(), event.validate().is_ok());
    }

    #[test]
    fn what_a_builder_makes_is_valid_and_read_as_it_was_made(
        event_type in select(EventType::NAMES),
        source_type in select(SourceType::NAMES),
        source_id in "[^\\x00]{1,20}",
        time in option::of(0..253_402_300_799_999_999_i64),
        sequence_num in any::<u64>(),
        domains in vec(select(Domain::ALL), 0..5),
        extension in value(),
    ) {
        let mut builder = UdmEvent::builder(EventType::from(event_type), &*source_id, SourceType::from(source_type))
            .sequence_num(sequence_num)
            .extension("custom_x", extension.clone());
        if let Some(time) = time {
            builder = builder.captured_at(Timestamp::from_microsecond(time).expect("a time"));
        }
        for domain in &domains {
            builder = builder.domain((*domain, Object::new()));
        }
        let event = builder.build().expect("it is valid");
        let read = UdmEvent::from_json(event.to_json()).expect("it was written");
        prop_assert_eq!(read.event_type().as_str(), event_type);
        prop_assert_eq!(read.source_type().as_str(), source_type);
        prop_assert_eq!(read.source_id(), source_id);
        prop_assert_eq!(read.sequence_num(), Some(sequence_num));
        prop_assert_eq!(&read.extensions().expect("extensions")["custom_x"], &extension);
        if let Some(time) = time {
            prop_assert_eq!(read.captured_time().expect("a time").as_microsecond(), time);
        }
        for domain in Domain::ALL {
            prop_assert_eq!(read.domain(*domain).is_some(), domains.contains(domain));
        }
    }

    #[test]
    fn times_as_text_sort_as_the_times(a in 0..253_402_300_799_999_999_i64, b in 0..253_402_300_799_999_999_i64) {
        let event = |time| {
            let time = Timestamp::from_microsecond(time).expect("a time");
            UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom).captured_at(time).build().expect("valid")
        };
        prop_assert_eq!(event(a).captured_at().cmp(event(b).captured_at()), a.cmp(&b));
    }

    #[test]
    fn a_signature_holds_until_something_changes(
        event in event(),
        key in vec(any::<u8>(), 16..80),
        name in "[a-z]{1,8}",
        value in value(),
    ) {
        let signer = Signer::new("k", key.clone()).expect("a key");
        let mut signed = event;
        signer.sign(&mut signed, Timestamp::UNIX_EPOCH);
        prop_assert!(verify(&signed, &key).is_ok());
        let read = UdmEvent::from_json(signed.to_json()).expect("it was written");
        prop_assert!(verify(&read, &key).is_ok());

        let mut changed = read.clone();
        changed.set_extension(name, value);
        prop_assert_eq!(verify(&changed, &key).is_ok(), changed == read);
        let mut other = key;
        other[0] ^= 1;
        prop_assert!(verify(&signed, &other).unwrap_err().is_signature());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", bytes in vec(any::<u8>(), 0..60)) {
        prop_assert!(UdmEvent::from_json(&text).is_err());
        prop_assert!(UdmEvent::from_json(&bytes).is_err());
    }

    #[test]
    fn a_damaged_event_is_read_or_refused(
        event in event(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = event.to_json().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        // Neither reading nor judging what was read panics.
        if let Ok(event) = UdmEvent::from_json(&text) {
            let _ = event.validate();
            prop_assert_eq!(&UdmEvent::from_json(event.to_json()).expect("it was written"), &event);
        }
        text.truncate(at);
        prop_assert!(UdmEvent::from_json(&text).is_err(), "a part of an event is none");
    }
}

/// An event that can be read, valid or not.
fn event() -> impl Strategy<Value = UdmEvent> {
    let name = prop_oneof![
        select(Domain::NAMES).prop_map(str::to_owned),
        select(
            &[
                "sent_at",
                "received_at",
                "sequence_num",
                "provenance",
                "extensions",
                "udm_version"
            ][..]
        )
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    let required = (
        "\\PC{0,10}",
        prop_oneof![
            select(EventType::NAMES).prop_map(str::to_owned),
            "[a-z]{0,8}"
        ],
        "\\PC{0,10}",
        "(2026-06-07T19:00:00Z|[0-9T:Z-]{0,24})",
    );
    (required, vec((name, value()), 0..6)).prop_map(|((id, event_type, source, time), rest)| {
        let mut members: Object = rest.into_iter().collect();
        for (name, text) in [
            ("udm_version", "0.0.3"),
            ("event_id", &id),
            ("event_type", &event_type),
            ("source_id", &source),
            ("source_type", "custom"),
            ("captured_at", &time),
        ] {
            members.insert(name.to_owned(), text.into());
        }
        UdmEvent::from_members(members).expect("the envelope is there")
    })
}

/// Any value of JSON; numbers in many spellings.
fn value() -> impl Strategy<Value = Value> {
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(|text| Value::Number(text.parse::<Number>().expect("a number"))),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(("\\PC{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn config() -> ProptestConfig {
    let cases = std::env::var("ACQBUS_UDM_CASES").ok();
    let cases = cases.map_or(300, |cases| cases.parse().expect("a number of cases"));
    ProptestConfig {
        failure_persistence: None,
        cases,
        ..ProptestConfig::default()
    }
}
