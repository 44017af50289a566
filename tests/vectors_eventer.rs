//! The protocol of the eventer against what hat-event 0.9.44 sent and answered.
//!
//! The vectors are in `tests/vectors/hat`, or in `$ACQBUS_VECTORS/hat` where that variable is set; a file may be absent there.
//! Every case of every file found is run. The other files there are a matter of `vectors_hat`.

#[path = "vectors_eventer/client.rs"]
mod client;
#[path = "vectors_eventer/exchanges.rs"]
mod exchanges;
#[path = "vectors_eventer/frames.rs"]
mod frames;
#[path = "vectors_eventer/messages.rs"]
mod messages;
#[path = "vectors_eventer/primitives.rs"]
mod primitives;
#[path = "eventer_support/rig.rs"]
mod rig;
#[path = "vectors_eventer/server.rs"]
mod server;

mod common;

use common::report;

/// What we answer otherwise on purpose. Each is a rule of its own in these files, and applies to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// H05: JSON that cannot be written again is refused at once; the reference takes it and fails later.
    UnwritableJson,
    /// H40: microseconds that are negative or beyond 32 bits are refused; the reference takes them, and fails when it flushes.
    OddMicroseconds,
}

/// The files and what runs them; a file gives its cases to the report.
const FILES: &[report::File<Difference>] = &[
    ("sbs_primitives.json", primitives::run_sbs_primitives),
    ("sbs_messages.json", messages::run_sbs_messages),
    ("sbs_malformed.json", messages::run_sbs_malformed),
    ("json_payload.json", messages::run_json_payload),
    ("chatter_frames.json", frames::run_chatter_frames),
    ("exchanges.json", exchanges::run_exchanges),
    ("exchanges.json", server::run_exchanges),
    ("server_behaviour.json", server::run_server_behaviour),
    ("notify.json", server::run_notify),
    ("exchanges.json", client::run_exchanges),
];

pub(crate) type Report = report::Report<Difference>;

#[test]
fn every_vector_is_answered_as_the_reference_does() {
    report::replay("hat", FILES);
}
