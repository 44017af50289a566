//! Frames of the stream.

use acqbus::eventer::chatter::Frame;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Report;
use crate::common::{items, text, unhex};

pub(crate) fn run_chatter_frames(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("chatter_frames {number}");
        let message = &case["msg"];
        let data = content(&message["data"]);
        let frame = frame(message, text(&message["data"], "type"), &data);
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        match case.get("frame") {
            Some(_) => report.check(&name, &bytes, &unhex(text(case, "frame"))),
            None => check_large(&name, &bytes, case, report),
        }
        let payload = payload(&bytes);
        report.check(&name, Frame::decode(payload), Ok(frame));
        // A large one is cut in its head, where the cuts differ, and at its end.
        let cuts = (0..payload.len().min(300)).chain([payload.len() - 1]);
        for end in cuts {
            if Frame::decode(&payload[..end]).is_ok() {
                report.wrong(&name, &format!("its first {end} bytes are read"));
            }
        }
    }
}

/// The frame of recorded fields.
pub(crate) fn frame<'a>(fields: &Value, kind: &'a str, data: &'a [u8]) -> Frame<'a> {
    let flag = |name: &str| fields[name].as_bool().expect("a flag");
    Frame {
        id: fields["id"].as_i64().expect("a number"),
        first: fields["first"].as_i64().expect("a number"),
        owner: flag("owner"),
        token: flag("token"),
        last: flag("last"),
        kind,
        data,
    }
}

/// What is behind the length.
pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    &frame[1 + usize::from(frame[0])..]
}

fn content(data: &Value) -> Vec<u8> {
    match data["fill_byte"].as_u64() {
        None => unhex(text(data, "data")),
        Some(byte) => {
            let count = data["fill_count"].as_u64().expect("a count");
            vec![byte as u8; count as usize]
        }
    }
}

fn check_large(name: &str, bytes: &[u8], case: &Value, report: &mut Report) {
    report.check(name, Some(bytes.len() as u64), case["frame_len"].as_u64());
    let head = unhex(text(case, "frame_head"));
    report.check(name, &bytes[..head.len()], &head);
    let digest = Sha256::digest(bytes);
    report.check(name, &digest[..], &unhex(text(case, "frame_sha256")));
}
