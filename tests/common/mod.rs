//! What several tests of the wire share.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod bus;
#[cfg(target_os = "linux")]
pub(crate) mod machine;
pub(crate) mod mutate;
pub(crate) mod report;
pub(crate) mod tagged;
pub(crate) mod zmtp;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::json;
use serde_json::Value;

/// Reads a file of the golden vectors of the control plane, as [`vectors_of`].
pub(crate) fn vectors(file: &str) -> Option<Value> {
    vectors_of("rpc", file)
}

/// Reads a file of golden vectors from `tests/vectors`, or from `$ACQBUS_VECTORS` where that variable is set.
///
/// `None` when the file is absent, which only the latter may be.
pub(crate) fn vectors_of(set: &str, file: &str) -> Option<Value> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = std::env::var_os("ACQBUS_VECTORS").map(PathBuf::from);
    let path = folder.as_ref().unwrap_or(&own).join(set).join(file);
    match std::fs::read(&path) {
        Ok(text) => {
            Some(json::parse(&text, 256).unwrap_or_else(|error| panic!("{path:?}: {error}")))
        }
        Err(_) if folder.is_some() => None,
        Err(error) => panic!("{path:?}: {error}"),
    }
}

/// The items of an array member; none if there is no such member.
pub(crate) fn items<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// The text of a string member.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no text {member} in {value}"))
}

/// The bytes of a hexadecimal text.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte in {text:?}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Waits for what has no event to wait for; fails after 20 s.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
