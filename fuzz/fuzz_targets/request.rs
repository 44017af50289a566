#![no_main]

use acqbus::rpc::answer::{RequestLimits, answer};
use acqbus::rpc::{CommandRequest, CommandResponse, Dialect, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    for dialect in [Dialect::Plain, Dialect::JsonString] {
        let delegate =
            |request: &mut CommandRequest| CommandResponse::success().with_data(request.data());
        let mut reply = Vec::new();
        answer(
            &[frame],
            RequestLimits::default(),
            dialect,
            Some(delegate),
            &mut reply,
        );
        Response::decode(&reply, 128).expect("our reply is a reply");
    }
});
