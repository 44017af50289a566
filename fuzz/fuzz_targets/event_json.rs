#![no_main]

use acqbus::event::{Event, EventType, Json, QueryParams, RegisterEvent, Subscription};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|text: &str| {
    if let Ok(json) = Json::new(text) {
        assert_eq!(json.as_str(), text);
        let normal = Json::new(json.normalised()).expect("what we write can be read");
        assert!(normal.as_str().is_ascii());
        assert_eq!(normal.normalised(), normal.as_str());
        drop(json.to_value());
        let event = RegisterEvent::new(EventType::from(text)).with_payload(Some(json.into()));
        comes_out_equal(&event);
    }
    read::<Event>(text);
    read::<RegisterEvent>(text);
    read::<QueryParams>(text);
    if let Some(subscription) = read::<Subscription>(text) {
        let same = subscription.union(&subscription);
        assert_eq!(same, subscription.intersection(&same));
        for query_type in subscription.query_types() {
            assert!(subscription.matches(&query_type));
        }
    }
});

fn read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let value = serde_json::from_str(text).ok()?;
    comes_out_equal(&value);
    Some(value)
}

fn comes_out_equal<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let line = serde_json::to_string(value).expect("it can be written");
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<T>(&line).as_ref().ok(), Some(value));
}
