#![no_main]

use acqbus::eventer::message::Message;
use acqbus::eventer::sbs::{Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    values(data);
    for kind in KINDS {
        let Ok(message) = Message::decode(kind, data) else {
            continue;
        };
        let mut again = Vec::new();
        message.encode(&mut again);
        assert!(again.len() <= data.len(), "what we write is the shortest");
        assert_eq!(Message::decode(kind, &again), Ok(message));
    }
});

/// One value after the other; the low bits of its first byte say of which type.
fn values(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut out = Vec::new();
    while let Some(which) = reader.rest().first() {
        let start = reader.offset();
        let mut writer = Writer::new(&mut out);
        let read = match which % 8 {
            0 => reader.integer("it").map(|value| writer.integer(value)),
            1 => reader.boolean("it").map(|value| writer.boolean(value)),
            2 => reader.float("it").map(|value| writer.float(value)),
            3 => reader.string("it").map(|value| writer.string(value)),
            4 => reader.bytes("it").map(|value| writer.bytes(value)),
            5 => reader.count(1, "it").map(|count| writer.count(count)),
            6 => reader.choice(3, "it").map(|place| writer.choice(place)),
            _ => reader.optional("it").map(|some| writer.optional(some)),
        };
        if read.is_err() {
            return;
        }
        assert!(reader.offset() > start && out.len() <= reader.offset());
    }
}

const KINDS: [&str; 8] = [
    "HatEventer.MsgInitReq",
    "HatEventer.MsgInitRes",
    "HatEventer.MsgStatusNotify",
    "HatEventer.MsgEventsNotify",
    "HatEventer.MsgRegisterReq",
    "HatEventer.MsgRegisterRes",
    "HatEventer.MsgQueryReq",
    "HatEventer.MsgQueryRes",
];
