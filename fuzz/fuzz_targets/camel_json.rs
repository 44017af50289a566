#![no_main]

use acqbus::rpc::{case, json};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|text: &[u8]| {
    let Ok(value) = json::parse(text, 64) else {
        return;
    };
    let mut written = Vec::new();
    json::to_json(&value, &mut written).expect("a value can be written");
    let reread = json::parse(&written, 64).expect("our text is JSON");
    written.clear();
    json::to_camel_json(&value, &mut written).expect("a value can be written");
    assert!(written.is_ascii());
    assert_eq!(json::parse(&written, 64), Ok(camelized(&reread)));
    assert_eq!(
        json::parse(&json::compact(&written), 64),
        Ok(camelized(&reread))
    );
});

fn camelized(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(camelized).collect(),
        Value::Object(members) => {
            let mut out = Map::new();
            for (key, value) in members {
                out.insert(case::camelize(key).into_owned(), camelized(value));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}
