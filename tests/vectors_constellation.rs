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

use std::fmt::Debug;

use common::vectors_of;
use serde_json::Value;

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
const FILES: &[(&str, Run)] = &[
    ("cdtp2_valid.json", messages::run_valid),
    ("cdtp2_invalid.json", messages::run_invalid),
    ("cdtp2_receiver.json", receiver::run_receiver),
    ("chirp.json", discovery::run_beacons),
    ("names.json", discovery::run_names),
    ("cdtp2_transmitter.json", transmitter::run_transmitter),
];

pub(crate) type Run = fn(&Value, &mut Report);

#[derive(Default)]
pub(crate) struct Report {
    ran: usize,
    wrong: Vec<String>,
    differences: Vec<(Difference, String)>,
}

impl Report {
    /// Counts a case; each calls it once.
    pub(crate) fn ran(&mut self) {
        self.ran += 1;
    }

    pub(crate) fn check<T: PartialEq + Debug>(&mut self, case: &str, ours: T, peers: T) {
        if ours != peers {
            self.wrong(case, &format!("\n     ours {ours:?}\n    peers {peers:?}"));
        }
    }

    pub(crate) fn wrong(&mut self, case: &str, why: &str) {
        self.wrong.push(format!("{case}: {why}"));
    }

    pub(crate) fn differs(&mut self, case: &str, difference: Difference) {
        self.differences.push((difference, case.to_owned()));
    }
}

#[test]
fn every_vector_is_answered_as_the_peers_do() {
    let mut report = Report::default();
    for (file, run) in FILES {
        let Some(vectors) = vectors_of("constellation", file) else {
            println!("{file}: absent");
            continue;
        };
        let before = report.ran;
        run(&vectors, &mut report);
        println!("{file}: {} cases", report.ran - before);
    }
    report.differences.sort();
    for (difference, case) in &report.differences {
        println!("otherwise on purpose, {difference:?}: {case}");
    }
    println!(
        "{} cases, {} answers otherwise on purpose",
        report.ran,
        report.differences.len()
    );
    assert!(
        report.wrong.is_empty(),
        "{} wrong:\n{}",
        report.wrong.len(),
        report.wrong.join("\n")
    );
    assert!(report.ran > 0, "no vectors were found");
}
