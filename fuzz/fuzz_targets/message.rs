#![no_main]

use acqbus::rpc::{Message, Topic};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let (topic, body) = data.split_at(data.len().min(4));
    let Ok(message) = Message::decode(topic, body) else {
        return;
    };
    for topic in Topic::NAMED {
        let message = Message::decode(&topic.to_bytes(), body).expect("a topic of 4 bytes");
        let _typed = (
            message.event(),
            message.heartbeat(),
            message.command_result(),
        );
    }
    if let (Ok(value @ Value::Object(_)), Some(sequence)) = (message.json(64), message.sequence) {
        assert_eq!(value["sequence"].as_u64(), Some(sequence));
        assert_eq!(value["epoch"].as_u64(), message.epoch);
    }
});
