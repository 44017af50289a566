//! The bytes and the behaviour of the data plane and of discovery against those of the real peers.
//!
//! The vectors are in `tests/vectors/constellation`, or in `$ACQBUS_VECTORS/constellation` where that variable is set; a file may be
//! absent there. Every case of every file found is run. `chp.json`, `cscp.json` and `cmdp.json` are no wires of ours: they hold
//! heartbeats, commands and logs of satellites.

#[path = "vectors_constellation/discovery.rs"]
mod discovery;
#[path = "vectors_constellation/messages.rs"]
mod messages;
#[path = "vectors_constellation/receiver.rs"]
mod receiver;
#[path = "vectors_constellation/transmitter.rs"]
mod transmitter;
#[path = "vectors_constellation/typed.rs"]
mod typed;

mod common;

use common::report;

/// What we answer otherwise on purpose. Each is a rule of its own in these files, and applies to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// A sequence number below 0 is refused, as C++ does; Python counts on with it.
    NegativeSequence,
    /// A key that comes as bytes is the text that it holds, as in C++; Python keeps it apart from text.
    BytesKey,
    /// A time beyond the year 9999 is taken, as C++ does; Python's end fails on it.
    YearBeyond9999,
    /// Nanoseconds stay, as in C++; Python cuts them to microseconds.
    Nanoseconds,
    /// A float that C++ writes as an integer which its own receivers fail on stays a float.
    CxxFloats,
    /// A time that C++ cannot count in 64 bits of nanoseconds stays what it is; C++ writes another.
    CxxTimes,
    /// A receiver goes on after a message that ends the peer, and takes a second BOR as a new run.
    GoesOn,
    /// Missing numbers are counted by what was seen; the peer's sum goes wrong by each number that comes twice or is 0.
    CountsByNumber,
    /// Records without payload are sent by the timer too.
    TimerWithoutPayload,
    /// A listed name is the sender of that name whatever the case; the peer has two states then.
    CaseOfNames,
    /// A beacon of kind 0 or for service 0 is refused, as C++ does; Python takes it, and it means nothing.
    BeaconForNothing,
    /// Capitals beyond ASCII are folded before a name is hashed, as in Python; C++ leaves them.
    CxxNames,
}

/// The files and what runs them; a file gives its cases to the report.
const FILES: &[report::File<Difference>] = &[
    ("cdtp2_valid.json", messages::run_valid),
    ("cdtp2_invalid.json", messages::run_invalid),
    ("cdtp2_receiver.json", receiver::run_receiver),
    ("chirp.json", discovery::run_beacons),
    ("names.json", discovery::run_names),
    ("cdtp2_transmitter.json", transmitter::run_transmitter),
];

pub(crate) type Report = report::Report<Difference>;

#[test]
fn every_vector_is_answered_as_the_peers_do() {
    report::replay("constellation", FILES);
}
